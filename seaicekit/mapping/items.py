"""A map as a STAC item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pystac
from pystac.extensions.classification import Classification, ClassificationExtension

from seaicekit import scenes
from seaicekit.classes import NODATA, SeaIceClass
from seaicekit.scenes import SceneReader


def describe_map(
    scene: str, files: Mapping[str, str], reader: SceneReader, legend: Sequence[SeaIceClass]
) -> dict:
    """Return a STAC item of a map, as JSON values.

    Parameters
    ----------
    scene : str
        The scene's name.
    files : dict
        ``map`` and ``confidence`` → path of the raster.
    reader : SceneReader
        The scene, from which the item is derived.
    legend : sequence of SeaIceClass
        Becomes the item's classes (https://github.com/stac-extensions/classification).
    """
    item: pystac.Item = scenes.describe_scene(scene, reader)
    item.add_link(pystac.Link("derived_from", item.assets.pop("image").href))
    for kind, what in (("map", "sea-ice class"), ("confidence", "confidence of the class, per cent")):
        about = {"data_type": "uint8", "nodata": NODATA}
        item.add_asset(kind, pystac.Asset(files[kind], what, None, pystac.MediaType.COG, ["data"], about))
    classes = [
        Classification.create(
            entry.code,
            name=entry.name.replace(" ", "-"),
            description=entry.name,
            color_hint=entry.colour[1:].upper(),
        )
        for entry in legend
    ]
    ClassificationExtension.ext(item.assets["map"], add_if_missing=True).apply(classes=classes)
    return item.to_dict()
