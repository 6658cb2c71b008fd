"""How quickly the tuner follows, and how good its fits are: ``python -m benchmarks tuner``."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import psutil
from tqdm.auto import tqdm

from benchmarks import browser, fit, row
from seaicekit import scenes
from seaicekit.files import InputError
from seaicekit.tuner import ThresholdTuner

MOVES = 60  # slider moves that are timed
LONG = 500  # slider moves over which memory is watched
GRANULE = 10980  # pixels a side of a Sentinel-2 tile at 10 m
WARM_UP = 50
Rows = list[dict]
Raw = dict[str, Any]


def run(size: int = 2048, parts: list[str] | None = None) -> tuple[Rows, Raw]:
    """Measure the parts asked for, all by default, on a cloudy synthetic scene of ``size`` pixels a side.

    Raises
    ------
    InputError
        An unknown part, or no Chromium for the part that needs it.
    """
    unknown = set(parts or ()) - PARTS.keys()
    if unknown:
        raise InputError(f"part: {', '.join(sorted(unknown))} unknown; there are {', '.join(PARTS)}")
    rows: Rows = []
    raw: Raw = {}
    with tempfile.TemporaryDirectory() as folder:
        scene = scenes.write_synthetic(folder, 1, (size, size), 0.4)[0]
        for name in tqdm(parts or list(PARTS), unit="part"):
            found, raw[name] = PARTS[name](scene, Path(folder))
            rows += found
    return rows, raw


def _moves(tuner: ThresholdTuner, count: int) -> list[float]:
    """Move the cuts in turn, and return milliseconds from the event to the overlay being handed to the page."""
    taken = []
    for number in range(count):
        name, value = (("water_max", 20 + number % 60), ("thin_max", 160 + number % 60))[number % 2]
        start = time.perf_counter()
        tuner._sliders[name].value = value
        taken.append(1000 * (time.perf_counter() - start))
    return taken


def kernel(scene: Path, folder: Path) -> tuple[Rows, Raw]:
    """Time the kernel's part of a slider move: labels, overlay, histogram, areas and score."""
    rows, raw = [], {}
    for filtered in (False, True):
        tuner = ThresholdTuner([scene], folder=folder / f"kernel-{filtered}")
        rng = np.random.default_rng(0)
        for at, (y, x) in enumerate(rng.integers(400, 1600, (30, 2))):
            tuner._click(int(y), int(x))
            tuner._class.value = at % 3
        tuner._before.filter.value = filtered
        tuner._settle_later = lambda: None  # what follows later does not hold up the picture
        taken = _moves(tuner, MOVES)
        name = "with the filter" if filtered else "cuts alone"
        raw[name] = taken
        rows.append(
            row("kernel", f"{name}: ms from slider event to new overlay", statistics.median(taken), "<= 30")
        )
    return rows, raw


def memory(scene: Path, folder: Path) -> tuple[Rows, Raw]:
    """Weigh the process before and after many moves."""
    tuner = ThresholdTuner([scene], folder=folder / "memory")
    process = psutil.Process()
    _moves(tuner, WARM_UP)
    before = process.memory_full_info().uss
    _moves(tuner, LONG)
    after = process.memory_full_info().uss
    grown = (after - before) / 1e6
    return [row("memory", f"{LONG} slider moves: growth, MB", grown, "<= 5")], {
        "before": before,
        "after": after,
    }


def granule(scene: Path, folder: Path) -> tuple[Rows, Raw]:
    """Open a whole Sentinel-2 tile from a COG with overviews, and move its cuts."""
    import rasterio
    import rasterio.shutil

    with rasterio.open(scene) as source:
        tile, profile = source.read(), source.profile
    times = -(-GRANULE // tile.shape[1])
    whole = np.tile(tile, (1, times, times))[:, :GRANULE, :GRANULE]
    draft, path = folder / "draft.tif", folder / "granule.tif"
    with rasterio.open(draft, "w", **profile | {"height": GRANULE, "width": GRANULE, "nodata": 0}) as target:
        target.write(whole)
    del whole
    rasterio.shutil.copy(draft, path, driver="COG", compress="DEFLATE", overview_resampling="AVERAGE")
    draft.unlink()
    start = time.perf_counter()
    tuner = ThresholdTuner([path], folder=folder / "granule")
    opened = time.perf_counter() - start
    taken = _moves(tuner, MOVES)
    tuner._before.filter.value = True
    filtered = _moves(tuner, MOVES)
    raw = {"open": opened, "moves": taken, "moves with the filter": filtered}
    return [
        row("granule", f"{GRANULE}² COG: s to open", opened, "<= 5"),
        row(
            "granule",
            f"{GRANULE}² COG, cuts alone: ms from slider event to new overlay",
            statistics.median(taken),
            "<= 30",
        ),
        row(
            "granule",
            f"{GRANULE}² COG, with the filter: ms from slider event to new overlay",
            statistics.median(filtered),
            "<= 30",
        ),
    ], raw


# Counts frames until the overlay on the page is another one, from the moment the cut begins to move.
WATCH = """() => {
    const overlay = document.querySelectorAll('.leaflet-image-layer')[1];
    window.changed = [];
    new MutationObserver(() => overlay.decode().then(() => requestAnimationFrame(
        () => window.changed.push(performance.now())))).observe(overlay, {attributeFilter: ['src']});
    window.moved = [];
    window.addEventListener('mousemove', () => window.moved.push(performance.now()), true);
}"""


def page(scene: Path, folder: Path) -> tuple[Rows, Raw]:
    """Drag a cut in a real JupyterLab in a real Chromium, and wait for the pixels."""
    rows, raw = [], {}
    for filtered in (False, True):
        place = folder / f"page-{filtered}"
        place.mkdir()
        code = f"import seaicekit as sik\ntuner = sik.ThresholdTuner([{str(scene)!r}])\n"
        code += f"tuner._before.filter.value = {filtered}\ntuner"
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, place / "tuner.ipynb")
        with browser.browser() as started, browser.serving(place) as address:
            shown = started.new_page(viewport={"width": 1280, "height": 1000})
            browser.open_notebook(shown, address, "tuner.ipynb")
            browser.run_all(shown)
            shown.wait_for_selector(".leaflet-image-layer[src^='data:image/png']", timeout=90_000)
            shown.wait_for_selector(".bqplot .dot", timeout=30_000)
            shown.wait_for_timeout(3000)
            shown.evaluate(WATCH)
            grip: Any = shown.locator(".bqplot .dot").first.bounding_box()
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
        name = "with the filter" if filtered else "cuts alone"
        raw[name] = taken
        rows.append(
            row("browser", f"{name}: ms from drag to changed pixels", statistics.median(taken), "<= 200")
        )
    return rows, raw


def fits(_scene: Path, _folder: Path) -> tuple[Rows, Raw]:
    """Measure fits on points against the best two cuts."""
    return fit.run()


PARTS = {"kernel": kernel, "browser": page, "memory": memory, "granule": granule, "fit": fits}
