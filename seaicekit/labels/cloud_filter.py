"""The thin-cloud and shadow filter, as a background, a difference, a histogram and one table.

The published filter (arXiv 2403.13135, section III; the steps in `difference` and `correction`) runs on a
whole scene. Its background is local: a median of 77 pixels in each direction of a dilation of 3. The steps
after that depend only on the histogram of the difference over the scene. So a scene can be cut into blocks
with a halo of 80 pixels and their histograms summed, and the result is that of the whole scene, bit for bit.
"""

from __future__ import annotations

import math
import re
from typing import Any

import cv2
import numpy as np

from seaicekit.files import InputError

WINDOW = 155  # pixels of the background's median: 7.75 km at the paper's 50 m
DILATION = 7  # pixels of the dilation before it
CEILING = 235  # the stretched difference is cut off here, then stretched again
EXACT_MAX = 255  # pixels: OpenCV's median errs or raises for windows above about 350


def window_pixels(window: int | str, resolution: float | None = None) -> int:
    """Return the background's window in pixels, odd.

    Parameters
    ----------
    window : int or str
        Pixels, or metres as in "7750 m".
    resolution : float, optional
        Metres a pixel; None where the scene has no projected CRS in metres.

    Raises
    ------
    InputError
        Not such a number, under 3 pixels, or metres in a scene without metres.
    """
    count: Any = window
    metres = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(k?)m\s*", window) if isinstance(window, str) else None
    if metres:
        if not resolution:
            raise InputError(
                f"window: {window} needs a scene in projected metres; give pixels, such as {WINDOW}"
            )
        count = round(float(metres[1]) * (1000 if metres[2] else 1) / resolution)
        count += 1 - count % 2
    if isinstance(count, bool) or not isinstance(count, int) or count < 3 or count % 2 == 0:
        raise InputError(
            f'window: must be an odd number of pixels from 3 on, or metres as "7750 m", not {window!r}'
        )
    return count


def thinning(window: int) -> int:
    """Return the power of two by which a scene is thinned out before a median of ``window``; 1 is exact."""
    factor = 1
    while window / factor > EXACT_MAX:
        factor *= 2
    return factor


def halo(window: int = WINDOW, factor: int = 1) -> int:
    """Return how many pixels around a block its background depends on: 80 for the paper's window."""
    if factor == 1:
        return window // 2 + DILATION // 2
    # One cell more for the interpolation, and one for a block that begins inside a cell.
    return (_odd(window / factor) // 2 + 2) * factor + DILATION // 2


def _odd(number: float) -> int:
    return 2 * int(number / 2) + 1


def background(grey: np.ndarray, window: int = WINDOW, factor: int = 1) -> np.ndarray:
    """Return the background of each pixel: a wide median of the brightest neighbours.

    Parameters
    ----------
    grey : (rows, columns) uint8
        A scene, or a block of it with its halo whose first row and column are multiples of ``factor``.
    window : int
        Pixels of the median, odd.
    factor : int
        1 is the published filter. Else a power of two: the median is taken of every ``factor``-th pixel
        of every ``factor``-th row, and interpolated.

    Returns
    -------
    (rows, columns) uint8
    """
    dilated = cv2.dilate(grey, np.ones((DILATION, DILATION), np.uint8))
    if factor == 1:
        return cv2.medianBlur(dilated, window)
    rows, cols = grey.shape
    missing = -rows % factor, -cols % factor
    if any(missing):
        dilated = cv2.copyMakeBorder(dilated, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
    # Single pixels and no means, which would blur edges.
    thinned = np.ascontiguousarray(dilated[factor // 2 :: factor, factor // 2 :: factor])
    thinned = cv2.medianBlur(thinned, _odd(window / factor))
    size = dilated.shape[1], dilated.shape[0]
    return cv2.resize(thinned, size, interpolation=cv2.INTER_LINEAR_EXACT)[:rows, :cols]


def to_grey(bands: np.ndarray) -> np.ndarray:
    """Return the grey, as OpenCV weighs it, of (3, rows, columns) uint8 red, green, blue."""
    return cv2.cvtColor(cv2.merge(list(bands)), cv2.COLOR_RGB2GRAY)


def difference(grey: np.ndarray, window: int = WINDOW, factor: int = 1) -> np.ndarray:
    """Return how near each pixel is to its background: 255 - ``|grey - background|``.

    Parameters
    ----------
    grey : (rows, columns) uint8
        White (255) where it is open water or no data; with the halo, where it is a block.
    window, factor
        As for `background`.

    Returns
    -------
    (rows, columns) uint8
    """
    return cv2.bitwise_not(cv2.absdiff(grey, background(grey, window, factor)))


def stretch_limits(counts: np.ndarray, low: float, high: float) -> tuple[int, int]:
    """Return the brightness at two percentiles of a histogram, (256,) int, to be stretched to 0 and 255.

    Where both are the same brightness there is nothing to stretch: 0 and 255.
    """
    ranks = (max(1, math.ceil(percent / 100 * counts.sum())) for percent in (low, high))
    first, last = (int(np.searchsorted(np.cumsum(counts), rank)) for rank in ranks)
    return (first, last) if first < last <= 255 else (0, 255)


def stretch_bands(bands: np.ndarray, ends: tuple[int, int]) -> np.ndarray:
    """Stretch uint8 bands linearly so that ``ends`` become 0 and 255."""
    low, high = ends
    table = np.clip((np.arange(256) - low) * 255 / (high - low), 0, 255).round().astype(np.uint8)
    return cv2.LUT(bands, table)


def histogram(values: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
    """Count the values of an image, (256,) int64, where ``counted`` (uint8) is not 0, or everywhere."""
    if counted is not None and cv2.countNonZero(counted) == counted.size:
        counted = None  # the mask is a third of the time
    # OpenCV counts in float32, exact up to 2^24 pixels: so some rows at a time.
    rows = max(1, 2**24 // values.shape[1])
    total = np.zeros(256, np.int64)
    for start in range(0, values.shape[0], rows):
        part = slice(start, start + rows)
        total += cv2.calcHist(
            [values[part]], [0], None if counted is None else counted[part], [256], [0, 256]
        )[:, 0].astype(np.int64)
    return total


def otsu(counts: np.ndarray) -> int:
    """Return Otsu's cut of a histogram, (256,) int: the lower class ends there.

    It is the cut with the largest variance between the two classes (Otsu 1979,
    doi:10.1109/TSMC.1979.4310076), and the lowest one where several are equally good, as in a symmetric
    histogram or where no pixel lies between two cuts. OpenCV also scans upwards for the first maximum, but in
    floating point, where rounding decides between equal cuts. So the variances are compared here as fractions
    of integers. As in OpenCV, a class of less than 2^-23 of the pixels is no class.
    """
    total, total_sum = int(counts.sum()), int(counts @ np.arange(256))
    cut, best, best_divisor = 0, 0, 1
    lower = lower_sum = 0
    for value, count in enumerate(counts.tolist()):
        lower += count
        lower_sum += value * count
        smaller = min(lower, total - lower)
        if not smaller or smaller << 23 < total:
            continue
        variance, divisor = (total_sum * lower - total * lower_sum) ** 2, lower * (total - lower)
        if variance * best_divisor > best * divisor:
            cut, best, best_divisor = value, variance, divisor
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
