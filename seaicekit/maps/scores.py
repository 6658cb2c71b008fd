"""Charts of scores: reliability, confusion for any legend, and rules side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seaicekit.classes import LEGEND, SeaIceClass
from seaicekit.evaluation import normalised
from seaicekit.files import InputError
from seaicekit.maps.charts import BLUE, ORANGE, plain_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RULE, LOOK_UP = "#5b93c9", "#c9d3dd"  # both light enough for a black line across


def reliability_diagram(reliability: dict, title: str = "") -> Figure:
    """Draw a map's accuracy by its confidence, above the share of pixels by confidence.

    The gaps between accuracy and mean confidence of the bins add up to the expected calibration error.

    Parameters
    ----------
    reliability : dict
        As from `seaicekit.evaluation.reliability`.
    title : str
    """
    bins = [entry for entry in reliability["bins"] if entry["pixels"]]
    low, high, accuracy, confidence, pixels = (
        100 * np.array([entry[name] for entry in bins])
        for name in ("low", "high", "accuracy", "confidence", "pixels")
    )
    figure, ((upper,), (lower,)) = plain_axes(3.6, 4.4, 2, 1, sharex=True, height_ratios=(3, 1))
    looks = {"align": "edge", "edgecolor": "white", "linewidth": 0.8}
    upper.bar(low, accuracy, high - low, color=BLUE, **looks)
    lower.bar(low, pixels / reliability["pixels"], high - low, color=LOOK_UP, **looks)
    upper.plot(
        (0, 100), (0, 100), label="perfect calibration", color="0.35", linewidth=1, linestyle=(0, (4, 3))
    )
    upper.vlines(confidence, confidence, accuracy, color=ORANGE, linewidth=2, label="gap", capstyle="butt")
    upper.plot(confidence, accuracy, "o", color=ORANGE, markersize=3.5)
    upper.set(ylabel="accuracy, %", xlim=(0, 100), ylim=(0, 100), title=title)
    error = f"expected calibration error {100 * reliability['ece']:.1f} %"
    upper.legend(
        frameon=False, loc="upper left", fontsize=8.5, title=error, title_fontsize=8.5, alignment="left"
    )
    lower.set(xlabel="confidence, %", ylabel="pixels, %")
    return figure


def confusion_matrix(
    counts: Sequence[Sequence[int]] | np.ndarray,
    legend: Sequence[SeaIceClass] = LEGEND,
    title: str = "",
    labels: tuple[str, str] = ("map", "reference"),
) -> Figure:
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
        The numbers of rows, columns and classes differ.
    """
    return confusion_matrices({("", title): np.asarray(counts)}, legend, labels)


def confusion_matrices(
    counts: Mapping[tuple[str, str], np.ndarray],
    legend: Sequence[SeaIceClass] = LEGEND,
    labels: tuple[str, str] = ("map", "reference"),
) -> Figure:
    """Draw several confusion matrices as a grid, as the paper's figure 13.

    Parameters
    ----------
    counts : dict
        (Row's name, column's name) → (classes, classes) counts, as from `benchmarks.study.confusions`.
    legend : sequence of SeaIceClass
    labels : (str, str)
        What columns and rows of each matrix are.

    Raises
    ------
    InputError
        The numbers of rows, columns and classes differ.
    """
    rows, columns = (list(dict.fromkeys(names)) for names in zip(*counts, strict=True))
    size = 0.5 + 0.95 * len(legend)
    width, height = 1.1 + size * len(columns), 0.9 + size * len(rows)
    figure, axes = plain_axes(width, height, len(rows), len(columns), sharex=True, sharey=True)
    for (row, column), matrix in counts.items():
        _draw_matrix(axes[rows.index(row), columns.index(column)], matrix, legend)
    for axis, column in zip(axes[0], columns, strict=True):
        axis.set_title(column, fontsize=11)
    for axis, row in zip(axes[:, 0], rows, strict=True):
        axis.set_ylabel(row.replace(">=", "≥"), fontsize=11, labelpad=8)
    figure.supxlabel(labels[0], fontsize=10)
    figure.supylabel(labels[1], fontsize=10)
    return figure


def _draw_matrix(axis: Axes, matrix: np.ndarray, legend: Sequence[SeaIceClass]) -> None:
    """Draw one confusion matrix: shares of each reference class, and pixel counts."""
    if matrix.shape != (len(legend),) * 2:
        raise InputError(
            f"confusion: {matrix.shape} counts for {len(legend)} classes; give the legend they are of"
        )
    shares = normalised(matrix)
    axis.imshow(np.ma.masked_invalid(shares), vmin=0, vmax=1, cmap="Blues")
    names, places = [entry.name.replace(" ", "\n") for entry in legend], range(len(legend))
    axis.set(facecolor="0.93", xticks=places, yticks=places, xticklabels=names, yticklabels=names)
    edges = np.arange(1, len(legend)) - 0.5
    axis.vlines(edges, -0.5, len(legend) - 0.5, color="white", linewidth=1.5)
    axis.hlines(edges, -0.5, len(legend) - 0.5, color="white", linewidth=1.5)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    for (row, column), share in np.ndenumerate(shares):
        looks: dict[str, Any] = {"ha": "center", "color": "white" if share > 0.6 else "black"}
        text = "–" if np.isnan(share) else f"{100 * share:.1f} %"
        axis.text(column, row, text, va="bottom", fontsize=9.5, **looks)
        if matrix[row, column]:
            count = _format_count(int(matrix[row, column]))
            axis.text(column, row + 0.06, count, va="top", fontsize=7.5, **looks)


def _format_count(number: int) -> str:
    """Write a count so that it fits a cell."""
    return f"{number:,}".replace(",", "\u2009") if number < 10_000_000 else f"{number / 1e6:.0f} million"


def score_bars(
    table: pd.DataFrame,
    score: str = "accuracy",
    strata: Sequence[str] = ("all",),
    class_name: str = "",
    title: str = "",
) -> Figure:
    """Draw a score of several rules as bars with their 95 % intervals, table look-ups in another colour.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `seaicekit.evaluation.compare`; the intervals are those of other draws of scenes.
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
    rows = table[(table["score"] == score) & (table["class"] == class_name) & (table["scene"] == "")]
    name = score.replace("_", " ") + (f" of {class_name}" if class_name else "")
    missing = [stratum for stratum in strata if stratum not in set(rows["stratum"])]
    if missing or not strata:
        raise InputError(f"score_bars: no {name} in {missing or 'no stratum'}; see the table's rows")
    rules = list(rows["rule"].unique())[::-1]
    look_ups = set(rows.loc[rows["table"], "rule"])
    colours = [LOOK_UP if rule in look_ups else RULE for rule in rules]
    width, height = 1.9 + 2.9 * len(strata), 1.15 + 0.34 * len(rules)
    figure, (axes,) = plain_axes(width, height, 1, len(strata), sharey=True)
    for axis, stratum in zip(axes, strata, strict=True):
        part = rows[rows["stratum"] == stratum].set_index("rule").reindex(rules)
        values, low, high = (100 * part[column].to_numpy(float) for column in ("value", "low", "high"))
        ends, line = [values - low, high - values], {"linewidth": 1.3}
        bars = axis.barh(rules, np.nan_to_num(values), 0.72, color=colours, xerr=ends, error_kw=line)
        texts = ["–" if np.isnan(value) else f"{value:.1f}".replace("-", "\u2212") for value in values]
        axis.bar_label(bars, texts, padding=4, fontsize=8.5)
        axis.margins(x=0.17)  # room for the numbers
        axis.axvline(0, color="0.35", linewidth=0.8)
        axis.spines["left"].set_visible(False)
        axis.tick_params(axis="y", length=0, labelsize=9)
        unit = "percentage points" if score == "ice_concentration_error" else "%"
        axis.set_xlabel(f"{name}, {unit}", fontsize=9)
        if len(strata) > 1:
            axis.set_title(stratum.replace(">=", "≥"), fontsize=10)
    note = "Lines: 95 % interval, scenes drawn anew"
    if rows[rows["stratum"].isin(strata)]["few_scenes"].any():
        note += f" (of {int(rows['scenes'].min())}: too few to mean much)"
    if look_ups and look_ups != set(rules):
        note += "; light bars: table look-ups"
    figure.supxlabel(note, fontsize=7.5, color="0.35")
    figure.suptitle(title, fontsize=11)
    return figure
