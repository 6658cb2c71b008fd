"""Scores of class rasters against a reference, never without the score of knowing nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seaicekit import labels, rasters, scenes, tiles
from seaicekit.classes import LEGEND, NODATA
from seaicekit.files import InputError

if TYPE_CHECKING:
    import pandas as pd

    from seaicekit.rasters import Raster
    from seaicekit.thresholds import Thresholds


def confusion(prediction: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Count pixels by reference (rows) and prediction (columns), (classes, classes) int64.

    Pixels without data in either are left out.
    """
    count = len(LEGEND)
    valid = (reference != NODATA) & (prediction != NODATA)
    if prediction[valid].max(initial=0) >= count or reference[valid].max(initial=0) >= count:
        raise InputError(f"a code above {count - 1} is not in the legend; map the classes first")
    pairs = reference[valid].astype(np.int64) * count + prediction[valid]
    return np.bincount(pairs, minlength=count * count).reshape(count, count)


def evaluate(prediction: Raster | Sequence[Raster], reference: Raster | Sequence[Raster]) -> dict:
    """Score class rasters against references, all their pixels together.

    Parameters
    ----------
    prediction, reference : array, path, or a sequence of them
        (rows, columns) uint8 class codes, 255 no data, on the same grid; sequences pair up.

    Returns
    -------
    dict
        ``pixels``, ``accuracy``, ``balanced_accuracy`` (mean recall over the classes that occur),
        ``majority_accuracy`` (of calling all pixels the commonest class), ``confusion`` (rows are the
        reference), and ``classes``: ``precision``, ``recall``, ``f1``, ``iou`` by name. All scores are 0 to 1;
        one that has no pixels to be taken from is None.

    Raises
    ------
    InputError
        Shapes that differ, unknown codes, or no pixel with data in both.
    """
    predictions, references = _several(prediction), _several(reference)
    if len(predictions) != len(references):
        raise InputError(f"evaluate: {len(predictions)} predictions but {len(references)} references")
    total = np.zeros((len(LEGEND),) * 2, np.int64)
    for one, other in zip(map(rasters.codes, predictions), map(rasters.codes, references), strict=True):
        if one.shape != other.shape:
            raise InputError(f"evaluate: the prediction has {one.shape} pixels, the reference {other.shape}")
        total += confusion(one, other)
    return scores(total)


def score_tiles(rasters_by_scene: dict[str, Raster], references: dict[str, Raster], chosen: pd.DataFrame) -> dict:
    """Score class rasters as `evaluate` does, on the chosen tiles alone.

    Parameters
    ----------
    rasters_by_scene, references : dict
        Scene name → class raster.
    chosen : pandas.DataFrame
        Rows of a tile index, such as those of the split "test".
    """
    groups = [(name, rows) for name, rows in chosen.groupby("scene") if name in references]
    return evaluate(
        [tiles.only(rasters.codes(rasters_by_scene[name]), rows) for name, rows in groups],
        [tiles.only(rasters.codes(references[name]), rows) for name, rows in groups],
    )


def score_rules(
    rules: dict[str, dict[str, Raster]], catalogue: pd.DataFrame, chosen: pd.DataFrame, thresholds: Thresholds
) -> dict[str, dict]:
    """Score several rules' rasters against the truth on the chosen tiles, and the cuts alone beside them.

    Parameters
    ----------
    rules : dict
        Rule → scene name → class raster.
    catalogue : pandas.DataFrame
        As from `seaicekit.catalogues.load_catalogue`, with ``scene`` as index.
    chosen : pandas.DataFrame
        Rows of a tile index.
    thresholds : Thresholds
        The cuts.

    Returns
    -------
    dict
        Rule → scores as from `evaluate`, with the rule "cuts alone" last; empty where no chosen scene has a
        truth.
    """
    truths = catalogue.truth[chosen["scene"].unique()].dropna()
    if truths.empty:
        return {}
    plain = {}
    for name in truths.index:
        with scenes.reading(catalogue.path[name]) as reader:
            plain[name] = labels.raw(*reader.read(), thresholds)
    return {rule: score_tiles(made, truths, chosen) for rule, made in (rules | {"cuts alone": plain}).items()}


def scores(counts: np.ndarray) -> dict:
    """Turn a confusion matrix, rows the reference, into the scores that `evaluate` lists."""
    pixels = int(counts.sum())
    if not pixels:
        raise InputError("evaluate: no pixel has data in both prediction and reference")
    hit, truth, said = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    classes = {
        entry.name: {
            "precision": _share(hit[i], said[i]),
            "recall": _share(hit[i], truth[i]),
            "f1": _share(2 * hit[i], said[i] + truth[i]),
            "iou": _share(hit[i], said[i] + truth[i] - hit[i]),
        }
        for i, entry in enumerate(LEGEND)
    }
    return {
        "pixels": pixels,
        "accuracy": _share(hit.sum(), pixels),
        "balanced_accuracy": float(np.mean(hit[truth > 0] / truth[truth > 0])),
        "majority_accuracy": _share(truth.max(), pixels),
        "confusion": counts.tolist(),
        "classes": classes,
    }


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _several(given: Raster | Sequence[Raster]) -> list:
    return list(given) if isinstance(given, list | tuple) else [given]
