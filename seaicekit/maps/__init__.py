"""Pictures and maps of scenes, labels and predictions."""

from seaicekit.maps.charts import curves, fit_curve, histogram, live_curves, time_series
from seaicekit.maps.figures import (
    NODATA_GREY,
    coloured,
    gallery,
    labelled,
    mapped,
    panels,
    read_picture,
    save,
    small_multiples,
    strata,
)
from seaicekit.maps.footprints import footprints
from seaicekit.maps.page import save_html
from seaicekit.maps.scores import confusion_matrices, confusion_matrix, reliability_diagram, score_bars
from seaicekit.maps.server import parent
from seaicekit.maps.static import save_png
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
    "read_picture",
    "reliability_diagram",
    "save",
    "save_html",
    "save_png",
    "score_bars",
    "small_multiples",
    "strata",
    "time_series",
]
