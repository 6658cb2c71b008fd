"""A map as a figure that could go into a paper."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seaicekit import scenes
from seaicekit.files import InputError, atomic_write
from seaicekit.maps import polar, words
from seaicekit.maps.layers import LEAST, MERCATOR, MOST, Bounds, Layer, chosen_crs, extent, load

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

WIDTH = 3.4  # inches of a panel, about a column of a journal
AIR = 1.16  # how much wider the map is than what lies on it


def save_png(
    layers: Mapping[str, str | os.PathLike] | str | os.PathLike,
    path: str | os.PathLike,
    crs: str | None = None,
    points: words.Points | None = None,
    title: str = "",
    credit: str = "",
    dpi: int = 300,
) -> Path:
    """Write rasters as a figure on a polar map, a panel each, with where they lie, legend, areas and scale.

    Parameters
    ----------
    layers : dict of name → path, or a path
        In the order of the panels; see `interactive`.
    path : path
        Where to, of the kind its ending says (``.png``, ``.pdf``, ``.svg``); the folder is made.
    crs : str, optional
        A polar stereographic projection; by default EPSG:3413 or EPSG:3031, by where the rasters are.
    points : path or dict, optional
        As for `interactive`; drawn on each panel.
    title : str
        Above the panels.
    credit : str
        Whose the scenes are; by default "contains Copernicus Sentinel data" where a path tells that.
    dpi : int
        Pixels an inch.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        As from `interactive`, or the CRS is Web Mercator, on which no scale bar is true.
    """
    opened = load(layers)
    if crs == MERCATOR:
        raise InputError(f"crs={crs}: a figure is on a polar map; leave crs out")
    drawn = _figure(opened, chosen_crs(opened, crs), points, title, credit, dpi)
    with atomic_write(path) as place:
        drawn.savefig(place, dpi=dpi, bbox_inches="tight", pad_inches=0.06)
    return Path(path)


def _figure(
    layers: list[Layer], crs: str, points: words.Points | None, title: str, credit: str, dpi: int
) -> matplotlib.figure.Figure:
    from matplotlib.figure import Figure

    west, south, east, north = bounds = extent(layers, crs)
    half = AIR * max(east - west, north - south) / 2
    x, y = (west + east) / 2, (south + north) / 2
    frame = x - half, y - half, x + half, y + half
    columns = len(layers) if len(layers) < 4 else 2 if len(layers) == 4 else 3
    rows = -(-len(layers) // columns)
    high = (WIDTH - 0.1) * rows + 0.2
    figure = Figure(figsize=(WIDTH * columns + 2.1, high), layout="constrained")
    parts: Any = figure.subfigures(1, 2, width_ratios=[WIDTH * columns, 2.1])
    main, side = parts
    axes = main.subplots(rows, columns, squeeze=False).ravel()
    spots = words.load_points(points, layers) if points is not None else []
    for number, (axis, layer) in enumerate(zip(axes, layers, strict=False)):
        polar.draw_polar_map(axis, crs, frame, lines=5)
        _raster(axis, layer, crs, bounds, frame, dpi)
        for spot in spots:
            place = scenes.projector(crs)(spot["longitude"], spot["latitude"])
            axis.plot(*place, "o", color=spot["colour"], markersize=4, markeredgecolor="#24313a", zorder=6)
        letter = f"({chr(97 + number)}) " if len(layers) > 1 else ""
        axis.set_title(f"{letter}{_plain(layer.name)}", fontsize=10, loc="left", pad=20)
    for axis in axes[len(layers) :]:
        axis.set_axis_off()
    if title:
        main.suptitle(_plain(title), fontsize=12)
    _beside(side, layers, crs, frame)
    figure.supxlabel(
        _plain(f"{crs}. {words.attribution(layers, credit)}."), fontsize=7, color="0.35", x=0.01, ha="left"
    )
    return figure


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # no formula


def _raster(
    axis: matplotlib.axes.Axes, layer: Layer, crs: str, bounds: Bounds, frame: Bounds, dpi: int
) -> None:
    west, south, east, north = bounds
    pixels = 1.25 * WIDTH * dpi / (frame[2] - frame[0])  # a little finer than what is printed
    shape = max(1, round((north - south) * pixels)), max(1, round((east - west) * pixels))
    limits = axis.get_xlim(), axis.get_ylim()
    axis.imshow(
        layer.image(bounds, crs, shape),
        extent=(west, east, south, north),
        zorder=1.5,
        interpolation="antialiased" if layer.kind == "scene" else "nearest",
    )
    axis.set(xlim=limits[0], ylim=limits[1])


def _beside(side: matplotlib.figure.SubFigure, layers: list[Layer], crs: str, frame: Bounds) -> None:
    """Draw what all panels share: where they lie, what the colours mean, the areas."""
    from matplotlib import colors
    from matplotlib.cm import ScalarMappable

    axis = side.subplots()
    axis.set_axis_off()
    axis.set(xlim=(0, 1), ylim=(0, 1))
    inches = side.bbox.height / side.figure.dpi
    locator = 1.75 / inches
    place = axis.inset_axes((0.06, 1 - locator, 0.88, locator))
    polar.draw_locator(place, crs, frame)
    if frame[2] - frame[0] < 400_000:  # the frame alone would be too small to find
        place.plot(
            *(np.add(frame[:2], frame[2:]) / 2),
            "o",
            color="none",
            markeredgecolor="#d1642a",
            markersize=9,
            markeredgewidth=1.3,
        )
    line, top = 0.185 / inches, 1 - locator - 0.3 / inches
    rasters = [layer for layer in layers if layer.kind == "classes"]
    measures = words.measured(layers)
    for layer in rasters:
        named = f" of {_plain(layer.name)}" if len(rasters) > 1 else ""
        axis.text(0, top, f"area{named}, km²", fontsize=8.5, weight="bold", va="center")
        top -= line
        for entry in layer.legend:
            axis.add_patch(_box(top, line, inches, entry.colour))
            axis.text(0.1, top, _plain(entry.name), fontsize=8.5, va="center")
            text = words.square_km(measures[layer.name][entry.code])
            axis.text(1, top, text, fontsize=8.5, va="center", ha="right")
            top -= line
        share = words.concentration(layer, measures[layer.name])
        if share is not None:
            axis.text(0, top, "ice concentration", fontsize=8.5, va="center", color="0.3")
            axis.text(1, top, f"{100 * share:.1f} %", fontsize=8.5, va="center", ha="right", color="0.3")
            top -= line
        top -= 0.6 * line
    if any(layer.kind == "confidence" for layer in layers):
        bar = axis.inset_axes((0, top - 0.6 * line, 1, 0.6 * line))
        scale = ScalarMappable(colors.Normalize(LEAST, MOST), "magma")
        drawn = side.colorbar(scale, cax=bar, orientation="horizontal", ticks=[LEAST, 50, 75, MOST])
        drawn.set_label("confidence, %", fontsize=8.5)
        drawn.ax.tick_params(labelsize=8)
        drawn.outline.set_visible(False)


def _box(middle: float, line: float, inches: float, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    high = 0.12 / inches
    return Rectangle((0, middle - high / 2), 0.065, high, facecolor=colour, edgecolor="0.4", linewidth=0.6)
