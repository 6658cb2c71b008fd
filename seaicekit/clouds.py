"""The thin-cloud and shadow filter, as a background, a difference, a histogram and one table.

The published filter (arXiv 2403.13135, section III; the steps in `difference` and `correction`) runs on a
whole scene. Its background is local: a median that looks 77 pixels far over a dilation that looks 3. All that
follows depends on the difference image's histogram over the scene. So a scene can be cut into blocks with a
halo of 80 pixels, their histograms summed, and the result is the whole scene's, bit for bit.
"""

from __future__ import annotations

import cv2
import numpy as np

WINDOW = 155  # pixels of the background's median
DILATION = 7  # pixels of the dilation before it
HALO = WINDOW // 2 + DILATION // 2  # 80: what a block must see around it
CEILING = 235  # the stretched difference is cut off here, then stretched again


def difference(bands: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Return how near each pixel is to its background: 255 - |grey - background|.

    Parameters
    ----------
    bands : (3, rows, columns) uint8
        Red, green, blue; with the halo, where it is a block.
    white : (rows, columns) bool
        Pixels that enter as white: open water, and no data.

    Returns
    -------
    (rows, columns) uint8
    """
    grey = cv2.cvtColor(cv2.merge(list(bands)), cv2.COLOR_RGB2GRAY)
    grey[white] = 255
    background = cv2.medianBlur(cv2.dilate(grey, np.ones((DILATION, DILATION), np.uint8)), WINDOW)
    return cv2.bitwise_not(cv2.absdiff(grey, background))


def histogram(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Count the values of an image, (256,) int64, where ``counted`` (bool) says so."""
    # OpenCV counts in float32, exact up to 2^24 pixels: so some rows at a time.
    rows = max(1, 2**24 // values.shape[1])
    total = np.zeros(256, np.int64)
    for start in range(0, values.shape[0], rows):
        part = slice(start, start + rows)
        total += cv2.calcHist([values[part]], [0], counted[part].view(np.uint8), [256], [0, 256])[:, 0].astype(np.int64)
    return total


def otsu(counts: np.ndarray) -> int:
    """Return Otsu's cut of a histogram, (256,) int: the lower class ends there.

    As OpenCV computes it, operation by operation, so that ties fall alike (Otsu 1979,
    doi:10.1109/TSMC.1979.4310076).
    """
    total = int(counts.sum())
    if not total:
        return 0
    share = counts / total
    mean = sum(i * float(counts[i]) for i in range(256)) / total
    lower_mean = lower = best = 0.0
    cut = 0
    for value in range(256):
        p = float(share[value])
        lower_mean *= lower
        lower += p
        upper = 1.0 - lower
        if min(lower, upper) < np.finfo(np.float32).eps:
            continue
        lower_mean = (lower_mean + value * p) / lower
        upper_mean = (mean - lower * lower_mean) / upper
        spread = lower * upper * (lower_mean - upper_mean) ** 2
        if spread > best:
            best, cut = spread, value
    return cut


def correction(counts: np.ndarray) -> np.ndarray:
    """Return the corrected brightness of each difference, (256,) uint8, from a scene's histogram.

    Otsu's cut keeps the bright side and blackens the rest; stretch to 0–255; cut off at 235; stretch
    again. Differences that do not occur get 0.
    """
    occurring = np.flatnonzero(counts)
    table = np.zeros(256, np.uint8)
    if not occurring.size:
        return table
    values = occurring.astype(np.uint8)[None]
    _, values = cv2.threshold(values, otsu(counts), 0, cv2.THRESH_TOZERO)
    values = cv2.normalize(values, None, 0, 255, cv2.NORM_MINMAX)
    _, values = cv2.threshold(values, CEILING, 0, cv2.THRESH_TRUNC)
    table[occurring] = cv2.normalize(values, None, 0, 255, cv2.NORM_MINMAX)[0]
    return table
