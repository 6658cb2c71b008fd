"""Figures for choosing the cuts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from seaicekit.thresholds import Thresholds, scene_histogram

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

INK = {"random": "#0b3c6f", "per class": "#d1642a"}


def histogram(paths: list[str | os.PathLike], thresholds: Thresholds) -> matplotlib.figure.Figure:
    """Draw how many pixels have which brightness in several scenes, coloured by class, with the cuts."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 3), layout="constrained")
    axis = figure.subplots()
    counts = np.zeros(256, np.int64)
    for path in paths:
        counts += scene_histogram(path)
    named = {entry.code: entry.colour for entry in thresholds.legend}
    colours = [named[code] for code in thresholds.table.tolist()]
    axis.bar(
        np.arange(256),
        100 * counts / max(1, counts.sum()),
        1.0,
        color=colours,
        edgecolor="0.55",
        linewidth=0.3,
    )
    for name, cut in (("water_max", thresholds.water_max), ("thin_max", thresholds.thin_max)):
        axis.axvline(cut + 0.5, color="#d1642a", linewidth=1.5)
        axis.annotate(
            f"{name} = {cut}",
            (cut + 0.5, 0.94),
            (4, 0),
            ("data", "axes fraction"),
            "offset points",
            fontsize=9,
        )
    axis.set(xlabel="brightness, max(R, G, B)", ylabel="pixels, % (square root scale)", xlim=(-0.5, 255.5))
    axis.set_yscale("function", functions=(np.sqrt, np.square))
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def fit_curve(curves: Mapping[str, pd.DataFrame]) -> matplotlib.figure.Figure:
    """Draw how accurate cuts fitted to so many points are, mean and 5 to 95 %, a panel a scene.

    Parameters
    ----------
    curves : dict
        Title → table, as from `seaicekit.thresholds.accuracy_curve`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * len(curves), 3.2), layout="constrained")
    axes = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    for axis, (title, table) in zip(axes, curves.items(), strict=True):
        for drawn, rows in table.groupby("drawn"):
            name = {"random": "points at random", "per class": "as many of each class"}[drawn]
            axis.plot(
                rows["points"], rows["accuracy"], color=INK[drawn], marker="o", markersize=3.5, label=name
            )
            axis.fill_between(
                rows["points"], rows["low"], rows["high"], color=INK[drawn], alpha=0.15, linewidth=0
            )
        best = (table["accuracy"] / table["share"]).iloc[0]
        axis.axhline(best, color="0.4", linestyle="--", linewidth=1)
        axis.annotate(
            "the best two cuts", (table["points"].min(), best), (0, 3), textcoords="offset points", fontsize=9
        )
        counts = sorted(table["points"].unique())
        axis.set_xscale("log")
        axis.set_xticks(counts, labels=counts)
        axis.set_xticks([], minor=True)
        axis.set(title=title, xlabel="points")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy on all pixels")
    axes[-1].legend(frameon=False, loc="lower right", fontsize=9)
    return figure
