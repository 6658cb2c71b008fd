"""The notebooks by hand: a real JupyterLab in a real Chromium."""

import pytest

from benchmarks.browser import open_notebook, run_all, serving


@pytest.fixture(scope="module")
def page(chromium):
    """A page of headless Chromium."""
    page = chromium.new_page(viewport={"width": 1280, "height": 1000})
    yield page
    page.close()


@pytest.fixture(scope="module")
def lab(demo):
    """The address of a JupyterLab in the demo's folder."""
    with serving(demo[0]) as address:
        yield address


def test_report_opens_offline(page, demo):
    problems = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.context.set_offline(True)
    page.goto((demo[0] / "report.html").as_uri())
    assert page.locator("figure img").count() == 10
    sizes = page.eval_on_selector_all("figure img", "images => images.map(i => i.naturalWidth)")
    page.set_viewport_size({"width": 400, "height": 800})
    assert min(sizes) > 300 and page.evaluate("document.documentElement.scrollWidth") <= 400  # fits a phone
    page.set_viewport_size({"width": 1280, "height": 1000})
    page.context.set_offline(False)
    assert problems == []


def test_map_shows_its_layers(page, lab):
    open_notebook(page, lab, "notebooks/05_map.ipynb")
    run_all(page)
    page.wait_for_selector(".leaflet-container", timeout=120_000)
    page.wait_for_selector(".leaflet-tile-loaded[src*='/proxy/']", timeout=60_000)
    assert page.locator("text=thick ice").count()
