"""The brightness of a scene's pixels."""

from __future__ import annotations

import os

import cv2
import numpy as np

from seaicekit import scenes

SAMPLED = 1 << 24  # pixels of a scene that its histogram is taken from; 16 of a granule's 116 pieces


def brightness(bands: np.ndarray) -> np.ndarray:
    """Return V = max(R, G, B) of (3, rows, columns) uint8 bands."""
    return cv2.max(cv2.max(bands[0], bands[1]), bands[2])


def scene_histogram(path: str | os.PathLike) -> np.ndarray:
    """Count the brightness of a scene's pixels, (256,) int64, no data left out.

    Of a scene above 16 megapixels, whole pieces are read that are spread evenly over it.
    """
    counts = np.zeros(256, np.int64)
    with scenes.open_reader(path) as reader:
        pieces = scenes.blocks(reader.shape, max(reader.chunk))
        most = max(1, SAMPLED // (pieces[0].height * pieces[0].width))
        if len(pieces) > most:  # at random, or all might fall in one column
            chosen = np.random.default_rng(0).choice(len(pieces), most, replace=False)
            pieces = [pieces[i] for i in np.sort(chosen)]
        for window in pieces:
            bands, nodata = reader.read(window)
            counts += np.bincount(brightness(bands)[~nodata], minlength=256)
    return counts
