"""Start a training on one or more Horovod ranks, and watch it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from seaicekit.files import InputError, read_json, write_json
from seaicekit.training import Settings

Launcher = Literal["inprocess", "ipyparallel", "horovodrun"]
OnEpoch = Callable[[list[dict]], None]


class TrainingError(RuntimeError):
    """A rank failed; the message says which and why."""


def train(
    tiles: str | os.PathLike,
    out_dir: str | os.PathLike,
    ranks: int = 2,
    launcher: Launcher = "ipyparallel",
    on_epoch: OnEpoch | None = None,
    **settings: object,
) -> dict:
    """Train a U-Net on a tile index.

    Parameters
    ----------
    tiles : path
        The index that `seaicekit.tiles.index` wrote.
    out_dir : path
        Gets ``model.keras``, ``history.csv``, ``training.json``.
    ranks : int
        Horovod ranks, all on this machine.
    launcher : "inprocess", "ipyparallel" or "horovodrun"
        Who starts them: nobody (one rank, here), IPython engines, or Horovod's own command over Gloo.
    on_epoch : callable, optional
        Called after each epoch with the list of all epochs so far.
    **settings
        ``epochs``, ``batch``, ``learning_rate``, ``seed``, ``width``, ``depth``, ``augment``; see
        `seaicekit.training.Settings`.

    Returns
    -------
    dict
        As from `seaicekit.training.fit`; the same as in ``training.json``.

    Raises
    ------
    InputError
        A setting out of range, an unknown launcher, no such index.
    TrainingError
        A rank failed.
    """
    if ranks < 1 or (launcher == "inprocess" and ranks > 1):
        raise InputError(f"ranks: must be at least 1, and 1 in process, not {ranks}")
    if not Path(tiles).is_file():
        raise InputError(f"{tiles}: no such tile index; make it with seaicekit.tiles.index")
    try:
        wanted = Settings(tiles=str(Path(tiles).resolve()), out_dir=str(Path(out_dir).resolve()), **settings)
    except TypeError as error:
        raise InputError(f"settings: {error}; known are {', '.join(Settings.__dataclass_fields__)}") from None
    _require_horovod()
    start = {"inprocess": _in_process, "ipyparallel": _ipyparallel, "horovodrun": _horovodrun}.get(launcher)
    if not start:
        raise InputError(f'launcher: must be "inprocess", "ipyparallel" or "horovodrun", not {launcher!r}')
    for name in ("history.csv", "training.json", "model.keras"):
        (Path(out_dir) / name).unlink(missing_ok=True)
    Path(out_dir).mkdir(parents=True, exist_ok=True)
    shown = 0
    with closing(start(wanted, ranks)) as running:  # closed, too, when on_epoch fails
        for _ in running:
            shown = _report(Path(out_dir) / "history.csv", on_epoch, shown)
    _report(Path(out_dir) / "history.csv", on_epoch, shown)
    return read_json(Path(out_dir) / "training.json")


def _report(history: Path, on_epoch: OnEpoch | None, shown: int) -> int:
    import pandas as pd

    if not on_epoch or not history.exists():
        return shown
    epochs = pd.read_csv(history).to_dict("records")
    if len(epochs) > shown:
        on_epoch(epochs)
    return len(epochs)


def _require_horovod() -> None:
    from importlib.util import find_spec

    if not (find_spec("horovod") and find_spec("tensorflow")):
        raise InputError(
            "training needs TensorFlow and Horovod, which are not installed; in a checkout 'uv sync' "
            "installs both (the README has the commands for pip)"
        )


def _in_process(settings: Settings, ranks: int) -> Iterator[None]:
    from seaicekit.training import fit

    fit(settings)
    yield


def _rank(environment: dict[str, str], settings: dict, launcher: int, controller: int) -> None:
    import os
    import signal
    import threading
    import time

    import psutil

    def follow() -> None:
        """End this engine and its controller once the launcher is gone, however it ended."""
        while psutil.pid_exists(launcher):
            time.sleep(1)
        if psutil.pid_exists(controller):
            os.kill(controller, signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=follow, daemon=True).start()
    os.environ.update(environment)
    from seaicekit.training import Settings, fit

    fit(Settings(**settings))


def _ipyparallel(settings: Settings, ranks: int) -> Iterator[None]:
    """Start engines, give each its place among Horovod's ranks, and yield while they train."""
    import ipyparallel as ipp
    from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts
    from horovod.runner.http.http_server import RendezvousServer

    plan = get_host_assignments(parse_hosts(f"localhost:{ranks}"), ranks)
    with ExitStack() as stack:
        cluster = ipp.Cluster(n=ranks, log_level=40, send_engines_connection_env=False)
        client = stack.enter_context(cluster)
        server = RendezvousServer()
        port = server.start()
        stack.callback(server.stop)
        server.init(plan)
        client.wait_for_engines(ranks, timeout=120)
        running = [
            client[client.ids[slot.rank]].apply_async(
                _rank, _environment(slot, port), asdict(settings), os.getpid(), cluster.controller.pid
            )
            for slot in plan
        ]
        while not all(result.ready() for result in running):
            for rank, result in enumerate(running):
                if result.ready():
                    _raise_failure(rank, result)
            yield
            time.sleep(0.3)
        for rank, result in enumerate(running):
            _raise_failure(rank, result)
    yield


def _raise_failure(rank: int, result: object) -> None:
    from ipyparallel.error import RemoteError

    try:
        result.get()
    except RemoteError as error:
        raise TrainingError(f"rank {rank} failed: {error.ename}: {error.evalue}") from None


def _environment(slot: object, port: int) -> dict[str, str]:
    """Return what tells a process its place among the ranks and where they meet."""
    places = ("rank", "size", "local_rank", "local_size", "cross_rank", "cross_size")
    return {f"HOROVOD_{place.upper()}": str(getattr(slot, place)) for place in places} | {
        "HOROVOD_HOSTNAME": slot.hostname,
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": "127.0.0.1",
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
        "HOROVOD_GLOO_IFACE": "lo",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def _horovodrun(settings: Settings, ranks: int) -> Iterator[None]:
    """Start Horovod's own launcher and yield while it runs."""
    command = [
        str(Path(sys.executable).with_name("horovodrun")), "--gloo", "--network-interfaces", "lo",
        "-np", str(ranks), "-H", f"localhost:{ranks}", sys.executable, "-m", "seaicekit.training",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "log", "w+") as log:
        write_json(Path(folder) / "settings.json", asdict(settings))
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
        with subprocess.Popen(
            [*command, str(Path(folder) / "settings.json")], stdout=log, stderr=log, env=environment
        ) as process:
            try:
                while process.poll() is None:
                    yield
                    time.sleep(0.3)
            finally:
                process.terminate()
        if process.returncode:
            log.seek(0)
            lines = [line for line in log.read().splitlines() if line.strip()]
            # What a rank said ("[1]<stderr>:…") tells more than what the launcher made of it.
            lines = [line for line in lines if "<stderr>" in line] or lines
            raise TrainingError(f"horovodrun ended with {process.returncode}:\n" + "\n".join(lines[-15:]))
    yield
