"""The interactive map itself; imported only when one is made."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ipyleaflet
import ipywidgets
import leafmap.leafmap
import numpy as np

from seaicekit.files import InputError
from seaicekit.maps import ground, page, paper, words
from seaicekit.maps.layers import MERCATOR, Layer, at_first, extent
from seaicekit.maps.polar import LINE_COLOUR, OCEAN_COLOUR
from seaicekit.maps.server import DEEPEST, forget, resolution, url

RADIUS = 5  # pixels of a point's mark
SHOWN = 560  # pixels that the rasters' longer side is to have at first
STYLE = """<style>
.seaicekit-map { color: #24313a; --jp-widgets-color: #24313a; --jp-widgets-label-color: #24313a;
  --jp-ui-font-color1: #24313a; --jp-widgets-input-color: #24313a; --jp-widgets-input-background-color: #fff;
  --jp-content-font-color1: #24313a; --jp-layout-color1: #fff; --jp-layout-color2: #e7ebee;
  background: #fff; padding: 4px 8px; font-size: 12px; }
.seaicekit-map .jupyter-widgets, .seaicekit-map .widget-html-content, .seaicekit-map table { font-size: 12px;
  color: #24313a; background: transparent; line-height: 1.45; }
.seaicekit-map .jupyter-widgets { line-height: 24px; }
.leaflet-div-icon:has(.seaicekit-degrees) { background: none; border: none; text-align: center; }
.seaicekit-map th { font-weight: 600; }
.seaicekit-degrees { font: 11px sans-serif; color: #4a5963; white-space: nowrap;
  text-shadow: 0 0 3px #fff, 0 0 3px #fff, 0 0 3px #fff; }
</style>"""


def projection(crs: str) -> dict:
    """Describe a CRS to Leaflet."""
    if crs == MERCATOR:
        return ipyleaflet.projections.EPSG3857
    known = ipyleaflet.projections[
        crs.replace(":", "")
    ].NASAGIBS  # the same square, but only down to 256 m a pixel
    return known | {"resolutions": [resolution(crs, zoom) for zoom in range(DEEPEST[crs] + 1)]}


class IceMap(leafmap.leafmap.Map):
    """A leafmap map of scenes, labels, maps and confidences; made by `seaicekit.maps.interactive`."""

    layers: Any  # the map's own trait

    def __init__(
        self, layers: Sequence[Layer], crs: str, points: words.Points | None, height: str, basemap: bool
    ):
        import pyproj

        self._layers, self._crs, self._points = layers, crs, points
        west, south, east, north = frame = extent(layers, crs)
        x, y = (west + east) / 2, (south + north) / 2
        longitude, latitude = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
        if crs == MERCATOR:
            longitude = float(np.degrees(x / ground.RADIUS))
        zoom = int(np.log2(resolution(crs, 0) * SHOWN / max(east - west, north - south, 1)))
        sea = ipyleaflet.Polygon(
            locations=ground.seas(crs),
            pane="ground",
            color="#8fa3b0",
            weight=1,
            fill_color=OCEAN_COLOUR,
            fill_opacity=1,
        )
        super().__init__(
            layers=[sea],
            panes={"ground": {"zIndex": 150}},
            crs=projection(crs),
            center=[latitude, longitude],
            zoom=min(zoom, DEEPEST[crs]),
            min_zoom=0,
            max_zoom=DEEPEST[crs],
            height=height,
            draw_control=False,
            measure_control=False,
            toolbar_control=False,
        )
        sea.name = "coast"  # leafmap calls the first layer OpenStreetMap
        self._below = [sea, *filter(None, [ground.basemap(crs) if basemap else None])]
        self._tiles = {
            layer.name: ipyleaflet.TileLayer(
                url=url(layer, crs),
                name=layer.name,
                max_zoom=DEEPEST[crs],
                attribution=html.escape(words.attribution(layers)),
                visible=at_first(layer, layers),
            )
            for layer in layers
        }
        self._lines = self._degrees(frame)
        self._marks = [] if points is None else words.load_points(points, layers)
        self._spots = self._marked()
        self._cross = ipyleaflet.CircleMarker(
            location=[latitude, longitude],
            radius=7,
            color=words.POINT,
            weight=2,
            opacity=0,
            fill_opacity=0,
            name="clicked",
        )
        self._swipe: ipyleaflet.SplitMapControl | None = None
        self._add_panels()
        self._arrange()
        self.on_interaction(self._interacted)

    def close(self) -> None:
        """Take the map off the page, and its layers out of memory."""
        forget(self._layers)
        super().close()

    def save_html(self, path: str | os.PathLike) -> Path:
        """Write the map as a page that needs neither kernel nor network; see `seaicekit.maps.save_html`."""
        return page.save_html(self._given, path, self._crs, self._points)

    def save_png(self, path: str | os.PathLike) -> Path:
        """Write the map as a figure; see `seaicekit.maps.save_png`."""
        return paper.save_png(self._given, path, None if self._crs == MERCATOR else self._crs, self._points)

    def update_layer_manager(self) -> None:
        """Leave leafmap's list of layers alone, which is built anew with each one added.

        This map has its own.
        """

    @property
    def _given(self) -> dict[str, str]:
        return {layer.name: layer.path for layer in self._layers}

    def swipe(self, left: str | None, right: str | None = None) -> None:
        """Show one layer on the left of a divider and another on the right; None puts all back.

        Raises
        ------
        InputError
            There is no such layer, or both are the same.
        """
        for name in (left, right):
            if left is not None and name not in self._tiles:
                raise InputError(f"{name}: no layer of this map; there are {', '.join(self._tiles)}")
        if left is not None and left == right:
            raise InputError(
                f"{left}: on both sides there would be nothing to swipe between; name two layers"
            )
        self._left.value, self._right.value = left or "", (left and right) or ""

    def _degrees(self, frame: tuple) -> list[ipyleaflet.Layer]:
        lines = ground.degrees(self._crs, frame)
        features = [
            {
                "type": "Feature",
                "properties": {"degrees": text},
                "geometry": {"type": "LineString", "coordinates": line.round(5).tolist()},
            }
            for text, line in lines
        ]
        data = {"type": "FeatureCollection", "features": features}
        style = {"color": LINE_COLOUR, "weight": 1, "opacity": 0.9, "fill": False}
        texts = [
            ipyleaflet.Marker(
                location=line[len(line) // 2, ::-1].tolist(),
                draggable=False,
                keyboard=False,
                icon=ipyleaflet.DivIcon(
                    html=f'<span class="seaicekit-degrees">{text}</span>', icon_size=[44, 14]
                ),
            )
            for text, line in lines
        ]
        return [
            ipyleaflet.GeoJSON(data=data, style=style, name="degrees"),
            ipyleaflet.LayerGroup(layers=texts, name="texts"),
        ]

    def _marked(self) -> list[ipyleaflet.Layer]:
        if not self._marks:
            return []
        features = [
            {
                "type": "Feature",
                "properties": {"text": point["text"], "style": {"fillColor": point["colour"]}},
                "geometry": {"type": "Point", "coordinates": [point["longitude"], point["latitude"]]},
            }
            for point in self._marks
        ]
        spots = {"radius": RADIUS, "color": "#24313a", "weight": 1.5, "fillOpacity": 1}
        data = {"type": "FeatureCollection", "features": features}
        return [ipyleaflet.GeoJSON(data=data, name="points", point_style=spots)]

    def _add_panels(self) -> None:
        wide = ipywidgets.Layout(width="212px")
        rows = [self._row(name, tiles) for name, tiles in reversed(self._tiles.items())]
        shown = ipywidgets.Checkbox(value=True, description="coast and degrees", indent=False, layout=wide)
        shown.observe(lambda _: self._arrange(), "value")
        self._shown = shown
        options = [("off", ""), *((name, name) for name in self._tiles)]
        style = {"description_width": "64px"}
        self._left = ipywidgets.Dropdown(options=options, description="swipe: left", layout=wide, style=style)
        self._right = ipywidgets.Dropdown(options=options, description="right", layout=wide, style=style)
        sides = [self._left, self._right] if len(self._tiles) > 1 else []
        for side in sides:
            side.observe(lambda _: self._arrange(), "value")
        self._told = ipywidgets.HTML("Click the map to see what is there.")
        legend = words.table(self._layers, words.measured(self._layers))
        looks = ipywidgets.HTML(STYLE, layout=ipywidgets.Layout(height="0", margin="0"))
        for place, children in (
            ("topright", [looks, *rows, shown, *sides]),
            ("bottomright", [self._told, ipywidgets.HTML(legend)]),
        ):
            box = ipywidgets.VBox(children, layout=ipywidgets.Layout(overflow="hidden", max_width="320px"))
            box.add_class("seaicekit-map")
            self.add(ipyleaflet.WidgetControl(widget=box, position=place))

    def _row(self, name: str, tiles: ipyleaflet.TileLayer) -> ipywidgets.HBox:
        shown = ipywidgets.Checkbox(
            value=tiles.visible,
            description=name,
            indent=False,
            layout=ipywidgets.Layout(width="104px"),
            tooltip=name,
        )
        opacity = ipywidgets.FloatSlider(
            value=1,
            min=0,
            max=1,
            step=0.05,
            readout=False,
            layout=ipywidgets.Layout(width="104px"),
            tooltip=f"opacity of {name}",
        )
        ipywidgets.jslink(
            (shown, "value"), (tiles, "visible")
        )  # in the browser: it answers even if the kernel is busy
        ipywidgets.jslink((opacity, "value"), (tiles, "opacity"))
        return ipywidgets.HBox([shown, opacity])

    def _arrange(self) -> None:
        """Put the layers in order, and the divider where one is wanted."""
        left, right = self._tiles.get(self._left.value), self._tiles.get(self._right.value)
        swiped = left is not None and right is not None and left is not right
        if self._swipe is not None:
            self.remove(self._swipe)
            self._swipe = None
        mine = {*self._below, *self._tiles.values(), *self._lines, *self._spots, self._cross}
        others = [layer for layer in self.layers if layer not in mine]  # that the user has added
        above = [*others, *(self._lines if self._shown.value else []), *self._spots, self._cross]
        below = self._below if self._shown.value else self._below[1:]
        # The divider brings its two layers itself; the others would cover them, or show below them.
        self.layers = (*below, *([] if swiped else self._tiles.values()), *above)
        if left is not None and right is not None and swiped:
            left.visible = right.visible = True
            self._swipe = ipyleaflet.SplitMapControl(left_layer=left, right_layer=right)
            self.add(self._swipe)

    def _interacted(self, **event: Any) -> None:
        if event.get("type") == "click":
            self._cross.location, self._cross.opacity = event["coordinates"], 1
            self._tell(*event["coordinates"])

    def _point_at(self, latitude: float, longitude: float) -> str:
        """Return what the properties of the point nearest to a place say, if that is within its mark."""
        if not self._marks:
            return ""
        to = ground.projector(self._crs)
        around = np.array([mark["longitude"] - longitude for mark in self._marks])
        x, y = to(
            (around + 180) % 360 - 180 + longitude, np.array([mark["latitude"] for mark in self._marks])
        )
        far = np.hypot(*np.subtract([x, y], np.reshape(to(longitude, latitude), (2, 1))))
        near = int(np.argmin(far))
        return (
            self._marks[near]["text"] if far[near] <= (RADIUS + 2) * resolution(self._crs, self.zoom) else ""
        )

    def _tell(self, latitude: float, longitude: float) -> None:
        """Say what is at a place, in each layer from the top."""
        point = self._point_at(latitude, longitude)
        lines = [f"<b>{html.escape(point)}</b>"] if point else []
        for layer in reversed(self._layers):
            try:
                said = layer.said(layer.at(longitude, latitude))
            except InputError as error:  # a file that went away, or a server
                said = str(error)
            lines.append(f"{html.escape(layer.name)}: <b>{html.escape(said)}</b>")
        self._told.value = "<br>".join([*lines, words.place(longitude, latitude)])
