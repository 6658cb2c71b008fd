"""Scores of class rasters against a reference, never without the score of knowing nothing."""

from seaicekit.evaluation.assessment import assess, headline
from seaicekit.evaluation.calibration import reliability
from seaicekit.evaluation.inputs import legend_of
from seaicekit.evaluation.matrices import confusion, normalised, scores, tidy
from seaicekit.evaluation.references import evaluate
from seaicekit.evaluation.rules import compare, concentration, fit_table, score_tiles
from seaicekit.evaluation.similarity import ssim
from seaicekit.evaluation.strata import edges, stratified
from seaicekit.evaluation.uncertainty import difference, over_seeds

__all__ = [
    "assess", "compare", "concentration", "confusion", "difference", "edges", "evaluate", "fit_table", "headline",
    "legend_of", "normalised", "over_seeds", "reliability", "score_tiles", "scores", "ssim", "stratified", "tidy",
]  # fmt: skip
