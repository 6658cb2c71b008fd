"""A map as one page that opens anywhere: no kernel, no network."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from seaicekit import scenes
from seaicekit.files import require, write_text
from seaicekit.maps import ground, polar, words
from seaicekit.maps.layers import MERCATOR, Bounds, Layer, at_first, chosen_crs, extent, load
from seaicekit.maps.server import grid

if TYPE_CHECKING:
    from bokeh.models import Renderer, UIElement
    from bokeh.plotting import figure

TRUE_AT = {
    "EPSG:3413": (70, -45),
    "EPSG:3031": (-71, 0),
    MERCATOR: (0, 0),
}  # latitude, longitude that is down
SIDE = 1400  # pixels of the longer side of each picture in the page
NOTHING = 255

# What is at (x, y), in each layer from the top, and in degrees: the inverse of the projection, on the
# ellipsoid.
TELL = """
const {x, y} = cb_obj
if (cb_obj.event_name == "mousemove" && pinned.data.x.length) return
if (cb_obj.event_name == "tap") pinned.data = {x: [x], y: [y]}
const [west, south, east, north] = bounds
const col = Math.floor((x - west) / (east - west) * shape[1])
const row = Math.floor((y - south) / (north - south) * shape[0])
const lines = []
for (const {name, kind, names, values} of told) {
  const inside = row >= 0 && row < shape[0] && col >= 0 && col < shape[1]
  const source = values.whole ?? values.data.image[0]
  const value = inside ? source[row * shape[1] + col] : 255
  const nothing = kind == "scene" ? (!inside || values.data.valid[0][row * shape[1] + col] == 0) : value == 255
  const said = nothing ? "no data" : kind == "scene" ? "brightness " + value :
    kind == "confidence" ? value + " %" : (names[value] ?? "class " + value)
  lines.push(name + ": <b>" + said + "</b>")
}
let lat, lon
const {a, e, true_lat, lon_0, mercator} = ellipsoid
if (mercator) {
  lon = x / a; lat = Math.atan(Math.sinh(y / a))
} else {
  const north_up = Math.sign(true_lat), at = Math.abs(true_lat)
  const t = p => Math.tan(Math.PI / 4 - p / 2) / ((1 - e * Math.sin(p)) / (1 + e * Math.sin(p))) ** (e / 2)
  const m = Math.cos(at) / Math.sqrt(1 - (e * Math.sin(at)) ** 2)
  const want = Math.hypot(x, y) * t(at) / (a * m)
  lat = Math.PI / 2 - 2 * Math.atan(want)
  for (let i = 0; i < 8; i++) {
    const s = e * Math.sin(lat)
    lat = Math.PI / 2 - 2 * Math.atan(want * ((1 - s) / (1 + s)) ** (e / 2))
  }
  lat *= north_up
  lon = lon_0 + (north_up > 0 ? Math.atan2(x, -y) : Math.atan2(x, y))
}
lon = ((lon * 180 / Math.PI + 180) % 360 + 360) % 360 - 180
lat *= 180 / Math.PI
lines.push(Math.abs(lat).toFixed(4) + "° " + (lat < 0 ? "S" : "N") + ", " +
           Math.abs(lon).toFixed(4) + "° " + (lon < 0 ? "W" : "E"))
div.text = lines.join("<br>") + (pinned.data.x.length ? "<br><i>Double-click to follow the mouse again.</i>" : "")
"""

# A metre is as long upwards as across, whatever the window's shape.
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

# What is drawn of the rasters ends at the divider, so that the scene is seen beyond it.
SWIPE = """
for (const source of sources) {
  const shown = source.data.image[0]
  source.whole ??= Uint8Array.from(shown)
  const cut = Math.round(cb_obj.value * cols)
  for (let i = 0; i < shown.length; i++) shown[i] = i % cols < cut ? source.whole[i] : 255
  source.change.emit()
}
"""


def save_html(
    layers: Mapping[str, str | os.PathLike] | str | os.PathLike,
    path: str | os.PathLike,
    crs: str | None = None,
    points: words.Points | None = None,
    title: str = "Sea ice",
    credit: str = "",
) -> Path:
    """Write rasters as one page to move about in, which needs neither kernel nor network.

    The page holds pictures of at most 1400 pixels a side. It shows, hides and fades layers, draws all
    others aside from the scene, and says what is where the mouse is, or where it was clicked.

    Parameters
    ----------
    layers, crs, points
        As for `interactive`.
    path : path
        Where to; the folder is made.
    title : str
        Of the page.
    credit : str
        Whose the scenes are; by default "contains Copernicus Sentinel data" where a path tells that.

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

    opened = load(layers)
    crs = chosen_crs(opened, crs)
    grid(crs)  # it must be one of those with tiles, whose inverse the page knows
    page = file_html(_layout(opened, crs, points, title, credit), INLINE, title=title)
    write_text(path, page)
    return Path(path)


def _layout(layers: list[Layer], crs: str, points: words.Points | None, title: str, credit: str) -> UIElement:
    from bokeh.layouts import column, row
    from bokeh.models import Div

    bounds = extent(layers, crs)
    wide, high = bounds[2] - bounds[0], bounds[3] - bounds[1]
    shape = tuple(max(1, round(SIDE * side / max(wide, high))) for side in (high, wide))
    plot = _empty(crs, bounds)
    drawn = [(layer, *_drawn(plot, layer, crs, bounds, shape)) for layer in layers]
    for layer, renderer, _ in drawn:
        renderer.visible = at_first(layer, layers)
    _lines(plot, crs, bounds)
    if points is not None:
        _points(plot, crs, words.load_points(points, layers))
    _scale_bar(plot, crs, bounds)
    told = _told(plot, drawn, crs, bounds, shape)
    legend = Div(text=words.table(layers, words.measured(layers)), width=300)
    whose = html.escape(f"{crs}. {words.attribution(layers, credit)}.")
    side = column(
        Div(text=f"<h2 style='margin:0'>{html.escape(title)}</h2>", width=300),
        *_controls(drawn, shape[1]),
        legend,
        told,
        Div(text=whose, width=300, styles={"color": "#5a6872"}),
        width=310,
    )
    return row(plot, side, sizing_mode="stretch_both", styles={"flex-wrap": "wrap"})


def _empty(crs: str, bounds: Bounds) -> figure:
    """Return a map with the sea on it and nothing else."""
    from bokeh.models import CustomJS, Range1d
    from bokeh.plotting import figure

    west, south, east, north = bounds
    half = 0.58 * max(east - west, north - south)
    x, y = (west + east) / 2, (south + north) / 2
    plot = figure(
        x_range=Range1d(x - half, x + half),
        y_range=Range1d(y - half, y + half),
        tools="pan,wheel_zoom,reset,save",
        active_scroll="wheel_zoom",
        toolbar_location="above",
        sizing_mode="stretch_both",
        min_height=480,
        min_width=320,
        background_fill_color=polar.LAND_COLOUR,
        output_backend="canvas",
    )
    plot.toolbar.logo = None
    fit = CustomJS(args={"plot": plot, "half": half}, code=FIT)
    for change in ("inner_width", "inner_height"):
        plot.js_on_change(change, fit)
    plot.js_on_event("reset", fit)
    plot.grid.visible = plot.axis.visible = False
    plot.outline_line_color = polar.LINE_COLOUR
    to = ground.projector(crs)
    parts = [[to(*np.array(ring).T[::-1]) for ring in part] for part in ground.seas(crs)]
    xs, ys = ([[[ring[axis].round().tolist() for ring in part]] for part in parts] for axis in (0, 1))
    plot.multi_polygons(xs, ys, fill_color=polar.OCEAN_COLOUR, line_color="#8fa3b0")
    return plot


def _drawn(
    plot: figure, layer: Layer, crs: str, bounds: Bounds, shape: tuple[int, ...]
) -> tuple[Renderer, object]:
    """Draw a layer; return it, and the source of what the page tells of it."""
    from bokeh.models import ColumnDataSource, LinearColorMapper

    west, south, east, north = bounds
    frame = {"dw": east - west, "dh": north - south, "x": west, "y": south}
    data, valid = layer.values(bounds, crs, shape)
    if layer.kind == "scene":
        bgra = np.dstack([*np.broadcast_to(data, (3, *shape))[::-1], valid * np.uint8(255)])
        url = "data:image/png;base64," + base64.b64encode(cv2.imencode(".png", bgra)[1].tobytes()).decode()
        drawn = plot.image_url(
            url=[url], x=west, y=south, w=frame["dw"], h=frame["dh"], anchor="bottom_left", name=layer.name
        )
        told = {
            "image": [np.ascontiguousarray(data.max(axis=0)[::-1])],
            "valid": [valid[::-1].astype(np.uint8)],
        }
        return drawn, ColumnDataSource(told)
    values = np.where(valid, data[0], NOTHING)[::-1].astype(np.uint8)
    palette = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in layer.palette]
    # 255 lies above `high` and gets no colour.
    mapper = LinearColorMapper(palette=palette[:255], low=-0.5, high=254.5, high_color="#00000000")
    source = ColumnDataSource({"image": [values]})
    drawn = plot.image("image", source=source, color_mapper=mapper, name=layer.name, **frame)
    return drawn, source


def _lines(plot: figure, crs: str, bounds: Bounds) -> None:
    lines = ground.degrees(crs, bounds)
    to = ground.projector(crs)
    drawn = [to(*line.T) for _, line in lines]
    plot.multi_line(
        [np.asarray(x).round().tolist() for x, _ in drawn],
        [np.asarray(y).round().tolist() for _, y in drawn],
        line_color=polar.LINE_COLOUR,
        line_alpha=0.9,
    )
    middles = [(x[len(x) // 2], y[len(y) // 2]) for x, y in drawn]
    plot.text(
        [x for x, _ in middles],
        [y for _, y in middles],
        text=[text for text, _ in lines],
        text_font_size="11px",
        text_color=polar.INK_COLOUR,
        text_align="center",
        text_baseline="middle",
        background_fill_color="white",
        background_fill_alpha=0.6,
        padding=2,
    )


def _points(plot: figure, crs: str, points: list[dict]) -> None:
    from bokeh.models import ColumnDataSource, HoverTool

    x, y = ground.projector(crs)(
        *(np.array([point[key] for point in points]) for key in ("longitude", "latitude"))
    )
    source = ColumnDataSource(
        {
            "x": x,
            "y": y,
            "colour": [point["colour"] for point in points],
            "text": [point["text"] for point in points],
        }
    )
    marks = plot.scatter(
        "x", "y", source=source, size=10, fill_color="colour", line_color="#24313a", line_width=1.5
    )
    plot.add_tools(
        HoverTool(renderers=[marks], tooltips=[("point", "@text")])
    )  # bokeh escapes what it fills in


def _scale_bar(plot: figure, crs: str, bounds: Bounds) -> None:
    import pyproj
    from bokeh.models import CustomJS, Metric, Range1d, ScaleBar

    west, south, east, north = bounds
    if crs == MERCATOR:
        factor = float(np.cosh((south + north) / 2 / ground.RADIUS))
    else:
        lon, lat = scenes.projector(crs, inverse=True)((west + east) / 2, (south + north) / 2)
        factor = pyproj.Proj(crs).get_factors(lon, np.clip(lat, -89.99, 89.99)).parallel_scale
    # The bar is of metres on the Earth, in the middle of the map; a range of its own follows what is seen.
    true = Range1d(plot.x_range.start / factor, plot.x_range.end / factor)
    follow = CustomJS(
        args={"true_": true, "seen": plot.x_range, "factor": factor},
        code="true_.start = seen.start / factor; true_.end = seen.end / factor",
    )
    plot.x_range.js_on_change("start", follow)
    plot.x_range.js_on_change("end", follow)
    plot.add_layout(
        ScaleBar(
            range=true,
            unit="m",
            dimensional=Metric(base_unit="m"),
            location="bottom_left",
            background_fill_alpha=0.85,
            border_line_color=None,
        )
    )


def _told(plot: figure, drawn: list, crs: str, bounds: Bounds, shape: tuple[int, ...]) -> UIElement:
    """Return where the page says what is under the mouse, or was clicked."""
    from bokeh import events
    from bokeh.models import ColumnDataSource, CustomJS, Div

    div = Div(text="Move over the map, or click it.", width=300, name="told")
    pinned = ColumnDataSource({"x": [], "y": []})
    plot.scatter("x", "y", source=pinned, size=14, fill_color=None, line_color=words.POINT, line_width=2)
    told = [
        {
            "name": html.escape(layer.name),
            "kind": layer.kind,
            "values": source,
            "names": {str(entry.code): html.escape(entry.name) for entry in layer.legend},
        }
        for layer, _, source in reversed(drawn)
    ]
    parallel, meridian = TRUE_AT[crs]
    ellipsoid = {
        "a": 6378137.0,
        "e": 0.0818191908426215,
        "mercator": crs == MERCATOR,
        "true_lat": float(np.radians(parallel)),
        "lon_0": float(np.radians(meridian)),
    }
    tell = CustomJS(
        args={
            "div": div,
            "pinned": pinned,
            "told": told,
            "bounds": list(map(float, bounds)),
            "shape": list(shape),
            "ellipsoid": ellipsoid,
        },
        code=TELL,
    )
    plot.js_on_event(events.MouseMove, tell)
    plot.js_on_event(events.Tap, tell)
    plot.js_on_event(events.DoubleTap, CustomJS(args={"pinned": pinned}, code="pinned.data = {x: [], y: []}"))
    return div


def _controls(drawn: list, cols: int) -> list[UIElement]:
    from bokeh.layouts import row
    from bokeh.models import Checkbox, CustomJS, Div, Slider

    rows = []
    for layer, renderer, _ in reversed(drawn):
        shown = Checkbox(label=layer.name, active=renderer.visible, width=130)
        shown.js_link("active", renderer, "visible")
        opacity = Slider(start=0, end=1, value=1, step=0.05, show_value=False, title=None, width=140)
        opacity.js_on_change(
            "value", CustomJS(args={"glyph": renderer.glyph}, code="glyph.global_alpha = cb_obj.value")
        )
        rows.append(row(shown, opacity))
    sources = [source for layer, _, source in drawn if layer.kind != "scene"]
    if 0 < len(sources) < len(drawn):
        swipe = Slider(start=0, end=1, value=1, step=0.01, show_value=False, title=None, width=140)
        swipe.js_on_change("value", CustomJS(args={"sources": sources, "cols": cols}, code=SWIPE))
        rows.append(row(Div(text="swipe to the scene", width=130), swipe))
    return rows
