"""Which notebooks a run consists of."""

from __future__ import annotations

from pathlib import Path

STAGES = ("01_scenes", "02_calibrate", "03_autolabel", "04_train", "05_map")


def notebooks() -> Path:
    """Return the folder of the notebooks: inside an installed package, beside it in a checkout."""
    inside = Path(__file__).parents[1] / "notebooks"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "notebooks"
