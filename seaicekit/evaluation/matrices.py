"""Confusion matrices, rows the reference and columns the prediction, and the scores that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seaicekit.classes import NO_ICE, NODATA

if TYPE_CHECKING:
    from seaicekit.classes import SeaIceClass

    Sea = tuple[np.ndarray, np.ndarray]  # which classes are ice, and which water

OVERALL = ("accuracy", "balanced_accuracy", "majority_accuracy", "ice_concentration_error")
OF_CLASS = ("precision", "recall", "f1", "iou")
PART = 2**20  # pixels that are counted at a time


def tally(
    predicted: np.ndarray, reference: np.ndarray, classes: int, cells: np.ndarray | None = None
) -> np.ndarray:
    """Count pixels by reference (rows) and prediction (columns), in each cell.

    Parameters
    ----------
    predicted, reference : (rows, columns) uint8
        Positions in the legend. Pixels that are 255 in either are left out.
    classes : int
    cells : (rows, columns) uint8, optional
        To which of 4 cells a pixel belongs, 0 to 3; all to the first by default.

    Returns
    -------
    (4, classes, classes) int64, or (classes, classes) without cells
    """
    many = 1 if cells is None else 4
    total = np.zeros(many * classes**2, np.int64)
    flat = [each.reshape(-1) for each in (predicted, reference)]
    for start in range(0, reference.size, PART):  # the sums take eight bytes a pixel
        part = slice(start, start + PART)
        one, other = (each[part] for each in flat)
        valid = (other != NODATA) & (one != NODATA)
        cell = 0 if cells is None else cells.reshape(-1)[part][valid].astype(np.int64)
        pairs = (cell * classes + other[valid].astype(np.int64)) * classes + one[valid]
        total += np.bincount(pairs, minlength=len(total))
    return total.reshape((classes, classes) if cells is None else (many, classes, classes))


def normalised(counts: np.ndarray) -> np.ndarray:
    """Return confusion matrices, (..., classes, classes), with each row as shares of its sum, 0 to 1.

    NaN in the row of a class that the reference does not hold.
    """
    counts = np.asarray(counts)
    return _ratio(counts, counts.sum(axis=-1, keepdims=True))


def measures(counts: np.ndarray, sea: Sea | None = None) -> dict[str, np.ndarray]:
    """Score many confusion matrices at once.

    Parameters
    ----------
    counts : (..., classes, classes) int or float
    sea : (ice, water), optional
        Which rows are ice and which are water, as from `sea_rows`; without it there is no ice concentration.

    Returns
    -------
    dict of str to float64
        Those in ``OVERALL``, (...), and in ``OF_CLASS``, (..., classes); NaN where no pixel is there to take
        a score from. Precision, recall and F1 are those of scikit-learn; IoU is TP / (TP + FP + FN);
        ``balanced_accuracy`` is the mean recall over the classes that the reference holds;
        ``ice_concentration_error`` is the ice's share of ice and water (`seaicekit.classes.concentration`),
        prediction less reference.
    """
    counts = np.asarray(counts)
    hit = np.diagonal(counts, axis1=-2, axis2=-1)
    reference, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    pixels, recall = counts.sum(axis=(-2, -1)), _ratio(hit, reference)
    error = np.full(pixels.shape, np.nan)
    if sea is not None:
        error = ice_share(predicted, sea) - ice_share(reference, sea)
    return {
        "accuracy": _ratio(hit.sum(axis=-1), pixels),
        "balanced_accuracy": _ratio(np.nan_to_num(recall).sum(axis=-1), (reference > 0).sum(axis=-1)),
        "majority_accuracy": _ratio(reference.max(axis=-1), pixels),
        "ice_concentration_error": error,
        "precision": _ratio(hit, predicted),
        "recall": recall,
        "f1": _ratio(2 * hit, predicted + reference),
        "iou": _ratio(hit, predicted + reference - hit),
    }


def sea_rows(legend: Sequence[SeaIceClass]) -> Sea | None:
    """Return which of a legend's rows are ice and which water, two (classes,) bool; None if none is water."""
    names = [entry.name.lower() for entry in legend]
    water = np.array(["water" in name for name in names])
    ice = np.array([not any(word in name for word in NO_ICE) for name in names])
    return (ice, water) if water.any() else None


def ice_share(pixels: np.ndarray, sea: Sea) -> np.ndarray:
    """Return the ice concentration, (...), of pixels by class, (..., classes); NaN where nothing is sea."""
    ice, water = (pixels[..., rows].sum(axis=-1) for rows in sea)
    return _ratio(ice, ice + water)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide; NaN where there is nothing to divide by."""
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
