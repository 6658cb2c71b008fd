"""Read windows of a scene: three bands of 8 bits, and which pixels are no data."""

from __future__ import annotations

import functools
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import rasterio
import rasterio.errors
import rasterio.windows

from seaicekit.files import InputError, is_url
from seaicekit.scenes import sources
from seaicekit.scenes.remote import TIMEOUT_SECONDS, digest, signed_url, without_query

if TYPE_CHECKING:
    from seaicekit.scenes.sources import Source

# Undeclared black at the border counts as no data from this share of the scene on.
MIN_NODATA_SHARE = 0.001
MOST_PIXELS = 1 << 32
CHUNK = 1024  # pixels a side, about, of what is read at once
DTYPES = ("uint8", "uint16", "int16", "uint32", "int32", "float32", "float64")
OPENING = threading.Lock()
DRIVERS = ("GTiff", "PNG", "JPEG", "JP2OpenJPEG")  # others, such as VRT, read what a file only points to
GDAL = {
    # By default GDAL gives a truncated JPEG's rest as grey and a truncated PNG's as whatever was in memory.
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES",
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",
    "GDAL_HTTP_CONNECTTIMEOUT": TIMEOUT_SECONDS,
    "GDAL_HTTP_TIMEOUT": TIMEOUT_SECONDS,
    "GDAL_HTTP_MAX_RETRY": 2,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/:/vsigs/",  # what is there now, not what was there before
    "GDAL_CACHEMAX": 64 << 20,  # bytes; by default a share of the machine's memory, in each process
}


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

    def padded(self, halo: int, shape: tuple[int, ...], step: int = 1) -> Window:
        """Return the rectangle grown by ``halo`` pixels, then to multiples of ``step``, clipped to ``shape``."""
        row, col = max(0, self.row - halo) // step * step, max(0, self.col - halo) // step * step
        bottom = min(shape[0], -(-(self.row + self.height + halo) // step) * step)
        right = min(shape[1], -(-(self.col + self.width + halo) // step) * step)
        return Window(row, col, bottom - row, right - col)

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Return the slices that cut this rectangle out of an array that covers ``outer``."""
        return Window(self.row - outer.row, self.col - outer.col, self.height, self.width).slices


def blocks(shape: tuple[int, ...], block: int | None) -> list[Window]:
    """Cut (rows, columns) into windows of at most ``block`` pixels a side, row by row; None is one window."""
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
    return _hanging_on(np.pad((bands.max(axis=0) == 0).astype(np.uint8), 1, constant_values=1))


def _hanging_on(black: np.ndarray) -> np.ndarray:
    """Apply `border_black` to where it is black (1), with a ring of 1 around it; the array is used up."""
    # The ring of black around the scene joins all that touches the border, so one fill finds it.
    cv2.floodFill(black, None, (0, 0), 2)
    mask = np.equal(black, 2, out=black.view(bool))[1:-1, 1:-1]
    return mask if mask.mean() >= MIN_NODATA_SHARE else np.zeros_like(mask)


class SceneReader:
    """An open scene of which windows can be read; made by `reading`.

    Attributes
    ----------
    source : seaicekit.scenes.Source
    path : str
        The source's string.
    shape : (rows, columns)
    crs : rasterio.crs.CRS or None
    transform : affine.Affine, pixel to ``crs``
    dtype : numpy.dtype
        Of the numbers in the file, before they become 8-bit.
    declares_nodata : bool
        Whether the file or its metadata say which pixels are no data.
    border : (rows, columns) bool or None
        The no data that is not declared; found when first needed, unless it is set before.
    """

    def __init__(
        self, source: Source, files: list[rasterio.DatasetReader], layer: rasterio.DatasetReader | None
    ):
        self.source, self.path, self._files, self._layer = source, str(source), files, layer
        first = files[0]
        self.shape, self.crs, self.transform = first.shape, first.crs, first.transform
        self.dtype = np.dtype(first.dtypes[0])
        if first.width * first.height > MOST_PIXELS:
            raise InputError(
                f"{self.path}: claims {first.height} x {first.width} pixels; cut it into smaller scenes"
            )
        for file in files[1:]:
            if (file.shape, file.transform, file.crs) != (self.shape, self.transform, self.crs):
                raise InputError(
                    f"{without_query(file.name)}: is not on the grid of {without_query(first.name)}; "
                    "give bands of one resolution"
                )
        if layer and (
            layer.crs != self.crs or layer.dtypes[0] != "uint8" or layer.transform.b or layer.transform.d
        ):
            raise InputError(
                f"{without_query(layer.name)}: is no scene classification on this scene's grid; leave it out"
            )
        self._numbers = _band_numbers(source, files)
        self._scaling = [_scaling(source, *band) for band in zip(files, self._numbers, range(3), strict=True)]
        flags = zip(files, self._numbers, strict=True)
        masked = any(
            rasterio.enums.MaskFlags.all_valid not in file.mask_flag_enums[band - 1] for file, band in flags
        )
        self.declares_nodata = masked or source.nodata is not None
        self.border: np.ndarray | None = None

    def read(
        self,
        window: Window | None = None,
        undeclared: np.ndarray | None = None,
        out_shape: tuple[int, int] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a window's bands, (3, rows, columns) uint8 in R, G, B, and its no-data mask, bool.

        Parameters
        ----------
        window : Window, optional
            The whole scene if none is given.
        undeclared : (rows, columns) bool, optional
            The window's part of `find_border`, for who knows it already.
        out_shape : (int, int), optional
            Rows and columns of the answer: every so many pixels of the window, from overviews where there are
            any.

        Raises
        ------
        InputError
            The file ends early or is damaged.
        """
        numbers = self._read(window, out_shape)
        if self.declares_nodata:
            nodata = self._declared(numbers, window)
        elif undeclared is None:
            nodata = self.find_border()[window.slices if window else ...]
        else:
            nodata = undeclared
        if nodata.shape != numbers.shape[1:]:
            nodata = (
                cv2.resize(nodata.view(np.uint8), numbers.shape[:0:-1], interpolation=cv2.INTER_NEAREST) > 0
            )
        if np.issubdtype(numbers.dtype, np.floating):
            nodata = nodata | np.isnan(numbers).any(axis=0)
        return self._to_8bit(numbers), nodata

    def pixels(self, window: Window | None = None, out_shape: tuple[int, int] | None = None) -> np.ndarray:
        """Return a window's bands alone, as `read` does; with ``out_shape``, every so many pixels of them."""
        return self._to_8bit(self._read(window, out_shape))

    def scl(self, window: Window | None = None) -> np.ndarray | None:
        """Return a window of the scene classification layer, (rows, columns) uint8, if the source has one.

        Each pixel has the value of the layer's pixel in which its centre lies, 0 (no data) outside.

        Raises
        ------
        InputError
            The layer is damaged.
        """
        if self._layer is None:
            return None
        window = window or Window(0, 0, *self.shape)
        across = ~self._layer.transform @ self.transform
        rows = np.floor(across.e * (np.arange(window.height) + window.row + 0.5) + across.f).astype(int)
        cols = np.floor(across.a * (np.arange(window.width) + window.col + 0.5) + across.c).astype(int)
        inside = np.ix_((rows >= 0) & (rows < self._layer.height), (cols >= 0) & (cols < self._layer.width))
        out = np.zeros((window.height, window.width), np.uint8)
        rows, cols = rows[inside[0].ravel()], cols[inside[1].ravel()]
        if len(rows) and len(cols):
            part = Window(rows.min(), cols.min(), np.ptp(rows) + 1, np.ptp(cols) + 1)
            with _naming(self._layer.name):
                codes = self._layer.read(1, window=_rasterio_window(part))
            out[inside] = codes[np.ix_(rows - part.row, cols - part.col)]
        return out

    def _read(self, window: Window | None, out_shape: tuple[int, int] | None = None) -> np.ndarray:
        if len({file.name for file in self._files}) == 1:
            with _naming(self._files[0].name):
                shape = out_shape and (3, *out_shape)
                return self._files[0].read(self._numbers, window=_rasterio_window(window), out_shape=shape)
        bands = []
        for file, band in zip(self._files, self._numbers, strict=True):
            with _naming(file.name):
                bands.append(file.read(band, window=_rasterio_window(window), out_shape=out_shape))
        return np.stack(bands)

    def _to_8bit(self, numbers: np.ndarray) -> np.ndarray:
        if numbers.dtype == np.uint8:
            return numbers
        out = np.empty(numbers.shape, np.uint8)
        for band, (offset, quantification) in enumerate(self._scaling):
            white = self.source.white or 1.0
            if numbers.dtype == np.uint16:  # looking up is much faster than computing
                out[band] = sources.to_8bit(np.arange(65536), offset, quantification, white)[numbers[band]]
            else:
                out[band] = sources.to_8bit(numbers[band], offset, quantification, white)
        return out

    def _declared(self, numbers: np.ndarray, window: Window | None) -> np.ndarray:
        if self.source.nodata is not None:
            return (numbers == self.source.nodata).all(axis=0)
        valid = np.zeros(numbers.shape[1:], bool)
        for file, band in {(file, band) for file, band in zip(self._files, self._numbers, strict=True)}:
            with _naming(file.name):
                valid |= (
                    file.read_masks(band, window=_rasterio_window(window), out_shape=numbers.shape[1:]) > 0
                )
        return ~valid

    def find_border(self) -> np.ndarray:
        """Return the scene's undeclared no data, (rows, columns) bool, by `border_black`."""
        if self.border is None:  # the rule looks at the scene as a whole, whatever window is asked for
            self.border = border_of(self.source)
        return self.border

    def zeros(self, window: Window | None = None) -> np.ndarray:
        """Return where all bands are exactly 0 as stored, (rows, columns) bool: before anything is scaled."""
        return (self._read(window) == 0).all(axis=0)

    def made_of(self, checksum: Callable[[str], str] = digest) -> list:
        """Return, as JSON values, all that the bands, the mask and the grid depend on: contents, not names.

        Sidecars are among it: masks, world files and metadata beside an image. Each file's content stands
        as its ``checksum``.
        """
        digests: dict[str | None, str] = {file: checksum(file) for file in self.source.files}
        wanted = [*self.source.bands, (self.source.scl, 1)]
        bands = [[digests.get(file) or (file and os.path.basename(file)), number] for file, number in wanted]
        opened_files = {file for each in self._files for file in each.files if os.path.isfile(file)}
        beside = sorted(checksum(file) for file in opened_files - digests.keys())
        scaling = [self._scaling, self.source.white, self.source.nodata]
        grid = [self.crs.to_wkt() if self.crs else None, list(self.transform)[:6]]
        return [sorted(digests.values()), bands, beside, scaling, grid]

    def chunk(self) -> tuple[int, int]:
        """Return rows and columns of the pieces that are cheap to read.

        Whole blocks of the file, about 1024.
        """
        rows, cols = self._files[0].block_shapes[self._numbers[0] - 1]
        return min(self.shape[0], -(-CHUNK // rows) * rows), min(self.shape[1], -(-CHUNK // cols) * cols)


def _band_numbers(source: Source, files: list[rasterio.DatasetReader]) -> list[int]:
    """Say which bands are read, once the files are open; refuse those that hold no brightness."""
    numbers: list[Any] = [number for _, number in source.bands]
    for file in files:
        if file.colorinterp[0] == rasterio.enums.ColorInterp.palette:
            raise InputError(
                f"{without_query(file.name)}: has a palette, so its values are no brightness; save it as RGB"
            )
        if numbers[0] is None and file.count not in (1, 3, 4):
            raise InputError(
                f"{without_query(file.name)}: has {file.count} bands; name three by #bands=R,G,B after the path"
            )
    if numbers[0] is None:
        numbers = [1, 1, 1] if files[0].count == 1 else [1, 2, 3]
    types = set()
    for file, number in zip(files, numbers, strict=True):
        if number > file.count:
            raise InputError(
                f"{source}: there is no band {number} in {without_query(file.name)}, which has {file.count}; correct it"
            )
        types.add(file.dtypes[number - 1])
    if len(types) > 1 or not types <= set(DTYPES):
        raise InputError(
            f"{source}: holds {' and '.join(sorted(types))}; give bands of one type of {', '.join(DTYPES)}"
        )
    if types == {"uint8"} and (source.quantification or source.offsets or source.white):
        raise InputError(
            f"{source}: 8-bit values are taken as they are; leave out white, offset and quantification"
        )
    return numbers


def _scaling(source: Source, file: rasterio.DatasetReader, band: int, colour: int) -> tuple[float, float]:
    """Return offset and quantification of a band: as the source says, or the file, or what is usual."""
    scale, offset = file.scales[band - 1], file.offsets[band - 1]
    usual = 1.0 if file.dtypes[band - 1].startswith("float") else 10000.0
    told = (scale, offset) != (1, 0) and scale > 0
    quantification = source.quantification or (1 / scale if told else usual)
    return source.offsets[colour] if source.offsets else offset / scale if told else 0.0, quantification


def border_of(source: Source) -> np.ndarray:
    """Find a scene's undeclared no data, (rows, columns) bool, once for all blocks that a process reads of it."""
    return _border_of(source, tuple(digest(f) if is_url(f) else os.stat(f).st_mtime_ns for f in source.files))


@functools.lru_cache(maxsize=1)
def _border_of(source: Source, _written: tuple) -> np.ndarray:
    with open_reader(source) as reader:
        black = np.ones((reader.shape[0] + 2, reader.shape[1] + 2), np.uint8)
        for window in blocks(reader.shape, CHUNK):  # piece by piece, for a scene may be larger than memory
            black[1:-1, 1:-1][window.slices] = reader.zeros(window)
    return _hanging_on(black)


def _rasterio_window(window: Window | None) -> rasterio.windows.Window | None:
    return window and rasterio.windows.Window(window.col, window.row, window.width, window.height)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Turn the raster library's complaints into one line that names the file."""
    try:
        yield
    except rasterio.errors.RasterioError as error:
        cause = without_query(
            " ".join(str(error.__cause__ or error).replace(name, "").split()).strip(" :'\"")
        )
        name = without_query(name)
        way = "check the address and the network" if is_url(name) else "fetch or export it again"
        raise InputError(f"{name}: cannot be read as an image ({cause}); {way}") from error


@contextmanager
def open_reader(path: str | os.PathLike | Source) -> Iterator[SceneReader]:
    """Open a scene to read windows of it.

    Parameters
    ----------
    path : str, path or seaicekit.scenes.Source
        As for `seaicekit.scenes.resolve_source`.

    Raises
    ------
    InputError
        Not an image, damaged, out of reach, absurdly large, or bands that are missing or do not fit together.
    """
    source = sources.resolve_source(path)
    with rasterio.Env(**GDAL), ExitStack() as stack:
        files: dict[str | None, Any] = {}
        for name in dict.fromkeys(
            [*(file for file, _ in source.bands), *([source.scl] if source.scl else [])]
        ):
            files[name] = stack.enter_context(_open(name))
        yield SceneReader(source, [files[file] for file, _ in source.bands], files.get(source.scl))


def _open(name: str) -> rasterio.DatasetReader:
    # As a path no name is taken for a URL; a server's folder cannot be listed, and trying to takes long.
    place: str | Path = signed_url(name)
    listing = "EMPTY_DIR" if is_url(name) else "FALSE"
    if not is_url(name) and not name.startswith("/vsizip/"):
        place = Path(name)
        if not place.is_file():
            raise InputError(f"{name}: no such file; check the path")
    # A picture without a CRS is no reason to warn. Filters belong to the process, so threads take turns.
    with (
        rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN=listing),
        _naming(name),
        OPENING,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        file = rasterio.open(place)
    if file.driver not in DRIVERS:
        file.close()
        raise InputError(f"{name}: is a file of the kind {file.driver}; give one of {', '.join(DRIVERS)}")
    return file
