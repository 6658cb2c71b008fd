"""Score a study's maps: every rule beside its baselines, over seeds, and where errors come from."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from benchmarks.study.material import Group, Material
from benchmarks.study.networks import Maps
from seaicekit import evaluation, scenes
from seaicekit.classes import NODATA
from seaicekit.evaluation import (
    CALIBRATED,
    CLEAR_TILES,
    CLOUDY,
    CLOUDY_TILES,
    DRAWS,
    LEAST_RUNS,
    stratified,
)
from seaicekit.files import InputError
from seaicekit.tiles import mask_outside_tiles

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
    """Score all networks of all seeds beside simpler rules.

    The baselines are those of `seaicekit.evaluation.compare`, with the cuts fitted to the study's points and
    the three-entry table fitted to its training tiles, and "filter and calibrated cuts", the rule that made
    the labels.

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
        (``sd`` is NaN with fewer than three), ``low`` and ``high``, the 95 % interval of drawing other
        scenes, averaged over seeds, ``scenes``, ``pixels``, ``table`` (whether the rule is a look-up),
        ``few_scenes``, and ``reached``, the share of seeds whose score some table look-up reaches.
    """
    table, chosen = material.of(group)
    training, learned = material.of("training")
    fitted = evaluation.fit_table(training["labels"], training[reference], learned)
    runs = [
        evaluation.compare(
            {**rules, FILTERED: table["labels"]},
            table[reference],
            chosen,
            images=table["path"],
            thresholds=material.cuts,
            filtered=table["labels"],
            table=fitted,
            draws=draws,
        )
        for rules in maps.values()
    ]
    scores = (
        pd.concat(runs)
        .groupby(KEYS, sort=False)
        .agg(
            runs=("value", "count"),
            mean=("value", "mean"),
            sd=("value", "std"),
            least=("value", "min"),
            most=("value", "max"),
            low=("low", "mean"),
            high=("high", "mean"),
            scenes=("scenes", "first"),
            pixels=("pixels", "first"),
            few_scenes=("few_scenes", "first"),
            table=("table", "first"),
            reached=("table_reaches", "mean"),
        )
    )
    if len(runs) < LEAST_RUNS:
        scores["sd"] = np.nan
    return scores.reset_index()


def summary(scores: pd.DataFrame, name: str = "accuracy", strata: Sequence[str] = STRATA) -> pd.DataFrame:
    """Return a score for people: a row a rule, a column a stratum, per cent, mean and spread over seeds.

    A • marks a network's score that a table look-up of the same column reaches. Rules that are look-ups
    themselves have it in their names.
    """
    rows = scores[(scores["score"] == name) & (scores["class"] == "") & (scores["scene"] == "")]
    rows = rows[rows["stratum"].isin(strata)]
    reached = (rows["reached"] > 0) & ~rows["table"] & (rows["rule"] != FILTERED)
    texts = [percent(*each) for each in zip(rows["mean"], rows["sd"], strict=True)]
    rows = rows.assign(
        text=np.where(reached, [f"{text} {MARK}" for text in texts], texts),
        rule=np.where(rows["table"], rows["rule"] + " (look-up)", rows["rule"]),
    )
    known = [stratum for stratum in strata if stratum in set(rows["stratum"])]
    wide = rows.pivot(index="rule", columns="stratum", values="text")
    return wide.loc[rows["rule"].unique(), known].rename_axis(columns=None)


def percent(mean: float, sd: float = np.nan) -> str:
    """Return a share as per cent, with its spread where there is one that shows."""
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
    """Return by how much one rule scores higher than another, per seed, by a paired bootstrap over scenes.

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
    table, chosen = material.of(group)
    plain = {FILTERED: table["labels"].to_dict(), CALIBRATED: table["raw"].to_dict()}
    rows = []
    for (a, b), stratum, (seed, rules) in itertools.product(pairs, strata, maps.items()):
        known = rules | plain
        for name in (a, b):
            if name not in known:
                raise InputError(f"pairs: no rule {name!r}; there are {', '.join(known)}")
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

    Returns
    -------
    dict
        (stratum, rule) → (classes, classes) int64.
    """
    table, chosen = material.of(group)
    counts = [
        stratified({rule: of[rule] for rule in rules}, table[reference], chosen) for of in maps.values()
    ]
    return {
        (stratum, rule): sum(each.of(rule, stratum).sum(axis=0) for each in counts)
        for stratum, rule in itertools.product(strata, rules)
    }


def inherited(material: Material, maps: Maps, rules: Sequence[str], group: Group = "heldout") -> pd.DataFrame:
    """Divide networks' errors by whether the automatic label was wrong, too.

    Returns
    -------
    pandas.DataFrame
        By ``rule`` and ``stratum``, shares of the pixels, over all seeds: ``label wrong``; of these
        ``repeated`` (the map has the label's class) and ``mended`` (the map has the true class); and
        ``added`` (the label is right and the map is not). ``map wrong`` follows from them.
    """
    rows = []
    table, chosen = material.of(group)
    for name, scene in table.iterrows():
        tiles = chosen[chosen["scene"] == name]
        truth, label = scenes.read_codes(scene["truth"]), scenes.read_codes(scene["labels"])
        held = (mask_outside_tiles(truth, tiles) != NODATA) & (label != NODATA)
        strata = _strata(truth, tiles)
        for rule, of in ((rule, of) for rule in rules for of in maps.values()):
            mapped = scenes.read_codes(of[rule][name])
            flags = {
                "pixels": held,
                "label wrong": held & (label != truth),
                "repeated": held & (label != truth) & (mapped == label),
                "mended": held & (label != truth) & (mapped == truth),
                "added": held & (label == truth) & (mapped != truth),
                "map wrong": held & (mapped != truth),
            }
            for stratum, where in strata.items():
                counts = {flag: np.count_nonzero(each & where) for flag, each in flags.items()}
                rows.append({"rule": rule, "stratum": stratum} | counts)
    found = pd.DataFrame(rows).groupby(["rule", "stratum"], sort=False).sum()
    return found.drop(columns="pixels").div(found["pixels"], axis=0)


def _strata(truth: np.ndarray, tiles: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return stratum → where it is, (rows, columns) bool."""
    cloudy, edge = np.zeros(truth.shape, bool), evaluation.edges(truth)
    for tile in tiles[tiles["cloud"] >= CLOUDY].itertuples():
        cloudy[scenes.Window(tile.row, tile.col, tile.height, tile.width).slices] = True
    strata = {"all": np.ones(truth.shape, bool), CLEAR_TILES: ~cloudy, CLOUDY_TILES: cloudy}
    return strata | {"interior": ~edge, "edge": edge}
