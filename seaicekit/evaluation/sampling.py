"""Reference points beside a prediction: which pixel each is, and which class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seaicekit import thresholds
from seaicekit.classes import NODATA, SeaIceClass
from seaicekit.evaluation.inputs import OTHER, codes_of
from seaicekit.files import InputError

if TYPE_CHECKING:
    from seaicekit.evaluation.inputs import Layer, Mapped


def is_points(reference: Any) -> bool:
    """Say whether a reference is a GeoJSON file of points, by the name's end."""
    return isinstance(reference, str | os.PathLike) and str(reference).lower().endswith((".geojson", ".json"))


def read(path: str | os.PathLike) -> list[dict]:
    """Read reference points, as `seaicekit.thresholds.ReferencePoints` writes them.

    Returns
    -------
    list of dict
        ``scene``, ``row``, ``col``, ``said`` (code, or else class), and ``lonlat``; None where a feature
        lacks one.

    Raises
    ------
    InputError
        Not GeoJSON, or a feature without a place or a class.
    """
    points = []
    for number, feature in enumerate(thresholds.parse_geojson(path)[1]):
        said = thresholds.get_object(feature, "properties")
        row, col = (thresholds.as_integer(said.get(name)) for name in ("row", "col"))
        point = {"scene": said.get("scene"), "row": row, "col": col, "lonlat": None}
        point["said"] = said.get("class") if said.get("code") is None else said["code"]
        try:
            if feature.get("geometry") is not None:
                point["lonlat"] = thresholds.point_coordinates(feature)
        except InputError as error:
            raise InputError(f"{path}: feature {number} is {error}; take it out") from None
        if point["said"] is None:
            raise InputError(f"{path}: feature {number} has neither code nor class; give it one")
        if point["lonlat"] is None and None in (row, col):
            raise InputError(
                f"{path}: feature {number} has no place, neither coordinates nor row and col; take it out"
            )
        points.append(point)
    return points


def by_scene(points: Sequence[dict], names: Sequence[str]) -> tuple[dict[str, list[dict]], int]:
    """Deal points to predictions by scene; count those of other scenes.

    Raises
    ------
    InputError
        No prediction has the name of a point's scene, and it is not one prediction and one scene.
    """
    scenes = {point["scene"] for point in points}
    if len(names) == 1 and len(scenes) == 1:
        return {names[0]: list(points)}, 0
    if not scenes & set(names):
        listed = ", ".join(sorted(map(str, scenes))) or "none"
        raise InputError(
            f"points: their scenes are {listed}, and no prediction has such a name ({', '.join(names)}); "
            "give predictions as a dict by scene"
        )
    dealt = {name: [point for point in points if point["scene"] == name] for name in names}
    return dealt, len(points) - sum(map(len, dealt.values()))


def codes(
    points: Sequence[dict], classes: Mapped | None, legend: Sequence[SeaIceClass]
) -> tuple[np.ndarray, dict]:
    """Return the points' codes, (N,) uint16, and the values that are not mapped, as `inputs.mapped` does.

    Without a mapping a class may be said by its name, however it is written.
    """
    ours = {entry.code for entry in legend}
    names = {thresholds.plain_name(entry.name): entry.code for entry in legend}
    table = {} if classes is None else codes_of(classes, ours)
    further: dict[int, Any] = {}
    found = np.full(len(points), NODATA, np.uint16)
    for number, point in enumerate(points):
        said = point["said"]
        if classes is None:
            code = names.get(thresholds.plain_name(said), thresholds.as_integer(said))
            if code not in ours:
                raise InputError(
                    f"points: class {said!r} is not in the legend; give the legend, or map the classes"
                )
        else:
            code = table.get(said)
            if code is None:
                code = next((key for key, known in further.items() if known == said), OTHER + len(further))
                further[code] = said
        found[number] = code
    return found, further


def sampled(layer: Layer, pixels: np.ndarray, points: Sequence[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Return a raster's codes at points, (N,) uint8, and whether each lies inside, (N,) bool.

    A point's coordinates say where it is; its row and column where the raster, or the point, is on no map.
    """
    grid = thresholds.Grid(layer)
    found, inside = np.full(len(points), NODATA, np.uint8), np.zeros(len(points), bool)
    for number, point in enumerate(points):
        if grid.on_map and point["lonlat"] is not None:
            place = grid.at(*point["lonlat"])
        elif None in (point["row"], point["col"]):
            raise InputError(f"{layer.name}: has no CRS, and point {number} no row and col; give one of them")
        else:
            place = point["row"], point["col"]
        if place is not None and grid.holds(*place):
            found[number], inside[number] = pixels[place], True
    return found, inside
