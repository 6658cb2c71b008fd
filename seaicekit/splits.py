"""Which tiles a network learns from, and which it is tested on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from seaicekit import scenes
from seaicekit.files import InputError

if TYPE_CHECKING:
    import pandas as pd

Split = Literal["scene", "tile", "place", "season"]
YEAR = 365.25  # days
EARTH = 6_371_000.0  # metres, the mean radius


def check(how: str, test_fraction: float) -> None:
    """Refuse a split that `choose` does not know, or a share out of range."""
    if how not in get_args(Split):
        raise InputError(f"split: must be one of {', '.join(get_args(Split))}, not {how!r}")
    if not 0 < test_fraction < 1:
        raise InputError(f"test_fraction: must lie between 0 and 1, not {test_fraction}")


def choose(
    tiles: pd.DataFrame, how: Split, test_fraction: float, seed: int, dates: Mapping[str, str | None] | None = None
) -> np.ndarray:
    """Say of each tile whether it is for training or for testing.

    Parameters
    ----------
    tiles : pandas.DataFrame
        Rows of a tile index, at least ``scene``, ``path`` and ``cloud``.
    how : "scene", "tile", "place" or "season"
        "scene": whole scenes, chosen evenly along their cloudiness; of a single scene, tiles. "tile": any
        tiles at random, as the paper does, which leaks: tiles of one scene stand on both sides. "place":
        scenes of one end of the region, along the direction in which it is longest. "season": scenes of the
        last days of the year, which begins after the longest time without a scene.
    test_fraction : float, 0 to 1
        Share of the scenes, or for "tile", "place" and "season" of the tiles, for testing; what comes nearest.
    seed : int
        Chooses the scenes or tiles; "place" and "season" leave no choice.
    dates : dict, optional
        Scene → when it was taken, ISO 8601 or None; needed for "season".

    Returns
    -------
    (tiles,) of str, "train" or "test"

    Raises
    ------
    InputError
        A scene without a place or a date, or scenes that do not come apart in it; a single tile.
    """
    check(how, test_fraction)
    if len(tiles) == 1:
        raise InputError("tiles: a single tile cannot be split into training and test; give more scenes")
    if how == "tile":
        return _by_tile(tiles, test_fraction, seed)
    if how == "scene":
        return _by_scene(tiles, test_fraction, seed)
    paths = tiles.drop_duplicates("scene").set_index("scene")["path"]
    along, apart = _places(paths) if how == "place" else (_seasons(paths.index, dates or {}), 1.0)
    return _cut(tiles["scene"], along, apart, test_fraction, how)


def _by_tile(tiles: pd.DataFrame, test_fraction: float, seed: int) -> np.ndarray:
    from sklearn.model_selection import train_test_split

    test = train_test_split(np.arange(len(tiles)), test_size=test_fraction, random_state=seed)[1]
    return np.where(np.isin(np.arange(len(tiles)), test), "test", "train")


def _by_scene(tiles: pd.DataFrame, test_fraction: float, seed: int) -> np.ndarray:
    """Choose the test scenes evenly along their cloudiness, from a random start."""
    unit = tiles["scene"]
    if unit.nunique() == 1:
        warnings.warn("only one scene: its tiles are split, so scores will flatter", stacklevel=4)
        unit = tiles.index.to_series()
    ordered = tiles["cloud"].groupby(unit).mean().sort_values(kind="stable").index.to_numpy()
    count = min(len(ordered) - 1, max(1, round(test_fraction * len(ordered))))
    step = len(ordered) / count
    chosen = ((np.random.default_rng(seed).uniform(0, step) + step * np.arange(count)) // 1).astype(int)
    return np.where(unit.isin(ordered[chosen]), "test", "train")


def _places(paths: pd.Series) -> tuple[dict[str, float], float]:
    """Return where scenes lie along the region's longest direction, metres, and half the side of a scene."""
    from rasterio.warp import transform

    points, sides = [], []
    for name, path in paths.items():
        with scenes.reading(path) as reader:
            if reader.crs is None:
                raise InputError(f"split: {name} has no CRS, so no place; split by scene")
            rows, cols = reader.shape
            corners = [reader.transform @ at for at in ((cols / 2, rows / 2), (0, 0), (cols, rows))]
            lon, lat = np.radians(transform(reader.crs, "EPSG:4326", *zip(*corners, strict=True)))
        # On the globe, where no scene lies beyond an edge of the map.
        xyz = EARTH * np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
        points.append(xyz[0])
        sides.append(np.linalg.norm(xyz[2] - xyz[1]) / 2**0.5)
    centred = np.array(points) - np.mean(points, axis=0)
    axis = np.linalg.svd(centred)[2][0]
    axis *= np.sign(axis[np.abs(axis).argmax()])
    return dict(zip(paths.index, centred @ axis, strict=True)), float(np.median(sides)) / 2


def _seasons(names: pd.Index, dates: Mapping[str, str | None]) -> dict[str, float]:
    """Return each scene's day of a year that begins after the longest time without any."""
    days = []
    for name in names:
        if not isinstance(dates.get(name), str):
            raise InputError(
                f"split: {name} has no date; put eight digits like 20191103 in its name, or split by scene"
            )
        days.append(datetime.fromisoformat(dates[name].replace("Z", "+00:00")).timetuple().tm_yday)
    known = np.unique(days)
    first = known[np.diff(known, prepend=known[-1] - YEAR).argmax()]
    return {name: float((day - first) % YEAR) for name, day in zip(names, days, strict=True)}


def _cut(scene: pd.Series, along: dict[str, float], apart: float, test_fraction: float, how: str) -> np.ndarray:
    """Cut the scenes in two where neighbours are ``apart``, so that the upper part holds the share nearest to asked."""
    values = scene.map(along).to_numpy()
    known = np.unique(values)
    cuts = known[1:][np.diff(known) >= apart]
    if not len(cuts):
        raise InputError(f"split: all scenes are of one {how}; give others, too, or split by scene")
    shares = np.array([(values >= cut).mean() for cut in cuts])
    return np.where(values >= cuts[np.abs(shares - test_fraction).argmin()], "test", "train")
