"""True areas of classes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

import numpy as np

from seaicekit import rasters
from seaicekit.classes import SeaIceClass

GRID = 32  # cells a side whose areas are computed one by one


def square_kilometres(path: str | os.PathLike, legend: Sequence[SeaIceClass]) -> dict[int, float]:
    """Measure a class raster that has a CRS: code → km² on the ellipsoid, of each class in the legend.

    A map's square metres are not the Earth's: at 60° a pixel in EPSG:3413 is 8 % too large, in Web Mercator
    four times. So the raster is cut into cells, and each cell's true area shared by its pixels.
    """
    import pyproj
    import rasterio.warp
    import shapely

    geod, square = pyproj.Geod(ellps="WGS84"), {entry.code: 0.0 for entry in legend}
    with rasters.opened(path) as source:
        rows, cols = (
            np.unique(np.linspace(0, side, min(GRID, side) + 1).round().astype(int)).tolist() for side in source.shape
        )
        for top, bottom in itertools.pairwise(rows):
            strip = source.read(1, window=rasterio.windows.Window(0, top, source.width, bottom - top))
            for left, right in itertools.pairwise(cols):
                counts = np.bincount(strip[:, left:right].ravel(), minlength=256)
                # An edge that is straight on the map is bent on the Earth, so it gets points on its way.
                edge = shapely.box(left, top, right, bottom).segmentize(max(right - left, bottom - top) / 4)
                x, y = source.transform @ np.array(edge.exterior.xy)
                lon, lat = rasterio.warp.transform(source.crs, "EPSG:4326", x, y)
                pixel = abs(geod.polygon_area_perimeter(lon, lat)[0]) / ((bottom - top) * (right - left) * 1e6)
                for code in square:
                    square[code] += float(counts[code] * pixel)
    return square
