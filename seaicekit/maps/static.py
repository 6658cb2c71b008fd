"""A map as a figure for a paper."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colors
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from seaicekit import scenes
from seaicekit.files import atomic_write
from seaicekit.maps import polar
from seaicekit.maps.annotations import attribution, format_area, format_share, load_points, measure
from seaicekit.maps.layers import LEAST, MOST, Bounds, Layer, extent, map_crs, open_layers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from seaicekit.maps.layers import Paths

WIDTH = 3.4  # inches of a panel, about a column of a journal
SIDE = 2.1  # inches of the column with the legend
MARGIN = 1.16  # times by which the map is wider than its layers
DPI = 300


def save_png(
    layers: Paths, path: str | os.PathLike, points: str | os.PathLike | None = None, title: str = ""
) -> Path:
    """Write rasters as a figure on a polar map, a panel each, with locator, legend, areas and scale.

    Parameters
    ----------
    layers : dict of name → path, or a path
        In the order of the panels; see `interactive`.
    path : path
        The figure, of the kind its ending says (``.png``, ``.pdf``, ``.svg``); the folder is made.
    points : path, optional
        As for `interactive`; drawn on each panel.
    title : str
        Above the panels.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        As from `interactive`.
    """
    opened = open_layers(layers)
    figure = _draw(opened, map_crs(opened), points, title)
    with atomic_write(path) as place:
        figure.savefig(place, dpi=DPI, bbox_inches="tight", pad_inches=0.06)
    return Path(path)


def _draw(layers: list[Layer], crs: str, points: str | os.PathLike | None, title: str) -> Figure:
    bounds = extent(layers, crs)
    frame = polar.square_around(bounds, MARGIN)
    columns = len(layers) if len(layers) < 4 else 2 if len(layers) == 4 else 3
    rows = -(-len(layers) // columns)
    width, height = WIDTH * columns + SIDE, (WIDTH - 0.1) * rows + 0.2
    figure = Figure((width, height), layout="constrained")
    parts: Any = figure.subfigures(1, 2, width_ratios=[WIDTH * columns, SIDE])
    main, side = parts
    axes = main.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(layers) :]:
        axis.set_axis_off()
    places = load_points(points, layers)
    for number, (axis, layer) in enumerate(zip(axes, layers, strict=False)):
        polar.draw_polar_map(axis, crs, frame, lines=5)
        _draw_layer(axis, layer, crs, bounds)
        for point in places:
            place = scenes.projector(crs)(point.longitude, point.latitude)
            axis.plot(*place, "o", color=point.colour, markersize=4, markeredgecolor="#24313a", zorder=6)
        letter = f"({chr(97 + number)}) " if len(layers) > 1 else ""
        axis.set_title(f"{letter}{_escape(layer.name)}", fontsize=10, loc="left", pad=20)
    main.suptitle(_escape(title), fontsize=12)
    _draw_side(side, layers, crs, frame, height)
    note = _escape(f"{crs}. {attribution(layers)}.")
    figure.supxlabel(note, fontsize=7, color="0.35", x=0.01, ha="left")
    return figure


def _escape(text: str) -> str:
    return text.replace("$", r"\$")  # matplotlib reads what is between two of them as a formula


def _draw_layer(axis: Axes, layer: Layer, crs: str, bounds: Bounds) -> None:
    west, south, east, north = bounds
    pixels = 1.25 * DPI * WIDTH / np.ptp(axis.get_xlim())  # a metre; a little finer than is printed
    shape = max(1, round((north - south) * pixels)), max(1, round((east - west) * pixels))
    limits = {"xlim": axis.get_xlim(), "ylim": axis.get_ylim()}
    how = "antialiased" if layer.kind == "scene" else "nearest"
    image = layer.image(bounds, crs, shape)
    axis.imshow(image, extent=(west, east, south, north), zorder=1.5, interpolation=how)
    axis.set(**limits)


def _draw_side(side: SubFigure, layers: list[Layer], crs: str, frame: Bounds, height: float) -> None:
    """Draw what all panels share, in a column ``height`` inches high: locator, confidence, classes, areas."""
    axis = side.subplots()
    axis.set_axis_off()
    top = 1 - 1.75 / height
    locator = axis.inset_axes((0.06, top, 0.88, 1 - top))
    polar.draw_locator(locator, crs, frame)
    if frame[2] - frame[0] < 400_000:  # the frame alone would be too small to find
        middle = (frame[0] + frame[2]) / 2, (frame[1] + frame[3]) / 2
        locator.plot(*middle, "o", color="none", markeredgecolor="#d1642a", markersize=9, markeredgewidth=1.3)
    if any(layer.kind == "confidence" for layer in layers):
        bar = axis.inset_axes((0.05, top - 0.25 / height, 0.9, 0.11 / height))
        scale = ScalarMappable(colors.Normalize(LEAST, MOST), "magma")
        drawn = side.colorbar(scale, cax=bar, orientation="horizontal", ticks=[LEAST, 50, 75, MOST])
        drawn.set_label("confidence, %", fontsize=8.5)
        drawn.ax.tick_params(labelsize=8)
        drawn.outline.set_visible(False)
        top -= 0.75 / height
    handles = []
    for layer, areas, ice in measure(layers):
        handles.append(Patch(color="none", label=_escape(layer.name)))
        for entry in layer.legend:
            label = f"{_escape(entry.name)}, {format_area(areas[entry.code])} km²"
            handles.append(Patch(facecolor=entry.colour, edgecolor="0.4", label=label))
        if ice is not None:
            handles.append(Patch(color="none", label=f"ice concentration {format_share(ice)}"))
    legend = axis.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(-0.1, top),
        frameon=False,
        fontsize=8.5,
        handlelength=1.2,
    )
    for text in legend.get_texts():
        if text.get_text() in [_escape(layer.name) for layer in layers]:
            text.set_fontweight("bold")
