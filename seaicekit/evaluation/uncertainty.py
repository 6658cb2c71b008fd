"""How far scores can be trusted: bootstraps over scenes, and spread over runs of different seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seaicekit.evaluation.matrices import OF_CLASS, measures, sea_rows, tidy
from seaicekit.files import InputError

if TYPE_CHECKING:
    import pandas as pd

    from seaicekit.classes import SeaIceClass
    from seaicekit.evaluation.inputs import Mapped
    from seaicekit.evaluation.matrices import Sea
    from seaicekit.scenes import Raster

DRAWS = 2000
FEW = 6  # scenes below which a bootstrap over scenes cannot show how much other scenes would differ
LEAST_RUNS = 3
BLOCK = 500  # draws at a time, which bounds the memory


def weights(scenes: int, draws: int, seed: int) -> np.ndarray:
    """Return how often each scene is drawn, (draws, scenes) int: as many as there are, with replacement."""
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise InputError(f"draws: must be a whole number from 1 on, not {draws!r}")
    return np.random.default_rng(seed).multinomial(scenes, np.full(scenes, 1 / scenes), draws)


def drawn(matrices: np.ndarray, times: np.ndarray, sea: Sea | None) -> dict[str, np.ndarray]:
    """Score the sum of confusion matrices, (scenes, classes, classes), of each draw; see `measures`."""
    parts = [
        measures(np.tensordot(times[start : start + BLOCK], matrices, axes=1), sea)
        for start in range(0, len(times), BLOCK)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def interval(values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the 2.5th and 97.5th percentile along the first axis, without NaN; NaN where all are."""
    low, high = (np.full(values.shape[1:], np.nan) for _ in range(2))
    for place in np.ndindex(values.shape[1:]):
        given = values[(slice(None), *place)]
        given = given[~np.isnan(given)]
        if given.size:
            low[place], high[place] = np.percentile(given, (2.5, 97.5))
    return low, high


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
    classes: Mapped | None = None,
    legend: Sequence[SeaIceClass] | None = None,
) -> dict:
    """Say by how much one rule scores higher than another, and how sure that is, by a paired bootstrap over scenes.

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
    from seaicekit.evaluation.strata import stratified

    found = stratified({"a": rule_a, "b": rule_b}, references, tiles, classes=classes, legend=legend)
    matrices = {rule: found.of(rule, stratum) for rule in "ab"}
    held = matrices["a"].sum(axis=(1, 2)) > 0
    pick = _picker(score, class_name, found.legend)
    sea, scenes = sea_rows(found.legend), int(held.sum())
    if not scenes:
        raise InputError(f"difference: no pixel in {stratum} has data in both rules and the reference")
    a, b = (pick(measures(matrices[rule].sum(axis=0), sea)) for rule in "ab")
    if np.isnan(a - b):
        raise InputError(f"difference: {score} cannot be taken from these pixels; a class does not occur")
    made = {"score": score, "stratum": stratum, "estimate": float(a - b), "low": None, "high": None}
    made |= {"share_above": None, "scenes": scenes, "draws": 0, "meaningful": scenes >= FEW}
    if scenes > 1:
        times = weights(scenes, draws, seed)
        apart = np.subtract(*(pick(drawn(matrices[rule][held], times, sea)) for rule in "ab"))
        apart = apart[~np.isnan(apart)]
        made["draws"] = len(apart)
        if len(apart):
            made["low"], made["high"] = map(float, np.percentile(apart, (2.5, 97.5)))
            made["share_above"] = float((apart > 0).mean())
    return made | {"note": few(scenes)}


def few(scenes: int) -> str:
    """Say so where there are too few scenes for a bootstrap over scenes; empty where there are enough."""
    if scenes >= FEW:
        return ""
    if scenes == 1:
        return "one scene: no interval can be had from it"
    return (
        f"{scenes} scenes: too few for the interval to mean much; claim no difference with fewer than {FEW}"
    )


def _picker(score: str, class_name: str | None, legend: Sequence[SeaIceClass]):
    names = [entry.name for entry in legend]
    if score in OF_CLASS:
        if class_name not in names:
            raise InputError(f"class_name: {score} needs one of {', '.join(names)}, not {class_name!r}")
        return lambda found: found[score][..., names.index(class_name)]
    if score not in measures(np.zeros((len(names),) * 2)):
        raise InputError(f"score: unknown, {score!r}; see those that compare lists")
    if class_name is not None:
        raise InputError(f"class_name: {score} is of all classes; leave it out")
    return lambda found: found[score]


def over_seeds(runs: Sequence[pd.DataFrame | dict]) -> pd.DataFrame:
    """Tabulate the scores of runs that differ in their seed, by mean and spread.

    Parameters
    ----------
    runs : sequence
        A run's table from `seaicekit.evaluation.compare`, or its scores from `seaicekit.evaluate`; at least
        three.

    Returns
    -------
    pandas.DataFrame
        A row a score, by what names it in the tables (``rule``, ``table``, ``stratum``, ``scene``, ``class``,
        ``score``): ``runs`` in which it is defined, their ``mean``, ``sd`` (sample standard deviation),
        ``least``, ``most``.

    Raises
    ------
    InputError
        Fewer than three runs, or runs with other rows.
    """
    import pandas as pd

    if len(runs) < LEAST_RUNS:
        raise InputError(
            f"over_seeds: {len(runs)} runs show no spread; train with at least {LEAST_RUNS} seeds"
        )
    tables = [tidy(dict(run)) if isinstance(run, Mapping) else run for run in runs]
    keys = [name for name in ("rule", "table", "stratum", "scene", "class", "score") if name in tables[0]]
    for number, table in enumerate(tables):
        if any(name not in table for name in [*keys, "value"]) or set(
            table[keys].itertuples(index=False)
        ) != set(tables[0][keys].itertuples(index=False)):
            raise InputError(
                f"over_seeds: run {number} has other rows than run 0; score all on the same scenes"
            )
    grouped = pd.concat(tables).groupby(keys, sort=False)["value"]
    return grouped.agg(runs="count", mean="mean", sd="std", least="min", most="max").reset_index()
