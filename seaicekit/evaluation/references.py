"""Score class rasters against whatever reference there is: our rasters, a person's, or points."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from seaicekit.classes import NODATA, SeaIceClass
from seaicekit.evaluation import inputs, sampling
from seaicekit.evaluation.matrices import confusion, scores
from seaicekit.files import InputError

if TYPE_CHECKING:
    from seaicekit.evaluation.inputs import Layer, Mapped
    from seaicekit.scenes import Raster

    Rasters = Raster | Sequence[Raster] | Mapping[str, Raster]


def evaluate(
    prediction: Rasters,
    reference: Rasters,
    classes: Mapped | None = None,
    legend: Sequence[SeaIceClass] | None = None,
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

    Returns
    -------
    dict
        ``pixels``, ``accuracy``, ``balanced_accuracy`` (mean recall over the classes that occur),
        ``majority_accuracy`` (of calling all pixels the commonest class), ``confusion`` (rows are the
        reference), and ``classes``: ``precision``, ``recall``, ``f1``, ``iou`` by name. All scores are 0 to
        1;
        one that has no pixels to be taken from is None. With ``classes`` also ``unmapped``: code that was not
        named → its pixels, or points, on the prediction's grid. With points also ``left_out``: how many lie
        ``outside`` the predictions, on ``no_data`` there, or in an ``other_scene``.

    Raises
    ------
    InputError
        Shapes that differ without a CRS, rasters that do not overlap, unknown codes, or no pixel with data in
        both.
    """
    if sampling.is_points(reference):
        named, file = _named(prediction), cast("str | os.PathLike", reference)
        points, other_scene = sampling.by_scene(sampling.read(file), list(named))
        left = {"outside": 0, "no_data": 0, "other_scene": other_scene}
        pairs: list[tuple] = [(raster, points[name]) for name, raster in named.items()]
    else:
        pairs, left = [each[1:] for each in together(predictions=prediction, references=reference)], None
    if not pairs:
        raise InputError("evaluate: no raster was given")
    if legend is None:
        legend = common_legend(
            [one for one, _ in pairs], [other for _, other in pairs if left is None], classes
        )
    total, unmapped = np.zeros((len(legend),) * 2, np.int64), Counter[int]()
    for one, other in pairs:
        layer = inputs.read(one, "prediction")
        said = inputs.mapped(layer, None, legend)[0].astype(np.uint8)
        if left is None:
            truth, further = onto(layer, other, classes, legend)
        else:
            said, inside = sampling.sampled(layer, said, other)
            left["outside"] += int((~inside).sum())
            left["no_data"] += int((inside & (said == NODATA)).sum())
            truth, further = sampling.codes(other, classes, legend)
        for code, value in further.items():
            unmapped[value] += int(np.count_nonzero((truth == code) & (said != NODATA)))
        total += confusion(said, plain(truth), legend)
    found = scores(total, legend)
    if classes is not None:
        found["unmapped"] = {value: count for value, count in unmapped.items() if count}
    return found if left is None else found | {"left_out": left}


def onto(layer: Layer, reference: Raster, classes: Mapped | None, legend: Sequence[SeaIceClass]) -> tuple:
    """Read a reference raster and bring it to a layer's grid, as codes and further values.

    See `inputs.mapped`.
    """
    other = inputs.read(reference, "reference")
    codes, further = inputs.mapped(other, classes, legend)
    return inputs.aligned(other, codes, layer), further


def plain(codes: np.ndarray) -> np.ndarray:
    """Return codes as uint8, with no data for values that no class mapping named."""
    return np.minimum(codes, NODATA).astype(np.uint8)


def together(**given: Rasters) -> list[tuple]:
    """Pair rasters up, by place or by scene: (name, raster of the first, of the second, …); no name by place.

    Raises
    ------
    InputError
        Not all given in the same way, of different lengths, or a scene that not all have.
    """
    dicts = [is_by_scene(each) for each in given.values()]
    if any(dicts) and not all(dicts):
        raise InputError(
            f"evaluate: of {', '.join(given)} some are dicts by scene, others not; give all in one way"
        )
    if all(dicts):
        named = {what: by_scene(each) for what, each in given.items()}
        first = named["predictions"]
        for what, each in named.items():
            for alone in sorted(first.keys() ^ each.keys()):
                raise InputError(
                    f"evaluate: scene {alone} is missing in {what if alone in first else 'predictions'}"
                )
        return [(name, *(each[name] for each in named.values())) for name in first]
    lists = {what: several(each) for what, each in given.items()}
    if len({len(each) for each in lists.values()}) > 1:
        counts = " but ".join(f"{len(each)} {what}" for what, each in lists.items())
        raise InputError(f"evaluate: {counts}; give as many of each")
    return [(None, *each) for each in zip(*lists.values(), strict=True)]


def is_by_scene(given: Any) -> bool:
    """Say whether rasters are given by scene: in a dict, or in a table's column."""
    return hasattr(given, "items") and hasattr(given, "keys")


def by_scene(given: Any) -> dict[str, Raster]:
    """Return rasters by scene as a dict.

    Raises
    ------
    InputError
        They are not given by scene.
    """
    if not is_by_scene(given):
        raise InputError("by scene: give rasters as a dict, scene → raster, for the scenes' names are needed")
    return dict(given.items())


def several(given: Rasters) -> list:
    """Return a list of rasters for one or several."""
    return list(given) if isinstance(given, list | tuple) else [given]


def common_legend(
    predictions: Sequence[Raster],
    references: Sequence[Raster],
    classes: Mapped | None,
    further: Sequence[SeaIceClass] = (),
) -> tuple[SeaIceClass, ...]:
    """Return the classes that rasters name; references with codes of their own are not asked."""
    return inputs.legend_of([*predictions, *(references if classes is None else ())], further)


def _named(prediction: Rasters) -> dict[str, Raster]:
    """Name predictions by scene, as the points do."""
    if is_by_scene(prediction):
        return by_scene(prediction)
    given = several(prediction)
    if len(given) > 1 and not all(isinstance(each, str | os.PathLike) for each in given):
        raise InputError("evaluate: arrays have no names for the points to find; give a dict by scene")
    names = [PurePath(str(each)).stem if isinstance(each, str | os.PathLike) else "" for each in given]
    if len(set(names)) < len(names):
        raise InputError("evaluate: two predictions have the same name; give a dict by scene")
    return dict(zip(names, given, strict=True))
