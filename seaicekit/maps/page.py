"""A map as one page that opens anywhere: no kernel, no network."""

from __future__ import annotations

import base64
import html
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from seaicekit import scenes
from seaicekit.files import require, write_text
from seaicekit.maps import polar
from seaicekit.maps.annotations import MARK_COLOUR, attribution, legend_html, load_points
from seaicekit.maps.layers import Bounds, Layer, extent, map_crs, open_layers

if TYPE_CHECKING:
    from bokeh.models import Renderer, UIElement
    from bokeh.plotting import figure

    from seaicekit.maps.annotations import MapPoint
    from seaicekit.maps.layers import Paths

# Latitude of true scale, and the longitude that is down.
TRUE_AT = {"EPSG:3413": (70, -45), "EPSG:3031": (-71, 0)}
SIDE = 1400  # pixels of the longer side of each picture in the page

# Writes what is at (x, y) in each layer from the top, and the place in degrees: the projection's
# inverse on the ellipsoid (Snyder, 1987, Map projections: a working manual, pages 161 to 162).
DESCRIBE = """
const {x, y} = cb_obj
if (cb_obj.event_name == "mousemove" && pinned.data.x.length) return
if (cb_obj.event_name == "tap") pinned.data = {x: [x], y: [y]}
const [west, south, east, north] = bounds
const col = Math.floor((x - west) / (east - west) * shape[1])
const row = Math.floor((y - south) / (north - south) * shape[0])
const lines = []
for (const {name, kind, names, source} of layers) {
  const inside = row >= 0 && row < shape[0] && col >= 0 && col < shape[1]
  const values = source.whole ?? source.data.image[0]
  const value = inside ? values[row * shape[1] + col] : 255
  const empty = kind == "scene" ? (!inside || source.data.valid[0][row * shape[1] + col] == 0) : value == 255
  const text = empty ? "no data" : kind == "scene" ? "brightness " + value :
    kind == "confidence" ? value + " %" : (names[value] ?? "class " + value)
  lines.push(name + ": <b>" + text + "</b>")
}
const {a, e, true_lat, lon_0} = ellipsoid
const up = Math.sign(true_lat), at = Math.abs(true_lat)
const t = p => Math.tan(Math.PI / 4 - p / 2) / ((1 - e * Math.sin(p)) / (1 + e * Math.sin(p))) ** (e / 2)
const m = Math.cos(at) / Math.sqrt(1 - (e * Math.sin(at)) ** 2)
const target = Math.hypot(x, y) * t(at) / (a * m)
let lat = Math.PI / 2 - 2 * Math.atan(target)
for (let i = 0; i < 8; i++) {
  const s = e * Math.sin(lat)
  lat = Math.PI / 2 - 2 * Math.atan(target * ((1 - s) / (1 + s)) ** (e / 2))
}
lat *= up * 180 / Math.PI
let lon = lon_0 + (up > 0 ? Math.atan2(x, -y) : Math.atan2(x, y))
lon = ((lon * 180 / Math.PI + 180) % 360 + 360) % 360 - 180
lines.push(Math.abs(lat).toFixed(4) + "° " + (lat < 0 ? "S" : "N") + ", " +
           Math.abs(lon).toFixed(4) + "° " + (lon < 0 ? "W" : "E"))
if (pinned.data.x.length) lines.push("<i>Double-click to follow the mouse again.</i>")
div.text = lines.join("<br>")
"""

# Keeps a metre as long upwards as across, whatever the window's shape.
FIT = """
const {x_range, y_range, inner_width, inner_height} = plot
if (!inner_width || !inner_height) return
const reset = cb_obj.event_name == "reset"
const span = reset ? 2 * half : Math.min(x_range.end - x_range.start, y_range.end - y_range.start)
const pixel = span / Math.min(inner_width, inner_height)
const x = (x_range.start + x_range.end) / 2, y = (y_range.start + y_range.end) / 2
x_range.setv({start: x - pixel * inner_width / 2, end: x + pixel * inner_width / 2})
y_range.setv({start: y - pixel * inner_height / 2, end: y + pixel * inner_height / 2})
"""

# Clears the rasters beyond the divider, so that the scene is seen there.
SWIPE = """
for (const source of sources) {
  const shown = source.data.image[0]
  source.whole ??= Uint8Array.from(shown)
  const cut = Math.round(cb_obj.value * cols)
  for (let i = 0; i < shown.length; i++) shown[i] = i % cols < cut ? source.whole[i] : 255
  source.change.emit()
}
"""


class Drawn(NamedTuple):
    """A layer in the page: what draws it, and the source of its values."""

    layer: Layer
    renderer: Renderer
    source: Any


def save_html(
    layers: Paths,
    path: str | os.PathLike,
    points: str | os.PathLike | None = None,
    title: str = "Sea ice",
) -> Path:
    """Write rasters as one page to move about in, which needs neither kernel nor network.

    The page holds pictures of at most 1400 pixels a side. It shows, hides and fades layers, swipes all others
    off the scene, and writes the values under the mouse, or where it was clicked.

    Parameters
    ----------
    layers, points
        As for `interactive`.
    path : path
        The page; its folder is made.
    title : str
        Of the page.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        As from `interactive`.
    """
    require("lab", "a map as a page", "bokeh")
    from bokeh.embed import file_html
    from bokeh.resources import INLINE

    opened = open_layers(layers)
    page = _layout(opened, map_crs(opened), load_points(points, opened), title)
    write_text(path, file_html(page, INLINE, title=title))
    return Path(path)


def _layout(layers: list[Layer], crs: str, points: list[MapPoint], title: str) -> UIElement:
    from bokeh.layouts import column, row
    from bokeh.models import Div

    bounds = extent(layers, crs)
    width, height = bounds[2] - bounds[0], bounds[3] - bounds[1]
    pixels = SIDE / max(width, height)
    shape = max(1, round(pixels * height)), max(1, round(pixels * width))
    plot = _draw_sea(crs, bounds)
    drawn = [_draw_layer(plot, layer, crs, bounds, shape) for layer in layers]
    for each in drawn:
        each.renderer.visible = each.layer.is_visible(layers)
    _draw_degrees(plot, crs, bounds)
    _draw_points(plot, crs, points)
    _draw_scale_bar(plot, crs, bounds)
    note = html.escape(f"{crs}. {attribution(layers)}.")
    side = column(
        Div(text=f"<h2 style='margin:0'>{html.escape(title)}</h2>", width=300),
        *_controls(drawn, shape[1]),
        Div(text=legend_html(layers), width=300),
        _description(plot, drawn, crs, bounds, shape),
        Div(text=note, width=300, styles={"color": "#5a6872"}),
        width=310,
    )
    return row(plot, side, sizing_mode="stretch_both", styles={"flex-wrap": "wrap"})


def _draw_sea(crs: str, bounds: Bounds) -> figure:
    """Return a map with nothing but the sea on it."""
    from bokeh.models import CustomJS, Range1d
    from bokeh.plotting import figure

    west, south, east, north = polar.square_around(bounds, 1.16)
    plot = figure(
        x_range=Range1d(west, east),
        y_range=Range1d(south, north),
        tools="pan,wheel_zoom,reset,save",
        active_scroll="wheel_zoom",
        toolbar_location="above",
        sizing_mode="stretch_both",
        min_height=480,
        min_width=320,
        background_fill_color=polar.LAND_COLOUR,
        outline_line_color=polar.LINE_COLOUR,
    )
    plot.toolbar.logo = None
    plot.grid.visible = plot.axis.visible = False
    fit = CustomJS(args={"plot": plot, "half": (east - west) / 2}, code=FIT)
    for change in ("inner_width", "inner_height"):
        plot.js_on_change(change, fit)
    plot.js_on_event("reset", fit)
    parts = polar.ocean_rings(crs)
    xs, ys = ([[[ring[:, axis].round().tolist() for ring in part]] for part in parts] for axis in (0, 1))
    plot.multi_polygons(xs, ys, fill_color=polar.OCEAN_COLOUR, line_color=polar.COAST_COLOUR)
    return plot


def _draw_layer(plot: figure, layer: Layer, crs: str, bounds: Bounds, shape: tuple[int, int]) -> Drawn:
    from bokeh.models import ColumnDataSource, LinearColorMapper

    west, south, east, north = bounds
    place = {"x": west, "y": south, "name": layer.name}
    data, valid = layer.values(bounds, crs, shape)
    if layer.kind == "scene":
        bgra = np.dstack([*np.broadcast_to(data, (3, *shape))[::-1], valid * np.uint8(255)])
        png = base64.b64encode(cv2.imencode(".png", bgra)[1].tobytes()).decode()
        url, size = [f"data:image/png;base64,{png}"], {"w": east - west, "h": north - south}
        renderer = plot.image_url(url=url, anchor="bottom_left", **size, **place)
        values = {"image": [data.max(axis=0)[::-1].copy()], "valid": [valid[::-1].astype(np.uint8)]}
        return Drawn(layer, renderer, ColumnDataSource(values))
    source = ColumnDataSource({"image": [np.where(valid, data[0], 255)[::-1].astype(np.uint8)]})
    palette = [f"#{bytes(colour).hex()}" for colour in layer.palette[:255]]
    # No data, 255, lies above `high` and gets no colour.
    mapper = LinearColorMapper(palette=palette, low=-0.5, high=254.5, high_color="#00000000")
    size = {"dw": east - west, "dh": north - south}
    return Drawn(layer, plot.image("image", source=source, color_mapper=mapper, **size, **place), source)


def _draw_degrees(plot: figure, crs: str, bounds: Bounds) -> None:
    lines = polar.graticule_around(crs, bounds)
    xs, ys = ([line[:, axis].round().tolist() for _, line in lines] for axis in (0, 1))
    plot.multi_line(xs, ys, line_color=polar.LINE_COLOUR, line_alpha=0.9)
    plot.text(
        [x[len(x) // 2] for x in xs],
        [y[len(y) // 2] for y in ys],
        text=[text for text, _ in lines],
        text_font_size="11px",
        text_color=polar.INK_COLOUR,
        text_align="center",
        text_baseline="middle",
        background_fill_color="white",
        background_fill_alpha=0.6,
        padding=2,
    )


def _draw_points(plot: figure, crs: str, points: list[MapPoint]) -> None:
    from bokeh.models import HoverTool

    places = [scenes.projector(crs)(point.longitude, point.latitude) for point in points]
    columns = {"x": [x for x, _ in places], "y": [y for _, y in places]}
    columns |= {name: [getattr(point, name) for point in points] for name in ("colour", "text")}
    marks = plot.scatter(
        "x", "y", source=columns, size=10, fill_color="colour", line_color="#24313a", line_width=1.5
    )
    plot.add_tools(HoverTool(renderers=[marks], tooltips=[("point", "@text")]))  # bokeh escapes the text


def _draw_scale_bar(plot: figure, crs: str, bounds: Bounds) -> None:
    """Draw a bar of metres on the Earth, in the middle of the map, where the map's own metres are longer."""
    from bokeh.models import CustomJS, Metric, Range1d, ScaleBar

    factor = polar.scale_factor(crs, bounds)
    earth = Range1d(plot.x_range.start / factor, plot.x_range.end / factor)
    arguments = {"earth": earth, "map": plot.x_range, "factor": factor}
    follow = CustomJS(args=arguments, code="earth.start = map.start / factor; earth.end = map.end / factor")
    for end in ("start", "end"):
        plot.x_range.js_on_change(end, follow)
    plot.add_layout(
        ScaleBar(
            range=earth,
            unit="m",
            dimensional=Metric(base_unit="m"),
            location="bottom_left",
            background_fill_alpha=0.85,
            border_line_color=None,
        )
    )


def _description(
    plot: figure, drawn: list[Drawn], crs: str, bounds: Bounds, shape: tuple[int, int]
) -> UIElement:
    """Return the text of the values under the mouse, or where the map was clicked."""
    from bokeh import events
    from bokeh.models import ColumnDataSource, CustomJS, Div

    div = Div(text="Move over the map, or click it.", width=300)
    pinned = ColumnDataSource({"x": [], "y": []})
    plot.scatter("x", "y", source=pinned, size=14, fill_color=None, line_color=MARK_COLOUR, line_width=2)
    layers = [
        {
            "name": html.escape(layer.name),
            "kind": layer.kind,
            "source": source,
            "names": {str(entry.code): html.escape(entry.name) for entry in layer.legend},
        }
        for layer, _, source in reversed(drawn)
    ]
    true_lat, lon_0 = map(float, np.radians(TRUE_AT[crs]))
    ellipsoid = {"a": 6378137.0, "e": 0.0818191908426215, "true_lat": true_lat, "lon_0": lon_0}  # WGS84
    arguments = {"div": div, "pinned": pinned, "layers": layers, "ellipsoid": ellipsoid}
    arguments |= {"bounds": list(map(float, bounds)), "shape": list(shape)}
    describe = CustomJS(args=arguments, code=DESCRIBE)
    plot.js_on_event(events.MouseMove, describe)
    plot.js_on_event(events.Tap, describe)
    unpin = CustomJS(args={"pinned": pinned}, code="pinned.data = {x: [], y: []}")
    plot.js_on_event(events.DoubleTap, unpin)
    return div


def _controls(drawn: list[Drawn], columns: int) -> list[UIElement]:
    """Return a checkbox and an opacity for each layer from the top, and the slider that swipes."""
    from bokeh.layouts import row
    from bokeh.models import Checkbox, CustomJS, Div, Slider

    slider = {"start": 0, "end": 1, "value": 1, "show_value": False, "title": None, "width": 140}
    rows: list[UIElement] = []
    for layer, renderer, _ in reversed(drawn):
        visible = Checkbox(label=layer.name, active=renderer.visible, width=130)
        visible.js_link("active", renderer, "visible")
        opacity = Slider(step=0.05, **slider)
        opacity.js_link("value", renderer.glyph, "global_alpha")
        rows.append(row(visible, opacity))
    sources = [each.source for each in drawn if each.layer.kind != "scene"]
    if 0 < len(sources) < len(drawn):
        swipe = Slider(step=0.01, **slider)
        swipe.js_on_change("value", CustomJS(args={"sources": sources, "cols": columns}, code=SWIPE))
        rows.append(row(Div(text="swipe to the scene", width=130), swipe))
    return rows
