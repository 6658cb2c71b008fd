"""What a study is made of: scenes, truth, calibrated cuts, labels and tiles."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from benchmarks.study.benchmark import Benchmark, Group
from benchmarks.study.calibration import EACH, calibrate, draw
from seaicekit import scenes, tiles
from seaicekit.classes import NODATA
from seaicekit.files import InputError, atomic_write, read_json, write_json
from seaicekit.labels import Rule, autolabel
from seaicekit.thresholds import Thresholds

if TYPE_CHECKING:
    import pandas as pd

SCORED_SHARE = 0.2  # of the tiles, where they are split at random, as in the paper
SIDES = {"training": "train", "development": "test", "heldout": "heldout"}  # a training watches "test"


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
        ``cloud`` is known, not found by the filter.
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


def claim(folder: Path, name: str, asked: dict) -> None:
    """Note in a file what a folder's results are of; refuse a folder of others.

    Raises
    ------
    InputError
        The folder holds results of other settings.
    """
    path = folder / name
    if not path.exists():
        write_json(path, asked)
        return
    found = read_json(path)
    other = sorted(key for key in asked.keys() | found.keys() if asked.get(key) != found.get(key))
    if other:
        raise InputError(
            f"{folder}: holds a study of other {', '.join(other)}; give another folder, or the same again"
        )


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
    claim(folder, "study.json", benchmark.to_dict() | {"tile": tile, "points": points})
    table = _scenes(folder, benchmark, progress)
    training = table[table["group"] == "training"]
    clicked = draw(training["truth"], points)
    cuts = _fitted(folder / "cuts.json", clicked, training["path"], Rule(cloud_filter=False))
    filter_cuts = _fitted(folder / "filter_cuts.json", clicked, training["path"], Rule())
    asked: dict[str, Any] = {"engine": "processes", "progress": progress}
    labelled = autolabel(table["path"], folder / "labels", filter_cuts, **asked)
    raw = autolabel(table["path"], folder / "raw", cuts, cloud_filter=False, **asked)
    table["labels"], table["raw"] = labelled["labels"].to_numpy(), raw["labels"].to_numpy()
    return Material(
        folder, benchmark, table, _index(folder, labelled, table, benchmark, tile), cuts, filter_cuts
    )


def _scenes(folder: Path, benchmark: Benchmark, progress: bool) -> pd.DataFrame:
    """Write the scenes that are not there yet; return them by name."""
    import pandas as pd
    from tqdm.auto import tqdm

    wanted = [(group, *each) for group in get_args(Group) for each in benchmark.scenes(group).items()]
    rows = []
    for group, seed, cloud in tqdm(wanted, "scenes", disable=not progress):
        paths = scenes.synthetic_paths(folder, seed, cloud)
        if not all(path.exists() for path in paths):
            scenes.write_synthetic(folder, seed, (benchmark.size,) * 2, **benchmark.look(cloud))
        path, truth = map(str, paths)
        rows.append(
            {"scene": paths[0].stem, "group": group, "seed": seed, "sky": cloud, "path": path, "truth": truth}
        )
    return pd.DataFrame(rows).set_index("scene")


def _fitted(path: Path, clicked: pd.DataFrame, paths: pd.Series, rule: Rule) -> Thresholds:
    if not path.exists():
        calibrate(clicked, paths.to_dict(), rule).save(path, {"points": clicked.to_dict("records")})
    return Thresholds.load(path)


def _index(
    folder: Path, labelled: pd.DataFrame, table: pd.DataFrame, benchmark: Benchmark, tile: int
) -> pd.DataFrame:
    """Index the tiles by group, with the cloud that is known to be there."""
    import pandas as pd

    path = folder / "tiles.parquet"
    if path.exists():
        return pd.read_parquet(path)
    index = tiles.index_tiles(labelled, folder / "found.parquet", tile, test_fraction=0.5)
    index["split"] = index["scene"].map(table["group"]).map(SIDES)
    if benchmark.split == "tile":
        pooled = np.flatnonzero(index["split"] != "test")
        scored = np.random.default_rng(0).choice(
            pooled, max(1, round(SCORED_SHARE * len(pooled))), replace=False
        )
        index.loc[pooled, "split"] = "train"
        index.loc[scored, "split"] = "heldout"
    for name, group in index.groupby("scene"):
        seed, cloud = table.loc[name, ["seed", "sky"]]
        index.loc[group.index, "cloud"] = _covers(
            group, table.loc[name, "truth"], benchmark, int(seed), float(cloud)
        )
    index["cloud_from"] = "truth"
    with atomic_write(path) as place:
        index.to_parquet(place, index=False)
    return index


def _covers(group: pd.DataFrame, truth: str, benchmark: Benchmark, seed: int, cloud: float) -> list[float]:
    """Return the share of each tile's valid pixels under cloud or shadow."""
    if not cloud:
        return [0.0] * len(group)
    known = (
        scenes.synthetic_scene(seed, (benchmark.size,) * 2, **benchmark.look(cloud))[1]
        .coords["cloudy"]
        .values
    )
    valid = scenes.as_codes(truth) != NODATA
    windows = [
        scenes.Window(tile.row, tile.col, tile.height, tile.width).slices for tile in group.itertuples()
    ]
    return [float(known[window][valid[window]].mean()) for window in windows]
