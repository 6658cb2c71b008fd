"""Where scenes lie, on a polar map."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps, colors, patheffects
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from seaicekit import scenes
from seaicekit.files import InputError
from seaicekit.maps import polar
from seaicekit.maps.figures import shorten

if TYPE_CHECKING:
    import pystac
    import shapely
    from matplotlib.axes import Axes

LEAST_WIDTH = 250_000  # metres of the map, so that there is a coast or a line for orientation


def footprints(items: Iterable[pystac.Item | dict]) -> Figure:
    """Draw where scenes lie, on the polar map of the hemisphere of most: numbered in order, coloured by date.

    Parameters
    ----------
    items : iterable of pystac.Item or of GeoJSON features (dict)
        As from `seaicekit.catalogue` or `seaicekit.search`. Those that are not on the map are named below it.

    Raises
    ------
    InputError
        No item has a place.
    """
    import pandas as pd
    import shapely

    features = [item if isinstance(item, dict) else item.to_dict(transform_hrefs=False) for item in items]
    places = {
        number: shapely.geometry.shape(feature["geometry"]).centroid.y
        for number, feature in enumerate(features)
        if feature["geometry"]
    }
    if not places:
        raise InputError("footprints: no scene has a place on a map; see them with seaicekit.maps.gallery")
    north = np.median(list(places.values())) >= 0
    crs = scenes.polar_crs(90 if north else -90)
    shapes = {
        number: scenes.footprint_on_map(features[number]["geometry"], crs)
        for number, latitude in places.items()
        if (latitude >= 0) == north
    }
    dates = pd.to_datetime([features[number]["properties"].get("datetime") for number in shapes], utc=True)
    days = [None if pd.isna(taken) else taken.toordinal() for taken in dates]
    frame = polar.square_around(shapely.union_all(list(shapes.values())).bounds, 1.35, LEAST_WIDTH)
    figure = Figure((8, 6.2), layout="constrained")
    axis, side = figure.subplots(1, 2, width_ratios=[4, 1])
    side.set_axis_off()
    polar.draw_polar_map(axis, crs, frame)
    polar.draw_locator(side.inset_axes((0, 0.7, 1, 0.3)), crs, frame)
    scale = _draw_date_scale(figure, side, [day for day in days if day])
    for day, shape in zip(days, shapes.values(), strict=True):
        colour = scale.to_rgba(day) if day else (0.35, 0.35, 0.35, 1)
        face = (*colour[:3], 0.15)
        polar.draw_polygon(axis, shape, facecolor=face, edgecolor=colour, linewidth=1.4, zorder=5)
    _draw_numbers(axis, shapes, frame[2] - frame[0])
    missing = [shorten(str(each.get("id"))) for number, each in enumerate(features) if number not in shapes]
    if missing:
        more = f" and {len(missing) - 3} more" if missing[3:] else ""
        figure.supxlabel(f"Not on this map: {', '.join(missing[:3])}{more}", fontsize=9, color="0.35")
    return figure


def _draw_date_scale(figure: Figure, axis: Axes, days: list[int]) -> ScalarMappable:
    """Draw the colours of days, or the only day; return the scale."""
    first, last = min(days, default=0), max(days, default=0)
    # The yellow end of viridis is too light for a line.
    palette = colors.ListedColormap(colormaps["viridis"](np.linspace(0, 0.9, 256)))
    scale = ScalarMappable(colors.Normalize(first, last), palette)
    if first < last:
        bar = figure.colorbar(scale, cax=axis.inset_axes((0.1, 0.05, 0.12, 0.5)))
        ticks = np.unique(np.linspace(first, last, 5).astype(int))
        bar.set_ticks(ticks, labels=[f"{date.fromordinal(tick)}" for tick in ticks], fontsize=8.5)
        bar.outline.set_visible(False)
    elif days:
        axis.text(0.5, 0.6, f"{date.fromordinal(last)}", ha="center", fontsize=9)
    return scale


def _draw_numbers(axis: Axes, shapes: dict[int, shapely.Geometry], size: float) -> None:
    """Write the footprints' numbers, from 1; on a map ``size`` metres wide, near ones share a text."""
    groups: dict[tuple[float, float, float], list[int]] = {}
    near = size / 28
    for number, shape in shapes.items():
        x, y = shape.centroid.x, shape.centroid.y
        close = [at for at in groups if abs(at[0] - x) < 1.5 * near and abs(at[1] - y) < near]
        groups.setdefault(close[0] if close else (x, y, shape.area**0.5), []).append(number + 1)
    halo = [patheffects.withStroke(linewidth=2.5, foreground="white")]
    for (x, y, width), numbers in groups.items():
        text = ", ".join(map(str, numbers)) if len(numbers) < 4 else f"{numbers[0]} … {numbers[-1]}"
        offset = (0, 9 if width < size / 20 else 0)  # above a footprint that it would hide
        axis.annotate(
            text,
            (x, y),
            offset,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=9,
            weight="bold",
            path_effects=halo,
            zorder=6,
        )
