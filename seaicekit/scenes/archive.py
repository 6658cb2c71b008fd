"""Search a STAC catalogue for scenes, and fetch them as 8-bit pictures of a place on a polar grid."""

from __future__ import annotations

import difflib
import logging
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rasterio.errors

from seaicekit.files import InputError, require
from seaicekit.scenes import polar
from seaicekit.scenes.rasters import write_cog
from seaicekit.scenes.reading import to_8bit
from seaicekit.scenes.remote import signed_url
from seaicekit.scenes.sources import Source

if TYPE_CHECKING:
    import pystac
    import pystac_client
    from odc.geo.geobox import GeoBox

    Where = str | Sequence[float]

CATALOGS = {  # name → address, collections
    "earth-search": ("https://earth-search.aws.element84.com/v1", ["sentinel-2-l2a"]),
    "planetary-computer": ("https://planetarycomputer.microsoft.com/api/stac/v1", ["sentinel-2-l2a"]),
}
REGIONS = {  # west, south, east, north in degrees; rough boxes to search in, no borders
    "Amundsen Sea": (-130, -75.5, -100, -68),
    "Baffin Bay": (-82, 68, -50, 78),
    "Barents Sea": (16, 68, 60, 81),
    "Beaufort Sea": (-156, 69, -124, 77),
    "Bellingshausen Sea": (-100, -74, -65, -65),
    "Bering Sea": (162, 52, -157, 66),
    "Chukchi Sea": (174, 66, -156, 76),
    "Davis Sea": (85, -68, 102, -63),
    "Davis Strait": (-67, 62, -50, 68),
    "East Siberian Sea": (140, 69, 180, 78),
    "Fram Strait": (-20, 77, 15, 82),
    "Greenland Sea": (-25, 70, 10, 80),
    "Hudson Bay": (-95, 51, -76, 66),
    "Kara Sea": (55, 68, 105, 81.5),
    "Laptev Sea": (105, 70, 140, 81),
    "Lincoln Sea": (-65, 81, -30, 84),
    "Prydz Bay": (70, -70, 80, -65),
    "Ross Sea": (160, -78.5, -150, -70),
    "Sea of Okhotsk": (135, 44, 163, 62),
    "Weddell Sea": (-60, -78, -15, -62),
    "White Sea": (32, 63.5, 44, 68),
}
TIMEOUT = 30  # seconds without an answer
PAGE = 100  # items in one request
NODATA = 0  # of Sentinel-2; not every catalogue has it
CHUNK = 2048  # pixels a side that are read as one task


def search(
    where: Where,
    dates: str | Sequence[str],
    max_cloud: float = 100,
    catalog: str = "earth-search",
    collections: Sequence[str] | None = None,
    limit: int = 100,
) -> pystac.ItemCollection:
    """Search a STAC catalogue for scenes.

    Parameters
    ----------
    where : str or sequence of float
        A sea's name, see `REGIONS`, or west, south, east, north in degrees; west > east crosses 180°.
    dates : str or pair of str
        ``"2019-11"``, ``"2019-11-01/2019-11-30"`` or the two ends, both included.
    max_cloud : float
        Largest cloud cover in per cent, 0–100; items without a cloud cover are kept.
    catalog : str
        "earth-search", "planetary-computer", or the address of a STAC API.
    collections : sequence of str, optional
        The collections to search; by default Sentinel-2 L2A, at another address all.
    limit : int
        The largest number of items.

    Returns
    -------
    pystac.ItemCollection
        Sorted by date, then id; each item once. Addresses are the catalogue's own, never signed.

    Raises
    ------
    InputError
        Unknown sea or catalogue, an unreadable date, no answer, no item, or more than ``limit``.
    """
    require("stac", "a search", "pystac_client")
    import pystac
    from pystac_client.warnings import PystacClientWarning

    span = parse_dates(dates)
    west, south, east, north = parse_region(where)
    boxes = [(west, south, east, north)]
    if west > east:
        boxes = [(west, south, 180, north), (-180, south, east, north)]
    url, default = CATALOGS.get(catalog, (catalog, None))
    found: dict[tuple, pystac.Item] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PystacClientWarning)  # of an API without conformance classes
            client = _client(url)
            for box in boxes:
                pages = client.search(
                    bbox=box,
                    datetime=span,
                    collections=collections or default,
                    limit=PAGE,
                    **_cloud_filter(client, max_cloud),
                )
                for item in pages.items():
                    if (item.properties.get("eo:cloud_cover") or 0) <= max_cloud:
                        found[item.collection_id, item.id] = item
                    if len(found) > limit:
                        raise InputError(
                            f"{where}, {dates}: more than {limit} scenes; give a smaller box, fewer days, "
                            "a lower max_cloud or a higher limit"
                        )
    except InputError:
        raise
    except Exception as error:  # pystac-client raises many kinds of errors for such a page
        raise InputError(
            f"{url}: no answer from a STAC API there ({_root(error)}); check the address and the connection"
        ) from error
    if not found:
        raise InputError(
            f"{where}, {dates}: no scenes there with at most {max_cloud:g} % cloud; "
            "widen the box or the dates, or raise max_cloud"
        )
    items: list[pystac.Item] = sorted(found.values(), key=lambda item: (_date(item), item.id))
    return pystac.ItemCollection(items)


def parse_region(where: Where) -> tuple[float, float, float, float]:
    """Return west, south, east, north in degrees of a sea's name or of four numbers.

    Raises
    ------
    InputError
        No such sea, or no such box.
    """
    if isinstance(where, str):
        names = {name.lower(): name for name in REGIONS}
        if where.strip().lower() not in names:
            near = names[difflib.get_close_matches(where.lower(), names, 1, 0)[0]]
            raise InputError(
                f"{where}: unknown sea; did you mean {near}? Or give west, south, east, north in degrees"
            )
        return REGIONS[names[where.strip().lower()]]
    try:
        west, south, east, north = map(float, where)
    except (TypeError, ValueError):
        west = south = east = north = np.nan
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90 and west != east):
        raise InputError(f"{where}: no box on the Earth; give west, south, east, north in degrees")
    return west, south, east, north


def parse_dates(dates: str | Sequence[str]) -> str:
    """Return a span of dates in the form that catalogues take.

    Raises
    ------
    InputError
        No dates, or an end before its start.
    """
    from pystac_client import ItemSearch

    try:
        span = ItemSearch("http://localhost", datetime=dates).get_parameters()["datetime"]
        start, _, end = span.partition("/")
        if start > end and {"", ".."}.isdisjoint((start, end)):
            raise ValueError
    except Exception:  # pystac-client raises plain Exception
        raise InputError(f"{dates}: no dates; give '2019-11', '2019-11-01/2019-11-30' or a pair") from None
    return span


def _client(url: str) -> pystac_client.Client:
    import pystac_client
    import urllib3
    from pystac_client.stac_api_io import StacApiIO

    if "://" not in url:
        near = difflib.get_close_matches(url, CATALOGS, 1, 0)[0]
        raise InputError(f"{url}: unknown catalogue; did you mean {near}? Or give the address of a STAC API")
    # A busy server is asked again; an absent one is not.
    retry = urllib3.Retry(
        2, connect=0, read=0, backoff_factor=1, status_forcelist=(429, 502, 503, 504), allowed_methods=None
    )
    return pystac_client.Client.open(
        url, stac_io=StacApiIO(timeout=TIMEOUT, max_retries=retry), timeout=TIMEOUT
    )


def _cloud_filter(client: pystac_client.Client, max_cloud: float) -> dict[str, dict]:
    """Return the parameters that limit the cloud cover, in the extension that the server has."""
    if max_cloud >= 100:
        return {}
    if client.conforms_to("QUERY"):
        return {"query": {"eo:cloud_cover": {"lte": max_cloud}}}
    if client.conforms_to("FILTER"):
        cover = {"property": "eo:cloud_cover"}
        clear, unknown = {"op": "<=", "args": [cover, max_cloud]}, {"op": "isNull", "args": [cover]}
        return {"filter": {"op": "or", "args": [clear, unknown]}}
    return {}


def _root(error: Any) -> str:
    """Return the first line of an error's first cause."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return re.sub(r"\?\S*", "", line)  # an address may hold a token


def _date(item: pystac.Item) -> str:
    return str(item.datetime or item.properties.get("start_datetime"))


def fetch(
    items: Iterable[pystac.Item],
    folder: str | os.PathLike,
    bbox: Where | None = None,
    resolution: float = 50,
    white: float = 1.0,
) -> list[Path]:
    """Write each item's part of a place as an 8-bit picture on a polar grid.

    Parameters
    ----------
    items : iterable of pystac.Item
        As from `search`: with red, green and blue as reflectance, or a true-colour picture.
    folder : path
        Where to write ``<item's id>.tif``.
    bbox : str or sequence of float, optional
        As for `search`; by default all of each item.
    resolution : float
        Pixel size in metres.
    white : float
        Reflectance that becomes 255; 0 becomes 0.

    Returns
    -------
    list of Path
        Cloud-Optimised GeoTIFF of three bands, uint8, with a mask of no data, in EPSG:3031 (south) or
        EPSG:3413 (north). Pixel edges lie at multiples of ``resolution``, so that all pictures share a grid.
        Items without a place or without a pixel in the box are left out.

    Raises
    ------
    InputError
        An item has no such bands or cannot be read, or none lies in the box.
    """
    require("stac", "fetching scenes", "odc.stac")
    from tqdm.auto import tqdm

    box, paths = parse_region(bbox) if bbox else None, []
    for item in tqdm(list(items), desc="Fetching", unit="scene"):
        grid = _grid(item, box, resolution)
        if grid is None:
            continue
        pixels, valid = _read(item, grid, white)
        if valid.any():
            # An id may hold characters that lead out of the folder.
            path = Path(folder) / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', item.id)}.tif"
            write_cog(path, pixels, str(grid.crs), grid.affine, valid=valid)
            paths.append(path)
    if not paths:
        raise InputError(f"{bbox or 'items'}: no item has a pixel there; give a box that the items touch")
    return paths


def _grid(item: pystac.Item, box: tuple | None, resolution: float) -> GeoBox | None:
    """Return the grid of an item's part of the box; None if they do not touch."""
    import shapely
    from odc.geo.geobox import GeoBox

    if not item.geometry:
        return None
    crs = polar.polar_crs(shapely.geometry.shape(item.geometry).centroid.y)
    area = polar.footprint_on_map(item.geometry, crs)
    if box:
        west, south, east, north = box
        # The projection takes the other pole to infinity.
        south, north = (max(south, 0), north) if polar.is_north(crs) else (south, min(north, 0))
        if south >= north:
            return None
        ring = shapely.box(west, south, east + 360 * (west > east), north).segmentize(0.5)
        area = area.intersection(polar.footprint_on_map(shapely.geometry.mapping(ring), crs))
    return None if area.area == 0 else GeoBox.from_bbox(area.bounds, crs, resolution=resolution)


def _read(item: pystac.Item, grid: GeoBox, white: float) -> tuple[np.ndarray, np.ndarray]:
    """Read an item on a grid: (3, rows, columns) uint8, and where it holds data, (rows, columns) bool."""
    import odc.stac

    source = _source(item)
    keys = {asset.get_absolute_href() or asset.href: key for key, asset in item.assets.items()}
    files = [keys[file] for file, _ in source.bands]
    # odc-stac names a band by its asset and its number in it.
    names = [f"{key}.{files[:colour].count(key) + 1}" for colour, key in enumerate(files)]
    odc.stac.configure_rio(cloud_defaults=True)
    # Its messages hold addresses with their tokens.
    logging.getLogger("odc.loader._rio").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            # The warped arrays carry no grid of their own.
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            loaded = odc.stac.load(
                [item],
                names,
                geobox=grid,
                resampling="average",
                chunks={"x": CHUNK, "y": CHUNK},
                stac_cfg={"*": {"assets": {"*": {"nodata": NODATA}}}},
                patch_url=signed_url,
            ).compute()
    except (rasterio.errors.RasterioError, OSError) as error:
        raise InputError(
            f"{item.id}: cannot be read ({_root(error)}); try again later or leave it out"
        ) from error
    bands = np.stack([loaded[name].values[0] for name in names])
    valid = (bands != (NODATA if source.nodata is None else source.nodata)).any(axis=0)
    if len(set(files)) > 1:  # a single file is a picture, of 8 bits already
        scaling = zip(bands, source.offsets or (0, 0, 0), strict=True)
        bands = np.stack(
            [to_8bit(band, offset, source.quantification or 1e4, white) for band, offset in scaling]
        )
    return np.where(valid, bands, 0).astype(np.uint8), valid


def _source(item: pystac.Item) -> Source:
    """Take an item's reflectance, or its true-colour picture where there is none."""
    try:
        return Source.of_item(item)
    except InputError:
        if {"visual", "TCI"} & item.assets.keys() and {"red", "B04"}.isdisjoint(item.assets):
            return Source.of_item(item, bands="TCI")
        raise
