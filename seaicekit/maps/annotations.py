"""What is written on a map: its legend with areas, its points, places, and whose the data are."""

from __future__ import annotations

import contextlib
import html
import os
from collections.abc import Sequence
from typing import NamedTuple

from seaicekit import thresholds
from seaicekit.classes import concentration
from seaicekit.files import InputError
from seaicekit.maps.layers import LEAST, MOST, Layer

MARK_COLOUR = "#d1642a"
BOX = "display:inline-block;width:1em;height:1em;border:1px solid #7b8a94;vertical-align:-2px;background:"
NUMBER = 'style="text-align:right;padding:1px 0 1px 12px;font-variant-numeric:tabular-nums"'


class MapPoint(NamedTuple):
    """A labelled point: its place in degrees, its class's colour, and its properties as text."""

    longitude: float
    latitude: float
    colour: str
    text: str


class ClassAreas(NamedTuple):
    """A class raster's areas by code, in km² on the ellipsoid, and its ice concentration, 0 to 1 or None."""

    layer: Layer
    areas: dict[int, float]
    ice: float | None


def measure(layers: Sequence[Layer]) -> list[ClassAreas]:
    """Measure the classes of all class rasters among the layers."""
    measured = []
    for layer in layers:
        if layer.kind == "classes":
            areas = thresholds.square_kilometres(layer.file, layer.legend)
            measured.append(ClassAreas(layer, areas, concentration(areas, layer.legend)))
    return measured


def format_area(area: float) -> str:
    """Write an area in three figures, or in whole square kilometres."""
    return f"{area:,.0f}" if area >= 100 else f"{area:.3g}"


def format_share(share: float | None) -> str:
    """Write a share in per cent."""
    return "–" if share is None else f"{100 * share:.1f} %"


def format_place(longitude: float, latitude: float) -> str:
    """Write a place in degrees."""
    longitude = (longitude + 180) % 360 - 180
    sides = "S" if latitude < 0 else "N", "W" if longitude < 0 else "E"
    return f"{abs(latitude):.4f}° {sides[0]}, {abs(longitude):.4f}° {sides[1]}"


def legend_html(layers: Sequence[Layer]) -> str:
    """Return the legend: each class with its area in each class raster, ice concentration, confidence."""
    measured = measure(layers)
    rows = [["area, km²", *(html.escape(each.layer.name) for each in measured)]]
    for entry in dict.fromkeys(entry for each in measured for entry in each.layer.legend):
        areas = [
            format_area(each.areas[entry.code]) if entry in each.layer.legend else "–" for each in measured
        ]
        rows.append([f'<span style="{BOX}{entry.colour}"></span> {html.escape(entry.name)}', *areas])
    if any(each.ice is not None for each in measured):
        rows.append(["ice concentration", *(format_share(each.ice) for each in measured)])
    lines = [f"<td>{row[0]}</td>" + "".join(f"<td {NUMBER}>{cell}</td>" for cell in row[1:]) for row in rows]
    table = f"<table style='line-height:1.35'><tr>{'</tr><tr>'.join(lines)}</tr></table>" if measured else ""
    return table + "".join(_colour_bar(layer) for layer in layers if layer.kind == "confidence")


def _colour_bar(layer: Layer) -> str:
    stops = ",".join("#" + bytes(layer.palette[value]).hex() for value in range(LEAST, MOST + 1, 6))
    return (
        f'<div style="margin-top:5px">{html.escape(layer.name)}, %<div style="height:10px;'
        f'background:linear-gradient(90deg,{stops})"></div><div style="display:flex;'
        f'justify-content:space-between"><span>{LEAST}</span><span>{MOST}</span></div></div>'
    )


def load_points(path: str | os.PathLike | None, layers: Sequence[Layer]) -> list[MapPoint]:
    """Read labelled points from GeoJSON; those of scenes without a CRS have no place and are left out.

    The property ``class`` or ``code`` gives a point its colour, by the layers' legends.

    Raises
    ------
    InputError
        The file is no GeoJSON.
    """
    legend = [entry for layer in layers for entry in layer.legend]
    colours: dict[object, str] = {key: entry.colour for entry in legend for key in (entry.code, entry.name)}
    points = []
    for feature in thresholds.parse_geojson(path)[1] if path is not None else []:
        with contextlib.suppress(InputError):
            place = thresholds.point_coordinates(feature)
            known = thresholds.get_object(feature, "properties").items()
            properties = {key: value for key, value in known if isinstance(value, str | int | float)}
            keys = [properties.get(key) for key in ("class", "code")]
            colour = next((colours[key] for key in keys if key in colours), MARK_COLOUR)
            text = ", ".join(f"{key}: {value}" for key, value in properties.items())
            points.append(MapPoint(*place, colour, text))
    return points


def attribution(layers: Sequence[Layer]) -> str:
    """Name the sources of the scenes, as far as their paths show them, and of the coast."""
    paths = " ".join(layer.path.upper() for layer in layers)
    marks = ("S2A_", "S2B_", "S2C_", "SENTINEL-2", "MSIL1C", "MSIL2A")
    scene = "contains Copernicus Sentinel data; " if any(mark in paths for mark in marks) else ""
    return f"{scene}Coast: Natural Earth; map: seaicekit"
