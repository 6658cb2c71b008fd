"""The published filter and colour rule, step by step in plain OpenCV, to test the fast form against."""

from fractions import Fraction

import cv2
import numpy as np


def between_class_variances(counts):
    """Return cut → exact between-class variance of a histogram, of all cuts with two classes (Otsu 1979)."""
    counts = [int(count) for count in counts]
    total, variances = sum(counts), {}
    for cut in range(256):
        low = Fraction(sum(counts[: cut + 1]), total)
        if 0 < low < 1:
            low_mean = Fraction(sum(v * counts[v] for v in range(cut + 1)), total) / low
            high_mean = Fraction(sum(v * counts[v] for v in range(cut + 1, 256)), total) / (1 - low)
            variances[cut] = low * (1 - low) * (low_mean - high_mean) ** 2
    return variances


def otsu_by_definition(values):
    """Return the lowest of the cuts of most between-class variance; 0 where there is one value."""
    variances = between_class_variances(np.bincount(values.ravel(), minlength=256))
    return max(variances, key=variances.get, default=0)  # the first maximum


def published_labels(rgb, water_max=30, thin_max=204, valid=None):
    """Label (rows, columns, 3) uint8; with ``valid``, no data is white and is left out of every statistic."""
    everything = np.full(rgb.shape[:2], True)
    valid = everything if valid is None else valid
    water = cv2.inRange(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV), (0, 0, 0), (185, 255, water_max)) > 0
    image = rgb.copy()
    image[water | ~valid] = 255
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    background = cv2.medianBlur(cv2.dilate(grey, np.ones((7, 7), np.uint8)), 155)
    difference = 255 - cv2.absdiff(grey, background)
    counted = difference[valid].reshape(1, -1)
    # Not by THRESH_OTSU, which decides between equal cuts by rounding.
    _, kept = cv2.threshold(counted, otsu_by_definition(counted), 255, cv2.THRESH_TOZERO)
    stretched = cv2.normalize(kept, None, 0, 255, cv2.NORM_MINMAX)
    _, cut = cv2.threshold(stretched, 235, 255, cv2.THRESH_TRUNC)
    corrected = np.zeros(rgb.shape[:2], np.uint8)
    corrected[valid] = cv2.normalize(cut, None, 0, 255, cv2.NORM_MINMAX)[0]
    levels = np.where(corrected <= thin_max, 155, 255).astype(np.uint8)
    levels[water] = 0
    labels = np.where(levels == 0, 0, np.where(levels == 155, 1, 2)).astype(np.uint8)
    labels[~valid] = 255
    return labels
