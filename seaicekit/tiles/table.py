"""A tile is a window of a scene and of its label raster; an index of tiles is a table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from seaicekit import labels, scenes
from seaicekit.classes import NODATA, RESERVED, TILE_COLUMNS
from seaicekit.files import InputError, atomic_write, relative_path, require, resolve_path
from seaicekit.labels import provenance
from seaicekit.tiles.splits import SplitOptions, choose_split

if TYPE_CHECKING:
    import pandas as pd

TILE_SIZE = 256  # pixels a side, as in the paper
SCL_CLOUD = (
    3,
    8,
    9,
    10,
)  # Sentinel-2 scene classification: shadow, cloud of medium and high probability, cirrus


def index_tiles(
    labelled: pd.DataFrame,
    path: str | os.PathLike,
    size: int = TILE_SIZE,
    options: SplitOptions | None = None,
    dates: Mapping[str, str | None] | None = None,
    truth: Mapping[str, str | None] | None = None,
    **changes: Any,
) -> pd.DataFrame:
    """Cut labelled scenes into tiles and say which are for training and which for testing.

    Parameters
    ----------
    labelled : pandas.DataFrame
        Columns ``scene``, ``path``, ``labels``, as from `seaicekit.autolabel`; rows with an error are
        passed over.
    path : path
        The index is written there, as Parquet.
    size : int
        Pixels a side. Tiles at a scene's lower and right edge may be smaller.
    options : SplitOptions, optional
        Which are for testing: a quarter of the scenes by default. Tiles of one scene never stand on both
        sides then, which is where the paper's random split leaks.
    dates : dict, optional
        Scene → when it was taken, ISO 8601 or None; needed to split by season.
    truth : dict, optional
        Scene → class raster or None: kept as column ``truth``, for a training on it.
    **changes
        Values of ``options`` that differ: ``split``, ``test_fraction``, ``seed``.

    Returns
    -------
    pandas.DataFrame
        A row a tile that has any data: ``scene``, ``path``, ``labels``, ``row``, ``col``, ``height``,
        ``width``, ``size`` (pixels), ``split`` ("train" or "test"), the share of each class (``open_water``,
        ``thin_ice``, ``thick_ice`` and what the cuts add) of its valid pixels, ``nodata`` of all its pixels,
        and ``cloud``, the share of its valid pixels under cloud or shadow: by the scene classification layer
        where the scene brings one (``cloud_from`` is "scl"), else where the cloud filter changed the class
        ("filter").

    Raises
    ------
    InputError
        No scene, or no tile with data; a label raster that is missing or of another shape; scenes that do not
        come apart as asked.
    """
    require("train", "a tile index", "pyarrow")
    import pandas as pd

    chosen = SplitOptions.of(options, **changes)
    rows: list[dict] = []
    for scene in labelled[labelled["labels"].notna()].itertuples():
        with scenes.open_reader(scene.path) as reader:
            rows += _rows(scene, reader, size)
    if not rows:
        raise InputError("tiles: no labelled scene holds a pixel of data; look at labels.csv for the reasons")
    tiles = pd.DataFrame(rows)
    tiles = tiles.fillna(dict.fromkeys(tiles.columns, 0.0))  # a class that only some scenes' cuts know
    tiles["split"] = choose_split(tiles, chosen, dates)
    if truth is not None:
        tiles["truth"] = tiles["scene"].map(dict(truth))
    first, last = TILE_COLUMNS
    classes = [name for name in tiles if name not in RESERVED]
    tiles = tiles[[name for name in (*first, *classes, *last) if name in tiles]]
    said = {name: tiles[name].map(lambda each: relative_path(each, path), "ignore") for name in _paths(tiles)}
    with atomic_write(path) as place:
        tiles.assign(**said).to_parquet(place, index=False)
    return tiles


def read_tiles(path: str | os.PathLike) -> pd.DataFrame:
    """Read a table that `index` wrote.

    Raises
    ------
    InputError
        It is missing, or is no such table.
    """
    require("train", "a tile index", "pyarrow")
    import pandas as pd

    try:
        tiles = pd.read_parquet(path)
        if absent := {"row", "col", "size", "split"} - set(tiles):
            raise KeyError(*absent)
        said = {
            name: tiles[name].map(lambda each: resolve_path(each, path), "ignore") for name in _paths(tiles)
        }
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path}: not a tile index ({error}); make it with seaicekit.tiles.index_tiles"
        ) from error
    return tiles.assign(**said)


def _paths(tiles: pd.DataFrame) -> list[str]:
    return ["path", "labels", *(["truth"] if "truth" in tiles else [])]


def _rows(scene: Any, reader: scenes.SceneReader, size: int) -> list[dict]:
    """Return a row for each tile of a scene that has any data."""
    # The raster says what made it; labels by hand do not, and then the paper's rule says what is cloudy.
    made = provenance(scene.labels) or {"rule": labels.Rule().to_dict(), "ends": None}
    rule = labels.Rule.from_dict(made["rule"])
    codes, rows = scenes.read_codes(scene.labels, reader.shape, (reader.crs, reader.transform)), []
    for window in scenes.blocks(reader.shape, size):
        part = codes[window.slices]
        valid = part != NODATA
        if not valid.any():
            continue
        scl = reader.scl(window)
        if scl is not None:
            cloud, source = np.isin(scl, SCL_CLOUD), "scl"
        else:
            bands, mask = reader.read(window)
            bands = labels.stretch_bands(bands, made["ends"]) if made["ends"] else bands
            cloud, source = (
                part != labels.label_raw(bands, mask & (rule.nodata == "mask"), rule.thresholds),
                "filter",
            )
        shares = {entry.column: (part[valid] == entry.code).mean() for entry in rule.thresholds.legend}
        place = {
            "scene": scene.scene,
            "path": str(scene.path),
            "labels": str(scene.labels),
            **window._asdict(),
        }
        unseen = {"nodata": 1 - valid.mean(), "cloud": cloud[valid].mean(), "cloud_from": source}
        rows.append(place | {"size": size} | shares | unseen)
    return rows


def load_tiles(tiles: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Read tiles into memory.

    Returns
    -------
    images : (N, size, size, 3) uint8
        Red, green, blue; black where a tile is smaller than ``size`` and where there is no data.
    codes : (N, size, size) uint8
        Class codes; 255 in the same places, so that nothing is learned or scored there.
    """
    size = int(tiles["size"].iloc[0])
    images = np.zeros((len(tiles), size, size, 3), np.uint8)
    codes = np.full((len(tiles), size, size), NODATA, np.uint8)
    for (path, raster), group in tiles.reset_index(drop=True).groupby(["path", "labels"], sort=False):
        with scenes.open_reader(path) as reader:
            scene_codes = scenes.read_codes(raster, reader.shape)
            for number, tile in zip(group.index, group.itertuples(), strict=True):
                window = scenes.Window(tile.row, tile.col, tile.height, tile.width)
                bands, nodata = reader.read(window)
                images[number, : tile.height, : tile.width] = np.where(nodata, 0, bands).transpose(1, 2, 0)
                codes[number, : tile.height, : tile.width] = scene_codes[window.slices]
    return images, codes


def mask_outside_tiles(codes: np.ndarray, tiles: pd.DataFrame) -> np.ndarray:
    """Return (rows, columns) class codes with 255 outside a scene's given tiles, to score just these."""
    kept = np.full_like(codes, NODATA)
    for tile in tiles.itertuples():
        window = scenes.Window(tile.row, tile.col, tile.height, tile.width).slices
        kept[window] = codes[window]
    return kept
