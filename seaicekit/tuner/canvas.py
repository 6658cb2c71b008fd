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

SIZE = 520  # screen pixels, until the page sends the map's size
MAX_ZOOM = 4  # a scene's pixel takes 2**4 screen pixels
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
        self._picture, self.classes = ImageOverlay(), ImageOverlay(opacity=0.5)
        looks = {"radius": 6, "weight": 2, "fillOpacity": 1}
        self._points = GeoJSON(data=_collection([]), point_style=looks)
        super().__init__(
            crs=projections.Simple,
            layers=(self._picture, self.classes, self._points),
            zoom_snap=0.25,
            min_zoom=-8,
            max_zoom=MAX_ZOOM,
            scroll_wheel_zoom=True,
            double_click_zoom=False,
            attribution_control=False,
            interpolation="nearest",
            layout=ipywidgets.Layout(width="100%", height=f"{SIZE}px"),
        )
        self.add(FullScreenControl())
        self._clicked, self._has_size = clicked, False
        self.on_interaction(self._handle_event)
        self.observe(lambda _: moved(), ["north", "south", "west", "east"])
        self.observe(self._handle_size, ["left", "right", "top", "bottom"])

    def _handle_size(self, _: Any) -> None:
        """Fit once more when the page sends the map's size for the first time."""
        if not self._has_size and 50 < self.right - self.left < 1e5 and 50 < self.bottom - self.top < 1e5:
            self._has_size = True
            self.fit((self._rows, self._cols))

    def _handle_event(self, **event: Any) -> None:
        if event.get("type") == "click":
            y, x = event["coordinates"]
            self._clicked(math.floor(-y), math.floor(x))

    def fit(self, shape: tuple[int, ...]) -> None:
        """Show a whole scene of (rows, columns)."""
        self._rows, self._cols = shape
        width, height = SIZE, SIZE
        if self._has_size:
            width, height = self.right - self.left, self.bottom - self.top
        self.center = (-self._rows / 2, self._cols / 2)
        self.zoom = math.floor(4 * math.log2(min(width / self._cols, height / self._rows))) / 4

    @property
    def visible(self) -> Window:
        """The part of the scene on the screen, with a little around it, in the scene's pixels."""
        margin = 0.1 * (self.north - self.south)
        top, left = max(0, int(-self.north - margin)), max(0, int(self.west - margin))
        bottom = min(self._rows, math.ceil(-self.south + margin))
        right = min(self._cols, math.ceil(self.east + margin))
        if margin == 0 or bottom <= top or right <= left:  # no size yet, or moved off the scene
            return Window(0, 0, self._rows, self._cols)
        return Window(top, left, bottom - top, right - left)

    def show(self, picture: np.ndarray, window: Window) -> None:
        """Show a picture, (rows, columns) or (rows, columns, 3) uint8, of a window."""
        bgr = picture[..., ::-1] if picture.ndim == 3 else picture
        jpeg = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, 92))[1].tobytes()
        self._put(self._picture, "jpeg", jpeg, window)

    def overlay(self, codes: np.ndarray, window: Window, legend: Legend) -> None:
        """Lay class codes, (rows, columns) uint8, over a window; pixels of no class are clear."""
        image = Image.fromarray(codes, "P")
        alpha = np.zeros(256, np.uint8)
        alpha[legend.codes] = 255
        image.putpalette(legend.palette().tobytes())
        file = io.BytesIO()
        image.save(file, "PNG", transparency=alpha.tobytes(), compress_level=1)
        self._put(self.classes, "png", file.getvalue(), window)

    def _put(self, layer: ImageOverlay, kind: str, content: bytes, window: Window) -> None:
        bottom, right = window.row + window.height, window.col + window.width
        layer.bounds = [[-bottom, window.col], [-window.row, right]]
        layer.url = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"

    def mark(self, points: Sequence[tuple[int, int, str, bool]]) -> None:
        """Mark points: row, column, colour, and whether the rule agrees."""
        features = [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [col + 0.5, -row - 0.5]},
                "properties": {"style": {"fillColor": colour, "color": "#111" if right else WRONG}},
            }
            for row, col, colour, right in points
        ]
        self._points.data = _collection(features)


def _collection(features: list[dict]) -> dict:
    return {"type": "FeatureCollection", "features": features}
