"""Maps to move about in, in a notebook."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from seaicekit.files import require
from seaicekit.maps.layers import map_crs, open_layers

if TYPE_CHECKING:
    from seaicekit.maps.layers import Paths
    from seaicekit.maps.widget import IceMap


def interactive(layers: Paths, points: str | os.PathLike | None = None, basemap: bool = True) -> IceMap:
    """Show rasters on a polar leafmap map: with their opacity, two to swipe between, and values on a click.

    The map is polar stereographic: EPSG:3413 or EPSG:3031, by where the rasters are.

    Parameters
    ----------
    layers : dict of name → path, or a path
        Bottom to top. A class raster is shown in its own colours; a confidence raster on a scale of its own,
        once it is switched on; all else is a scene, and may be whatever `seaicekit.open_scene` opens.
    points : path, optional
        GeoJSON points; the property ``class`` or ``code`` gives their colour.
    basemap : bool
        Whether to lay NASA's Blue Marble below, where the browser reaches the internet; elsewhere coast and
        degrees stand alone.

    Returns
    -------
    leafmap.Map
        With ``save_html(path)`` and ``save_png(path)`` that keep what it shows.

    Raises
    ------
    InputError
        A raster that cannot be read or has no CRS (`panels` shows it all the same), or rasters in two
        hemispheres.
    """
    require("lab", "an interactive map", "leafmap", "ipyleaflet", "server_thread", "jupyter_server")
    opened = open_layers(layers)
    crs = map_crs(opened)
    from seaicekit.maps.widget import IceMap  # leafmap takes seconds to import

    return IceMap(opened, crs, points, basemap)
