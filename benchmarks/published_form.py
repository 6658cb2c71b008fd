"""The filter and the colour rule as published, and written leanly: what ours is measured against.

Both follow the steps of arXiv 2403.13135, section III, in OpenCV calls on a whole scene: `three_channels` as
its authors' scripts do, on colour images throughout; `one_channel` is the leanest form without look-up
tables, on grey images.
"""

from __future__ import annotations

import cv2
import numpy as np

WATER, THIN, THICK = (
    ((0, 0, 0), (185, 255, 30)),
    ((0, 0, 31), (185, 255, 204)),
    ((0, 0, 205), (185, 255, 255)),
)
COLOURS = (0, 255, 0), (0, 0, 255), (255, 0, 0)  # open water green, thin ice blue, thick ice red


def label_three_channels(rgb: np.ndarray) -> np.ndarray:
    """Colour a scene by class: HSV, three masks, three masked writes. (rows, columns, 3) uint8 both."""
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    out = np.zeros_like(rgb)
    for (low, high), colour in zip((WATER, THIN, THICK), COLOURS, strict=True):
        out[cv2.inRange(hsv, low, high) > 0] = colour
    return out


def label_one_channel(rgb: np.ndarray) -> np.ndarray:
    """Label by HSV and three masks, with one channel written. (rows, columns, 3) → (rows, columns) uint8."""
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    out = np.zeros(rgb.shape[:2], np.uint8)
    for code, (low, high) in enumerate((WATER, THIN, THICK)):
        out[cv2.inRange(hsv, low, high) > 0] = code
    return out


def filter_three_channels(rgb: np.ndarray) -> np.ndarray:
    """Filter thin cloud and shadow, write levels of grey on a colour image, and colour that by class."""
    water = cv2.inRange(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV), *WATER)
    image = rgb.copy()
    image[water > 0] = (255, 255, 255)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    background = cv2.medianBlur(cv2.dilate(grey, np.ones((7, 7), np.uint8)), 155)
    image = cv2.cvtColor(_corrected(grey, background), cv2.COLOR_GRAY2RGB)
    thin, thick = (
        cv2.inRange(image, (0, 0, 0), (204, 204, 204)),
        cv2.inRange(image, (205, 205, 205), (255, 255, 255)),
    )
    image[thin > 0] = (155, 155, 155)
    image[thick > 0] = (255, 255, 255)
    image[water > 0] = (0, 0, 0)
    return label_three_channels(image)


def filter_one_channel(rgb: np.ndarray) -> np.ndarray:
    """Filter thin cloud and shadow on one channel, then label by HSV and three masks."""
    water = cv2.inRange(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV), *WATER)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    grey[water > 0] = 255
    background = cv2.medianBlur(cv2.dilate(grey, np.ones((7, 7), np.uint8)), 155)
    # The darkest ice is lifted above the water's range, as the paper's own values for it are.
    corrected = np.maximum(_corrected(grey, background), 31)
    corrected[water > 0] = 0
    return label_one_channel(cv2.merge([corrected, corrected, corrected]))


def _corrected(grey: np.ndarray, background: np.ndarray) -> np.ndarray:
    difference = 255 - cv2.absdiff(grey, background)
    _, kept = cv2.threshold(difference, 0, 255, cv2.THRESH_TOZERO + cv2.THRESH_OTSU)
    stretched = cv2.normalize(kept, None, 0, 255, cv2.NORM_MINMAX)
    _, cut = cv2.threshold(stretched, 235, 255, cv2.THRESH_TRUNC)
    return cv2.normalize(cut, None, 0, 255, cv2.NORM_MINMAX)
