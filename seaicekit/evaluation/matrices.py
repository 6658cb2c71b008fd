"""Confusion matrices, rows the reference and columns the prediction, and the scores that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from seaicekit import labels
from seaicekit.classes import LEGEND, NO_ICE, NODATA, SeaIceClass
from seaicekit.files import InputError

if TYPE_CHECKING:
    import pandas as pd

    Sea = tuple[np.ndarray, np.ndarray]  # which classes are ice, and which water

OVERALL = ("accuracy", "balanced_accuracy", "majority_accuracy", "ice_concentration_error")
PART = 2**20  # pixels that are counted at a time
OF_CLASS = ("precision", "recall", "f1", "iou")


def positions(codes: np.ndarray, legend: Sequence[SeaIceClass]) -> np.ndarray:
    """Return each code's place in the legend, uint8, 255 for no data.

    Raises
    ------
    InputError
        A code that is not in the legend.
    """
    table = np.full(256, NODATA, np.uint8)
    table[[entry.code for entry in legend]] = np.arange(len(legend))
    known = table != NODATA
    known[NODATA] = True
    codes = np.asarray(codes)
    if codes.dtype != np.uint8:
        if (
            codes.dtype.kind not in "biuf"
            or not ((codes >= 0) & (codes <= NODATA) & (codes == codes // 1)).all()
        ):
            raise InputError(
                f"codes: must be whole numbers from 0 to {NODATA}, not {codes.dtype}; map the classes first"
            )
        codes = codes.astype(np.uint8)
    if not codes.size:
        return codes
    flat = np.ascontiguousarray(codes).reshape(-1, codes.shape[-1])
    odd = np.flatnonzero(~known & (labels.histogram(flat) > 0))
    if odd.size:
        names = ", ".join(f"{entry.code} {entry.name}" for entry in legend)
        raise InputError(
            f"code {odd[0]} is not in the legend ({names}); give the legend, or map the classes first"
        )
    return cv2.LUT(flat, table).reshape(codes.shape)  # NumPy would take each code for eight bytes


def confusion(
    prediction: np.ndarray, reference: np.ndarray, legend: Sequence[SeaIceClass] = LEGEND
) -> np.ndarray:
    """Count pixels by reference (rows) and prediction (columns), (classes, classes) int64, in the legend's order.

    Pixels without data in either are left out.

    Parameters
    ----------
    prediction, reference : (...) uint8
        Class codes of the same shape, 255 no data.
    legend : sequence of SeaIceClass

    Raises
    ------
    InputError
        A code that is not in the legend, or shapes that differ.

    Examples
    --------
    >>> confusion(np.uint8([[0, 1, 2, 2]]), np.uint8([[0, 1, 1, 255]])).tolist()
    [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    """
    if np.shape(prediction) != np.shape(reference):
        raise InputError(
            f"evaluate: the prediction has {np.shape(prediction)} pixels, the reference {np.shape(reference)}"
        )
    said, truth = positions(prediction, legend), positions(reference, legend)
    return tally(said, truth, np.zeros(truth.shape, np.uint8), 1, len(legend))[0]


def tally(said: np.ndarray, truth: np.ndarray, cells: np.ndarray, many: int, count: int) -> np.ndarray:
    """Count pairs of positions, as from `positions`, in each of many cells: (many, count, count) int64."""
    total = np.zeros(many * count**2, np.int64)
    for start in range(0, truth.size, PART):  # the sums take eight bytes a pixel
        one, other, cell = (each.reshape(-1)[start : start + PART] for each in (said, truth, cells))
        valid = (other != NODATA) & (one != NODATA)
        pairs = (cell[valid].astype(np.int64) * count + other[valid]) * count + one[valid]
        total += np.bincount(pairs, minlength=len(total))
    return total.reshape(many, count, count)


def normalised(counts: np.ndarray) -> np.ndarray:
    """Return confusion matrices, (..., classes, classes), with each row as shares of its reference class, 0 to 1.

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
    truth, said, pixels = counts.sum(axis=-1), counts.sum(axis=-2), counts.sum(axis=(-2, -1))
    recall = _ratio(hit, truth)
    held = (truth > 0).sum(axis=-1)
    error = np.full(pixels.shape, np.nan) if sea is None else ice_share(said, sea) - ice_share(truth, sea)
    return {
        "accuracy": _ratio(hit.sum(axis=-1), pixels),
        "balanced_accuracy": _ratio(np.nan_to_num(recall).sum(axis=-1), held),
        "majority_accuracy": _ratio(truth.max(axis=-1), pixels),
        "ice_concentration_error": error,
        "precision": _ratio(hit, said),
        "recall": recall,
        "f1": _ratio(2 * hit, said + truth),
        "iou": _ratio(hit, said + truth - hit),
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


def scores(counts: np.ndarray, legend: Sequence[SeaIceClass] = LEGEND) -> dict:
    """Turn a confusion matrix, rows the reference, into the scores that `seaicekit.evaluate` lists."""
    counts = np.asarray(counts)
    if counts.shape != (len(legend),) * 2:
        raise InputError(
            f"scores: a matrix of {counts.shape} for {len(legend)} classes; give the legend it was made by"
        )
    pixels = int(counts.sum())
    if not pixels:
        raise InputError("evaluate: no pixel has data in both prediction and reference")
    found = measures(counts)
    return {
        "pixels": pixels,
        "accuracy": _number(found["accuracy"]),
        "balanced_accuracy": _number(found["balanced_accuracy"]),
        "majority_accuracy": _number(found["majority_accuracy"]),
        "confusion": counts.tolist(),
        "classes": {
            entry.name: {name: _number(found[name][row]) for name in OF_CLASS}
            for row, entry in enumerate(legend)
        },
    }


def tidy(found: dict) -> pd.DataFrame:
    """Return scores as from `seaicekit.evaluate` as a table: ``class`` (empty for all), ``score``, ``value``.

    A score that has no pixels to be taken from is NaN.
    """
    import pandas as pd

    rows = [("", name, found[name]) for name in OVERALL if name in found]
    rows += [(entry, name, value) for entry, each in found["classes"].items() for name, value in each.items()]
    return pd.DataFrame(rows, columns=["class", "score", "value"]).astype({"value": float})


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide; NaN where there is nothing to divide by."""
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _number(value: np.ndarray) -> float | None:
    return None if np.isnan(value) else float(value)
