"""A tile is a window of a scene and of its label raster; an index of tiles is a table."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from seaicekit import labels, scenes
from seaicekit.classes import NODATA, RESERVED, TILE_COLUMNS
from seaicekit.files import InputError, atomic_write, relative_path, require, resolve_path
from seaicekit.tiles.inputs import labelling_rule
from seaicekit.tiles.splits import SplitOptions, choose_split

if TYPE_CHECKING:
    import pandas as pd

TILE_SIZE = 256  # pixels a side, as in the paper
# Sentinel-2 scene classification: shadow, cloud of medium and high probability, cirrus
SCL_CLOUD = (3, 8, 9, 10)
PATHS = ("path", "labels", "truth")  # columns of paths, relative to the table in its file


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
    require(None, "a tile index", "pyarrow")
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
    with atomic_write(path) as place:
        _map_paths(tiles, relative_path, path).to_parquet(place, index=False)
    return tiles


def read_tiles(path: str | os.PathLike) -> pd.DataFrame:
    """Read a table that `index_tiles` wrote.

    Raises
    ------
    InputError
        It is missing, or is no such table.
    """
    require(None, "a tile index", "pyarrow")
    import pandas as pd

    try:
        tiles = pd.read_parquet(path)
        if absent := {"row", "col", "size", "split"} - set(tiles):
            raise KeyError(*absent)
        return _map_paths(tiles, resolve_path, path)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path}: not a tile index ({error}); make it with seaicekit.tiles.index_tiles"
        ) from error


def _map_paths(tiles: pd.DataFrame, change: Callable[..., str], file: str | os.PathLike) -> pd.DataFrame:
    """Return the table with its paths as its file names them, or the other way round."""
    columns = [name for name in PATHS if name in tiles]
    return tiles.assign(
        **{name: tiles[name].map(lambda each: change(each, file), "ignore") for name in columns}
    )


def _rows(scene: Any, reader: scenes.SceneReader, size: int) -> list[dict]:
    """Return a row for each tile of a scene that has any data."""
    rule, ends = labelling_rule(scene.labels)
    codes, rows = scenes.read_codes(scene.labels, reader.shape, (reader.crs, reader.transform)), []
    for window in scenes.blocks(reader.shape, size):
        part = codes[window.slices]
        valid = part != NODATA
        if not valid.any():
            continue
        scl = reader.scl(window)
        if scl is None:
            bands, nodata = reader.read(window)
            bands = labels.stretch_bands(bands, ends) if ends else bands
            raw = labels.label_raw(bands, nodata & (rule.nodata == "mask"), rule.thresholds)
        cloud = part != raw if scl is None else np.isin(scl, SCL_CLOUD)
        row = {"scene": scene.scene, "path": str(scene.path), "labels": str(scene.labels)}
        row |= window._asdict() | {"size": size}
        row |= {entry.column: (part[valid] == entry.code).mean() for entry in rule.thresholds.legend}
        row |= {"nodata": 1 - valid.mean(), "cloud": cloud[valid].mean()}
        rows.append(row | {"cloud_from": "filter" if scl is None else "scl"})
    return rows


def mask_outside_tiles(codes: np.ndarray, tiles: pd.DataFrame) -> np.ndarray:
    """Return (rows, columns) class codes with 255 outside a scene's given tiles, to score just these."""
    kept = np.full_like(codes, NODATA)
    for tile in tiles.itertuples():
        window = scenes.Window(tile.row, tile.col, tile.height, tile.width).slices
        kept[window] = codes[window]
    return kept
