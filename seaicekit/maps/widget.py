"""The interactive map; imported only when one is made."""

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
from rasterio.errors import RasterioError
from xyzservices import providers

from seaicekit import scenes
from seaicekit.maps import page, polar, static
from seaicekit.maps.annotations import MARK_COLOUR, attribution, format_place, legend_html, load_points
from seaicekit.maps.layers import Bounds, Layer, extent
from seaicekit.maps.server import DEEPEST, HALF, resolution, serve, served

RADIUS = 5  # pixels of a point's mark
INITIAL_SIZE = 560  # pixels of the rasters' longer side, at most, before anyone zooms
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


class IceMap(leafmap.leafmap.Map):
    """A leafmap map of scenes, labels, maps and confidences; made by `seaicekit.maps.interactive`."""

    layers: Any  # the map's own trait

    def __init__(self, layers: Sequence[Layer], crs: str, points: str | os.PathLike | None, basemap: bool):
        self._layers, self._crs, self._points_path = layers, crs, points
        west, south, east, north = bounds = extent(layers, crs)
        longitude, latitude = scenes.projector(crs, inverse=True)((west + east) / 2, (south + north) / 2)
        zoom = int(np.log2(resolution(0) * INITIAL_SIZE / max(east - west, north - south, 1)))
        coast = _coast(crs)
        super().__init__(
            layers=[coast],
            panes={"ground": {"zIndex": 150}},
            crs=_projection(crs),
            center=[latitude, longitude],
            zoom=min(zoom, DEEPEST),
            min_zoom=0,
            max_zoom=DEEPEST,
            height="600px",
            draw_control=False,
            measure_control=False,
            toolbar_control=False,
        )
        coast.name = "coast"  # leafmap calls the first layer OpenStreetMap
        self._basemaps = [_blue_marble(crs)] if basemap else []
        self._tiles = {
            layer.name: ipyleaflet.TileLayer(
                url=serve(layer, crs),
                name=layer.name,
                max_zoom=DEEPEST,
                attribution=html.escape(attribution(layers)),
                visible=layer.is_visible(layers),
            )
            for layer in layers
        }
        self._ground, self._degrees = coast, _degrees(crs, bounds)
        self._points = load_points(points, layers)
        self._clicked = ipyleaflet.CircleMarker(
            location=[latitude, longitude],
            name="clicked",
            radius=7,
            color=MARK_COLOUR,
            weight=2,
            opacity=0,
            fill_opacity=0,
        )
        self._marks = [_mark_points(self._points), self._clicked]
        self._swipe: ipyleaflet.SplitMapControl | None = None
        self._add_panels()
        self._arrange()
        self.on_interaction(self._handle_event)

    def close(self) -> None:
        """Take the map off the page, and its layers out of memory."""
        for layer in self._layers:
            served.pop(layer.token, None)
        super().close()

    def save_html(self, path: str | os.PathLike) -> Path:
        """Write the map as a page that needs neither kernel nor network; see `seaicekit.maps.save_html`."""
        return page.save_html({layer.name: layer.path for layer in self._layers}, path, self._points_path)

    def save_png(self, path: str | os.PathLike) -> Path:
        """Write the map as a figure; see `seaicekit.maps.save_png`."""
        return static.save_png({layer.name: layer.path for layer in self._layers}, path, self._points_path)

    def update_layer_manager(self) -> None:
        """Do nothing: leafmap would build its list of layers anew with each layer; this map has its own."""

    def _add_panels(self) -> None:
        width = ipywidgets.Layout(width="212px")
        rows = [_layer_controls(name, tiles) for name, tiles in reversed(self._tiles.items())]
        self._has_ground = ipywidgets.Checkbox(
            True, description="coast and degrees", indent=False, layout=width
        )
        options = [("off", ""), *((name, name) for name in self._tiles)]
        looks = {"options": options, "layout": width, "style": {"description_width": "64px"}}
        self._left = ipywidgets.Dropdown(description="swipe: left", **looks)
        self._right = ipywidgets.Dropdown(description="right", **looks)
        for control in (self._has_ground, self._left, self._right):
            control.observe(lambda _: self._arrange(), "value")
        sides = [self._left, self._right] if len(self._tiles) > 1 else []
        self._values = ipywidgets.HTML("Click the map to see what is there.")
        style = ipywidgets.HTML(STYLE, layout=ipywidgets.Layout(height="0", margin="0"))
        for place, children in (
            ("topright", [style, *rows, self._has_ground, *sides]),
            ("bottomright", [self._values, ipywidgets.HTML(legend_html(self._layers))]),
        ):
            box = ipywidgets.VBox(children, layout=ipywidgets.Layout(overflow="hidden", max_width="320px"))
            box.add_class("seaicekit-map")
            self.add(ipyleaflet.WidgetControl(widget=box, position=place))

    def _arrange(self) -> None:
        """Put the layers in order, and a divider between the two that are swiped."""
        left, right = self._tiles.get(self._left.value), self._tiles.get(self._right.value)
        if self._swipe is not None:
            self.remove(self._swipe)
            self._swipe = None
        own = {self._ground, *self._basemaps, *self._tiles.values(), *self._degrees, *self._marks}
        added = [layer for layer in self.layers if layer not in own]  # by the user
        ground = [self._ground] if self._has_ground.value else []
        degrees = self._degrees if self._has_ground.value else []
        # The divider brings its two layers itself; the others would cover them, or show below them.
        tiles = self._tiles.values() if None in (left, right) or left is right else []
        self.layers = (*ground, *self._basemaps, *tiles, *added, *degrees, *self._marks)
        if left is not None and right is not None and left is not right:
            left.visible = right.visible = True
            self._swipe = ipyleaflet.SplitMapControl(left_layer=left, right_layer=right)
            self.add(self._swipe)

    def _handle_event(self, **event: Any) -> None:
        if event.get("type") == "click":
            latitude, longitude = event["coordinates"]
            self._clicked.location, self._clicked.opacity = [latitude, longitude], 1
            lines = [self._point_at(longitude, latitude)]
            for layer in reversed(self._layers):
                try:
                    text = layer.describe(longitude, latitude)
                except RasterioError as error:  # its file or server is gone
                    text = str(error)
                lines.append(f"{html.escape(layer.name)}: <b>{html.escape(text)}</b>")
            self._values.value = "<br>".join([*filter(None, lines), format_place(longitude, latitude)])

    def _point_at(self, longitude: float, latitude: float) -> str:
        """Return the properties of the first point under a click, as HTML."""
        project = scenes.projector(self._crs)
        here = project(longitude, latitude)
        near = (RADIUS + 2) * resolution(self.zoom)
        for point in self._points:
            if np.hypot(*np.subtract(project(point.longitude, point.latitude), here)) <= near:
                return f"<b>{html.escape(point.text)}</b>"
        return ""


def _projection(crs: str) -> dict:
    """Describe a CRS to Leaflet."""
    known = ipyleaflet.projections[crs.replace(":", "")].NASAGIBS
    square = {"origin": [-HALF, HALF], "bounds": [[-HALF, -HALF], [HALF, HALF]]}
    return known | square | {"resolutions": [resolution(zoom) for zoom in range(DEEPEST + 1)]}


def _coast(crs: str) -> ipyleaflet.Polygon:
    rings = [
        [polar.to_degrees(crs, ring)[:, ::-1].tolist() for ring in part] for part in polar.ocean_rings(crs)
    ]
    return ipyleaflet.Polygon(
        locations=rings,
        pane="ground",
        color=polar.COAST_COLOUR,
        weight=1,
        fill_color=polar.OCEAN_COLOUR,
        fill_opacity=1,
    )


def _blue_marble(crs: str) -> ipyleaflet.WMSLayer:
    """Return NASA's picture of the Earth, for the browser to load if it can."""
    number = crs.removeprefix("EPSG:")
    return ipyleaflet.WMSLayer(
        url=f"https://gibs.earthdata.nasa.gov/wms/epsg{number}/best/wms.cgi",
        layers="BlueMarble_NextGeneration",
        crs=_projection(crs),
        name="basemap",
        base=True,
        max_zoom=DEEPEST,
        attribution=providers.NASAGIBS.BlueMarble.html_attribution,
    )


def _degrees(crs: str, bounds: Bounds) -> list[ipyleaflet.Layer]:
    """Return meridians and parallels, and their texts."""
    lines = [(text, polar.to_degrees(crs, line)) for text, line in polar.graticule_around(crs, bounds)]
    geometries = [{"type": "LineString", "coordinates": line.tolist()} for _, line in lines]
    style = {"color": polar.LINE_COLOUR, "weight": 1, "opacity": 0.9, "fill": False}
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
    drawn = ipyleaflet.GeoJSON(data=_collection(geometries), style=style, name="degrees")
    return [drawn, ipyleaflet.LayerGroup(layers=texts, name="texts")]


def _mark_points(points: list) -> ipyleaflet.GeoJSON:
    geometries = [{"type": "Point", "coordinates": [point.longitude, point.latitude]} for point in points]
    data = _collection(geometries, [{"style": {"fillColor": point.colour}} for point in points])
    looks = {"radius": RADIUS, "color": "#24313a", "weight": 1.5, "fillOpacity": 1}
    return ipyleaflet.GeoJSON(data=data, name="points", point_style=looks)


def _collection(geometries: list[dict], properties: list[dict] | None = None) -> dict:
    pairs = zip(geometries, properties or [{} for _ in geometries], strict=True)
    features = [{"type": "Feature", "geometry": place, "properties": known} for place, known in pairs]
    return {"type": "FeatureCollection", "features": features}


def _layer_controls(name: str, tiles: ipyleaflet.TileLayer) -> ipywidgets.HBox:
    """Return a checkbox and an opacity that work in the browser, even while the kernel is busy."""
    looks = {"layout": ipywidgets.Layout(width="104px")}
    visible = ipywidgets.Checkbox(tiles.visible, description=name, indent=False, tooltip=name, **looks)
    opacity = ipywidgets.FloatSlider(
        1, min=0, max=1, step=0.05, readout=False, tooltip=f"opacity of {name}", **looks
    )
    ipywidgets.jslink((visible, "value"), (tiles, "visible"))
    ipywidgets.jslink((opacity, "value"), (tiles, "opacity"))
    return ipywidgets.HBox([visible, opacity])
