"""Start a training on one or more Horovod ranks, and watch it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seaicekit.files import InputError, read_json, require, write_json
from seaicekit.training import checkpoints
from seaicekit.training.loop import Report, Training
from seaicekit.training.plan import Plan
from seaicekit.training.ranks import FOLDER, STALL, STALL_SECONDS, TrainingError, Watch
from seaicekit.training.settings import Job, Ranks, Settings, TrainOptions

if TYPE_CHECKING:
    from horovod.runner.http.http_server import RendezvousServer
    from tqdm import tqdm

OnEpoch = Callable[[list[dict]], None]

LOOK_SECONDS = 0.3
END_SECONDS = 15
# Horovod's own check for ranks that do not come to a common step; the environment's values win.
CHECK = {"HOROVOD_STALL_CHECK_TIME_SECONDS": "60", STALL: str(STALL_SECONDS)}
# The lines of binder/postBuild: 'pip install seaicekit[train]' alone builds a Horovod that knows no
# TensorFlow.
INSTALL = """in a checkout run 'uv sync', with pip:
pip install tensorflow-cpu==2.18.1 "ipyparallel>=9" "numpy>=2,<2.1" "pyarrow>=17" \
    "cmake<4" "setuptools<81" wheel packaging cloudpickle psutil pyyaml cffi
HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1 \
    HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1 \
    pip install --no-build-isolation --no-cache-dir --no-deps --force-reinstall horovod==0.28.1"""


def train(
    tiles: str | os.PathLike,
    out_dir: str | os.PathLike,
    settings: Settings | None = None,
    on_epoch: OnEpoch | None = None,
    progress: bool = True,
    **options: Any,
) -> dict:
    """Train a U-Net on a tile index.

    Parameters
    ----------
    tiles : path
        The index that `seaicekit.tiles.index_tiles` wrote.
    out_dir : path
        Gets ``model.keras``, ``history.csv``, ``training.json`` and ``checkpoints``.
    settings : seaicekit.training.Settings, optional
        The network and how it is trained; a `seaicekit.training.TrainOptions` also says by which ranks.
    on_epoch : callable, optional
        Called after each epoch with the list of all epochs so far, dicts as from `seaicekit.training.fit`.
    progress : bool
        Show a bar with images per second and the time left.
    **options
        Values of `seaicekit.training.TrainOptions` that differ: ``ranks``, ``launcher``, ``hosts``,
        ``epochs``, ``batch``, ``learning_rate``, ``resume`` and more. Hosts are reached by SSH, have this
        package, and see ``tiles`` and ``out_dir`` under the same paths.

    Returns
    -------
    dict
        As from `seaicekit.training.fit`; the same as in ``training.json``.

    Raises
    ------
    InputError
        An unknown option or one out of range, no such index, more ranks than slots, or what
        `seaicekit.training.fit` raises on a rank.
    TrainingError
        A rank failed, was killed or hangs. The others are ended; ``resume=True`` goes on from the last
        checkpoint.
    """
    from tqdm.auto import tqdm

    if not Path(tiles).is_file():
        raise InputError(f"{tiles}: no such tile index; make it with seaicekit.tiles.index_tiles")
    chosen = TrainOptions.of(settings, **options)
    if chosen.targets not in ("labels", "raw", "truth"):
        chosen = TrainOptions.of(chosen, targets=str(Path(chosen.targets).resolve()))
    job = Job.of(chosen, tiles=str(Path(tiles).resolve()), out_dir=str(Path(out_dir).resolve()))
    require_horovod()
    if chosen.launcher == "ipyparallel":
        require("train", "launcher ipyparallel", "ipyparallel")
    plan = Plan.of(job)  # so that its errors come before anything starts
    if not job.resume:
        checkpoints.clear(out_dir)
        for name in ("history.csv", "training.json", "model.keras"):
            (Path(out_dir) / name).unlink(missing_ok=True)
    with tqdm(desc="starting", unit=" images", disable=not progress) as bar:
        show = _reporter(bar, on_epoch)
        if chosen.launcher == "inprocess":
            Training(plan, show).run()
        else:
            _watch(job, chosen, show)
    return read_json(Path(out_dir) / "training.json")


def _reporter(bar: tqdm, on_epoch: OnEpoch | None) -> Report:
    """Return what shows progress in a bar, new epochs to a callback, and new messages as warnings."""
    shown = {"epochs": 0, "messages": 0}

    def show(progress: dict) -> None:
        epochs, messages = progress["epochs"], progress["messages"]
        if bar.total is None:  # images of an earlier call are not this one's speed
            bar.initial = bar.n = bar.last_print_n = progress["before"]
            bar.total = progress["total"]
            bar.unpause()
        loss = f", val_loss {epochs[-1]['val_loss']:.3f}" if epochs else ""
        bar.set_description(f"epochs done: {len(epochs)}{loss}", refresh=False)
        bar.update(progress["done"] - bar.n)
        for message in messages[shown["messages"] :]:
            warnings.warn(message, stacklevel=2)
        if on_epoch and len(epochs) > shown["epochs"]:
            on_epoch(list(epochs))
        shown.update(epochs=len(epochs), messages=len(messages))

    return show


def _watch(job: Job, ranks: Ranks, show: Report) -> None:
    """Run ranks in processes of their own, until all are done or one has failed."""
    start: Any = _ipyparallel if ranks.launcher == "ipyparallel" else _horovodrun
    with closing(Watch(job.out_dir)) as watch:
        try:
            with closing(start(job, ranks, watch)) as running:  # closed, too, when show fails
                for _ in running:
                    watch.check()
                    progress = watch.progress()
                    if progress:
                        show(progress)
        finally:
            watch.kill()


def horovod_problem() -> str | None:
    """Return the reason why no training could start here; None if one could.

    Loads neither TensorFlow nor Horovod.
    """
    from importlib.util import find_spec

    horovod = find_spec("horovod")
    for spec, name in ((find_spec("tensorflow"), "TensorFlow"), (horovod, "Horovod")):
        if not spec:
            return f"{name} is not installed"
    # pip builds Horovod for the frameworks it finds, in a fresh environment for none, without an error.
    folders = (horovod.submodule_search_locations if horovod else None) or ()
    if not any(file for folder in folders for file in Path(folder).glob("tensorflow/mpi_lib*.so")):
        return "Horovod was built without TensorFlow"
    return None


def require_horovod() -> None:
    """Make sure that a training could start.

    Raises
    ------
    InputError
        TensorFlow or Horovod is missing, or Horovod was built without TensorFlow.
    """
    reason = horovod_problem()
    if reason:
        raise InputError(f"training needs the extra 'train' ({reason}); {INSTALL}")


def _rank(environment: dict[str, str], arguments: dict) -> None:
    """Run a rank in an IPython engine, which gets this function without its module."""
    import os

    os.environ.update(environment)
    from seaicekit.training.ranks import run

    run(**arguments)


def _arguments(job: Job, also: Sequence[int] = ()) -> dict:
    """Return the arguments of `seaicekit.training.ranks.run`."""
    return {"job": job.model_dump(), "launcher": os.getpid(), "host": platform.node(), "also": list(also)}


def _ipyparallel(job: Job, options: Ranks, watch: Watch) -> Iterator[None]:
    """Start engines, give each its place among Horovod's ranks, and yield while they train."""
    import ipyparallel as ipp
    from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts

    ranks = options.ranks
    slots = get_host_assignments(parse_hosts(f"localhost:{ranks}"), ranks)
    with ExitStack() as stack:
        try:
            cluster = ipp.Cluster(n=ranks, log_level=40, send_engines_connection_env=False)
            client = stack.enter_context(cluster)
            server, port = _rendezvous()
        except (OSError, TimeoutError) as error:
            raise InputError(
                f"launcher: no engines can be started ({error}); free a port, or use horovodrun"
            ) from error
        stack.callback(server.stop)
        server.init(slots)
        client.wait_for_engines(ranks, timeout=120)
        arguments = _arguments(job, [cluster.controller.pid])
        running = [
            client[client.ids[slot.rank]].apply_async(_rank, _environment(slot, port), arguments)
            for slot in slots
        ]
        # A rank that hangs does not end when the cluster asks it to.
        stack.push(lambda kind, *_: watch.kill() if kind else None)
        while not all(result.ready() for result in running):
            yield
            for rank, result in enumerate(running):
                if result.ready():
                    _raise_failure(rank, result, watch)
            time.sleep(LOOK_SECONDS)
        for rank, result in enumerate(running):
            _raise_failure(rank, result, watch)
    yield


def _rendezvous() -> tuple[RendezvousServer, int]:
    """Start the server where ranks find one another, on loopback only; Horovod's own start is open to all."""
    from horovod.runner.http import http_server
    from horovod.runner.util.threads import in_thread

    server = http_server.RendezvousServer()
    server._httpd = http_server.RendezvousHTTPServer(("127.0.0.1", 0), http_server.RendezvousHandler, 0)
    server._listen_thread = in_thread(target=server._httpd.serve_forever)
    return server, server._httpd.server_address[1]


def _raise_failure(rank: int, result: Any, watch: Watch) -> None:
    from ipyparallel.error import RemoteError

    try:
        result.get()
    except RemoteError as error:
        watch.check()  # may know more
        raise TrainingError(f"rank {rank} failed: {error.ename}: {error.evalue}") from None


def _environment(slot: Any, port: int) -> dict[str, str]:
    """Return what tells a process its place among the ranks and where they meet."""
    places = ("rank", "size", "local_rank", "local_size", "cross_rank", "cross_size")
    return (
        _stall()
        | {f"HOROVOD_{place.upper()}": str(getattr(slot, place)) for place in places}
        | {
            "HOROVOD_HOSTNAME": slot.hostname,
            "HOROVOD_CONTROLLER": "gloo",
            "HOROVOD_CPU_OPERATIONS": "gloo",
            "HOROVOD_GLOO_RENDEZVOUS_ADDR": "127.0.0.1",
            "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
            "HOROVOD_GLOO_IFACE": "lo",
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
    )


def _stall() -> dict[str, str]:
    return {name: os.environ.get(name, value) for name, value in CHECK.items()}


def _horovodrun(job: Job, options: Ranks, watch: Watch) -> Iterator[None]:
    """Start Horovod's own launcher and yield while it runs."""
    arguments = Path(job.out_dir) / FOLDER / "arguments.json"
    write_json(arguments, _arguments(job))
    interface = [] if options.hosts else ["--network-interfaces", "lo"]
    command = [
        str(Path(sys.executable).with_name("horovodrun")),
        "--gloo",
        *interface,
        "-np",
        str(options.ranks),
        "-H",
        options.hosts or f"localhost:{options.ranks}",
        sys.executable,
        "-m",
        "seaicekit.training",
        str(arguments),
    ]
    environment = os.environ | _stall() | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    with tempfile.TemporaryFile("w+") as log:
        with subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process:
            try:
                while process.poll() is None:
                    yield
                    time.sleep(LOOK_SECONDS)
            finally:
                if process.poll() is None:
                    watch.kill()  # a rank that hangs does not end when it is asked to
                    process.terminate()
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(END_SECONDS)
                    process.kill()
        if process.returncode:
            watch.check()
            log.seek(0)
            lines = [line for line in log.read().splitlines() if line.strip()]
            # A rank's own lines ("[1]<stderr>:…") tell more than the launcher's.
            lines = [line for line in lines if "<stderr>" in line] or lines
            raise TrainingError(f"horovodrun ended with {process.returncode}:\n" + "\n".join(lines[-15:]))
    yield
