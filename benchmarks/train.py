"""How fast the network is trained: ``python -m benchmarks train``.

Ranks have one thread each, so that two of them use two cores where one uses one. A rate is the median of an
epoch's images per second, without the first epoch, in which TensorFlow traces the steps.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import row
from seaicekit import scenes, tiles, training
from seaicekit.classes import LEGEND, NODATA
from seaicekit.files import InputError
from seaicekit.labels import autolabel

REPEATS = 5
PAPER = {8: 7.21}  # GPUs → times the speed of one (arXiv 2403.13135, table V)
NETWORK = {"bytes a second": 1.25e9, "seconds a message": 50e-6}  # 10 Gbit/s Ethernet, TCP
PARTS = ("strong", "weak", "plain")
Rows = list[dict]
Raw = dict[str, Any]


def run(
    ranks: Sequence[int] = (1, 2),
    count: int = 32,
    size: int = 256,
    batch: int = 4,
    epochs: int = 4,
    width: int = 16,
    depth: int = 6,
    parts: Sequence[str] | None = None,
    repeats: int = REPEATS,
) -> tuple[Rows, Raw]:
    """Measure training on synthetic tiles.

    Parameters
    ----------
    ranks : sequence of int
        Numbers of ranks to compare, the first of them 1.
    count : int
        Tiles of an epoch; for weak scaling, tiles of an epoch a rank.
    size : int
        Pixels a side.
    batch : int
        Tiles of a step and rank at the most ranks; for weak scaling, at any number.
    epochs : int
        At least 2, for the first is not counted.
    width, depth : int
        Of the U-Net; the paper's by default.
    parts : sequence of str, optional
        Of "strong", "weak" and "plain"; all by default. Strong scaling shares one batch among the ranks, weak
        scaling gives each rank one; "plain" compares with Keras' own ``fit`` and times the input alone.
    repeats : int
        Of the comparison with Keras, in turn.

    Returns
    -------
    rows : list of dict
        As from `benchmarks.row`.
    raw : dict
        Seconds and images per second of each epoch and turn, and the projection's assumptions.

    Raises
    ------
    InputError
        An unknown part, or numbers that do not fit.
    """
    unknown = set(parts or ()) - set(PARTS)
    if unknown:
        raise InputError(f"part: {', '.join(sorted(unknown))} unknown; there are {', '.join(PARTS)}")
    if not ranks or ranks[0] != 1 or epochs < 2:
        raise InputError("ranks, epochs: the first number of ranks must be 1, and epochs at least 2")
    if count % (batch * max(ranks)) or any(max(ranks) % each for each in ranks):
        raise InputError(
            "count: must be a multiple of batch times the most ranks, and that of each number of ranks"
        )
    network = {"width": width, "depth": depth, "threads": 1}
    rows: Rows = []
    packages = ("tensorflow-cpu", "keras", "horovod")
    raw: Raw = {"versions": {name: metadata.version(name) for name in packages}}
    with tempfile.TemporaryDirectory() as folder:
        made = _tiles(Path(folder), size)
        for part in [part for part in ("strong", "weak") if part in (parts or PARTS)]:
            found, raw[part] = _scaling(part, made, Path(folder), ranks, count, batch, epochs, network)
            rows += found
        if "plain" in (parts or PARTS):
            found, raw["plain"] = _plain(made, Path(folder), count, batch, network, repeats)
            rows += found
    if "weak" in raw:
        found, raw["projection"] = _projection(raw["weak"], batch, width, depth)
        rows += found
    return rows, raw


def _tiles(folder: Path, size: int) -> Path:
    """Label two synthetic scenes of 4 × 4 tiles; return their index."""
    scenes.write_synthetic_set(folder, 2, 4 * size)
    paths = sorted((folder / "scenes").iterdir())
    labelled = autolabel(paths, folder / "labels", engine="serial", progress=False)
    tiles.index_tiles(labelled, folder / "all.parquet", size, test_fraction=0.5)
    return folder / "all.parquet"


def _index(made: Path, count: int) -> Path:
    """Write an index of ``count`` tiles to train on, some of them several times, and one to test on."""
    import pandas as pd

    table = pd.read_parquet(made)
    parts = [table[table["split"] == "train"], table[table["split"] == "test"].iloc[:1]]
    parts[0] = parts[0].iloc[np.arange(count) % len(parts[0])]
    path = made.with_name(f"{count}.parquet")
    pd.concat(parts).to_parquet(path, index=False)
    return path


def _scaling(
    part: str,
    made: Path,
    folder: Path,
    ranks: Sequence[int],
    count: int,
    batch: int,
    epochs: int,
    network: dict,
) -> tuple[Rows, Raw]:
    """Train with each number of ranks, started by horovodrun; compare images per second."""
    raw: Raw = {}
    rows: Rows = []
    for each in ranks:
        images, share = (count, batch * max(ranks) // each) if part == "strong" else (count * each, batch)
        done = training.train(
            _index(made, images),
            folder / part / str(each),
            ranks=each,
            launcher="horovodrun",
            progress=False,
            epochs=epochs,
            batch=share,
            **network,
        )
        kept = done["epochs"][1:]
        rate = statistics.median(epoch["images_per_second"] for epoch in kept)
        raw[str(each)] = {
            "images_per_second": rate,
            "images": images,
            "batch": share,
            "epochs": done["epochs"],
        }
        work = f"{images} images an epoch, {share * each} a step, {share} a rank; one thread a rank"
        rows.append(row(part, f"{each} ranks: images per second", rate, "", work))
        took = statistics.median(epoch["seconds"] for epoch in kept)
        rows.append(row(part, f"{each} ranks: seconds per epoch", took, "", "with the test tile"))
        if each > 1:
            speed = rate / raw["1"]["images_per_second"]
            paper = ", ".join(f"{much} on {many} GPUs" for many, much in PAPER.items())
            target = ">= 1.8" if each == 2 else ""
            rows.append(
                row(part, f"{each} ranks: times one rank's speed", speed, target, f"the paper: {paper}")
            )
            rows.append(row(part, f"{each} ranks: efficiency", speed / each, "", "the paper: 0.9 on 8 GPUs"))
    return rows, raw


def _projection(weak: Raw, batch: int, width: int, depth: int) -> tuple[Rows, Raw]:
    """Reckon more ranks, each on a machine of its own, from one rank's speed and an assumed network.

    A step is the computation and then a ring's all-reduce, 2 (N - 1) messages of 1/N of the gradients;
    nothing overlaps and no rank waits for a slower one.
    """
    parameters = training.build(3, len(LEGEND), width, depth).count_params()
    compute = batch / weak["1"]["images_per_second"]
    assumed = NETWORK | {
        "compute seconds a step": compute,
        "images a step and rank": batch,
        "gradient bytes": 4 * parameters,
        "all-reduce": "ring, in float32, after the computation",
        "ranks": "one thread each, one a machine, all as fast",
    }
    rows: Rows = []
    for each in (2, 4, 8, 16, 32):
        wire = 2 * (each - 1) / each * 4 * parameters / NETWORK["bytes a second"]
        step = compute + wire + 2 * (each - 1) * NETWORK["seconds a message"]
        note = f"reckoned, not measured; {step - compute:.3f} s of a step's {step:.3f} s on the network"
        note += f"; the paper: {PAPER[each]}" if each in PAPER else ""
        rows.append(
            row("projection", f"{each} ranks: times one rank's speed", each * compute / step, "", note)
        )
    return rows, assumed


def _plain(made: Path, folder: Path, count: int, batch: int, network: dict, repeats: int) -> tuple[Rows, Raw]:
    """Compare one rank in process with Keras' own ``fit``, in a process of its own with one thread."""
    given = {"tiles": str(_index(made, count)), "out_dir": str(folder / "plain"), "batch": batch} | network
    code = (
        "import json, sys; from benchmarks.train import against_keras; "
        "print(json.dumps(against_keras(json.loads(sys.argv[1]), int(sys.argv[2]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(given), str(repeats)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    raw = json.loads(done.stdout.splitlines()[-1])
    took = {name: statistics.median(each) for name, each in raw.items()}
    work = f"{count} images, {batch} a step, one thread; median of {repeats} in turn"
    return [
        row(
            "plain",
            "one rank in process: times the time of Keras' fit",
            took["fit"] / took["keras"],
            "<= 1.05",
            work,
        ),
        row(
            "plain",
            "input alone: images per second",
            count / took["input"],
            "",
            "turned, in batches, from the file",
        ),
        row("plain", "input alone: times what the model eats", took["fit"] / took["input"], ">= 5", work),
    ], raw


def against_keras(settings: dict, repeats: int) -> dict[str, list[float]]:
    """Time an epoch of `seaicekit.training.fit`, of Keras' ``fit``, and of the input alone, in turn.

    Of both fits it is the second epoch, for in the first TensorFlow traces the steps.

    Returns
    -------
    dict
        ``fit``, ``keras``, ``input``: seconds of each turn but the first.
    """
    import keras
    import pandas as pd
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    ours = training.Job(**settings, epochs=2, augment=False)
    table = pd.read_parquet(ours.tiles)
    train = table[table["split"] == "train"]
    images, codes = tiles.load_tiles(train)
    keras.utils.set_random_seed(0)
    model = training.build(3, len(LEGEND), ours.width, ours.depth)
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=NODATA)
    model.compile(keras.optimizers.Adam(ours.learning_rate), loss, metrics=["accuracy"])

    class Clock(keras.callbacks.Callback):
        seconds = 0.0

        def on_epoch_begin(self, *_) -> None:
            self.seconds = -time.perf_counter()

        def on_epoch_end(self, *_) -> None:
            self.seconds += time.perf_counter()

    clock = Clock()
    taken: dict[str, list[float]] = {"fit": [], "keras": [], "input": []}
    Path(ours.out_dir).mkdir(parents=True, exist_ok=True)
    with closing(os.fdopen(os.open(Path(ours.out_dir) / "tiles", os.O_RDWR | os.O_CREAT), "rb+")) as file:
        kept = tiles.Tiles(
            train, "rgb", LEGEND, tiles.target_rasters(train, "labels", ours.tiles), file.fileno()
        )
        kept.fill()
        share = tiles.epoch_order(len(train), 0, 0, ours.batch, 0, 1)
        for turn in range(repeats + 1):
            model.fit(images, codes, ours.batch, 2, shuffle=True, verbose=0, callbacks=[clock])
            start = time.perf_counter()
            read = sum(len(x) for x, _ in kept.batches(share, [0, turn]))
            taken["input"].append(time.perf_counter() - start)
            if read != len(train):
                raise AssertionError(f"{read} images read of {len(train)}")
            taken["keras"].append(clock.seconds)
            taken["fit"].append(len(train) / training.fit(ours)["epochs"][1]["images_per_second"])
    return {name: each[1:] for name, each in taken.items()}
