"""What a study is made on: scenes of known truth, calibrated cuts, labels and tiles."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import yaml
from pydantic import Field, model_validator
from tqdm.auto import tqdm

from seaicekit import scenes, tiles
from seaicekit.classes import LEGEND, NODATA
from seaicekit.files import InputError, atomic_write, read_json, write_json
from seaicekit.labels import Rule, autolabel
from seaicekit.parameters import Parameters
from seaicekit.thresholds import Thresholds
from seaicekit.tuner import Preview, fit_points

PRESET = Path(__file__).with_name("benchmark.yaml")
Group = Literal["training", "development", "heldout"]
Split = Literal["scene", "tile"]
EACH = 15  # points of a class, 45 in all
SCORED_SHARE = 0.2  # of the tiles, where they are split at random, as in the paper
SIDES = {"training": "train", "development": "test", "heldout": "heldout"}  # a training watches "test"


class Benchmark(Parameters):
    """Scenes to learn from, to choose on, and to be scored on.

    A group is its first seed and the number of its scenes; every second scene of it is cloudy.
    """

    name: str
    size: int = Field(description="Pixels a side of each scene.")
    cloud: float = Field(description="Of each cloudy scene; see `seaicekit.scenes.synthetic_scene`.")
    overlap: float = Field(description="See `seaicekit.scenes.synthetic_scene`.")
    thickness: float = Field(description="See `seaicekit.scenes.synthetic_scene`.")
    training: tuple[int, int]
    development: tuple[int, int]
    heldout: tuple[int, int]
    split: Split = Field(
        "scene",
        description="tile is the paper's: a fifth of all tiles of training and held-out scenes, drawn at "
        "random, is scored. It leaks, since neighbouring tiles are on both sides.",
    )

    @model_validator(mode="after")
    def _check_groups(self) -> Benchmark:
        groups = {group: self.scenes(group) for group in get_args(Group)}
        used = Counter(seed for seeds in groups.values() for seed in seeds)
        for group, seeds in groups.items():
            if not seeds:
                raise InputError(f"{group}: must be at least 1 scene")
            if any(used[seed] > 1 for seed in seeds):
                raise InputError(f"{group}: shares seeds with another group; give fewer scenes")
        return self

    @classmethod
    def load(
        cls,
        name: str = "demo",
        size: int | None = None,
        training: int | None = None,
        development: int | None = None,
        heldout: int | None = None,
        split: Split = "scene",
    ) -> Benchmark:
        """Return a benchmark as committed in ``benchmark.yaml``, or a smaller or larger one of its kind.

        Parameters
        ----------
        name : str
            "demo" or "hard".
        size : int, optional
            Pixels a side.
        training, development, heldout : int, optional
            How many scenes.
        split : "scene" or "tile"
        """
        known = yaml.safe_load(PRESET.read_text(encoding="utf-8"))
        if name not in known:
            raise InputError(f"setting: must be one of {', '.join(known)}, not {name!r}")
        values = known[name] | ({} if size is None else {"size": size})
        counts = {"training": training, "development": development, "heldout": heldout}
        for group, count in counts.items():
            first, committed = values[group]
            values[group] = first, committed if count is None else count
        return cls(name=name, **values, split=split)

    def scenes(self, group: Group) -> dict[int, float]:
        """Return seed → share of cloud for a group's scenes."""
        first, count = getattr(self, group)
        return {first + number: self.cloud * (number % 2) for number in range(count)}

    def settings(self, cloud: float) -> dict[str, float]:
        """Return what `seaicekit.scenes.synthetic_scene` needs beside seed and shape."""
        return {"cloud": cloud, "overlap": self.overlap, "thickness": self.thickness}


@dataclass(frozen=True)
class Material:
    """What networks learn from and are scored on.

    Attributes
    ----------
    folder : Path
    benchmark : Benchmark
    scenes : pandas.DataFrame
        By ``scene``: ``group``, ``path``, ``truth``, ``labels`` (filter and cuts) and ``raw`` (cuts alone),
        paths.
    tiles : pandas.DataFrame
        As from `seaicekit.tiles.index_tiles`; ``split`` is "train", "test" (development) or "heldout", and
        ``cloud`` is that of the truth, not of the filter.
    cuts, filter_cuts : Thresholds
        Fitted to the same points: to the images' brightness, and to the one that the filter has corrected.
    """

    folder: Path
    benchmark: Benchmark
    scenes: pd.DataFrame
    tiles: pd.DataFrame
    cuts: Thresholds
    filter_cuts: Thresholds

    def of(self, group: Group) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the scenes and the tiles of a group."""
        chosen = self.tiles[self.tiles["split"] == SIDES[group]]
        return self.scenes[self.scenes.index.isin(chosen["scene"])], chosen


def check_settings(path: Path, settings: dict) -> None:
    """Write a file with the settings that a folder's results are made by, or compare with what it holds.

    Raises
    ------
    InputError
        The folder holds results of other settings.
    """
    saved = read_json(path) if path.exists() else settings
    other = sorted(key for key in settings.keys() | saved.keys() if settings.get(key) != saved.get(key))
    if other:
        raise InputError(
            f"{path.parent}: holds a study of other {', '.join(other)}; give another folder, or the same "
            "settings again"
        )
    write_json(path, settings)


def make(
    folder: str | os.PathLike,
    benchmark: Benchmark,
    tile: int = tiles.TILE_SIZE,
    points: int = EACH,
    progress: bool = True,
) -> Material:
    """Make a study's material, or take what is already there.

    Parameters
    ----------
    folder : path
    benchmark : Benchmark
    tile : int
        Pixels a side.
    points : int
        How many of each class the cuts are fitted to, drawn from the truth of training scenes.
    progress : bool
        Show bars.

    Raises
    ------
    InputError
        The folder holds a study of other settings.
    """
    folder = Path(folder)
    check_settings(
        folder / "study.json", benchmark.model_dump(mode="json") | {"tile": tile, "points": points}
    )
    table = _scenes(folder, benchmark, progress)
    training = table[table["group"] == "training"]
    clicked = draw(training["truth"], points)
    cuts = _fitted(folder / "cuts.json", clicked, training["path"], Rule(cloud_filter=False))
    filter_cuts = _fitted(folder / "filter_cuts.json", clicked, training["path"], Rule())
    options: dict[str, Any] = {"engine": "processes", "progress": progress}
    labelled = autolabel(table["path"], folder / "labels", filter_cuts, **options)
    raw = autolabel(table["path"], folder / "raw", cuts, cloud_filter=False, **options)
    table["labels"], table["raw"] = labelled["labels"].to_numpy(), raw["labels"].to_numpy()
    path = folder / "tiles.parquet"
    if not path.exists():
        index = tiles.index_tiles(labelled, folder / "found.parquet", tile, test_fraction=0.5)
        index["split"] = _split(index, table["group"], benchmark)
        index["cloud"], index["cloud_from"] = _cloud(index, table, benchmark), "truth"
        with atomic_write(path) as place:
            index.to_parquet(place, index=False)
    return Material(folder, benchmark, table, pd.read_parquet(path), cuts, filter_cuts)


def _scenes(folder: Path, benchmark: Benchmark, progress: bool) -> pd.DataFrame:
    """Write the scenes that are not there yet; return them by name."""
    groups = get_args(Group)
    planned = [(group, *each) for group in groups for each in benchmark.scenes(group).items()]
    rows = []
    for group, seed, cloud in tqdm(planned, "scenes", disable=not progress):
        path, truth = scenes.synthetic_paths(folder, seed, cloud)
        if not (path.exists() and truth.exists()):
            scenes.write_synthetic(folder, seed, (benchmark.size,) * 2, **benchmark.settings(cloud))
        row = {"scene": path.stem, "group": group, "seed": seed, "sky": cloud}
        rows.append(row | {"path": str(path), "truth": str(truth)})
    return pd.DataFrame(rows).set_index("scene")


def _fitted(path: Path, points: pd.DataFrame, paths: pd.Series, rule: Rule) -> Thresholds:
    """Return the rule's cuts fitted to points, from the file if there is one."""
    if not path.exists():
        fit = fit_points(points, {name: Preview(scene) for name, scene in paths.items()}, rule)
        cuts = Thresholds.of(rule.thresholds, water_max=fit.water_max, thin_max=fit.thin_max)
        cuts.save(path, {"points": points.to_dict("records")})
    return Thresholds.load(path)


def _split(index: pd.DataFrame, groups: pd.Series, benchmark: Benchmark) -> np.ndarray:
    """Return which side each tile is on: its scene's, or for the split "tile" one drawn at random."""
    sides = index["scene"].map(groups).map(SIDES).to_numpy()
    if benchmark.split == "tile":
        pooled = np.flatnonzero(sides != "test")
        count = max(1, round(SCORED_SHARE * len(pooled)))
        scored = np.random.default_rng(0).choice(pooled, count, replace=False)
        sides[pooled], sides[scored] = "train", "heldout"
    return sides


def _cloud(index: pd.DataFrame, table: pd.DataFrame, benchmark: Benchmark) -> pd.Series:
    """Return the true share of each tile's valid pixels that is under cloud or shadow."""
    shares = pd.Series(0.0, index.index)
    shape = (benchmark.size, benchmark.size)
    for name, rows in index.groupby("scene"):
        scene = table.loc[name]
        if scene["sky"]:
            truth = scenes.synthetic_scene(scene["seed"], shape, **benchmark.settings(scene["sky"]))[1]
            cloudy, valid = truth.coords["cloudy"].values, truth.values != NODATA
            for tile in rows.itertuples():
                window = scenes.Window(tile.row, tile.col, tile.height, tile.width).slices
                shares[tile.Index] = cloudy[window][valid[window]].mean()
    return shares


def draw(truths: Mapping[str, str], each: int = EACH, seed: int = 0) -> pd.DataFrame:
    """Draw points of known class at random, as many of each class.

    Parameters
    ----------
    truths : mapping
        Scene → path of its truth.
    each : int
        How many of a class.
    seed : int

    Returns
    -------
    pandas.DataFrame
        ``scene``, ``row``, ``col``, ``code``.

    Raises
    ------
    InputError
        A class that no scene holds.
    """
    rng, rows = np.random.default_rng(seed), []
    codes = {name: scenes.read_codes(path) for name, path in truths.items()}
    for entry in LEGEND:
        places = {name: np.flatnonzero(pixels == entry.code) for name, pixels in codes.items()}
        holding = [name for name, found in places.items() if found.size]
        if not holding:
            raise InputError(f"points: no scene holds {entry.name}; give more or larger scenes")
        for name in rng.choice(holding, each):
            row, col = np.unravel_index(rng.choice(places[name]), codes[name].shape)
            rows.append({"scene": str(name), "row": int(row), "col": int(col), "code": entry.code})
    return pd.DataFrame(rows)
