"""What a map is made of: rasters that know what they show, where, and in which colours."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rasterio.errors
import rasterio.warp
from rasterio.enums import ColorInterp

from seaicekit import classes, scenes
from seaicekit.classes import LEGEND, NODATA, Legend
from seaicekit.files import InputError, is_url
from seaicekit.maps import polar
from seaicekit.scenes import Window
from seaicekit.thresholds import square_kilometres

if TYPE_CHECKING:
    from rasterio.crs import CRS

Bounds = tuple[float, float, float, float]  # west, south, east, north
MERCATOR = "EPSG:3857"
SEEN = 4096  # pixels a side of the copy that is shown of a scene that no map reader understands
LEAST, MOST = 33, 100  # per cent: of three classes the likeliest has at least a third


@dataclass(eq=False)
class Layer:
    """One raster on a map; made by `load`.

    Attributes
    ----------
    name, path : str
        As given.
    kind : str
        "scene", "classes" or "confidence".
    legend : Legend
        Of a class raster its own names and colours; else empty.
    crs : rasterio.crs.CRS
    bounds : (west, south, east, north), in ``crs``
    file : str
        What the raster library opens: the raster itself, or a copy of it in memory.
    """

    name: str
    path: str
    kind: str
    legend: Legend
    crs: CRS
    bounds: Bounds
    file: str
    memory: Any = None

    def values(self, bounds: Bounds, crs: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Warp a part: (bands, rows, columns) uint8 and where there is data, (rows, columns) bool."""
        from rio_tiler.io import Reader

        how = "bilinear" if self.kind == "scene" else "nearest"
        wanted = {"height": shape[0], "width": shape[1], "resampling_method": how, "reproject_method": how}
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), Reader(self.file) as reader:
            count = 3 if self.kind == "scene" and reader.dataset.count >= 3 else 1
            target = rasterio.crs.CRS.from_user_input(crs)
            image = reader.part(
                bounds, dst_crs=target, bounds_crs=target, indexes=tuple(range(1, count + 1)), **wanted
            )
        return image.data, image.mask.astype(bool)

    def image(self, bounds: Bounds, crs: str, shape: tuple[int, ...]) -> np.ndarray:
        """Paint a part as a map shows it, (rows, columns, 4) uint8 in R, G, B and alpha."""
        data, valid = self.values(bounds, crs, shape)
        grey = np.broadcast_to(data, (3, *shape)).transpose(1, 2, 0)
        colours = grey if self.kind == "scene" else self.palette[data[0]]
        return np.dstack([colours, valid * np.uint8(255)])

    @functools.cached_property
    def palette(self) -> np.ndarray:
        """The colour of each value, (256, 3) uint8."""
        if self.kind == "confidence":
            from matplotlib import colormaps

            scale = (np.arange(256) - LEAST) / (MOST - LEAST)
            return (colormaps["magma"](scale.clip(0, 1))[:, :3] * 255).round().astype(np.uint8)
        return self.legend.palette()

    def at(self, longitude: float, latitude: float) -> int | None:
        """Return what is at a place: a class code, per cent, or max(R, G, B); None outside and at no data."""
        (x,), (y,) = rasterio.warp.transform("EPSG:4326", self.crs, [longitude], [latitude])
        if not np.isfinite([x, y]).all():  # the far side of the Earth, for some projections
            return None
        with scenes.open_raster(self.file) as source:
            row, col = map(int, np.floor(source.index(x, y, op=float)))
            if not (0 <= row < source.height and 0 <= col < source.width):
                return None
            one = rasterio.windows.Window(col, row, 1, 1)
            if not source.dataset_mask(window=one).item():
                return None
            if self.kind != "scene":
                return int(source.read(1, window=one).item())
        with scenes.open_reader(self.path) as reader:  # the scene itself, not the copy
            col, row = map(int, np.floor(np.array(~reader.transform @ (x, y))))
            bands, _ = reader.read(Window(row, col, 1, 1), undeclared=np.zeros((1, 1), bool))
        return int(bands.max())

    def said(self, value: int | None) -> str:
        """Say in words what `at` returned."""
        if value is None:
            return "no data"
        if self.kind == "confidence":
            return f"{value} %"
        if self.kind == "scene":
            return f"brightness {value}"
        return next((entry.name for entry in self.legend if entry.code == value), f"class {value}")


def load(layers: Mapping[str, str | os.PathLike] | str | os.PathLike) -> list[Layer]:
    """Open rasters as layers: name → path, bottom to top, or a single path.

    Raises
    ------
    InputError
        None is given; one cannot be read, or has no CRS.
    """
    if isinstance(layers, str | os.PathLike):
        layers = scenes.name_scenes(layers)
    if not layers:
        raise InputError("a map: no layer is given; give at least one raster, as name → path")
    return [_load(str(name), os.fspath(path)) for name, path in layers.items()]


def _load(name: str, path: str) -> Layer:
    if not scenes.split_source(path)[1] and not _is_product(path):
        with scenes.open_raster(path) as source:
            legend = _legend(source)
            percent = source.tags().get("UNITS") == "per cent" or (name == "confidence" and source.count == 1)
            if legend or percent:
                _placed(path, source.crs)
                kind = "classes" if legend else "confidence"
                return Layer(name, path, kind, legend, source.crs, tuple(source.bounds), path)
    return _scene(name, path)


def _is_product(path: str) -> bool:
    return os.path.isdir(path) or path.lower().endswith((".zip", ".xml", ".json", ".safe"))


def _placed(path: str, crs: CRS | None) -> None:
    if not crs:
        raise InputError(f"{path}: has no CRS, so no place on a map; see it with seaicekit.maps.panels")


def _legend(source: rasterio.DatasetReader) -> Legend:
    """Return the classes of a class raster; no other raster has any."""
    if source.count != 1 or source.dtypes[0] != "uint8":
        return Legend()
    legend = Legend.of_raster(source)
    if not legend:
        shape = min(1024, source.height), min(1024, source.width)
        codes = set(np.unique(source.read(1, out_shape=shape)).tolist()) - {source.nodata, NODATA}
        if source.colorinterp[0] == ColorInterp.palette or codes <= set(LEGEND.codes):
            return Legend.of_raster(source, codes) or LEGEND
    return legend


def _scene(name: str, path: str) -> Layer:
    with scenes.open_reader(path) as reader:
        crs, shape, transform = reader.crs, reader.shape, reader.transform
        _placed(path, crs)
        bounds = rasterio.transform.array_bounds(*shape, transform)
        place = scenes.split_source(path)[0]
        whole = max(shape) <= SEEN or _has_overviews(place)
        plain = str(reader.source) == place == path and not _is_product(path) and reader.dtype == np.uint8
        if plain and whole and (reader.declares_nodata or is_url(path) or not reader.find_border().any()):
            return Layer(name, path, "scene", Legend(), crs, bounds, scenes_file(path))
        memory = _copy(reader)
    return Layer(name, path, "scene", Legend(), crs, bounds, memory.name, memory)


def scenes_file(path: str) -> str:
    """Name a file as the raster library opens it."""
    from seaicekit.scenes import signed_url

    return str(signed_url(path)) if is_url(path) else path


def _has_overviews(place: str) -> bool:
    try:
        with rasterio.open(scenes_file(place)) as source:
            return bool(source.overviews(1))
    except rasterio.errors.RasterioError:
        return False


def _copy(reader: scenes.SceneReader) -> rasterio.MemoryFile:
    """Put a scene of any kind into memory as 8-bit red, green, blue and alpha, every so many pixels of it."""
    step = max(1, -(-max(reader.shape) // SEEN))
    rows, cols = (-(-side // step) for side in reader.shape)
    bands, nodata = reader.read(out_shape=(rows, cols))
    # The last cell may hang over the edge, so a pixel of the copy is a little less than `step` wide.
    transform = reader.transform @ rasterio.Affine.scale(reader.shape[1] / cols, reader.shape[0] / rows)
    memory = rasterio.MemoryFile(ext=".tif")
    profile = {
        "driver": "GTiff",
        "count": 4,
        "height": rows,
        "width": cols,
        "dtype": "uint8",
        "tiled": True,
        "compress": "LZW",
        "photometric": "RGB",
        "alpha": "YES",
        "crs": reader.crs,
        "transform": transform,
    }
    with memory.open(**profile) as target:
        target.write(bands, [1, 2, 3])
        target.write(~nodata * np.uint8(255), 4)
        target.build_overviews([2, 4, 8], rasterio.enums.Resampling.average)
    return memory


def latitude(layer: Layer) -> float:
    """Return the latitude, in degrees, of a layer's middle."""
    west, south, east, north = layer.bounds
    return rasterio.warp.transform(layer.crs, "EPSG:4326", [(west + east) / 2], [(south + north) / 2])[1][0]


def chosen_crs(layers: Sequence[Layer], crs: str | None) -> str:
    """Return the map's CRS: as given, or polar by where the layers are.

    Raises
    ------
    InputError
        The layers lie in two hemispheres, or not in that of the CRS, or that is not polar.
    """
    where = [latitude(layer) for layer in layers]
    crs = crs and crs.upper()
    if crs == MERCATOR:
        return crs
    if crs and not polar.is_polar(crs):
        raise InputError(
            f"crs={crs}: is no polar stereographic projection; give EPSG:3413 or EPSG:3031, or leave it out"
        )
    south = next((layer for layer, value in zip(layers, where, strict=True) if value < 0), None)
    north = next((layer for layer, value in zip(layers, where, strict=True) if value >= 0), None)
    if south and north:
        raise InputError(
            f"{south.name}, {north.name}: lie south and north of the equator, and no polar map shows both; "
            f'make two maps, or give crs="{MERCATOR}"'
        )
    own = scenes.polar_crs(where[0])
    if crs and scenes.is_north(crs) != scenes.is_north(own):
        raise InputError(f"{layers[0].name}: is not on a map in {crs}; leave crs out, for {own}")
    return crs or own


def extent(layers: Sequence[Layer], crs: str) -> Bounds:
    """Return west, south, east and north of all layers together, in metres of the map."""
    import pyproj
    import shapely

    across = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    corners, first = [], None
    for layer in layers:
        west, south, east, north = layer.bounds
        edge = shapely.box(*layer.bounds).segmentize(max(east - west, north - south) / 32).exterior.xy
        lon, lat = map(np.array, rasterio.warp.transform(layer.crs, "EPSG:4326", *edge))
        if crs == MERCATOR:  # across 180° it goes on beyond the edge of the world
            first = lon[0] if first is None else first
            lon = (lon - first + 180) % 360 - 180 + first
            x, y = np.radians(lon) * 6378137, across.transform(lon, lat.clip(-85, 85))[1]
        else:
            x, y = across.transform(lon, lat)
        corners.append((x.min(), y.min(), x.max(), y.max()))
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    return low[0], low[1], high[2], high[3]


def areas(layer: Layer) -> dict[int, float]:
    """Measure a class raster: code → km² on the ellipsoid, of each class in its legend."""
    return square_kilometres(layer.file, layer.legend)


def concentration(layer: Layer, square: Mapping[int, float]) -> float | None:
    """Return which share of the sea is ice, 0 to 1; see `seaicekit.classes.concentration`."""
    return classes.concentration(square, layer.legend)


def at_first(layer: Layer, layers: Sequence[Layer]) -> bool:
    """Say whether a layer is to be seen at first; a confidence would cover what it is about."""
    return layer.kind != "confidence" or len(layers) == 1
