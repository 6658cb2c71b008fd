"""How alike two label rasters look: the structural similarity index."""

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

    from seaicekit.evaluation.inputs import ClassMapping
    from seaicekit.evaluation.references import Rasters

WINDOW = 7  # pixels a side, scikit-image's default
ROWS = 512  # of a scene at a time, for the index needs some ten images of floats


def ssim(
    prediction: Rasters,
    reference: Rasters,
    classes: ClassMapping | None = None,
    legend: Sequence[SeaIceClass] | None = None,
    tiles: pd.DataFrame | None = None,
) -> dict:
    """Compare label rasters by their mean structural similarity, as the paper does.

    The paper does not say of which picture or by which settings (arXiv 2403.13135, section IV). Here the
    picture is the classes painted 0, 1, 2 … in the legend's order, dark to light with the ice's age, so that
    thick ice taken for water is a larger step than for thin ice. The index is that of Wang et al. 2004
    (doi:10.1109/TIP.2003.819861) as scikit-image computes it by default: a flat window of 7 x 7 pixels,
    K1 = 0.01, K2 = 0.03, sample covariance; the data range is the number of classes less one. It is averaged
    over all windows that lie wholly inside the scene and hold no pixel without data in either raster. Several
    scenes are averaged together, a window as a window.

    Parameters
    ----------
    prediction, reference, classes, legend, tiles
        As for `seaicekit.evaluate`, but no points.

    Returns
    -------
    dict
        ``ssim``, -1 to 1 (alike), and ``windows``, over how many it is the mean.

    Raises
    ------
    InputError
        As for `seaicekit.evaluate`, or no window without no data.
    """
    pairs = pair_rasters(tiles, predictions=prediction, references=reference)
    legend = legend or common_legend([each[1] for each in pairs], [each[2] for each in pairs], classes)
    total, windows = 0.0, 0
    for name, one, other in pairs:
        grid = inputs.read(one, "prediction")
        predicted = within_tiles(grid.positions(legend), name, tiles)
        expected = inputs.read_onto(grid, other, "reference", classes).positions(legend, classes)
        for start in range(0, len(predicted) - WINDOW + 1, ROWS):
            rows = slice(start, start + ROWS + WINDOW - 1)
            part = _windows(predicted[rows], expected[rows], max(1, len(legend) - 1))
            total, windows = total + float(part.sum()), windows + part.size
    if not windows:
        raise InputError(
            f"ssim: no window of {WINDOW} x {WINDOW} pixels has data throughout; give larger rasters"
        )
    return {"ssim": total / windows, "windows": windows}


def _windows(one: np.ndarray, other: np.ndarray, span: int) -> np.ndarray:
    """Return the index of each window that has data throughout, (N,) float64."""
    from skimage.metrics import structural_similarity

    if min(one.shape) < WINDOW:
        return np.empty(0)
    hidden = (one == NODATA) | (other == NODATA)
    pictures = [np.where(hidden, 0, each).astype(np.uint8) for each in (one, other)]
    index = structural_similarity(*pictures, win_size=WINDOW, data_range=span, full=True)[1]
    near = cv2.dilate(hidden.view(np.uint8), np.ones((WINDOW, WINDOW), np.uint8)) > 0
    inner = (slice(WINDOW // 2, -(WINDOW // 2)),) * 2
    return index[inner][~near[inner]]
