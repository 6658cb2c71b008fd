"""True areas of classes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence

import numpy as np

from seaicekit import scenes
from seaicekit.classes import NODATA, SeaIceClass

GRID = 32  # cells a side whose areas are computed one by one


def square_kilometres(
    path: str | os.PathLike,
    legend: Sequence[SeaIceClass],
    hidden: Callable[[slice], np.ndarray] | None = None,
) -> dict[int, float]:
    """Measure a class raster that has a CRS: code → km² on the ellipsoid, of each class in the legend.

    A map's square metres are not the Earth's: at 60° a pixel in EPSG:3413 is 8 % too large, in Web Mercator
    four times. So the raster is cut into cells, and each cell's true area shared by its pixels.

    Parameters
    ----------
    path : path
    legend : sequence of SeaIceClass
    hidden : callable, optional
        Some rows → which of their pixels do not count, (rows, columns) bool.
    """
    import pyproj
    import rasterio.warp
    import shapely

    geod, square = pyproj.Geod(ellps="WGS84"), {entry.code: 0.0 for entry in legend}
    with scenes.open_raster(path) as source:
        rows, cols = (
            np.unique(np.linspace(0, side, min(GRID, side) + 1).round().astype(int)).tolist()
            for side in source.shape
        )
        cells = [(*down, *across) for down in itertools.pairwise(rows) for across in itertools.pairwise(cols)]
        # An edge that is straight on the map is bent on the Earth, so it gets points on its way.
        edges = [
            np.array(
                shapely.box(left, top, right, bottom)
                .segmentize(max(right - left, bottom - top) / 4)
                .exterior.xy
            )
            for top, bottom, left, right in cells
        ]
        x, y = source.transform @ np.concatenate(edges, axis=1)
        there = np.array(rasterio.warp.transform(source.crs, "EPSG:4326", x, y))
        ends = np.cumsum([edge.shape[1] for edge in edges])[:-1]
        areas = (geod.polygon_area_perimeter(lon, lat)[0] for lon, lat in np.split(there, ends, axis=1))
        for top, bottom in itertools.pairwise(rows):
            codes = source.read(1, window=((top, bottom), (0, source.width)))
            if hidden:
                codes[hidden(slice(top, bottom))] = NODATA
            for left, right in itertools.pairwise(cols):
                counts = np.bincount(codes[:, left:right].ravel(), minlength=256)
                pixel = abs(next(areas)) / ((bottom - top) * (right - left) * 1e6)
                for code in square:
                    square[code] += float(counts[code] * pixel)
    return square
