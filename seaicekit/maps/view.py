"""Maps to move about in, in a notebook."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from seaicekit.files import require
from seaicekit.maps.layers import MERCATOR, Layer, chosen_crs, extent, load
from seaicekit.maps.server import HALF, grid

if TYPE_CHECKING:
    from seaicekit.maps.widget import IceMap
    from seaicekit.maps.words import Points


def interactive(
    layers: Mapping[str, str | os.PathLike] | str | os.PathLike,
    crs: str | None = None,
    points: Points | None = None,
    height: str = "600px",
    basemap: bool = True,
) -> IceMap:
    """Show rasters on a leafmap map: each with its opacity, two to swipe between, what is where you click.

    Parameters
    ----------
    layers : dict of name → path, or a path
        Bottom to top. A class raster is shown in its own colours; a confidence raster on a scale of its own,
        once it is switched on; all else is a scene, and may be whatever `seaicekit.open_scene` opens.
    crs : str, optional
        EPSG:3413 or EPSG:3031, chosen by where the rasters are, and EPSG:3857, Web Mercator, if they
        lie beyond the edge of these.
    points : path or dict, optional
        GeoJSON points in degrees; the property ``class`` or ``code`` gives their colour.
    height : str
        CSS height of the map.
    basemap : bool
        Whether to look for a basemap in the internet; where there is none, coast and degrees stand alone.

    Returns
    -------
    leafmap.Map
        With ``save_html(path)`` and ``save_png(path)`` that keep what it shows.

    Raises
    ------
    InputError
        A raster that cannot be read or has no CRS (`panels` shows it all the same), rasters in two
        hemispheres, another CRS.
    """
    require("lab", "an interactive map", "leafmap", "ipyleaflet", "server_thread", "jupyter_server")
    opened = load(layers)
    crs = _tiled_crs(opened, crs)
    grid(crs)
    from seaicekit.maps.widget import IceMap

    return IceMap(opened, crs, points, height, basemap)


def _tiled_crs(layers: list[Layer], crs: str | None) -> str:
    chosen = chosen_crs(layers, crs)
    beyond = chosen != MERCATOR and max(map(abs, extent(layers, chosen))) > HALF
    return MERCATOR if beyond and crs is None else chosen
