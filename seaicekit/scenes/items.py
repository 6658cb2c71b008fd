"""Find the files of a STAC item's bands, and how their numbers are scaled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from seaicekit.files import InputError
from seaicekit.scenes import safe
from seaicekit.scenes.remote import read_bytes

if TYPE_CHECKING:
    import pystac


def read_item(path: str) -> pystac.Item:
    """Read a STAC item from a path or a URL.

    Raises
    ------
    InputError
        Out of reach, or no STAC item.
    """
    import pystac

    content = read_bytes(path)
    try:
        return pystac.Item.from_dict(json.loads(content), href=path)
    except (ValueError, KeyError, TypeError, AttributeError, pystac.STACError, pystac.STACTypeError) as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: no STAC item ({cause}); give an item's JSON file, or an image") from error


def as_files(item: pystac.Item, options: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Return an item's first file, and the options by which that file opens as a scene.

    Parameters
    ----------
    item : pystac.Item
    options : dict
        As of the item's source; see `seaicekit.scenes.sources`.

    Raises
    ------
    InputError
        An asset is missing, an option is not for items, or the metadata cannot be read.
    """
    picture = options.get("bands")
    if (
        {"green", "blue"} & options.keys()
        or picture not in (None, "TCI", "visual")
        or options.get("scl", "1") != "1"
    ):
        raise InputError(
            f"{_name(item)}: an item's own assets are taken; give bands=TCI, scl=1, or neither of them"
        )
    keys = {"white", "offset", "quantification", "nodata"}
    kept = {key: value for key, value in options.items() if key in keys}
    if "scl" in options:
        kept["scl"] = _href(_asset(item, "scl", "SCL"))
    if picture:
        return _href(_asset(item, "visual", "TCI")), kept
    assets = [_asset(item, colour, band) for colour, band in safe.COLOURS.items()]
    red, green, blue = map(_href, assets)
    return red, _scaling(item, assets) | {"green": green, "blue": blue} | kept


def _name(item: pystac.Item) -> str:
    return item.get_self_href() or item.id


def _asset(item: pystac.Item, *names: str) -> pystac.Asset:
    """Return an asset by one of its usual keys, or by the common name of its only band."""
    for name in names:
        if name in item.assets:
            return item.assets[name]
    for asset in item.assets.values():
        bands = asset.extra_fields.get("eo:bands") or asset.extra_fields.get("bands") or []
        if len(bands) == 1 and names[0] in (bands[0].get("common_name"), bands[0].get("eo:common_name")):
            return asset
    known = ", ".join(item.assets) or "none"
    raise InputError(
        f"{_name(item)}: no asset {' or '.join(names)} (there are: {known}); give the scene's files instead"
    )


def _href(asset: pystac.Asset) -> str:
    return asset.get_absolute_href() or asset.href


def _scaling(item: pystac.Item, assets: list[pystac.Asset]) -> dict[str, str]:
    """Return, as options, how an item scales its numbers: reflectance = number × scale + offset."""
    bands = [_band(asset) for asset in assets]
    options = {}
    if all(band["scale"] for band in bands):
        divisors = {round(1 / band["scale"], 6) for band in bands}
        if len(divisors) > 1:
            raise InputError(
                f"{item.id}: red, green and blue have scales of their own; give quantification= and offset="
            )
        options["quantification"] = _text(divisors.pop())
        offsets = [round((band["offset"] or 0) / band["scale"], 6) for band in bands]
        options["offset"] = ",".join(map(_text, offsets))
    elif keys := [key for key in ("product-metadata", "product_metadata") if key in item.assets]:
        href = _href(item.assets[keys[0]])
        metadata = safe.read_metadata(href, read_bytes(href))
        options["quantification"] = _text(metadata.quantification)
        options["offset"] = ",".join(map(_text, metadata.offsets))
        if metadata.nodata is not None:
            options["nodata"] = _text(metadata.nodata)
    if item.properties.get("earthsearch:boa_offset_applied"):
        options["offset"] = "0"
    nodata = {band["nodata"] for band in bands}
    if len(nodata) == 1 and isinstance(value := nodata.pop(), int | float):
        options["nodata"] = _text(value)
    return options


def _band(asset: pystac.Asset) -> dict[str, Any]:
    """Return scale, offset and nodata of an asset's first band, under the keys of any STAC version."""
    extra = asset.extra_fields
    first = (extra.get("raster:bands") or extra.get("bands") or [{}])[0]
    places = [(first, ""), (first, "raster:"), (extra, "raster:"), (extra, "")]
    return {
        key: next(
            (value for fields, prefix in places if (value := fields.get(prefix + key)) is not None), None
        )
        for key in ("scale", "offset", "nodata")
    }


def _text(number: float) -> str:
    return repr(float(number)).removesuffix(".0")
