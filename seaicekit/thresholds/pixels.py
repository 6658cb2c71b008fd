"""The pixels of several scenes: their places on Earth and their colours."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from seaicekit.files import InputError
from seaicekit.scenes import SceneReader, Window, name_scenes, open_reader
from seaicekit.thresholds.geojson import Grid, as_integer, get_object, point_coordinates

if TYPE_CHECKING:
    from seaicekit.scenes import Paths

Pixel = tuple[str, int, int]  # scene, row, column


class ScenePixels:
    """Pixels of scenes. Each scene is opened, and each pixel is read, at most once.

    Parameters
    ----------
    scenes : paths
        As for `seaicekit.scenes.name_scenes`.
    """

    def __init__(self, scenes: Paths):
        self.scenes = name_scenes(scenes)
        self._grids: dict[str, Grid] = {}
        self._broken: dict[str, str] = {}
        self._read: dict[Pixel, tuple[int, ...]] = {}

    def rgb(self, pixel: Pixel) -> tuple[int, ...]:
        """Return the colour of a pixel that `check` or `set_rgb` knows."""
        return self._read[pixel]

    def lonlat(self, pixel: Pixel) -> tuple[float, float] | None:
        """Return longitude and latitude of a pixel's centre, degrees; None where its scene has no CRS."""
        scene, row, col = pixel
        return self.grid(scene).lonlat(row, col)

    def set_rgb(self, pixel: Pixel, rgb: np.ndarray) -> None:
        """Set the colour, (3,) uint8, of a pixel that the caller has read."""
        if np.shape(rgb) != (3,) or np.asarray(rgb).dtype != np.uint8:
            raise InputError(f"rgb: must be (3,) uint8, not {np.shape(rgb)} {np.asarray(rgb).dtype}")
        self._read[pixel] = tuple(map(int, rgb))

    def check(self, scene: str, pixels: Iterable[tuple[int, int]]) -> dict[Pixel, str]:
        """Read those (row, column) of a scene that are not read yet; return why some cannot be used."""
        refused = {}
        unread = [(scene, *pixel) for pixel in sorted(pixels) if (scene, *pixel) not in self._read]
        try:
            if unread:
                with open_reader(self.scenes[scene]) as reader:
                    for pixel in unread:  # as they lie in the file, so that a block is decoded once
                        try:
                            self._read[pixel] = _read_pixel(reader, *pixel[1:])
                        except InputError as error:
                            refused[pixel] = str(error)
        except InputError as error:
            refused = dict.fromkeys(unread, str(error))
        return refused

    def retry(self) -> None:
        """Let scenes that could not be opened be tried again, each once, as servers fail slowly."""
        self._broken.clear()

    def grid(self, scene: Any) -> Grid:
        """Return a scene's grid.

        Raises
        ------
        InputError
            There is no such scene, or it cannot be opened.
        """
        if not isinstance(scene, str) or scene not in self.scenes:
            raise InputError(f"in {scene!r}, which is not among the scenes {', '.join(self.scenes)}")
        if scene in self._broken:
            raise InputError(self._broken[scene])
        if scene not in self._grids:
            try:
                with open_reader(self.scenes[scene]) as reader:
                    self._grids[scene] = Grid(reader)
            except InputError as error:
                self._broken[scene] = str(error)
                raise
        return self._grids[scene]

    def place(self, feature: dict) -> Pixel:
        """Return the pixel of a GeoJSON feature.

        Raises
        ------
        InputError
            It has none.
        """
        properties = get_object(feature, "properties")
        scene, row, col = (properties.get(name) for name in ("scene", "row", "col"))
        row, col = as_integer(row), as_integer(col)
        if scene is not None:
            grid = self.grid(scene)
            located = feature.get("geometry") is not None
            if row is not None and col is not None:
                inside = grid.holds(row, col)
                if inside and (
                    not located or not grid.on_map or grid.agrees(row, col, *point_coordinates(feature))
                ):
                    return scene, row, col
                if not inside and not located:
                    raise InputError("outside the scenes")
            if not grid.on_map:
                raise InputError("in a scene without CRS")
        lonlat = point_coordinates(feature)
        for name in self.scenes if scene is None else [scene]:
            with suppress(InputError):
                if pixel := self.grid(name).at(*lonlat):
                    return name, *pixel
        raise InputError("outside the scenes" + " that can be opened" * bool(self._broken))


def _read_pixel(reader: SceneReader, row: int, col: int) -> tuple[int, ...]:
    window = Window(row, col, 1, 1)
    black = reader.all_zero(window)
    # Only black can be no data that is not declared, and only then is the whole scene needed to decide.
    bands, nodata = reader.read(window, None if black.any() else black)
    if nodata.any():
        raise InputError("on no data")
    return tuple(bands[:, 0, 0].tolist())
