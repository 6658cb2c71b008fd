"""What a run found, as figures and in a few words."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from seaicekit import evaluation
from seaicekit.files import read_json, write_json
from seaicekit.labels import load_labels
from seaicekit.thresholds import Thresholds
from seaicekit.training import read_card, write_card

if TYPE_CHECKING:
    import pandas as pd

# Key in ``figures`` → how people are told.
SCORES = {
    "accuracy": "U-Net map",
    "accuracy_labels": "filter and cuts, the automatic labels",
    "accuracy_cuts": "cuts alone",
    "majority_accuracy": "calling everything the commonest class",
}
RARE = 0.005  # a class below this share of the labels is worth a word


def save_metrics(run_dir: str | os.PathLike, maps: pd.DataFrame, tiles: pd.DataFrame, found: dict) -> None:
    """Write ``metrics.json``: all scores of a run, and under ``figures`` those that people are told first.

    The model's card gets the scores, too, so that the file alone says how good it is.

    Parameters
    ----------
    run_dir : path
        The run's folder, with its ``scenes.json``, its labels and ``model/training.json``.
    maps : pandas.DataFrame
        As from `seaicekit.predict`.
    tiles : pandas.DataFrame
        The tile index.
    found : dict
        As from `seaicekit.evaluation.assess`.
    """
    folder, test = Path(run_dir), tiles[tiles["split"] == "test"]["scene"].unique()
    training, catalogued = read_json(folder / "model" / "training.json"), read_json(folder / "scenes.json")
    figures = {
        "scenes": len(catalogued["features"]),
        "quarantined": len(catalogued["seaicekit:quarantined"]),
        "tiles": len(tiles),
        "test_scenes": len(test),
        "held_out": "scenes" if (tiles.groupby("scene")["split"].nunique() == 1).all() else "tiles",
        "agreement": found["agreement"]["accuracy"],
        "agreement_majority": found["agreement"]["majority_accuracy"],
        **{name: training[name] for name in ("ranks", "parameters", "images_per_second")},
        "epochs": len(training["epochs"]),
        **evaluation.headline(found),
        "calibration_error": found["reliability"]["ece"],
        "label_shares": _label_shares(folder),
    }
    rows = maps.assign(split=maps["scene"].isin(test).map({True: "test", False: "train"}))
    tables = {
        "scores": found["table"],
        "concentration": found["concentration"],
        "maps": rows.drop(columns=["path", "map", "confidence"]),
    }
    told = {
        name: json.loads(table.to_json(orient="records", date_format="iso")) for name, table in tables.items()
    }
    kept = ("against", "confusion", "agreement", "reliability", "ssim")
    model = folder / "model" / "model.keras"
    scores = {"against": found["against"]} | {name: figures[name] for name in figures if "accuracy" in name}
    write_card(model, replace(read_card(model), scores=scores | {"agreement": figures["agreement"]}))
    write_json(folder / "metrics.json", {"figures": figures} | {name: found[name] for name in kept} | told)


def _label_shares(folder: Path) -> dict[str, float]:
    """Return how much of the valid area the automatic labels give to each class."""
    legend = Thresholds.load(folder / "thresholds.json").legend
    counts = load_labels(folder / "labels")[[entry.column for entry in legend]].sum()
    return {name: float(count / counts.sum()) for name, count in counts.items()}


def missing(figures: dict) -> str:
    """Name the classes that the labels hardly contain, with advice; empty if there is none."""
    rare = [name.replace("_", " ") for name, share in figures["label_shares"].items() if share < RARE]
    if not rare:
        return ""
    return (
        f"The cuts call less than {RARE:.1%} of the area {' or '.join(rare)}. If there is more of it, they do not "
        "fit these scenes: calibrate them in 02_calibrate.ipynb and run again with the saved file as 'thresholds'."
    )


def untrained(figures: dict) -> str:
    """Say so, with advice, where the map agrees with the labels no better than one class everywhere would."""
    if figures["agreement"] > figures["agreement_majority"]:
        return ""
    return "The network has not learned: its map agrees no better than one class everywhere. Train for more epochs."


def summary(figures: dict) -> str:
    """Say in a few lines what a run's figures are."""
    lines = []
    if "accuracy" in figures:
        lines.append(f"Accuracy against truth, on {figures['held_out']} that were not trained on:")
        lines += [f"  {100 * figures[key]:6.2f} %  {name}" for key, name in SCORES.items()]
        if "water_recall" in figures:
            lines.append(
                f"  {100 * figures['water_recall']:6.2f} %  of the truth's open water is found by the map"
            )
            lines.append(
                f"  {100 * figures['concentration_error']:+6.2f} points  error of the map's ice concentration"
            )
    else:
        lines.append("No truth came with these scenes, so there is no accuracy.")
    agreement = 100 * figures["agreement"]
    lines.append(
        f"  {agreement:6.2f} %  agreement of the map with the automatic labels, same {figures['held_out']}"
    )
    lines.append(
        f"  {100 * figures['agreement_majority']:6.2f} %  agreement of calling everything the commonest class"
    )
    if untrained(figures):
        lines.append(untrained(figures))
    if missing(figures):
        lines.append(missing(figures))
    seconds, memory = figures["total_seconds"], figures["peak_memory_gb"]
    lines.append(
        f"{figures['scenes']} scenes, {figures['tiles']} tiles; {seconds:.0f} s, at most {memory:.2f} GB."
    )
    return "\n".join(lines)
