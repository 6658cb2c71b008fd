"""Find scenes in folders, and describe them as STAC items."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rasterio.errors
from rasterio._err import CPLE_BaseError

from seaicekit.files import (
    RUN_MARKER,
    InputError,
    is_url,
    read_json,
    relative_path,
    resolve_path,
    without_credentials,
    write_json,
)
from seaicekit.scenes import safe, sources
from seaicekit.scenes.opening import name_scenes
from seaicekit.scenes.reading import SceneReader, open_reader
from seaicekit.scenes.windows import blocks

if TYPE_CHECKING:
    import pandas as pd
    import pystac

SOURCE_PROPERTY = "seaicekit:source"  # an item's string to open, where that is more than a path
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".jp2")


def find_scenes(where: str | os.PathLike) -> list[Path | str]:
    """List the scenes in a folder and its sub-folders, or those that match a path or a glob pattern.

    A Sentinel-2 SAFE folder, or a zip of one, is one scene. Hidden files and folders, files without the
    ending of an image, and run folders are left out.

    Parameters
    ----------
    where : str or path
        Options after ``#`` (`seaicekit.scenes.sources`) apply to each scene. A URL, or a file with others
        named in its options, is one scene, and is returned unchecked.

    Returns
    -------
    list of path, or of str where there is a URL or are options

    Raises
    ------
    InputError
        Nothing is there, or an option is unknown.
    """
    place, options = sources.split_source(where)
    if is_url(place) or "green" in options:
        return [os.fspath(where)]
    folder = Path(place)
    if folder.is_file() and (folder.suffix.lower() in (".json", ".zip") or folder.name in safe.METADATA):
        return [sources.join_source(folder, options) if options else folder]
    escaped = glob.escape(str(folder))
    pattern = f"{escaped}/**/*" if folder.is_dir() else escaped if folder.is_file() else place
    paths = [folder, *map(Path, sorted(glob.glob(pattern, recursive=True)))]
    products = {path for path in paths if safe.is_safe(path)}
    images = [path for path in paths[1:] if path.suffix.lower() in SUFFIXES and path.is_file()]
    # The images in a product, and what an earlier run made, are no scenes of their own.
    above = {parent for path in [*images, *products] for parent in path.parents}
    base = folder if folder.is_dir() else _fixed_folder(place)
    runs = {path for path in above if base in path.parents and (path / RUN_MARKER).exists()}
    inside = {path for path in above if path in products or path.suffix.upper() == ".SAFE"}
    if not folder.is_file():
        images = [path for path in images if inside.isdisjoint(path.parents)]
    scenes = sorted(path for path in [*images, *products] if runs.isdisjoint(path.parents))
    if not scenes:
        raise InputError(
            f"{where}: no scenes there; give a folder with images ({' '.join(SUFFIXES)}) or SAFE products, "
            "or a pattern in quotes such as 'folder/**/*truecolor*'"
        )
    return [sources.join_source(path, options) if options else path for path in scenes]


def _fixed_folder(pattern: str) -> Path:
    """Return the deepest folder that contains all matches of a glob pattern."""
    parts = Path(pattern).parts
    first = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return Path(*parts[:first])


def has_crs(path: str | os.PathLike) -> bool:
    """Say whether a scene has a CRS."""
    with open_reader(path) as reader:
        return reader.crs is not None


def check_scene(reader: SceneReader) -> float:
    """Read all of a scene, to check that it can be read.

    Returns
    -------
    float
        Share of its pixels that hold data, above 0 and at most 1.

    Raises
    ------
    InputError
        A damaged scene, or one without a single pixel of data.
    """
    valid = sum(np.count_nonzero(~reader.read(window)[1]) for window in blocks(reader.shape, 2048))
    if not valid:
        raise InputError(f"{reader.path}: every pixel is no data; leave it out")
    return valid / (reader.shape[0] * reader.shape[1])


def catalogue(
    where: str | os.PathLike, truth: str | os.PathLike | None = None
) -> tuple[pystac.ItemCollection, list[dict]]:
    """Describe the scenes of a folder, and set aside unreadable scenes and those of equal content.

    Parameters
    ----------
    where : path, glob pattern or URL
        As for `find_scenes`.
    truth : path, optional
        A folder of class rasters; one named like a scene becomes that scene's asset ``truth``.

    Returns
    -------
    items : pystac.ItemCollection
        One STAC item a scene: footprint in EPSG:4326 where the file has a CRS, else none; asset
        ``image`` with the first file's path and, as ``file:checksum`` (a multihash), the SHA-256 of
        `seaicekit.scenes.fingerprint`, or ``seaicekit:etag`` for a URL; ``seaicekit:source``, the string to
        open, where that is more than the path. Its date is the metadata's, else eight digits in its name or
        its folder's, else a span that ends when the file was written.
    quarantined : list of dict
        ``path`` and ``reason`` of each scene that was set aside.

    Raises
    ------
    InputError
        There is no scene, or not one of them can be read.
    """
    import pystac

    items: list[pystac.Item] = []
    quarantined: list[dict] = []
    known: dict[str, str | os.PathLike] = {}
    for name, path in name_scenes(find_scenes(where)).items():
        text = _absolute(path)
        try:
            item = _catalogue_scene(name, sources.resolve_source(text))
            checksum = next(iter(item.assets["image"].extra_fields.values()))
            if checksum in known:
                raise InputError(f"has the same content as {known[checksum]}; leave one out")
            known[checksum] = path
            file = truth and Path(truth) / f"{name}.tif"
            if file and file.is_file():
                item.add_asset("truth", pystac.Asset(str(file.resolve()), roles=["truth"]))
            items.append(item)
        except InputError as error:
            reason = str(error).removeprefix(f"{text}: ")
            quarantined.append({"path": without_credentials(str(path)), "reason": reason})
    if not items:
        first = quarantined[0]
        rest = f" (and {len(quarantined) - 1} more files, none usable)" if quarantined[1:] else ""
        raise InputError(f"{first['path']}: {first['reason']}{rest}")
    return pystac.ItemCollection(items), quarantined


def _catalogue_scene(name: str, source: sources.Source) -> pystac.Item:
    """Describe a scene of the catalogue, with its source's string and the checksum of its content."""
    if without_credentials(str(source)) != str(source):
        raise InputError("its address carries a key, which the catalogue would keep; leave it out")
    with open_reader(source) as reader:
        item = describe_scene(name, reader)
        item.properties["seaicekit:valid_fraction"] = check_scene(reader)
    if str(source) != source.path:
        item.properties[SOURCE_PROPERTY] = str(source)
    checksum = sources.fingerprint(source)
    multihash = {"file:checksum": f"1220{checksum}"}  # 12 20 marks SHA-256
    remote = any(map(is_url, source.files))
    item.assets["image"].extra_fields = {"seaicekit:etag": checksum} if remote else multihash
    return item


def save_catalogue(
    path: str | os.PathLike, items: pystac.ItemCollection, quarantined: Sequence[dict] = ()
) -> None:
    """Write STAC items and what `catalogue` set aside; in a run's folder with relative paths."""
    collection = items.to_dict() | {"seaicekit:quarantined": [*quarantined]}
    for item in collection["features"]:
        for place in [*item["assets"].values(), *item["links"]]:
            place["href"] = relative_path(place["href"], path)
        if SOURCE_PROPERTY in item["properties"]:
            item["properties"][SOURCE_PROPERTY] = relative_path(item["properties"][SOURCE_PROPERTY], path)
    write_json(path, collection)


def load_catalogue(path: str | os.PathLike) -> pd.DataFrame:
    """Read STAC items into a table with ``scene`` as index.

    ``path`` is what to open, ``truth`` a path or None, ``datetime`` in ISO 8601 or None.
    The items are those of `save_catalogue`, or the results of a search.
    """
    import pandas as pd

    rows = [
        {
            "scene": item["id"],
            "path": resolve_path(_source_text(item), path),
            "truth": resolve_path(item["assets"]["truth"]["href"], path)
            if "truth" in item["assets"]
            else None,
            "datetime": item["properties"].get("datetime"),
        }
        for item in read_json(path)["features"]
    ]
    return pd.DataFrame(rows, columns=["scene", "path", "truth", "datetime"], dtype=object).set_index("scene")


def _absolute(path: str | os.PathLike) -> str:
    """Return a source's string with an absolute path; a URL stays."""
    place, options = sources.split_source(path)
    return os.fspath(path) if is_url(place) else sources.join_source(Path(place).absolute(), options)


def _source_text(item: dict) -> str:
    import pystac

    if SOURCE_PROPERTY in item["properties"]:
        return item["properties"][SOURCE_PROPERTY]
    if "image" in item["assets"]:
        return item["assets"]["image"]["href"]
    return str(sources.Source.of_item(pystac.Item.from_dict(item)))


def describe_scene(name: str, reader: SceneReader) -> pystac.Item:
    """Describe an open scene as a STAC item, with its place, its date and the asset ``image``.

    See `catalogue` for the fields.

    Raises
    ------
    InputError
        The scene's CRS has no place on Earth.
    """
    import antimeridian
    import pystac
    from rasterio.warp import transform
    from shapely.geometry import Polygon, box, mapping

    place = reader.source.path if is_url(reader.source.path) else os.path.abspath(reader.source.path)
    geometry = bbox = None
    properties: dict[str, Any] = {"proj:shape": list(reader.shape)}
    if reader.crs:
        bounds = rasterio.transform.array_bounds(*reader.shape, reader.transform)
        # The projection bends edges, so they get points between the corners.
        edge = box(*bounds).segmentize(max(bounds[2] - bounds[0], bounds[3] - bounds[1]) / 16).exterior
        # GDAL cuts some whole polygons at the antimeridian, and some not; so each point goes by itself.
        try:
            points = transform(reader.crs, "EPSG:4326", *edge.xy)
        except (rasterio.errors.CRSError, CPLE_BaseError) as error:
            raise InputError(f"{reader.path}: its CRS has no place on Earth ({error}); correct it") from error
        footprint = antimeridian.fix_polygon(Polygon(zip(*points, strict=True)))
        geometry, bbox = mapping(footprint), list(antimeridian.bbox(footprint))
        properties |= {"proj:code": reader.crs.to_string(), "proj:transform": list(reader.transform)[:6]}
    taken = datetime.fromisoformat(reader.source.taken) if reader.source.taken else _date(Path(place))
    if taken is None:  # STAC needs a date, or a span that holds it: until the file was written
        written = datetime.now(UTC) if is_url(place) else datetime.fromtimestamp(os.path.getmtime(place), UTC)
        properties |= {"start_datetime": "1972-07-23T00:00:00Z", "end_datetime": written.isoformat()}
    item = pystac.Item(name, geometry, bbox, taken, properties)
    item.add_asset("image", pystac.Asset(place, roles=["data"]))
    return item


def _date(path: Path) -> datetime | None:
    for text in (path.name, path.parent.name):
        for digits in re.findall(r"(?<!\d)(?:19|20)\d{6}(?!\d)", text):
            try:
                return datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC)
            except ValueError:
                continue  # eight digits, but no date
    return None
