"""Accuracy of the maps, compared with simpler baselines: ``python -m benchmarks accuracy``.

Scenes are made by the settings in ``study/benchmark.yaml``. The network's settings and the way of calibrating
were chosen on the development scenes of "demo" (``--on development``); nothing was chosen on held-out scenes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import Raw, Rows, row, study
from benchmarks.study import FILTERED, STRATA, Benchmark, Group, percent, records
from seaicekit.evaluation import CALIBRATED
from seaicekit.files import InputError
from seaicekit.tiles import Inputs
from seaicekit.training import Launcher

PARTS = ("demo", "hard")
# The batch is a rank's.
NETWORK: dict[str, Any] = {"epochs": 16, "batch": 2, "learning_rate": 0.003, "width": 8, "depth": 4}
AUTO, MAN = (variant.name for variant in study.variants("rgb"))
PAIRS = ((AUTO, CALIBRATED), (AUTO, FILTERED), (MAN, AUTO), (FILTERED, CALIBRATED))
WITHIN = 0.01  # of what is learned from the truth
SCORES = ("accuracy", "balanced_accuracy", "ice_concentration_error", "recall", "iou")  # that are kept
TABLES = {"table 4": study.table_4, "table 5": study.table_5, "figure 13": study.figure_13}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's own options."""
    inputs = "what networks see: rgb, and for the paper's tables on the first part others"
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="of trainings")
    parser.add_argument("--inputs", nargs="+", default=["rgb", "filtered"], metavar="NAME", help=inputs)
    parser.add_argument("--epochs", type=int, default=NETWORK["epochs"], metavar="N", help="of each training")
    groups, folder = ["heldout", "development"], "a stopped run goes on there (default: %(default)s)"
    parser.add_argument("--on", dest="group", default="heldout", choices=groups, help="which scenes to score")
    parser.add_argument("--dir", dest="folder", default="runs/accuracy", metavar="DIR", help=folder)


def run(
    parts: Sequence[str | Benchmark],
    seeds: Sequence[int] = (0, 1, 2),
    folder: str | Path = "runs/accuracy",
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
    parts : sequence of str or Benchmark
        "demo", "hard".
    seeds : sequence of int
        Of the trainings.
    folder : path
        Gets a folder a part.
    inputs : sequence of "rgb", "grey" or "filtered"
        "rgb" must be among them. The others are for the paper's tables, and trained in the first part alone.
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
        By part: ``benchmark``, ``cuts``, ``network``, ``trainings``, ``scores``, ``differences``,
        ``errors``, the paper's tables, and more.

    Raises
    ------
    InputError
        No "rgb", or as `benchmarks.study.make` and `benchmarks.study.train`.
    """
    if "rgb" not in inputs:
        raise InputError(f"inputs: rgb must be among them, not only {', '.join(inputs)}")
    rows: Rows = []
    raw: Raw = {}
    for number, part in enumerate(parts):
        start = time.perf_counter()
        benchmark = part if isinstance(part, Benchmark) else Benchmark.load(part)
        material = study.make(Path(folder) / benchmark.name, benchmark)
        variants = study.variants(*(["rgb"] if number else inputs))
        trained = study.train(material, variants, seeds, ranks, launcher, **(NETWORK | network))
        maps = study.predict(material, variants, seeds, group)
        truth, labels = (study.score(material, maps, group, reference) for reference in ("truth", "labels"))
        differences = study.differences(material, maps, PAIRS, group, strata=STRATA)
        similarity = study.similarity(material, group)
        print(f"\n{benchmark.name}: accuracy, %\n{study.summary(truth).to_string()}\n")
        rows += _score_rows(benchmark.name, truth)
        rows += _difference_rows(benchmark.name, differences)
        for images, one in similarity.iterrows():
            what = f"labels of {images} images to the truth: SSIM"
            note = f"the paper, to manual labels: {one['paper']:g}"
            rows.append(row(benchmark.name, what, one["here"], "", note))
        raw[benchmark.name] = {
            "benchmark": benchmark.model_dump(mode="json"),
            "scored on": group,
            "cuts": {"image": material.cuts.to_dict(), "filter": material.filter_cuts.to_dict()},
            "network": NETWORK | network | {"ranks": ranks},
            "trainings": records(trained.drop(columns="folder")),
            "scores": records(_kept(truth)),
            "scores against the labels": records(_kept(labels)),
            "differences": records(differences),
            "similarity": records(similarity),
            "errors": records(study.inherited(material, maps, [AUTO, MAN], group)),
            **{name: records(table(truth, labels)) for name, table in TABLES.items()},
            "seconds of training": round(float(trained["seconds"].sum())),
            "seconds of this call": round(time.perf_counter() - start),
        }
    return rows, raw


def _kept(scores: pd.DataFrame) -> pd.DataFrame:
    """Leave out what would make the file large: single scenes, and scores that follow from others."""
    kept = scores["score"].isin(SCORES) & (scores["scene"] == "")
    return scores[kept].drop(columns=["scene", "few_scenes", "least", "most"])


def _score_rows(part: str, scores: pd.DataFrame) -> Rows:
    """Return a row a rule: its accuracy, and in the note its interval, spread and whether it is a look-up."""
    rows = []
    whole = (scores["stratum"] == "all") & (scores["score"] == "accuracy") & (scores["scene"] == "")
    for one in scores[whole].itertuples():
        note = f"95 % over scenes {percent(one.low)} to {percent(one.high)} %"
        note += f"; ± {100 * one.sd:.2f} over {one.runs} seeds" if one.sd > 0 else ""
        if one.table:
            note += "; a look-up"
        elif one.reached:
            note += f"; a look-up reaches it with {one.reached:.0%} of the seeds"
        rows.append(row(part, f"{one.rule}: accuracy", one.mean, "", note))
    return rows


def _difference_rows(part: str, differences: pd.DataFrame) -> Rows:
    """Return a row a pair of rules: their difference, and in the note its interval in every seed."""
    rows = []
    chosen = differences[differences["stratum"] == "all"]
    for (a, b), found in chosen.groupby(["a", "b"], sort=False):
        each = ", ".join(
            f"{100 * one.estimate:+.2f} ({100 * one.low:+.2f} to {100 * one.high:+.2f})"
            for one in found.itertuples()
            if one.low is not None
        )
        note = f"points, with 95 % over scenes, a seed each: {each}"
        target = f"<= {WITHIN}" if (a, b) == (MAN, AUTO) else ""
        rows.append(row(part, f"{a} less {b}: accuracy", found["estimate"].mean(), target, note))
        if (a, b) == (AUTO, CALIBRATED):
            lowest = found["low"].astype(float).min()
            rows.append(row(part, f"{a} less {b}: lower end, worst seed", lowest, ">= 0"))
    return rows
