"""The tuner by hand: a real JupyterLab and a real Voila in a real Chromium."""

import contextlib
import io
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

import numpy as np
import psutil
import pytest
from conftest import ROOT, command_here
from PIL import Image

import seaicekit as sik
from benchmarks.browser import TOKEN, end_kernels, open_notebook, run_all, serving
from seaicekit import classes, labels
from seaicekit.files import read_json

# What other packages' front ends say on a page that has no internet, or is no full JupyterLab.
OTHERS = (
    "ERR_NAME_NOT_RESOLVED",
    "ERR_INTERNET_DISCONNECTED",
    "jupyter-server-proxy",
    "ipyparallel",
    "favicon",
    "Shared module",
    "404 (Not Found)",
    "WebSocket",
)


@pytest.fixture(scope="module")
def folder(small, tmp_path_factory):
    """A folder with the notebooks, and the small scenes catalogued as a run by hand has them."""
    folder = tmp_path_factory.mktemp("by-hand")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    run = folder / "runs" / "by-hand"
    items, quarantined = sik.catalogue(small[0] / "scenes")
    sik.scenes.save_catalogue(run / "scenes.json", items, quarantined)
    return folder


@pytest.fixture(scope="module")
def lab(folder):
    with serving(folder) as address:
        yield address


@pytest.fixture
def page(chromium):
    """A page that fails the test if it logs an error of ours."""
    page, problems = chromium.new_page(viewport={"width": 1280, "height": 1000}), []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    page.close()
    assert [problem for problem in problems if not any(other in problem for other in OTHERS)] == []


def ready(page):
    page.wait_for_selector(".leaflet-image-layer[src^='data:image/png']", timeout=90_000)
    page.wait_for_selector(".bqplot .dot", timeout=30_000)
    page.wait_for_timeout(1500)


def box(page):
    page.locator(".leaflet-container").scroll_into_view_if_needed()
    return page.locator(".leaflet-image-layer").nth(1).bounding_box()


def pixel_at(page, shape, row, col):
    """Return where a scene's pixel is on the screen."""
    place = box(page)
    return place["x"] + (col + 0.5) * place["width"] / shape[1], place["y"] + (row + 0.5) * place[
        "height"
    ] / shape[0]


def seen(page, shape, pixels):
    """Return the colours on the screen at a scene's pixels."""
    places = [pixel_at(page, shape, row, col) for row, col in pixels]
    image = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
    return np.array([image[int(y), int(x)] for x, y in places])


def opaque(page):
    """Make the overlay opaque, so that its colours are on the screen as they are."""
    handle = page.locator(".widget-slider:has-text('classes') .noUi-handle")
    handle.focus()
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(700)


def drag(page, number, by):
    grip = page.locator(".bqplot .dot").nth(number).bounding_box()
    x, y = grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, 11):
        page.mouse.move(x + by * step / 10, y)
    page.mouse.up()
    page.wait_for_timeout(800)


def cuts(page):
    values = page.locator(".widget-text input[type=number]").evaluate_all("all => all.map(one => +one.value)")
    return sik.Thresholds(*values[:2])


def check_overlay(page, path, thresholds):
    """Wait until the screen shows the labels, at pixels whose neighbours are all of one class."""
    scene = sik.open_scene(path)
    codes = labels.label_raw(scene.values, scene.coords["nodata"].values, thresholds)
    windows = np.lib.stride_tricks.sliding_window_view(codes, (3, 3))
    even = (
        np.argwhere((windows == codes[1:-1, 1:-1, None, None]).all(axis=(2, 3)) & (codes[1:-1, 1:-1] < 3)) + 1
    )
    chosen = even[np.linspace(0, len(even) - 1, 150).astype(int)]
    expected = np.array([classes.LEGEND[codes[row, col]].rgb for row, col in chosen])
    clear = chosen[:, 0] >= 0.3 * codes.shape[0]  # the map's buttons are above
    until = time.monotonic() + 20
    while True:
        apart = np.abs(seen(page, codes.shape, chosen).astype(int) - expected).max(axis=1)
        if (apart[clear] <= 3).mean() > 0.97:
            return
        assert time.monotonic() < until, f"{(apart[clear] > 3).mean():.0%} of the pixels have another colour"
        page.wait_for_timeout(300)


def click_points(page, path, truth):
    """Click five points of each class where the truth has it."""
    shape, count = truth.shape, 0
    for entry in classes.LEGEND:
        rows, cols = np.nonzero(truth == entry.code)
        inner = (rows > 0.3 * shape[0]) & (rows < 0.95 * shape[0]) & (cols > 0.05 * shape[1])
        rows, cols = rows[inner], cols[inner]
        page.mouse.move(*pixel_at(page, shape, shape[0] // 2, shape[1] // 2))
        page.wait_for_timeout(200)
        page.keyboard.press(str(entry.code + 1))
        page.wait_for_timeout(300)
        for at in np.linspace(0, len(rows) - 1, 5).astype(int):
            page.mouse.click(*pixel_at(page, shape, rows[at], cols[at]))
            page.wait_for_timeout(250)
            count += 1
    return count


def test_calibrating_in_jupyterlab(page, lab, folder, small):
    path, truth = small[1].path[0], sik.scenes.read_codes(sorted((small[0] / "truth").iterdir())[0])
    open_notebook(page, lab, "notebooks/02_calibrate.ipynb")
    run_all(page)
    ready(page)
    opaque(page)
    before = cuts(page)
    check_overlay(page, path, before)
    drag(page, 0, 25)
    moved = cuts(page)
    assert moved.water_max > before.water_max + 5 and moved.thin_max == before.thin_max
    check_overlay(page, path, moved)
    click_points(page, path, truth)
    page.wait_for_selector("text=/points right/")
    saved = read_json(folder / "runs" / "by-hand" / "points.geojson")
    codes = [feature["properties"]["code"] for feature in saved["features"]]
    assert len(codes) >= 12 and set(codes) == {0, 1, 2}
    for feature in saved["features"]:  # where it was clicked, to a pixel
        own = feature["properties"]
        near = truth[max(0, own["row"] - 1) : own["row"] + 2, max(0, own["col"] - 1) : own["col"] + 2]
        assert own["code"] in near
    page.click("button:text-is('fit to points')")
    page.wait_for_selector("text=/Fitted to/")
    fitted = cuts(page)
    check_overlay(page, path, fitted)
    page.click("button:text-is('save')")
    page.wait_for_selector("text=/Saved/")
    assert sik.Thresholds.load(folder / "runs" / "by-hand" / "thresholds.json") == fitted
    page.wait_for_timeout(1000)

    end_kernels(lab)
    open_notebook(page, lab, "notebooks/02_calibrate.ipynb")
    run_all(page)
    ready(page)
    assert cuts(page) == fitted
    assert page.locator(f"text=/of {len(codes)} points right/").count() == 1
    assert page.locator(".leaflet-interactive").count() >= len(codes)
    page.mouse.move(*pixel_at(page, truth.shape, 80, 80))
    page.wait_for_timeout(200)
    page.keyboard.press("z")
    page.wait_for_timeout(800)
    # A new kernel has no history, so nothing is undone; and JupyterLab has not taken the key for its own.
    assert len(read_json(folder / "runs" / "by-hand" / "points.geojson")["features"]) == len(codes)
    assert page.locator(".jp-Notebook .jp-MarkdownCell").count() == page_markdown(folder)


def page_markdown(folder):
    notebook = read_json(folder / "notebooks" / "02_calibrate.ipynb")
    return sum(cell["cell_type"] == "markdown" for cell in notebook["cells"])


@contextlib.contextmanager
def voila(page, folder, small, theme, width):
    """Open the tuner's page, served by Voila, in a window of some width."""
    page.set_viewport_size({"width": width, "height": 1000})
    shutil.copy(ROOT / "notebooks" / "tuner.ipynb", folder)
    shutil.copytree(small[0] / "scenes", folder / "calibration" / "synthetic" / "scenes")
    with serving(folder, "tuner.ipynb", f"--theme={theme}", f"--token={TOKEN}", app="voila") as address:
        page.goto(f"{address}/?token={TOKEN}")
        ready(page)
        yield
        page.goto("about:blank")


def check_layout(page, width):
    """Check that nothing is wider than the window and that text stands out from its background."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for part in (".leaflet-container", ".bqplot", "button:text-is('save')"):
        place = page.locator(part).first.bounding_box()
        assert place["x"] >= 0 and place["x"] + place["width"] <= width, part
    text, ground = page.evaluate(
        "() => { const style = getComputedStyle(document.querySelector('.widget-html-content'));"
        "return [style.color, getComputedStyle(document.body).backgroundColor]; }"
    )
    shades = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (text, ground)]
    assert abs(shades[0] - shades[1]) > 300
    return shades


def test_calibrating_in_voila(page, small, tmp_path):
    with voila(page, tmp_path, small, "light", 1280):
        text, ground = check_layout(page, 1280)
        assert text < ground
        opaque(page)
        typed = page.locator(".widget-text input[type=number]").first
        typed.click()  # the mouse stays over the tuner
        page.keyboard.press("Control+a")
        page.keyboard.type("42")
        page.keyboard.press("Enter")
        page.wait_for_timeout(800)
        assert cuts(page).water_max == 42
        drag(page, 1, -20)
        moved = cuts(page)
        assert moved.thin_max < 200
        page.evaluate("window.scrollTo(0, 0)")
        check_overlay(page, sorted((small[0] / "scenes").iterdir())[0], moved)
        page.mouse.click(*pixel_at(page, (160, 160), 100, 80))
        page.wait_for_selector("text=/of 1 points? right/")
        page.mouse.click(*pixel_at(page, (160, 160), 120, 60))
        page.wait_for_selector("text=/of 2 points right/")
        page.keyboard.press("z")  # one press, one step
        page.wait_for_timeout(1500)
        assert page.locator("text=/of 1 points? right/").count() == 1
    assert (tmp_path / "calibration" / "points.geojson").is_file()


def test_voila_in_a_dark_theme_and_a_narrow_window(page, small, tmp_path):
    with voila(page, tmp_path, small, "dark", 800):
        text, ground = check_layout(page, 800)
        assert text > ground
        opaque(page)
        page.evaluate("window.scrollTo(0, 0)")
        check_overlay(page, sorted((small[0] / "scenes").iterdir())[0], cuts(page))
        page.mouse.click(*pixel_at(page, (160, 160), 100, 80))
        page.wait_for_selector("text=/of 1 points? right/")


def test_tune_serves_on_loopback_with_a_token_until_it_is_stopped(small, tmp_path):
    started = [sys.executable, "-m", "seaicekit", "tune", str(small[0] / "scenes"), "--no-browser"]
    server = subprocess.Popen(started, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    found = (re.search(r"http://127\.0\.0\.1:\d+/\?token=\w+", line) for line in server.stderr)
    address = next(match[0] for match in found if match)
    children = psutil.Process(server.pid).children(recursive=True)
    open_at = {connection.laddr.ip for child in children for connection in listening(child)}
    assert open_at == {"127.0.0.1"}
    page = urllib.request.urlopen(address.split("?")[0], timeout=30)
    assert "login" in page.url  # without the token there is only the way to give it
    server.send_signal(signal.SIGINT)
    assert server.wait(30) == 0
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


def listening(process):
    return [each for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]


def test_tune_refuses_wrong_input_before_it_opens_a_page(tmp_path):
    (tmp_path / "cuts.json").write_text(
        '{"format": "seaicekit-thresholds-1", "water_max": 99, "thin_max": 3}'
    )
    for arguments, message in (
        (["nowhere"], "nowhere"),
        (["--thresholds", tmp_path / "cuts.json"], "let them not cross"),
    ):
        done = command_here("tune", *arguments, cwd=tmp_path)
        assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
