"""How the pages are made: the guide, the reference from docstrings, notebooks as a run executed them."""

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import seaicekit

HERE = Path(__file__).parent

project, author, copyright = "seaicekit", "The seaicekit developers", "The seaicekit developers, Apache-2.0"
release = version = seaicekit.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
default_role = "py:obj"
maximum_signature_line_length = 80
autodoc_member_order = "bysource"
autosummary_ignore_module_all = False
# Sphinx refuses two descriptions of a class that both name its file's module as the canonical one.
autosummary_context = {"described_once": [name for name in seaicekit.__all__ if name[0].isupper()]}
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
suppress_warnings = [
    "ref.python",  # a name is described under its folder and under the package
]
nb_execution_mode = "off"
nb_output_stderr = "remove"
nb_ipywidgets_js = {}  # would be fetched from elsewhere

html_theme = "pydata_sphinx_theme"
html_title = "seaicekit"
html_static_path = ["_static"]
html_css_files = ["seaicekit.css"]
html_show_sphinx = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": False,
}
html_sidebars = {"index": []}


def run_folder() -> Path:
    """Return the run whose notebooks are shown.

    The environment's, else a demo, which is kept for the next build.
    """
    given = os.environ.get("SEAICEKIT_RUN")
    if not given:
        given = HERE / "_build" / "demo"
        subprocess.run([sys.executable, "-m", "seaicekit", "demo", "--out", str(given)], check=True)
    return Path(given)


def copy_notebooks(run: Path) -> None:
    """Put a run's notebooks where Sphinx finds them, without the run's path and with pictures of widgets."""
    folder = HERE / "notebooks"
    pictures = {"ThresholdTuner": HERE / "tuner.png", "IceMap": run / "figures" / "polar.png"}
    for path in sorted(run.glob("notebooks/*.ipynb")):
        notebook = json.loads(path.read_text())
        for cell in notebook["cells"]:
            cell["outputs"] = [
                shown for each in cell.get("outputs", ()) if (shown := _picture(each, pictures))
            ]
            if cell["cell_type"] != "code":
                del cell["outputs"]
        notebook["metadata"].pop("widgets", None)
        was = notebook["metadata"]["papermill"]["parameters"]["run_dir"]
        text = json.dumps(notebook, indent=1).replace(json.dumps(was)[1:-1], "runs/demo")
        target = folder / path.name
        if not target.exists() or target.read_text() != text:
            target.write_text(text)


def _picture(output: dict, pictures: dict[str, Path]) -> dict | None:
    """Return an output, a widget's as the picture of it; None for a progress bar."""
    if "application/vnd.jupyter.widget-view+json" not in output.get("data", {}):
        return output
    kind = re.match(r"\w*", "".join(output["data"]["text/plain"]))[0]
    if kind not in pictures:
        return None
    picture = base64.b64encode(pictures[kind].read_bytes()).decode()
    return {"output_type": "display_data", "metadata": {}, "data": {"image/png": picture}}


copy_notebooks(run_folder())
