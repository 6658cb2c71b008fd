"""Maps in a real Chromium: in a JupyterLab below a prefix, as on a hub; in Voila.

As a page of their own, offline.
"""

import json
import re

import cv2
import numpy as np
import pyproj
import pytest
import rasterio
import requests

from benchmarks.browser import TOKEN, open_notebook, run_all, serving
from seaicekit import maps, scenes
from seaicekit.classes import LEGEND

PREFIX = "/user/someone/"
X, Y, SIZE = 600_000, -900_000, 1000  # EPSG:3413; the raster's pixels are a kilometre
CODE = """import seaicekit as sik
sik.maps.interactive({"scene": "scene.tif", "label": "label.tif", "confidence": "sure.tif"},
    points="points.geojson", basemap=False)"""


@pytest.fixture
def page(chromium):
    """A page of its own, with all that went wrong on it as ``page.problems``."""
    page = chromium.new_page(viewport={"width": 1280, "height": 1000})
    page.problems = []
    page.on(
        "console", lambda message: page.problems.append(message.text) if message.type == "error" else None
    )
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    yield page
    page.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A scene, green and red, its classes in four quarters, a confidence, a point, a notebook."""
    folder = tmp_path_factory.mktemp("lab")
    grid = "EPSG:3413", rasterio.Affine(SIZE, 0, X, 0, -SIZE, Y)
    codes = np.zeros((100, 100), np.uint8)
    codes[:50, 50:], codes[50:, :50], codes[50:, 50:] = 1, 2, 255
    scenes.write_classes(folder / "label.tif", codes, *grid)
    scenes.write_confidence(folder / "sure.tif", np.full((100, 100), 77, np.uint8), *grid)
    bands = np.zeros((3, 100, 100), np.uint8)
    bands[1, :, :50], bands[0, :, 50:] = 200, 180
    shape = {"height": 100, "width": 100, "count": 3, "dtype": "uint8", "crs": grid[0], "transform": grid[1]}
    with rasterio.open(folder / "scene.tif", "w", driver="GTiff", **shape) as target:
        target.write(bands)
    longitude, latitude = degrees(20, 30)
    point = {
        "type": "Feature",
        "properties": {"class": "thick ice"},
        "geometry": {"type": "Point", "coordinates": [longitude, latitude]},
    }
    (folder / "points.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [point]}))
    cell = {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "execution_count": None,
        "outputs": [],
        "source": CODE,
    }
    kernel = {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}}
    notebook = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (folder / "map.ipynb").write_text(json.dumps(notebook))
    return folder


def degrees(row, col):
    back = pyproj.Transformer.from_crs("EPSG:3413", "EPSG:4326", always_xy=True)
    return back.transform(X + SIZE * (col + 0.5), Y - SIZE * (row + 0.5))


@pytest.fixture(scope="module")
def lab(folder):
    """The address of a JupyterLab that lies below a prefix."""
    with serving(folder, base=PREFIX) as address:
        yield address


def seen(page, row, col):
    """Return where on the page a pixel of the rasters is: x, y."""
    box = page.locator(".leaflet-container").bounding_box()
    zoom = int(np.log2(65536 * 560 / (100 * SIZE)))
    scale = SIZE / (65536 / 2**zoom)
    return box["x"] + box["width"] / 2 + (col + 0.5 - 50) * scale, box["y"] + box["height"] / 2 + (
        row + 0.5 - 50
    ) * scale


def colour(page, row, col):
    image = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    x, y = seen(page, row, col)
    return tuple(image[int(y), int(x)].tolist())


def wait_for_tiles(page):
    page.wait_for_selector(".leaflet-tile-loaded", timeout=60_000)
    page.wait_for_function(
        "!document.querySelector('.leaflet-tile:not(.leaflet-tile-loaded)')", timeout=30_000
    )
    page.wait_for_timeout(700)  # they fade in


def choose(page, side, name):
    page.locator(".seaicekit-map select").nth(side).select_option(name)
    page.wait_for_timeout(800)


def test_map_in_jupyterlab_below_a_prefix(page, lab):
    open_notebook(page, lab, "map.ipynb")
    run_all(page)
    wait_for_tiles(page)

    # The tiles come through the Jupyter server, and only for who may use it.
    address = page.locator(".leaflet-tile-loaded").first.get_attribute("src")
    assert address.startswith(f"{PREFIX}proxy/")
    whole = f"{lab.removesuffix(PREFIX.rstrip('/'))}{address}"
    answer = requests.get(whole, headers={"Authorization": f"token {TOKEN}"}, timeout=20)
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    assert "image" not in requests.get(whole, timeout=20).headers["content-type"]

    # What is painted where.
    assert colour(page, 35, 35) == LEGEND[0].rgb
    assert colour(page, 45, 55) == LEGEND[1].rgb
    assert colour(page, 90, 20) == LEGEND[2].rgb
    assert colour(page, 55, 60) == (180, 0, 0)  # the label has no data there, so the scene shows
    assert colour(page, 20, 30) == LEGEND[2].rgb  # the point
    legend = page.locator(".seaicekit-map:has-text('ice concentration')").inner_text()
    assert all(entry.name in legend for entry in LEGEND) and re.search(
        r"ice concentration\s+6\d\.\d %", legend
    )
    assert page.locator(".leaflet-control-scale-line").first.inner_text().endswith("km")

    # A click says what is there.
    page.mouse.click(*seen(page, 45, 55))
    page.wait_for_selector("text=brightness 180", timeout=10_000)
    values = page.locator(".seaicekit-map:has-text('brightness')").inner_text()
    shown = [float(number) for number in re.findall(r"(\d+\.\d{4})°", values)]
    assert "thin ice" in values and "77 %" in values
    np.testing.assert_allclose(shown[::-1], np.abs(degrees(45, 55)), atol=0.02)

    page.mouse.click(*seen(page, 20, 30))
    page.wait_for_selector("text=class: thick ice", timeout=10_000)

    # Swipe, and back.
    choose(page, 0, "scene")
    choose(page, 1, "label")
    wait_for_tiles(page)
    assert colour(page, 40, 40) == (0, 200, 0) and colour(page, 45, 60) == LEGEND[1].rgb
    choose(page, 0, "label")
    choose(page, 1, "scene")
    wait_for_tiles(page)
    assert colour(page, 40, 40) == LEGEND[0].rgb and colour(page, 45, 60) == (180, 0, 0)
    choose(page, 0, "off")
    wait_for_tiles(page)
    assert colour(page, 40, 40) == LEGEND[0].rgb and colour(page, 45, 60) == LEGEND[1].rgb

    # Opacity and visibility, in the browser alone.
    row = page.locator(".seaicekit-map .widget-hbox:has-text('label')").first
    row.locator("input[type=checkbox]").uncheck()
    page.wait_for_timeout(500)
    assert colour(page, 40, 40) == (0, 200, 0)
    assert page.problems == []


def test_map_in_voila(page, folder):
    with serving(folder, "map.ipynb", "--Voila.ip=127.0.0.1", app="voila") as address:
        page.goto(address, timeout=60_000)
        wait_for_tiles(page)
        assert page.locator(".leaflet-tile-loaded").first.get_attribute("src").startswith("http://127.0.0.1:")
        assert colour(page, 45, 55) == LEGEND[1].rgb


def test_page_opens_offline(page, folder, tmp_path):
    made = {
        f"{name}<img src=x onerror=window.run=1>": folder / f"{name}.tif"
        for name in ("scene", "label", "sure")
    }
    title = "</title><img src=x onerror=window.run=1>"
    maps.save_html(made, tmp_path / "map.html", points=folder / "points.geojson", title=title)
    asked = []
    page.context.set_offline(True)
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "map.html").as_uri())
    page.wait_for_selector("canvas", timeout=20_000)
    page.wait_for_timeout(1500)
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    image = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)
    middles = {}
    for entry in LEGEND:
        rows, cols = np.nonzero(np.abs(image[:, :950] - entry.rgb).max(axis=2) == 0)
        assert len(rows) > 10_000
        middles[entry.code] = cols.mean(), rows.mean()
    page.mouse.click(*middles[1])
    page.wait_for_selector("text=brightness 180", timeout=5000)
    values = page.locator("text=brightness 180").locator("..").inner_text()
    assert "thin ice" in values and "77 %" in values
    shown = [float(number) for number in re.findall(r"(\d+\.\d{4})°", values)]
    np.testing.assert_allclose(shown[::-1], np.abs(degrees(24.5, 74.5)), atol=0.02)
    page.locator(".noUi-handle").last.focus()  # the divider: all the way to the left, then back
    page.keyboard.press("Home")
    page.wait_for_timeout(800)
    image = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert tuple(image[int(middles[1][1]), int(middles[1][0]) + 40].tolist()) == (180, 0, 0)
    page.mouse.click(middles[1][0] + 40, middles[1][1])
    page.wait_for_timeout(300)
    assert "thin ice" in page.locator("text=brightness 180").locator("..").inner_text()
    page.locator(".noUi-handle").last.focus()
    page.keyboard.press("End")
    page.wait_for_timeout(800)
    image = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert tuple(image[int(middles[1][1]) + 40, int(middles[1][0]) + 40].tolist()) == LEGEND[1].rgb
    page.locator("input[type=checkbox]").nth(1).uncheck()
    page.wait_for_timeout(800)
    image = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert tuple(image[int(middles[0][1]) + 40, int(middles[0][0])].tolist()) == (0, 200, 0)
    page.context.set_offline(False)
    assert page.problems == [] and page.evaluate("window.run") is None and page.title() == title
