"""The lessons as a learner runs them: a kernel of a real JupyterLab, on one core; their memory and time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from jupyter_client import AsyncKernelClient
from jupyter_core.paths import jupyter_runtime_dir
from nbclient import NotebookClient

from benchmarks import row
from benchmarks.browser import TOKEN, end_kernels, serving
from seaicekit.pipeline import memory_watch, notebooks

if TYPE_CHECKING:
    import nbformat

MOST_GB, MOST_SECONDS = 1.9, 180


def lessons() -> list[Path]:
    """Return the lessons' notebooks, in order."""
    return sorted((notebooks() / "lessons").glob("*.ipynb"))


@contextlib.contextmanager
def on_one_core() -> Iterator[None]:
    """Keep this thread, and the processes that it starts, on one core for a ``with`` block."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@contextlib.contextmanager
def lab(folder: str | os.PathLike) -> Iterator[tuple[str, int]]:
    """Serve a copy of the notebooks by a JupyterLab on one core; yield its address and process id."""
    shutil.copytree(notebooks(), Path(folder) / "notebooks", dirs_exist_ok=True)
    before = {child.pid for child in psutil.Process().children()}
    with contextlib.ExitStack() as stack:
        with on_one_core():
            address = stack.enter_context(serving(folder))
        port = address.rsplit(":", 1)[1]
        yield (
            address,
            next(
                child.pid
                for child in psutil.Process().children()
                if child.pid not in before and f"--port={port}" in child.cmdline()
            ),
        )


def run(address: str, path: str, notebook: nbformat.NotebookNode, timeout: float = 600) -> float:
    """Execute a notebook in a new kernel of a server; return the seconds, the kernel's start among them.

    Parameters
    ----------
    address : str
        Of the server.
    path : str
        Where the notebook is below the server's root.
    notebook : nbformat.NotebookNode
        What is executed, and gets the outputs.
    timeout : float
        Seconds for a cell.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        A cell fails.
    """
    start = time.perf_counter()
    asked = {"path": path, "name": Path(path).name, "type": "notebook", "kernel": {"name": "python3"}}
    headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/api/sessions", json.dumps(asked).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        kernel = json.load(answer)["kernel"]["id"]
    try:
        asyncio.run(_execute(kernel, notebook, timeout))
        return time.perf_counter() - start
    finally:
        end_kernels(address)


class _Client(AsyncKernelClient):
    """Speak with a kernel that lives as long as its process: on a busy machine heartbeats are late."""

    def __init__(self, kernel: str):
        file = f"kernel-{kernel}.json"
        super().__init__(connection_file=str(Path(jupyter_runtime_dir()) / file))
        self.load_connection_file()
        self._process = next(
            each for each in psutil.process_iter(["cmdline"]) if file in str(each.info["cmdline"])
        )

    async def _async_is_alive(self) -> bool:
        return self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE

    is_alive = _async_is_alive


async def _execute(kernel: str, notebook: nbformat.NotebookNode, timeout: float) -> None:
    client = NotebookClient(notebook, timeout=timeout)
    client.kc = _Client(kernel)
    client.kc.start_channels()
    try:
        await client.kc.wait_for_ready(timeout=60)
        for number, cell in enumerate(notebook.cells):
            await client.async_execute_cell(cell, number)
    finally:
        client.kc.stop_channels()


def measure(path: Path, given: Mapping[str, object] | None = None) -> dict[str, float]:
    """Run a lesson as it is, or with other parameters, in a JupyterLab of its own.

    ``gigabytes`` and ``seconds``.
    """
    import nbformat

    notebook = nbformat.read(path, 4)
    with (
        tempfile.TemporaryDirectory() as folder,
        lab(folder) as (address, server),
        memory_watch(server) as memory,
    ):
        seconds = run(address, f"notebooks/lessons/{path.name}", notebook)
    return {"gigabytes": memory["peak"] / 1e9, "seconds": seconds}


def measured() -> tuple[list[dict], dict]:
    """Measure all lessons; return rows and raw figures, as the other benchmarks do."""
    rows, raw = [], {}
    for path in lessons():
        raw[path.stem] = found = measure(path)
        name = f"lesson {path.stem[0]}"
        rows.append(row("lessons", f"{name}: peak memory, GB", found["gigabytes"], f"<= {MOST_GB}"))
        rows.append(row("lessons", f"{name}: seconds on one core", found["seconds"], f"<= {MOST_SECONDS}"))
    return rows, raw
