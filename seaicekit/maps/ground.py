"""What lies below and above the rasters of an interactive map: sea and land, degrees, a basemap."""

from __future__ import annotations

import contextlib
import functools
import threading
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from seaicekit import scenes
from seaicekit.maps import polar
from seaicekit.maps.layers import MERCATOR, Bounds

if TYPE_CHECKING:
    import ipyleaflet

RADIUS = 6378137  # metres, of Web Mercator's sphere


def projector(crs: str) -> Callable:
    """Return what turns longitudes and latitudes, arrays of degrees, to metres of the map."""
    if crs != MERCATOR:
        return scenes.projector(crs)
    # As it stands beyond 180° too, for what lies across it.
    return lambda lon, lat: (
        np.radians(lon) * RADIUS,
        np.arcsinh(np.tan(np.radians(np.clip(lat, -85, 85)))) * RADIUS,
    )


def seas(crs: str) -> list:
    """Return the seas as nested lists of (latitude, longitude): polygons, rings, points."""
    import shapely
    from odc.geo.data import ocean_geojson

    if crs == MERCATOR:
        shape = shapely.union_all(
            [shapely.geometry.shape(f["geometry"]) for f in ocean_geojson()["features"]]
        )
    else:
        shape = polar.polar_ocean(crs)
    return [
        [
            shapely.get_coordinates(ring)[:, ::-1].round(4).tolist()
            for ring in (part.exterior, *part.interiors)
        ]
        for part in shapely.get_parts(shape)
    ]


def degrees(crs: str, frame: Bounds) -> list[tuple[str, np.ndarray]]:
    """Return meridians and parallels around a frame in metres of the map: their text, and (n, 2) degrees."""
    west, south, east, north = frame
    x, y, half = (west + east) / 2, (south + north) / 2, 2 * max(east - west, north - south)
    frame = x - half, y - half, x + half, y + half
    if crs != MERCATOR:
        return polar.graticule(crs, frame)
    lon = np.degrees(np.array([frame[0], frame[2]]) / RADIUS)
    lat = np.degrees(np.arctan(np.sinh(np.array([frame[1], frame[3]]) / RADIUS)))
    lines = []
    for low, high, across, sides in ((*lon, lat, "EW"), (*lat, lon, "NS")):
        step = next((step for step in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10) if (high - low) / step <= 12), 30)
        for value in np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step:
            shown = (value + 180) % 360 - 180 if sides == "EW" else value
            text = f"{abs(shown):g}°" + (f" {sides[0] if shown > 0 else sides[1]}" if shown % 180 else "")
            ends = np.column_stack([np.full(65, value), np.linspace(across[0], across[1], 65)])
            lines.append((text, ends if sides == "EW" else ends[:, ::-1]))
    return lines


def basemap(crs: str) -> ipyleaflet.TileLayer | None:
    """Return a basemap, if its server answers within a second."""
    import ipyleaflet
    import xyzservices.providers as providers

    options: dict[str, Any] = {}
    if crs == MERCATOR:
        provider = providers.OpenStreetMap.Mapnik
    else:
        provider = providers.NASAGIBS[f"BlueMarble{crs[-4:]}"]
        # Tiles of 512 pixels, of which the first four meet at the pole, down to 512 m a pixel.
        options = {"tile_size": 512, "zoom_offset": -2, "min_zoom": 2, "max_native_zoom": 6}
    address = provider.build_url()
    if not _answers(address.format(z=0, x=0, y=0)):
        return None
    options |= {"max_zoom": 22, "attribution": provider.html_attribution, "name": "basemap"}
    return ipyleaflet.TileLayer(url=address, base=True, **options)


@functools.cache
def _answers(url: str) -> bool:
    answered: list[int] = []

    def ask() -> None:
        with contextlib.suppress(OSError, ValueError):
            asked = urllib.request.Request(url, headers={"User-Agent": "seaicekit"})
            with urllib.request.urlopen(asked, timeout=1) as answer:
                answered.append(answer.status)

    # To look up a server's name can take much longer than any timeout, so this does not wait for it.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(1.5)
    return answered == [200]
