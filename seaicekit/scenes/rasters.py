"""Write rasters as Cloud-Optimised GeoTIFF, and read them back on a known grid."""

from __future__ import annotations

import os
import warnings
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
from seaicekit.scenes.reading import OPENING

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
    _write_cog(
        path, codes, crs, transform, NODATA, "MODE", legend.colour_table, legend.tags | dict(tags or {})
    )


def read_tags(path: str | os.PathLike) -> dict[str, str]:
    """Read a raster's metadata."""
    with open_raster(path) as source:
        return source.tags()


def write_confidence(path: str | os.PathLike, confidence: np.ndarray, crs: Any, transform: Any) -> None:
    """Write confidences, (rows, columns) uint8 in per cent, no data 255."""
    _write_cog(path, confidence, crs, transform, NODATA, "AVERAGE", None, {"UNITS": "per cent"})


def _write_cog(
    path: str | os.PathLike,
    values: np.ndarray,
    crs: Any,
    transform: Any,
    nodata: int,
    overviews: str,
    colours: dict | None,
    tags: dict[str, str],
) -> None:
    profile = {
        "driver": "GTiff",
        "height": values.shape[0],
        "width": values.shape[1],
        "count": 1,
        "dtype": "uint8",
        "nodata": nodata,
        "crs": crs,
        "transform": transform,
    }
    with atomic_write(path) as place, OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        # The COG driver only copies, so the pixels are laid out in memory first.
        with rasterio.MemoryFile() as memory:
            with memory.open(**profile) as draft:
                draft.write(values, 1)
                draft.update_tags(**tags)
                if colours:
                    draft.write_colormap(1, colours)
            try:
                with memory.open() as draft:
                    rasterio.shutil.copy(
                        draft, place, driver="COG", compress="LZW", overview_resampling=overviews
                    )
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
        # A raster in a bucket may have changed since this process last looked.
        with rasterio.Env(CPL_VSIL_CURL_NON_CACHED="/vsicurl/:/vsis3/:/vsigs/"):
            with OPENING, warnings.catch_warnings():  # filters belong to the process, so threads take turns
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                source = rasterio.open(path)
            with source:
                yield source
    except rasterio.errors.RasterioError as error:
        raise InputError(f"{path}: cannot be read ({error}); make it again") from error


def read_codes(
    path: str | os.PathLike,
    shape: tuple[int, ...] | None = None,
    grid: tuple[object, rasterio.Affine] | None = None,
) -> np.ndarray:
    """Read a one-band raster of class codes, (rows, columns) uint8.

    Raises
    ------
    InputError
        Missing, not one band of uint8, not of ``shape``, or not on ``grid``, a CRS and a transform, where
        both have a CRS.
    """
    with open_raster(path) as source:
        if source.count != 1 or source.dtypes[0] != "uint8":
            raise InputError(f"{path}: not a raster of class codes (one band of 8 bits)")
        codes, crs, transform = source.read(1), source.crs, source.transform
    if shape and codes.shape != tuple(shape):
        raise InputError(f"{path}: {codes.shape} pixels where the scene has {tuple(shape)}; make it again")
    if (
        grid
        and crs
        and grid[0]
        and (crs != grid[0] or not transform.almost_equals(grid[1], abs(transform.a) / 100))
    ):
        raise InputError(
            f"{path}: lies on another grid than its scene (CRS or place differ); make it on the scene's"
        )
    return codes


def as_codes(raster: Raster) -> np.ndarray:
    """Return class codes, (rows, columns) uint8, of a path or an array."""
    return read_codes(raster) if isinstance(raster, str | os.PathLike) else np.asarray(raster)


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
