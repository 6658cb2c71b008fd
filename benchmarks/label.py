"""How fast and how well scenes are labelled: ``python -m benchmarks label``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
from tqdm.auto import tqdm

from benchmarks import medians, published_form, row, seconds
from seaicekit import engines, labels, scenes
from seaicekit.files import InputError
from seaicekit.labels import autolabel, decide_scene, measure_block, start_scene

REPEATS = 5
DISTINCT = 6  # scenes that are really different; the others are copies of them under other names
GRANULE = 10980
Rows = list[dict]
Raw = dict[str, Any]


def run(count: int, size: int, parts: list[str] | None = None) -> tuple[Rows, Raw]:
    """Measure the parts asked for, all by default, on ``count`` synthetic scenes of ``size`` pixels a side.

    Raises
    ------
    InputError
        An unknown part, or no scenes.
    """
    unknown = set(parts or ()) - PARTS.keys()
    if unknown:
        raise InputError(f"part: {', '.join(sorted(unknown))} unknown; there are {', '.join(PARTS)}")
    if count < 2 or size < 64:
        raise InputError("scenes, size: at least 2 scenes of 64 pixels a side")
    cv2.setNumThreads(1)
    rows: Rows = []
    raw: Raw = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = _scenes(Path(folder), count, size)
        for name in tqdm(parts or list(PARTS), unit="part"):
            found, raw[name] = PARTS[name](paths, Path(folder))
            rows += found
    return rows, raw


def _scenes(folder: Path, count: int, size: int) -> list[Path]:
    """Write scenes, every second one cloudy; beyond `DISTINCT` they are links to the first ones."""
    paths = [
        scenes.write_synthetic(folder, n, (size, size), 0.4 * (n % 2))[0] for n in range(min(count, DISTINCT))
    ]
    for number in range(DISTINCT, count):
        link = folder / "scenes" / f"copy_{number:03}.tif"
        os.link(paths[number % DISTINCT], link)
        paths.append(link)
    return paths


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with scenes.open_reader(path) as reader:
        return reader.read()


def one_core(paths: list[Path], _folder: Path) -> tuple[Rows, Raw]:
    """Compare with the published form and a lean one, in memory, on one core."""
    plain = labels.Rule(nodata="ignore")
    raw: Raw = {}
    for path in paths[: DISTINCT // 2]:
        bands, nodata = _read(path)
        rgb, none = np.ascontiguousarray(bands.transpose(1, 2, 0)), np.zeros_like(nodata)
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        exact, _ = labels.label_array(bands, none, plain)
        if not (published_form.filter_one_channel(rgb) == exact).all():
            raise AssertionError(f"{path}: the lean form gives other labels")
        colours = np.array(published_form.COLOURS, np.uint8)[exact]
        if not (published_form.filter_three_channels(rgb) == colours).all():
            raise AssertionError(f"{path}: the published form gives other labels")
        taken = seconds(
            {
                "published filter": partial(published_form.filter_three_channels, rgb),
                "lean filter": partial(published_form.filter_one_channel, rgb),
                "filter": partial(labels.label_array, bands, none, plain),
                "median": partial(cv2.medianBlur, grey, 155),
                "published label": partial(published_form.label_three_channels, rgb),
                "lean label": partial(published_form.label_one_channel, rgb),
                "label": partial(labels.label_raw, bands, none, plain.thresholds),
            },
            REPEATS,
        )
        for name, each in taken.items():
            raw.setdefault(name, []).extend(each)
    took = medians(raw)
    ratio = lambda a, b: took[a] / took[b]  # noqa: E731
    both = "filter, label: times "
    return [
        row("one core", both + "the published form's speed", ratio("published filter", "filter"), ">= 2.5"),
        row(
            "one core",
            "label only: times the published form's speed",
            ratio("published label", "label"),
            ">= 20",
        ),
        row("one core", both + "a lean form's speed", ratio("lean filter", "filter"), ">= 1.3"),
        row("one core", "label only: times a lean form's speed", ratio("lean label", "label"), ">= 3"),
        row("one core", both + "the time of the median alone", ratio("filter", "median"), "<= 1.6"),
    ], raw


@contextmanager
def _fresh(folder: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=folder) as out:
        yield Path(out) / "labels"


def _label(paths: list[Path], folder: Path, **how) -> float:
    """Label into a new folder; return seconds."""
    with _fresh(folder) as out:
        start = time.perf_counter()
        autolabel(paths, out, progress=False, **how)
        return time.perf_counter() - start


def by_engine(paths: list[Path], folder: Path) -> tuple[Rows, Raw]:
    """Compare the engines on whole runs, files included."""
    tiny = [
        scenes.write_synthetic(folder / "tiny", seed, (64, 64))[0] for seed in range(16)
    ]  # enough for all workers
    cores = os.cpu_count() or 1
    counts = [n for n in (2, 4, 6, 8) if n <= cores]
    raw: Raw = {}

    def timed(name: str, **how) -> float:
        # Joblib's processes outlive a call and are warm in the second; Dask's are started for each.
        raw[f"{name} start"] = [_label(tiny, folder, **how) for _ in range(2)][1]
        raw[name] = _label(paths, folder, **how)
        return raw[name] - raw[f"{name} start"]

    took = {"serial": timed("serial", engine="serial")}
    for engine in ("processes", "dask"):
        for count in counts:
            took[f"{engine} {count}"] = timed(f"{engine} {count}", engine=engine, workers=count)
    paper = {2: 2, 4: 3.7, 6: 4.2, 8: 4.5}
    rows = []
    for name in list(took)[1:]:
        engine, many = name.split()
        target = ">= 1.8" if many == "2" else ""
        note = f"the paper: {paper[int(many)]}; start apart"
        rows.append(
            row(
                "engines",
                f"{engine}, {count} workers: times serial's speed",
                took["serial"] / took[name],
                target,
                note,
            )
        )
    rows += _by_spark(paths, tiny, folder, took, raw)
    return rows, raw


def _by_spark(paths: list[Path], tiny: list[Path], folder: Path, took: dict[str, float], raw: Raw) -> Rows:
    """Load, map and reduce on one session after the other, each forced, its results kept."""
    rows: list[dict] = []
    first: dict[str, float] = {}
    for count in (n for n in (1, 2, 4, 8) if n <= (os.cpu_count() or 1)):
        start = time.perf_counter()
        with (
            engines.spark_session(f"local[{count}]"),
            engines.mapper("spark") as mapped,
            _fresh(folder) as out,
        ):
            raw[f"spark {count} start"] = time.perf_counter() - start
            for _ in range(2):  # Python workers start, Java compiles
                raw[f"spark {count} tiny"] = _label(tiny, folder, engine="spark")
            phases = _phases(paths, out, mapped)
            raw |= {f"spark {count} {name}": taken for name, taken in phases.items()}
            raw[f"spark {count}"] = _label(paths, folder, engine="spark")
        first = first or phases
        for name, paper in (("load", "9 times on 4 × 4"), ("map and reduce", "16.25 times on 4 × 4")):
            speed = sum(first[each] for each in name.split(" and ")) / sum(
                phases[each] for each in name.split(" and ")
            )
            if count > 1:
                rows.append(
                    row(
                        "spark",
                        f"1 executor × {count} cores, {name}: times 1 × 1",
                        speed,
                        "",
                        f"the paper: {paper}",
                    )
                )
    if "spark 2" in raw:
        rows.append(
            row(
                "spark",
                "local[2]: times the time of 2 processes",
                raw["spark 2"] / took["processes 2"],
                "<= 1.25",
                "starts apart",
            )
        )
        rows.append(
            row(
                "spark",
                "local[2]: times serial's speed",
                took["serial"] / raw["spark 2"],
                ">= 1.7",
                "start apart",
            )
        )
    return rows


def load_scene(task: dict) -> dict:
    """Read a scene's pixels in a task; the sum shows that they were read."""
    bands, nodata = _read(task["path"])
    return {"sum": int(bands.sum()) + int(nodata.sum())}


def _phases(paths: list[Path], out: Path, mapped: engines.Mapper) -> dict[str, float]:
    """Time what `autolabel` does, step by step, with blocks so small that there is a reduce."""
    scratch = out.parent / "scratch"
    scratch.mkdir()
    block = max(32, rasterio.open(paths[0]).width // 2)
    common = {
        "rule": labels.Rule().to_dict(),
        "block": block,
        "scratch": str(scratch),
    }
    tasks = [
        common | {"scene": path.stem, "path": str(path), "labels": str(out.parent / f"{path.stem}.tif")}
        for path in paths
    ]
    steps = [time.perf_counter()]
    list(mapped(load_scene, tasks, lambda _: None))
    steps.append(time.perf_counter())
    started = [
        task | begun for task, begun in zip(tasks, mapped(start_scene, tasks, lambda _: None), strict=True)
    ]
    blocks = [task | {"window": window} for task in started for window in task["windows"]]
    measured = list(mapped(measure_block, blocks, lambda _: None))
    steps.append(time.perf_counter())
    counts = {task["scene"]: np.zeros(256, np.int64) for task in started}
    for task, result in zip(blocks, measured, strict=True):
        counts[task["scene"]] += result["counts"]
    last = [task | {"counts": counts[task["scene"]].tolist()} for task in started]
    list(mapped(decide_scene, last, lambda _: None))
    steps.append(time.perf_counter())
    return dict(zip(("load", "map", "reduce"), np.diff(steps).tolist(), strict=True))


def phases(paths: list[Path], folder: Path) -> tuple[Rows, Raw]:
    """Say what bounds a run: decoding, computing or writing."""
    bands, nodata = _read(paths[1])
    codes, _ = labels.label_array(bands, nodata, labels.Rule())
    with rasterio.open(paths[1]) as source:
        grid = source.crs, source.transform
    taken = seconds(
        {
            "decode": lambda: _read(paths[1]),
            "compute": lambda: labels.label_array(bands, nodata, labels.Rule()),
            "write": lambda: scenes.write_classes(folder / "written.tif", codes, *grid),
        },
        REPEATS,
    )
    took = medians(taken)
    total, mega = sum(took.values()), codes.size / 1e6
    return [
        row(
            "phases",
            f"{name}: share of a scene's time",
            each / total,
            "",
            f"{1e3 * each / mega:.1f} ms a megapixel",
        )
        for name, each in took.items()
    ], taken


def granule(paths: list[Path], folder: Path) -> tuple[Rows, Raw]:
    """Label a granule of 10980 pixels a side on each engine; memory is that of all its processes together."""
    raw: Raw = {}
    rows = []
    for declared in (True, False):
        path = _granule(paths[1], folder, declared)
        for engine in ("serial", "processes", "dask", "spark"):
            with _fresh(folder) as out:
                done = subprocess.run(
                    [sys.executable, "-c", GRANULE_RUN, path, out, engine], capture_output=True, text=True
                )
            if done.returncode:
                raise RuntimeError(done.stderr[-2000:])
            said = json.loads(done.stdout.splitlines()[-1])
            name = f"{engine}, no data {'declared' if declared else 'by the border rule'}"
            raw[name] = said
            note = f"{GRANULE**2 / 1e6 / said['seconds']:.1f} megapixels a second, start included"
            rows.append(row("granule", f"{name}: peak memory, GB", said["peak"] / 1e9, "<= 2.0", note))
        path.unlink()
    return rows, raw


GRANULE_RUN = """
import json, sys, time
import seaicekit as sik
from seaicekit.pipeline import memory_watch
if __name__ == "__main__":
    path, out, engine = sys.argv[1:]
    begin = time.perf_counter()
    with memory_watch() as memory:
        sik.autolabel([path], out, engine=engine, progress=False, master="local[2]" if engine == "spark" else None)
    print(json.dumps({"seconds": time.perf_counter() - begin, "peak": memory["peak"]}))
"""


def _granule(path: Path, folder: Path, declared: bool) -> Path:
    """Write a granule of repeated scenes, with no data declared or not."""
    bands, nodata = _read(path)
    target = folder / f"granule_{declared}.tif"
    grid = {"crs": "EPSG:32701", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 1_900_000)}
    profile = {
        "driver": "GTiff",
        "count": 3,
        "dtype": "uint8",
        "width": GRANULE,
        "height": GRANULE,
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "deflate",
    }
    bands = np.where(nodata, 0, np.maximum(bands, 1))
    with rasterio.open(target, "w", nodata=0 if declared else None, **profile, **grid) as out:
        for window in scenes.blocks((GRANULE, GRANULE), 2048):
            rows = np.arange(window.row, window.row + window.height) % bands.shape[1]
            cols = np.arange(window.col, window.col + window.width) % bands.shape[2]
            place = rasterio.windows.Window(window.col, window.row, window.width, window.height)
            out.write(bands[:, rows][:, :, cols], window=place)
    return target


def linear(paths: list[Path], folder: Path) -> tuple[Rows, Raw]:
    """Time per scene at 1, 4, 16 and 64 scenes, start apart."""
    raw: Raw = {}
    rows = []
    for engine in ("serial", "processes"):
        _label(paths[:1], folder, engine=engine)  # the first call imports and warms up
        start = min(
            _label([scenes.write_synthetic(folder / "tiny", 0, (64, 64))[0]], folder, engine=engine)
            for _ in range(3)
        )
        cost = {}
        for count in (n for n in (1, 4, 16, 64) if n <= len(paths)):
            repeats = [
                _label(paths[:count], folder, engine=engine) - start for _ in range(max(1, 8 // count))
            ]
            raw[f"{engine} {count}"] = repeats
            # One scene keeps one process busy; the others are spread over all.
            busy = min(count, 2) if engine == "processes" else 1
            cost[count] = float(np.median(repeats)) * busy / count
        spread = max(cost.values()) / min(cost.values())
        per = ", ".join(f"{count}: {1e3 * each:.0f}" for count, each in cost.items())
        rows.append(
            row(
                "linear",
                f"{engine}: dearest over cheapest megapixel",
                spread,
                "<= 1.15",
                f"ms of a busy core a scene, at {per}",
            )
        )
    return rows, raw


def _scores(rule: labels.Rule, made: list[tuple], against: labels.Rule | None = None) -> float:
    """Mean share of valid pixels that are the truth's, or another rule's."""
    shares = []
    for scene, truth in made:
        bands, nodata = scene.values, scene.coords["nodata"].values
        metres = labels.scene_pixel_size(scene)
        ends = labels.scene_stretch_limits(bands, nodata, rule)
        got, _ = labels.label_array(bands, nodata, rule, None, metres, None, ends)
        wanted = (
            truth.values if against is None else labels.label_array(bands, nodata, against, None, metres)[0]
        )
        shares.append((got == wanted)[~nodata].mean())
    return float(np.mean(shares))


def _made(size: int, **how) -> list[tuple]:
    return [scenes.synthetic_scene(seed, (size, size), **how) for seed in range(3)]


def _size(paths: list[Path]) -> int:
    with rasterio.open(paths[0]) as source:
        return min(source.width, 1024)


def scope(paths: list[Path], _folder: Path) -> tuple[Rows, Raw]:
    """Say how much the paper's filtering by tile changes, and whether for the better."""
    rows = []
    for sky, cover in (("clear", 0.0), ("cloudy", 0.4)):
        made = _made(_size(paths), cloud=cover)
        whole = labels.Rule()
        rows.append(row("scope", f"{sky}: accuracy, whole scene", _scores(whole, made)))
        for window in (155, 19):
            tiled = labels.Rule(scope="tile", window=window)
            differ = 1 - _scores(tiled, made, whole)
            note = f"{differ:.1%} of the labels differ from the whole scene's"
            rows.append(
                row("scope", f"{sky}: accuracy, by tile, window {window}", _scores(tiled, made), "", note)
            )
    return rows, {}


def illumination(paths: list[Path], _folder: Path) -> tuple[Rows, Raw]:
    """Score the rules under a lower and a higher sun, with brightness normalised and not."""
    rows = []
    for light in (0.5, 0.7, 0.85, 1.0, 1.1):
        made = _made(_size(paths), light=light) + _made(_size(paths), light=light, cloud=0.4)
        for name, filtered in (("cuts alone", False), ("filter and cuts", True)):
            plain = _scores(labels.Rule(cloud_filter=filtered), made)
            evened = _scores(labels.Rule(cloud_filter=filtered, normalise=(1, 99)), made)
            what = f"light {light}, {name}: accuracy, normalised"
            rows.append(row("illumination", what, evened, "", f"{plain:.4f} without"))
    return rows, {}


PARTS: dict[str, Callable[[list[Path], Path], tuple[Rows, Raw]]] = {
    "onecore": one_core,
    "engines": by_engine,
    "phases": phases,
    "granule": granule,
    "linear": linear,
    "scope": scope,
    "illumination": illumination,
}
