"""Draw a place on a polar map, with the coast and the lines of longitude and latitude."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from matplotlib import patheffects
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from seaicekit import scenes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    Frame = tuple[float, float, float, float]

LAND_COLOUR, OCEAN_COLOUR, LINE_COLOUR, INK_COLOUR = "#e9e6df", "#f5f9fb", "#b9c6cf", "#4a5963"
COAST_COLOUR = "#8fa3b0"
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)  # degrees between two lines


def to_degrees(crs: str, places: np.ndarray) -> np.ndarray:
    """Turn (n, 2) metres of a map to longitudes and latitudes, to some metres."""
    return np.column_stack(scenes.projector(crs, inverse=True)(*places.T)).round(5)


def ocean_rings(crs: str) -> list[list[np.ndarray]]:
    """Return the seas' polygons on the polar map, each with its rings: (n, 2) metres.

    Between the corners the coast is straight on that map.
    """
    parts = shapely.get_parts(_ocean(crs).simplify(500))
    return [[shapely.get_coordinates(ring) for ring in (part.exterior, *part.interiors)] for part in parts]


def graticule_around(crs: str, bounds: Frame) -> list[tuple[str, np.ndarray]]:
    """Return meridians and parallels in and around bounds in metres: their text, and (n, 2) metres."""
    lines = _graticule(crs, square_around(bounds, 4))
    return [
        (text, shapely.get_coordinates(part)) for text, line, _ in lines for part in shapely.get_parts(line)
    ]


def square_around(bounds: Frame, factor: float, least: float = 0) -> Frame:
    """Return a square around bounds in metres: ``factor`` times their longer side, at least ``least``."""
    west, south, east, north = bounds
    half = max(least, factor * (east - west), factor * (north - south)) / 2
    x, y = (west + east) / 2, (south + north) / 2
    return x - half, y - half, x + half, y + half


def draw_polar_map(axis: Axes, crs: str, frame: Frame, lines: int = 7) -> None:
    """Draw the empty map of a frame in metres: land, meridians and parallels (``lines`` at most), a scale."""
    west, south, east, north = frame
    axis.set(
        xlim=(west, east), ylim=(south, north), xticks=[], yticks=[], facecolor=LAND_COLOUR, aspect="equal"
    )
    axis.spines[:].set_color(LINE_COLOUR)
    draw_polygon(axis, _ocean(crs), facecolor=OCEAN_COLOUR, edgecolor=COAST_COLOUR, linewidth=0.7, zorder=1)
    taken: list[tuple[float, float]] = []
    for text, line, sides in _graticule(crs, frame, lines):
        for piece in getattr(line, "geoms", [line]):
            axis.plot(*piece.xy, color=LINE_COLOUR, linewidth=0.6, zorder=2)
        _label(axis, text, line, sides, frame, taken)
    _scale(axis, crs, frame)


def draw_locator(axis: Axes, crs: str, frame: Frame) -> None:
    """Draw a small map of the whole polar region, with the frame of the large one."""
    edge = scenes.projector(crs)(
        np.linspace(-180, 180, 181), np.full(181, 50.0 if scenes.is_north(crs) else -50.0)
    )
    disc = shapely.Polygon(np.column_stack(edge))
    draw_polygon(axis, disc, facecolor=LAND_COLOUR, edgecolor=LINE_COLOUR, linewidth=0.6)
    draw_polygon(
        axis, _ocean(crs).intersection(disc), facecolor=OCEAN_COLOUR, edgecolor=COAST_COLOUR, linewidth=0.4
    )
    draw_polygon(
        axis, shapely.box(*frame).intersection(disc), facecolor="none", edgecolor="#d1642a", linewidth=1.4
    )
    west, south, east, north = disc.buffer(1e5).bounds
    axis.set(xlim=(west, east), ylim=(south, north), aspect="equal")
    axis.set_axis_off()


def draw_polygon(axis: Axes, shape: shapely.Geometry, **style: Any) -> None:
    """Draw a polygon or multi-polygon with its holes."""
    rings = [shapely.get_coordinates(ring) for ring in shapely.get_rings(shapely.get_parts(shape))]
    if rings:
        axis.add_patch(
            PathPatch(Path.make_compound_path(*(Path(ring, closed=True) for ring in rings)), **style)
        )


@functools.lru_cache(maxsize=2)
def _ocean(crs: str) -> shapely.Geometry:
    """Return the hemisphere's seas, at 1:110 million (Natural Earth, in the public domain)."""
    from odc.geo.data import ocean_geojson

    half = shapely.box(-180, 20, 180, 90) if scenes.is_north(crs) else shapely.box(-180, -90, 180, -20)
    seas = [shapely.geometry.shape(feature["geometry"]) for feature in ocean_geojson()["features"]]
    seas = shapely.intersection(seas, half)
    drawn = shapely.transform(shapely.segmentize(seas, 1), scenes.projector(crs), interleaved=False)
    # The seam at 180° closes where its two edges are moved onto one another.
    return shapely.union_all([shapely.buffer(sea, 1000, join_style="mitre") for sea in drawn])


def _graticule(crs: str, frame: Frame, most: int = 7) -> list[tuple[str, shapely.Geometry, str]]:
    """Return the lines that cross a frame: text, line, and the sides (l, r, b, t) where the text is best."""
    box = shapely.box(*frame)
    edge = shapely.get_coordinates(box.segmentize((frame[2] - frame[0]) / 50))
    lon, lat = scenes.projector(crs, inverse=True)(*edge.T)
    lon, pole = np.unwrap(lon, period=360), 90.0 if scenes.is_north(crs) else -90.0
    if box.contains(shapely.Point(0, 0)):
        lon, lat = np.array([-180.0, 179.9]), np.append(lat, pole)

    def line(lon: Any, lat: Any) -> shapely.Geometry:
        ends = np.broadcast_arrays(lon, lat)
        return shapely.LineString(np.column_stack(scenes.projector(crs)(*ends))).intersection(box)

    lines = []
    values, step = _values(lat, most, STEPS)
    for value in values[np.abs(values) < 90]:
        text = f"{abs(value):g}° {'N' if value > 0 else 'S'}"
        lines.append((text, line(np.linspace(lon.min(), lon.max(), 800), value), "lrbt"))
    # Meridians end before they run into one another at the pole.
    along = np.linspace(lat[np.argmin(np.abs(lat))], np.sign(pole) * (90 - step), 400)
    for value in _values(lon, most, (*STEPS, 15, 30))[0]:
        shown = (value + 180) % 360 - 180
        text = f"{abs(shown):g}°" + ("" if shown in (0, -180) else " E" if shown > 0 else " W")
        lines.append((text, line(value, along), "btlr"))
    return [each for each in lines if not each[1].is_empty]


def _values(degrees: np.ndarray, most: int, steps: tuple[float, ...]) -> tuple[np.ndarray, float]:
    """Return at most ``most`` round values in a range of degrees, if there is such a step, and the step."""
    step = next((step for step in steps if np.ptp(degrees) / step <= most), steps[-1])
    return np.arange(np.ceil(degrees.min() / step), np.floor(degrees.max() / step) + 1) * step, step


def _label(
    axis: Axes, text: str, line: shapely.Geometry, sides: str, frame: Frame, taken: list[tuple[float, float]]
) -> None:
    """Write a line's degrees once, outside the frame where the line leaves it, unless something is there."""
    west, south, east, north = frame
    size = east - west
    style: dict[str, Any] = {"fontsize": 8.5, "color": INK_COLOUR, "annotation_clip": False}
    for side in sides:
        coordinate, edge, offset, across, down = {
            "l": (0, west, (-4, 0), "right", "center"),
            "r": (0, east, (4, 0), "left", "center"),
            "b": (1, south, (0, -4), "center", "top"),
            "t": (1, north, (0, 4), "center", "bottom"),
        }[side]
        for end in np.concatenate(
            [shapely.get_coordinates(part)[[0, -1]] for part in shapely.get_parts(line)]
        ):
            near = any(np.hypot(*np.subtract(end, place)) <= size / 14 for place in taken)
            if abs(end[coordinate] - edge) < size / 1000 and not near:
                axis.annotate(text, end, offset, textcoords="offset points", ha=across, va=down, **style)
                taken.append(tuple(end))
                return
    if line.within(shapely.box(*frame).buffer(-size / 1000)):  # a circle around the pole
        middle = line.interpolate(0.5, normalized=True)
        looks = {"pad": 1, "facecolor": OCEAN_COLOUR, "edgecolor": "none"}
        axis.text(
            middle.x,
            middle.y,
            text,
            ha="center",
            va="center",
            fontsize=8,
            color=INK_COLOUR,
            bbox=looks,
            zorder=3,
        )


def scale_factor(crs: str, frame: Frame) -> float:
    """Return the map's metres that a metre on the Earth is, in a frame's middle.

    Polar stereographic maps are true at one parallel only.
    """
    import pyproj

    west, south, east, north = frame
    lon, lat = scenes.projector(crs, inverse=True)((west + east) / 2, (south + north) / 2)
    # At the pole itself the scale has no direction.
    return pyproj.Proj(crs).get_factors(lon, np.clip(lat, -89.99, 89.99)).parallel_scale


def scale_bar(crs: str, frame: Frame) -> tuple[float, float]:
    """Choose a scale bar for a frame: its kilometres, and its length on the map in metres."""
    metres = 1000 * scale_factor(crs, frame)
    steps = [base * 10**power for power in range(-2, 4) for base in (1, 2, 5)]
    length = max((step for step in steps if step * metres <= (frame[2] - frame[0]) / 4), default=steps[0])
    return length, length * metres


def _scale(axis: Axes, crs: str, frame: Frame) -> None:
    west, south, east, _ = frame
    x, y = west + 0.04 * (east - west), south + 0.04 * (east - west)
    length, width = scale_bar(crs, frame)
    bar, halo = (
        [patheffects.withStroke(linewidth=line, foreground="white", alpha=0.85)] for line in (4.5, 3)
    )  # there may be an image below
    style: dict[str, Any] = {"color": INK_COLOUR, "zorder": 7}
    axis.plot([x, x + width], [y, y], linewidth=2.2, solid_capstyle="butt", path_effects=bar, **style)
    style |= {"fontsize": 8.5, "path_effects": halo, "ha": "center", "va": "bottom"}
    axis.annotate(f"{length:g} km", (x + width / 2, y), (0, 3), textcoords="offset points", **style)
