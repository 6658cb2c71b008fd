"""From pixels to classes, for a block or a scene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from seaicekit import clouds
from seaicekit.classes import NODATA, OPEN_WATER, THICK_ICE, THIN_ICE
from seaicekit.files import InputError
from seaicekit.scenes import blocks, nodata_mask
from seaicekit.thresholds import Thresholds, brightness

if TYPE_CHECKING:
    import xarray as xr

NodataRule = Literal["mask", "ignore"]


def raw(bands: np.ndarray, nodata: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    """Label by the cuts alone: (3, rows, columns) uint8 → (rows, columns) uint8, 255 where ``nodata``."""
    codes = cv2.LUT(brightness(bands), thresholds.table)
    codes[nodata] = NODATA
    return codes


def measure(
    bands: np.ndarray, nodata: np.ndarray, thresholds: Thresholds, inner: tuple[slice, slice]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First pass over a block: its raw labels, its difference image, its histogram.

    Parameters
    ----------
    bands, nodata
        The block with its halo: (3, rows, columns) uint8 and (rows, columns) bool.
    thresholds
        ``water_max`` says what enters the background as white.
    inner
        Where the block lies in the array.

    Returns
    -------
    codes, difference : (block rows, block columns) uint8
    counts : (256,) int64, no data left out
    """
    codes = raw(bands, nodata, thresholds)
    near = clouds.difference(bands, (codes == OPEN_WATER) | (codes == NODATA))[inner]
    codes = codes[inner]
    return codes, near, clouds.histogram(near, codes != NODATA)


def decide(codes: np.ndarray, near: np.ndarray, counts: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    """Second pass over a block: its labels, from the scene's histogram.

    Where the raw label is ice the corrected brightness decides between thin and thick; open water and
    no data stay.
    """
    table = np.where(clouds.correction(counts) > thresholds.thin_max, THICK_ICE, THIN_ICE).astype(np.uint8)
    labels = cv2.LUT(near, table)
    kept = (codes == OPEN_WATER) | (codes == NODATA)
    labels[kept] = codes[kept]
    return labels


def label(
    scene: xr.DataArray,
    thresholds: Thresholds | None = None,
    cloud_filter: bool = True,
    nodata: NodataRule = "mask",
    block: int | None = None,
) -> xr.DataArray:
    """Label a scene.

    Parameters
    ----------
    scene : xarray.DataArray
        (band=3, y, x) uint8, as from `seaicekit.open_scene`.
    thresholds : Thresholds
        The cuts; the paper's if none are given.
    cloud_filter : bool
        Filter thin cloud and shadow first, as the paper does.
    nodata : "mask" or "ignore"
        "mask": the scene's no-data pixels come out as 255, enter the background as white and are not
        counted. "ignore": no pixel is special, as in the paper, whose black edges are open water.
    block : int, optional
        Work through blocks of this many pixels a side. The labels do not depend on it.

    Returns
    -------
    xarray.DataArray
        (y, x) uint8: 0 open water, 1 thin ice, 2 thick ice, 255 no data; on the scene's grid.

    Raises
    ------
    InputError
        An array of another shape or dtype, or an unknown rule.
    """
    thresholds = thresholds or Thresholds()
    check_rule(nodata)
    if scene.dtype != np.uint8 or scene.dims != ("band", "y", "x") or scene.sizes["band"] != 3:
        shape = " x ".join(f"{name}={size}" for name, size in scene.sizes.items())
        raise InputError(f"scene: must be band=3 x y x x of uint8, not {shape} of {scene.dtype}")
    bands, mask = scene.values, nodata_mask(scene)
    if nodata == "ignore":
        mask = np.zeros_like(mask)
    labels = label_array(bands, mask, thresholds, cloud_filter, block)
    return scene.isel(band=0, drop=True).drop_vars("nodata", errors="ignore").copy(data=labels).rename("label")


def label_array(
    bands: np.ndarray,
    nodata: np.ndarray,
    thresholds: Thresholds,
    cloud_filter: bool = True,
    block: int | None = None,
) -> np.ndarray:
    """Label (3, rows, columns) uint8 bands and a no-data mask, as `label` does."""
    if not cloud_filter:
        return raw(bands, nodata, thresholds)
    codes, near = np.empty_like(bands[0]), np.empty_like(bands[0])
    counts = np.zeros(256, np.int64)
    windows = blocks(bands.shape[1:], block)
    for window in windows:
        outer = window.padded(clouds.HALO, bands.shape[1:])
        rows, cols = outer.slices
        part = measure(bands[:, rows, cols], nodata[rows, cols], thresholds, window.within(outer))
        codes[window.slices], near[window.slices] = part[:2]
        counts += part[2]
    return decide(codes, near, counts, thresholds)


def check_rule(nodata: str) -> None:
    """Raise `InputError` unless ``nodata`` is a rule that is known."""
    if nodata not in ("mask", "ignore"):
        raise InputError(f'nodata: must be "mask" or "ignore", not {nodata!r}')
