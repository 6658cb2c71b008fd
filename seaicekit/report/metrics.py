"""A run's scores as figures, and in a few words."""

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

# Key in ``figures`` → its unit and its words in the terminal.
LINES = {
    "accuracy": ("%", "U-Net map"),
    "accuracy_labels": ("%", "filter and cuts, the automatic labels"),
    "accuracy_cuts": ("%", "cuts alone"),
    "majority_accuracy": ("%", "calling everything the commonest class"),
    "water_recall": ("%", "of the truth's open water is found by the map"),
    "concentration_error": ("points", "error of the map's ice concentration"),
    "agreement": ("%", "agreement of the map with the automatic labels, same {held_out}"),
    "agreement_majority": ("%", "agreement of calling everything the commonest class"),
}
RARE = 0.005  # a class below this share of the labels is worth a note
NOT_TRAINED = (
    "The network has not learned: its map agrees no better than one class everywhere. Train for more epochs."
)


def save_metrics(run_dir: str | os.PathLike, maps: pd.DataFrame, tiles: pd.DataFrame, scores: dict) -> None:
    """Write ``metrics.json``: all scores of a run, and under ``figures`` the most important ones.

    The model's card gets the scores, too, so that the model's file shows them.

    Parameters
    ----------
    run_dir : path
        The run's folder, with its ``scenes.json``, its labels and ``model/training.json``.
    maps : pandas.DataFrame
        As from `seaicekit.predict`.
    tiles : pandas.DataFrame
        The tile index.
    scores : dict
        As from `seaicekit.evaluation.assess`.
    """
    folder, test = Path(run_dir), tiles[tiles["split"] == "test"]["scene"].unique()
    training, catalogue = read_json(folder / "model" / "training.json"), read_json(folder / "scenes.json")
    figures = {
        "scenes": len(catalogue["features"]),
        "quarantined": len(catalogue["seaicekit:quarantined"]),
        "tiles": len(tiles),
        "test_scenes": len(test),
        "held_out": "scenes" if (tiles.groupby("scene")["split"].nunique() == 1).all() else "tiles",
        "agreement": scores["agreement"]["accuracy"],
        "agreement_majority": scores["agreement"]["majority_accuracy"],
        **{name: training[name] for name in ("ranks", "parameters", "images_per_second")},
        "epochs": len(training["epochs"]),
        **evaluation.headline(scores),
        "calibration_error": scores["reliability"]["ece"],
        "label_shares": _label_shares(folder),
    }
    rows = maps.assign(split=maps["scene"].isin(test).map({True: "test", False: "train"}))
    tables = {
        "scores": scores["table"],
        "concentration": scores["concentration"],
        "maps": rows.drop(columns=["path", "map", "confidence", "current"]),
    }
    metrics = {name: scores[name] for name in ("against", "confusion", "agreement", "reliability", "ssim")}
    for name, table in tables.items():
        metrics[name] = json.loads(table.to_json(orient="records", date_format="iso"))
    model = folder / "model" / "model.keras"
    accuracies = {name: figures[name] for name in figures if "accuracy" in name}
    card = {"against": scores["against"], **accuracies, "agreement": figures["agreement"]}
    write_card(model, replace(read_card(model), scores=card))
    write_json(folder / "metrics.json", {"figures": figures} | metrics)


def _label_shares(folder: Path) -> dict[str, float]:
    """Return class → share of the valid area that the automatic labels give to it."""
    legend = Thresholds.load(folder / "thresholds.json").legend
    counts = load_labels(folder / "labels")[[entry.column for entry in legend]].sum()
    return {name: float(count / counts.sum()) for name, count in counts.items()}


def is_trained(figures: dict) -> bool:
    """Return whether the map agrees with the labels better than one class everywhere would."""
    return figures["agreement"] > figures["agreement_majority"]


def warnings(figures: dict) -> list[str]:
    """Return warnings about a run, each with advice: an untrained network, classes without labels."""
    texts = [] if is_trained(figures) else [NOT_TRAINED]
    rare = [name.replace("_", " ") for name, share in figures["label_shares"].items() if share < RARE]
    if rare:
        texts.append(
            f"The cuts call less than {RARE:.1%} of the area {' or '.join(rare)}. If there is more of it, "
            "they do not fit these scenes: calibrate them in 02_calibrate.ipynb and run again with the saved "
            "file as 'thresholds'."
        )
    return texts


def summary(figures: dict) -> str:
    """Return a run's figures as a few lines of text."""
    first = "No truth came with these scenes, so there is no accuracy."
    if "accuracy" in figures:
        first = f"Accuracy against truth, on {figures['held_out']} that were not trained on:"
    lines = [first]
    for key, (unit, text) in LINES.items():
        if key in figures:
            sign = "+" if unit == "points" else ""
            lines.append(f"  {100 * figures[key]:{sign}6.2f} {unit}  {text.format(**figures)}")
    seconds, memory = figures["total_seconds"], figures["peak_memory_gb"]
    work = f"{figures['scenes']} scenes, {figures['tiles']} tiles; {seconds:.0f} s, at most {memory:.2f} GB."
    return "\n".join([*lines, *warnings(figures), work])
