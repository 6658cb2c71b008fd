"""JupyterLab or Voila in Chromium, for measurements and tests."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from seaicekit.files import InputError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TOKEN = "only-for-this-test"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


def chromium_path() -> str:
    """Return the path of Chromium.

    Raises
    ------
    InputError
        It is not installed.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if not path:
        raise InputError("chromium: not on this machine; on Debian and Ubuntu: apt-get install chromium")
    return path


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Start a headless Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise InputError("playwright: not installed; pip install playwright") from None

    path = chromium_path()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield started
        started.close()


@contextlib.contextmanager
def serving(
    folder: str | os.PathLike, *arguments: str, app: str = "jupyterlab", base: str = "/"
) -> Iterator[str]:
    """Serve a folder by JupyterLab, or a notebook by Voila (``app="voila"``), on loopback.

    Yield the address.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "jupyterlab": [
            "--allow-root",
            "--ip=127.0.0.1",
            f"--IdentityProvider.token={TOKEN}",
            f"--ServerApp.root_dir={folder}",
            f"--ServerApp.base_url={base}",
        ],
        "voila": [f"--Voila.root_dir={folder}"],
    }
    command = [sys.executable, "-m", app, "--no-browser", f"--port={port}", *options[app], *arguments]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(120):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.25)
        yield f"http://127.0.0.1:{port}{base.rstrip('/')}"
    finally:
        server.terminate()
        server.wait(20)


def open_notebook(page: Page, address: str, path: str | Path) -> None:
    """Open a notebook in JupyterLab, with the window reset: no other tabs, the sidebar closed."""
    page.goto(f"{address}/lab/tree/{path}?token={TOKEN}&reset")
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
    page.wait_for_selector("text=/Python 3.*Idle/", timeout=60_000)


def run_all(page: Page) -> None:
    """Run all cells of the open notebook in a new kernel."""
    from playwright.sync_api import TimeoutError

    begun = r".jp-NotebookPanel:not(.lm-mod-hidden) .jp-InputPrompt:text-matches('\\[(\\*|\\d+)\\]')"
    for _ in range(6):  # JupyterLab forgets the order if the kernel is not there yet
        page.click(".lm-MenuBar-itemLabel:text-is('Run')")
        page.click(".lm-Menu-itemLabel:text-is('Run All Cells')")
        with contextlib.suppress(TimeoutError):
            page.wait_for_selector(begun, timeout=5_000)
            return
    raise RuntimeError("no cell has begun to run")


def end_kernels(address: str) -> None:
    """End all kernels of a server, as restarting it would."""

    def request(path: str, method: str) -> bytes:
        headers = {"Authorization": f"token {TOKEN}"}
        asked = urllib.request.Request(f"{address}/api/sessions{path}", headers=headers, method=method)
        return urllib.request.urlopen(asked, timeout=20).read()

    for session in json.loads(request("", "GET")):
        request(f"/{session['id']}", "DELETE")
