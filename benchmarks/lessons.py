"""Memory and time of the lessons in JupyterLab on one core: ``python -m benchmarks lessons``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
import psutil
from jupyter_client import AsyncKernelClient
from jupyter_core.paths import jupyter_runtime_dir
from nbclient import NotebookClient

from benchmarks import Raw, Rows, row
from benchmarks.browser import TOKEN, end_kernels, serving
from seaicekit.pipeline import memory_watch

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
PARTS = {path.stem[0]: path for path in sorted((NOTEBOOKS / "lessons").glob("*.ipynb"))}  # by number
MOST_GB, MOST_SECONDS = 1.9, 180


def run(parts: Sequence[str]) -> tuple[Rows, Raw]:
    """Measure some lessons; memory is the server's and that of all processes below it."""
    rows: Rows = []
    raw: Raw = {}
    for number in parts:
        path = PARTS[number]
        with tempfile.TemporaryDirectory() as folder, lab(folder) as (address, server):
            with memory_watch(server) as memory:
                seconds = execute(address, f"notebooks/lessons/{path.name}", nbformat.read(path, 4))
        raw[path.stem] = {"gigabytes": memory["peak"] / 1e9, "seconds": seconds}
        for name, value, most in (
            ("peak memory, GB", memory["peak"] / 1e9, MOST_GB),
            ("seconds on one core", seconds, MOST_SECONDS),
        ):
            rows.append(row("lessons", f"lesson {number}: {name}", value, f"<= {most}"))
    return rows, raw


@contextlib.contextmanager
def lab(folder: str | os.PathLike) -> Iterator[tuple[str, int]]:
    """Serve a copy of the notebooks by a JupyterLab on one core; yield its address and process id."""
    shutil.copytree(NOTEBOOKS, Path(folder) / "notebooks", dirs_exist_ok=True)
    with serving(folder) as address:
        port = f"--port={address.rsplit(':', 1)[1]}"
        [server] = [child for child in psutil.Process().children() if port in child.cmdline()]
        server.cpu_affinity([min(os.sched_getaffinity(0))])  # the kernels inherit it
        yield address, server.pid


def execute(address: str, path: str, notebook: nbformat.NotebookNode, timeout: float = 600) -> float:
    """Execute a notebook in a new kernel of a server; return the seconds, with the kernel's start.

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
    session = {"path": path, "name": Path(path).name, "type": "notebook", "kernel": {"name": "python3"}}
    headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/api/sessions", json.dumps(session).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        kernel = json.load(answer)["kernel"]["id"]
    try:
        asyncio.run(_execute(f"kernel-{kernel}.json", NotebookClient(notebook, timeout=timeout)))
        return time.perf_counter() - start
    finally:
        end_kernels(address)


async def _execute(file: str, client: NotebookClient) -> None:
    """Execute a client's notebook in the kernel that a connection file belongs to."""
    processes = psutil.process_iter(["cmdline"])
    kernel = next(each for each in processes if file in str(each.info["cmdline"]))

    async def is_alive() -> bool:  # the client's own test is the heartbeat, which is late on a busy machine
        return kernel.is_running() and kernel.status() != psutil.STATUS_ZOMBIE

    client.kc = AsyncKernelClient(connection_file=str(Path(jupyter_runtime_dir()) / file))
    client.kc.load_connection_file()
    client.kc._async_is_alive = client.kc.is_alive = is_alive  # type: ignore[method-assign]
    client.kc.start_channels()
    try:
        await client.kc.wait_for_ready(timeout=60)
        for number, cell in enumerate(client.nb.cells):
            await client.async_execute_cell(cell, number)
    finally:
        client.kc.stop_channels()
