"""Which notebooks a run consists of, and which parameters they have."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from seaicekit.files import read_json

STAGES = ("01_scenes", "02_calibrate", "03_autolabel", "04_train", "05_map")


def notebooks() -> Path:
    """Return the folder of the notebooks: inside an installed package, beside it in a checkout."""
    inside = Path(__file__).parents[1] / "notebooks"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "notebooks"


def parameters() -> dict[str, dict[str, Any]]:
    """Return stage → parameter → default, as the notebooks' ``parameters`` cells have them."""
    return {stage: _declared(notebooks() / f"{stage}.ipynb") for stage in STAGES}


def _declared(notebook: Path) -> dict[str, Any]:
    """Read a notebook's ``parameters`` cell; papermill would, too, but takes seconds to import."""
    cells = read_json(notebook)["cells"]
    source = next(
        "".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", ())
    )
    lines: list[Any] = ast.parse(source).body
    return {line.targets[0].id: ast.literal_eval(line.value) for line in lines}


def defaults() -> dict[str, Any]:
    """Return parameter → default, of all stages together."""
    return {
        name: value for stage in parameters().values() for name, value in stage.items() if name != "run_dir"
    }
