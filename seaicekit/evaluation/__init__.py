"""Scores of class rasters against a reference, beside trivial baselines."""

from seaicekit.evaluation.assessment import MAP, assess, headline
from seaicekit.evaluation.calibration import reliability
from seaicekit.evaluation.matrices import normalised
from seaicekit.evaluation.references import evaluate
from seaicekit.evaluation.rules import CALIBRATED, TABLE, compare, concentration, fit_table
from seaicekit.evaluation.similarity import ssim
from seaicekit.evaluation.strata import CLEAR_TILES, CLOUDY, CLOUDY_TILES, edges, stratified
from seaicekit.evaluation.uncertainty import DRAWS, LEAST_RUNS, difference

__all__ = [
    "CALIBRATED",
    "CLEAR_TILES",
    "CLOUDY",
    "CLOUDY_TILES",
    "DRAWS",
    "LEAST_RUNS",
    "MAP",
    "TABLE",
    "assess",
    "compare",
    "concentration",
    "difference",
    "edges",
    "evaluate",
    "fit_table",
    "headline",
    "normalised",
    "reliability",
    "ssim",
    "stratified",
]
