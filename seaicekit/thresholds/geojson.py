"""GeoJSON of points, as any program writes it, and the places of a scene's pixels on Earth."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from seaicekit.files import InputError, as_path

FORMAT = "seaicekit-points-1"
LONLAT = "OGC:CRS84"
CRS_MEMBER = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
DECIMALS = 9  # of a degree: a tenth of a millimetre
SNAP = 1e-4  # of a pixel


class Grid:
    """The places of a scene's pixels on Earth.

    ``on_map`` is False where the scene has no CRS that is tied to the Earth.
    """

    def __init__(self, reader: Any):
        import pyproj

        self.shape, self._affine, self.on_map = reader.shape, reader.transform, False
        if reader.crs and math.isfinite(1 / (reader.transform.determinant or math.nan)):
            with suppress(pyproj.exceptions.ProjError):  # a CRS that is tied to no place on Earth
                crs = pyproj.CRS(reader.crs)
                self._out = pyproj.Transformer.from_crs(crs, LONLAT, always_xy=True).transform
                self._in = pyproj.Transformer.from_crs(LONLAT, crs, always_xy=True).transform
                # A grid in degrees may go on beyond 180.
                self._turns = (0, 360, -360) if crs.is_geographic else (0,)
                self.on_map = True

    def holds(self, row: int, col: int) -> bool:
        """Return whether there is such a pixel."""
        return 0 <= row < self.shape[0] and 0 <= col < self.shape[1]

    def lonlat(self, row: int, col: int) -> tuple[float, float] | None:
        """Return longitude and latitude of a pixel's centre, degrees; None where it has none."""
        lon, lat = (
            self._out(*(self._affine @ (col + 0.5, row + 0.5))) if self.on_map else (math.inf, math.inf)
        )
        return (_turned(round(lon, DECIMALS)), round(lat, DECIMALS)) if math.isfinite(lon + lat) else None

    def _cells(self, lon: float, lat: float) -> Iterator[tuple[float, float]]:
        x, y = self._in(lon, lat) if self.on_map else (math.inf, math.inf)
        if math.isfinite(x + y):
            for turn in self._turns:
                col, row = ~self._affine @ (x + turn, y)
                if math.isfinite(row + col):
                    yield row, col

    def at(self, lon: float, lat: float) -> tuple[int, int] | None:
        """Return the pixel that holds a place, or None."""
        # The upper left corner belongs to the pixel, also after rounding.
        cells = ((math.floor(row + SNAP), math.floor(col + SNAP)) for row, col in self._cells(lon, lat))
        return next((cell for cell in cells if self.holds(*cell)), None)

    def agrees(self, row: int, col: int, lon: float, lat: float) -> bool:
        """Return whether a place is within a pixel of a pixel's centre."""
        if np.allclose(self.lonlat(row, col) or math.inf, (lon, lat), rtol=0, atol=10**-DECIMALS):
            return True  # as saved, also where a projection has no inverse, as beyond its edge
        return any(max(abs(r - row - 0.5), abs(c - col - 0.5)) <= 1 for r, c in self._cells(lon, lat))


def as_text(feature: dict) -> str:
    """Return a feature as text for a file."""
    return json.dumps(feature, allow_nan=False)  # ASCII, so that any text that was read can be written


def _turned(lon: float) -> float:
    return lon if -180 <= lon <= 180 else round((lon + 180) % 360 - 180, DECIMALS)


def plain_name(name: Any) -> str:
    """Return the name of a class in the form in which names are compared: "thin ice" for "Thin_Ice"."""
    return " ".join(str(name).casefold().replace("_", " ").replace("-", " ").split())


def get_object(value: dict, key: str) -> dict:
    """Return a member that is an object, or an empty object."""
    return value[key] if isinstance(value.get(key), dict) else {}


def extra_members(feature: dict) -> dict:
    """Return the members and properties of a feature that are not the point's own."""
    own = {"scene", "row", "col", "code", "class"}
    properties = {key: value for key, value in get_object(feature, "properties").items() if key not in own}
    extra = {k: v for k, v in feature.items() if k not in ("type", "geometry", "bbox", "properties")}
    return extra | ({"properties": properties} if properties else {})


def as_integer(value: Any) -> int | None:
    """Return a whole number, also of the forms 2.0 and "2"; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    with suppress(ValueError, OverflowError):
        return int(value) if not isinstance(value, float) or value.is_integer() else None
    return None


def point_coordinates(feature: dict) -> tuple[float, float]:
    """Return longitude and latitude of a feature that is one point.

    Raises
    ------
    InputError
        It is not one point, or has no longitude and latitude.
    """
    geometry = get_object(feature, "geometry")
    at: Any = geometry.get("coordinates")
    if geometry.get("type") == "MultiPoint" and isinstance(at, list | tuple) and len(at) == 1:
        at = at[0]  # some programs write single points so
    elif geometry.get("type") != "Point":
        raise InputError("not a single point")
    if (
        not isinstance(at, list | tuple)
        or len(at) < 2
        or any(isinstance(each, bool) or not isinstance(each, int | float) for each in at[:2])
        or abs(at[0]) > 360
        or abs(at[1]) > 90
    ):
        raise InputError("not at longitude and latitude, in this order")
    return _turned(at[0]), at[1]


def parse_geojson(path: str | os.PathLike) -> tuple[bytes, list[dict]]:
    """Read a GeoJSON file; return its bytes, and its features in longitude and latitude."""
    import pyproj

    try:
        content = as_path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        value = json.loads(content.decode("utf-8-sig"), parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error})") from error
    features = value.get("features") if isinstance(value, dict) else None
    if not isinstance(features, list) or not all(isinstance(each, dict) for each in features):
        raise InputError(f"{path}: not a GeoJSON FeatureCollection")
    if str(value.get("format", FORMAT)).startswith("seaicekit-") and value.get("format", FORMAT) != FORMAT:
        raise InputError(f"{path}: of another version ({value['format']}, not {FORMAT})")
    if (crs := value.get("crs")) is None:
        return content, features
    try:
        crs = pyproj.CRS(get_object(crs, "properties")["name"] if isinstance(crs, dict) else crs)
        if crs.equals(LONLAT, ignore_axis_order=True):
            return content, features
        transform = pyproj.Transformer.from_crs(crs, LONLAT, always_xy=True).transform
    except (pyproj.exceptions.ProjError, KeyError, TypeError) as error:
        raise InputError(f"{path}: its CRS is unknown ({json.dumps(value['crs'])})") from error
    return content, [_to_lonlat(feature, transform) for feature in features]


def _finite(text: str) -> float | None:
    return value if math.isfinite(value := float(text)) else None


def _to_lonlat(feature: dict, transform: Callable) -> dict:
    """Return a feature with its geometry in longitude and latitude, or unchanged where that fails."""
    import shapely

    feature = {key: value for key, value in feature.items() if key != "bbox"}
    try:
        geometry = shapely.geometry.shape(feature["geometry"])
        moved = shapely.transform(geometry, transform, include_z=geometry.has_z, interleaved=False)
    except (shapely.errors.ShapelyError, AttributeError, LookupError, TypeError, ValueError):
        return feature
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        return feature
    return feature | {"geometry": shapely.geometry.mapping(moved)}
