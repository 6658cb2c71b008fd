"""Pictures and maps of scenes, labels and predictions."""

from seaicekit.maps.calibration import fit_curve, histogram
from seaicekit.maps.charts import confusion_matrices, confusion_matrix, reliability_diagram, score_bars
from seaicekit.maps.figures import (
    NODATA_GREY,
    coloured,
    curves,
    footprints,
    gallery,
    labelled,
    live_curves,
    mapped,
    panels,
    rgb,
    save,
    small_multiples,
    strata,
)
from seaicekit.maps.page import save_html
from seaicekit.maps.paper import save_png
from seaicekit.maps.series import time_series
from seaicekit.maps.server import parent
from seaicekit.maps.view import interactive

__all__ = [
    "NODATA_GREY",
    "coloured",
    "confusion_matrices",
    "confusion_matrix",
    "curves",
    "fit_curve",
    "footprints",
    "gallery",
    "histogram",
    "interactive",
    "labelled",
    "live_curves",
    "mapped",
    "panels",
    "parent",
    "reliability_diagram",
    "rgb",
    "save",
    "save_html",
    "save_png",
    "score_bars",
    "small_multiples",
    "strata",
    "time_series",
]
