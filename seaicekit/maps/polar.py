"""Draw a place on a polar map, with the coast and the lines of longitude and latitude."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from seaicekit import scenes

if TYPE_CHECKING:
    import matplotlib.axes
    import shapely

    Frame = tuple[float, float, float, float]

LAND_COLOUR, OCEAN_COLOUR, LINE_COLOUR, INK_COLOUR = "#e9e6df", "#f5f9fb", "#b9c6cf", "#4a5963"
FINE = (0.01, 0.02, 0.05, 0.1, 0.2)  # degrees between the lines of a map of a few kilometres
SMALLEST = 250_000  # metres that a map shows at least, so that there is a coast or a line to hold on to


def is_polar(crs: str) -> bool:
    """Say whether a CRS is a known polar stereographic one."""
    import pyproj

    try:
        return "Polar Stereographic" in getattr(pyproj.CRS(crs).coordinate_operation, "method_name", "")
    except (pyproj.exceptions.CRSError, AttributeError):  # unknown, or not projected
        return False


def polar_ocean(crs: str) -> shapely.Geometry:
    """Return the seas around a pole in degrees, each corner where it lies on the polar map of ``crs``.

    It is to be drawn on that map, where the corners' straight lines are the coast; in degrees it is no
    polygon, for it goes around the pole.
    """
    import shapely

    return shapely.transform(
        _ocean(crs).simplify(500), scenes.projector(crs, inverse=True), interleaved=False
    )


def graticule(crs: str, frame: Frame) -> list[tuple[str, np.ndarray]]:
    """Return the meridians and parallels that cross a frame in metres.

    Their degrees in words, and (n, 2) degrees.
    """
    import shapely

    back = scenes.projector(crs, inverse=True)
    return [
        (text, np.column_stack(back(*shapely.get_coordinates(piece).T)))
        for text, line, _ in _graticule(crs, frame)
        for piece in getattr(line, "geoms", [line])
    ]


def map_frame(bounds: Frame) -> Frame:
    """Return a square around bounds in metres, with some air."""
    west, south, east, north = bounds
    half = max(SMALLEST, 1.35 * (east - west), 1.35 * (north - south)) / 2
    x, y = (west + east) / 2, (south + north) / 2
    return x - half, y - half, x + half, y + half


def draw_polar_map(axis: matplotlib.axes.Axes, crs: str, frame: Frame, lines: int = 7) -> None:
    """Draw the empty map of a frame in metres: land, meridians and parallels (``lines`` at most), a scale."""
    west, south, east, north = frame
    axis.set(
        xlim=(west, east), ylim=(south, north), xticks=[], yticks=[], facecolor=LAND_COLOUR, aspect="equal"
    )
    axis.spines[:].set_color(LINE_COLOUR)
    draw_polygon(axis, _ocean(crs), facecolor=OCEAN_COLOUR, edgecolor="#8fa3b0", linewidth=0.7, zorder=1)
    taken: list[tuple[float, float]] = []
    for text, line, sides in _graticule(crs, frame, lines):
        for piece in getattr(line, "geoms", [line]):
            axis.plot(*piece.xy, color=LINE_COLOUR, linewidth=0.6, zorder=2)
        _label(axis, text, line, sides, frame, taken)
    _scale(axis, crs, frame)


def draw_locator(axis: matplotlib.axes.Axes, crs: str, frame: Frame) -> None:
    """Draw a small map of the whole polar region, with the frame of the large one."""
    import shapely

    edge = scenes.projector(crs)(
        np.linspace(-180, 180, 181), np.full(181, 50.0 if scenes.is_north(crs) else -50.0)
    )
    disc = shapely.Polygon(np.column_stack(edge))
    draw_polygon(axis, disc, facecolor=LAND_COLOUR, edgecolor=LINE_COLOUR, linewidth=0.6)
    draw_polygon(
        axis, _ocean(crs).intersection(disc), facecolor=OCEAN_COLOUR, edgecolor="#8fa3b0", linewidth=0.4
    )
    draw_polygon(
        axis, shapely.box(*frame).intersection(disc), facecolor="none", edgecolor="#d1642a", linewidth=1.4
    )
    west, south, east, north = disc.buffer(1e5).bounds
    axis.set(xlim=(west, east), ylim=(south, north), aspect="equal")
    axis.set_axis_off()


def draw_polygon(axis: matplotlib.axes.Axes, shape: shapely.Geometry, **style: Any) -> None:
    """Draw a polygon or multi-polygon with its holes."""
    import shapely
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    rings = [shapely.get_coordinates(ring) for ring in shapely.get_rings(shapely.get_parts(shape))]
    if rings:
        axis.add_patch(
            PathPatch(Path.make_compound_path(*(Path(ring, closed=True) for ring in rings)), **style)
        )


@functools.lru_cache(maxsize=2)
def _ocean(crs: str) -> shapely.Geometry:
    """Return the hemisphere's seas, at 1:110 million (Natural Earth, in the public domain)."""
    import shapely
    from odc.geo.data import ocean_geojson

    half = shapely.box(-180, 20, 180, 90) if scenes.is_north(crs) else shapely.box(-180, -90, 180, -20)
    seas = [shapely.geometry.shape(feature["geometry"]) for feature in ocean_geojson()["features"]]
    seas = shapely.intersection(seas, half)
    drawn = shapely.transform(shapely.segmentize(seas, 1), scenes.projector(crs), interleaved=False)
    # The seam at 180° closes where its two edges are moved onto one another.
    return shapely.union_all([shapely.buffer(sea, 1000, join_style="mitre") for sea in drawn])


def _graticule(crs: str, frame: Frame, most: int = 7) -> list[tuple[str, shapely.Geometry, str]]:
    """Return the lines that cross a frame.

    Text, line, and the sides (l, r, b, t) where the text goes best.
    """
    import shapely

    box, to, back = shapely.box(*frame), scenes.projector(crs), scenes.projector(crs, inverse=True)
    lon, lat = back(*shapely.get_coordinates(box.segmentize((frame[2] - frame[0]) / 50)).T)
    pole = 90.0 if scenes.is_north(crs) else -90.0
    lon = np.unwrap(lon, period=360)
    if box.contains(shapely.Point(0, 0)):
        lon, lat = np.array([-180.0, 179.9]), np.append(lat, pole)
    lines = []
    step = _step(np.ptp(lat), most, (*FINE, 0.5, 1, 2, 5, 10))
    for value in np.arange(np.ceil(lat.min() / step), np.floor(lat.max() / step) + 1) * step:
        if abs(value) < 90:
            line = shapely.LineString(
                np.column_stack(to(np.linspace(lon.min(), lon.max(), 800), np.full(800, value)))
            )
            lines.append((f"{abs(value):g}° {'N' if value > 0 else 'S'}", line.intersection(box), "lrbt"))
    far = np.sign(pole) * (90 - step)  # meridians end before they run into one another at the pole
    near = lat[np.argmin(np.abs(lat))]
    step = _step(np.ptp(lon), most, (*FINE, 0.5, 1, 2, 5, 10, 15, 30))
    for value in np.arange(np.ceil(lon.min() / step), np.floor(lon.max() / step) + 1) * step:
        line = shapely.LineString(np.column_stack(to(np.full(400, value), np.linspace(near, far, 400))))
        value = (value + 180) % 360 - 180
        text = f"{abs(value):g}°" + ("" if value in (0, -180) else " E" if value > 0 else " W")
        lines.append((text, line.intersection(box), "btlr"))
    return [line for line in lines if not line[1].is_empty]


def _step(span: float, most: int, steps: tuple) -> float:
    return next((step for step in steps if span / step <= most), steps[-1])


def _label(
    axis: matplotlib.axes.Axes,
    text: str,
    line: shapely.Geometry,
    sides: str,
    frame: Frame,
    taken: list[tuple[float, float]],
) -> None:
    """Write a line's degrees once, outside the frame where the line leaves it, unless something is there."""
    import shapely

    west, south, east, north = frame
    size = east - west
    looks = {
        "l": (-4, 0, "right", "center"),
        "r": (4, 0, "left", "center"),
        "b": (0, -4, "center", "top"),
        "t": (0, 4, "center", "bottom"),
    }
    pieces = getattr(line, "geoms", [line])
    ends = [end for piece in pieces for end in shapely.get_coordinates(piece)[[0, -1]]]
    for side in sides:
        for x, y in ends:
            outside = {"l": x - west, "r": x - east, "b": y - south, "t": y - north}[side]
            if abs(outside) < size / 1000 and all(np.hypot(x - a, y - b) > size / 14 for a, b in taken):
                dx, dy, across, down = looks[side]
                axis.annotate(
                    text,
                    (x, y),
                    (dx, dy),
                    textcoords="offset points",
                    ha=across,
                    va=down,
                    fontsize=8.5,
                    color=INK_COLOUR,
                    annotation_clip=False,
                )
                taken.append((x, y))
                return
    if line.within(shapely.box(*frame).buffer(-size / 1000)):  # a circle around the pole
        axis.annotate(
            text,
            line.interpolate(0.5, normalized=True).coords[0],
            ha="center",
            va="center",
            fontsize=8,
            color=INK_COLOUR,
            bbox={"pad": 1, "facecolor": OCEAN_COLOUR, "edgecolor": "none"},
            zorder=3,
        )


def scale_bar(crs: str, frame: Frame) -> tuple[float, float]:
    """Choose a scale bar for a frame.

    Its kilometres, and the metres on the map that these are in its middle.
    """
    import pyproj

    west, south, east, north = frame
    lon, lat = scenes.projector(crs, inverse=True)((west + east) / 2, (south + north) / 2)
    # Polar stereographic maps are true at one parallel only; at the pole the scale has no direction.
    factor = pyproj.Proj(crs).get_factors(lon, np.clip(lat, -89.99, 89.99)).parallel_scale
    steps = [base * 10**power for power in range(-2, 4) for base in (1, 2, 5)]
    length = max((step for step in steps if step * 1000 * factor <= (east - west) / 4), default=steps[0])
    return length, length * 1000 * factor


def _scale(axis: matplotlib.axes.Axes, crs: str, frame: Frame) -> None:
    from matplotlib import patheffects

    west, south, east, _ = frame
    size = east - west
    length, drawn = scale_bar(crs, frame)
    x, y = west + 0.04 * size, south + 0.04 * size
    halo = [
        patheffects.withStroke(linewidth=3, foreground="white", alpha=0.85)
    ]  # there may be an image below
    axis.plot(
        [x, x + drawn],
        [y, y],
        color=INK_COLOUR,
        linewidth=2.2,
        solid_capstyle="butt",
        zorder=7,
        path_effects=[patheffects.withStroke(linewidth=4.5, foreground="white", alpha=0.85)],
    )
    axis.annotate(
        f"{length:g} km",
        (x + drawn / 2, y),
        (0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=8.5,
        color=INK_COLOUR,
        zorder=7,
        path_effects=halo,
    )
