"""A run as one page that opens anywhere: pictures and tables inside it, no kernel, no network."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING

from seaicekit.autolabel import load_table
from seaicekit.classes import LEGEND
from seaicekit.files import read_json, write_json, write_text

if TYPE_CHECKING:
    import pandas as pd

# Key in ``figures`` → how people are told.
SCORES = {
    "accuracy": "U-Net map",
    "accuracy_labels": "filter and cuts (the labels it learned from)",
    "accuracy_cuts": "cuts alone",
    "majority_accuracy": "calling everything the commonest class",
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
    "confusion.png": "Confusion with the truth",
}


def save_metrics(
    run_dir: str | os.PathLike,
    maps: pd.DataFrame,
    chosen: pd.DataFrame,
    agreement: dict,
    truth: dict[str, dict],
) -> None:
    """Write ``metrics.json``: all scores of a run, and under ``figures`` those that people are told first.

    Parameters
    ----------
    run_dir : path
        The run's folder, with its ``tiles.parquet``, ``scenes.json`` and ``model/training.json``.
    maps : pandas.DataFrame
        As from `seaicekit.predict`.
    chosen : pandas.DataFrame
        The test tiles.
    agreement : dict
        Scores of the map against the automatic labels.
    truth : dict
        Rule → its scores against truth, with "U-Net", "filter and cuts" and "cuts alone"; empty without truth.
    """
    import pandas as pd

    folder = Path(run_dir)
    training, catalogued = read_json(folder / "model" / "training.json"), read_json(folder / "scenes.json")
    figures = {
        "scenes": len(catalogued["features"]),
        "quarantined": len(catalogued["seaicekit:quarantined"]),
        "tiles": len(pd.read_parquet(folder / "tiles.parquet")),
        "test_scenes": chosen["scene"].nunique(),
        # Of a single scene tiles are held out, of several whole scenes.
        "held_out": "tiles" if len(maps) == 1 else "scenes",
        "agreement": agreement["accuracy"],
        "agreement_majority": agreement["majority_accuracy"],
        **{name: training[name] for name in ("ranks", "parameters", "images_per_second")},
        "epochs": len(training["epochs"]),
    }
    if truth:
        rules = {"accuracy": "U-Net", "accuracy_labels": "filter and cuts", "accuracy_cuts": "cuts alone"}
        figures |= {key: truth[rule]["accuracy"] for key, rule in rules.items()}
        figures["majority_accuracy"] = truth["U-Net"]["majority_accuracy"]
    figures["label_shares"] = _label_shares(folder)
    rows = maps.assign(split=maps["scene"].isin(chosen["scene"]).map({True: "test", False: "train"}))
    rows = rows.drop(columns=["path", "map", "confidence"]).to_dict("records")
    write_json(folder / "metrics.json", {"figures": figures, "agreement": agreement, "truth": truth, "maps": rows})


def _label_shares(folder: Path) -> dict[str, float]:
    """Return how much of the valid area the automatic labels give to each class."""
    counts = load_table(folder / "labels")[["open_water", "thin_ice", "thick_ice"]].sum()
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
    page = environment.from_string(source).render(
        name=folder.resolve().name, run=run, metrics=read_json(folder / "metrics.json"),
        scores=SCORES, notes=notes, pictures=pictures, legend=LEGEND,
        notebooks=sorted(p.name for p in folder.glob("notebooks/*.ipynb")),
    )  # fmt: skip
    write_text(folder / "report.html", page)
    return folder / "report.html"
