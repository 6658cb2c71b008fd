"""How quickly the tuner follows, and how good its fits are: ``python -m benchmarks tuner``."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import psutil
import rasterio.shutil

from benchmarks import GRANULE, Raw, Rows, browser, fit, row, run_parts, write_granule
from seaicekit import scenes
from seaicekit.tuner import ThresholdTuner

MOVES = 60  # slider moves that are timed
LONG = 500  # slider moves over which memory is watched
WARM_UP = 50
FILTERS = {"cuts alone": False, "with the filter": True}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's own options."""
    parser.add_argument(
        "--size", type=int, default=2048, metavar="PIXELS", help="a scene's side (default: %(default)s)"
    )


def run(parts: Sequence[str], size: int = 2048) -> tuple[Rows, Raw]:
    """Measure some parts on a cloudy synthetic scene of ``size`` pixels a side.

    Raises
    ------
    InputError
        No Chromium for the part that needs it.
    """
    with tempfile.TemporaryDirectory() as folder:
        return run_parts(PARTS, parts, scenes.write_synthetic(folder, 1, (size, size), 0.4)[0], Path(folder))


def _moves(tuner: ThresholdTuner, count: int) -> list[float]:
    """Move the cuts in turn; return milliseconds from the event until the page has the new overlay."""
    taken = []
    for number in range(count):
        name, value = (("water_max", 20 + number % 60), ("thin_max", 160 + number % 60))[number % 2]
        start = time.perf_counter()
        tuner._sliders[name].value = value
        taken.append(1000 * (time.perf_counter() - start))
    return taken


def _time_moves(part: str, prefix: str, tuner: ThresholdTuner) -> tuple[Rows, Raw]:
    """Time slider moves with the cuts alone and with the filter."""
    rows, raw = [], {}
    for name, filtered in FILTERS.items():
        tuner._before.filter.value = filtered
        raw[name] = _moves(tuner, MOVES)
        what = f"{prefix}{name}: ms from slider event to new overlay"
        rows.append(row(part, what, statistics.median(raw[name]), "<= 30"))
    return rows, raw


def kernel(scene: Path, folder: Path) -> tuple[Rows, Raw]:
    """Time the kernel's part of a slider move: labels, overlay, histogram, areas and score."""
    tuner = ThresholdTuner([scene], folder=folder / "kernel")
    side = scenes.open_scene(scene).sizes["x"]  # points away from the corner without data
    for number, (y, x) in enumerate(np.random.default_rng(0).integers(side // 5, 4 * side // 5, (30, 2))):
        tuner.points.add(scene.stem, int(y), int(x), number % 3)
    tuner._settle_later = lambda: None  # what follows later does not hold up the picture
    return _time_moves("kernel", "", tuner)


def memory(scene: Path, folder: Path) -> tuple[Rows, Raw]:
    """Measure how much memory the process takes more after many moves."""
    tuner = ThresholdTuner([scene], folder=folder / "memory")
    process, raw = psutil.Process(), {}
    for name, count in (("before", WARM_UP), ("after", LONG)):
        _moves(tuner, count)
        raw[name] = process.memory_full_info().uss
    grown = (raw["after"] - raw["before"]) / 1e6
    return [row("memory", f"{LONG} slider moves: growth, MB", grown, "<= 5")], raw


def granule(scene: Path, folder: Path) -> tuple[Rows, Raw]:
    """Open a whole Sentinel-2 tile from a COG with overviews, and move its cuts."""
    draft, path = write_granule(scene, folder / "draft.tif"), folder / "granule.tif"
    rasterio.shutil.copy(draft, path, driver="COG", compress="DEFLATE", overview_resampling="AVERAGE")
    draft.unlink()
    start = time.perf_counter()
    tuner = ThresholdTuner([path], folder=folder / "granule")
    opened = time.perf_counter() - start
    rows, raw = _time_moves("granule", f"{GRANULE}² COG, ", tuner)
    return [row("granule", f"{GRANULE}² COG: s to open", opened, "<= 5"), *rows], raw | {"open": opened}


# Notes the time of each mouse move, and of the first frame that shows the overlay that follows it.
WATCH = """() => {
    const overlay = document.querySelectorAll('.leaflet-image-layer')[1];
    window.changed = [];
    new MutationObserver(() => overlay.decode().then(() => requestAnimationFrame(
        () => window.changed.push(performance.now())))).observe(overlay, {attributeFilter: ['src']});
    window.moved = [];
    window.addEventListener('mousemove', () => window.moved.push(performance.now()), true);
}"""


def page(scene: Path, folder: Path) -> tuple[Rows, Raw]:
    """Drag a cut in JupyterLab in Chromium; return milliseconds until the pixels change."""
    raw = {}
    for name, filtered in FILTERS.items():
        code = f"import seaicekit as sik\ntuner = sik.ThresholdTuner([{str(scene)!r}])\n"
        code += f"tuner._before.filter.value = {filtered}\ntuner"
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        place = folder / f"page, {name}"
        place.mkdir()
        nbformat.write(notebook, place / "tuner.ipynb")
        with browser.browser() as started, browser.serving(place) as address:
            shown = started.new_page(viewport={"width": 1280, "height": 1000})
            browser.open_notebook(shown, address, "tuner.ipynb")
            browser.run_all(shown)
            raw[name] = _drags(shown)
    what = "ms from drag to changed pixels"
    return [
        row("browser", f"{name}: {what}", statistics.median(taken), "<= 200") for name, taken in raw.items()
    ], raw


def _drags(shown: Any) -> list[float]:
    """Drag the first cut of the tuner on a page; return the milliseconds that each step takes."""
    shown.wait_for_selector(".leaflet-image-layer[src^='data:image/png']", timeout=90_000)
    shown.wait_for_selector(".bqplot .dot", timeout=30_000)
    shown.wait_for_timeout(3000)
    shown.evaluate(WATCH)
    grip = shown.locator(".bqplot .dot").first.bounding_box()
    x, y = grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2
    shown.mouse.move(x, y)
    shown.mouse.down()
    taken = []
    for number in range(MOVES // 2):
        shown.evaluate("() => { window.changed = []; window.moved = []; }")
        shown.mouse.move(x + 3 * (1 + number % 15), y)
        shown.wait_for_function("() => window.changed.length", timeout=10_000)
        taken.append(shown.evaluate("() => window.changed[0] - window.moved[0]"))
        shown.wait_for_timeout(150)
    shown.mouse.up()
    return taken


def fits(_scene: Path, _folder: Path) -> tuple[Rows, Raw]:
    """Measure fits on points against the best two cuts."""
    return fit.run()


PARTS = {"kernel": kernel, "browser": page, "memory": memory, "granule": granule, "fit": fits}
