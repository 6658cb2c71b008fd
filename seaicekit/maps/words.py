"""What stands beside a map: its legend with areas, its points, who made what it shows."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from seaicekit import thresholds
from seaicekit.files import InputError
from seaicekit.maps.layers import LEAST, MOST, Layer, areas, concentration

if TYPE_CHECKING:
    Points = str | os.PathLike | dict

COAST = "Coast: Natural Earth"
POINT = "#d1642a"


def swatch(colour: str) -> str:
    """Return a small box of a colour, as HTML."""
    return (
        f'<span style="display:inline-block;width:1em;height:1em;background:{colour};'
        'border:1px solid #7b8a94;vertical-align:-2px"></span>'
    )


def square_km(value: float) -> str:
    """Write an area for people: three figures, or whole square kilometres."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def measured(layers: Sequence[Layer]) -> dict[str, dict[int, float]]:
    """Return the areas of all class rasters, by their names."""
    return {layer.name: areas(layer) for layer in layers if layer.kind == "classes"}


def table(layers: Sequence[Layer], measures: dict[str, dict[int, float]]) -> str:
    """Return the legend as HTML.

    Each class with its area in each class raster, ice concentration, confidence.
    """
    rasters = [layer for layer in layers if layer.kind == "classes"]
    entries = {entry: None for layer in rasters for entry in layer.legend}
    cell = 'style="text-align:right;padding:1px 0 1px 12px;font-variant-numeric:tabular-nums"'
    rows = []
    if rasters:
        heads = "".join(f"<th {cell}>{html.escape(layer.name)}</th>" for layer in rasters)
        rows.append(f'<tr><th style="text-align:left">area, km²</th>{heads}</tr>')
    for entry in entries:
        numbers = [measures[layer.name][entry.code] if entry in layer.legend else None for layer in rasters]
        cells = "".join(f"<td {cell}>{'–' if n is None else square_km(n)}</td>" for n in numbers)
        rows.append(f"<tr><td>{swatch(entry.colour)} {html.escape(entry.name)}</td>{cells}</tr>")
    shares = [concentration(layer, measures[layer.name]) for layer in rasters]
    if any(share is not None for share in shares):
        cells = "".join(
            f"<td {cell}>{'–' if share is None else f'{100 * share:.1f} %'}</td>" for share in shares
        )
        rows.append(f'<tr style="border-top:1px solid #b9c6cf"><td>ice concentration</td>{cells}</tr>')
    said = f'<table style="border-collapse:collapse;line-height:1.35">{"".join(rows)}</table>' if rows else ""
    scale = next((layer for layer in layers if layer.kind == "confidence"), None)
    if scale:
        stops = ",".join(
            "#{:02x}{:02x}{:02x}".format(*scale.palette[value]) for value in range(LEAST, MOST + 1, 6)
        )
        said += (
            f'<div style="margin-top:5px">{html.escape(scale.name)}, %<div style="height:10px;'
            f'background:linear-gradient(90deg,{stops})"></div><div style="display:flex;'
            f'justify-content:space-between"><span>{LEAST}</span><span>{MOST}</span></div></div>'
        )
    return said


def load_points(points: Points, layers: Sequence[Layer]) -> list[dict]:
    """Read labelled points: GeoJSON in degrees, from a file or as it is.

    Returns
    -------
    list of dict
        ``longitude``, ``latitude``, ``colour`` (of the class that the properties ``class`` or ``code`` name),
        and ``text``, what its properties say.

    Raises
    ------
    InputError
        It is no GeoJSON.
    """
    if isinstance(points, str | os.PathLike):
        features: Any = thresholds.parse_geojson(points)[1]  # in degrees, whatever the file's CRS
    else:
        features = getattr(points, "__geo_interface__", points).get("features")
    if not isinstance(features, list) or not all(isinstance(feature, dict) for feature in features):
        raise InputError("points: no GeoJSON FeatureCollection; give one, in degrees")
    colours: dict[Any, str] = {
        key: entry.colour for layer in layers for entry in layer.legend for key in (entry.code, entry.name)
    }
    found = []
    for feature in features:
        try:
            longitude, latitude = thresholds.point_coordinates(feature)
        except InputError:
            continue  # not on the map, as those of a scene without a CRS
        told = thresholds.get_object(feature, "properties").items()
        own = {key: value for key, value in told if isinstance(value, str | int | float)}
        colour = next((colours[own[key]] for key in ("class", "code") if own.get(key) in colours), POINT)
        text = ", ".join(f"{key}: {value}" for key, value in own.items())
        found.append({"longitude": longitude, "latitude": latitude, "colour": colour, "text": text})
    return found


def place(longitude: float, latitude: float) -> str:
    """Write a place in degrees."""
    longitude = (longitude + 180) % 360 - 180
    return f"{abs(latitude):.4f}° {'S' if latitude < 0 else 'N'}, {abs(longitude):.4f}° {'W' if longitude < 0 else 'E'}"


def attribution(layers: Sequence[Layer], credit: str = "") -> str:
    """Say whose the scenes are, as given or as far as their names tell it, and the coast."""
    paths = " ".join(layer.path.upper() for layer in layers)
    if not credit and any(
        mark in paths for mark in ("S2A_", "S2B_", "S2C_", "SENTINEL-2", "MSIL1C", "MSIL2A")
    ):
        credit = "contains Copernicus Sentinel data"
    return "; ".join([*([credit] if credit else []), COAST, "map: seaicekit"])
