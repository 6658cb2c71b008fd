"""Score a study's maps: every rule beside its baselines, over seeds, and differences with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchmarks.study.benchmark import Group
from benchmarks.study.material import Material
from seaicekit import evaluation
from seaicekit.evaluation import CALIBRATED, CLEAR_TILES, CLOUDY_TILES, DRAWS, LEAST_RUNS, stratified
from seaicekit.files import InputError

if TYPE_CHECKING:
    import pandas as pd

    from benchmarks.study.networks import Maps

FILTERED = "filter and calibrated cuts"
KEYS = ["rule", "stratum", "scene", "class", "score"]
STRATA = ("all", CLEAR_TILES, CLOUDY_TILES, "interior", "edge")
MARK = "•"
Reference = Literal["truth", "labels"]


def score(
    material: Material,
    maps: Maps,
    group: Group = "heldout",
    reference: Reference = "truth",
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Score all networks of all seeds beside what knows less.

    The baselines are those of `seaicekit.evaluation.compare`, with the cuts fitted to the study's points and
    the
    three-entry table fitted to its training tiles, and "filter and calibrated cuts", the rule that made the
    labels.

    Parameters
    ----------
    material : Material
    maps : dict
        As from `benchmarks.study.predict`, of the same group.
    group : "heldout", "development" or "training"
    reference : "truth" or "labels"
        The automatic labels are what the paper's U-Net-Auto is scored against, as far as one can tell.
    draws : int
        Of the bootstrap over scenes.

    Returns
    -------
    pandas.DataFrame
        A row a score, named as by `compare`: ``runs``, ``mean``, ``sd``, ``least``, ``most`` over seeds
        (``sd`` is
        NaN with fewer than three), ``low`` and ``high``, the 95 % interval of drawing other scenes, averaged
        over seeds, ``scenes``, ``pixels``, ``table`` (whether the rule is a look-up), ``few_scenes``, and
        ``reached``, the share of seeds whose score some table look-up reaches.
    """
    import pandas as pd

    table, chosen = material.of(group)
    training, learned = material.of("training")
    references, filtered = table[reference], table["labels"]
    looked_up = evaluation.fit_table(training["labels"], training[reference], learned)
    runs = [
        evaluation.compare(
            {**rules, FILTERED: filtered},
            references,
            chosen,
            images=table["path"],
            thresholds=material.cuts,
            filtered=filtered,
            table=looked_up,
            draws=draws,
        )
        for rules in maps.values()
    ]
    together = pd.concat(runs).groupby(KEYS, sort=False)
    kept = together.agg(
        low=("low", "mean"),
        high=("high", "mean"),
        scenes=("scenes", "first"),
        pixels=("pixels", "first"),
        few_scenes=("few_scenes", "first"),
        table=("table", "first"),
        reached=("table_reaches", "mean"),
    )
    if len(runs) < LEAST_RUNS:
        spread = together["value"].agg(runs="count", mean="mean", least="min", most="max").assign(sd=np.nan)
    else:
        spread = evaluation.over_seeds(runs).set_index(KEYS).drop(columns="table")
    return spread.join(kept).reset_index()


def summary(scores: pd.DataFrame, name: str = "accuracy", strata: Sequence[str] = STRATA) -> pd.DataFrame:
    """Lay a score out for people: a row a rule, a column a stratum, per cent, mean and spread over seeds.

    A score of a network that a table look-up of the same column reaches bears a •; of a rule that is a
    look-up itself the name says so.
    """
    rows = scores[(scores["score"] == name) & (scores["class"] == "") & (scores["scene"] == "")]
    rows = rows[rows["stratum"].isin(strata)]
    marked = (rows["reached"] > 0) & ~rows["table"] & (rows["rule"] != FILTERED)
    shown = [percent(*each) for each in zip(rows["mean"], rows["sd"], strict=True)]
    rows = rows.assign(
        shown=[f"{text} {MARK}" if mark else text for text, mark in zip(shown, marked, strict=True)],
        rule=np.where(rows["table"], rows["rule"] + " (look-up)", rows["rule"]),
    )
    order = list(dict.fromkeys(rows["rule"]))
    known = [stratum for stratum in strata if stratum in set(rows["stratum"])]
    return (
        rows.pivot(index="rule", columns="stratum", values="shown")
        .loc[order, known]
        .rename_axis(columns=None)
    )


def percent(mean: float, sd: float = np.nan) -> str:
    """Write a share as per cent, with its spread where there is one that shows."""
    if np.isnan(mean):
        return "–"
    return f"{100 * mean:.2f}" + ("" if np.isnan(sd) or sd < 5e-5 else f" ± {100 * sd:.2f}")


def differences(
    material: Material,
    maps: Maps,
    pairs: Sequence[tuple[str, str]],
    group: Group = "heldout",
    reference: Reference = "truth",
    strata: Sequence[str] = ("all",),
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Say by how much one rule scores higher than another, for each seed, by a paired bootstrap over scenes.

    Parameters
    ----------
    material, maps, group, reference, draws
        As for `score`.
    pairs : sequence of (str, str)
        Names of rules: networks, "calibrated cuts" or "filter and calibrated cuts".
    strata : sequence of str

    Returns
    -------
    pandas.DataFrame
        A row a pair, stratum and seed: ``a``, ``b``, ``stratum``, ``seed``, ``estimate`` (accuracy of a less
        that of b), ``low``, ``high`` (95 %), ``scenes``, and ``note``, a warning where these are few.
    """
    import pandas as pd

    table, chosen = material.of(group)
    plain = {FILTERED: table["labels"].to_dict(), CALIBRATED: table["raw"].to_dict()}
    rows = []
    for a, b in pairs:
        for stratum in strata:
            for seed, rules in maps.items():
                known = rules | plain
                if a not in known or b not in known:
                    raise InputError(
                        f"pairs: no rule {a if a not in known else b!r}; there are {', '.join(known)}"
                    )
                found = evaluation.difference(
                    known[a], known[b], table[reference], draws, tiles=chosen, stratum=stratum
                )
                kept = {name: found[name] for name in ("estimate", "low", "high", "scenes", "note")}
                rows.append({"a": a, "b": b, "stratum": stratum, "seed": seed} | kept)
    return pd.DataFrame(rows)


def confusions(
    material: Material,
    maps: Maps,
    rules: Sequence[str],
    strata: Sequence[str] = (CLOUDY_TILES, CLEAR_TILES),
    group: Group = "heldout",
    reference: Reference = "truth",
) -> dict[tuple[str, str], np.ndarray]:
    """Count pixels by reference (rows) and map (columns), over all scenes and seeds.

    (stratum, rule) → matrix.
    """
    table, chosen = material.of(group)
    found = [stratified({rule: of[rule] for rule in rules}, table[reference], chosen) for of in maps.values()]
    return {
        (stratum, rule): sum(each.of(rule, stratum).sum(axis=0) for each in found)
        for stratum in strata
        for rule in rules
    }
