"""How fast the network is trained: ``python -m benchmarks train``.

Ranks have one thread each, so that two of them use two cores where one uses one. A rate is the median of an
epoch's images per second, without the first epoch, in which TensorFlow traces the steps.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import seaicekit as sik
from benchmarks import Raw, Rows, in_new_process, medians, row, run_parts
from seaicekit import training
from seaicekit.classes import LEGEND, NODATA
from seaicekit.files import InputError

PAPER = {8: 7.21}  # GPUs → times the speed of one (arXiv 2403.13135, table V)
NETWORK = {"bytes a second": 1.25e9, "seconds a message": 50e-6}  # 10 Gbit/s Ethernet, TCP


@dataclass(frozen=True)
class Work:
    """What is trained.

    Parameters
    ----------
    ranks : sequence of int
        Numbers of ranks to compare, the first of them 1.
    count : int
        Tiles of an epoch; for weak scaling, tiles of an epoch a rank.
    size : int
        Pixels a side of a tile.
    batch : int
        Tiles of a step and rank at the most ranks; for weak scaling, at any number.
    epochs : int
        At least 2, since the first is not counted.
    width, depth : int
        Of the U-Net; the paper's by default.
    repeats : int
        Of the comparison with Keras, in turn.

    Raises
    ------
    InputError
        Numbers that do not fit.
    """

    ranks: Sequence[int] = (1, 2)
    count: int = 32
    size: int = 256
    batch: int = 4
    epochs: int = 4
    width: int = 16
    depth: int = 6
    repeats: int = 5

    def __post_init__(self):
        most = max(self.ranks)
        if self.ranks[0] != 1 or self.epochs < 2:
            raise InputError("ranks, epochs: the first number of ranks must be 1, and epochs at least 2")
        if self.count % (self.batch * most) or any(most % each for each in self.ranks):
            raise InputError(
                "count: must be a multiple of batch times the most ranks, and that of each number of ranks"
            )

    @property
    def network(self) -> dict[str, int]:
        """Settings of `seaicekit.train` that all trainings share."""
        return {"width": self.width, "depth": self.depth, "threads": 1}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's own options."""
    ranks, count = "numbers of ranks (default: 1 2)", "tiles an epoch (default: %(default)s)"
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2], metavar="N", help=ranks)
    parser.add_argument("--count", type=int, default=32, metavar="N", help=count)


def run(parts: Sequence[str], **work: Any) -> tuple[Rows, Raw]:
    """Measure training on synthetic tiles.

    Strong scaling shares one batch among the ranks, weak scaling gives each rank one; "plain" compares with
    Keras' own ``fit``. ``work`` has the fields of `Work`.
    """
    planned = Work(**work)
    with tempfile.TemporaryDirectory() as folder:
        return run_parts(PARTS, parts, planned, _label_tiles(Path(folder), planned.size))


def _label_tiles(folder: Path, size: int) -> Path:
    """Label two synthetic scenes of 4 × 4 tiles; return their index."""
    sik.scenes.write_synthetic_set(folder, 2, 4 * size)
    paths = sorted((folder / "scenes").iterdir())
    labelled = sik.autolabel(paths, folder / "labels", engine="serial", progress=False)
    sik.tiles.index_tiles(labelled, folder / "all.parquet", size, test_fraction=0.5)
    return folder / "all.parquet"


def _repeat_tiles(index: Path, count: int) -> Path:
    """Write an index of ``count`` tiles to train on, some of them several times, and one to test on."""
    import pandas as pd

    table = pd.read_parquet(index)
    train = table[table["split"] == "train"]
    repeated = train.iloc[np.arange(count) % len(train)]
    path = index.with_name(f"{count}.parquet")
    pd.concat([repeated, table[table["split"] == "test"].iloc[:1]]).to_parquet(path, index=False)
    return path


def scaling(part: str, work: Work, index: Path) -> tuple[Rows, Raw]:
    """Train with each number of ranks, started by horovodrun; compare images per second."""
    raw: Raw = {}
    rows: Rows = []
    for ranks in work.ranks:
        images, batch = work.count * ranks, work.batch
        if part == "strong":
            images, batch = work.count, work.batch * max(work.ranks) // ranks
        epochs = sik.train(
            _repeat_tiles(index, images),
            index.parent / part / str(ranks),
            ranks=ranks,
            launcher="horovodrun",
            progress=False,
            epochs=work.epochs,
            batch=batch,
            **work.network,
        )["epochs"]
        rate, seconds = (
            statistics.median(epoch[name] for epoch in epochs[1:])
            for name in ("images_per_second", "seconds")
        )
        raw[str(ranks)] = {"images_per_second": rate, "images": images, "batch": batch, "epochs": epochs}
        note = f"{images} images an epoch, {batch * ranks} a step, {batch} a rank; one thread a rank"
        rows.append(row(part, f"{ranks} ranks: images per second", rate, "", note))
        rows.append(row(part, f"{ranks} ranks: seconds per epoch", seconds, "", "with the test tile"))
        if ranks > 1:
            speed = rate / raw["1"]["images_per_second"]
            target, note = ">= 1.8" if ranks == 2 else "", f"the paper: {PAPER[8]} on 8 GPUs"
            rows.append(row(part, f"{ranks} ranks: times one rank's speed", speed, target, note))
    if part == "weak":
        projected, raw["projection"] = projection(raw["1"]["images_per_second"], work)
        rows += projected
    return rows, raw


def projection(rate: float, work: Work) -> tuple[Rows, Raw]:
    """Reckon more ranks, each on a machine of its own, from one rank's speed and an assumed network.

    A step is the computation and then a ring's all-reduce, 2 (N - 1) messages of 1/N of the gradients;
    nothing overlaps and no rank waits for a slower one.

    Parameters
    ----------
    rate : float
        One rank's images per second.
    work : Work
    """
    parameters = training.build(3, len(LEGEND), work.width, work.depth).count_params()
    compute = work.batch / rate
    assumed = NETWORK | {
        "compute seconds a step": compute,
        "images a step and rank": work.batch,
        "gradient bytes": 4 * parameters,
        "all-reduce": "ring, in float32, after the computation",
        "ranks": "one thread each, one a machine, all as fast",
    }
    rows: Rows = []
    for ranks in (2, 4, 8, 16, 32):
        wire = 2 * (ranks - 1) / ranks * 4 * parameters / NETWORK["bytes a second"]
        step = compute + wire + 2 * (ranks - 1) * NETWORK["seconds a message"]
        note = f"reckoned, not measured; {step - compute:.3f} s of a step's {step:.3f} s on the network"
        note += f"; the paper: {PAPER[ranks]}" if ranks in PAPER else ""
        what = f"{ranks} ranks: times one rank's speed"
        rows.append(row("projection", what, ranks * compute / step, "", note))
    return rows, assumed


def plain(work: Work, index: Path) -> tuple[Rows, Raw]:
    """Compare one rank in process with Keras' own ``fit``, in a process of its own with one thread."""
    raw = in_new_process(against_keras, _repeat_tiles(index, work.count), work)
    median = medians(raw)
    note = f"{work.count} images, {work.batch} a step, one thread; median of {work.repeats} in turn"
    what = "one rank in process: times the time of Keras' fit"
    return [row("plain", what, median["fit"] / median["keras"], "<= 1.05", note)], raw


def against_keras(index: Path, work: Work) -> dict[str, list[float]]:
    """Time an epoch of `seaicekit.train` in this process, and of Keras' ``fit``, in turn.

    Of both it is the second epoch, since TensorFlow traces the steps in the first.

    Returns
    -------
    dict
        ``fit``, ``keras``: seconds of each turn but the first.
    """
    import keras
    import pandas as pd
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    settings: dict[str, Any] = {"ranks": 1, "launcher": "inprocess", "progress": False, "augment": False}
    settings |= {"epochs": 2, "batch": work.batch, "learning_rate": 0.001, **work.network}
    images, codes = sik.tiles.load_tiles(pd.read_parquet(index).query("split == 'train'"))
    model = training.build(3, len(LEGEND), work.width, work.depth)
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=NODATA)
    model.compile(keras.optimizers.Adam(settings["learning_rate"]), loss, metrics=["accuracy"])
    times: list[float] = []
    note_time = lambda *_: times.append(time.perf_counter())  # noqa: E731
    clock = keras.callbacks.LambdaCallback(on_epoch_begin=note_time, on_epoch_end=note_time)
    taken: dict[str, list[float]] = {"fit": [], "keras": []}
    for _ in range(work.repeats + 1):
        model.fit(images, codes, work.batch, epochs=2, shuffle=True, verbose=0, callbacks=[clock])
        taken["keras"].append(times[-1] - times[-2])
        done = sik.train(index, index.parent / "plain", **settings)
        taken["fit"].append(len(images) / done["epochs"][1]["images_per_second"])
    return {name: each[1:] for name, each in taken.items()}


PARTS: dict[str, Callable[[Work, Path], tuple[Rows, Raw]]] = {
    "strong": partial(scaling, "strong"),
    "weak": partial(scaling, "weak"),
    "plain": plain,
}
