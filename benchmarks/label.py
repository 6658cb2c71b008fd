"""How fast and how well scenes are labelled: ``python -m benchmarks label``."""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import seaicekit as sik
from benchmarks import (
    GRANULE,
    Raw,
    Rows,
    in_new_process,
    medians,
    published_form,
    row,
    run_parts,
    seconds,
    write_granule,
)
from seaicekit import engines, labels
from seaicekit.classes import NODATA
from seaicekit.files import InputError
from seaicekit.pipeline import memory_watch

REPEATS = 5
DISTINCT = 6  # scenes that are really different; the others are copies of them under other names
PAPER = {2: 2, 4: 3.7, 6: 4.2, 8: 4.5}  # processes → times one's speed (arXiv 2403.13135, table I)
RATIOS = (  # what is measured, the slower's and the faster's name, the target
    ("filter, label: times the published form's speed", "published filter", "filter", ">= 2.5"),
    ("label only: times the published form's speed", "published label", "label", ">= 20"),
    ("filter, label: times a lean form's speed", "lean filter", "filter", ">= 1.3"),
    ("label only: times a lean form's speed", "lean label", "label", ">= 3"),
    ("filter, label: times the time of the median alone", "filter", "median", "<= 1.6"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's own options."""
    parser.add_argument(
        "--scenes", type=int, default=66, metavar="N", help="how many scenes (default: %(default)s)"
    )
    parser.add_argument(
        "--size", type=int, default=2048, metavar="PIXELS", help="a side (default: %(default)s)"
    )


def run(parts: Sequence[str], scenes: int = 66, size: int = 2048) -> tuple[Rows, Raw]:
    """Measure some parts on synthetic scenes of ``size`` pixels a side.

    Raises
    ------
    InputError
        Too few or too small scenes.
    """
    if scenes < 2 or size < 64:
        raise InputError("scenes, size: at least 2 scenes of 64 pixels a side")
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        return run_parts(PARTS, parts, write_scenes(Path(folder), scenes, size), Path(folder))


def write_scenes(folder: Path, count: int, size: int) -> list[Path]:
    """Write scenes, every second one cloudy; beyond `DISTINCT` they are links to the first ones."""
    paths = [
        sik.scenes.write_synthetic(folder, n, (size, size), 0.4 * (n % 2))[0]
        for n in range(min(count, DISTINCT))
    ]
    for number in range(DISTINCT, count):
        paths.append(folder / "scenes" / f"copy_{number:03}.tif")
        os.link(paths[number % DISTINCT], paths[-1])
    return paths


def one_core(paths: list[Path], _folder: Path) -> tuple[Rows, Raw]:
    """Compare with the published form and a lean one, in memory, on one core."""
    raw: Raw = {}
    for path in paths[: DISTINCT // 2]:
        scene = sik.open_scene(path).load()  # reading is not timed
        rgb = np.ascontiguousarray(scene.values.transpose(1, 2, 0))
        ours = sik.label(scene, nodata="ignore").values
        colours = np.array(published_form.COLOURS, np.uint8)[ours]
        if not np.array_equal(published_form.filter_one_channel(rgb), ours):
            raise AssertionError(f"{path}: the lean form gives other labels")
        if not np.array_equal(published_form.filter_three_channels(rgb), colours):
            raise AssertionError(f"{path}: the published form gives other labels")
        grey, data = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.zeros(ours.shape, bool)
        forms: dict[str, Callable] = {
            "published filter": partial(published_form.filter_three_channels, rgb),
            "lean filter": partial(published_form.filter_one_channel, rgb),
            "filter": partial(sik.label, scene, nodata="ignore"),
            "median": partial(cv2.medianBlur, grey, 155),
            "published label": partial(published_form.label_three_channels, rgb),
            "lean label": partial(published_form.label_one_channel, rgb),
            "label": partial(labels.label_raw, scene.values, data, sik.Thresholds()),
        }
        for name, taken in seconds(forms, REPEATS).items():
            raw.setdefault(name, []).extend(taken)
    median = medians(raw)
    return [row("one core", what, median[a] / median[b], target) for what, a, b, target in RATIOS], raw


def _label(paths: list[Path], folder: Path, **options: Any) -> float:
    """Label into a new folder; return seconds."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        start = time.perf_counter()
        sik.autolabel(paths, Path(out) / "labels", progress=False, **options)
        return time.perf_counter() - start


def by_engine(paths: list[Path], folder: Path) -> tuple[Rows, Raw]:
    """Compare the engines on whole runs, files included, and starts apart."""
    tiny = [sik.scenes.write_synthetic(folder / "tiny", seed, (64, 64))[0] for seed in range(16)]
    workers = [n for n in PAPER if n <= (os.cpu_count() or 1)]
    raw: Raw = {}
    rows: Rows = []

    def timed(name: str, **options: Any) -> float:
        # Joblib's processes outlive a call and are warm in the second; Dask's are started for each.
        raw[f"{name} start"] = [_label(tiny, folder, **options) for _ in range(2)][1]
        raw[name] = _label(paths, folder, **options)
        return raw[name] - raw[f"{name} start"]

    serial = timed("serial", engine="serial")
    for engine, count in itertools.product(("processes", "dask"), workers):
        speed = serial / timed(f"{engine} {count}", engine=engine, workers=count)
        target, note = ">= 1.8" if count == 2 else "", f"the paper: {PAPER[count]}; start apart"
        rows.append(row("engines", f"{engine}, {count} workers: times serial's speed", speed, target, note))
    for count in (1, *workers):
        with engines.spark_session(f"local[{count}]"):
            timed(f"spark {count}", engine="spark")
        if count > 1:
            what, speed = f"1 executor × {count} cores: times 1 × 1", raw["spark 1"] / raw[f"spark {count}"]
            rows.append(row("spark", what, speed, "", "the paper, map and reduce: 16.25 times on 4 × 4"))
    if 2 in workers:
        processes = raw["processes 2"] - raw["processes 2 start"]
        what = "local[2]: times the time of 2 processes"
        rows.append(row("spark", what, raw["spark 2"] / processes, "<= 1.25", "starts apart"))
        rows.append(
            row("spark", "local[2]: times serial's speed", serial / raw["spark 2"], ">= 1.7", "start apart")
        )
    return rows, raw


def granule(paths: list[Path], folder: Path) -> tuple[Rows, Raw]:
    """Label a granule on each engine; memory is that of all its processes together.

    Its no data is not declared, and so found by the border rule, which takes more memory.
    """
    raw: Raw = {}
    rows: Rows = []
    path = write_granule(paths[1], folder / "granule.tif", nodata=None)
    for engine in ("serial", "processes", "dask", "spark"):
        raw[engine] = in_new_process(_label_granule, path, folder, engine)
        what = f"{engine}, no data by the border rule: peak memory, GB"
        note = f"{GRANULE**2 / 1e6 / raw[engine]['seconds']:.1f} megapixels a second, start included"
        rows.append(row("granule", what, raw[engine]["peak"] / 1e9, "<= 2.0", note))
    return rows, raw


def _label_granule(path: Path, folder: Path, engine: str) -> dict[str, float]:
    """Label one scene; return seconds, and the peak memory of this process and its children in bytes."""
    master = "local[2]" if engine == "spark" else None
    with memory_watch() as memory:
        taken = _label([path], folder, engine=engine, master=master)
    return {"seconds": taken, "peak": memory["peak"]}


def linear(paths: list[Path], folder: Path) -> tuple[Rows, Raw]:
    """Time per scene at 1, 4, 16 and 64 scenes, start apart."""
    raw: Raw = {}
    rows: Rows = []
    tiny = [sik.scenes.write_synthetic(folder / "tiny", 0, (64, 64))[0]]
    for engine, processes in (("serial", 1), ("processes", 2)):
        _label(paths[:1], folder, engine=engine)  # the first call imports and warms up
        start = min(_label(tiny, folder, engine=engine) for _ in range(3))
        cost = {}
        for count in (n for n in (1, 4, 16, 64) if n <= len(paths)):
            repeats = max(1, 8 // count)
            taken = [_label(paths[:count], folder, engine=engine) - start for _ in range(repeats)]
            raw[f"{engine} {count}"] = taken
            # One scene keeps one process busy; the others are spread over all.
            cost[count] = float(np.median(taken)) * min(count, processes) / count
        spread = max(cost.values()) / min(cost.values())
        per = ", ".join(f"{count}: {1e3 * each:.0f}" for count, each in cost.items())
        note, what = f"ms of a busy core a scene, at {per}", f"{engine}: dearest over cheapest megapixel"
        rows.append(row("linear", what, spread, "<= 1.15", note))
    return rows, raw


Labelled = list[tuple[Any, np.ndarray]]  # scenes, each with its truth or labels


def _synthetic(paths: list[Path], **settings: float) -> Labelled:
    """Make three scenes as large as those on disk, up to 1024 pixels a side."""
    side = min(sik.open_scene(paths[0]).sizes["x"], 1024)
    pairs = (sik.scenes.synthetic_scene(seed, (side, side), **settings) for seed in range(3))
    return [(scene, truth.values) for scene, truth in pairs]


def _labelled(synthetic: Labelled, **rule: Any) -> Labelled:
    return [(scene, sik.label(scene, **rule).values) for scene, _ in synthetic]


def _equal(some: Labelled, others: Labelled) -> float:
    """Return the mean over scenes of the share of valid pixels that have the same class."""
    shares = [(a == b)[b != NODATA].mean() for (_, a), (_, b) in zip(some, others, strict=True)]
    return float(np.mean(shares))


def scope(paths: list[Path], _folder: Path) -> tuple[Rows, Raw]:
    """Measure how much the paper's filtering by tile changes, and whether for the better."""
    rows = []
    for sky, cover in (("clear", 0.0), ("cloudy", 0.4)):
        truths = _synthetic(paths, cloud=cover)
        whole = _labelled(truths)
        rows.append(row("scope", f"{sky}: accuracy, whole scene", _equal(whole, truths)))
        for window in (155, 19):
            tiled = _labelled(truths, scope="tile", window=window)
            note = f"{1 - _equal(tiled, whole):.1%} of the labels differ from the whole scene's"
            what = f"{sky}: accuracy, by tile, window {window}"
            rows.append(row("scope", what, _equal(tiled, truths), "", note))
    return rows, {}


def illumination(paths: list[Path], _folder: Path) -> tuple[Rows, Raw]:
    """Score the rules under a lower and a higher sun, with brightness normalised and not."""
    rows = []
    for light in (0.5, 0.7, 0.85, 1.0, 1.1):
        truths = _synthetic(paths, light=light) + _synthetic(paths, light=light, cloud=0.4)
        for name, filtered in (("cuts alone", False), ("filter and cuts", True)):
            plain = _equal(_labelled(truths, cloud_filter=filtered), truths)
            normalised = _equal(_labelled(truths, cloud_filter=filtered, normalise=(1, 99)), truths)
            what = f"light {light}, {name}: accuracy, normalised"
            rows.append(row("illumination", what, normalised, "", f"{plain:.4f} without"))
    return rows, {}


PARTS: dict[str, Callable[[list[Path], Path], tuple[Rows, Raw]]] = {
    "onecore": one_core,
    "engines": by_engine,
    "granule": granule,
    "linear": linear,
    "scope": scope,
    "illumination": illumination,
}
