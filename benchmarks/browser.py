"""A real JupyterLab or Voila in a real Chromium, for measurements and tests."""

from __future__ import annotations

import contextlib
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
    """Return where Chromium is.

    Raises
    ------
    InputError
        Nowhere.
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
    own = {
        "jupyterlab": [
            "--allow-root",
            "--ip=127.0.0.1",
            f"--IdentityProvider.token={TOKEN}",
            f"--ServerApp.root_dir={folder}",
            f"--ServerApp.base_url={base}",
        ],
        "voila": [f"--Voila.root_dir={folder}"],
    }[app]
    command = [sys.executable, "-m", app, "--no-browser", f"--port={port}", *own, *arguments]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.25)
        yield address + base.rstrip("/")
    finally:
        server.terminate()
        server.wait(20)


def open_notebook(page: Page, address: str, path: str | Path) -> None:
    """Open a notebook in JupyterLab with nothing left of earlier sessions in the window, and its sidebar closed."""
    page.goto(f"{address}/lab/tree/{path}?token={TOKEN}&reset")
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
    page.wait_for_selector("text=/Python 3.*Idle/", timeout=60_000)


def run_all(page: Page) -> None:
    """Run all cells of the notebook that is open, in a new kernel."""
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
    """End the kernels of a server, as restarting it would."""
    import json

    headers = {"Authorization": f"token {TOKEN}"}
    sessions = urllib.request.Request(f"{address}/api/sessions", headers=headers)
    for session in json.load(urllib.request.urlopen(sessions, timeout=10)):
        gone = urllib.request.Request(
            f"{address}/api/sessions/{session['id']}", headers=headers, method="DELETE"
        )
        urllib.request.urlopen(gone, timeout=20)
