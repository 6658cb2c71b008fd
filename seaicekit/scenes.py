"""Open a scene: three bands of 8 bits, where it lies, and which of its pixels are no data."""

from __future__ import annotations

import functools
import glob
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import rasterio
import rasterio.errors
import rasterio.windows

from seaicekit.files import InputError, read_json, sha256, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    import pystac
    import xarray as xr

    Paths = Iterable[str | os.PathLike] | Mapping[str, str | os.PathLike] | pd.Series

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
# Undeclared black at the border counts as no data from this share of the scene on.
MIN_NODATA_SHARE = 0.001
RUN_MARK = ".seaicekit-run"  # the file that tells a run's folder from any other


class Window(NamedTuple):
    """A rectangle of pixels: first row, first column, height, width."""

    row: int
    col: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The rectangle as (rows, columns) slices."""
        return slice(self.row, self.row + self.height), slice(self.col, self.col + self.width)

    def padded(self, halo: int, shape: tuple[int, int], step: int = 1) -> Window:
        """Return the rectangle grown by ``halo`` pixels a side, then to multiples of ``step``, clipped to ``shape``."""
        row, col = max(0, self.row - halo) // step * step, max(0, self.col - halo) // step * step
        bottom = min(shape[0], -(-(self.row + self.height + halo) // step) * step)
        right = min(shape[1], -(-(self.col + self.width + halo) // step) * step)
        return Window(row, col, bottom - row, right - col)

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Return the slices that cut this rectangle out of an array that covers ``outer``."""
        return Window(self.row - outer.row, self.col - outer.col, self.height, self.width).slices


def blocks(shape: tuple[int, int], block: int | None) -> list[Window]:
    """Cut (rows, columns) into windows of at most ``block``² pixels, row by row; None is one window."""
    if block is None:
        return [Window(0, 0, *shape)]
    if block < 1:
        raise InputError(f"block: must be at least 1 pixel, not {block}")
    return [
        Window(row, col, min(block, shape[0] - row), min(block, shape[1] - col))
        for row in range(0, shape[0], block)
        for col in range(0, shape[1], block)
    ]


def border_black(bands: np.ndarray) -> np.ndarray:
    """Find the no data that a file does not declare.

    Parameters
    ----------
    bands : (3, rows, columns) uint8

    Returns
    -------
    (rows, columns) bool
        True where all bands are 0 and the pixel hangs together with the border by its edges, as a
        swath's wedge does; nothing if that is less than 0.1 % of the scene. Dark water inside a scene
        or in a few border pixels stays water.
    """
    # One ring of black around the scene joins all that touches the border, so one fill finds it.
    black = np.pad((bands.max(axis=0) == 0).astype(np.uint8), 1, constant_values=1)
    cv2.floodFill(black, None, (0, 0), 2)
    mask = black[1:-1, 1:-1] == 2
    return mask if mask.mean() >= MIN_NODATA_SHARE else np.zeros_like(mask)


class SceneReader:
    """An open scene of which windows can be read; made by `reading`.

    Attributes
    ----------
    shape : (rows, columns)
    crs : rasterio.crs.CRS or None
    transform : affine.Affine, pixel to ``crs``
    """

    def __init__(self, path: Path, source: rasterio.DatasetReader):
        if source.count not in (1, 3, 4):
            raise InputError(f"{path}: has {source.count} bands; give an RGB or RGBA image (3 or 4 bands)")
        if source.colorinterp[0] == rasterio.enums.ColorInterp.palette:
            raise InputError(f"{path}: has a palette, so its values are no brightness; save it as RGB")
        if set(source.dtypes) != {"uint8"}:
            raise InputError(f"{path}: holds {source.dtypes[0]}, not 8-bit values; scale it to 0–255 first")
        self.path, self._source, self.shape, self.crs = path, source, source.shape, source.crs
        self.transform = source.transform
        self._indexes = [1, 1, 1] if source.count == 1 else [1, 2, 3]
        flags = source.mask_flag_enums[0]
        self.declares_nodata = rasterio.enums.MaskFlags.all_valid not in flags
        self._border: np.ndarray | None = None

    def read(self, window: Window | None = None, undeclared: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return a window's bands, (3, rows, columns) uint8 in R, G, B, and its no-data mask, bool.

        Raises
        ------
        InputError
            The file ends early or is damaged.
        """
        if self.declares_nodata:
            with _naming(self.path):
                return self._pixels(window), self._source.dataset_mask(window=_rasterio_window(window)) == 0
        if undeclared is not None:
            return self._pixels(window), undeclared
        if self._border is None:  # the rule looks at the scene as a whole, whatever window is asked for
            self._border = _border_of(self.path, self.path.stat().st_mtime_ns)
        return self._pixels(window), self._border if window is None else self._border[window.slices]

    def scl(self, window=None):
        return None

    @property
    def border(self):
        return self.read()[1]

    def _pixels(self, window: Window | None) -> np.ndarray:
        with _naming(self.path):
            return self._source.read(self._indexes, window=_rasterio_window(window))


@functools.lru_cache(maxsize=1)
def _border_of(path: Path, _written: int) -> np.ndarray:
    """Find a file's undeclared no data, once for all the blocks that a process reads of it."""
    with reading(path) as reader:
        return border_black(reader._pixels(None))


def _rasterio_window(window: Window | None) -> rasterio.windows.Window | None:
    return window and rasterio.windows.Window(window.col, window.row, window.width, window.height)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn the raster library's complaints into one line that names the file."""
    try:
        yield
    except rasterio.errors.RasterioError as error:
        cause = str(error.__cause__ or error).replace(str(path), "").strip(" :'\"")
        raise InputError(f"{path}: cannot be read as an image ({cause}); fetch or export it again") from error


@contextmanager
def reading(path: str | os.PathLike) -> Iterator[SceneReader]:
    """Open a scene to read windows of it.

    Raises
    ------
    InputError
        Not an image, damaged, or not of 8-bit RGB(A).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    # By default GDAL gives a truncated JPEG's rest as grey and a truncated PNG's as whatever was in memory.
    strict = {"GDAL_ERROR_ON_LIBJPEG_WARNING": "YES", "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO"}
    with rasterio.Env(**strict), warnings.catch_warnings():
        # A picture without a CRS is no reason to warn.
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with _naming(path):
            source = rasterio.open(path)
        with source:
            yield SceneReader(path, source)


def open_scene(path: str | os.PathLike) -> xr.DataArray:
    """Open a scene as an array.

    Parameters
    ----------
    path : path
        PNG, JPEG, GeoTIFF or COG of 8-bit RGB or RGBA (grey is read as three equal bands).

    Returns
    -------
    xarray.DataArray
        Dimensions (band=3, y, x), uint8, bands ``red``, ``green``, ``blue``; ``.rio.crs`` and
        ``.rio.transform()`` where the file has them. The coordinate ``nodata`` (y, x) is True where
        the file declares no data or its alpha is 0; where it declares nothing, by `border_black`.

    Raises
    ------
    InputError
        Not an image, damaged, or not of 8-bit RGB(A).
    """
    with reading(path) as reader:
        bands, nodata = reader.read()
        scene = array(bands, nodata, reader.crs, reader.transform)
    return scene.assign_attrs(source=str(path)).rename(Path(path).stem)


def array(bands: np.ndarray, nodata: np.ndarray, crs: object = None, transform: object = None) -> xr.DataArray:
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


def georeference(raster: xr.DataArray, crs: object, transform: object) -> xr.DataArray:
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


def find(where: str | os.PathLike) -> list[Path]:
    """List the images in a folder and its sub-folders, or those that a path or a glob pattern names.

    Passed over are hidden files and folders, files that are no images by their ending, and run folders.

    Raises
    ------
    InputError
        Nothing is there.
    """
    folder = Path(where)
    escaped = glob.escape(str(folder))
    pattern = f"{escaped}/**/*" if folder.is_dir() else escaped if folder.is_file() else str(where)
    scenes = [Path(path) for path in sorted(glob.glob(pattern, recursive=True))]
    scenes = [path for path in scenes if path.suffix.lower() in SUFFIXES and path.is_file()]
    if folder.is_dir():  # what an earlier run made below the folder is no input
        runs = {mark.parent for mark in folder.glob(f"*/**/{RUN_MARK}")}
        scenes = [path for path in scenes if runs.isdisjoint(path.parents)]
    if not scenes:
        raise InputError(
            f"{where}: no scenes there; give a folder with images ({' '.join(SUFFIXES)}), "
            "or a pattern in quotes such as 'folder/**/*truecolor*'"
        )
    return scenes


def has_crs(path: str | os.PathLike) -> bool:
    """Say whether a scene has a place on a map."""
    with reading(path) as reader:
        return reader.crs is not None


def names(paths: Paths) -> dict[str, Path]:
    """Give each path a short name of its own: its stem, with its folder before it where two share one.

    Names that are there already, as keys of a dict or index of a series, stay.
    """
    if hasattr(paths, "items"):
        return {str(name): Path(path) for name, path in paths.items()}
    paths = [Path(path) for path in paths]
    stems = Counter(path.stem for path in paths)
    named: dict[str, Path] = {}
    for path in paths:
        name = path.stem if stems[path.stem] == 1 else f"{path.parent.name}_{path.stem}"
        number = 1
        while name in named:
            number += 1
            name = f"{path.parent.name}_{path.stem}_{number}"
        named[name] = path
    return named


def check(path: str | os.PathLike) -> float:
    """Read a scene through, to know before the work begins that it can be read.

    Returns
    -------
    float
        Share of its pixels that hold data, above 0 and at most 1.

    Raises
    ------
    InputError
        Not an image, damaged, not of 8-bit RGB(A), or without a single pixel of data.
    """
    with reading(path) as reader:
        valid = sum(np.count_nonzero(~reader.read(window)[1]) for window in blocks(reader.shape, 4096))
        if not valid:
            raise InputError(f"{path}: every pixel is no data; leave it out")
        return valid / (reader.shape[0] * reader.shape[1])


def catalogue(
    where: str | os.PathLike, truth: str | os.PathLike | None = None
) -> tuple[pystac.ItemCollection, list[dict]]:
    """Describe the scenes of a folder, and set aside those that cannot be read.

    Parameters
    ----------
    where : path or glob pattern
        As for `find`.
    truth : path, optional
        A folder of class rasters; one named like a scene becomes that scene's asset ``truth``.

    Returns
    -------
    items : pystac.ItemCollection
        One STAC item a scene: footprint in EPSG:4326 where the file has a CRS, else none; asset
        ``image`` with the file's path and SHA-256 (``file:checksum``, a multihash); date from eight
        digits in its name or its folder's, else a span that ends when the file was written.
    quarantined : list of dict
        ``path`` and ``reason`` of each file that was set aside.

    Raises
    ------
    InputError
        There is no scene, or not one of them can be read.
    """
    import pystac

    items, quarantined = [], []
    for name, path in names(find(where)).items():
        try:
            item = _item(name, path.absolute(), check(path))
            if truth and (Path(truth) / f"{name}.tif").is_file():
                item.add_asset("truth", pystac.Asset(str((Path(truth) / f"{name}.tif").resolve()), roles=["truth"]))
            items.append(item)
        except InputError as error:
            quarantined.append({"path": str(path), "reason": str(error).removeprefix(f"{path}: ")})
    if not items:
        first = quarantined[0]
        rest = f" (and {len(quarantined) - 1} more files, none usable)" if quarantined[1:] else ""
        raise InputError(f"{first['path']}: {first['reason']}{rest}")
    return pystac.ItemCollection(items), quarantined


def save_catalogue(path: str | os.PathLike, items: pystac.ItemCollection, quarantined: list[dict]) -> None:
    """Write what `catalogue` returned as one STAC ItemCollection."""
    write_json(path, items.to_dict() | {"seaicekit:quarantined": quarantined})


def load_catalogue(path: str | os.PathLike) -> pd.DataFrame:
    """Read what `save_catalogue` wrote: ``path`` and ``truth`` (a path or None), with ``scene`` as index."""
    import pandas as pd

    rows = [
        {"scene": item["id"]}
        | {key: item["assets"].get(asset, {}).get("href") for key, asset in (("path", "image"), ("truth", "truth"))}
        for item in read_json(path)["features"]
    ]
    return pd.DataFrame(rows, columns=["scene", "path", "truth"], dtype=object).set_index("scene")


def _item(name: str, path: Path, valid: float) -> pystac.Item:
    import antimeridian
    import pystac
    from rasterio.warp import transform_geom
    from shapely.geometry import box, mapping, shape

    with reading(path) as reader:
        size, crs = reader.shape, reader.crs
        bounds = rasterio.transform.array_bounds(*size, reader.transform)
    geometry = bbox = None
    properties = {"proj:shape": list(size), "seaicekit:valid_fraction": valid}
    if crs:
        # Edges are bent by the projection, so they get points between the corners.
        edge = mapping(box(*bounds).segmentize(max(bounds[2] - bounds[0], bounds[3] - bounds[1]) / 16))
        footprint = antimeridian.fix_polygon(shape(transform_geom(crs, "EPSG:4326", edge)))
        geometry, bbox = mapping(footprint), list(antimeridian.bbox(footprint))
        properties |= {"proj:code": crs.to_string(), "proj:transform": list(reader.transform)[:6]}
    taken = _date(path)
    if taken is None:  # STAC wants a date or a span that holds it; it was taken before the file was written
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        properties |= {"start_datetime": "1972-07-23T00:00:00Z", "end_datetime": written.isoformat()}
    item = pystac.Item(name, geometry, bbox, taken, properties)
    checksum = {"file:checksum": "1220" + sha256(path)}  # 12 20: a multihash's mark of SHA-256
    item.add_asset("image", pystac.Asset(str(path), roles=["data"], extra_fields=checksum))
    return item


def _date(path: Path) -> datetime | None:
    for text in (path.name, path.parent.name):
        for digits in re.findall(r"(?<!\d)(?:19|20)\d{6}(?!\d)", text):
            try:
                return datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC)
            except ValueError:
                continue  # eight digits, but no date
    return None
