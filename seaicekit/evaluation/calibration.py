"""Whether a map's confidences are the shares of its pixels that are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from seaicekit.classes import NODATA, SeaIceClass
from seaicekit.evaluation import inputs
from seaicekit.evaluation.references import common_legend, pair_rasters, within_tiles
from seaicekit.files import InputError

if TYPE_CHECKING:
    import pandas as pd

    from seaicekit.evaluation.inputs import ClassMapping, Layer
    from seaicekit.evaluation.references import Rasters


def reliability(
    prediction: Rasters,
    confidence: Rasters,
    reference: Rasters,
    bins: int = 10,
    classes: ClassMapping | None = None,
    legend: Sequence[SeaIceClass] | None = None,
    tiles: pd.DataFrame | None = None,
) -> dict:
    """Compare a map's confidences with how often it is right.

    Parameters
    ----------
    prediction, reference, classes, legend, tiles
        As for `seaicekit.evaluate`, but no points.
    confidence : as the prediction
        (rows, columns) uint8 in per cent, 255 no data, as `seaicekit.predict` writes them; on the
        prediction's grid. Whole per cents, so a pixel's confidence is known to half of one.
    bins : int
        How many bins of equal width from 0 to 1. A bin holds its upper end and not its lower, but 0 is in the
        first, as in Guo et al. 2017 (arXiv 1706.04599).

    Returns
    -------
    dict
        ``ece``, the expected calibration error, the mean over pixels of ``|accuracy - confidence|`` of a
        pixel's bin (Guo et al., equation 3); ``largest`` of these gaps; ``pixels``; ``accuracy``;
        ``confidence``, the mean; and ``bins``: list of ``low``, ``high``, ``pixels``, ``confidence``,
        ``accuracy``, the last two None in an empty bin. All but pixels from 0 to 1.

    Raises
    ------
    InputError
        As for `seaicekit.evaluate`, or a confidence above 100 that is not 255.
    """
    if isinstance(bins, bool) or not isinstance(bins, int) or not 1 <= bins <= 100:
        raise InputError(f"bins: must be a whole number from 1 to 100, not {bins!r}")
    rasters = {"predictions": prediction, "confidences": confidence, "references": reference}
    sets = pair_rasters(tiles, **rasters)
    legend = legend or common_legend([each[1] for each in sets], [each[3] for each in sets], classes)
    counts = np.zeros((2, 101), np.int64)  # wrong and right pixels by per cent
    for name, one, sure, other in sets:
        grid, percent = inputs.read(one, "prediction"), inputs.read(sure, "confidence")
        if percent.shape != grid.shape:
            raise InputError(
                f"{percent.name}: {percent.shape} pixels but {grid.shape} in the map; give the map's own"
            )
        predicted, percents = grid.positions(legend), _percents(percent)
        expected = inputs.read_onto(grid, other, "reference", classes).positions(legend, classes)
        expected = within_tiles(expected, name, tiles)
        valid = (predicted != NODATA) & (expected != NODATA) & (percents != NODATA)
        for right in (0, 1):
            chosen = valid & ((predicted == expected) == bool(right))
            counts[right] += np.bincount(percents[chosen], minlength=101)
    return _binned(counts, bins)


def _percents(layer: Layer) -> np.ndarray:
    if not all(value in range(101) for value in layer.values):
        raise InputError(f"{layer.name}: confidences must be whole per cents from 0 to 100, and 255 no data")
    table = np.full(256, NODATA, np.uint8)
    table[: len(layer.values)] = layer.values
    return cv2.LUT(layer.indices, table)


def _binned(counts: np.ndarray, bins: int) -> dict:
    """Turn wrong and right pixels by per cent, (2, 101) int, into what `reliability` returns."""
    percent, pixels = np.arange(101), counts.sum(axis=0)
    total = int(pixels.sum())
    if not total:
        raise InputError("reliability: no pixel has data in map, confidence and reference")
    number = np.maximum(0, -(-percent * bins // 100) - 1)  # in whole numbers, so that upper ends are exact
    held = np.bincount(number, pixels, bins)
    sure, right = np.bincount(number, pixels * percent / 100, bins), np.bincount(number, counts[1], bins)
    gaps = np.abs(right - sure)
    return {
        "ece": float(gaps.sum() / total),
        "largest": float((gaps / np.maximum(1, held)).max()),
        "pixels": total,
        "accuracy": float(right.sum() / total),
        "confidence": float(sure.sum() / total),
        "bins": [
            {
                "low": place / bins,
                "high": (place + 1) / bins,
                "pixels": int(held[place]),
                "confidence": float(sure[place] / held[place]) if held[place] else None,
                "accuracy": float(right[place] / held[place]) if held[place] else None,
            }
            for place in range(bins)
        ],
    }
