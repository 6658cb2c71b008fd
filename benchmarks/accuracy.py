"""How right the maps are, beside all that knows less: ``python -m benchmarks accuracy``.

Scenes are made by the settings in ``presets/benchmark.yaml``. What was chosen was chosen on the development
scenes
of "demo" (``--on development``): `NETWORK`, and how the cuts are calibrated. Nothing was on held-out scenes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import row, study
from benchmarks.study import records
from benchmarks.study.scoring import FILTERED, STRATA, percent
from seaicekit.evaluation import CALIBRATED, CLEAR_TILES, CLOUDY_TILES
from seaicekit.files import InputError

if TYPE_CHECKING:
    import pandas as pd

    from benchmarks.study import Benchmark
    from benchmarks.study.benchmark import Group
    from seaicekit.tiles import Inputs
    from seaicekit.training import Launcher

NETWORK: dict[str, Any] = {
    "epochs": 16,
    "batch": 2,
    "learning_rate": 0.003,
    "width": 8,
    "depth": 4,
}  # batch per rank
AUTO, MAN = (variant.name for variant in study.variants("rgb"))
PAIRS = ((AUTO, CALIBRATED), (AUTO, FILTERED), (MAN, AUTO), (FILTERED, CALIBRATED))
WITHIN = 0.01  # of what is learned from the truth
Rows = list[dict]
Raw = dict[str, Any]


def run(
    settings: Sequence[str | Benchmark] = ("demo", "hard"),
    seeds: Sequence[int] = (0, 1, 2),
    folder: str = "runs/accuracy",
    inputs: Sequence[Inputs] = ("rgb", "filtered"),
    group: Group = "heldout",
    ranks: int = 2,
    launcher: Launcher = "horovodrun",
    **network: float,
) -> tuple[Rows, Raw]:
    """Make, train and score.

    What the folder already has is taken as it is, so a run that was stopped goes on.

    Parameters
    ----------
    settings : sequence of str or Benchmark
        "demo", "hard".
    seeds : sequence of int
        Of the trainings.
    folder : path
        Gets a folder a setting.
    inputs : sequence of "rgb", "grey" or "filtered"
        "rgb" must be among them. The others are for the paper's tables, and trained in the first setting
        alone.
    group : "heldout" or "development"
    ranks, launcher
        As for `seaicekit.train`.
    **network
        What differs from `NETWORK`.

    Returns
    -------
    rows : list of dict
        As from `benchmarks.row`.
    raw : dict
        By setting: ``benchmark``, ``cuts``, ``network``, ``trainings``, ``scores``, ``differences``,
        ``errors``, the paper's tables, and more.

    Raises
    ------
    InputError
        An unknown setting, no "rgb", or as `benchmarks.study.make` and `benchmarks.study.train`.
    """
    if "rgb" not in inputs:
        raise InputError(f"inputs: rgb must be among them, not only {', '.join(inputs)}")
    chosen = [each if isinstance(each, study.Benchmark) else study.Benchmark.load(each) for each in settings]
    rows: Rows = []
    raw: Raw = {"versions": {name: metadata.version(name) for name in ("tensorflow-cpu", "keras", "horovod")}}
    for benchmark in chosen:
        start = time.perf_counter()
        material = study.make(Path(folder) / benchmark.name, benchmark)
        variants = study.variants(*(inputs if benchmark is chosen[0] else ["rgb"]))
        trained = study.train(material, variants, seeds, ranks, launcher, **(NETWORK | network))
        maps = study.predict(material, variants, seeds, group)
        truth, labels = (study.score(material, maps, group, reference) for reference in ("truth", "labels"))
        apart = study.differences(material, maps, PAIRS, group, strata=STRATA)
        alike = study.similarity(material, group)
        print(f"\n{benchmark.name}: accuracy, %\n{study.summary(truth).to_string()}\n")
        rows += _scored(benchmark.name, truth) + _apart(benchmark.name, apart) + _alike(benchmark.name, alike)
        tables = {"table 4": study.table_4, "table 5": study.table_5, "figure 13": study.figure_13}
        raw[benchmark.name] = {
            "benchmark": benchmark.to_dict(),
            "scored on": group,
            "cuts": {"image": material.cuts.to_dict(), "filter": material.filter_cuts.to_dict()},
            "network": NETWORK | network | {"ranks": ranks},
            "trainings": records(trained.drop(columns="folder")),
            "scores": records(_kept(truth)),
            "scores against the labels": records(_kept(labels)),
            "differences": records(apart),
            "similarity": records(alike.reset_index()),
            "errors": records(study.inherited(material, maps, [AUTO, MAN], group).reset_index()),
            **{name: records(table(truth, labels).reset_index()) for name, table in tables.items()},
            "confusion of the labels": _labels_confusion(material, group),
            "seconds of training": round(float(trained["seconds"].sum())),
            "seconds of this call": round(time.perf_counter() - start),
        }
    return rows, raw


def _kept(scores: pd.DataFrame) -> pd.DataFrame:
    """Leave out what would make the file large: single scenes, and scores that follow from others."""
    wanted = scores["score"].isin(
        ["accuracy", "balanced_accuracy", "ice_concentration_error", "recall", "iou"]
    )
    return scores[wanted & (scores["scene"] == "")].drop(columns=["scene", "few_scenes", "least", "most"])


def _labels_confusion(material: study.Material, group: Group) -> dict[str, list]:
    """Count the automatic labels' pixels (columns) by truth (rows), at the edges of floes and off them."""
    labels = {0: {FILTERED: material.of(group)[0]["labels"].to_dict()}}
    found = study.confusions(material, labels, [FILTERED], ("interior", "edge"), group)
    return {stratum: counts.tolist() for (stratum, _), counts in found.items()}


def _scored(name: str, scores: pd.DataFrame) -> Rows:
    """Return a row a rule: accuracy, and beside it what parts it."""
    rows = []
    plain = scores[(scores["class"] == "") & (scores["scene"] == "")]
    for rule, found in plain.groupby("rule", sort=False):
        value = found[found["score"] == "accuracy"].set_index("stratum")
        whole = value.loc["all"]
        note = f"95 % over scenes {percent(whole['low'])} to {percent(whole['high'])} %"
        note += "" if not whole["sd"] > 0 else f"; ± {100 * whole['sd']:.2f} over {int(whole['runs'])} seeds"
        parts = [f"{each} {percent(value['mean'][each])} %" for each in STRATA[1:] if each in value.index]
        note += "; " + ", ".join(parts).replace(CLEAR_TILES, "clear tiles").replace(
            CLOUDY_TILES, "cloudy tiles"
        )
        if whole["table"]:
            note += "; a look-up"
        elif whole["reached"]:
            note += f"; a look-up reaches it with {whole['reached']:.0%} of the seeds"
        rows.append(row(name, f"{rule}: accuracy", whole["mean"], "", note))
    return rows


def _apart(name: str, apart: pd.DataFrame) -> Rows:
    """Return the differences, each with its interval in every seed."""
    rows = []
    for (a, b), found in apart[apart["stratum"] == "all"].groupby(["a", "b"], sort=False):
        each = ", ".join(
            f"{100 * one.estimate:+.2f} ({100 * one.low:+.2f} to {100 * one.high:+.2f})"
            for one in found.itertuples()
            if one.low is not None
        )
        note = f"points, with 95 % over scenes, a seed each: {each}"
        if (a, b) == (MAN, AUTO):
            rows.append(row(name, f"{a} less {b}: accuracy", found["estimate"].mean(), f"<= {WITHIN}", note))
        else:
            rows.append(row(name, f"{a} less {b}: accuracy", found["estimate"].mean(), "", note))
        if (a, b) == (AUTO, CALIBRATED):
            lowest = found["low"].astype(float).min()
            rows.append(row(name, f"{a} less {b}: lower end, worst seed", lowest, ">= 0"))
    return rows


def _alike(name: str, alike: pd.DataFrame) -> Rows:
    rows = []
    for images, one in alike.iterrows():
        note = f"the paper, to manual labels: {one['paper']:g}"
        rows.append(row(name, f"labels of {images} images to the truth: SSIM", one["here"], "", note))
    return rows
