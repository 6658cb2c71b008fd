"""Label or filter a scene that is in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from seaicekit.files import InputError
from seaicekit.labels import cloud_filter
from seaicekit.labels.blocks import Measured, corrected_brightness, decide, measure
from seaicekit.labels.rule import Rule, SceneRule
from seaicekit.scenes import nodata_mask
from seaicekit.thresholds import Thresholds, brightness

if TYPE_CHECKING:
    import xarray as xr


def label(
    scene: xr.DataArray, thresholds: Thresholds | Rule | None = None, block: int | None = None, **options: Any
) -> xr.DataArray:
    """Label a scene.

    Parameters
    ----------
    scene : xarray.DataArray
        (band=3, y, x) uint8, as from `seaicekit.open_scene`.
    thresholds : Thresholds or seaicekit.labels.Rule
        The cuts, or the whole rule; the paper's if none are given.
    block : int, optional
        Work through blocks of this many pixels a side. The labels do not depend on it.
    **options
        Values of `seaicekit.labels.Rule` that differ: ``cloud_filter``, ``window`` and more.

    Returns
    -------
    xarray.DataArray
        (y, x) uint8: 0 open water, 1 thin ice, 2 thick ice, what the cuts' ranges add, 255 no data; on the
        scene's grid.

    Raises
    ------
    InputError
        An array of another shape or dtype, or an unknown rule.

    Examples
    --------
    >>> from seaicekit.scenes import synthetic_scene
    >>> scene, truth = synthetic_scene(seed=1, shape=(64, 64))
    >>> labels = label(scene, Thresholds(water_max=30, thin_max=204), cloud_filter=False)
    >>> labels.dims, labels.shape, labels.dtype
    (('y', 'x'), (64, 64), dtype('uint8'))
    """
    rule = Rule.of(thresholds, **options)
    if scene.dtype != np.uint8 or scene.dims != ("band", "y", "x") or scene.sizes["band"] != 3:
        shape = " x ".join(f"{name}={size}" for name, size in scene.sizes.items())
        raise InputError(f"scene: must be band=3 x y x x of uint8, not {shape} of {scene.dtype}")
    bands, nodata, scl = _layers(scene)
    scene_rule = rule.for_scene(scene_pixel_size(scene), stretch_limits(bands, nodata, rule))
    return _like(scene, label_array(bands, nodata, scene_rule, block, scl)[0], "label")


def label_array(
    bands: np.ndarray,
    nodata: np.ndarray,
    scene_rule: SceneRule,
    block: int | None = None,
    scl: np.ndarray | None = None,
) -> tuple[np.ndarray, dict[str, int]]:
    """Label (3, rows, columns) uint8 bands with a no-data mask, as `label` does.

    Returns
    -------
    labels : (rows, columns) uint8
    pixels : dict
        As from `seaicekit.labels.blocks.decide`.
    """
    shape, rule = nodata.shape, scene_rule.rule
    codes, difference = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
    counts = np.zeros(256, np.int64)
    for window in rule.blocks(shape, block):
        outer = scene_rule.surroundings(window, shape)
        rows, cols = outer.slices
        part = measure(
            bands[:, rows, cols],
            nodata[rows, cols],
            scene_rule,
            window.within(outer),
            None if scl is None else scl[rows, cols],
        )
        codes[window.slices], difference[window.slices] = part.codes, part.difference
        counts += part.counts
    return decide(Measured(codes, difference, counts), counts, rule)


def filter_scene(scene: xr.DataArray, rule: Rule | None = None) -> xr.DataArray:
    """Return a scene as the cloud filter leaves it: corrected brightness.

    Parameters
    ----------
    scene
        As for `label`.
    rule : Rule
        The paper's if none is given. Its scope is taken for "scene".

    Returns
    -------
    xarray.DataArray
        (y, x) uint8 on the scene's grid; open water, opaque cloud and no data are 0, and ice is brighter than
        the brightest water.
    """
    bands, nodata, scl = _layers(scene)
    values = filter_array(bands, nodata, rule or Rule(), scene_pixel_size(scene), scl)
    return _like(scene, values, "filtered")


def filter_array(
    bands: np.ndarray,
    nodata: np.ndarray,
    rule: Rule,
    resolution: float | None = None,
    scl: np.ndarray | None = None,
) -> np.ndarray:
    """Filter (3, rows, columns) uint8 bands with a no-data mask, as `filter_scene` does.

    ``resolution`` is the pixels' size in metres, where the rule gives its window in metres.
    """
    rule = Rule.of(rule, scope="scene", cloud_filter=True)
    scene_rule = rule.for_scene(resolution, stretch_limits(bands, nodata, rule))
    measured = measure(bands, nodata, scene_rule, scl=scl)
    return corrected_brightness(measured, measured.counts, rule)


def stretch_limits(bands: np.ndarray, nodata: np.ndarray, rule: Rule) -> tuple[int, int] | None:
    """Return the brightnesses at the percentiles that a rule normalises by; None if it does not."""
    if not rule.normalise:
        return None
    return cloud_filter.stretch_limits(count_brightness(bands, nodata, rule), *rule.normalise)


def count_brightness(bands: np.ndarray, nodata: np.ndarray, rule: Rule) -> np.ndarray:
    """Count the brightness, (256,) int64, of what a rule takes for data."""
    counted = ~nodata if rule.nodata == "mask" else np.ones_like(nodata)
    return cloud_filter.histogram(brightness(bands), counted.view(np.uint8))


def scene_pixel_size(scene: xr.DataArray) -> float | None:
    """Return metres a pixel; None where the scene has no projected CRS in metres."""
    import rioxarray  # noqa: F401  registers .rio

    return pixel_size(scene.rio.crs, scene.rio.transform())


def pixel_size(crs: Any, transform: Any) -> float | None:
    """Return metres a pixel of a grid; None where its CRS is missing or not in metres."""
    if crs is None or not crs.is_projected or crs.linear_units_factor[1] != 1:
        return None
    return abs(transform.a * transform.e - transform.b * transform.d) ** 0.5


def _layers(scene: xr.DataArray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return a scene's bands, no data and scene classification."""
    return scene.values, nodata_mask(scene), scene.coords["scl"].values if "scl" in scene.coords else None


def _like(scene: xr.DataArray, values: np.ndarray, name: str) -> xr.DataArray:
    grid = scene.isel(band=0, drop=True).drop_vars(["nodata", "scl"], errors="ignore")
    return grid.copy(data=values).rename(name)
