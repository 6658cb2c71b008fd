"""The benchmarks: what the texts quote, measured within one run, as a table and as JSON.

Each benchmark is a module with ``PARTS`` (the names that ``--part`` takes), ``run(parts, **options)``, which
returns rows and raw figures, and, where it has options of its own, ``add_arguments(parser)``.
`benchmarks.__main__` lists them.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from tqdm.auto import tqdm

from seaicekit.files import InputError, write_json

Rows = list[dict]
Raw = dict[str, Any]

GRANULE = 10980  # pixels a side of a Sentinel-2 tile at 10 m
PACKAGES = {
    "numpy",
    "opencv-python-headless",
    "rasterio",
    "joblib",
    "dask",
    "pyspark",
    "tensorflow-cpu",
    "keras",
    "horovod",
}


def row(part: str, what: str, value: float, target: str = "", note: str = "") -> dict:
    """Return one row of a table.

    Parameters
    ----------
    part : str
        Which part of the benchmark measured it.
    what : str
        The quantity and its unit.
    value : float
    target : str
        Such as ">= 2.5" or "<= 1.6"; empty without one.
    note : str

    Returns
    -------
    dict
        The same, and ``met``: whether the target is met, None without one.
    """
    met = None
    if target:
        sign, bound = target.split()
        met = bool(value >= float(bound) if sign == ">=" else value <= float(bound))
    return {
        "part": part,
        "what": what,
        "value": round(float(value), 4),
        "target": target,
        "met": met,
        "note": note,
    }


def run_parts(functions: Mapping[str, Callable], parts: Sequence[str], *material: Any) -> tuple[Rows, Raw]:
    """Call the functions of some parts on the same material; return all rows, and raw figures by part."""
    rows: Rows = []
    raw: Raw = {}
    for name in tqdm(parts, unit="part"):
        more, raw[name] = functions[name](*material)
        rows += more
    return rows, raw


def check_parts(parts: Sequence[str], known: Sequence[str]) -> None:
    """Raise an `InputError` for a part that a benchmark does not have."""
    unknown = [name for name in parts if name not in known]
    if unknown:
        raise InputError(f"part: {', '.join(unknown)} unknown; there are {', '.join(known)}")


def seconds(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Time functions in turn, so that other load on the machine affects all of them alike.

    The first turn warms up and is not kept.
    """
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn:
                taken[name].append(time.perf_counter() - start)
    return taken


def medians(taken: dict[str, list[float]]) -> dict[str, float]:
    """Return the median of each list of timings."""
    return {name: statistics.median(each) for name, each in taken.items()}


def in_new_process(function: Callable, *arguments: Any) -> Any:
    """Call a function of a module in a process of its own, which has loaded nothing before."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def write_granule(scene: Path, path: Path, nodata: int | None = 0) -> Path:
    """Write a GeoTIFF as large as a Sentinel-2 granule, made of copies of one synthetic scene.

    Its pixels without data are 0, declared as ``nodata`` or, with None, not declared.
    """
    with rasterio.open(scene) as source:
        bands, profile = np.maximum(source.read(), source.dataset_mask() > 0), source.profile
    times = -(-GRANULE // bands.shape[1])
    grid = {"crs": "EPSG:32701", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 1_900_000)}
    grid |= {"height": GRANULE, "width": GRANULE, "nodata": nodata}
    with rasterio.open(path, "w", **profile | grid) as target:
        target.write(np.tile(bands, (1, times, times))[:, :GRANULE, :GRANULE])
    return path


def machine() -> dict:
    """Return the machine's processor, number of cores and package versions."""
    model = ""
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        "cores": os.cpu_count(),
        "processor": model,
        "python": platform.python_version(),
        "versions": {each.name: each.version for each in metadata.distributions() if each.name in PACKAGES},
    }


def table(rows: Rows) -> str:
    """Return rows as a Markdown table."""
    lines = ["| | | found | target | |", "|---|---|---|---|---|"]
    for each in rows:
        verdict = {True: "met", False: "**missed**", None: ""}[each["met"]]
        target = each["target"].replace(">=", "≥").replace("<=", "≤")
        note = "; ".join(part for part in (verdict, each["note"]) if part)
        lines.append(f"| {each['part']} | {each['what']} | {each['value']:g} | {target} | {note} |")
    return "\n".join(lines)


def save(path: str | os.PathLike, rows: Rows, raw: Raw, settings: dict) -> None:
    """Write rows, raw figures, settings and machine as JSON."""
    write_json(path, {"machine": machine(), "settings": settings, "rows": rows, "raw": raw})
