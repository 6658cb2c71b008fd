"""Scenes for the lessons, and labels that are wrong on purpose."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from seaicekit import rasters, synthetic
from seaicekit.classes import NODATA, OPEN_WATER, THIN_ICE
from seaicekit.files import InputError
from seaicekit.scenes import open_scene
from seaicekit.thresholds import brightness

if TYPE_CHECKING:
    import pandas as pd

    from seaicekit.rasters import Raster


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
        As for `seaicekit.synthetic.scene`.

    Returns
    -------
    pandas.DataFrame
        ``path`` and ``truth`` by ``scene``.
    """
    import pandas as pd

    made = [synthetic.write(folder, seed, (size, size), cloud, **settings) for seed, cloud in seeds.items()]
    rows = [{"scene": path.stem, "path": str(path), "truth": str(truth)} for path, truth in made]
    return pd.DataFrame(rows).set_index("scene")


def mislabel(
    scenes: pd.DataFrame, folder: str | os.PathLike, how: Literal["random", "systematic"], darkest: int, seed: int = 0
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
    rng, made = np.random.default_rng(seed), {}
    for name, row in scenes.iterrows():
        scene, codes = open_scene(row["path"]), rasters.read_codes(row["truth"])
        wrong = (codes == THIN_ICE) & (brightness(scene.values) <= darkest)
        if how == "systematic":
            codes[wrong] = OPEN_WATER
        else:
            chosen = rng.choice(np.flatnonzero(codes != NODATA), np.count_nonzero(wrong), replace=False)
            codes.flat[chosen] = (codes.flat[chosen] + rng.integers(1, 3, chosen.size)) % 3
        made[name] = str(Path(folder) / f"{name}.tif")
        rasters.write_classes(made[name], codes, scene.rio.crs, scene.rio.transform())
    return made


def labelled_pixels(path: str | os.PathLike, truth: Raster) -> tuple[np.ndarray, np.ndarray]:
    """Return a scene's pixels, (N, 3) uint8, and their true classes, (N,) uint8, no data left out."""
    codes = rasters.codes(truth)
    inside = codes != NODATA
    return open_scene(path).values.transpose(1, 2, 0)[inside], codes[inside]


def clicks(codes: np.ndarray, each: int = 10, seed: int = 0) -> np.ndarray:
    """Return the places of ``each`` pixels of each class, drawn at random, as a person might click them."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.choice(np.flatnonzero(codes == code), each) for code in np.unique(codes)])
