"""A scene to look at: its picture, the classes over it, the points on top; to zoom, pan and click."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import ipywidgets
import numpy as np
from ipyleaflet import FullScreenControl, GeoJSON, ImageOverlay, Map, projections
from PIL import Image

from seaicekit.classes import Legend
from seaicekit.scenes import Window

SIZE = 520  # pixels of the screen, before the map has told its own
MOST = 4  # screen pixels by which a scene's pixel may be enlarged, as a power of two
WRONG = "#e8590c"


class SceneCanvas(Map):
    """A map in the scene's own pixels: x is the column, y minus the row.

    Parameters
    ----------
    clicked : callable
        Called with (row, column) of the pixel that a click hits.
    moved : callable
        Called without arguments when the view has changed.
    """

    def __init__(self, clicked: Callable[[int, int], None], moved: Callable[[], None]):
        self._rows, self._cols = 1, 1
        self._picture, self._classes = ImageOverlay(), ImageOverlay(opacity=0.5)
        self._points = GeoJSON(data=_collection([]), point_style={"radius": 6, "weight": 2, "fillOpacity": 1})
        super().__init__(
            crs=projections.Simple,
            layers=(self._picture, self._classes, self._points),
            zoom_snap=0.25,
            min_zoom=-8,
            max_zoom=MOST,
            scroll_wheel_zoom=True,
            double_click_zoom=False,
            attribution_control=False,
            interpolation="nearest",
            layout=ipywidgets.Layout(width="100%", height=f"{SIZE}px"),
        )
        self.add(FullScreenControl())
        self._clicked, self._sized = clicked, False
        self.on_interaction(self._interaction)
        self.observe(lambda _: moved(), ["north", "south", "west", "east"])
        self.observe(self._told, ["left", "right", "top", "bottom"])

    def _told(self, _: Any) -> None:
        """Fit once more, when the page has told for the first time how large the map is there."""
        if not self._sized and 50 < self.right - self.left < 1e5 and 50 < self.bottom - self.top < 1e5:
            self._sized = True
            self.fit((self._rows, self._cols))

    def _interaction(self, **event: Any) -> None:
        if event.get("type") == "click":
            y, x = event["coordinates"]
            self._clicked(math.floor(-y), math.floor(x))

    def fit(self, shape: tuple[int, ...]) -> None:
        """Show a whole scene of (rows, columns)."""
        self._rows, self._cols = shape
        wide, high = (self.right - self.left, self.bottom - self.top) if self._sized else (SIZE, SIZE)
        self.center = (-self._rows / 2, self._cols / 2)
        self.zoom = math.floor(4 * math.log2(min(wide / self._cols, high / self._rows))) / 4

    @property
    def seen(self) -> Window:
        """What the screen shows, with a little around it, in the scene's pixels."""
        south, west, north, east = self.south, self.west, self.north, self.east
        if north == south:
            return Window(0, 0, self._rows, self._cols)
        more = 0.1 * (north - south)
        top, left = max(0, int(-north - more)), max(0, int(west - more))
        bottom, right = min(self._rows, math.ceil(-south + more)), min(self._cols, math.ceil(east + more))
        if bottom <= top or right <= left:  # moved off the scene
            return Window(0, 0, self._rows, self._cols)
        return Window(top, left, bottom - top, right - left)

    def show(self, picture: np.ndarray, window: Window) -> None:
        """Show a picture, (rows, columns) or (rows, columns, 3) uint8, of a window."""
        ordered = picture[..., ::-1] if picture.ndim == 3 else picture
        self._put(
            self._picture,
            "jpeg",
            cv2.imencode(".jpg", ordered, (cv2.IMWRITE_JPEG_QUALITY, 92))[1].tobytes(),
            window,
        )

    def overlay(self, codes: np.ndarray, window: Window, legend: Legend) -> None:
        """Lay class codes, (rows, columns) uint8, over a window; what is in no class stays clear."""
        image = Image.fromarray(codes, "P")
        alpha = np.zeros(256, np.uint8)
        alpha[legend.codes] = 255
        image.putpalette(legend.palette().tobytes())
        file = io.BytesIO()
        image.save(file, "PNG", transparency=alpha.tobytes(), compress_level=1)
        self._put(self._classes, "png", file.getvalue(), window)

    def _put(self, layer: ImageOverlay, kind: str, content: bytes, window: Window) -> None:
        bounds = ((-window.row - window.height, window.col), (-window.row, window.col + window.width))
        if [list(corner) for corner in bounds] != [list(corner) for corner in layer.bounds]:
            layer.bounds = bounds
        layer.url = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"

    def mark(self, points: Sequence[tuple[int, int, str, bool]]) -> None:
        """Mark points: row, column, colour, and whether the rule says the same."""
        self._points.data = _collection(
            [
                {
                    "type": "Feature",
                    "geometry": {"type": "Point", "coordinates": [col + 0.5, -row - 0.5]},
                    "properties": {"style": {"fillColor": colour, "color": "#111" if right else WRONG}},
                }
                for row, col, colour, right in points
            ]
        )

    @property
    def opacity(self) -> float:
        """How opaque the classes are, from 0 to 1."""
        return self._classes.opacity

    @opacity.setter
    def opacity(self, value: float) -> None:
        self._classes.opacity = value


def _collection(features: list[dict]) -> dict:
    return {"type": "FeatureCollection", "features": features}
