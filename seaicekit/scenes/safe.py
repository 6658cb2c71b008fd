"""Read what a Sentinel-2 product on disk holds: a SAFE folder, its main XML file, or a zip of one."""

from __future__ import annotations

import os
import posixpath
import re
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from seaicekit.files import InputError, remote_errors
from seaicekit.scenes.remote import MAX_METADATA_BYTES, read_bytes

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

METADATA = ("MTD_MSIL2A.xml", "MTD_MSIL1C.xml")  # what makes a folder a SAFE
COLOURS = {"red": "B04", "green": "B03", "blue": "B02"}
RESOLUTIONS = (10, 20, 60)  # metres


class Metadata(NamedTuple):
    """The content of a product's main XML file; offsets of red, green, blue; None where it is missing."""

    images: list[str]
    quantification: float
    offsets: tuple[float, ...]
    nodata: float | None
    taken: str | None


class Product(NamedTuple):
    """A product on disk: its metadata, its images by (band, metres), and the file of its metadata."""

    metadata: Metadata
    images: dict[tuple[str, int], str]
    file: str

    def finest(self, *bands: str) -> list[str] | None:
        """Return the files of ``bands`` at the finest resolution at which all are there."""
        sizes = (size for size in RESOLUTIONS if all((band, size) in self.images for band in bands))
        size = next(sizes, None)
        return None if size is None else [self.images[band, size] for band in bands]


def is_safe(path: str | os.PathLike) -> bool:
    """Say whether a path is a SAFE folder, or a zip that holds one or is damaged."""
    path = Path(path)
    if path.suffix.lower() != ".zip" or path.is_dir():
        return any((path / name).is_file() for name in METADATA)
    try:
        return bool(_metadata_files(_members(path)))
    except InputError:  # raised again when it is opened
        return True


def open_product(path: str | os.PathLike) -> Product:
    """Read a product's metadata and find its images.

    Parameters
    ----------
    path : path
        A SAFE folder, its main XML file, or a zip of one, which is read where it is.

    Returns
    -------
    Product

    Raises
    ------
    InputError
        No product, damaged, an archive that leads out of itself, or a product of several granules.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    if path.suffix.lower() == ".zip" and path.is_file():
        members = _members(path)
        mains = _metadata_files(members)
        if len(mains) != 1:
            raise InputError(
                f"{path}: holds {len(mains) or 'no'} Sentinel-2 products; give a zip of one SAFE folder"
            )
        with remote_errors(path), zipfile.ZipFile(path) as archive, archive.open(mains[0]) as file:
            content = file.read(MAX_METADATA_BYTES)
        inside = posixpath.dirname(mains[0])
        images = {
            posixpath.relpath(name, inside or "."): f"/vsizip/{{{path.absolute()}}}/{name}"
            for name in members
        }
        name = f"{path}/{mains[0]}"
    else:
        candidates = [path / name for name in METADATA] if path.is_dir() else [path]
        main = next((file for file in candidates if file.name in METADATA and file.is_file()), None)
        if main is None:
            raise InputError(
                f"{path}: no image and no Sentinel-2 SAFE ({' or '.join(METADATA)}); check the path"
            )
        root, name = main.parent, str(main)
        content = read_bytes(name)
        images = {
            file.relative_to(root).as_posix(): str(file) for file in root.glob("GRANULE/*/IMG_DATA/**/*.*")
        }
    metadata = read_metadata(name, content)
    return Product(metadata, _images(path, metadata.images, images), name)


def read_metadata(name: str, content: bytes) -> Metadata:
    """Read a product's main XML file, as processing levels 1C and 2A write it since December 2016.

    Raises
    ------
    InputError
        No XML, or none of a Sentinel-2 product; the error names ``name``.
    """
    from xml.etree.ElementTree import ParseError

    import defusedxml.ElementTree

    try:
        root = defusedxml.ElementTree.fromstring(content)
        ids = {each.get("physicalBand"): each.get("bandId") for each in root.iter("Spectral_Information")}
        offsets = {
            each.get("band_id"): float(each.text or "")
            for each in _tagged(root, "BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")
        }
        special = {
            each.findtext("SPECIAL_VALUE_TEXT"): float(each.findtext("SPECIAL_VALUE_INDEX"))
            for each in root.iter("Special_Values")
        }
        times = [each.text for each in _tagged(root, "PRODUCT_START_TIME", "DATATAKE_SENSING_START")]
        metadata = Metadata(
            [image.text.strip() for image in root.iter("IMAGE_FILE")],
            float(_tagged(root, "BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")[0].text or ""),
            # Before processing baseline 04.00 products have no offsets.
            tuple(
                offsets.get(ids.get(band, usual), 0.0)
                for band, usual in (("B4", "3"), ("B3", "2"), ("B2", "1"))
            ),
            special.get("NODATA"),
            times[0] if times else None,
        )
    except (ParseError, ValueError, IndexError, AttributeError, TypeError) as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{name}: no metadata of a Sentinel-2 product ({cause}); fetch the product again"
        ) from error
    if not metadata.quantification > 0:
        raise InputError(
            f"{name}: a quantification of {metadata.quantification:g} cannot be; fetch the product again"
        )
    return metadata


def _tagged(root: Element, *tags: str) -> list[Element]:
    return [each for tag in tags for each in root.iter(tag)]


def _images(path: Path, listed: list[str], members: dict[str, str]) -> dict[tuple[str, int], str]:
    """Return a product's listed images by band and resolution; ``members`` is inner path → file."""
    if len({PurePosixPath(image).parts[1:2] for image in listed}) > 1:
        raise InputError(
            f"{path}: holds several granules, as before December 2016; give one granule's three bands"
        )
    files = {
        posixpath.splitext(name)[0]: file for name, file in members.items() if name.endswith((".jp2", ".tif"))
    }
    images = {}
    for image in listed:
        match = re.search(r"_(B\d[\dA]|TCI|SCL)(?:_(\d\d)m)?$", image)
        if match and image in files:
            # Level 1C names no resolution; its colours have 10 m.
            images[match[1], int(match[2] or RESOLUTIONS[0])] = files[image]
    return images


def _members(path: Path) -> list[str]:
    with remote_errors(path), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if ".." in parts or parts[:1] == ("/",) or re.match("[A-Za-z]:", name):
            raise InputError(
                f"{path}: holds {name!r}, which leads out of the archive; do not trust it, fetch it again"
            )
    return names


def _metadata_files(members: list[str]) -> list[str]:
    return [name for name in members if posixpath.basename(name) in METADATA and name.count("/") <= 1]
