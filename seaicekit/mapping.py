"""A trained model over whole scenes: what class, and how sure."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seaicekit import rasters, scenes
from seaicekit.classes import LEGEND, NODATA
from seaicekit.files import InputError

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from seaicekit.scenes import Paths

OVERLAP = 64  # pixels that neighbouring tiles share
BATCH = 4


def load_model(path: str | os.PathLike) -> keras.Model:
    """Load a trained U-Net, in Keras' safe mode.

    Raises
    ------
    InputError
        Missing, or not a model.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a trained model ({str(error).splitlines()[0]}); train one first") from error


def predict(
    model: str | os.PathLike | keras.Model,
    paths: Paths,
    out_dir: str | os.PathLike,
    size: int = 256,
    progress: bool = False,
) -> pd.DataFrame:
    """Classify whole scenes with a trained model.

    Tiles overlap by 64 pixels and their probabilities are blended, so that no seams show. The grid starts
    at the scene's upper left corner.

    Parameters
    ----------
    model : path or keras.Model
        As written by `seaicekit.train`.
    paths : paths
        Scenes, as `seaicekit.open_scene` takes them; names for them as keys or index are kept.
    out_dir : path
        Gets ``NAME.tif`` (class codes, 255 no data) and ``NAME_confidence.tif`` (per cent, 255 no data) for
        each scene, on the scene's grid.
    size : int
        Pixels a side of the tiles: a multiple of 32, above 64.
    progress : bool
        Show a progress bar.

    Returns
    -------
    pandas.DataFrame
        A row a scene: ``scene``, ``path``, ``map``, ``confidence`` (paths), the shares ``open_water``,
        ``thin_ice``, ``thick_ice`` of valid pixels, and ``mean_confidence`` from 0 to 1.

    Raises
    ------
    InputError
        No model, a scene that cannot be read, a folder that cannot be written.
    """
    import pandas as pd
    from tqdm.auto import tqdm

    if size <= OVERLAP or size % 32:
        raise InputError(f"size: must be a multiple of 32 above {OVERLAP}, not {size}")
    named = scenes.names(paths)
    clash = next((name for name in named if f"{name}_confidence" in named), None)
    if clash:
        raise InputError(f"{clash}_confidence: the name is that of {clash}'s own raster; rename the scene")
    network = load_model(model) if isinstance(model, str | os.PathLike) else model
    rows = []
    for name, path in tqdm(named.items(), "scenes", disable=not progress):
        with scenes.reading(path) as reader:
            bands, nodata = reader.read()
            crs, transform = reader.crs, reader.transform
        probabilities = classify(network, bands, nodata, size)
        codes = probabilities.argmax(axis=-1).astype(np.uint8)
        best = probabilities.max(axis=-1)
        codes[nodata] = NODATA
        percent = np.where(nodata, NODATA, (100 * best).round()).astype(np.uint8)
        files = Path(out_dir) / f"{name}.tif", Path(out_dir) / f"{name}_confidence.tif"
        rasters.write_classes(files[0], codes, crs, transform)
        rasters.write_confidence(files[1], percent, crs, transform)
        valid = max(1, np.count_nonzero(~nodata))
        shares = {entry.name.replace(" ", "_"): np.count_nonzero(codes == entry.code) / valid for entry in LEGEND}
        sure = {"mean_confidence": float(best[~nodata].sum()) / valid}
        rows.append(
            {"scene": name, "path": str(path), "map": str(files[0]), "confidence": str(files[1])} | shares | sure
        )
    return pd.DataFrame(rows)


def classify(model: keras.Model, bands: np.ndarray, nodata: np.ndarray, size: int = 256) -> np.ndarray:
    """Return class probabilities, (rows, columns, classes) float32, of (3, rows, columns) uint8 bands."""
    rows, cols = nodata.shape
    stride = size - OVERLAP
    tops, lefts = (range(0, max(1, length - OVERLAP), stride) for length in (rows, cols))
    image = np.zeros((tops[-1] + size, lefts[-1] + size, 3), np.uint8)
    image[:rows, :cols] = np.where(nodata, 0, bands).transpose(1, 2, 0)
    # A tile counts fully in its middle and fades out over the overlap.
    ramp = np.minimum(1, (0.5 + np.minimum(np.arange(size), np.arange(size)[::-1])) / OVERLAP).astype(np.float32)
    weight = np.outer(ramp, ramp)[..., None]
    total = np.zeros((*image.shape[:2], len(LEGEND)), np.float32)
    norm = np.zeros((*image.shape[:2], 1), np.float32)
    corners = [(top, left) for top in tops for left in lefts]
    for start in range(0, len(corners), BATCH):
        part = corners[start : start + BATCH]
        tiles = np.stack([image[top : top + size, left : left + size] for top, left in part])
        for (top, left), probabilities in zip(part, model.predict_on_batch(tiles), strict=True):
            total[top : top + size, left : left + size] += weight * probabilities
            norm[top : top + size, left : left + size] += weight
    return (total / norm)[:rows, :cols]
