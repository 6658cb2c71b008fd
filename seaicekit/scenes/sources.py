"""Name a scene by one string, and find out which files and bands the string stands for.

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
import math
import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from seaicekit.files import InputError, is_url
from seaicekit.scenes import items, safe
from seaicekit.scenes.remote import digest

if TYPE_CHECKING:
    import pystac

KEYS = ("bands", "green", "blue", "scl", "white", "offset", "quantification", "nodata")


@dataclass(frozen=True)
class Source:
    """The files and bands of a scene; made by `resolve_source`, and ``str()`` gives the string back.

    Attributes
    ----------
    path : str
        Path or URL, without options.
    text : str
        The one string: the path with its options.
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
        Date and time of the image, ISO 8601, if the metadata have it.
    """

    path: str
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

    __fspath__ = __str__  # a source can be given wherever a path can

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
        path, options = items.as_files(item, options)
        return _of_files(path, options, item.datetime.isoformat() if item.datetime else None)


def split_source(text: str | os.PathLike) -> tuple[str, dict[str, str]]:
    """Split a source's string into path or URL and options, decoded.

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
    # A file's name may hold '#': only known keys are options, and an existing file is a file.
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
    """Join path or URL and options to the one string; the inverse of `split_source`."""
    fragment = "&".join(f"{key}={quote(options[key], safe='/:,')}" for key in KEYS if key in options)
    return f"{os.fspath(path)}#{fragment}" if fragment else os.fspath(path)


def resolve_source(text: str | os.PathLike | Source) -> Source:
    """Find out which files and bands a source's string stands for, without opening any raster.

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
        return Source.of_item(items.read_item(path), **options)
    return _of_files(path, options)


def fingerprint(text: str | os.PathLike | Source) -> str:
    """Return a hexadecimal SHA-256 of a scene's content.

    Of one local file it is the file's own. Of several it is that of their sorted digests, put together as
    text. A URL is not fetched: its server's ETag stands for its content, or else its size and date.

    Raises
    ------
    InputError
        A file is missing, or a URL cannot be reached.
    """
    digests = sorted({digest(file) for file in resolve_source(text).files})
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _number(text: str, key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or (key in ("white", "quantification") and number <= 0):
        raise InputError(f"{text}: {key}={value} is no {'positive ' * (key != 'offset')}number; correct it")
    return number


def _scaling(text: str, options: dict[str, str]) -> dict[str, Any]:
    """Read the options about what numbers mean, as fields of a `Source`."""
    keys = ("quantification", "white", "nodata")
    fields: dict[str, Any] = {key: _number(text, key, options[key]) for key in keys if key in options}
    if "offset" in options:
        offsets = [_number(text, "offset", each) for each in options["offset"].split(",")]
        if len(offsets) not in (1, 3):
            raise InputError(
                f"{text}: offset={options['offset']} must be one number, or three for red,green,blue"
            )
        fields["offsets"] = tuple(offsets * 3 if len(offsets) == 1 else offsets)
    return fields


def _of_files(path: str, options: dict[str, str], taken: str | None = None) -> Source:
    text = join_source(path, options)
    others = [options[key] for key in ("green", "blue") if key in options]
    scl = options.get("scl")
    if len(others) == 1 or (others and "bands" in options):
        raise InputError(
            f"{text}: green=FILE and blue=FILE go together, and without bands=; correct the options"
        )
    if scl == "1":
        raise InputError(
            f"{text}: scl=1 needs a SAFE or a STAC item; name the file of the layer, or leave it out"
        )
    numbers: tuple = (1, 1, 1) if others else (None, None, None)
    if "bands" in options:
        if not re.fullmatch(r"[1-9]\d{0,5}(,[1-9]\d{0,5}){2}", options["bands"]):
            raise InputError(
                f"{text}: bands={options['bands']} must be three numbers from 1, such as bands=4,3,2"
            )
        numbers = tuple(map(int, options["bands"].split(",")))
    folder = posixpath.dirname(path)
    others, layer = (
        [name if is_url(name) else posixpath.join(folder, name) for name in names]
        for names in (others, [scl] if scl else [])
    )
    files = [path, *others] if others else [path] * 3
    return Source(
        path,
        text,
        tuple(zip(files, numbers, strict=True)),
        scl=layer[0] if layer else None,
        files=tuple(dict.fromkeys([*files, *layer])),
        taken=taken,
        **_scaling(text, options),
    )


def _of_safe(path: str, options: dict[str, str]) -> Source:
    text = join_source(path, options)
    product = safe.open_product(path)
    metadata = product.metadata
    names, numbers = [*safe.COLOURS.values()], (1, 1, 1)
    scaling: dict[str, Any] = {"quantification": metadata.quantification, "offsets": metadata.offsets}
    if options.get("bands") == "TCI":
        names, numbers, scaling = ["TCI"] * 3, (1, 2, 3), {}
    elif {"bands", "green", "blue"} & options.keys():
        raise InputError(f"{text}: a SAFE's own bands are taken; leave the option out, or give bands=TCI")
    if options.get("scl", "1") != "1":
        raise InputError(f"{text}: scl={options['scl']} must be scl=1; a SAFE's own layer is taken")
    bands = product.finest(*names)
    if bands is None:
        missing = sorted({band for band in names if not product.finest(band)})
        cause = f"{', '.join(missing)} missing" if missing else f"{', '.join(names)} not at one resolution"
        raise InputError(
            f"{path}: {cause} in GRANULE/*/IMG_DATA (10, 20 or 60 m); fetch the whole product again"
        )
    layer = product.finest("SCL") if "scl" in options else []
    if layer is None:
        raise InputError(
            f"{path}: SCL missing in GRANULE/*/IMG_DATA; leave scl=1 out, or fetch the whole product"
        )
    zipped = bands[0].startswith("/vsizip/")
    return Source(
        path,
        text,
        tuple(zip(bands, numbers, strict=True)),
        scl=layer[0] if layer else None,
        files=(path,) if zipped else tuple(dict.fromkeys([product.file, *bands, *layer])),
        taken=metadata.taken,
        **({"nodata": metadata.nodata} | scaling | _scaling(text, options)),
    )
