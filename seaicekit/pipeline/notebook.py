"""Run one notebook, or serve one as a page."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import types
import warnings
from pathlib import Path
from typing import Any

from seaicekit.files import PARTIAL, read_json, require
from seaicekit.pipeline import chain
from seaicekit.pipeline.processes import guarded_kernel


class StageError(RuntimeError):
    """A notebook stopped.

    The message has its cell, its traceback and where to open it, ``failure`` the parts.
    """

    def __init__(self, failure: dict[str, Any]):
        reason = failure["traceback"] or failure["error"]
        super().__init__(
            f"{failure['stage']} stopped in cell {failure['cell']}:\n{reason}\n"
            f"Open it there: jupyter lab {failure['notebook']}\nThe report so far: {failure['report']}"
        )
        self.failure = failure


def _papermill() -> types.ModuleType:
    """Import papermill without what its optional storage packages complain about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import papermill
    return papermill


def serve_tuner(given: dict[str, str], browser: bool = True) -> int:
    """Serve the tuner's notebook as a page (by Voila, on loopback, with a token) until Ctrl-C; return 0.

    Parameters
    ----------
    given : dict
        Parameters of ``tuner.ipynb``.
    browser : bool
        Open the page in a browser.
    """
    require("lab", "the tuner", "voila", "papermill")
    import nbformat

    _papermill()
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "tuner.ipynb"
        notebook = parameterize_notebook(load_notebook_node(str(chain.notebooks() / page.name)), given)
        here = f"import os\n\nos.chdir({os.getcwd()!r})"  # Voila works in the notebook's folder
        notebook.cells.insert(0, nbformat.v4.new_code_cell(here))
        nbformat.write(notebook, page)
        options = ["--token", "--Voila.ip=127.0.0.1", "--show_tracebacks=True"]
        if not browser:
            options.append("--no-browser")
        server = subprocess.Popen([sys.executable, "-m", "voila", str(page), *options])
        try:
            return server.wait()
        except KeyboardInterrupt:
            server.terminate()
            server.wait(20)
            return 0


def execute(stage: str, out: Path, values: dict[str, Any], progress: dict | bool) -> None:
    """Run a stage's notebook with values of its parameters; it is kept in ``notebooks/`` however it ends.

    Parameters
    ----------
    stage : str
    out : Path
        The run's folder.
    values : dict
        The notebook's parameters.
    progress : dict or bool
        Options of tqdm's bar, or False for none.

    Raises
    ------
    StageError
        A cell failed, or the kernel was killed.
    """
    papermill = _papermill()
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    finished = out / "notebooks" / f"{stage}.ipynb"
    finished.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=out) as folder, guarded_kernel() as kernel:
        draft = Path(folder) / finished.name
        try:
            papermill.execute_notebook(
                chain.notebooks() / finished.name,
                draft,
                values,
                kernel_name="python3",
                kernel_manager_class=kernel,
                progress_bar=progress,
                cwd=str(out),
                extra_arguments=["--log-level=CRITICAL"],
            )
        except KeyboardInterrupt:
            logging.getLogger(
                "asyncio"
            ).disabled = True  # it would report the kernel's end, which was asked for
            raise
        except (PapermillExecutionError, DeadKernelError) as error:
            failure = {"stage": stage, "notebook": str(finished), "report": str(out / "report.html")}
            raise StageError(failure | _failure(error, draft)) from None
        finally:
            if draft.exists():
                os.replace(draft, finished)


def _failure(error: Exception, draft: Path) -> dict[str, object]:
    """Return the cell that a notebook stopped in, and why."""
    from nbconvert.filters.ansi import strip_ansi
    from papermill.exceptions import PapermillExecutionError

    if isinstance(error, PapermillExecutionError):
        return {
            "cell": error.exec_count,
            "source": error.source,
            "error": f"{error.ename}: {error.evalue}",
            "traceback": strip_ansi("\n".join(error.traceback)),
        }
    cells = read_json(draft)["cells"] if draft.exists() else []
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    open_cells = [cell for cell in code if cell["metadata"].get("papermill", {}).get("status") != "completed"]
    return {
        "cell": code.index(open_cells[0]) + 1 if open_cells else None,
        "source": "".join(open_cells[0]["source"]) if open_cells else "",
        "error": "the notebook's kernel was killed, perhaps for want of memory",
        "traceback": "",
    }
