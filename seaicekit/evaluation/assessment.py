"""All that can be said of a run's maps, in one go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from seaicekit.evaluation.calibration import reliability
from seaicekit.evaluation.references import common_legend
from seaicekit.evaluation.rules import compare, concentration, fit_table, score_tiles
from seaicekit.evaluation.similarity import ssim
from seaicekit.evaluation.strata import CALIBRATED, FIXED, MAJORITY
from seaicekit.thresholds import Thresholds

if TYPE_CHECKING:
    import pandas as pd

    from seaicekit.rasters import Raster

MAP, LABELS = "U-Net", "filter and cuts"
RULES = {"accuracy": MAP, "accuracy_labels": LABELS, "accuracy_cuts": CALIBRATED, "majority_accuracy": MAJORITY}


def assess(
    predicted: pd.DataFrame,
    labels: Mapping[str, Raster],
    catalogue: pd.DataFrame,
    tiles: pd.DataFrame,
    thresholds: Thresholds,
    inputs: str = "rgb",
) -> dict:
    """Score a run's maps on the test tiles, against the truth where there is one, beside all baselines.

    Parameters
    ----------
    predicted : pandas.DataFrame
        ``map`` and ``confidence`` by scene, as from `seaicekit.predict`.
    labels : dict
        Scene → automatic labels.
    catalogue : pandas.DataFrame
        ``path`` and ``truth`` by scene, as from `seaicekit.catalogues.load_catalogue`.
    tiles : pandas.DataFrame
        The tile index; those of the split "test" are scored.
    thresholds : Thresholds
        The cuts.
    inputs : str
        What the network sees; with "filtered" a three-entry table stands beside it, fitted to the training
        tiles.

    Returns
    -------
    dict
        ``against``, "truth" or "labels" (where no test scene has a truth: agreement, and not accuracy);
        ``table``, as from `compare`; ``confusion``, the map's ``counts`` and ``classes``, which are
        ``legend``; ``agreement``, the map's scores against the labels; ``reliability``, as from there;
        ``concentration``, a row a scene;
        ``ssim`` of labels and of map against the truth, empty without.
    """
    test = tiles[tiles["split"] == "test"]
    truths = catalogue["truth"][test["scene"].unique()].dropna().to_dict()
    reference = truths or {name: labels[name] for name in test["scene"].unique()}
    chosen = test[test["scene"].isin(list(reference))]
    maps, confidences, made = (_of(each, reference) for each in (predicted["map"], predicted["confidence"], labels))
    legend = common_legend([*maps.values(), *made.values()], list(reference.values()), None, thresholds.legend)
    looked = _table(labels, catalogue["truth"], tiles, bool(truths)) if inputs == "filtered" else {}
    table = compare(
        {MAP: maps} | ({LABELS: made} if truths else {}), reference, chosen, images=catalogue["path"].to_dict(),
        thresholds=None if thresholds == Thresholds() else thresholds,  # the paper's stand there anyway
        tables=[LABELS] if looked and truths else [], legend=legend, **looked,
    )  # fmt: skip
    alike = {LABELS: made, MAP: maps} if truths else {}
    return {
        "against": "truth" if truths else "labels",
        "table": table,
        "confusion": {
            "counts": score_tiles(maps, reference, chosen, legend)["confusion"],
            "classes": [entry.name for entry in legend],
        },
        "agreement": score_tiles(predicted["map"], labels, test, legend),
        "legend": legend,
        "reliability": reliability(maps, confidences, reference, chosen=chosen, legend=legend),
        "concentration": concentration(maps, reference, chosen, legend=legend),
        "ssim": {rule: ssim(given, reference, legend=legend)["ssim"] for rule, given in alike.items()},
    }


def _of(rasters: Mapping[str, Raster], names: Iterable[str]) -> dict[str, Raster]:
    return {name: rasters[name] for name in names}


def _table(labels: Mapping[str, Raster], truth: pd.Series, tiles: pd.DataFrame, by_truth: bool) -> dict:
    """Fit the three-entry table to the training tiles: the filter's output has three values, which are the labels."""
    train = tiles[tiles["split"] == "train"]
    known = truth.dropna().to_dict() if by_truth else labels
    known = {name: known[name] for name in train["scene"].unique() if name in known}
    return {"filtered": labels, "table": fit_table(labels, known, train)} if known else {}


def headline(found: dict) -> dict[str, float]:
    """Return what people are told first of what `assess` found: key → share; empty without truth."""
    if found["against"] != "truth":
        return {}
    rows = found["table"]
    rows = rows[(rows["score"] == "accuracy") & (rows["stratum"] == "all")].set_index("rule")["value"]
    return {key: float(rows[rule if rule in rows else FIXED]) for key, rule in RULES.items()}
