"""All scores of a run's maps in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from seaicekit.evaluation.calibration import reliability
from seaicekit.evaluation.matrices import ice_share, sea_rows
from seaicekit.evaluation.references import common_legend, evaluate
from seaicekit.evaluation.rules import CALIBRATED, FIXED, compare, concentration, fit_table
from seaicekit.evaluation.similarity import ssim
from seaicekit.evaluation.strata import MAJORITY, stratified
from seaicekit.files import InputError
from seaicekit.thresholds import Thresholds
from seaicekit.tiles import labelling_rule

if TYPE_CHECKING:
    import pandas as pd

    from seaicekit.scenes import Raster

MAP, LABELS = "U-Net", "filter and cuts"
RULES = {
    "accuracy": MAP,
    "accuracy_labels": LABELS,
    "accuracy_cuts": CALIBRATED,
    "majority_accuracy": MAJORITY,
}


def assess(
    predicted: pd.DataFrame,
    labels: Mapping[str, Raster],
    catalogue: pd.DataFrame,
    tiles: pd.DataFrame,
    thresholds: Thresholds,
    variant: str = "rgb",
) -> dict:
    """Score a run's maps on the test tiles, against the truth where there is one, beside all baselines.

    Parameters
    ----------
    predicted : pandas.DataFrame
        ``map`` and ``confidence`` by scene, as from `seaicekit.predict`.
    labels : dict
        Scene → automatic labels.
    catalogue : pandas.DataFrame
        ``path`` and ``truth`` by scene, as from `seaicekit.scenes.load_catalogue`.
    tiles : pandas.DataFrame
        The tile index; those of the split "test" are scored.
    thresholds : Thresholds
        The cuts.
    variant : str
        What the network sees; with "filtered" a three-entry table stands beside it, fitted to the training
        tiles.

    Returns
    -------
    dict
        ``against``, "truth" or "labels" (where no test scene has a truth: agreement, and not accuracy);
        ``table``, as from `compare`; ``confusion``, the map's ``counts`` and ``classes``, which are
        ``legend``; ``agreement``, the map's scores against the labels; ``reliability``, as from there;
        ``concentration``, a row a scene;
        ``ssim`` of labels and of map against the truth, empty without; None where no window of it is whole.
    """
    test = tiles[tiles["split"] == "test"]
    names = list(test["scene"].unique())
    truths = catalogue["truth"][names].dropna().to_dict()
    reference = truths or {name: labels[name] for name in names}
    maps, confidences, made = (
        {name: each[name] for name in reference}
        for each in (predicted["map"], predicted["confidence"], labels)
    )
    chosen = test[test["scene"].isin(list(reference))]
    legend = common_legend(
        [*maps.values(), *made.values()], list(reference.values()), None, thresholds.legend
    )
    files = {name: raster for name, raster in made.items() if isinstance(raster, str | os.PathLike)}
    ends = {name: labelling_rule(raster)[1] for name, raster in files.items()}
    calibrated = any(ends.values()) or thresholds != Thresholds()  # the paper's cuts stand there anyway
    look_up = _look_up(labels, catalogue["truth"], tiles, bool(truths)) if variant == "filtered" else {}
    table = compare(
        {MAP: maps} | ({LABELS: made} if truths else {}),
        reference,
        chosen,
        images=catalogue["path"].to_dict(),
        thresholds=thresholds if calibrated else None,
        ends=ends,
        tables=[LABELS] if look_up and truths else [],
        legend=legend,
        **look_up,
    )
    counts = stratified({MAP: maps}, reference, chosen, legend=legend).of(MAP).sum(axis=0)
    return {
        "against": "truth" if truths else "labels",
        "table": table,
        "confusion": {"counts": counts.tolist(), "classes": [entry.name for entry in legend]},
        "agreement": evaluate(predicted["map"], labels, legend=legend, tiles=test),
        "legend": legend,
        "reliability": reliability(maps, confidences, reference, legend=legend, tiles=chosen),
        "concentration": concentration(maps, reference, chosen, legend=legend),
        "ssim": {
            rule: _similarity(rasters, reference, legend=legend, tiles=chosen)
            for rule, rasters in {LABELS: made, MAP: maps}.items()
            if truths
        },
    }


def _look_up(labels: Mapping[str, Raster], truth: pd.Series, tiles: pd.DataFrame, by_truth: bool) -> dict:
    """Fit the three-entry table to the training tiles.

    The filter's output has three values, which are the labels.
    """
    train = tiles[tiles["split"] == "train"]
    known = truth.dropna().to_dict() if by_truth else labels
    known = {name: known[name] for name in train["scene"].unique() if name in known}
    return {"filtered": labels, "table": fit_table(labels, known, train)} if known else {}


def _similarity(
    rasters: Mapping[str, Raster], reference: Mapping[str, Raster], **options: Any
) -> float | None:
    """Return the structural similarity; None where no window is whole."""
    try:
        return ssim(rasters, reference, **options)["ssim"]
    except InputError:
        return None


def headline(assessment: dict) -> dict[str, float]:
    """Return an assessment's main scores: key → share; empty without truth.

    The accuracies hide two things where water is rare: ``water_recall``, the share of the
    truth's water that the map finds (left out if there is none), and ``concentration_error``, the map's ice
    concentration less the truth's, over all test pixels.
    """
    if assessment["against"] != "truth":
        return {}
    rows = assessment["table"]
    rows = rows[(rows["score"] == "accuracy") & (rows["stratum"] == "all")].set_index("rule")["value"]
    accuracies = {key: float(rows[rule if rule in rows else FIXED]) for key, rule in RULES.items()}
    counts, sea = np.asarray(assessment["confusion"]["counts"]), sea_rows(assessment["legend"])
    if sea is None or not counts[sea[1]].any():
        return accuracies
    return accuracies | {
        "water_recall": float(counts[sea[1]][:, sea[1]].sum() / counts[sea[1]].sum()),
        "concentration_error": float(ice_share(counts.sum(axis=0), sea) - ice_share(counts.sum(axis=1), sea)),
    }
