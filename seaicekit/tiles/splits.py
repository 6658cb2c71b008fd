"""Which tiles a network learns from, and which it is tested on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from seaicekit import scenes
from seaicekit.files import InputError
from seaicekit.parameters import Seeded

if TYPE_CHECKING:
    import pandas as pd

Split = Literal["scene", "tile", "place", "season"]
YEAR, WEEK = 365.25, 7.0  # days
OVERLAP = 0.1  # of a scene, as neighbouring granules have it
EARTH = 6_371_000.0  # metres, the mean radius


class SplitOptions(Seeded):
    """Which tiles are for training and which for testing."""

    split: Split = Field(
        "scene",
        description="What is kept for testing. scene: whole scenes, chosen evenly along their cloudiness, of "
        "a single scene tiles; tile: any tiles at random, as the paper does, which leaks, for tiles of one "
        "scene stand on both sides; place: scenes of one end of the region, along the direction in which it "
        "is longest; season: scenes of the last days of the year, which begins after the longest time "
        "without a scene.",
    )
    test_fraction: float = Field(
        0.25, gt=0, lt=1, description="Share of the scenes, or else of the tiles, that is kept for testing."
    )


def choose_split(
    tiles: pd.DataFrame, options: SplitOptions, dates: Mapping[str, str | None] | None = None
) -> np.ndarray:
    """Choose for each tile whether it is for training or for testing.

    Parameters
    ----------
    tiles : pandas.DataFrame
        Rows of a tile index, at least ``scene``, ``path`` and ``cloud``.
    options : SplitOptions
        The nearest possible share is taken. The seed chooses scenes or tiles; "place" and "season" leave no
        choice.
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
    how, test_fraction = options.split, options.test_fraction
    if len(tiles) == 1:
        raise InputError("tiles: a single tile cannot be split into training and test; give more scenes")
    if how == "tile":
        return _by_tile(tiles, test_fraction, options.seed)
    if how == "scene":
        return _by_scene(tiles, test_fraction, options.seed)
    paths = tiles.drop_duplicates("scene").set_index("scene")["path"]
    along = _places(paths) if how == "place" else _seasons(paths.index, {} if dates is None else dates)
    return _cut(tiles["scene"], along, test_fraction, how)


def _by_tile(tiles: pd.DataFrame, test_fraction: float, seed: int) -> np.ndarray:
    from sklearn.model_selection import train_test_split

    count = min(len(tiles) - 1, int(np.ceil(test_fraction * len(tiles))))  # as scikit-learn counts
    test = train_test_split(np.arange(len(tiles)), test_size=count, random_state=seed)[1]
    return np.where(np.isin(np.arange(len(tiles)), test), "test", "train")


def _by_scene(tiles: pd.DataFrame, test_fraction: float, seed: int) -> np.ndarray:
    """Choose test scenes evenly along their cloudiness, from a random start."""
    unit = tiles["scene"]
    if unit.nunique() == 1:
        warnings.warn("only one scene: its tiles are split, so scores will flatter", stacklevel=4)
        unit = tiles.index.to_series()
    ordered = tiles["cloud"].groupby(unit).mean().sort_values(kind="stable").index.to_numpy()
    count = min(len(ordered) - 1, max(1, round(test_fraction * len(ordered))))
    step = len(ordered) / count
    chosen = ((np.random.default_rng(seed).uniform(0, step) + step * np.arange(count)) // 1).astype(int)
    return np.where(unit.isin(ordered[chosen]), "test", "train")


def _places(paths: pd.Series) -> dict[str, tuple[float, float]]:
    """Return the range of each scene along the region's longest direction, metres.

    A tenth at each end does not count, since neighbouring granules overlap by as much.
    """
    from rasterio.warp import transform

    points = []
    for name, path in paths.items():
        with scenes.open_reader(path) as reader:
            if reader.crs is None:
                raise InputError(f"split: {name} has no CRS, so no place; split by scene")
            rows, cols = reader.shape
            corners = [reader.transform @ at for at in ((0, 0), (cols, 0), (0, rows), (cols, rows))]
            lon, lat = np.radians(transform(reader.crs, "EPSG:4326", *zip(*corners, strict=True)))
        # On the globe, where no scene lies beyond an edge of the map.
        xyz = EARTH * np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
        points.append(xyz)
    corners = np.array(points) - np.mean(points, axis=(0, 1))
    axis = np.linalg.svd(corners.mean(axis=1))[2][0]
    axis *= np.sign(axis[np.abs(axis).argmax()])
    low, high = (corners @ axis).min(axis=1), (corners @ axis).max(axis=1)
    rim = OVERLAP * (high - low)
    return dict(zip(paths.index, zip(low + rim, high - rim, strict=True), strict=True))


def _seasons(names: pd.Index, dates: Mapping[str, str | None]) -> dict[str, tuple[float, float]]:
    """Return the week around each scene, in days of a year that begins after the longest time without any."""
    days = []
    for name in names:
        date = dates.get(name)
        if not isinstance(date, str):
            raise InputError(
                f"split: {name} has no date; put eight digits like 20191103 in its name, or split by scene"
            )
        taken = datetime.fromisoformat(date.replace("Z", "+00:00"))
        days.append((taken - taken.replace(month=1, day=1, hour=0, minute=0)).total_seconds() / 86400)
    known = np.unique(days)
    first = known[np.diff(known, prepend=known[-1] - YEAR).argmax()]
    since = [float((day - first) % YEAR) for day in days]
    return {name: (day - WEEK / 2, day + WEEK / 2) for name, day in zip(names, since, strict=True)}


def _cut(
    scene: pd.Series, along: Mapping[str, tuple[float, float]], test_fraction: float, how: str
) -> np.ndarray:
    """Cut the scenes in two where none reaches across, with the test share nearest to ``test_fraction``."""
    low, high = (scene.map({name: ends[side] for name, ends in along.items()}).to_numpy() for side in (0, 1))
    cuts = [cut for cut in np.unique(low)[1:] if (high[low < cut] <= cut).all()]
    if not cuts:
        raise InputError(
            f"split: the scenes do not come apart into two {how}s; give others, too, or split by scene"
        )
    shares = np.array([(low >= cut).mean() for cut in cuts])
    return np.where(low >= cuts[np.abs(shares - test_fraction).argmin()], "test", "train")
