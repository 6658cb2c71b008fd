"""Scenes for the lessons, and labels that are wrong on purpose."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from seaicekit import scenes
from seaicekit.classes import NODATA, OPEN_WATER, THIN_ICE
from seaicekit.evaluation import evaluate
from seaicekit.files import InputError, atomic_write
from seaicekit.labels import autolabel
from seaicekit.mapping import predict
from seaicekit.scenes import open_scene, read_codes, write_classes
from seaicekit.thresholds import brightness
from seaicekit.tiles import index_tiles
from seaicekit.training import train

if TYPE_CHECKING:
    from seaicekit.scenes import Raster

    Maps = Mapping[str, Raster]


def make(folder: str | os.PathLike, seeds: Mapping[int, float], size: int, **settings: float) -> pd.DataFrame:
    """Write synthetic scenes and their truths.

    Parameters
    ----------
    folder : path
    seeds : dict
        Seed → share of the scene under thin cloud.
    size : int
        Pixels a side.
    **settings
        As for `seaicekit.scenes.synthetic_scene`.

    Returns
    -------
    pandas.DataFrame
        ``path`` and ``truth`` by ``scene``.
    """
    paths = [
        scenes.write_synthetic(folder, seed, (size, size), cloud, **settings) for seed, cloud in seeds.items()
    ]
    rows = [{"scene": path.stem, "path": str(path), "truth": str(truth)} for path, truth in paths]
    return pd.DataFrame(rows).set_index("scene")


def mislabel(
    scenes: pd.DataFrame,
    folder: str | os.PathLike,
    how: Literal["random", "systematic"],
    darkest: int,
    seed: int = 0,
) -> dict[str, str]:
    """Write truths with mistakes in them, to learn from.

    Parameters
    ----------
    scenes : pandas.DataFrame
        As from `make`.
    folder : path
        Gets ``SCENE.tif`` for each scene.
    how : "random" or "systematic"
        "systematic" calls all thin ice up to a brightness open water. "random" makes as many mistakes in each
        scene, but anywhere: a pixel becomes one of the other two classes.
    darkest : int
        That brightness.
    seed : int
        For the random ones.

    Returns
    -------
    dict
        Scene → path.
    """
    if how not in ("random", "systematic"):
        raise InputError(f'how: must be "random" or "systematic", not {how!r}')
    rng, paths = np.random.default_rng(seed), {}
    for name, row in scenes.iterrows():
        scene, codes = open_scene(row["path"]), read_codes(row["truth"])
        wrong = (codes == THIN_ICE) & (brightness(scene.values) <= darkest)
        if how == "systematic":
            codes[wrong] = OPEN_WATER
        else:
            chosen = rng.choice(np.flatnonzero(codes != NODATA), np.count_nonzero(wrong), replace=False)
            codes.flat[chosen] = (codes.flat[chosen] + rng.integers(1, 3, chosen.size)) % 3
        paths[name] = str(Path(folder) / f"{name}.tif")
        write_classes(paths[name], codes, scene.rio.crs, scene.rio.transform())
    return paths


def tiles(scenes: pd.DataFrame, folder: str | os.PathLike, size: int = 128) -> pd.DataFrame:
    """Label scenes by the paper's rule, cut them into tiles, and keep a third of the scenes for testing."""
    labelled = autolabel(scenes["path"], Path(folder) / "labels", engine="serial", progress=False)
    return index_tiles(
        labelled, Path(folder) / "tiles.parquet", size, test_fraction=1 / 3, truth=scenes["truth"]
    )


def first_tiles(tiles: pd.DataFrame, path: str | os.PathLike, train: int, test: int) -> pd.DataFrame:
    """Keep the first training and test tiles of an index, and write it again."""
    parts = [tiles[tiles["split"] == side].head(count) for side, count in (("train", train), ("test", test))]
    kept = pd.concat(parts, ignore_index=True)
    with atomic_write(path) as place:
        kept.to_parquet(place, index=False)
    return kept


def learn(folder: str | os.PathLike, teacher: str, scenes: pd.DataFrame, epochs: int) -> dict[str, str]:
    """Train a small network in this process, and map scenes with it.

    Parameters
    ----------
    folder : path
        Holds ``tiles.parquet``; gets model and maps.
    teacher : str
        "truth", or the name of a folder of rasters in ``folder``.
    scenes : pandas.DataFrame
        Those to map, as from `make`.
    epochs : int

    Returns
    -------
    dict
        Scene → path of its map.
    """
    folder = Path(folder)
    targets = teacher if teacher == "truth" else str(folder / teacher)
    out = folder / f"learned-{teacher}"
    train(
        folder / "tiles.parquet",
        out,
        ranks=1,
        launcher="inprocess",
        targets=targets,
        epochs=epochs,
        batch=4,
        learning_rate=0.003,
        width=8,
        depth=4,
    )
    return predict(out / "model.keras", scenes["path"], out / "maps").set_index("scene")["map"].to_dict()


def agreement(predictions: Mapping[str, Maps], labels: Mapping[str, Maps], truth: Maps) -> pd.DataFrame:
    """Return the share of pixels in which networks' maps agree with their own labels, and with the truth."""
    rows = {}
    for name, maps in predictions.items():
        own = {scene: labels[name][scene] for scene in maps}
        rows[name] = {
            "with its own labels": evaluate(maps, own)["accuracy"],
            "with the truth": evaluate(maps, truth)["accuracy"],
        }
    return pd.DataFrame.from_dict(rows, orient="index").round(3)


def recalls(predictions: Mapping[str, Raster | Maps], truth: Raster | Maps) -> pd.DataFrame:
    """Return which share of each class (rows) several maps find (columns)."""
    shares = {}
    for name, maps in predictions.items():
        classes = evaluate(maps, truth)["classes"]
        shares[name] = {kind: scores["recall"] for kind, scores in classes.items()}
    return pd.DataFrame(shares).astype(float).round(3)


def equal_pixels(one: Iterable[Raster], other: Iterable[Raster]) -> int:
    """Count the pairs of class rasters that are equal in each pixel."""
    return sum(
        np.array_equal(scenes.read_codes(a), scenes.read_codes(b)) for a, b in zip(one, other, strict=True)
    )


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0))


def time_labelling(
    scenes: pd.DataFrame, folder: str | os.PathLike, **engine: Any
) -> tuple[float, pd.DataFrame]:
    """Label scenes anew, with the engine and its options; return the seconds that it took, and the table.

    Worker processes start within the time, and are ended after it.
    """
    from joblib.externals.loky import get_reusable_executor

    shutil.rmtree(folder, ignore_errors=True)
    start = time.perf_counter()
    table = autolabel(scenes["path"], folder, progress=False, **engine)
    seconds = time.perf_counter() - start
    get_reusable_executor().shutdown()  # workers that wait for more would keep their memory
    return seconds, table


def labelled_pixels(path: str | os.PathLike, truth: Raster) -> tuple[np.ndarray, np.ndarray]:
    """Return a scene's pixels, (N, 3) uint8, and their true classes, (N,) uint8, no data left out."""
    codes = scenes.read_codes(truth)
    inside = codes != NODATA
    return open_scene(path).values.transpose(1, 2, 0)[inside], codes[inside]
