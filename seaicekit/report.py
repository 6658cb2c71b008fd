"""A run as one page that opens anywhere: pictures and tables inside it, no kernel, no network."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from seaicekit import evaluation, models
from seaicekit.autolabel import load_table
from seaicekit.files import read_json, write_json, write_text
from seaicekit.thresholds import Thresholds

if TYPE_CHECKING:
    import pandas as pd

# Key in ``figures`` → how people are told.
SCORES = {
    "accuracy": "U-Net map",
    "accuracy_labels": "filter and cuts (the labels it learned from)",
    "accuracy_cuts": "cuts alone",
    "majority_accuracy": "calling everything the commonest class",
}
STRATA = {
    "all": "Accuracy",
    "cloud < 10 %": "Cloud < 10 %",
    "cloud >= 10 %": "Cloud ≥ 10 %",
    "interior": "Interior",
    "edge": "Floe edges",
}
RARE = 0.005  # a class below this share of the labels is worth a word
PICTURES = {
    "footprints.png": "Where the scenes lie",
    "scenes.png": "The scenes",
    "histogram.png": "Brightness and the cuts",
    "labels.png": "Automatic labels",
    "strata.png": "The cloudiest scene, filtered and labelled",
    "curves.png": "Training",
    "maps.png": "Maps",
    "scores.png": "The map beside its baselines",
    "confusion.png": "Confusion",
    "reliability.png": "Whether confidences mean what they say",
    "series.png": "Ice over time",
}


def save_metrics(run_dir: str | os.PathLike, maps: pd.DataFrame, tiles: pd.DataFrame, found: dict) -> None:
    """Write ``metrics.json``: all scores of a run, and under ``figures`` those that people are told first.

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
        "scores": found["table"], "concentration": found["concentration"],
        "maps": rows.drop(columns=["path", "map", "confidence"]),
    }  # fmt: skip
    told = {name: json.loads(table.to_json(orient="records", date_format="iso")) for name, table in tables.items()}
    kept = ("against", "confusion", "agreement", "reliability", "ssim")
    write_json(folder / "metrics.json", {"figures": figures} | {name: found[name] for name in kept} | told)


def _label_shares(folder: Path) -> dict[str, float]:
    """Return how much of the valid area the automatic labels give to each class."""
    legend = Thresholds.load(folder / "thresholds.json").legend
    counts = load_table(folder / "labels")[[entry.name.replace(" ", "_") for entry in legend]].sum()
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
    seconds = sum(figures["seconds"].values())
    lines = []
    if "accuracy" in figures:
        lines.append(f"Accuracy against truth, on {figures['held_out']} that were not trained on:")
        lines += [f"  {100 * figures[key]:6.2f} %  {name}" for key, name in SCORES.items()]
    else:
        lines.append("No truth came with these scenes, so there is no accuracy.")
    agreement = 100 * figures["agreement"]
    lines.append(f"  {agreement:6.2f} %  agreement of the map with the automatic labels, same {figures['held_out']}")
    lines.append(f"  {100 * figures['agreement_majority']:6.2f} %  agreement of calling everything the commonest class")
    if untrained(figures):
        lines.append(untrained(figures))
    if missing(figures):
        lines.append(missing(figures))
    memory = figures["peak_memory_gb"]
    lines.append(f"{figures['scenes']} scenes, {figures['tiles']} tiles; {seconds:.0f} s, at most {memory:.2f} GB.")
    return "\n".join(lines)


def write(run_dir: str | os.PathLike) -> Path:
    """Write ``report.html`` into a run's folder, from its ``run.json``, ``metrics.json`` and ``figures/``."""
    import jinja2

    folder = Path(run_dir)
    pictures = {
        title: base64.b64encode((folder / "figures" / name).read_bytes()).decode()
        for name, title in PICTURES.items()
        if (folder / "figures" / name).exists()
    }
    source = (Path(__file__).parent / "report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    run = read_json(folder / "run.json")
    notes = [note for note in (untrained(run["figures"]), missing(run["figures"])) if note]
    metrics = read_json(folder / "metrics.json")
    page = environment.from_string(source).render(
        name=folder.resolve().name, run=run, metrics=metrics, rules=_rules(metrics), classes=_classes(metrics),
        strata=STRATA, notes=notes, pictures=pictures,
        legend=models.read_card(folder / "model" / "model.keras").legend,
        notebooks=sorted(p.name for p in folder.glob("notebooks/*.ipynb")),
    )  # fmt: skip
    write_text(folder / "report.html", page)
    return folder / "report.html"


def _rules(metrics: dict) -> dict[str, dict[str, dict]]:
    """Return rule → column of the table of scores → row of ``scores``."""
    columns = {("accuracy", stratum): stratum for stratum in STRATA} | {("balanced_accuracy", "all"): "balanced"}
    found: dict[str, dict[str, dict]] = {}
    for row in metrics["scores"]:
        column = columns.get((row["score"], row["stratum"]))
        if column and not row["scene"] and not row["class"]:
            found.setdefault(row["rule"], {})[column] = row
    return found


def _classes(metrics: dict) -> dict[str, dict[str, dict]]:
    """Return class → score → row of ``scores``, of the map."""
    found: dict[str, dict[str, dict]] = {}
    for row in metrics["scores"]:
        if row["rule"] == evaluation.assessment.MAP and row["stratum"] == "all" and row["class"]:
            found.setdefault(row["class"], {})[row["score"]] = row
    return found
