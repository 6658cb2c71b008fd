"""Read windows of a scene: three bands of 8 bits, and which pixels are no data."""

from __future__ import annotations

import functools
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import rasterio
import rasterio.errors
import rasterio.windows

from seaicekit.files import InputError, is_url, without_query
from seaicekit.scenes import sources
from seaicekit.scenes.remote import TIMEOUT_SECONDS, digest, signed_url
from seaicekit.scenes.windows import Window, blocks

if TYPE_CHECKING:
    from seaicekit.scenes.sources import Source

MIN_NODATA_SHARE = 0.001  # of the scene, from which on undeclared black at the border is no data
MAX_PIXELS = 1 << 32
CHUNK = 1024  # pixels a side, about, of what is read at once
DTYPES = ("uint8", "uint16", "int16", "uint32", "int32", "float32", "float64")
_FILTERS = threading.Lock()
DRIVERS = ("GTiff", "PNG", "JPEG", "JP2OpenJPEG")  # others, such as VRT, read any file that they refer to
GDAL = {
    # By default GDAL fills a truncated JPEG with grey, and a truncated PNG with what was in memory.
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES",
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",
    "GDAL_HTTP_CONNECTTIMEOUT": TIMEOUT_SECONDS,
    "GDAL_HTTP_TIMEOUT": TIMEOUT_SECONDS,
    "GDAL_HTTP_MAX_RETRY": 2,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/:/vsigs/",  # a remote file may have changed
    "GDAL_CACHEMAX": 64 << 20,  # bytes; by default a share of the machine's memory, in each process
}


def border_black(bands: np.ndarray) -> np.ndarray:
    """Find the no data that a file does not declare.

    Parameters
    ----------
    bands : (3, rows, columns) uint8

    Returns
    -------
    (rows, columns) bool
        True where all bands are 0 and the pixel is connected to the border by its edges, as a swath's wedge
        is; False everywhere if that is less than 0.1 % of the scene. Dark water inside a scene or in a few
        border pixels stays water.
    """
    return _connected_to_ring(np.pad((bands.max(axis=0) == 0).astype(np.uint8), 1, constant_values=1))


def _connected_to_ring(black: np.ndarray) -> np.ndarray:
    """Apply `border_black` to a mask (1 is black) with a ring of 1 around it; the mask is overwritten."""
    # The ring connects all black that touches the border, so one fill finds it.
    cv2.floodFill(black, None, (0, 0), 2)
    mask = np.equal(black, 2, out=black.view(bool))[1:-1, 1:-1]
    return mask if mask.mean() >= MIN_NODATA_SHARE else np.zeros_like(mask)


def to_8bit(
    numbers: np.ndarray, offset: float = 0, quantification: float = 10000, white: float = 1.0
) -> np.ndarray:
    """Convert a band's numbers to 8-bit brightness, each pixel by itself.

    Reflectance is (number + offset) / quantification. Fixed cuts on the result shift with ``white``: at 0.9
    all values are a ninth higher than at 1.

    Parameters
    ----------
    numbers : array of integers or floats
    offset, quantification : float
    white : float
        The reflectance that becomes 255.

    Returns
    -------
    array of the same shape, uint8
        255 × reflectance / white, rounded half to even, clipped to 0–255; NaN gives 0.

    Examples
    --------
    >>> import numpy as np
    >>> to_8bit(np.array([1000, 2000, 11000]), offset=-1000).tolist()
    [0, 26, 255]
    """
    numbers = np.asarray(numbers)
    if numbers.dtype == np.uint16 and numbers.size > 1 << 16:  # a table is much faster than computing
        return to_8bit(np.arange(1 << 16), offset, quantification, white)[numbers]
    values = 255 * (numbers.astype(np.float64) + offset) / (quantification * white)
    return np.nan_to_num(np.rint(values).clip(0, 255), nan=0).astype(np.uint8)


class SceneReader:
    """An open scene of which windows can be read; made by `open_reader`.

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
    """

    def __init__(
        self, source: Source, files: list[rasterio.DatasetReader], layer: rasterio.DatasetReader | None
    ):
        self.source, self.path, self._files, self._layer = source, str(source), files, layer
        first = files[0]
        self.shape, self.crs, self.transform = first.shape, first.crs, first.transform
        self.dtype = np.dtype(first.dtypes[0])
        if first.width * first.height > MAX_PIXELS:
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
        self._bands = list(zip(files, self._numbers, strict=True))
        self._scaling = [_band_scaling(source, *band, colour) for colour, band in enumerate(self._bands)]
        all_valid = rasterio.enums.MaskFlags.all_valid
        masked = any(all_valid not in file.mask_flag_enums[number - 1] for file, number in self._bands)
        self.declares_nodata = masked or source.nodata is not None

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
            The window's part of `border`, where it is known already.
        out_shape : (int, int), optional
            Rows and columns of the result: pixels of the window at equal steps, from overviews where there
            are any.

        Raises
        ------
        InputError
            The file ends early or is damaged.
        """
        numbers = self._read(window, out_shape)
        if self.declares_nodata:
            nodata = self._declared_nodata(numbers, window)
        else:
            nodata = self.border[window.slices if window else ...] if undeclared is None else undeclared
        if nodata.shape != numbers.shape[1:]:
            size = numbers.shape[:0:-1]
            nodata = cv2.resize(nodata.view(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        if np.issubdtype(numbers.dtype, np.floating):
            nodata = nodata | np.isnan(numbers).any(axis=0)
        return self._to_8bit(numbers), nodata

    def pixels(self, window: Window | None = None, out_shape: tuple[int, int] | None = None) -> np.ndarray:
        """Return only a window's bands, as `read` does."""
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
        codes = np.zeros((window.height, window.width), np.uint8)
        rows, cols = rows[inside[0].ravel()], cols[inside[1].ravel()]
        if len(rows) and len(cols):
            part = Window(rows.min(), cols.min(), np.ptp(rows) + 1, np.ptp(cols) + 1)
            with _raster_errors(self._layer.name):
                layer = self._layer.read(1, window=_raster_window(part))
            codes[inside] = layer[np.ix_(rows - part.row, cols - part.col)]
        return codes

    def all_zero(self, window: Window | None = None) -> np.ndarray:
        """Return where all bands are exactly 0 as stored, before any scaling: (rows, columns) bool."""
        return (self._read(window) == 0).all(axis=0)

    @functools.cached_property
    def border(self) -> np.ndarray:
        """The scene's undeclared no data by `border_black`, (rows, columns) bool."""
        return border_of(self.source)

    @property
    def chunk(self) -> tuple[int, int]:
        """Rows and columns of pieces that are cheap to read: whole blocks of the file, about 1024."""
        rows, cols = self._files[0].block_shapes[self._numbers[0] - 1]
        return min(self.shape[0], -(-CHUNK // rows) * rows), min(self.shape[1], -(-CHUNK // cols) * cols)

    def content_key(self, quick: bool = False) -> list:
        """Return, as JSON values, all that the bands, the mask and the grid depend on.

        Files go in by their checksums (of size, time, first and last MiB if ``quick``) and not by name, also
        those beside an image: masks, world files and metadata.
        """
        digests: dict[str | None, str] = {file: digest(file, quick) for file in self.source.files}
        bands = [
            [digests.get(file) or (file and os.path.basename(file)), number]
            for file, number in [*self.source.bands, (self.source.scl, 1)]
        ]
        opened = {file for each in self._files for file in each.files if os.path.isfile(file)}
        sidecars = sorted(digest(file, quick) for file in opened - digests.keys())
        scaling = [self._scaling, self.source.white, self.source.nodata]
        grid = [self.crs.to_wkt() if self.crs else None, list(self.transform)[:6]]
        return [sorted(digests.values()), bands, sidecars, scaling, grid]

    def _read(self, window: Window | None, out_shape: tuple[int, int] | None = None) -> np.ndarray:
        part = _raster_window(window)
        if len({file.name for file in self._files}) == 1:
            with _raster_errors(self._files[0].name):
                shape = out_shape and (3, *out_shape)
                return self._files[0].read(self._numbers, window=part, out_shape=shape)
        bands = []
        for file, number in self._bands:
            with _raster_errors(file.name):
                bands.append(file.read(number, window=part, out_shape=out_shape))
        return np.stack(bands)

    def _to_8bit(self, numbers: np.ndarray) -> np.ndarray:
        if numbers.dtype == np.uint8:
            return numbers
        white = self.source.white or 1.0
        bands = zip(numbers, self._scaling, strict=True)
        return np.stack([to_8bit(band, *scaling, white) for band, scaling in bands])

    def _declared_nodata(self, numbers: np.ndarray, window: Window | None) -> np.ndarray:
        if self.source.nodata is not None:
            return (numbers == self.source.nodata).all(axis=0)
        valid = np.zeros(numbers.shape[1:], bool)
        for file, number in set(self._bands):
            with _raster_errors(file.name):
                valid |= file.read_masks(number, window=_raster_window(window), out_shape=valid.shape) > 0
        return ~valid


def _band_numbers(source: Source, files: list[rasterio.DatasetReader]) -> list[int]:
    """Return the numbers of the bands to read; refuse bands that hold no brightness."""
    numbers: list[Any] = [number for _, number in source.bands]
    for file in files:
        if file.colorinterp[0] == rasterio.enums.ColorInterp.palette:
            raise InputError(
                f"{without_query(file.name)}: has a palette, so its values are no brightness; save it as RGB"
            )
        if numbers[0] is None and file.count not in (1, 3, 4):
            raise InputError(
                f"{without_query(file.name)}: has {file.count} bands; "
                "name three by #bands=R,G,B after the path"
            )
    if numbers[0] is None:
        numbers = [1, 1, 1] if files[0].count == 1 else [1, 2, 3]
    types = set()
    for file, number in zip(files, numbers, strict=True):
        if number > file.count:
            raise InputError(
                f"{source}: there is no band {number} in {without_query(file.name)}, "
                f"which has {file.count}; correct it"
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


def _band_scaling(
    source: Source, file: rasterio.DatasetReader, number: int, colour: int
) -> tuple[float, float]:
    """Return offset and quantification of a band, by the source, else by the file, else the usual ones."""
    scale, offset = file.scales[number - 1], file.offsets[number - 1]
    if (scale, offset) == (1, 0) or scale <= 0:
        scale, offset = 1.0 if file.dtypes[number - 1].startswith("float") else 1e-4, 0.0
    offset = source.offsets[colour] if source.offsets else offset / scale
    return offset, source.quantification or 1 / scale


def border_of(source: Source) -> np.ndarray:
    """Return a scene's undeclared no data, (rows, columns) bool; a process reads the scene once for it."""
    return _border_of(source, tuple(digest(f) if is_url(f) else os.stat(f).st_mtime_ns for f in source.files))


@functools.lru_cache(maxsize=1)
def _border_of(source: Source, _versions: tuple) -> np.ndarray:
    with open_reader(source) as reader:
        black = np.ones((reader.shape[0] + 2, reader.shape[1] + 2), np.uint8)
        for window in blocks(reader.shape, CHUNK):  # a scene may be larger than memory
            black[1:-1, 1:-1][window.slices] = reader.all_zero(window)
    return _connected_to_ring(black)


def _raster_window(window: Window | None) -> rasterio.windows.Window | None:
    return window and rasterio.windows.Window(window.col, window.row, window.width, window.height)


@contextmanager
def _raster_errors(name: str) -> Iterator[None]:
    """Turn an error of the raster library into one line that names the file."""
    try:
        yield
    except rasterio.errors.RasterioError as error:
        cause = " ".join(str(error.__cause__ or error).replace(name, "").split()).strip(" :'\"")
        name, cause = without_query(name), without_query(cause)
        way = "check the address and the network" if is_url(name) else "fetch or export it again"
        raise InputError(f"{name}: cannot be read as an image ({cause}); {way}") from error


@contextmanager
def open_reader(path: str | os.PathLike | Source) -> Iterator[SceneReader]:
    """Open a scene to read windows of it.

    Parameters
    ----------
    path : str, path or seaicekit.scenes.Source
        As for `open_scene`.

    Raises
    ------
    InputError
        Not an image, damaged, out of reach, absurdly large, or bands that are missing or do not fit together.
    """
    source = sources.resolve_source(path)
    names = [*(file for file, _ in source.bands), *([source.scl] if source.scl else [])]
    with rasterio.Env(**GDAL), ExitStack() as stack:
        files = {name: stack.enter_context(_open(name)) for name in dict.fromkeys(names)}
        yield SceneReader(source, [files[file] for file, _ in source.bands], files.get(source.scl or ""))


def _open(name: str) -> rasterio.DatasetReader:
    local = not is_url(name) and not name.startswith("/vsizip/")
    if local and not Path(name).is_file():
        raise InputError(f"{name}: no such file; check the path")
    # A server's folder cannot be listed, and trying to takes long.
    listing = "EMPTY_DIR" if is_url(name) else "FALSE"
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN=listing), _raster_errors(name):
        file = open_dataset(Path(name) if local else signed_url(name))  # no Path is taken for a URL
    if file.driver not in DRIVERS:
        file.close()
        raise InputError(f"{name}: is a file of the kind {file.driver}; give one of {', '.join(DRIVERS)}")
    return file


def open_dataset(path: str | os.PathLike) -> rasterio.DatasetReader:
    """Open a raster, which may have no CRS."""
    with ignore_missing_crs():
        return rasterio.open(path)


@contextmanager
def ignore_missing_crs() -> Iterator[None]:
    """Suppress the warning of a raster without CRS, in one thread at a time: filters are of the process."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield
