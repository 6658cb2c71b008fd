"""The layers of a map: rasters with their kind, place and colours."""

from __future__ import annotations

import functools
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rasterio.errors
import rasterio.warp
from rasterio.enums import ColorInterp

from seaicekit import scenes
from seaicekit.classes import LEGEND, NODATA, Legend
from seaicekit.files import InputError, is_url

if TYPE_CHECKING:
    from rasterio.crs import CRS

    Paths = Mapping[str, str | os.PathLike] | str | os.PathLike

Bounds = tuple[float, float, float, float]  # west, south, east, north
MOST_PIXELS = 4096  # a side of the copy of a scene that tiles cannot be read from
LEAST, MOST = 33, 100  # per cent: of three classes the likeliest has at least a third


@dataclass(eq=False)
class Layer:
    """One raster on a map; made by `open_layers`.

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
        The raster that is drawn: the file itself, or a copy in memory.
    memory : rasterio.MemoryFile, optional
        Holds the copy.
    token : str
        Names the layer in the addresses of its tiles.
    """

    name: str
    path: str
    kind: str
    legend: Legend
    crs: CRS
    bounds: Bounds
    file: str
    memory: Any = None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    def values(self, bounds: Bounds, crs: str, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Warp a part: (bands, rows, columns) uint8, and whether there is data, (rows, columns) bool."""
        from rio_tiler.io import Reader

        how: Any = "bilinear" if self.kind == "scene" else "nearest"
        size = {"height": shape[0], "width": shape[1]}
        target = rasterio.crs.CRS.from_user_input(crs)
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), Reader(self.file) as reader:
            image = reader.part(
                bounds,
                dst_crs=target,
                bounds_crs=target,
                indexes=self._bands(reader),
                resampling_method=how,
                reproject_method=how,
                **size,
            )
        return image.data, image.mask.astype(bool)

    def image(self, bounds: Bounds, crs: str, shape: tuple[int, int]) -> np.ndarray:
        """Return a part as a map shows it, (rows, columns, 4) uint8 in R, G, B and alpha."""
        data, valid = self.values(bounds, crs, shape)
        grey = np.broadcast_to(data, (3, *shape)).transpose(1, 2, 0)
        colours = grey if self.kind == "scene" else self.palette[data[0]]
        return np.dstack([colours, valid * np.uint8(255)])

    def describe(self, longitude: float, latitude: float) -> str:
        """Return what is at a place: a class's name, per cent, a brightness max(R, G, B), or "no data"."""
        from rio_tiler.errors import PointOutsideBounds
        from rio_tiler.io import Reader

        try:
            with Reader(self.file) as reader:
                point = reader.point(longitude, latitude, indexes=self._bands(reader))
        except PointOutsideBounds:
            return "no data"
        if not point.mask.all():
            return "no data"
        value = int(point.data.max())
        names = {entry.code: entry.name for entry in self.legend}
        texts = {"scene": f"brightness {value}", "confidence": f"{value} %"}
        return texts.get(self.kind) or names.get(value, f"class {value}")

    def _bands(self, reader: Any) -> tuple[int, ...]:
        return (1, 2, 3) if self.kind == "scene" and reader.dataset.count >= 3 else (1,)

    @functools.cached_property
    def palette(self) -> np.ndarray:
        """The colour of each value, (256, 3) uint8."""
        if self.kind == "confidence":
            from matplotlib import colormaps

            scale = (np.arange(256) - LEAST) / (MOST - LEAST)
            return (colormaps["magma"](scale.clip(0, 1))[:, :3] * 255).round().astype(np.uint8)
        return self.legend.palette()

    def is_visible(self, layers: Sequence[Layer]) -> bool:
        """Whether the layer is shown before anyone switches it on; a confidence would cover its map."""
        return self.kind != "confidence" or len(layers) == 1


def open_layers(paths: Paths) -> list[Layer]:
    """Open rasters as layers: name → path, bottom to top, or a single path.

    Raises
    ------
    InputError
        There is none; one cannot be read, or has no CRS.
    """
    if isinstance(paths, str | os.PathLike):
        paths = scenes.name_scenes(paths)
    if not paths:
        raise InputError("a map: no layer is given; give at least one raster, as name → path")
    return [_open(str(name), os.fspath(path)) for name, path in paths.items()]


def _open(name: str, path: str) -> Layer:
    if not scenes.split_source(path)[1] and not _is_product(path):
        with scenes.open_raster(path) as source:
            legend = _legend(source)
            percent = source.tags().get("UNITS") == "per cent" or (name == "confidence" and source.count == 1)
            if legend or percent:
                kind = "classes" if legend else "confidence"
                return Layer(
                    name, path, kind, legend, _check_crs(path, source.crs), tuple(source.bounds), path
                )
    return _open_scene(name, path)


def _is_product(path: str) -> bool:
    return os.path.isdir(path) or path.lower().endswith((".zip", ".xml", ".json", ".safe"))


def _check_crs(path: str, crs: CRS | None) -> CRS:
    if not crs:
        raise InputError(f"{path}: has no CRS, so no place on a map; see it with seaicekit.maps.panels")
    return crs


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


def _open_scene(name: str, path: str) -> Layer:
    with scenes.open_reader(path) as reader:
        crs, shape = _check_crs(path, reader.crs), reader.shape
        bounds = rasterio.transform.array_bounds(*shape, reader.transform)
        plain = str(reader.source) == path and not _is_product(path) and reader.dtype == np.uint8
        plain = plain and (reader.declares_nodata or is_url(path) or not reader.border.any())
        file = str(scenes.signed_url(path)) if is_url(path) else path
        if plain and (max(shape) <= MOST_PIXELS or _has_overviews(file)):
            return Layer(name, path, "scene", Legend(), crs, bounds, file)
        memory = _copy(reader)
    return Layer(name, path, "scene", Legend(), crs, bounds, memory.name, memory)


def _has_overviews(path: str) -> bool:
    with scenes.open_raster(path) as source:
        return bool(source.overviews(1))


def _copy(reader: scenes.SceneReader) -> rasterio.MemoryFile:
    """Copy a scene into memory as 8-bit red, green, blue and alpha, with at most `MOST_PIXELS` a side."""
    step = max(1, -(-max(reader.shape) // MOST_PIXELS))
    rows, cols = (-(-side // step) for side in reader.shape)
    bands, nodata = reader.read(out_shape=(rows, cols))
    # The last cell may reach beyond the edge, so a pixel of the copy is a little less than `step` wide.
    transform = reader.transform @ rasterio.Affine.scale(reader.shape[1] / cols, reader.shape[0] / rows)
    profile = {"driver": "GTiff", "count": 4, "height": rows, "width": cols, "dtype": "uint8"}
    profile |= {"crs": reader.crs, "transform": transform, "tiled": True, "compress": "LZW"}
    memory = rasterio.MemoryFile(ext=".tif")
    with memory.open(**profile, photometric="RGB", alpha="YES") as target:
        target.write(np.concatenate([bands, ~nodata[None] * np.uint8(255)]))
        target.build_overviews([2, 4, 8], rasterio.enums.Resampling.average)
    return memory


def map_crs(layers: Sequence[Layer]) -> str:
    """Return the polar stereographic CRS of the hemisphere in which layers lie.

    Raises
    ------
    InputError
        They lie in both.
    """
    names: dict[str, str] = {}
    for layer in layers:
        _, south, _, north = rasterio.warp.transform_bounds(layer.crs, "EPSG:4326", *layer.bounds)
        names[scenes.polar_crs((south + north) / 2)] = layer.name
    if len(names) > 1:
        raise InputError(
            f"{', '.join(names.values())}: lie south and north of the equator, and no polar map shows both; "
            "make two maps"
        )
    return next(iter(names))


def extent(layers: Sequence[Layer], crs: str) -> Bounds:
    """Return west, south, east and north of all layers together, in metres of the map."""
    corners = [rasterio.warp.transform_bounds(layer.crs, crs, *layer.bounds) for layer in layers]
    west, south = np.min(corners, axis=0)[:2]
    east, north = np.max(corners, axis=0)[2:]
    return west, south, east, north
