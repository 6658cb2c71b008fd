"""The two polar stereographic projections, one for each hemisphere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import shapely


def polar_crs(latitude: float) -> str:
    """Return the polar stereographic CRS, in metres, of a latitude's hemisphere."""
    return "EPSG:3413" if latitude >= 0 else "EPSG:3031"


def is_north(crs: str) -> bool:
    """Say whether a CRS is made for the north."""
    import pyproj

    area = pyproj.CRS(crs).area_of_use
    return area is not None and area.north > 0


def footprint_on_map(geometry: dict, crs: str) -> shapely.Geometry:
    """Project a footprint onto a polar map.

    Parameters
    ----------
    geometry : dict
        GeoJSON polygon or multi-polygon in degrees. It may be split at 180°, jump across it, or hold a pole.
    crs : str
        As from `polar_crs`.

    Returns
    -------
    shapely.Geometry
        In metres of ``crs``, whole where it crosses 180°: on that map 180° is a line like any other.
    """
    import shapely

    shape = shapely.geometry.shape(geometry)
    parts = []
    for part in getattr(shape, "geoms", [shape]):
        if np.abs(np.diff(shapely.get_coordinates(part.exterior)[:, 0])).max() <= 180:
            part = part.segmentize(0.5)  # an edge that jumps would be cut the long way round
        # The buffer mends the seam of a ring around the pole.
        parts.append(shapely.transform(shapely.force_2d(part), projector(crs), interleaved=False).buffer(0))
    # To 1 m, because the halves at 180° touch but for rounding.
    return shapely.union_all(shapely.set_precision(parts, 1))


def projector(crs: str, inverse: bool = False) -> Callable:
    """Return what turns longitudes and latitudes to metres of ``crs``, or back."""
    import pyproj

    ends = ("EPSG:4326", crs)
    return pyproj.Transformer.from_crs(*(ends[::-1] if inverse else ends), always_xy=True).transform
