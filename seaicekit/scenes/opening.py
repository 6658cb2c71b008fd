"""Open a scene as an array: three bands of 8 bits, its grid, and which of its pixels are no data."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

import numpy as np
import rasterio

from seaicekit.files import InputError, is_url
from seaicekit.scenes import safe, sources
from seaicekit.scenes.reading import SceneReader, border_of, open_reader
from seaicekit.scenes.windows import Window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import dask.array as da
    import pandas as pd
    import xarray as xr

    from seaicekit.scenes.sources import Source

    Paths: TypeAlias = Iterable[str | os.PathLike] | Mapping[str, str | os.PathLike] | pd.Series

PREVIEW = 512  # pixels a side of the overview whose share of white is measured


def open_scene(path: str | os.PathLike | Source) -> xr.DataArray:
    """Open a scene as a lazy array; no pixels are read yet.

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
        with the option ``#scl=1``.

    Raises
    ------
    InputError
        As from `open_reader`; for a damaged file when its pixels are computed.

    Warns
    -----
    UserWarning
        For a Sentinel-2 true-colour image (TCI), of the share of it that is saturated.
    """
    import dask
    import dask.array as da

    with open_reader(path) as reader:
        source, crs, transform = reader.source, reader.crs, reader.transform
        if source.true_colour:
            warnings.warn(saturation_warning(reader), stacklevel=2)
        chunks = tuple(da.core.normalize_chunks(reader.chunk, reader.shape))
        border = None if reader.declares_nodata else dask.delayed(border_of)(source)

    def lazy(read: Callable, dtype: type, *bands: int, **settings: Any) -> da.Array:
        """Return an array of which ``read`` reads each chunk."""
        meta: np.ndarray = np.empty((0,) * len((*bands, *chunks)), dtype)
        return da.map_blocks(
            _read_chunk, source, read, chunks=(*bands, *chunks), dtype=dtype, meta=meta, **settings
        )

    pixels = lazy(SceneReader.pixels, np.uint8, 3)
    scene = as_dataarray(pixels, lazy(_read_nodata, bool, border=border), crs, transform)
    if source.scl:
        scene = scene.assign_coords(scl=(("y", "x"), lazy(SceneReader.scl, np.uint8)))
    return scene.assign_attrs(source=str(source)).rename(_named_path(str(source)).stem)


def _read_chunk(source: Source, read: Callable, block_info: dict, **settings: Any) -> np.ndarray:
    (top, bottom), (left, right) = block_info[None]["array-location"][-2:]
    with open_reader(source) as reader:
        return read(reader, Window(top, left, bottom - top, right - left), **settings)


def _read_nodata(reader: SceneReader, window: Window, border: np.ndarray | None) -> np.ndarray:
    return reader.read(window, None if border is None else border[window.slices])[1]


def saturation_warning(reader: SceneReader) -> str:
    """Return the warning of how much of a true-colour image is white."""
    step = max(1, -(-max(reader.shape) // PREVIEW))
    bands = reader.pixels(out_shape=tuple(-(-length // step) for length in reader.shape))
    brightest = bands.max(axis=0)  # to which the cuts apply
    share = np.count_nonzero(brightest == 255) / max(1, np.count_nonzero(brightest))
    return (
        f"{reader.path}: {100 * share:.0f} % of this true-colour image's valid pixels are white (255), where "
        "the ice classes cannot be told apart; open the product's bands instead (the SAFE folder without "
        "bands=TCI)"
    )


def as_dataarray(
    bands: np.ndarray | da.Array, nodata: np.ndarray | da.Array, crs: Any = None, transform: Any = None
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
    """Give each scene a short, unique name: its stem, preceded by its folder where two scenes share a stem.

    The keys of a dict and the index of a series are kept as names. Paths and other sources' strings are
    returned unchanged.

    Raises
    ------
    InputError
        A key that cannot be a file's name, or that comes twice.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    if hasattr(paths, "items"):
        pairs = [(str(name), path) for name, path in paths.items()]
        for name, count in Counter(name for name, _ in pairs).items():
            if not name or name[0] == "." or "/" in name or "\\" in name:
                raise InputError(f"{name}: no name for a scene, for files are named after it; give another")
            if count > 1:
                raise InputError(f"{name}: two scenes have this name; give each its own")
        return dict(pairs)
    places = [(path, _named_path(path)) for path in paths]
    stems = Counter(place.stem for _, place in places)
    named: dict[str, str | os.PathLike] = {}
    for path, place in places:
        name = longer = f"{place.parent.name}_{place.stem}"
        if stems[place.stem] == 1:
            name = place.stem
        number = 1
        while name in named:
            number += 1
            name = f"{longer}_{number}"
        named[name] = path
    return named


def check_outputs(named: Mapping[str, str | os.PathLike], outputs: Mapping[str, Sequence[str]]) -> None:
    """Refuse outputs that would be written over a scene's own files.

    Parameters
    ----------
    named : dict
        Scene → source.
    outputs : dict
        Scene → paths to write.

    Raises
    ------
    InputError
        An output is a file of a scene.
    """
    written = {os.path.realpath(file) for paths in outputs.values() for file in paths if not is_url(file)}
    for path in named.values():
        try:
            files = sources.resolve_source(path).files
        except InputError:  # raised again when the scene is read
            continue
        file = next((file for file in files if os.path.realpath(file) in written), None)
        if file:
            raise InputError(
                f"{file}: is a scene itself, and would be written over; choose another output folder"
            )


def _named_path(path: str | os.PathLike) -> Path:
    """Return the path after which a scene is named: without options or query, and of a SAFE its folder."""
    name = sources.split_source(path)[0]
    place = Path(urlsplit(name).path if is_url(name) else name)
    place = place.parent if place.name in safe.METADATA else place
    return place.with_suffix("") if place.name.lower().endswith(".safe.zip") else place
