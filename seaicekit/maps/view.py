"""Maps to move about in, in a notebook."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import rasterio.warp

from seaicekit import rasters
from seaicekit.classes import LEGEND
from seaicekit.files import InputError

if TYPE_CHECKING:
    import leafmap.leafmap


def interactive(layers: dict[str, str | os.PathLike], height: str = "600px") -> leafmap.leafmap.Map:
    """Show rasters on a leafmap map, each a layer with its opacity, and the legend.

    Parameters
    ----------
    layers : dict
        Name → path, bottom to top. Three-band rasters are shown as they are, class rasters in their colours.
    height : str
        CSS height of the map.

    Raises
    ------
    InputError
        A raster without a CRS, which has no place on a map; `panels` shows it all the same.
    """
    import leafmap.leafmap as leafmap

    for path in layers.values():
        with rasters.opened(path) as source:
            if not source.crs:
                raise InputError(f"{path}: has no CRS, so no place on a map; see it with seaicekit.maps.panels")
            west, _, east, _ = rasterio.warp.transform_bounds(source.crs, "EPSG:4326", *source.bounds)
    view = leafmap.Map(height=height, draw_control=False, measure_control=False)
    for name, path in layers.items():
        view.add_raster(str(path), layer_name=name, opacity=1.0)
    # At zoom z the world is 256 * 2^z pixels wide; the last raster is to be some 700 of them.
    view.zoom = int(np.log2(700 * 360 / (256 * ((east - west) % 360))))
    view.add_legend(title="Sea ice", legend_dict={entry.name: entry.colour for entry in LEGEND})
    view.add_layer_manager(position="topright", opened=True)
    return view
