"""Pictures and maps of scenes, labels and predictions."""

from seaicekit.maps.figures import (
    coloured,
    confusion,
    curves,
    footprints,
    gallery,
    histogram,
    labelled,
    live_curves,
    mapped,
    panels,
    rgb,
    save,
    strata,
)
from seaicekit.maps.view import interactive

__all__ = [
    "coloured", "confusion", "curves", "footprints", "gallery", "histogram", "interactive", "labelled", "live_curves",
    "mapped", "panels", "rgb", "save", "strata",
]  # fmt: skip
