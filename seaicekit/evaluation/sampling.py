"""Reference points beside a prediction: which pixel each is, and which class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from seaicekit import thresholds
from seaicekit.classes import NODATA
from seaicekit.evaluation.inputs import Layer
from seaicekit.files import InputError

if TYPE_CHECKING:
    from seaicekit.scenes import Raster


def is_points(reference: Any) -> bool:
    """Say whether a reference is a GeoJSON file of points, by the name's end."""
    return isinstance(reference, str | os.PathLike) and str(reference).lower().endswith((".geojson", ".json"))


def read_points(path: str | os.PathLike) -> list[dict]:
    """Read reference points, as `seaicekit.thresholds.ReferencePoints` writes them.

    Returns
    -------
    list of dict
        ``scene``, ``row``, ``col``, ``class`` (code, or else name), and ``lonlat``; None where a feature
        lacks one.

    Raises
    ------
    InputError
        Not GeoJSON, or a feature without a place or a class.
    """
    points = []
    for number, feature in enumerate(thresholds.parse_geojson(path)[1]):
        properties = thresholds.get_object(feature, "properties")
        row, col = (thresholds.as_integer(properties.get(name)) for name in ("row", "col"))
        point = {"scene": properties.get("scene"), "row": row, "col": col, "lonlat": None}
        point["class"] = properties.get("class") if properties.get("code") is None else properties["code"]
        try:
            if feature.get("geometry") is not None:
                point["lonlat"] = thresholds.point_coordinates(feature)
        except InputError as error:
            raise InputError(f"{path}: feature {number} is {error}; take it out") from None
        if point["class"] is None:
            raise InputError(f"{path}: feature {number} has neither code nor class; give it one")
        if point["lonlat"] is None and None in (row, col):
            raise InputError(
                f"{path}: feature {number} has no place, neither coordinates nor row and col; take it out"
            )
        points.append(point)
    return points


def pair_points(prediction: Any, path: Any) -> tuple[list[tuple[str, Raster, list[dict]]], dict[str, int]]:
    """Give each prediction the points of its scene.

    Returns
    -------
    pairs : list of (scene, raster, points)
        Only rasters that have points.
    left_out : dict
        ``outside``, ``no_data`` (both 0 so far) and ``other_scene``, numbers of points.

    Raises
    ------
    InputError
        As for `read_points`; no prediction has the name of a point's scene, and it is not one prediction and
        one scene.
    """
    named, points = _by_scene(prediction), read_points(path)
    known = {point["scene"] for point in points}
    if len(named) == 1 and len(known) == 1:
        named = {next(iter(known)): raster for raster in named.values()}
    if not known & named.keys():
        listed = ", ".join(sorted(map(str, known))) or "none"
        raise InputError(
            f"points: their scenes are {listed}, and no prediction has such a name ({', '.join(named)}); "
            "give predictions as a dict by scene"
        )
    of_scene = {name: [point for point in points if point["scene"] == name] for name in named}
    other = len(points) - sum(map(len, of_scene.values()))
    pairs = [(name, raster, of_scene[name]) for name, raster in named.items() if of_scene[name]]
    return pairs, {"outside": 0, "no_data": 0, "other_scene": other}


def _by_scene(prediction: Any) -> dict[str, Raster]:
    """Return predictions by scene; files go by their names."""
    if hasattr(prediction, "items"):
        return dict(prediction.items())
    rasters = prediction if isinstance(prediction, list | tuple) else [prediction]
    files = [isinstance(each, str | os.PathLike) for each in rasters]
    if len(rasters) > 1 and not all(files):
        raise InputError("evaluate: arrays have no names for the points to find; give a dict by scene")
    named = {PurePath(str(each)).stem if files[0] else "": each for each in rasters}
    if len(named) < len(rasters):
        raise InputError("evaluate: two predictions have the same name; give a dict by scene")
    return named


def sample(
    grid: Layer, predicted: np.ndarray, points: Sequence[dict], left_out: dict[str, int]
) -> tuple[np.ndarray, Layer]:
    """Return a prediction at points, and the points as a raster of one row.

    A point's coordinates say where it is; its row and column where the raster, or the point, is on no map.

    Parameters
    ----------
    grid : Layer
        The prediction.
    predicted : (rows, columns) uint8
        Its positions in the legend.
    points : sequence of dict
        As from `read_points`.
    left_out : dict
        ``outside`` and ``no_data`` go up.

    Returns
    -------
    predicted : (1, N) uint8
        255 for points outside.
    reference : Layer
    """
    places = thresholds.Grid(grid)
    sampled = np.full((1, len(points)), NODATA, np.uint8)
    for number, point in enumerate(points):
        if places.on_map and point["lonlat"] is not None:
            pixel = places.at(*point["lonlat"])
        elif None in (point["row"], point["col"]):
            raise InputError(f"{grid.name}: has no CRS, and point {number} no row and col; give one of them")
        else:
            pixel = point["row"], point["col"]
        inside = pixel is not None and places.holds(*pixel)
        sampled[0, number] = predicted[pixel] if inside else NODATA
        left_out["outside"] += not inside
        left_out["no_data"] += bool(inside and sampled[0, number] == NODATA)
    values = list(dict.fromkeys(point["class"] for point in points))
    indices = np.array([[values.index(point["class"]) for point in points]], np.uint8)
    return sampled, Layer(indices, values, None, None, "points")
