"""Charts of brightness, calibration, training and ice through time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from seaicekit.classes import LEGEND, SeaIceClass
from seaicekit.files import InputError, require
from seaicekit.thresholds import Thresholds, scene_histogram

if TYPE_CHECKING:
    import pandas as pd

BLUE, ORANGE = "#0b3c6f", "#d1642a"


def plain_axes(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, np.ndarray]:
    """Return a figure of that many inches and its axes, (rows, columns), open at the top and on the right."""
    figure = Figure((width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def histogram(paths: Iterable[str | os.PathLike], thresholds: Thresholds) -> Figure:
    """Draw how many pixels of several scenes have which brightness, coloured by class, with the cuts."""
    figure, ((axis,),) = plain_axes(8.5, 3)
    counts = np.sum([scene_histogram(path) for path in paths], axis=0)
    named = {entry.code: entry.colour for entry in thresholds.legend}
    colours = [named[code] for code in thresholds.table.tolist()]
    shares = 100 * counts / max(1, counts.sum())
    axis.bar(np.arange(256), shares, 1.0, color=colours, edgecolor="0.55", linewidth=0.3)
    for name, cut in (("water_max", thresholds.water_max), ("thin_max", thresholds.thin_max)):
        axis.axvline(cut + 0.5, color=ORANGE, linewidth=1.5)
        axis.text(cut + 2, 0.94, f"{name} = {cut}", transform=axis.get_xaxis_transform(), fontsize=9)
    axis.set(xlabel="brightness, max(R, G, B)", ylabel="pixels, % (square root scale)", xlim=(-0.5, 255.5))
    axis.set_yscale("function", functions=(np.sqrt, np.square))
    return figure


def fit_curve(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the accuracy of cuts fitted to some points, mean and 5 to 95 %, by the number of points.

    Parameters
    ----------
    curves : dict
        Title of a panel → table, as from `seaicekit.thresholds.accuracy_curve`.
    """
    ways = {"random": ("points at random", BLUE), "per class": ("as many of each class", ORANGE)}
    figure, (axes,) = plain_axes(4.4 * len(curves), 3.2, 1, len(curves), sharey=True)
    for axis, (title, table) in zip(axes, curves.items(), strict=True):
        for drawn, rows in table.groupby("drawn"):
            name, colour = ways[drawn]
            axis.plot(rows["points"], rows["accuracy"], color=colour, marker="o", markersize=3.5, label=name)
            axis.fill_between(
                rows["points"], rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0
            )
        best = (table["accuracy"] / table["share"]).iloc[0]
        axis.axhline(best, color="0.4", linestyle="--", linewidth=1)
        left = (table["points"].min(), best)
        axis.annotate("the best two cuts", left, (0, 3), textcoords="offset points", fontsize=9)
        counts = sorted(table["points"].unique())
        axis.set(title=title, xlabel="points", xscale="log")
        axis.set_xticks(counts, labels=counts)
        axis.set_xticks([], minor=True)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy on all pixels")
    axes[-1].legend(frameon=False, loc="lower right", fontsize=9)
    return figure


def curves(history: pd.DataFrame | list[dict]) -> Figure:
    """Draw loss and accuracy (agreement with the labels) by epoch, on training and test tiles.

    Parameters
    ----------
    history : table of epochs
        As ``epochs`` of what `seaicekit.train` returns.
    """
    import pandas as pd

    table = pd.DataFrame(history)
    figure, (axes,) = plain_axes(8.5, 3, 1, 2)
    for axis, name in zip(axes, ("loss", "accuracy"), strict=True):
        axis.plot(table["epoch"], table[name], color=BLUE, marker=".", label="training tiles")
        axis.plot(table["epoch"], table[f"val_{name}"], color=ORANGE, marker=".", label="test tiles")
        axis.set(xlabel="epoch", ylabel=name, xlim=(0.5, max(2, table["epoch"].max()) + 0.5))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    axis.set(ylabel="agreement with the labels", ylim=(0, 1))
    axis.legend(frameon=False)
    if "images_per_second" in table:
        text = f"{table['images_per_second'].iloc[-1]:.1f} images a second"
        left = timedelta(seconds=round(table["seconds_left"].iloc[-1]))
        figure.supxlabel(f"{text}, {left} left" if left else text, fontsize=9, color="0.35")
    return figure


def live_curves() -> Callable[[list[dict]], None]:
    """Show `curves` in a notebook cell; return a function that redraws them for the epochs so far."""
    require("lab", "a live figure", "IPython")
    from IPython.display import display

    shown = display("Waiting for the first epoch …", display_id=True)
    return lambda epochs: shown.update(curves(epochs))


def time_series(series: pd.DataFrame, legend: Sequence[SeaIceClass] = LEGEND) -> Figure:
    """Draw the area of each class by day, stacked, and the ice concentration above them.

    Parameters
    ----------
    series : pandas.DataFrame
        As from `seaicekit.mapping.time_series`.
    legend : sequence of SeaIceClass
        From the bottom up.

    Raises
    ------
    InputError
        The table has no row.
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    if series.empty:
        raise InputError("time series: no day has a date and an area; give scenes with both")
    days = np.array(series.index, "datetime64[D]")
    width = 0.7 * min([*(np.diff(days) / np.timedelta64(1, "D")).tolist(), 30.0])
    size = max(4.6, min(9, 3 + 0.35 * len(days)))
    figure, ((upper,), (lower,)) = plain_axes(size, 3.8, 2, 1, sharex=True, height_ratios=(1, 1.7))
    bottom = np.zeros(len(days))
    for entry in legend:
        area = series[f"{entry.name.replace(' ', '_')}_km2"].to_numpy()
        lower.bar(
            days, area, width, bottom, color=entry.colour, edgecolor="0.45", linewidth=0.5, label=entry.name
        )
        bottom = bottom + area
    percent = 100 * series["ice_concentration"].astype(float)
    upper.plot(days, percent, "o-", color=ORANGE, markersize=4.5, linewidth=1.4)
    upper.set(ylabel="ice\nconcentration, %", ylim=(-4, 104), yticks=(0, 50, 100))
    upper.grid(axis="y", color="0.9")
    locator = AutoDateLocator(minticks=1, maxticks=7)
    lower.xaxis.set_major_locator(locator)
    lower.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    margin = np.timedelta64(int(width * 86400), "s")
    lower.set(ylabel="area, km²", xlim=(days[0] - margin, days[-1] + margin))
    figure.legend(loc="outside right center", frameon=False, fontsize=9, reverse=True)
    return figure
