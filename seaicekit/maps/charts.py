"""Charts of scores: reliability, confusion for any legend, and rules side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from seaicekit.classes import LEGEND, SeaIceClass
from seaicekit.evaluation import normalised
from seaicekit.files import InputError

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import pandas as pd

DARK, WARM = "#0b3c6f", "#d1642a"
RULE, LOOKED_UP = "#5b93c9", "#c9d3dd"  # both light enough for a black line across


def reliability_diagram(found: dict, title: str = "") -> matplotlib.figure.Figure:
    """Draw how often a map is right by how sure it says it is, above how many pixels are how sure.

    Parameters
    ----------
    found : dict
        As from `seaicekit.evaluation.reliability`.
    title : str
    """
    from matplotlib.figure import Figure

    filled = [entry for entry in found["bins"] if entry["pixels"]]
    figure = Figure(figsize=(3.6, 4.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for axis, heights, colour in (
        (upper, [100 * entry["accuracy"] for entry in filled], DARK),
        (lower, [100 * entry["pixels"] / found["pixels"] for entry in filled], LOOKED_UP),
    ):
        starts = [100 * entry["low"] for entry in filled]
        wide = [100 * (entry["high"] - entry["low"]) for entry in filled]
        axis.bar(starts, heights, wide, align="edge", color=colour, edgecolor="white", linewidth=0.8)
        axis.spines[["top", "right"]].set_visible(False)
    sure, right = (np.array([100 * entry[name] for entry in filled]) for name in ("confidence", "accuracy"))
    upper.plot(
        (0, 100), (0, 100), color="0.35", linewidth=1, linestyle=(0, (4, 3)), label="perfect calibration"
    )
    # From what was said to what is true, at the mean confidence of a bin: what the calibration error adds up.
    gaps = upper.vlines(
        sure, np.minimum(sure, right), np.maximum(sure, right), color=WARM, linewidth=2, label="gap"
    )
    gaps.set_capstyle("butt")
    upper.plot(sure, right, "o", color=WARM, markersize=3.5)
    text = f"expected calibration error {100 * found['ece']:.1f} %"
    upper.set(ylabel="accuracy, %", xlim=(0, 100), ylim=(0, 100), title=title)
    upper.legend(
        frameon=False, fontsize=8.5, loc="upper left", title=text, title_fontsize=8.5, alignment="left"
    )
    lower.set(xlabel="confidence, %", ylabel="pixels, %")
    return figure


def confusion_matrix(
    counts: Sequence[Sequence[int]] | np.ndarray,
    legend: Sequence[SeaIceClass] = LEGEND,
    title: str = "",
    labels: tuple[str, str] = ("map", "reference"),
) -> matplotlib.figure.Figure:
    """Draw a confusion matrix for any legend: shares of each reference class (rows), and pixel counts.

    Parameters
    ----------
    counts : (classes, classes) int
        As from `seaicekit.evaluate`, in the legend's order. A row without a pixel stays blank.
    legend : sequence of SeaIceClass
    title : str
    labels : (str, str)
        What columns and rows are.

    Raises
    ------
    InputError
        As many rows or columns as the legend does not have.
    """
    from matplotlib.figure import Figure

    size = 1.5 + 0.95 * len(legend)
    figure = Figure(figsize=(size + 0.3, size), layout="constrained")
    axis = figure.subplots()
    _draw_matrix(axis, counts, legend)
    axis.set(xlabel=labels[0], ylabel=labels[1], title=title)
    return figure


def confusion_matrices(
    counts: Mapping[tuple[str, str], np.ndarray],
    legend: Sequence[SeaIceClass] = LEGEND,
    labels: tuple[str, str] = ("map", "reference"),
) -> matplotlib.figure.Figure:
    """Draw several confusion matrices as a grid, as the paper's figure 13.

    Parameters
    ----------
    counts : dict
        (Row's name, column's name) → (classes, classes) counts, as from `benchmarks.study.confusions`.
    legend : sequence of SeaIceClass
    labels : (str, str)
        What columns and rows of each matrix are.
    """
    from matplotlib.figure import Figure

    rows, cols = (list(dict.fromkeys(names)) for names in zip(*counts, strict=True))
    size = 0.5 + 0.95 * len(legend)
    figure = Figure(figsize=(1.1 + size * len(cols), 0.9 + size * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(cols), squeeze=False, sharex=True, sharey=True)
    for (row, col), matrix in counts.items():
        axis = axes[rows.index(row), cols.index(col)]
        _draw_matrix(axis, matrix, legend)
        if row == rows[0]:
            axis.set_title(col, fontsize=11)
        if col == cols[0]:
            axis.set_ylabel(row.replace(">=", "≥"), fontsize=11, labelpad=8)
    figure.supxlabel(labels[0], fontsize=10)
    figure.supylabel(labels[1], fontsize=10)
    return figure


def _draw_matrix(
    axis: matplotlib.axes.Axes, counts: Sequence | np.ndarray, legend: Sequence[SeaIceClass]
) -> None:
    """Draw one confusion matrix: shares of each reference class, and pixel counts."""
    matrix = np.asarray(counts)
    if matrix.shape != (len(legend),) * 2:
        raise InputError(
            f"confusion: {matrix.shape} counts for {len(legend)} classes; give the legend they are of"
        )
    shares = normalised(matrix)
    axis.imshow(np.ma.masked_invalid(shares), vmin=0, vmax=1, cmap="Blues")
    axis.set_facecolor("0.93")
    names = [f"{entry.name}".replace(" ", "\n") for entry in legend]
    axis.set(xticks=range(len(names)), yticks=range(len(names)), xticklabels=names, yticklabels=names)
    axis.tick_params(length=0)
    axis.set_xticks(np.arange(1, len(names)) - 0.5, minor=True)
    axis.set_yticks(np.arange(1, len(names)) - 0.5, minor=True)
    axis.grid(which="minor", color="white", linewidth=1.5)
    axis.tick_params(which="minor", length=0)
    axis.spines[:].set_visible(False)
    for (row, col), share in np.ndenumerate(shares):
        ink = "white" if share > 0.6 else "black"
        text = "–" if np.isnan(share) else f"{100 * share:.1f} %"
        axis.text(col, row, text, ha="center", va="bottom", color=ink, fontsize=9.5)
        if matrix[row, col]:
            axis.text(
                col,
                row + 0.06,
                _counted(int(matrix[row, col])),
                ha="center",
                va="top",
                color=ink,
                fontsize=7.5,
            )


def _counted(number: int) -> str:
    """Write a count so that it fits a cell."""
    return f"{number:,}".replace(",", "\u2009") if number < 10_000_000 else f"{number / 1e6:.0f} million"


def score_bars(
    table: pd.DataFrame,
    score: str = "accuracy",
    strata: Sequence[str] = ("all",),
    class_name: str = "",
    title: str = "",
) -> matplotlib.figure.Figure:
    """Draw a score of several rules as bars with their intervals, table look-ups apart from the others.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `seaicekit.evaluation.compare`, with the 95 % interval of drawing other scenes; or from
        `seaicekit.evaluation.over_seeds`, with a standard deviation either way.
    score : str
    strata : sequence of str
        A panel each.
    class_name : str
        The class, for precision, recall, f1 and iou.
    title : str

    Raises
    ------
    InputError
        The table has no such rows.
    """
    from matplotlib.figure import Figure

    rows = table[(table["score"] == score) & (table["class"] == class_name) & (table["scene"] == "")]
    missing = [name for name in strata if name not in set(rows["stratum"])]
    if missing or not strata:
        of = f" of {class_name}" if class_name else ""
        raise InputError(
            f"score_bars: no {score}{of} in {', '.join(missing) or 'no stratum'}; see the table's rows"
        )
    if "mean" in rows:
        rows = rows.assign(value=rows["mean"], low=rows["mean"] - rows["sd"], high=rows["mean"] + rows["sd"])
        said = f"Bars: mean of {int(rows['runs'].max())} seeds; lines: one standard deviation either way"
    else:
        said = "Lines: 95 % interval, scenes drawn anew"
        if rows[rows["stratum"].isin(strata)]["few_scenes"].any():
            said += f" (of {int(rows['scenes'].min())}: too few to mean much)"
    rules = list(rows["rule"].unique())
    looked = set(rows.loc[rows["table"], "rule"]) if "table" in rows else set()
    figure = Figure(figsize=(1.9 + 2.9 * len(strata), 1.15 + 0.34 * len(rules)), layout="constrained")
    axes = figure.subplots(1, len(strata), sharey=True, squeeze=False)[0]
    places = np.arange(len(rules))[::-1]
    for axis, stratum in zip(axes, strata, strict=True):
        part = rows[rows["stratum"] == stratum].set_index("rule").reindex(rules)
        values, low, high = (100 * part[name].to_numpy(float) for name in ("value", "low", "high"))
        colours = [LOOKED_UP if rule in looked else RULE for rule in rules]
        axis.barh(places, np.nan_to_num(values), 0.72, color=colours)
        known = np.isfinite(low) & np.isfinite(high)
        axis.hlines(places[known], low[known], high[known], color="black", linewidth=1.3)
        for place, value, end in zip(places, values, np.fmax(values, high), strict=True):
            text = "–" if np.isnan(value) else f"{value:.1f}".replace("-", "\u2212")
            axis.annotate(
                text,
                (0 if np.isnan(end) else max(end, 0), place),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
            )
        axis.set_yticks(places, rules, fontsize=9)
        least, most = min(0, np.nanmin([0, *low, *values])), max(0, np.nanmax([0, *high, *values]))
        span = max(1, most - least)
        ends = least - 0.04 * span * (least < 0), most + 0.17 * span  # room for the numbers
        axis.set_xlim(*ends)
        if score != "ice_concentration_error":
            axis.set_xticks([tick for tick in axis.get_xticks() if 0 <= tick <= 100])
            axis.set_xlim(*ends)  # ticks may have widened it
        axis.axvline(0, color="0.35", linewidth=0.8)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
        name = {"iou": "IoU", "f1": "F1"}.get(score, score.replace("_", " "))
        unit = "percentage points" if score == "ice_concentration_error" else "%"
        axis.set_xlabel(f"{name}{f' of {class_name}' if class_name else ''}, {unit}", fontsize=9)
        if len(strata) > 1:
            axis.set_title(stratum.replace(">=", "≥"), fontsize=10)
    if looked and looked != set(rules):
        said += "; light bars: table look-ups"
    figure.supxlabel(said, fontsize=7.5, color="0.35")
    if title:
        figure.suptitle(title, fontsize=11)
    return figure
