"""Bring rasters that people have, with codes and grids of their own, to a prediction's grid and legend."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from seaicekit import labels, scenes
from seaicekit.classes import LEGEND, NODATA, SeaIceClass
from seaicekit.files import InputError

if TYPE_CHECKING:
    from seaicekit.scenes import Raster

OTHER = NODATA + 1  # the codes from here on stand for what a class mapping does not name
PLAIN_COLOUR = "#808080"  # of a class whose raster has no colour table

Mapped = Mapping[object, int | None]  # a person's code → our code, None for no data


@dataclass(frozen=True)
class Layer:
    """A raster in memory.

    (rows, columns) values, where it has no data, its grid (None where it has none), its name.
    """

    values: np.ndarray
    nodata: np.ndarray
    crs: Any
    transform: Any
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        return self.values.shape


def read(raster: Raster, name: str = "array") -> Layer:
    """Read a path, an `xarray.DataArray` or an array; 255 is no data in 8 bits, and what a file declares.

    Raises
    ------
    InputError
        It cannot be read, is not one band, or is empty.
    """
    if isinstance(raster, str | os.PathLike):
        with scenes.open_raster(raster) as source:
            if source.count != 1:
                raise InputError(
                    f"{raster}: has {source.count} bands; give a raster of class codes, with one"
                )
            values, nodata = source.read(1), source.read_masks(1) == 0
            # GDAL's mask knows only what the file declares, and plain PNGs of labels declare nothing.
            declared = source.nodata is not None
            layer = Layer(values, nodata, source.crs, source.transform, str(raster))
    else:
        layer, declared = _of_array(raster, name), False
    if layer.values.ndim != 2 or not layer.values.size:
        raise InputError(f"{layer.name}: {layer.shape} pixels; class codes must be (rows, columns), and some")
    if layer.values.dtype.kind not in "biuf":
        raise InputError(f"{layer.name}: class codes must be numbers, not {layer.values.dtype}")
    nodata = layer.nodata
    if layer.values.dtype.kind == "f":
        nodata = nodata | np.isnan(layer.values)
    return replace(layer, nodata=nodata if declared else nodata | (layer.values == NODATA))


def _of_array(raster: Any, name: str) -> Layer:
    crs = transform = None
    values = np.asarray(raster)
    nodata = np.zeros(values.shape, bool)
    if hasattr(raster, "dims"):
        import rioxarray  # noqa: F401  registers .rio

        crs = raster.rio.crs
        transform = raster.rio.transform() if crs else None
        if raster.rio.nodata is not None:
            nodata = values == raster.rio.nodata
    return Layer(values, nodata, crs, transform, name)


def mapped(layer: Layer, classes: Mapped | None, legend: Sequence[SeaIceClass]) -> tuple[np.ndarray, dict]:
    """Turn a raster's values into codes of the legend, (rows, columns) uint16.

    Returns
    -------
    codes
        255 no data; 256 and on for the values that the mapping does not name.
    further : dict
        Those codes → the values.

    Raises
    ------
    InputError
        A code that is not in the legend.
    """
    ours = {entry.code for entry in legend}
    table = {code: code for code in ours} if classes is None else codes_of(classes, ours)
    nodata = layer.nodata
    if layer.values.dtype == np.uint8 and NODATA in table:  # the mapping says that 255 is a class
        nodata = nodata & (layer.values != NODATA)
    small = layer.values.dtype == np.uint8  # then a value is its own place in a table, and nothing is sorted
    if small:
        values = np.ascontiguousarray(layer.values)
        found, inverse = np.flatnonzero(labels.histogram(values, (~nodata).view(np.uint8))), None
    else:
        found, inverse = np.unique(layer.values[~nodata], return_inverse=True)
    if len(found) > 2**15:
        raise InputError(
            f"{layer.name}: {len(found)} different values are no classes; give a raster of class codes"
        )
    further: dict[int, object] = {}
    to = np.empty(len(found), np.uint16)
    for number, value in enumerate(found.tolist()):
        code = table.get(value, OTHER + len(further))
        if code >= OTHER:
            if classes is None:
                names = ", ".join(f"{entry.code} {entry.name}" for entry in legend)
                raise InputError(
                    f"{layer.name}: code {value} is not in the legend ({names}); give the legend, or map the classes"
                )
            further[code] = value
        to[number] = code
    if small:
        whole = np.full(256, NODATA, np.uint16)
        whole[found] = to
        codes = cv2.LUT(values, whole)
        codes[nodata] = NODATA
        return codes, further
    codes = np.full(layer.shape, NODATA, np.uint16)
    codes[~nodata] = to[inverse]
    return codes, further


def codes_of(classes: Mapped, ours: set[int]) -> dict:
    """Return a class mapping with no data as 255, once its codes are known to be in the legend."""
    table = {}
    for theirs, code in classes.items():
        code = NODATA if code is None else code
        if isinstance(code, bool) or code not in ours | {NODATA}:
            known = ", ".join(map(str, sorted(ours)))
            raise InputError(
                f"classes: {theirs!r} → {code!r}, but the legend has {known}; None means no data"
            )
        table[theirs] = int(code)
    return table


def aligned(layer: Layer, codes: np.ndarray, grid: Layer) -> np.ndarray:
    """Return a raster's codes, (rows, columns) uint16, on another raster's grid.

    The nearest pixel's, 255 outside.

    Rasters of one shape of which one has no CRS are taken to lie on one another. Places are right to an
    eighth of a pixel, GDAL's measure.

    Raises
    ------
    InputError
        Of another shape and without a CRS, or nowhere near the grid.
    """
    georeferenced = layer.crs is not None and grid.crs is not None
    if layer.shape == grid.shape and (not georeferenced or _same_grid(layer, grid)):
        return codes
    if not georeferenced:
        without = layer.name if layer.crs is None else grid.name
        raise InputError(
            f"evaluate: the prediction has {grid.shape} pixels, the reference {layer.shape}, and {without} has no CRS; "
            "give rasters on one grid, or both with their CRS"
        )
    import rasterio.errors
    import rasterio.warp
    from rasterio._err import CPLE_BaseError

    target = np.full(grid.shape, NODATA, np.uint16)
    try:
        rasterio.warp.reproject(
            codes,
            target,
            src_transform=layer.transform,
            src_crs=layer.crs,
            src_nodata=NODATA,
            dst_transform=grid.transform,
            dst_crs=grid.crs,
            dst_nodata=NODATA,
            resampling=rasterio.warp.Resampling.nearest,
        )
    except (rasterio.errors.RasterioError, CPLE_BaseError) as error:
        cause = " ".join(str(error).split())
        raise InputError(
            f"{layer.name}: cannot be brought to the grid of {grid.name} ({cause}); check its CRS"
        ) from error
    if (target == NODATA).all() and (codes != NODATA).any():
        raise InputError(f"{layer.name}: nothing of it lies on {grid.name}; check the pair, and both CRS")
    return target


def _same_grid(one: Layer, other: Layer) -> bool:
    near = (
        1e-3 * abs(other.transform.determinant) ** 0.5 / max(one.shape)
    )  # a thousandth of a pixel at the far end
    pairs = zip(one.transform[:6], other.transform[:6], strict=True)
    shift = 1e-3 * abs(other.transform.determinant) ** 0.5
    return one.crs == other.crs and all(
        abs(a - b) <= (shift if number in (2, 5) else near) for number, (a, b) in enumerate(pairs)
    )


def legend_of(several: Iterable[Raster], further: Sequence[SeaIceClass] = ()) -> tuple[SeaIceClass, ...]:
    """Return the classes that rasters name in their tags (``CLASS_0`` and so on), together with further ones.

    A raster without such tags counts as having the default legend, `seaicekit.classes.LEGEND`.

    Raises
    ------
    InputError
        Two of them give one code different names.
    """
    legend: dict[int, SeaIceClass] = {}
    named = [(_name(raster), _named(raster)) for raster in several]
    for name, entries in [*named, ("cuts", further)]:
        for entry in entries:
            known = legend.setdefault(entry.code, entry)
            if known.name != entry.name:
                raise InputError(
                    f"{name}: calls {entry.code} '{entry.name}', another raster '{known.name}'; "
                    "map the classes, or give the legend"
                )
            if known.colour == PLAIN_COLOUR:
                legend[entry.code] = entry
    return tuple(legend[code] for code in sorted(legend)) or LEGEND


def _named(raster: Raster) -> Sequence[SeaIceClass]:
    if not isinstance(raster, str | os.PathLike):
        return LEGEND
    with scenes.open_raster(raster) as source:
        names = {key[6:]: name for key, name in source.tags().items() if key.startswith("CLASS_")}
        try:
            colours = source.colormap(1)
        except ValueError:
            colours = {}
    codes = {int(key): name for key, name in names.items() if key.isdecimal() and int(key) < NODATA}
    ours = {entry.code: entry.colour for entry in LEGEND}

    def colour(code: int) -> str:
        return (
            "#{:02x}{:02x}{:02x}".format(*colours[code][:3])
            if code in colours
            else ours.get(code, PLAIN_COLOUR)
        )

    return [SeaIceClass(code, name, colour(code)) for code, name in codes.items()] or LEGEND


def _name(raster: Raster) -> str:
    return str(raster) if isinstance(raster, str | os.PathLike) else "array"
