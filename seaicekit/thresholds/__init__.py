"""The brightness cuts: their values, their fit to points, and the points themselves."""

from seaicekit.thresholds.areas import square_kilometres
from seaicekit.thresholds.cuts import Thresholds, cuts_provenance, presets
from seaicekit.thresholds.fitting import Fit, accuracy_curve, fit_cuts
from seaicekit.thresholds.geojson import (
    Grid,
    as_integer,
    get_object,
    parse_geojson,
    plain_name,
    point_coordinates,
)
from seaicekit.thresholds.histograms import brightness, scene_histogram
from seaicekit.thresholds.options import CutOptions
from seaicekit.thresholds.points import ReferencePoints, UnsavedError
from seaicekit.thresholds.ranges import FULL, FULL_HUE, Range
from seaicekit.thresholds.scoring import best_cuts, score_classes, suggest_cuts

__all__ = [
    "FULL",
    "FULL_HUE",
    "CutOptions",
    "Fit",
    "Grid",
    "Range",
    "ReferencePoints",
    "Thresholds",
    "UnsavedError",
    "accuracy_curve",
    "as_integer",
    "best_cuts",
    "brightness",
    "cuts_provenance",
    "fit_cuts",
    "get_object",
    "parse_geojson",
    "plain_name",
    "point_coordinates",
    "presets",
    "scene_histogram",
    "score_classes",
    "square_kilometres",
    "suggest_cuts",
]
