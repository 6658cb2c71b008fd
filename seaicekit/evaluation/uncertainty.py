"""How far scores can be trusted: bootstraps over scenes, and spread over runs of different seeds."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seaicekit.evaluation.matrices import OF_CLASS, OVERALL, measures, sea_rows
from seaicekit.evaluation.strata import stratified
from seaicekit.files import InputError

if TYPE_CHECKING:
    import pandas as pd

    from seaicekit.classes import SeaIceClass
    from seaicekit.evaluation.inputs import ClassMapping
    from seaicekit.evaluation.matrices import Sea
    from seaicekit.scenes import Raster

DRAWS = 2000
FEW = 6  # scenes below which a bootstrap over scenes cannot show how much other scenes would differ
LEAST_RUNS = 3
KEYS = ["rule", "table", "stratum", "scene", "class", "score"]
BLOCK = 500  # draws at a time, which bounds the memory


def weights(scenes: int, draws: int, seed: int) -> np.ndarray:
    """Return how often each scene is drawn, (draws, scenes) int: as many as there are, with replacement."""
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise InputError(f"draws: must be a whole number from 1 on, not {draws!r}")
    return np.random.default_rng(seed).multinomial(scenes, np.full(scenes, 1 / scenes), draws)


def bootstrap(matrices: np.ndarray, draws: int, seed: int, sea: Sea | None) -> dict[str, np.ndarray]:
    """Score the sum of confusion matrices, (scenes, classes, classes), of each draw; see `measures`."""
    times = weights(len(matrices), draws, seed)
    parts = [
        measures(np.tensordot(times[start : start + BLOCK], matrices, axes=1), sea)
        for start in range(0, draws, BLOCK)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def intervals(matrices: np.ndarray, draws: int, seed: int, sea: Sea | None) -> dict[str, np.ndarray]:
    """Return the 2.5th and 97.5th percentile, (2, ...), of each score of `bootstrap`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of scores that are NaN in all draws
        return {
            name: np.nanpercentile(values, (2.5, 97.5), axis=0)
            for name, values in bootstrap(matrices, draws, seed, sea).items()
        }


def difference(
    rule_a: Mapping[str, Raster],
    rule_b: Mapping[str, Raster],
    references: Mapping[str, Raster],
    draws: int = DRAWS,
    seed: int = 0,
    score: str = "accuracy",
    class_name: str | None = None,
    tiles: pd.DataFrame | None = None,
    stratum: str = "all",
    classes: ClassMapping | None = None,
    legend: Sequence[SeaIceClass] | None = None,
) -> dict:
    """Estimate by how much one rule scores higher than another, with a paired bootstrap over scenes.

    Whole scenes are drawn with replacement, the same for both rules, for pixels of one scene resemble one
    another: an interval over pixels would be far too narrow. Only pixels with data in both rules and in the
    reference count. The interval runs from the 2.5th to the 97.5th percentile of the draws.

    Parameters
    ----------
    rule_a, rule_b, references : dict
        Scene name → class raster. Scenes of ``references`` that not all have are an error.
    draws, seed : int
    score : str
        One that `seaicekit.evaluation.compare` lists.
    class_name : str, optional
        The class, for precision, recall, f1 and iou.
    tiles : pandas.DataFrame, optional
        Rows of a tile index: only they count.
    stratum : str
        As in `seaicekit.evaluation.stratified`, such as "edge".
    classes, legend
        As for `seaicekit.evaluate`.

    Returns
    -------
    dict
        ``estimate``, a less b; ``low`` and ``high``, the 95 % interval; ``share_above``, of the draws with a
        difference above 0; ``scenes``, how many hold pixels; ``draws``, how many gave the score at all;
        ``meaningful``, whether there are at least six scenes; and ``note``, a warning or empty. Interval and
        share are None with a single scene.

    Raises
    ------
    InputError
        As for `seaicekit.evaluate`; an unknown score, class or stratum.
    """
    by_stratum = stratified({"a": rule_a, "b": rule_b}, references, tiles, classes, legend)
    matrices = [by_stratum.of(rule, stratum) for rule in "ab"]
    held = matrices[0].any(axis=(1, 2))
    place = _place(score, class_name, by_stratum.legend)
    sea, scenes = sea_rows(by_stratum.legend), int(held.sum())
    if not scenes:
        raise InputError(f"difference: no pixel in {stratum} has data in both rules and the reference")
    a, b = (measures(each.sum(axis=0), sea)[score][place] for each in matrices)
    if np.isnan(a - b):
        raise InputError(f"difference: {score} cannot be taken from these pixels; a class does not occur")
    result = {"score": score, "stratum": stratum, "estimate": float(a - b), "low": None, "high": None}
    result |= {"share_above": None, "scenes": scenes, "draws": 0, "meaningful": scenes >= FEW}
    if scenes > 1:
        every: Any = (..., *place)
        drawn = [bootstrap(each[held], draws, seed, sea)[score][every] for each in matrices]
        apart = (drawn[0] - drawn[1])[~np.isnan(drawn[0] - drawn[1])]
        result["draws"] = len(apart)
        if len(apart):
            result["low"], result["high"] = map(float, np.percentile(apart, (2.5, 97.5)))
            result["share_above"] = float((apart > 0).mean())
    return result | {"note": _note(scenes)}


def _note(scenes: int) -> str:
    """Return a warning where there are too few scenes for a bootstrap over scenes."""
    if scenes >= FEW:
        return ""
    if scenes == 1:
        return "one scene: no interval can be had from it"
    return (
        f"{scenes} scenes: too few for the interval to mean much; claim no difference with fewer than {FEW}"
    )


def _place(score: str, class_name: str | None, legend: Sequence[SeaIceClass]) -> tuple[int, ...]:
    """Return the index of a score: none for one of all classes, else the class's position in the legend."""
    names = [entry.name for entry in legend]
    if score in OF_CLASS:
        if class_name not in names:
            raise InputError(f"class_name: {score} needs one of {', '.join(names)}, not {class_name!r}")
        return (names.index(class_name),)
    if score not in OVERALL:
        raise InputError(f"score: unknown, {score!r}; there are {', '.join((*OVERALL, *OF_CLASS))}")
    if class_name is not None:
        raise InputError(f"class_name: {score} is of all classes; leave it out")
    return ()
