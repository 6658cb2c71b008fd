"""The benchmarks: each compares things within one run, and writes JSON and a table."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from seaicekit.files import write_json

PACKAGES = ("numpy", "opencv-python-headless", "rasterio", "joblib", "dask", "pyspark")


def row(part: str, what: str, value: float, target: str = "", note: str = "") -> dict:
    """Return one row: what was found, the target as ">= 2.5" or "<= 1.6", whether it is met, and a note."""
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


def seconds(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Time functions in turn, so that whatever else goes on falls on all alike.

    The first turn is not kept.
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
    """Return the median of each."""
    return {name: statistics.median(each) for name, each in taken.items()}


def machine() -> dict:
    """Say on what was measured."""
    model = ""
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    versions = {package: metadata.version(package) for package in PACKAGES}
    return {
        "cores": os.cpu_count(),
        "processor": model,
        "python": platform.python_version(),
        "versions": versions,
    }


def table(rows: list[dict]) -> str:
    """Lay rows out as a Markdown table."""
    lines = ["| | | found | target | |", "|---|---|---|---|---|"]
    for each in rows:
        verdict = {True: "met", False: "**missed**", None: ""}[each["met"]]
        target = each["target"].replace(">=", "≥").replace("<=", "≤")
        note = "; ".join(part for part in (verdict, each["note"]) if part)
        lines.append(f"| {each['part']} | {each['what']} | {each['value']:g} | {target} | {note} |")
    return "\n".join(lines)


def save(path: str | os.PathLike, rows: list[dict], raw: dict, settings: dict) -> None:
    """Write rows, raw timings, settings and machine as JSON."""
    write_json(path, {"machine": machine(), "settings": settings, "rows": rows, "raw": raw})
