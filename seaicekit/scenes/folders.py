"""Find scenes and describe them as STAC items."""

from __future__ import annotations

import glob
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

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
from seaicekit.scenes.reading import SceneReader, blocks, open_reader

if TYPE_CHECKING:
    import pandas as pd
    import pystac

SOURCE_PROPERTY = "seaicekit:source"  # an item's string to open, where that is more than a path
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".jp2")


def find_scenes(where: str | os.PathLike) -> list[Path | str]:
    """List the scenes in a folder and its sub-folders, or those that a path or a glob pattern names.

    A Sentinel-2 SAFE folder, or a zip of one, is one scene. Passed over are hidden files and folders, files
    that are no images by their ending, and run folders.

    Parameters
    ----------
    where : str or path
        Options after ``#`` (`seaicekit.scenes.sources`) go to each scene found. A URL, or a file with others
        named in its options, is one scene, and is not looked for.

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
    scenes = [path for path in paths[1:] if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not folder.is_file():  # the images in a product are no scenes of their own
        scenes = [
            path
            for path in scenes
            if products.isdisjoint(path.parents) and not any(map(_in_safe, path.parents))
        ]
    scenes = sorted([*scenes, *products])
    # What an earlier run made below the folder, or below where a pattern begins to vary, is no input.
    base = folder if folder.is_dir() else _fixed(place)
    below = {parent for path in scenes for parent in path.parents if base in parent.parents}
    runs = {parent for parent in below if (parent / RUN_MARKER).exists()}
    scenes = [path for path in scenes if runs.isdisjoint(path.parents)]
    if not scenes:
        raise InputError(
            f"{where}: no scenes there; give a folder with images ({' '.join(SUFFIXES)}) or SAFE products, "
            "or a pattern in quotes such as 'folder/**/*truecolor*'"
        )
    return [sources.join_source(path, options) if options else path for path in scenes]


def _fixed(pattern: str) -> Path:
    """Return the folder that all matches of a glob pattern are below."""
    parts = Path(pattern).parts
    first = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return Path(*parts[:first])


def has_crs(path: str | os.PathLike) -> bool:
    """Say whether a scene has a place on a map."""
    with open_reader(path) as reader:
        return reader.crs is not None


def check_scene(reader: SceneReader) -> float:
    """Read a scene through, to know before the work begins that it can be read.

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
    """Describe the scenes of a folder, and set aside those that cannot be read or are there already.

    Parameters
    ----------
    where : path, glob pattern or URL
        As for `find`.
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
    seen: dict[str, str | os.PathLike] = {}
    for name, path in name_scenes(find_scenes(where)).items():
        text = absolute_source(path)
        try:
            source = sources.resolve_source(text)
            if without_credentials(str(source)) != str(source):
                raise InputError("its address carries a key, which the catalogue would keep; leave it out")
            with open_reader(source) as reader:
                item = describe_scene(name, reader, check_scene(reader))
            checksum = sources.fingerprint(source)
            first = seen.setdefault(checksum, path)
            if first != path:
                raise InputError(f"has the same content as {first}; leave one out")
            # 12 20: a multihash's mark of SHA-256
            remote = any(map(is_url, source.files))
            known = {"seaicekit:etag": checksum} if remote else {"file:checksum": "1220" + checksum}
            item.assets["image"].extra_fields = known
            if truth and (Path(truth) / f"{name}.tif").is_file():
                item.add_asset(
                    "truth", pystac.Asset(str((Path(truth) / f"{name}.tif").resolve()), roles=["truth"])
                )
            items.append(item)
        except InputError as error:
            quarantined.append(
                {"path": without_credentials(str(path)), "reason": str(error).removeprefix(f"{text}: ")}
            )
    if not items:
        worst = quarantined[0]
        rest = f" (and {len(quarantined) - 1} more files, none usable)" if quarantined[1:] else ""
        raise InputError(f"{worst['path']}: {worst['reason']}{rest}")
    return pystac.ItemCollection(items), quarantined


def save_catalogue(path: str | os.PathLike, items: pystac.ItemCollection, quarantined: list[dict]) -> None:
    """Write what `catalogue` returned as one STAC ItemCollection."""
    write_items(path, items.to_dict() | {"seaicekit:quarantined": quarantined})


def write_items(path: str | os.PathLike, collection: dict) -> None:
    """Write an ItemCollection; in a run's folder it names what is there by relative paths."""
    for item in collection["features"]:
        for place in [*item["assets"].values(), *item["links"]]:
            place["href"] = relative_path(place["href"], path)
        if SOURCE_PROPERTY in item["properties"]:
            item["properties"][SOURCE_PROPERTY] = relative_path(item["properties"][SOURCE_PROPERTY], path)
    write_json(path, collection)


def load_catalogue(path: str | os.PathLike) -> pd.DataFrame:
    """Read STAC items into a table with ``scene`` as index.

    ``path`` is what to open, ``truth`` a path or None, ``datetime`` in ISO 8601 or None.
    They may be those of `save_catalogue`, or those that a search of an archive found.
    """
    import pandas as pd

    rows = [
        {
            "scene": item["id"],
            "path": resolve_path(_opened(item), path),
            "truth": resolve_path(item["assets"]["truth"]["href"], path)
            if "truth" in item["assets"]
            else None,
            "datetime": item["properties"].get("datetime"),
        }
        for item in read_json(path)["features"]
    ]
    return pd.DataFrame(rows, columns=["scene", "path", "truth", "datetime"], dtype=object).set_index("scene")


def _in_safe(folder: Path) -> bool:
    return folder.suffix.upper() == ".SAFE"


def absolute_source(path: str | os.PathLike) -> str:
    """Return a source's string with an absolute path; a URL stays."""
    place, options = sources.split_source(path)
    return os.fspath(path) if is_url(place) else sources.join_source(Path(place).absolute(), options)


def _opened(item: dict) -> str:
    import pystac

    if SOURCE_PROPERTY in item["properties"]:
        return item["properties"][SOURCE_PROPERTY]
    if "image" in item["assets"]:
        return item["assets"]["image"]["href"]
    return str(sources.Source.of_item(pystac.Item.from_dict(item)))


def describe_scene(name: str, reader: SceneReader, valid: float) -> pystac.Item:
    """Describe an open scene as a STAC item, see `catalogue`, without a checksum of its content.

    Parameters
    ----------
    name : str
        The item's id.
    reader : SceneReader
    valid : float
        Share of the pixels that hold data.
    """
    import antimeridian
    import pystac
    from rasterio.warp import transform
    from shapely.geometry import Polygon, box, mapping

    size, crs, text = reader.shape, reader.crs, absolute_source(reader.path)
    bounds = rasterio.transform.array_bounds(*size, reader.transform)
    geometry = bbox = None
    properties = {"proj:shape": list(size), "seaicekit:valid_fraction": valid}
    if crs:
        # Edges are bent by the projection, so they get points between the corners.
        edge = box(*bounds).segmentize(max(bounds[2] - bounds[0], bounds[3] - bounds[1]) / 16).exterior
        # Point by point: of a whole polygon GDAL cuts some at the antimeridian, and some not.
        try:
            around = transform(crs, "EPSG:4326", *edge.xy)
        except (rasterio.errors.CRSError, CPLE_BaseError) as error:
            raise InputError(f"{text}: its CRS has no place on Earth ({error}); correct it") from error
        footprint = antimeridian.fix_polygon(Polygon(zip(*around, strict=True)))
        geometry, bbox = mapping(footprint), list(antimeridian.bbox(footprint))
        properties |= {"proj:code": crs.to_string(), "proj:transform": list(reader.transform)[:6]}
    place = sources.split_source(text)[0]
    if text != place:
        properties[SOURCE_PROPERTY] = text
    taken = datetime.fromisoformat(reader.source.taken) if reader.source.taken else _date(Path(place))
    if taken is None:  # STAC wants a date or a span that holds it; it was taken before the file was written
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
