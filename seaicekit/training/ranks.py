"""Status files between a rank and its launcher.

They lie in the training's folder, whoever started the rank: ``progress.json`` of rank 0, and one file of each
rank with its process, its state and its error.
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
GRACE_SECONDS = 2.0  # after the first rank's failure, for the others to report theirs
STALL = "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS"  # Horovod's own check for ranks that do not come; ours, too
STALL_SECONDS = 300
RESUME_HINT = "train again with resume=True to go on from the last checkpoint"
# Errors of a rank that only follow from another rank's end.
CONSEQUENCES = {"HorovodInternalError", "Terminated", "UnknownError"}


class TrainingError(RuntimeError):
    """A rank failed; the message says which and why."""


def run(job: dict, launcher: int, host: str, also: Sequence[int] = ()) -> None:
    """Train as one of several ranks, and report to the launcher.

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
    if host == platform.node():
        threading.Thread(target=_follow, args=(launcher, also), daemon=True).start()
    folder, rank = Path(job["out_dir"]) / FOLDER, os.environ["HOROVOD_RANK"]
    _write_state(folder, rank, "running")
    last = 0.0

    def report(progress: dict) -> None:
        nonlocal last
        if time.monotonic() - last > REPORT_SECONDS or progress["done"] == progress["total"]:
            last = time.monotonic()
            write_json(folder / "progress.json", progress)

    try:
        fit(Job(**job), report)
    except Exception as error:
        _write_error(folder, rank, type(error).__name__, str(error))
        raise
    _write_state(folder, rank, "done")


def _write_state(folder: Path, rank: str, state: str, **error: str) -> None:
    import psutil

    process = {"pid": os.getpid(), "created": psutil.Process().create_time(), "host": platform.node()}
    write_json(folder / f"{rank}.json", process | {"state": state} | error)


def _write_error(folder: Path, rank: str, kind: str, text: str) -> None:
    with suppress(InputError, FileNotFoundError):  # on a full disk the launcher has to do without
        if read_json(folder / f"{rank}.json")["state"] == "running":  # the first error counts
            _write_state(folder, rank, "failed", kind=kind, text=text)


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
        """Remove all files of the ranks."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def progress(self) -> dict | None:
        """Return what rank 0 last reported; see `seaicekit.training.fit`."""
        path = self._folder / "progress.json"
        return read_json(path) if path.exists() else None

    def check(self) -> None:
        """Make sure that no rank has failed.

        Raises
        ------
        InputError
            A rank met something of the user's that it cannot use.
        TrainingError
            A rank failed, was killed or hangs.
        """
        if any(_state(rank) in ("failed", "gone") for rank in self._ranks().values()):
            time.sleep(GRACE_SECONDS)
            cause = _first_cause(self._ranks())  # None where a rank was done just before it was looked for
            if cause:
                raise cause
        # Gloo does not notice a stopped process, and Horovod's stall check does not fire.
        if self._silence() > self._patience > 0:
            raise TrainingError(f"no step for {self._patience} s ({STALL}), so a rank hangs; {RESUME_HINT}")

    def kill(self) -> None:
        """Kill what ranks are left on this host, also such as are stopped."""
        for process in filter(None, map(_process, self._ranks().values())):
            with suppress(Exception):
                process.kill()

    def _ranks(self) -> dict[int, dict]:
        """Return what each rank last wrote, by its number."""
        return {int(path.stem): read_json(path) for path in sorted(self._folder.glob("[0-9]*.json"))}

    def _silence(self) -> float:
        """Return seconds since rank 0 last reported; 0 before its first report."""
        path = self._folder / "progress.json"
        written = path.stat().st_mtime_ns if path.exists() else 0
        if written != self._last[0] or not written:
            self._last = written, time.monotonic()
        return time.monotonic() - self._last[1]


def _first_cause(ranks: dict[int, dict]) -> Exception | None:
    """Return the error of the rank that failed first among those that failed with it, if any has."""
    failed = {number: rank for number, rank in ranks.items() if _state(rank) == "failed"}
    for rank in failed.values():
        if rank["kind"] == "InputError":
            return InputError(rank["text"])
    for number, rank in failed.items():
        if rank["kind"] not in CONSEQUENCES:
            return TrainingError(f"rank {number} failed: {rank['kind']}: {rank['text']}")
    for number, rank in ranks.items():
        if _state(rank) == "gone":
            return TrainingError(f"rank {number} was killed, perhaps for want of memory; {RESUME_HINT}")
    for number, rank in ranks.items():
        if failed and _state(rank) == "running":
            return TrainingError(f"rank {number} no longer answers, and the others gave it up; {RESUME_HINT}")
    for number, rank in failed.items():
        return TrainingError(f"rank {number} failed: {rank['text'] or rank['kind']}; {RESUME_HINT}")
    return None


def _state(rank: dict) -> str:
    """Return "running", "done", "failed", or "gone": a process of this host that ended without a state."""
    gone = rank["state"] == "running" and rank["host"] == platform.node() and _process(rank) is None
    return "gone" if gone else rank["state"]


def _process(rank: dict) -> Any | None:
    """Return a rank's process on this host; None if it has ended."""
    import psutil

    if rank["host"] == platform.node():
        with suppress(psutil.Error):
            process = psutil.Process(rank["pid"])
            if process.create_time() == rank["created"] and process.status() != psutil.STATUS_ZOMBIE:
                return process
    return None


def main(path: str) -> None:
    """Run one rank of what a launcher wrote into ``path``: what ``horovodrun`` starts."""
    arguments = json.loads(Path(path).read_text())
    # horovodrun ends all ranks when one has ended, and the launcher has to know which was the first. The
    # main thread may wait in Horovod then and run no handler, so another thread waits for the byte that
    # every signal writes.
    inward, outward = os.pipe()
    os.set_blocking(outward, False)
    signal.set_wakeup_fd(outward)
    signal.signal(signal.SIGTERM, lambda *_: None)

    def terminated() -> None:
        while os.read(inward, 1) != bytes([signal.SIGTERM]):
            pass
        _write_error(Path(arguments["job"]["out_dir"]) / FOLDER, os.environ["HOROVOD_RANK"], "Terminated", "")
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=terminated, daemon=True).start()
    run(**arguments)
