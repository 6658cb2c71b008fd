"""The notebooks by hand: a real JupyterLab in a real Chromium."""

import contextlib
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TOKEN = "only-for-this-test"


@pytest.fixture(scope="module")
def page():
    """A page of headless Chromium."""
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        yield page
        browser.close()


@pytest.fixture(scope="module")
def lab(demo):
    """The address of a JupyterLab in the demo's folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
         f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={demo[0]}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    for _ in range(120):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{address}/api", timeout=1)
            break
        time.sleep(0.5)
    yield lambda path: f"{address}/lab/tree/{path}?token={TOKEN}&reset"
    server.terminate()
    server.wait(20)


def run_all(page, address):
    """Open a notebook and run its cells, to the last."""
    page.goto(address)
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
    page.wait_for_selector("text=/Python 3.*Idle/", timeout=60_000)
    page.click(".lm-MenuBar-itemLabel:text-is('Run')")
    page.click(".lm-Menu-itemLabel:text-is('Run All Cells')")


def test_report_opens_offline(page, demo):
    problems = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.context.set_offline(True)
    page.goto((demo[0] / "report.html").as_uri())
    assert page.locator("figure img").count() == 8
    sizes = page.eval_on_selector_all("figure img", "images => images.map(i => i.naturalWidth)")
    page.set_viewport_size({"width": 400, "height": 800})
    assert min(sizes) > 300 and page.evaluate("document.documentElement.scrollWidth") <= 400  # fits a phone
    page.set_viewport_size({"width": 1280, "height": 1000})
    page.context.set_offline(False)
    assert problems == []


def test_tuner_redraws_when_a_cut_moves(page, lab):
    run_all(page, lab("notebooks/02_calibrate.ipynb"))
    picture = page.locator(".widget-hbox img.widget-image").first
    picture.wait_for(timeout=90_000)
    shares = page.locator(".widget-html-content:has-text('open water')").first
    before, said = picture.get_attribute("src"), shares.inner_text()
    page.locator(".noUi-handle-lower").first.focus()
    for _ in range(5):
        page.keyboard.press("PageUp")
    page.wait_for_function(
        "before => document.querySelector('.widget-hbox img.widget-image').src !== before", arg=before, timeout=20_000
    )
    page.wait_for_timeout(1000)
    water = [float(re.search(r"open water: ([\d.]+)", text)[1]) for text in (said, shares.inner_text())]
    assert water[1] > water[0]


def test_map_shows_its_layers(page, lab):
    run_all(page, lab("notebooks/05_map.ipynb"))
    page.wait_for_selector(".leaflet-container", timeout=120_000)
    page.wait_for_selector(".leaflet-tile-loaded[src*='api/tiles']", timeout=60_000)
    assert page.locator("text=thick ice").count()
