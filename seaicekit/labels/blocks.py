"""Label one block: measure it, then decide it by the histogram of its whole scene."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from seaicekit.classes import NODATA, OPEN_WATER
from seaicekit.labels import cloud_filter
from seaicekit.labels.rule import Rule, SceneRule
from seaicekit.scenes import blocks
from seaicekit.thresholds import Thresholds, brightness

STRIP = 64  # rows that stay in a processor's cache from one step to the next
WHOLE = slice(None), slice(None)

# Marks of `measure`. Ice has its class and the bit UNDECIDED until `decide`.
UNDECIDED = 64
OPAQUE = 254  # no data because cloud hides the ice; 255 in the end


@dataclass(frozen=True)
class Measured:
    """What `measure` returns of a block.

    Attributes
    ----------
    codes : (rows, columns) uint8
        Classes by the cuts alone, with marks.
    difference : (rows, columns) uint8
        How near each pixel is to its background, see `cloud_filter.difference`. Without the filter, and where
        it runs tile by tile, the class.
    counts : (256,) int64
        Histogram of the difference, of pixels with data.
    """

    codes: np.ndarray
    difference: np.ndarray
    counts: np.ndarray


def measure(
    bands: np.ndarray,
    nodata: np.ndarray,
    scene_rule: SceneRule,
    inner: tuple[slice, slice] = WHOLE,
    scl: np.ndarray | None = None,
) -> Measured:
    """Measure a block, which is all that needs its pixels.

    Parameters
    ----------
    bands, nodata, scl
        The block with its surroundings (see `SceneRule.surroundings`): (3, rows, columns) uint8,
        (rows, columns) bool and uint8.
    scene_rule : SceneRule
    inner : (slice, slice)
        Where the block lies in these arrays.

    Raises
    ------
    InputError
        The rule needs a scene classification, and there is none.
    """
    rule = scene_rule.rule
    if rule.nodata == "ignore":
        nodata = np.zeros_like(nodata)
    if scene_rule.stretch:
        bands = cloud_filter.stretch_bands(bands, scene_rule.stretch)
    hidden = rule.hidden(scl)
    codes, grey = np.empty(nodata.shape, np.uint8), np.empty(nodata.shape, np.uint8)
    for rows in _strips(len(codes)):
        hidden_rows = None if hidden is None else hidden[rows]
        codes[rows] = part = _mark(bands[:, rows], nodata[rows], rule.thresholds, hidden_rows)
        if rule.cloud_filter:  # open water and no data are white
            white = cv2.bitwise_not(cv2.inRange(part, OPEN_WATER + 1, OPAQUE - 1))
            cv2.bitwise_or(cloud_filter.to_grey(bands[:, rows]), white, dst=grey[rows])
    filtered = scene_rule.window, scene_rule.thinning
    if rule.cloud_filter and rule.scope == "scene":
        difference = np.ascontiguousarray(cloud_filter.difference(grey, *filtered)[inner])
        codes = np.ascontiguousarray(codes[inner])
        return Measured(codes, difference, _count(difference, codes))
    codes, grey = np.ascontiguousarray(codes[inner]), grey[inner]
    classes, total = codes & (UNDECIDED - 1), np.zeros(256, np.int64)
    for tile in blocks(codes.shape, rule.tile) if rule.cloud_filter else ():
        difference = cloud_filter.difference(np.ascontiguousarray(grey[tile.slices]), *filtered)
        counts = _count(difference, np.ascontiguousarray(codes[tile.slices]))
        classes[tile.slices] = cv2.LUT(difference, _classes(counts, rule.thresholds))
        total += counts
    return Measured(codes, classes, total)


def decide(measured: Measured, counts: np.ndarray, rule: Rule) -> tuple[np.ndarray, dict[str, int]]:
    """Decide a block's labels by the histogram of its scene.

    Parameters
    ----------
    measured : Measured
    counts : (256,) int64
        The sum of `Measured.counts` over all blocks of the scene.
    rule : Rule

    Returns
    -------
    labels : (rows, columns) uint8
    pixels : dict
        Pixels ``changed`` from the class by the cuts alone, and pixels under ``opaque_cloud``.
    """
    table = _classes(counts, rule.thresholds) if rule.cloud_filter and rule.scope == "scene" else None
    labels, changed, hidden = np.empty_like(measured.codes), 0, 0
    for rows in _strips(len(labels)):
        codes, after = measured.codes[rows], measured.difference[rows]
        if table is not None:
            after = cv2.LUT(after, table)
        undecided, opaque = (
            cv2.inRange(codes, UNDECIDED, 2 * UNDECIDED - 1),
            cv2.inRange(codes, OPAQUE, OPAQUE),
        )
        labels[rows] = codes
        cv2.copyTo(after, undecided, labels[rows])
        differs = cv2.compare(after, codes & (UNDECIDED - 1), cv2.CMP_NE)
        changed += cv2.countNonZero(cv2.bitwise_and(differs, undecided))
        if hidden_in_strip := cv2.countNonZero(opaque):
            labels[rows] |= opaque
            hidden += hidden_in_strip
    return labels, {"changed": changed, "opaque_cloud": hidden}


def label_raw(bands: np.ndarray, nodata: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    """Label by the cuts alone: (3, rows, columns) uint8 → (rows, columns) uint8, 255 where ``nodata``."""
    codes = _mark(bands, nodata, thresholds, None)
    empty = codes == NODATA
    codes &= UNDECIDED - 1
    codes[empty] = NODATA
    return codes


def corrected_brightness(measured: Measured, counts: np.ndarray, rule: Rule) -> np.ndarray:
    """Return the corrected brightness of a block, (rows, columns) uint8; see `seaicekit.labels.filter_scene`.

    ``counts`` is the scene's histogram, as for `decide`.
    """
    # The correction makes all ice 0 that is far from its background; the paper paints thin ice 155, water 0.
    darkest = min(255, rule.thresholds.water_max + 1)
    values = cv2.LUT(measured.difference, np.maximum(cloud_filter.correction(counts), darkest))
    values[(measured.codes == OPEN_WATER) | (measured.codes >= OPAQUE)] = 0
    return values


def _mark(
    bands: np.ndarray, nodata: np.ndarray, thresholds: Thresholds, hidden: np.ndarray | None
) -> np.ndarray:
    """Label by the cuts alone, with the marks of `measure`."""
    table = thresholds.table
    codes = cv2.LUT(
        brightness(bands), np.where(table == OPEN_WATER, table, table | UNDECIDED).astype(np.uint8)
    )
    if thresholds.coloured:
        hsv = cv2.cvtColor(cv2.merge(list(bands)), cv2.COLOR_RGB2HSV)
        for entry in thresholds.coloured:  # decided at once, for the filter has only grey
            codes[entry.contains(hsv)] = entry.code
    if hidden is not None:
        codes[hidden] = OPAQUE
    if nodata.any():
        np.copyto(codes, NODATA, where=nodata)
    return codes


def _strips(rows: int) -> list[slice]:
    return [slice(row, row + STRIP) for row in range(0, rows, STRIP)]


def _count(difference: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Count the difference where there is data."""
    return cloud_filter.histogram(difference, cv2.inRange(codes, 0, OPAQUE - 1))


def _classes(counts: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    """Return the class of each difference, (256,) uint8, from a scene's histogram."""
    return cv2.LUT(cloud_filter.correction(counts), thresholds.ice_table)[:, 0]
