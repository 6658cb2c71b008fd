"""What the paper reports, and ours beside it: tables IV and V, figure 13, and how alike labels are.

The numbers are those of arXiv 2403.13135, section IV: accuracy and recall as shares, by what a network
learned ("man", "auto"), by what it sees ("original", "filtered"), and by a tile's cover of cloud and shadow.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd

from benchmarks.study.material import Group, Material
from benchmarks.study.networks import LEARNED, Variant
from benchmarks.study.scoring import percent
from seaicekit import evaluation
from seaicekit.classes import LEGEND
from seaicekit.evaluation import CALIBRATED, CLEAR_TILES, CLOUDY_TILES, TABLE
from seaicekit.files import write_json
from seaicekit.tiles import Inputs

TABLE_4 = {
    ("man", "original"): 0.9139,
    ("man", "filtered"): 0.9840,
    ("auto", "original"): 0.9018,
    ("auto", "filtered"): 0.9897,
}
TABLE_5 = {
    (CLOUDY_TILES, "original"): 0.7991,
    (CLOUDY_TILES, "filtered"): 0.9928,
    (CLEAR_TILES, "original"): 0.9360,
    (CLEAR_TILES, "filtered"): 0.9887,
}
FIGURE_13 = {  # recall of open water, thin ice, thick ice
    (CLOUDY_TILES, "original"): (0.9218, 0.9530, 0.7595),
    (CLOUDY_TILES, "filtered"): (0.9704, 0.9890, 0.9951),
    (CLEAR_TILES, "original"): (0.9698, 0.8574, 0.9857),
    (CLEAR_TILES, "filtered"): (0.9879, 0.9792, 0.9912),
}
SSIM = {"original": 0.89, "filtered": 0.9964}  # of automatic labels to manual ones
COLUMNS = {
    "paper": "the paper",
    "learned": "here, against what it learned",
    "truth": "here, against the truth",
    "table": "a three-entry table, against what it learned",
    "cuts": "calibrated cuts on the image, against the truth",
    "here": "here, against the truth",
}


def table_4(by_truth: pd.DataFrame, by_labels: pd.DataFrame, original: Inputs = "rgb") -> pd.DataFrame:
    """Return the paper's table IV beside ours: accuracy by what a network learned and sees.

    Parameters
    ----------
    by_truth, by_labels : pandas.DataFrame
        As from `benchmarks.study.score`, against the truth and against the automatic labels.
    original : "rgb" or "grey"
        What stands for the paper's original images.

    Returns
    -------
    pandas.DataFrame
        By ``network`` and ``images``: ``paper``; ``learned`` and ``truth``, accuracy against what the network
        learned and against the truth, with ``learned sd`` and ``truth sd`` over seeds; ``table``, what the
        three-entry table scores against the same, where the images are filtered; ``cuts``, calibrated cuts
        on the image. NaN where a network was not trained.
    """
    ours = partial(_ours, by_truth, by_labels, original)
    rows = [
        {"network": f"U-Net-{learns.title()}", "images": images, "paper": paper} | ours(learns, images)
        for (learns, images), paper in TABLE_4.items()
    ]
    return pd.DataFrame(rows).set_index(["network", "images"])


def table_5(by_truth: pd.DataFrame, by_labels: pd.DataFrame, original: Inputs = "rgb") -> pd.DataFrame:
    """Return the paper's table V beside ours: U-Net-Auto by a tile's cover of cloud and shadow.

    Columns as `table_4`.
    """
    ours = partial(_ours, by_truth, by_labels, original, "auto")
    rows = [
        {"cloud and shadow": stratum, "images": images, "paper": paper} | ours(images, stratum)
        for (stratum, images), paper in TABLE_5.items()
    ]
    return pd.DataFrame(rows).set_index(["cloud and shadow", "images"])


def figure_13(by_truth: pd.DataFrame, by_labels: pd.DataFrame, original: Inputs = "rgb") -> pd.DataFrame:
    """Return the recalls of the paper's figure 13 beside ours: U-Net-Auto by cover, images and class."""
    ours = partial(_ours, by_truth, by_labels, original, "auto")
    rows = []
    for (stratum, images), recalls in FIGURE_13.items():
        for entry, paper in zip(LEGEND, recalls, strict=True):
            row = {"cloud and shadow": stratum, "images": images, "class": entry.name, "paper": paper}
            rows.append(row | ours(images, stratum, "recall", entry.name))
    return pd.DataFrame(rows).set_index(["cloud and shadow", "images", "class"])


def _ours(
    by_truth: pd.DataFrame,
    by_labels: pd.DataFrame,
    original: Inputs,
    learns: str,
    images: str,
    stratum: str = "all",
    score: str = "accuracy",
    class_name: str = "",
) -> dict[str, float]:
    """Return a network's scores, and those of simpler rules."""
    key = {"stratum": stratum, "score": score, "class": class_name}
    network = Variant(learns, original if images == "original" else images).name  # type: ignore[arg-type]
    learned = by_labels if LEARNED[learns] == "labels" else by_truth
    row: dict[str, float] = {}
    for name, scores in (("learned", learned), ("truth", by_truth)):
        row[name], row[f"{name} sd"] = _mean(scores, rule=network, **key)
    row["table"] = _mean(learned, rule=TABLE, **key)[0] if images == "filtered" else np.nan
    row["cuts"] = _mean(by_truth, rule=CALIBRATED, **key)[0]
    return row


def _mean(scores: pd.DataFrame, **key: str) -> tuple[float, float]:
    """Return the mean and spread of one score over all scenes, NaN where it is missing."""
    found = scores[(scores[[*key, "scene"]] == [*key.values(), ""]).all(axis=1)]
    return (np.nan, np.nan) if found.empty else (float(found["mean"].iloc[0]), float(found["sd"].iloc[0]))


def similarity(material: Material, group: Group = "heldout") -> pd.DataFrame:
    """Return how alike automatic labels and the truth are (SSIM): ``paper`` and ``here``, by images."""
    table = material.of(group)[0]
    here = {
        images: evaluation.ssim(table[column], table["truth"])["ssim"]
        for images, column in (("original", "raw"), ("filtered", "labels"))
    }
    return pd.DataFrame({"paper": SSIM, "here": here}).rename_axis("images")


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of this module for people: per cent, spreads behind their means, columns in words."""
    columns = {}
    for name in table.columns.intersection(list(COLUMNS), sort=False):
        spread = table.get(f"{name} sd", pd.Series(np.nan, table.index))
        columns[COLUMNS[name]] = [percent(*each) for each in zip(table[name], spread, strict=True)]
    return pd.DataFrame(columns, index=table.index)


def records(table: pd.DataFrame) -> list[dict]:
    """Return a table's rows, with its named indexes, as JSON values: six decimal places, None for NaN."""
    flat = table if table.index.names == [None] else table.reset_index()
    return flat.round(6).astype(object).where(flat.notna(), None).to_dict("records")


def save(path: str | os.PathLike, tables: Mapping[str, pd.DataFrame | Mapping]) -> None:
    """Write tables and plain values as one JSON object."""
    values = {name: each if isinstance(each, Mapping) else records(each) for name, each in tables.items()}
    write_json(path, values)
