"""Score class rasters against references: our rasters, a person's, or points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seaicekit import scenes
from seaicekit.classes import NODATA, Legend, SeaIceClass
from seaicekit.evaluation import inputs, sampling
from seaicekit.evaluation.matrices import OF_CLASS, OVERALL, measures, tally
from seaicekit.files import InputError
from seaicekit.tiles import mask_outside_tiles

if TYPE_CHECKING:
    import pandas as pd

    from seaicekit.evaluation.inputs import ClassMapping
    from seaicekit.scenes import Raster

    Rasters = Raster | Sequence[Raster] | Mapping[str, Raster]


def evaluate(
    prediction: Rasters,
    reference: Rasters,
    classes: ClassMapping | None = None,
    legend: Sequence[SeaIceClass] | None = None,
    tiles: pd.DataFrame | None = None,
) -> dict:
    """Score class rasters against references, all their pixels together.

    Parameters
    ----------
    prediction : array, path, a sequence of them, or a dict of them by scene
        (rows, columns) uint8 class codes, 255 no data.
    reference : the same, or points
        Sequences pair up, dicts by their scenes. A raster on another grid is brought to the prediction's, the
        nearest pixel for each, if both have a CRS; rasters of one shape of which one has none are taken to
        lie on one another. Points are a GeoJSON file as `seaicekit.thresholds.ReferencePoints` writes it: the
        prediction's pixel at each. A prediction gets the points of the scene that has its file's name or its
        name in the dict, and a single prediction gets points that are all of one scene in any case.
    classes : dict, optional
        For a reference with codes of its own: its code → ours, or None for no data. What is not named is no
        data and counted.
    legend : sequence of SeaIceClass, optional
        The classes; by default those that the rasters' tags name (without tags, `seaicekit.classes.LEGEND`).
    tiles : pandas.DataFrame, optional
        Rows of a tile index: only they count. Needs dicts by scene, and no points.

    Returns
    -------
    dict
        ``pixels``, ``accuracy``, ``balanced_accuracy`` (mean recall over the classes that occur),
        ``majority_accuracy`` (of calling all pixels the commonest class), ``confusion`` (rows are the
        reference), and ``classes``: ``precision``, ``recall``, ``f1``, ``iou`` by name. All scores are 0 to
        1; one that has no pixels to be taken from is None. With ``classes`` also ``unmapped``: code that was
        not named → its pixels, or points, on the prediction's grid. With points also ``left_out``: how many
        lie ``outside`` the predictions, on ``no_data`` there, or in an ``other_scene``.

    Raises
    ------
    InputError
        Shapes that differ without a CRS, rasters that do not overlap, unknown codes, or no pixel with data in
        both.
    """
    points = sampling.is_points(reference)
    pairs: list[tuple]
    if points:
        pairs, left_out = sampling.pair_points(prediction, reference)
    else:
        pairs = pair_rasters(tiles, predictions=prediction, references=reference)
    if not pairs:
        raise InputError("evaluate: no raster was given")
    if legend is None:
        references = [] if points else [each[2] for each in pairs]
        legend = common_legend([each[1] for each in pairs], references, classes)
    total, unmapped = np.zeros((len(legend),) * 2, np.int64), Counter[Any]()
    for name, one, other in pairs:
        grid = inputs.read(one, "prediction")
        predicted = grid.positions(legend)
        if points:
            predicted, truth = sampling.sample(grid, predicted, other, left_out)
        else:
            truth = inputs.read_onto(grid, other, "reference", classes)
        expected = within_tiles(truth.positions(legend, classes), name, tiles)
        total += tally(predicted, expected, len(legend))
        if classes is not None:
            counts = np.bincount(truth.indices[predicted != NODATA], minlength=256)
            unmapped.update(
                {
                    value: int(n)
                    for value, n in zip(truth.values, counts, strict=False)
                    if value not in classes
                }
            )
    scores = _scores(total, legend)
    if classes is not None:
        scores["unmapped"] = {value: count for value, count in unmapped.items() if count}
    return scores | {"left_out": left_out} if points else scores


def _scores(counts: np.ndarray, legend: Sequence[SeaIceClass]) -> dict:
    if not counts.any():
        raise InputError("evaluate: no pixel has data in both prediction and reference")
    values = measures(counts)
    return {
        "pixels": int(counts.sum()),
        **{name: float(values[name]) for name in OVERALL[:3]},
        "confusion": counts.tolist(),
        "classes": {
            entry.name: {
                name: None if np.isnan(values[name][row]) else float(values[name][row]) for name in OF_CLASS
            }
            for row, entry in enumerate(legend)
        },
    }


def within_tiles(codes: np.ndarray, scene: str, tiles: pd.DataFrame | None) -> np.ndarray:
    """Return class codes, (rows, columns) uint8, with 255 outside a scene's tiles, where there are any."""
    return codes if tiles is None else mask_outside_tiles(codes, tiles[tiles["scene"] == scene])


def pair_rasters(tiles: pd.DataFrame | None = None, **rasters: Any) -> list[tuple]:
    """Pair rasters up by scene or by place: (name, raster of the first, of the second, …).

    Parameters
    ----------
    tiles : pandas.DataFrame, optional
        Only the scenes of these tiles.
    **rasters
        ``predictions`` and others.

    Raises
    ------
    InputError
        Not all in the same way, of different lengths, or a scene that not all have.
    """
    by_scene = [hasattr(each, "items") for each in rasters.values()]
    if any(by_scene) != all(by_scene):
        raise InputError(
            f"evaluate: of {', '.join(rasters)} some are dicts by scene, others not; give all in one way"
        )
    if not any(by_scene):
        if tiles is not None:
            raise InputError("tiles: they know their scenes by name; give dicts by scene")
        lists = {what: each if isinstance(each, list | tuple) else [each] for what, each in rasters.items()}
        if len({len(each) for each in lists.values()}) > 1:
            counts = " but ".join(f"{len(each)} {what}" for what, each in lists.items())
            raise InputError(f"evaluate: {counts}; give as many of each")
        return [(None, *each) for each in zip(*lists.values(), strict=True)]
    chosen = None if tiles is None else set(tiles["scene"])
    named = {
        what: {name: raster for name, raster in each.items() if chosen is None or name in chosen}
        for what, each in rasters.items()
    }
    first = named["predictions"]
    for what, each in named.items():
        for name in sorted(first.keys() ^ each.keys()):
            raise InputError(
                f"evaluate: scene {name} is missing in {what if name in first else 'predictions'}"
            )
    return [(name, *(each[name] for each in named.values())) for name in first]


def common_legend(
    predictions: Sequence[Raster],
    references: Sequence[Raster],
    classes: ClassMapping | None,
    further: Sequence[SeaIceClass] = (),
) -> Legend:
    """Return the classes that rasters name; references with codes of their own are left out."""
    return scenes.common_legend([*predictions, *(references if classes is None else ())], further)
