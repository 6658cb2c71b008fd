"""What the paper reports, and ours beside it: tables IV and V, figure 13, and how alike labels are.

The numbers are those of arXiv 2403.13135, section IV: accuracy and recall as shares, by what a network
learned ("man", "auto"), by what it sees ("original", "filtered"), and by a tile's cover of cloud and shadow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.study.networks import LEARNED, Variant
from benchmarks.study.scoring import percent
from seaicekit import evaluation
from seaicekit.classes import LEGEND
from seaicekit.evaluation import CALIBRATED, CLEAR_TILES, CLOUDY_TILES, TABLE

if TYPE_CHECKING:
    import pandas as pd

    from benchmarks.study.benchmark import Group
    from benchmarks.study.material import Material
    from seaicekit.tiles import Inputs

TABLE_4: dict[tuple[str, Any], float] = {
    ("man", "original"): 0.9139,
    ("man", "filtered"): 0.9840,
    ("auto", "original"): 0.9018,
    ("auto", "filtered"): 0.9897,
}
TABLE_5: dict[tuple[str, Any], float] = {
    (CLOUDY_TILES, "original"): 0.7991,
    (CLOUDY_TILES, "filtered"): 0.9928,
    (CLEAR_TILES, "original"): 0.9360,
    (CLEAR_TILES, "filtered"): 0.9887,
}
FIGURE_13: dict[tuple[str, Any], tuple[float, ...]] = {  # recall of open water, thin ice, thick ice
    (CLOUDY_TILES, "original"): (0.9218, 0.9530, 0.7595),
    (CLOUDY_TILES, "filtered"): (0.9704, 0.9890, 0.9951),
    (CLEAR_TILES, "original"): (0.9698, 0.8574, 0.9857),
    (CLEAR_TILES, "filtered"): (0.9879, 0.9792, 0.9912),
}
SSIM = {"original": 0.89, "filtered": 0.9964}  # of automatic labels to manual ones
INPUTS = ("original", "filtered")
COLUMNS = {
    "paper": "the paper",
    "learned": "here, against what it learned",
    "truth": "here, against the truth",
    "table": "a three-entry table, against what it learned",
    "cuts": "calibrated cuts on the image, against the truth",
    "here": "here, against the truth",
}


def table_4(by_truth: pd.DataFrame, by_labels: pd.DataFrame, original: Inputs = "rgb") -> pd.DataFrame:
    """Lay the paper's table IV beside ours: accuracy by what a network learned and sees.

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
        three-entry table
        scores against the same, where the images are filtered; ``cuts``, calibrated cuts on the image. NaN
        where a network was not trained.
    """
    import pandas as pd

    rows = []
    for (learns, images), paper in TABLE_4.items():
        rule = Variant(learns, original if images == "original" else images).name
        row = {"network": f"U-Net-{learns.title()}", "images": images, "paper": paper}
        rows.append(
            row | _scored(rule, "all", by_labels if LEARNED[learns] == "labels" else by_truth, by_truth)
        )
    return pd.DataFrame(rows).set_index(["network", "images"])


def table_5(by_truth: pd.DataFrame, by_labels: pd.DataFrame, original: Inputs = "rgb") -> pd.DataFrame:
    """Lay the paper's table V beside ours: U-Net-Auto by a tile's cover of cloud and shadow.

    Columns as `table_4`.
    """
    import pandas as pd

    rows = []
    for (stratum, images), paper in TABLE_5.items():
        rule = Variant("auto", original if images == "original" else images).name
        row = {"cloud and shadow": stratum, "images": images, "paper": paper}
        rows.append(row | _scored(rule, stratum, by_labels, by_truth))
    return pd.DataFrame(rows).set_index(["cloud and shadow", "images"])


def figure_13(by_truth: pd.DataFrame, by_labels: pd.DataFrame, original: Inputs = "rgb") -> pd.DataFrame:
    """Lay the recalls of the paper's figure 13 beside ours: U-Net-Auto by cover, images and class."""
    import pandas as pd

    rows = []
    for (stratum, images), recalls in FIGURE_13.items():
        rule = Variant("auto", original if images == "original" else images).name
        for entry, paper in zip(LEGEND, recalls, strict=True):
            row = {"cloud and shadow": stratum, "images": images, "class": entry.name, "paper": paper}
            rows.append(row | _scored(rule, stratum, by_labels, by_truth, "recall", entry.name))
    return pd.DataFrame(rows).set_index(["cloud and shadow", "images", "class"])


def _scored(
    rule: str, stratum: str, learned: pd.DataFrame, truth: pd.DataFrame, score: str = "accuracy", of: str = ""
) -> dict[str, float]:
    """Look a network's scores up, and what looks less hard."""
    row: dict[str, float] = {}
    for name, table in (("learned", learned), ("truth", truth)):
        row[name], row[f"{name} sd"] = _mean(table, rule, stratum, score, of)
    row["table"] = _mean(learned, TABLE, stratum, score, of)[0] if rule.endswith("filtered") else np.nan
    row["cuts"] = _mean(truth, CALIBRATED, stratum, score, of)[0]
    return row


def _mean(table: pd.DataFrame, rule: str, stratum: str, score: str, of: str) -> tuple[float, float]:
    found = table[
        (table["rule"] == rule)
        & (table["stratum"] == stratum)
        & (table["score"] == score)
        & (table["class"] == of)
        & (table["scene"] == "")
    ]
    return (np.nan, np.nan) if found.empty else (float(found["mean"].iloc[0]), float(found["sd"].iloc[0]))


def similarity(material: Material, group: Group = "heldout") -> pd.DataFrame:
    """Say how alike automatic labels and the truth are (SSIM): ``paper`` and ``here``, by images."""
    import pandas as pd

    table = material.of(group)[0]
    made: Mapping[str, str] = {"original": "raw", "filtered": "labels"}
    here = {images: evaluation.ssim(table[made[images]], table["truth"])["ssim"] for images in INPUTS}
    return pd.DataFrame({"paper": SSIM, "here": here}).rename_axis("images")


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Lay a table of this module out for people: per cent, spreads behind their means, columns in words."""
    import pandas as pd

    made = {}
    for name in table.columns:
        if not name.endswith(" sd"):
            spread = table[f"{name} sd"] if f"{name} sd" in table else [np.nan] * len(table)
            made[COLUMNS[name]] = [percent(*each) for each in zip(table[name], spread, strict=True)]
    return pd.DataFrame(made, index=table.index)
