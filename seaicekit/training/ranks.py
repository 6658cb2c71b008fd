"""What a started rank and its launcher have to say to each other: progress, reasons, and who is still there.

They talk by small files in the training's folder, so that it is the same whoever started the rank.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from seaicekit.files import PARTIAL, InputError, read_json, write_json
from seaicekit.training.loop import fit
from seaicekit.training.settings import Job

FOLDER = f"{PARTIAL}ranks"
REPORT_SECONDS = 0.5  # between two reports of progress
GRACE_SECONDS = 2.0  # after the first rank's failure, for the others to say what they know
STALL = "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS"  # Horovod's own check for ranks that do not come; ours, too
STALL_SECONDS = 300
AGAIN = "train again with resume=True to go on from the last checkpoint"


class TrainingError(RuntimeError):
    """A rank failed; the message says which and why."""


def run(job: dict, launcher: int, host: str, also: Sequence[int] = ()) -> None:
    """Train as one of several ranks, telling the launcher.

    Parameters
    ----------
    job : dict
        For `seaicekit.training.Job`.
    launcher : int
        Process of the launcher. When it is gone this rank ends, if they are on one host.
    host : str
        The launcher's.
    also : sequence of int
        Processes to end with it.
    """
    import psutil

    if host == platform.node():
        threading.Thread(target=_follow, args=(launcher, also), daemon=True).start()
    folder, rank = Path(job["out_dir"]) / FOLDER, os.environ["HOROVOD_RANK"]
    here = {"pid": os.getpid(), "created": psutil.Process().create_time(), "host": platform.node()}
    write_json(folder / f"{rank}.json", here)
    last: dict = {"time": 0.0}

    def report(progress: dict) -> None:
        if time.monotonic() - last["time"] > REPORT_SECONDS or progress["done"] == progress["total"]:
            last["time"] = time.monotonic()
            write_json(folder / "progress.json", progress)

    try:
        fit(Job(**job), report)
    except Exception as error:
        _tell(folder, rank, type(error).__name__, str(error))
        raise
    write_json(folder / f"{rank}.done.json", {})


def _tell(folder: Path, rank: str, kind: str, text: str) -> None:
    with suppress(InputError, FileNotFoundError):  # on a full disk the launcher has to do without
        write_json(folder / f"{rank}.error.json", {"kind": kind, "text": text})


def _follow(launcher: int, also: Sequence[int]) -> None:
    """End this rank once the launcher is gone, however it ended."""
    import psutil

    while psutil.pid_exists(launcher):
        time.sleep(1)
    for process in also:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGKILL)


class Watch:
    """The launcher's view of the ranks of the training in ``out_dir``."""

    def __init__(self, out_dir: str | os.PathLike):
        self._folder = Path(out_dir) / FOLDER
        self._patience = int(os.environ.get(STALL, STALL_SECONDS))
        self._last: tuple[int, float] = 0, 0.0  # when rank 0 wrote, by its clock and by ours
        self.close()
        self._folder.mkdir(parents=True)

    def close(self) -> None:
        """Forget all that was said."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def progress(self) -> dict | None:
        """Return what rank 0 last reported; see `seaicekit.training.fit`."""
        path = self._folder / "progress.json"
        return read_json(path) if path.exists() else None

    def look(self) -> None:
        """Make sure that no rank has failed.

        Raises
        ------
        InputError
            A rank met something of the user's that it cannot use.
        TrainingError
            A rank failed, was killed or hangs.
        """
        if self._errors() or self._gone():
            time.sleep(GRACE_SECONDS)
            self.judge()
        # A process that is there but not at work keeps Gloo content, and Horovod's check was seen to sleep.
        if self._silence() > self._patience > 0:
            raise TrainingError(f"no step for {self._patience} s ({STALL}), so a rank hangs; {AGAIN}")

    def _silence(self) -> float:
        """Return seconds since rank 0 last reported; 0 before its first report."""
        path = self._folder / "progress.json"
        written = path.stat().st_mtime_ns if path.exists() else 0
        if written != self._last[0] or not written:
            self._last = written, time.monotonic()
        return time.monotonic() - self._last[1]

    def judge(self) -> None:
        """Find which rank failed first among those that fell with it, and raise the reason."""
        errors = self._errors()
        for error in errors.values():
            if error["kind"] == "InputError":
                raise InputError(error["text"])
        fallen = {"HorovodInternalError", "Terminated", "UnknownError"}  # for another's sake
        for rank, error in errors.items():
            if error["kind"] not in fallen:
                raise TrainingError(f"rank {rank} failed: {error['kind']}: {error['text']}")
        gone = [rank for rank in self._gone() if rank not in errors]
        if gone:
            raise TrainingError(f"rank {gone[0]} was killed, perhaps for want of memory; {AGAIN}")
        silent = [rank for rank in self._known() if rank not in errors and not self._done(rank)]
        if errors and silent:
            raise TrainingError(f"rank {silent[0]} no longer answers, and the others gave it up; {AGAIN}")
        for rank, error in errors.items():
            raise TrainingError(f"rank {rank} failed: {error['text'] or error['kind']}; {AGAIN}")

    def end(self) -> None:
        """Kill what ranks are left on this host, also such as are stopped."""
        for process in filter(None, map(self._process, self._known().values())):
            with suppress(Exception):
                process.kill()

    def _known(self) -> dict[int, dict]:
        found = sorted(self._folder.glob("[0-9]*.json"))
        return {int(path.stem): read_json(path) for path in found if path.stem.isdigit()}

    def _errors(self) -> dict[int, dict]:
        return {
            int(path.name.split(".")[0]): read_json(path)
            for path in sorted(self._folder.glob("*.error.json"))
        }

    def _done(self, rank: int) -> bool:
        return (self._folder / f"{rank}.done.json").exists()

    def _gone(self) -> list[int]:
        return [
            rank for rank, known in self._known().items() if not self._done(rank) and self._is_gone(known)
        ]

    def _is_gone(self, known: dict) -> bool:
        return known["host"] == platform.node() and self._process(known) is None

    def _process(self, known: dict) -> Any | None:
        """Return a rank's process on this host; None if it has ended."""
        import psutil

        if known["host"] != platform.node():
            return None
        with suppress(psutil.Error):
            process = psutil.Process(known["pid"])
            if process.create_time() == known["created"] and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


def main(path: str) -> None:
    """Run one rank of what a launcher wrote into ``path``: what ``horovodrun`` starts."""
    wanted = json.loads(Path(path).read_text())
    # horovodrun ends all ranks when one has ended, and the launcher is to know which was the one. The main
    # thread
    # may wait in Horovod then and run no handler, so another waits for the byte that every signal writes.
    inward, outward = os.pipe()
    os.set_blocking(outward, False)
    signal.set_wakeup_fd(outward)
    signal.signal(signal.SIGTERM, lambda *_: None)

    def terminated() -> None:
        while os.read(inward, 1) != bytes([signal.SIGTERM]):
            pass
        _tell(Path(wanted["job"]["out_dir"]) / FOLDER, os.environ["HOROVOD_RANK"], "Terminated", "")
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=terminated, daemon=True).start()
    run(**wanted)
