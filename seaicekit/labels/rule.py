"""From pixels to classes, for a block or a scene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import cv2
import numpy as np
from pydantic import Field, InstanceOf, model_validator

from seaicekit.classes import NODATA, OPEN_WATER
from seaicekit.files import InputError
from seaicekit.labels import cloud_filter
from seaicekit.labels.cloud_filter import WINDOW
from seaicekit.parameters import Parameters
from seaicekit.scenes import Window, blocks, nodata_mask
from seaicekit.thresholds import Thresholds, brightness

if TYPE_CHECKING:
    import xarray as xr

# The version of the labelling rule. Raise it with each change that can change a label: rasters of another
# version are made anew. tests/labels/test_golden.py fails if labels change and the version does not.
VERSION = 2

NodataRule = Literal["mask", "ignore"]
Scope = Literal["scene", "tile"]
OpaqueRule = Literal["off", "scl"]
Percentile = Annotated[float, Field(ge=0, le=100)]

STRIP = 64  # rows

# Marks of the first pass. Ice has its class and this bit until the second pass has decided.
UNDECIDED = 64
OPAQUE = 254  # no data for the reason that cloud hides it; 255 in the end
SCL_OPAQUE = (8, 9)  # Sentinel-2 scene classification: cloud of medium and of high probability


class RuleOptions(Parameters):
    """What is done to a scene before the cuts."""

    cloud_filter: bool = Field(
        True, description="Filter thin cloud and shadow before the cuts, as the paper does."
    )
    nodata: NodataRule = Field(
        "mask",
        description="mask: pixels without data become 255, enter the background as white and are not counted; "
        "ignore: no pixel is special, as in the paper, whose black edges are open water.",
    )
    window: int | str = Field(
        WINDOW,
        description='Side of the filter\'s window, an odd number of pixels, or metres as "7750 m"; '
        "above 255 pixels the background is taken from a thinned-out image.",
    )
    scope: Scope = Field(
        "scene",
        description="tile: filter each tile by itself, as the paper's Spark job does; labels then depend on "
        "where the tiles lie.",
    )
    tile: int = Field(256, ge=1, description="Side of the tiles of scope tile, pixels.")
    normalise: tuple[Percentile, Percentile] | None = Field(
        None,
        description="Two percentiles of a scene's brightness that are stretched to 0 and 255 first, to even out "
        "illumination.",
    )
    opaque: OpaqueRule = Field(
        "off",
        description="scl: cloud that hides the ice becomes no data, by the product's scene classification layer, "
        "which a scene must bring (#scl=1).",
    )

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        cloud_filter.window_pixels(self.window, 1.0)
        if self.normalise is not None and self.normalise[0] >= self.normalise[1]:
            raise InputError(
                f"normalise: must be two percentiles, the lower first, not {list(self.normalise)}"
            )
        return self


class Rule(RuleOptions):
    """How a scene becomes labels: what is done before the cuts, and the cuts."""

    thresholds: InstanceOf[Thresholds] = Field(Thresholds(), description="The cuts; the paper's by default.")

    def __init__(self, thresholds: Thresholds | None = None, **options: Any):
        Parameters.__init__(self, thresholds=thresholds or Thresholds(), **options)

    @classmethod
    def of(cls, values: Parameters | Thresholds | None = None, **changes: Any) -> Rule:
        """Make a rule of cuts, or of another rule or options, and what differs from it."""
        if isinstance(values, Thresholds):
            return cls(values, **changes)
        return super().of(values, **changes)

    def to_dict(self) -> dict:
        """Return the rule as JSON values, for `from_dict`."""
        options = self.model_dump(mode="json", exclude={"thresholds"})
        return {"thresholds": self.thresholds.to_dict()} | options

    @classmethod
    def from_dict(cls, values: dict) -> Rule:
        """Make a rule from what `to_dict` returned, by an earlier version, too: options that are gone are left out."""
        known = {name: value for name, value in values.items() if name in cls.model_fields}
        return cls(**known | {"thresholds": Thresholds.from_dict(values["thresholds"])})

    def filter_for(self, resolution: float | None) -> tuple[int, int]:
        """Return the window in pixels and the thinning of a scene's background."""
        window = cloud_filter.window_pixels(self.window, resolution)
        return window, cloud_filter.thinning(window)

    def hidden(self, scl: np.ndarray | None) -> np.ndarray | None:
        """Return where opaque cloud hides the ice, (rows, columns) bool; None where ``opaque`` is off."""
        return None if self.opaque == "off" else np.isin(np.asarray(scl), SCL_OPAQUE)

    def blocks(self, shape: tuple[int, ...], block: int | None) -> list[Window]:
        """Cut a scene into blocks; where tiles are filtered by themselves, of whole tiles."""
        if self.scope == "tile" and block is not None:
            block = -(-block // self.tile) * self.tile
        return blocks(shape, block)

    def seen_from(self, window: Window, shape: tuple[int, ...], filtered: tuple[int, int]) -> Window:
        """Return the block with all that its labels depend on around it."""
        if self.cloud_filter and self.scope == "scene":
            return window.padded(cloud_filter.halo(*filtered), shape, filtered[1])
        return window


def label_raw(
    bands: np.ndarray, nodata: np.ndarray, thresholds: Thresholds, hidden: np.ndarray | None = None
) -> np.ndarray:
    """Label by the cuts alone: (3, rows, columns) uint8 → (rows, columns) uint8, 255 where ``nodata``."""
    return _plain(_first(bands, nodata, thresholds, hidden))


def _first(
    bands: np.ndarray, nodata: np.ndarray, thresholds: Thresholds, hidden: np.ndarray | None
) -> np.ndarray:
    """Label by the cuts alone, with ice marked as undecided and opaque cloud apart."""
    table = thresholds.table
    codes = cv2.LUT(
        brightness(bands), np.where(table == OPEN_WATER, table, table | UNDECIDED).astype(np.uint8)
    )
    if thresholds.coloured:
        hsv = cv2.cvtColor(cv2.merge(list(bands)), cv2.COLOR_RGB2HSV)
        for entry in thresholds.coloured:  # a class by its colour stands; the filter sees only grey
            codes[entry.contains(hsv)] = entry.code
    if hidden is not None:
        codes[hidden] = OPAQUE
    if nodata.any():
        np.copyto(codes, NODATA, where=nodata)
    return codes


def _plain(codes: np.ndarray) -> np.ndarray:
    """Strip the marks of the first pass, in place."""
    hidden = codes >= OPAQUE
    codes &= UNDECIDED - 1
    codes[hidden] = NODATA
    return codes


def measure(
    bands: np.ndarray,
    nodata: np.ndarray,
    rule: Rule,
    inner: tuple[slice, slice],
    filtered: tuple[int, int],
    ends: tuple[int, int] | None = None,
    scl: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First pass over a block: its raw labels, its difference image, its histogram.

    Parameters
    ----------
    bands, nodata, scl
        The block and what `Rule.seen_from` adds: (3, rows, columns) uint8; (rows, columns) bool and uint8.
    rule
        Its cuts say what enters the background as white.
    inner
        Where the block lies in the array.
    filtered
        Window and thinning, from `Rule.filter_for`.
    ends
        Brightnesses to be stretched to 0 and 255, where the rule normalises.

    Returns
    -------
    codes, difference : (block rows, block columns) uint8
        Codes carry the marks of the first pass. What is not filtered, or tile by tile, has its class
        already in the place of the difference.
    counts : (256,) int64, no data left out
    """
    if rule.nodata == "ignore":
        nodata = np.zeros_like(nodata)
    if ends:
        bands = cloud_filter.stretch_bands(bands, ends)
    hidden = rule.hidden(scl)
    codes, grey = np.empty(nodata.shape, np.uint8), np.empty(nodata.shape, np.uint8)
    for rows in _strips(len(codes)):
        seen = None if hidden is None else hidden[rows]
        codes[rows] = part = _first(bands[:, rows], nodata[rows], rule.thresholds, seen)
        if rule.cloud_filter:  # open water is 0, and what is no data stands at the top
            white = cv2.bitwise_not(cv2.inRange(part, OPEN_WATER + 1, OPAQUE - 1))
            cv2.bitwise_or(cloud_filter.to_grey(bands[:, rows]), white, dst=grey[rows])
    if not rule.cloud_filter:
        codes = np.ascontiguousarray(codes[inner])
        return codes, codes, np.zeros(256, np.int64)
    if rule.scope == "scene":
        near = np.ascontiguousarray(cloud_filter.difference(grey, *filtered)[inner])
        codes = np.ascontiguousarray(codes[inner])
        return codes, near, cloud_filter.histogram(near, cv2.inRange(codes, 0, OPAQUE - 1))
    grey, codes = grey[inner], codes[inner]
    classes, total = np.empty_like(codes), np.zeros(256, np.int64)
    for tile in blocks(codes.shape, rule.tile):
        part = np.ascontiguousarray(codes[tile.slices])
        near = cloud_filter.difference(np.ascontiguousarray(grey[tile.slices]), *filtered)
        counts = cloud_filter.histogram(near, cv2.inRange(part, 0, OPAQUE - 1))
        classes[tile.slices] = cv2.LUT(near, _decision(counts, rule.thresholds))
        total += counts
    return codes, classes, total


def _strips(rows: int) -> list[slice]:
    """Cut rows into strips that stay in a processor's cache from one step to the next."""
    return [slice(row, row + STRIP) for row in range(0, rows, STRIP)]


def _decision(counts: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    """Return the class of each difference, (256,) uint8, from a scene's histogram."""
    return cv2.LUT(cloud_filter.correction(counts), thresholds.ice_table)[:, 0]


def decide(
    codes: np.ndarray, near: np.ndarray, counts: np.ndarray, rule: Rule
) -> tuple[np.ndarray, dict[str, int]]:
    """Second pass over a block: its labels, from the scene's histogram.

    What the first pass left undecided gets its class from ``near``; all else stays.

    Returns
    -------
    labels : (rows, columns) uint8
    found : dict
        Pixels ``changed`` from the raw label's class, and pixels under ``opaque_cloud``.
    """
    by_scene = rule.cloud_filter and rule.scope == "scene"
    table = _decision(counts, rule.thresholds) if by_scene else None
    labels, moved, hidden = np.empty_like(codes), 0, 0
    for rows in _strips(len(codes)):
        part, before = codes[rows], codes[rows] & (UNDECIDED - 1)
        after = (
            before if not rule.cloud_filter else near[rows] if table is None else cv2.LUT(near[rows], table)
        )
        undecided, opaque = cv2.inRange(part, UNDECIDED, 2 * UNDECIDED - 1), cv2.inRange(part, OPAQUE, OPAQUE)
        labels[rows] = part
        cv2.copyTo(after, undecided, labels[rows])
        moved += cv2.countNonZero(cv2.bitwise_and(cv2.compare(after, before, cv2.CMP_NE), undecided))
        found = cv2.countNonZero(opaque)
        if found:
            labels[rows] |= opaque
        hidden += found
    return labels, {"changed": moved, "opaque_cloud": hidden}


def label(
    scene: xr.DataArray, thresholds: Thresholds | Rule | None = None, block: int | None = None, **rule
) -> xr.DataArray:
    """Label a scene.

    Parameters
    ----------
    scene : xarray.DataArray
        (band=3, y, x) uint8, as from `seaicekit.open_scene`.
    thresholds : Thresholds or Rule
        The cuts, or the whole rule; the paper's if none are given.
    block : int, optional
        Work through blocks of this many pixels a side. The labels do not depend on it.
    **rule
        As for `Rule`: ``cloud_filter``, ``nodata``, ``window``, ``scope``, ``tile``, ``normalise``,
        ``opaque``.

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
    applied = Rule.of(thresholds, **rule)
    if scene.dtype != np.uint8 or scene.dims != ("band", "y", "x") or scene.sizes["band"] != 3:
        shape = " x ".join(f"{name}={size}" for name, size in scene.sizes.items())
        raise InputError(f"scene: must be band=3 x y x x of uint8, not {shape} of {scene.dtype}")
    bands, nodata, scl, ends = _layers(scene, applied)
    return _like(
        scene, label_array(bands, nodata, applied, block, scene_pixel_size(scene), scl, ends)[0], "label"
    )


def _layers(
    scene: xr.DataArray, rule: Rule
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, tuple[int, int] | None]:
    """Return a scene's bands, no data, scene classification and ends to stretch, as `label_array` takes them."""
    if rule.opaque == "scl" and "scl" not in scene.coords:
        raise InputError('opaque: "scl" needs the scene classification layer; open a product with #scl=1')
    bands, nodata = scene.values, nodata_mask(scene)
    scl = scene.coords["scl"].values if rule.opaque == "scl" else None
    return bands, nodata, scl, scene_stretch_limits(bands, nodata, rule)


def scene_stretch_limits(bands: np.ndarray, nodata: np.ndarray, rule: Rule) -> tuple[int, int] | None:
    """Return the brightnesses at the percentiles that a rule normalises by; None if it does not."""
    if not rule.normalise:
        return None
    return cloud_filter.stretch_limits(count_brightness(bands, nodata, rule), *rule.normalise)


def count_brightness(bands: np.ndarray, nodata: np.ndarray, rule: Rule) -> np.ndarray:
    """Count the brightness, (256,) int64, of what a rule takes for data."""
    counted = ~nodata if rule.nodata == "mask" else np.ones_like(nodata)
    return cloud_filter.histogram(brightness(bands), counted.view(np.uint8))


def _like(scene: xr.DataArray, values: np.ndarray, name: str) -> xr.DataArray:
    return (
        scene.isel(band=0, drop=True)
        .drop_vars(["nodata", "scl"], errors="ignore")
        .copy(data=values)
        .rename(name)
    )


def scene_pixel_size(scene: xr.DataArray) -> float | None:
    """Return metres a pixel; None where the scene has no projected CRS in metres."""
    import rioxarray  # noqa: F401  registers .rio

    return pixel_size(scene.rio.crs, scene.rio.transform())


def pixel_size(crs: Any, transform: Any) -> float | None:
    """Return metres a pixel of a grid; None where its CRS is missing or not in metres."""
    if crs is None or not crs.is_projected or crs.linear_units_factor[1] != 1:
        return None
    return abs(transform.a * transform.e - transform.b * transform.d) ** 0.5


def label_array(
    bands: np.ndarray,
    nodata: np.ndarray,
    rule: Rule,
    block: int | None = None,
    resolution: float | None = None,
    scl: np.ndarray | None = None,
    ends: tuple[int, int] | None = None,
) -> tuple[np.ndarray, dict[str, int]]:
    """Label (3, rows, columns) uint8 bands and a no-data mask, as `label` does; return what `decide` does."""
    shape = nodata.shape
    filtered = rule.filter_for(resolution)
    windows = rule.blocks(shape, block)
    if len(windows) == 1:
        whole = slice(None), slice(None)
        return decide(*measure(bands, nodata, rule, whole, filtered, ends, scl), rule)
    codes, near, counts = np.empty(shape, np.uint8), np.empty(shape, np.uint8), np.zeros(256, np.int64)
    for window in windows:
        outer = rule.seen_from(window, shape, filtered)
        rows, cols = outer.slices
        seen = None if scl is None else scl[rows, cols]
        part = measure(
            bands[:, rows, cols], nodata[rows, cols], rule, window.within(outer), filtered, ends, seen
        )
        codes[window.slices], near[window.slices] = part[:2]
        counts += part[2]
    return decide(codes, near, counts, rule)


def filter_scene(scene: xr.DataArray, rule: Rule | None = None) -> xr.DataArray:
    """Return a scene as the cloud filter sees it: corrected brightness, (y, x) uint8.

    Parameters
    ----------
    scene
        As for `label`.
    rule : Rule
        The paper's if none is given; scope "scene" whatever it says.

    Returns
    -------
    xarray.DataArray
        (y, x) uint8 on the scene's grid; open water, opaque cloud and no data are 0, and ice is brighter than
        the brightest water.
    """
    rule = Rule.of(rule, scope="scene", cloud_filter=True)
    bands, nodata, scl, ends = _layers(scene, rule)
    whole = slice(None), slice(None)
    window = rule.filter_for(scene_pixel_size(scene))
    return _like(
        scene, corrected_brightness(*measure(bands, nodata, rule, whole, window, ends, scl), rule), "filtered"
    )


def corrected_brightness(codes: np.ndarray, near: np.ndarray, counts: np.ndarray, rule: Rule) -> np.ndarray:
    """Return corrected brightness, (rows, columns) uint8, from what `measure` returned; see `filtered`."""
    # The correction makes all ice 0 that is far from its background; the paper paints thin ice 155, water 0.
    darkest = min(255, rule.thresholds.water_max + 1)
    values = cv2.LUT(near, np.maximum(cloud_filter.correction(counts), darkest))
    values[(codes == OPEN_WATER) | (codes >= OPAQUE)] = 0
    return values
