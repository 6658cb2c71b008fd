"""Scores of class rasters against a reference, never without the score of knowing nothing."""

from seaicekit.evaluation.assessment import assess, headline
from seaicekit.evaluation.calibration import reliability
from seaicekit.evaluation.inputs import legend_of
from seaicekit.evaluation.matrices import confusion, normalised, scores, tidy
from seaicekit.evaluation.references import evaluate
from seaicekit.evaluation.rules import compare, concentration, fit_table, score_tiles
from seaicekit.evaluation.similarity import ssim
from seaicekit.evaluation.strata import (
    CALIBRATED,
    CLEAR_TILES,
    CLOUDY,
    CLOUDY_TILES,
    TABLE,
    edges,
    stratified,
)
from seaicekit.evaluation.uncertainty import DRAWS, LEAST_RUNS, difference, over_seeds

__all__ = [
    "CALIBRATED",
    "CLEAR_TILES",
    "CLOUDY",
    "CLOUDY_TILES",
    "DRAWS",
    "LEAST_RUNS",
    "TABLE",
    "assess",
    "compare",
    "concentration",
    "confusion",
    "difference",
    "edges",
    "evaluate",
    "fit_table",
    "headline",
    "legend_of",
    "normalised",
    "over_seeds",
    "reliability",
    "score_tiles",
    "scores",
    "ssim",
    "stratified",
    "tidy",
]
