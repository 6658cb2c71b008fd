"""Read class rasters of any codes and grid, and bring them to a prediction's grid and legend."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from seaicekit import labels, scenes, thresholds
from seaicekit.classes import NODATA, SeaIceClass
from seaicekit.files import InputError

if TYPE_CHECKING:
    from seaicekit.scenes import Raster

ClassMapping = Mapping[Any, int | None]  # a foreign code → our code, None for no data


@dataclass(frozen=True)
class Layer:
    """A raster in memory, as indices into the list of its values.

    Attributes
    ----------
    indices : (rows, columns) uint8
        For each pixel the index of its value, 255 for no data.
    values : list
        The different values, such as class codes.
    crs, transform
        None for an array without georeference.
    name : str
        For messages.
    """

    indices: np.ndarray
    values: list
    crs: Any
    transform: Any
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        return self.indices.shape

    def positions(self, legend: Sequence[SeaIceClass], classes: ClassMapping | None = None) -> np.ndarray:
        """Return each pixel's position in the legend, (rows, columns) uint8, 255 for no data.

        Parameters
        ----------
        legend : sequence of SeaIceClass
        classes : dict, optional
            The raster's codes → codes of the legend, or None for no data. Values that it does not name are
            no data. Without it values are codes, or names, of the legend.

        Raises
        ------
        InputError
            A code that is not in the legend.
        """
        codes: dict[Any, int] = {entry.code: position for position, entry in enumerate(legend)}
        if classes is None:
            codes_of_values = _codes_by_legend(self, legend)
        else:
            check_classes(classes, legend)
            codes_of_values = [classes.get(value) for value in self.values]
        table = np.full(256, NODATA, np.uint8)
        table[: len(self.values)] = [codes.get(code, NODATA) for code in codes_of_values]
        return cv2.LUT(self.indices, table)


def _codes_by_legend(layer: Layer, legend: Sequence[SeaIceClass]) -> list[int | None]:
    known = {entry.code for entry in legend}
    names = {thresholds.plain_name(entry.name): entry.code for entry in legend}
    codes = [names.get(thresholds.plain_name(each), thresholds.as_integer(each)) for each in layer.values]
    for code, value in zip(codes, layer.values, strict=True):
        if code not in known:
            listed = ", ".join(f"{entry.code} {entry.name}" for entry in legend)
            raise InputError(
                f"{layer.name}: code {value!r} is not in the legend ({listed}); "
                "give the legend, or map the classes"
            )
    return codes


def check_classes(classes: ClassMapping, legend: Sequence[SeaIceClass]) -> None:
    """Refuse a class mapping to a code that is not in the legend."""
    known = [entry.code for entry in legend]
    for value, code in classes.items():
        if isinstance(code, bool) or code not in (*known, NODATA, None):
            codes = ", ".join(map(str, sorted(known)))
            raise InputError(f"classes: {value!r} → {code!r}, but the legend has {codes}; None means no data")


def read(raster: Raster, name: str = "array", classes: ClassMapping | None = None) -> Layer:
    """Read a path, an `xarray.DataArray` or an array.

    No data is what a file declares, and 255 where it declares nothing. A 255 that ``classes`` names is a
    class.

    Raises
    ------
    InputError
        It cannot be read, is not one band, is empty, or has more than 255 different values.
    """
    if isinstance(raster, str | os.PathLike):
        name = str(raster)
        with scenes.open_raster(raster) as source:
            if source.count != 1:
                raise InputError(f"{name}: has {source.count} bands; give a raster of class codes, with one")
            values, nodata = source.read(1), source.read_masks(1) == 0
            # GDAL's mask knows only what the file declares, and plain PNGs of labels declare nothing.
            crs, transform, declared = source.crs, source.transform, source.nodata is not None
    else:
        values, nodata, crs, transform, declared = *_from_array(raster), False
    if values.ndim != 2 or not values.size:
        raise InputError(f"{name}: {values.shape} pixels; class codes must be (rows, columns), and some")
    if values.dtype.kind not in "biuf":
        raise InputError(f"{name}: class codes must be numbers, not {values.dtype}")
    if values.dtype == bool:
        values = values.astype(np.uint8)
    if classes and NODATA in classes:
        nodata = nodata & (values != NODATA)
    elif not declared:
        nodata = nodata | (values == NODATA)
    return Layer(*_indexed(values, nodata | (values != values), name), crs, transform, name)  # NaN ≠ NaN


def _from_array(raster: Any) -> tuple[np.ndarray, np.ndarray, Any, Any]:
    values = np.asarray(raster)
    nodata, crs, transform = np.zeros(values.shape, bool), None, None
    if hasattr(raster, "dims"):
        import rioxarray  # noqa: F401  registers .rio

        crs = raster.rio.crs
        transform = raster.rio.transform() if crs else None
        if raster.rio.nodata is not None:
            nodata = values == raster.rio.nodata
    return values, nodata, crs, transform


def _indexed(values: np.ndarray, nodata: np.ndarray, name: str) -> tuple[np.ndarray, list]:
    """Return each pixel's index in the list of different values, (rows, columns) uint8, and that list."""
    valid, indices = ~nodata, np.full(values.shape, NODATA, np.uint8)
    if values.dtype == np.uint8:  # a value is its own index in a table, so nothing is sorted
        values = np.ascontiguousarray(values)
        different = np.flatnonzero(labels.histogram(values, valid.view(np.uint8)))
        table = np.zeros(256, np.uint8)
        table[different] = np.arange(len(different))
        cv2.copyTo(cv2.LUT(values, table), valid.view(np.uint8), indices)
    else:
        different, inverse = np.unique(values[valid], return_inverse=True)
        indices[valid] = inverse
    if len(different) > NODATA:
        raise InputError(f"{name}: {len(different)} different values are no classes; give class codes")
    return indices, different.tolist()


def read_onto(grid: Layer, raster: Raster, name: str, classes: ClassMapping | None = None) -> Layer:
    """Read a raster and bring it to a grid: the nearest pixel for each, no data outside.

    Rasters of one shape of which one has no CRS are taken to lie on one another. Places are right to an
    eighth of a pixel, GDAL's measure.

    Raises
    ------
    InputError
        As for `read`; of another shape and without a CRS, or nowhere near the grid.
    """
    layer = read(raster, name, classes)
    georeferenced = layer.crs is not None and grid.crs is not None
    if layer.shape == grid.shape and (not georeferenced or _same_grid(layer, grid)):
        return layer
    if not georeferenced:
        without = layer.name if layer.crs is None else grid.name
        raise InputError(
            f"evaluate: the prediction has {grid.shape} pixels, the {name} {layer.shape}, and {without} has "
            "no CRS; give rasters on one grid, or both with their CRS"
        )
    import rasterio.errors
    import rasterio.warp
    from rasterio._err import CPLE_BaseError

    indices = np.full(grid.shape, NODATA, np.uint8)
    try:
        rasterio.warp.reproject(
            layer.indices,
            indices,
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
    if (indices == NODATA).all() and layer.values:
        raise InputError(f"{layer.name}: nothing of it lies on {grid.name}; check the pair, and both CRS")
    return replace(layer, indices=indices, crs=grid.crs, transform=grid.transform)


def _same_grid(layer: Layer, grid: Layer) -> bool:
    """Say whether no pixel is off by more than a thousandth of a pixel."""
    shift = 1e-3 * abs(grid.transform.determinant) ** 0.5
    steps = [shift if number in (2, 5) else shift / max(layer.shape) for number in range(6)]
    off = np.abs(np.subtract(layer.transform[:6], grid.transform[:6]))
    return layer.crs == grid.crs and bool((off <= steps).all())
