"""Name a scene by one string, wherever it lies, and find out what that string says.

A scene is a path or URL, optionally followed by ``#`` and options: ``scene.tif#bands=4,3,2``. So its name
survives tables, tasks and YAML files. Values are percent-encoded where they hold ``&``, ``#`` or ``%``.

======================
==========================================================================================
``bands=4,3,2``         which bands are red, green and blue; ``bands=TCI``: a product's true-colour image
``green=`` ``blue=``    the files of these bands, relative to the first's folder; the first is red
``scl=1``               read a product's scene classification too; ``scl=FILE`` beside single files
``white=0.9``           the reflectance that becomes 255
``offset=-1000``        what is added to a number before it is divided; also three, for red, green, blue
``quantification=1e4``  what a number is divided by to give reflectance
``nodata=0``            the number that, in all three bands, means no data
======================
==========================================================================================
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from seaicekit.files import InputError, is_url
from seaicekit.scenes import safe
from seaicekit.scenes.remote import digest, read_bytes

if TYPE_CHECKING:
    import numpy as np
    import pystac

KEYS = ("bands", "green", "blue", "scl", "white", "offset", "quantification", "nodata")


@dataclass(frozen=True)
class Source:
    """What the one string of a scene says; made by `resolve`, and ``str()`` gives the string back.

    Attributes
    ----------
    text : str
        The one string.
    bands : tuple of (str, int or None)
        File, as the raster library opens it, and band number (from 1) of red, green and blue; None where
        the number of bands in the file decides.
    quantification : float or None
        Reflectance = (number + offset) / quantification; None where the file itself decides.
    offsets : tuple of three float, or None
        For red, green and blue, in numbers as stored; None where the file itself decides.
    white : float or None
        The reflectance that becomes 255; None is 1.
    nodata : float or None
        The number that, in all three bands, is no data; None where the file itself decides.
    scl : str or None
        The scene classification layer, as the raster library opens it.
    files : tuple of str
        Local paths or URLs of all that is read, metadata included.
    taken : str or None
        When, as ISO 8601, if the metadata say so.
    """

    text: str
    bands: tuple[tuple[str, int | None], ...]
    quantification: float | None = None
    offsets: tuple[float, ...] | None = None
    white: float | None = None
    nodata: float | None = None
    scl: str | None = None
    files: tuple[str, ...] = ()
    taken: str | None = None

    def __str__(self) -> str:
        return self.text

    __fspath__ = __str__  # so that it may stand wherever a path may

    @property
    def true_colour(self) -> bool:
        """Whether it is a Sentinel-2 true-colour image, by its file's name."""
        name = posixpath.basename(self.bands[0][0])
        return len({file for file, _ in self.bands}) == 1 and bool(re.search(r"(^|_)TCI(_|\.)", name))

    @classmethod
    def of_item(cls, item: pystac.Item, **options: str) -> Source:
        """Take red, green and blue, and how their numbers are scaled, from a STAC item.

        ``earthsearch:boa_offset_applied`` overrules any offset; without scale metadata a Sentinel-2 item's
        ``product-metadata`` is read.

        Parameters
        ----------
        item : pystac.Item
        **options : str
            ``bands="TCI"`` takes the 8-bit ``visual`` instead; ``scl="1"`` the scene classification too;
            the others overrule what the item says.

        Raises
        ------
        InputError
            An asset is missing, or the metadata cannot be read.
        """
        return _of_item(item, options)


def to_8bit(
    numbers: np.ndarray, offset: float = 0, quantification: float = 10000, white: float = 1.0
) -> np.ndarray:
    """Turn a band's numbers into 8-bit brightness, each pixel by itself.

    Reflectance is (number + offset) / quantification. Fixed cuts on the result shift with ``white``: at 0.9
    all values are a ninth higher than at 1.

    Parameters
    ----------
    numbers : array of integers or floats
    offset, quantification : float
    white : float
        The reflectance that becomes 255.

    Returns
    -------
    array of the same shape, uint8
        255 × reflectance / white, rounded half to even, clipped to 0–255; NaN gives 0.

    Examples
    --------
    >>> import numpy as np
    >>> to_8bit(np.array([1000, 2000, 11000]), offset=-1000).tolist()
    [0, 26, 255]
    """
    import numpy as np

    values = 255 * (np.asarray(numbers, np.float64) + offset) / (quantification * white)
    return np.nan_to_num(np.rint(values).clip(0, 255), nan=0).astype(np.uint8)


def split_source(text: str | os.PathLike) -> tuple[str, dict[str, str]]:
    """Part a source's string into path or URL and options, decoded.

    Raises
    ------
    InputError
        An unknown option beside a known one, or one given twice.

    Examples
    --------
    >>> split_source("scene.tif#bands=4,3,2")
    ('scene.tif', {'bands': '4,3,2'})
    """
    text = os.fspath(text)
    path, mark, fragment = text.rpartition("#")
    pairs = [part.partition("=")[::2] for part in fragment.split("&")]
    known = [key for key, _ in pairs if key in KEYS]
    # File names may hold '#': only known keys are options, and what is there as a file is a file.
    if not mark or not known or (not is_url(text) and os.path.exists(text)):
        return text, {}
    for key, _ in pairs:
        if key not in KEYS:
            near = (difflib.get_close_matches(key, KEYS, 1, 0) or KEYS)[0]
            raise InputError(f"{text}: no option {key!r}; did you mean {near!r}? There are {', '.join(KEYS)}")
    if len(known) > len(set(known)):
        raise InputError(f"{text}: an option is given twice; leave one out")
    return path, {key: unquote(value) for key, value in pairs}


def join_source(path: str | os.PathLike, options: dict[str, str]) -> str:
    """Put path or URL and options together to the one string that `split` parts."""
    fragment = "&".join(f"{key}={quote(options[key], safe='/:,')}" for key in KEYS if key in options)
    return f"{os.fspath(path)}#{fragment}" if fragment else os.fspath(path)


def resolve_source(text: str | os.PathLike | Source) -> Source:
    """Find out what a source's string says. Metadata are read, pixels and raster headers are not.

    Parameters
    ----------
    text : str, path or Source
        A raster file, a Sentinel-2 SAFE folder, its main XML file, a zip of one, or a STAC item (``.json``).

    Returns
    -------
    Source

    Raises
    ------
    InputError
        An unknown option or scheme, a value out of range, metadata that are missing or cannot be read.
    """
    if isinstance(text, Source):
        return text
    path, options = split_source(text)
    suffix = PurePosixPath(urlsplit(path).path if is_url(path) else path).suffix.lower()
    if suffix in (".zip", ".xml", ".safe") or os.path.isdir(path):
        if is_url(path):
            raise InputError(
                f"{path}: a SAFE is read from disk only; download it, or give the scene's STAC item"
            )
        return _of_safe(path, options)
    if suffix == ".json":
        return _of_item(_read_item(path), options)
    return _of_files(path, options)


def fingerprint(text: str | os.PathLike | Source) -> str:
    """Tell a scene's content from any other's: a hexadecimal SHA-256.

    Of one local file it is the file's own. Of several it is that of their sorted digests, put together as
    text. A URL is not fetched: its server's ETag stands for its content, or else its size and date.

    Raises
    ------
    InputError
        A file is missing, or a URL cannot be reached.
    """
    source = resolve_source(text)
    digests = sorted({digest(file) for file in source.files})
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _number(text: str, key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or (key in ("white", "quantification") and number <= 0):
        raise InputError(f"{text}: {key}={value} is no {'positive ' * (key != 'offset')}number; correct it")
    return number


def _scaling(text: str, options: dict[str, str]) -> dict:
    """Read the options that say what numbers mean, as fields of a `Source`."""
    fields: dict[str, Any] = {
        k: _number(text, k, options[k]) for k in ("quantification", "white", "nodata") if k in options
    }
    if "offset" in options:
        offsets = [_number(text, "offset", each) for each in options["offset"].split(",")]
        if len(offsets) not in (1, 3):
            raise InputError(
                f"{text}: offset={options['offset']} must be one number, or three for red,green,blue"
            )
        fields["offsets"] = tuple(offsets * 3 if len(offsets) == 1 else offsets)
    return fields


def _beside(first: str, other: str) -> str:
    """Take ``other`` as relative to the folder of ``first``, be that a path or a URL."""
    return other if is_url(other) else posixpath.join(posixpath.dirname(first), other)


def _of_files(path: str, options: dict[str, str], taken: str | None = None) -> Source:
    text = join_source(path, options)
    colours = [options[key] for key in ("green", "blue") if key in options]
    scl = options.get("scl")
    if len(colours) == 1 or (colours and "bands" in options):
        raise InputError(
            f"{text}: green=FILE and blue=FILE go together, and without bands=; correct the options"
        )
    if scl == "1":
        raise InputError(
            f"{text}: scl=1 needs a SAFE or a STAC item; name the file of the layer, or leave it out"
        )
    numbers: tuple = (1, 1, 1) if colours else (None, None, None)
    if "bands" in options:
        if not re.fullmatch(r"[1-9]\d{0,5}(,[1-9]\d{0,5}){2}", options["bands"]):
            raise InputError(
                f"{text}: bands={options['bands']} must be three numbers from 1, such as bands=4,3,2"
            )
        numbers = tuple(map(int, options["bands"].split(",")))
    files = [path, *(_beside(path, other) for other in colours)] if colours else [path] * 3
    scl = scl and _beside(path, scl)
    return Source(
        text,
        tuple(zip(files, numbers, strict=True)),
        scl=scl,
        files=tuple(dict.fromkeys([*files, *([scl] if scl else [])])),
        taken=taken,
        **_scaling(text, options),
    )


def _of_safe(path: str, options: dict[str, str]) -> Source:
    text = join_source(path, options)
    product = safe.open_product(path)
    wanted, numbers = [*safe.COLOURS.values()], (1, 1, 1)
    scaling: dict = {"quantification": product.metadata.quantification, "offsets": product.metadata.offsets}
    if options.get("bands") == "TCI":
        wanted, numbers, scaling = ["TCI"] * 3, (1, 2, 3), {}
    elif {"bands", "green", "blue"} & options.keys():
        raise InputError(f"{text}: a SAFE's own bands are taken; leave the option out, or give bands=TCI")
    if options.get("scl", "1") != "1":
        raise InputError(f"{text}: scl={options['scl']} must be scl=1; a SAFE's own layer is taken")
    bands = product.finest(*wanted)
    if bands is None:
        missing = sorted({band for band in wanted if not product.finest(band)})
        cause = f"{', '.join(missing)} missing" if missing else f"{', '.join(wanted)} not at one resolution"
        raise InputError(
            f"{path}: {cause} in GRANULE/*/IMG_DATA (10, 20 or 60 m); fetch the whole product again"
        )
    layer: list[Any] = (product.finest("SCL") or [None]) if "scl" in options else []
    if layer == [None]:
        raise InputError(
            f"{path}: SCL missing in GRANULE/*/IMG_DATA; leave scl=1 out, or fetch the whole product"
        )
    zipped = bands[0].startswith("/vsizip/")
    return Source(
        text,
        tuple(zip(bands, numbers, strict=True)),
        scl=layer[0] if layer else None,
        files=(path,) if zipped else tuple(dict.fromkeys([product.file, *bands, *layer])),
        taken=product.metadata.taken,
        **({"nodata": product.metadata.nodata} | scaling | _scaling(text, options)),
    )


def _of_item(item: pystac.Item, options: dict[str, str]) -> Source:
    name = item.get_self_href() or item.id
    taken = item.datetime.isoformat() if item.datetime else None
    given: dict[str, str] = {
        key: options[key] for key in ("white", "offset", "quantification", "nodata") if key in options
    }
    chosen = options.get("bands")
    if (
        {"green", "blue"} & options.keys()
        or chosen not in (None, "TCI", "visual")
        or options.get("scl", "1") != "1"
    ):
        raise InputError(
            f"{join_source(name, options)}: an item's own assets are taken; give bands=TCI, scl=1, or neither"
        )
    if "scl" in options:
        given["scl"] = _href(item, "scl", "SCL")
    if chosen:
        return _of_files(_href(item, "visual", "TCI"), given, taken)
    assets = {colour: _asset(item, colour, band) for colour, band in safe.COLOURS.items()}
    hrefs = {colour: _href(item, colour, band) for colour, band in safe.COLOURS.items()}
    told = _told_scaling(item, list(assets.values()))
    return _of_files(hrefs.pop("red"), told | hrefs | given, taken)


def _asset(item: pystac.Item, *names: str) -> pystac.Asset:
    """Find an asset by one of its usual keys, or by the common name of its only band."""
    for name in names:
        if name in item.assets:
            return item.assets[name]
    for asset in item.assets.values():
        bands = asset.extra_fields.get("eo:bands") or asset.extra_fields.get("bands") or []
        if len(bands) == 1 and names[0] in (bands[0].get("common_name"), bands[0].get("eo:common_name")):
            return asset
    known = ", ".join(item.assets) or "none"
    raise InputError(
        f"{item.get_self_href() or item.id}: no asset {' or '.join(names)} (there are: {known}); "
        "give the scene's files instead"
    )


def _href(item: pystac.Item, *names: str) -> str:
    return _asset(item, *names).get_absolute_href() or _asset(item, *names).href


def _told_scaling(item: pystac.Item, assets: list[pystac.Asset]) -> dict[str, str]:
    """Say as options what an item tells about its numbers: reflectance = number × scale + offset."""
    fields: list[dict[str, Any]] = []
    for asset in assets:
        extra = asset.extra_fields
        first = (extra.get("raster:bands") or extra.get("bands") or [{}])[0]
        plain = {key: first.get(key, first.get(f"raster:{key}")) for key in ("scale", "offset", "nodata")}
        fields.append(
            {k: extra.get(f"raster:{k}", extra.get(k)) if v is None else v for k, v in plain.items()}
        )
    told = {}
    if all(each["scale"] for each in fields):
        divisors = {round(1 / each["scale"], 6) for each in fields}
        if len(divisors) > 1:
            raise InputError(
                f"{item.id}: red, green and blue have scales of their own; give quantification= and offset="
            )
        told["quantification"] = _plain(divisors.pop())
        told["offset"] = ",".join(_plain(round((each["offset"] or 0) / each["scale"], 6)) for each in fields)
    else:
        key = next((key for key in ("product-metadata", "product_metadata") if key in item.assets), None)
        if key:
            href = _href(item, key)
            metadata = safe.read_metadata(href, read_bytes(href))
            told["quantification"] = _plain(metadata.quantification)
            told["offset"] = ",".join(map(_plain, metadata.offsets))
            if metadata.nodata is not None:
                told["nodata"] = _plain(metadata.nodata)
    if item.properties.get("earthsearch:boa_offset_applied"):
        told["offset"] = "0"
    nodata = {each["nodata"] for each in fields}
    if len(nodata) == 1 and isinstance(value := nodata.pop(), int | float):
        told["nodata"] = _plain(value)
    return told


def _plain(number: float) -> str:
    return repr(float(number)).removesuffix(".0")


def _read_item(path: str) -> pystac.Item:
    import pystac

    content = read_bytes(path)
    try:
        return pystac.Item.from_dict(json.loads(content), href=path)
    except (ValueError, KeyError, TypeError, AttributeError, pystac.STACError, pystac.STACTypeError) as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: no STAC item ({cause}); give an item's JSON file, or an image") from error
