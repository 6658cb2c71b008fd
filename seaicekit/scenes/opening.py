"""Open a scene: three bands of 8 bits, where it lies, and which of its pixels are no data."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

import numpy as np
import rasterio

from seaicekit.files import InputError, is_url
from seaicekit.scenes import safe, sources
from seaicekit.scenes.reading import SceneReader, Window, border_of, open_reader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    import xarray as xr

    from seaicekit.scenes.sources import Source

    Paths: TypeAlias = Iterable[str | os.PathLike] | Mapping[str, str | os.PathLike] | pd.Series

PREVIEW = 512  # pixels a side of the view that tells how much of a true-colour image is white


def open_scene(path: str | os.PathLike | Source) -> xr.DataArray:
    """Open a scene as an array. No pixels are read before they are asked for.

    Parameters
    ----------
    path : str, path or seaicekit.scenes.Source
        An image, SAFE or STAC item, with options if need be: see `seaicekit.scenes.sources`. Of 8-bit files 3
        or 4 bands are RGB(A) and one is grey, read as three; reflectance becomes 8-bit by
        `seaicekit.scenes.to_8bit`.

    Returns
    -------
    xarray.DataArray
        Dimensions (band=3, y, x), uint8, bands ``red``, ``green``, ``blue``, in chunks that suit the file;
        ``.rio.crs`` and ``.rio.transform()`` where the file has them. The coordinate ``nodata`` (y, x) is
        True where the source or the file declares no data, its alpha is 0 or a band is NaN; where nothing is
        declared, by `border_black`. The coordinate ``scl`` (y, x), uint8, is the scene classification layer,
        where it is asked for (``#scl=1``).

    Raises
    ------
    InputError
        As from `reading`; a damaged file's pixels give it when they are asked for.

    Warns
    -----
    UserWarning
        A Sentinel-2 true-colour image (TCI), which is saturated over snow, with the share that is lost.
    """
    import dask
    import dask.array as da

    with open_reader(path) as reader:
        source, shape = reader.source, reader.shape
        if source.true_colour:
            warnings.warn(saturation_warning(reader), stacklevel=2)
        chunk = [
            tuple(len(part) for part in _cuts(*each)) for each in zip(shape, reader.chunk(), strict=True)
        ]
        border = None if reader.declares_nodata else dask.delayed(border_of)(source)
        crs, transform = reader.crs, reader.transform
    bands = da.map_blocks(
        _lazy_pixels, source, chunks=((3,), *chunk), dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8)
    )
    nodata = da.map_blocks(
        _lazy_nodata, source, border=border, chunks=tuple(chunk), dtype=bool, meta=np.empty((0, 0), bool)
    )
    scene = as_dataarray(bands, nodata, crs, transform)
    if source.scl:
        layer = da.map_blocks(
            _lazy_scl, source, chunks=tuple(chunk), dtype=np.uint8, meta=np.empty((0, 0), np.uint8)
        )
        scene = scene.assign_coords(scl=(("y", "x"), layer))
    return scene.assign_attrs(source=str(source)).rename(_place(str(source)).stem)


def _cuts(length: int, step: int) -> list[range]:
    return [range(start, min(start + step, length)) for start in range(0, length, step)]


def _lazy_pixels(source: Source, block_info: dict) -> np.ndarray:
    with open_reader(source) as reader:
        return reader.pixels(_window(block_info))


def _lazy_nodata(source: Source, border: np.ndarray | None, block_info: dict) -> np.ndarray:
    with open_reader(source) as reader:
        reader.border = border
        return reader.read(_window(block_info))[1]


def _lazy_scl(source: Source, block_info: dict) -> np.ndarray | None:
    with open_reader(source) as reader:
        return reader.scl(_window(block_info))


def _window(block_info: dict) -> Window:
    (top, bottom), (left, right) = block_info[None]["array-location"][-2:]
    return Window(top, left, bottom - top, right - left)


def saturation_warning(reader: SceneReader) -> str:
    """Say how much of a true-colour image is white."""
    step = max(1, -(-max(reader.shape) // PREVIEW))
    bands = reader.pixels(out_shape=tuple(-(-length // step) for length in reader.shape))
    brightest = bands.max(axis=0)  # as the cuts see it
    share = np.count_nonzero(brightest == 255) / max(1, np.count_nonzero(brightest))
    return (
        f"{reader.path}: {100 * share:.0f} % of this true-colour image's valid pixels are white (255), where the ice "
        "classes cannot be told apart; open the product's bands instead (the SAFE folder without bands=TCI)"
    )


def as_dataarray(
    bands: np.ndarray, nodata: np.ndarray, crs: Any = None, transform: Any = None
) -> xr.DataArray:
    """Wrap (3, rows, columns) uint8 bands and a no-data mask as `open_scene` returns them."""
    import xarray as xr

    return georeference(
        xr.DataArray(
            bands,
            dims=("band", "y", "x"),
            coords={"band": ["red", "green", "blue"], "nodata": (("y", "x"), nodata)},
        ),
        crs,
        transform,
    )


def georeference(raster: xr.DataArray, crs: Any, transform: Any) -> xr.DataArray:
    """Give (…, y, x) pixel-centre coordinates and, where there is one, a CRS."""
    import rioxarray  # noqa: F401  registers .rio
    from rioxarray.rioxarray import affine_to_coords

    transform = transform or rasterio.Affine.identity()
    coords = affine_to_coords(transform, raster.sizes["x"], raster.sizes["y"])
    raster = raster.assign_coords(coords).rio.write_transform(transform)
    return raster.rio.write_crs(crs) if crs else raster


def nodata_mask(scene: xr.DataArray) -> np.ndarray:
    """Return a scene's no-data mask, (y, x) bool; all False where the array carries none."""
    if "nodata" in scene.coords:
        return scene.coords["nodata"].values
    return np.zeros((scene.sizes["y"], scene.sizes["x"]), bool)


def name_scenes(paths: Paths) -> dict[str, str | os.PathLike]:
    """Give each scene a short name of its own: its stem, with its folder before it where two share one.

    Names that are there already, as keys of a dict or index of a series, stay. Paths and other sources'
    strings are returned as they were given.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    if hasattr(paths, "items"):
        given = [(str(name), path) for name, path in paths.items()]
        for name, _ in given:
            if not name or name[0] == "." or "/" in name or "\\" in name:
                raise InputError(f"{name}: no name for a scene, for files are named after it; give another")
        twice = [name for name, count in Counter(name for name, _ in given).items() if count > 1]
        if twice:
            raise InputError(f"{twice[0]}: two scenes have this name; give each its own")
        return dict(given)
    paths = list(paths)
    places = [_place(path) for path in paths]
    stems = Counter(place.stem for place in places)
    named: dict[str, str | os.PathLike] = {}
    for path, place in zip(paths, places, strict=True):
        name = place.stem if stems[place.stem] == 1 else f"{place.parent.name}_{place.stem}"
        number = 1
        while name in named:
            number += 1
            name = f"{place.parent.name}_{place.stem}_{number}"
        named[name] = path
    return named


def check_outputs(named: Mapping[str, str | os.PathLike], outputs: Mapping[str, Sequence[str]]) -> None:
    """Refuse outputs that would be written over a scene's own files.

    Parameters
    ----------
    named : dict
        Scene → source.
    outputs : dict
        Scene → paths that are about to be written.
    """
    taken = {os.path.realpath(file) for paths in outputs.values() for file in paths if not is_url(file)}
    for path in named.values():
        try:
            files = sources.resolve_source(path).files
        except InputError:  # told when it is read
            continue
        over = next((file for file in files if os.path.realpath(file) in taken), None)
        if over:
            raise InputError(
                f"{over}: is a scene itself, and would be written over; choose another output folder"
            )


def _place(path: str | os.PathLike) -> Path:
    """Return what a scene is named after: no options, no query, of a SAFE its folder."""
    name = sources.split_source(path)[0]
    place = Path(urlsplit(name).path if is_url(name) else name)
    place = place.parent if place.name in safe.METADATA else place
    return place.with_suffix("") if place.name.lower().endswith(".safe.zip") else place
