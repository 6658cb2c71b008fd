"""Whether a map's confidences mean what they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seaicekit import tiles
from seaicekit.classes import NODATA, SeaIceClass
from seaicekit.evaluation import inputs
from seaicekit.evaluation.references import common_legend, is_by_scene, onto, plain, together
from seaicekit.files import InputError

if TYPE_CHECKING:
    import pandas as pd

    from seaicekit.evaluation.inputs import Mapped
    from seaicekit.evaluation.references import Rasters


def reliability(
    prediction: Rasters,
    confidence: Rasters,
    reference: Rasters,
    bins: int = 10,
    classes: Mapped | None = None,
    legend: Sequence[SeaIceClass] | None = None,
    chosen: pd.DataFrame | None = None,
) -> dict:
    """Compare a map's confidences with how often it is right.

    Parameters
    ----------
    prediction, reference, classes, legend
        As for `seaicekit.evaluate`, but no points.
    confidence : as the prediction
        (rows, columns) uint8 in per cent, 255 no data, as `seaicekit.predict` writes them; on the
        prediction's grid. Whole per cents, so a pixel's confidence is known to half of one.
    bins : int
        How many bins of equal width from 0 to 1. A bin holds its upper end and not its lower, but 0 is in the
        first, as in Guo et al. 2017 (arXiv 1706.04599).
    chosen : pandas.DataFrame, optional
        Rows of a tile index: only they count. Needs dicts by scene.

    Returns
    -------
    dict
        ``ece``, the expected calibration error, the mean over pixels of ``|accuracy - confidence|`` of a
        pixel's
        bin (Guo et al., equation 3); ``largest`` of these gaps; ``pixels``; ``accuracy``; ``confidence``, the
        mean; and ``bins``: list of ``low``, ``high``, ``pixels``, ``confidence``, ``accuracy``, the last two
        None in an empty bin. All but pixels from 0 to 1.

    Raises
    ------
    InputError
        As for `seaicekit.evaluate`, or a confidence above 100 that is not 255.
    """
    if isinstance(bins, bool) or not isinstance(bins, int) or not 1 <= bins <= 100:
        raise InputError(f"bins: must be a whole number from 1 to 100, not {bins!r}")
    sets = together(predictions=prediction, confidences=confidence, references=reference)
    if chosen is not None:
        if not is_by_scene(prediction):
            raise InputError("chosen: tiles know their scenes by name; give dicts by scene")
        sets = [each for each in sets if each[0] in set(chosen["scene"])]
    legend = legend or common_legend([each[1] for each in sets], [each[3] for each in sets], classes)
    counts = np.zeros((2, 101), np.int64)  # wrong and right pixels by per cent
    for name, one, percents, other in sets:
        layer, percent = inputs.read(one, "prediction"), inputs.read(percents, "confidence")
        if percent.shape != layer.shape:
            raise InputError(
                f"{percent.name}: {percent.shape} pixels but {layer.shape} in the map; give the map's own"
            )
        said = inputs.mapped(layer, None, legend)[0]
        truth = plain(onto(layer, other, classes, legend)[0])
        if chosen is not None:
            truth = tiles.mask_outside_tiles(truth, chosen[chosen["scene"] == name])
        valid = (said != NODATA) & (truth != NODATA) & ~percent.nodata
        values = percent.values[valid]
        if values.size and not (values.min() >= 0 and values.max() <= 100 and values.dtype.kind in "iu"):
            raise InputError(
                f"{percent.name}: confidences must be whole per cents from 0 to 100, and 255 no data"
            )
        for right in (0, 1):
            counts[right] += np.bincount(values[(said == truth)[valid] == right], minlength=101)
    return _summed(counts, bins)


def _summed(counts: np.ndarray, bins: int) -> dict:
    """Turn wrong and right pixels by per cent, (2, 101) int, into what `reliability` returns."""
    percent, pixels = np.arange(101), counts.sum(axis=0)
    total = int(pixels.sum())
    if not total:
        raise InputError("reliability: no pixel has data in map, confidence and reference")
    place = np.maximum(
        0, -(-percent * bins // 100) - 1
    )  # in whole numbers, so that no end falls to the wrong side
    held = np.bincount(place, pixels, bins)
    sure, right = np.bincount(place, pixels * percent / 100, bins), np.bincount(place, counts[1], bins)
    gaps = np.abs(right - sure)
    return {
        "ece": float(gaps.sum() / total),
        "largest": float((gaps / np.maximum(1, held)).max()),
        "pixels": total,
        "accuracy": float(right.sum() / total),
        "confidence": float(sure.sum() / total),
        "bins": [
            {
                "low": number / bins,
                "high": (number + 1) / bins,
                "pixels": int(held[number]),
                "confidence": float(sure[number] / held[number]) if held[number] else None,
                "accuracy": float(right[number] / held[number]) if held[number] else None,
            }
            for number in range(bins)
        ],
    }
