"""Write rasters as Cloud-Optimised GeoTIFF, and read class rasters back on a known grid."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rasterio.errors
import rasterio.shutil
from rasterio._err import CPLE_BaseError

from seaicekit.classes import LEGEND, NODATA, Legend, SeaIceClass
from seaicekit.files import FREE_SPACE, InputError, atomic_write
from seaicekit.scenes.reading import GDAL, ignore_missing_crs, open_dataset

if TYPE_CHECKING:
    import xarray as xr

    Raster = np.ndarray | xr.DataArray | str | os.PathLike


def write_classes(
    path: str | os.PathLike,
    codes: np.ndarray,
    crs: Any,
    transform: Any,
    legend: Sequence[SeaIceClass] = LEGEND,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write class codes, (rows, columns) uint8, with colour table, class names and no data 255.

    The class names stand in the metadata as ``CLASS_0`` and so on, beside ``tags``; overviews show the
    commonest class.
    """
    legend = Legend(legend)
    tags = legend.tags | dict(tags or {})
    write_cog(path, codes[None], crs, transform, nodata=NODATA, tags=tags, colours=legend.colour_table)


def write_confidence(path: str | os.PathLike, confidence: np.ndarray, crs: Any, transform: Any) -> None:
    """Write confidences, (rows, columns) uint8 in per cent, no data 255."""
    write_cog(path, confidence[None], crs, transform, nodata=NODATA, tags={"UNITS": "per cent"})


def write_cog(
    path: str | os.PathLike,
    bands: np.ndarray,
    crs: Any,
    transform: Any,
    nodata: int | None = None,
    valid: np.ndarray | None = None,
    tags: Mapping[str, str] | None = None,
    colours: dict | None = None,
) -> None:
    """Write a Cloud-Optimised GeoTIFF in one step.

    Parameters
    ----------
    path : path or URL
    bands : (1 or 3, rows, columns) uint8
        Three are red, green and blue.
    crs, transform
        None where the raster has no place.
    nodata : int, optional
        The value of no data.
    valid : (rows, columns) bool, optional
        A mask inside the file, where every value may be data.
    tags : dict, optional
        The file's metadata.
    colours : dict, optional
        A colour table: value → (red, green, blue, alpha). The overviews then show the commonest value, else
        the mean.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    profile = {"driver": "GTiff", "dtype": "uint8", "nodata": nodata, "crs": crs, "transform": transform}
    profile |= dict(zip(("count", "height", "width"), bands.shape, strict=True))
    if len(bands) == 3:
        profile["photometric"] = "RGB"
    options = {
        "compress": "DEFLATE" if len(bands) == 3 else "LZW",
        "overview_resampling": "MODE" if colours else "AVERAGE",
    }
    # The COG driver only copies, so the pixels are laid out in memory first.
    with (
        atomic_write(path) as place,
        ignore_missing_crs(),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.MemoryFile() as memory,
    ):
        with memory.open(**profile) as draft:
            draft.write(bands)
            draft.update_tags(**(tags or {}))
            if colours:
                draft.write_colormap(1, colours)
            if valid is not None:
                draft.write_mask(valid)
        try:
            with memory.open() as draft:
                rasterio.shutil.copy(draft, place, driver="COG", **options)
        except (rasterio.errors.RasterioError, CPLE_BaseError, OSError) as error:
            cause = " ".join(str(error).split())
            raise InputError(f"{path}: cannot be written ({cause}); {FREE_SPACE}") from error


@contextmanager
def open_raster(path: str | os.PathLike) -> Iterator[rasterio.DatasetReader]:
    """Open a raster that may have no CRS.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        with rasterio.Env(CPL_VSIL_CURL_NON_CACHED=GDAL["CPL_VSIL_CURL_NON_CACHED"]):
            with open_dataset(path) as source:
                yield source
    except rasterio.errors.RasterioError as error:
        raise InputError(f"{path}: cannot be read ({error}); make it again") from error


def read_tags(path: str | os.PathLike) -> dict[str, str]:
    """Read a raster's metadata."""
    with open_raster(path) as source:
        return source.tags()


def read_codes(
    raster: Raster,
    shape: tuple[int, ...] | None = None,
    grid: tuple[object, rasterio.Affine] | None = None,
) -> np.ndarray:
    """Return the class codes of a one-band raster or of an array, (rows, columns) uint8.

    Parameters
    ----------
    raster : path, or array, which is returned without any check
    shape : (rows, columns), optional
        The shape that the raster must have.
    grid : (CRS, transform), optional
        The grid on which the raster must lie, where both have a CRS.

    Raises
    ------
    InputError
        Missing, not one band of uint8, not of ``shape``, or not on ``grid``.
    """
    if not isinstance(raster, str | os.PathLike):
        return np.asarray(raster)
    with open_raster(raster) as source:
        if source.count != 1 or source.dtypes[0] != "uint8":
            raise InputError(f"{raster}: not a raster of class codes (one band of 8 bits)")
        codes, crs, transform = source.read(1), source.crs, source.transform
    if shape and codes.shape != tuple(shape):
        raise InputError(f"{raster}: {codes.shape} pixels where the scene has {tuple(shape)}; make it again")
    if (
        grid
        and crs
        and grid[0]
        and (crs != grid[0] or not transform.almost_equals(grid[1], abs(transform.a) / 100))
    ):
        raise InputError(
            f"{raster}: lies on another grid than its scene (CRS or place differ); make it on the scene's"
        )
    return codes


def common_legend(rasters: Iterable[Raster], further: Iterable[SeaIceClass] = ()) -> Legend:
    """Return the classes that rasters name in their metadata together with further ones, by code.

    An array, and a raster that names none, counts as having the default legend.

    Raises
    ------
    InputError
        A raster cannot be read, or two rasters give one code different names.
    """
    legends: list[tuple[str, Iterable[SeaIceClass]]] = []
    for raster in rasters:
        if isinstance(raster, str | os.PathLike):
            with open_raster(raster) as source:
                legends.append((str(raster), Legend.of_raster(source) or LEGEND))
        else:
            legends.append(("array", LEGEND))
    known: dict[int, SeaIceClass] = {}
    for name, legend in [*legends, ("cuts", further)]:
        for entry in legend:
            first = known.setdefault(entry.code, entry).name
            if first != entry.name:
                raise InputError(
                    f"{name}: calls {entry.code} {entry.name!r}, another raster {first!r}; "
                    "label all by one rule, map the classes, or give the legend"
                )
    return Legend(known[code] for code in sorted(known)) or LEGEND
