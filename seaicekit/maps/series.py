"""Ice through time: areas of classes by day, and how much of the sea is ice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seaicekit.classes import LEGEND, SeaIceClass
from seaicekit.files import InputError

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

LINE = "#d1642a"


def time_series(series: pd.DataFrame, legend: Sequence[SeaIceClass] = LEGEND) -> matplotlib.figure.Figure:
    """Draw the area of each class by day, one on another, and the ice concentration above them.

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
    from matplotlib.figure import Figure

    if series.empty:
        raise InputError("time series: no day has a date and an area; give scenes with both")
    days = np.array(series.index, "datetime64[D]")
    gaps = np.diff(days) / np.timedelta64(1, "D")
    wide = 0.7 * min([*gaps.tolist(), 30.0])
    figure = Figure(figsize=(max(4.6, min(9, 3 + 0.35 * len(days))), 3.8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.7))
    floor = np.zeros(len(days))
    for entry in legend:
        height = series[f"{entry.name.replace(' ', '_')}_km2"].to_numpy()
        lower.bar(
            days, height, wide, floor, color=entry.colour, edgecolor="0.45", linewidth=0.5, label=entry.name
        )
        floor = floor + height
    upper.plot(
        days, 100 * series["ice_concentration"].astype(float), "o-", color=LINE, markersize=4.5, linewidth=1.4
    )
    upper.set(ylabel="ice\nconcentration, %", ylim=(-4, 104), yticks=(0, 50, 100))
    upper.grid(axis="y", color="0.9")
    locator = AutoDateLocator(minticks=1, maxticks=7)
    lower.xaxis.set_major_locator(locator)
    lower.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    side = np.timedelta64(int(wide * 86400), "s")
    lower.set(ylabel="area, km²", xlim=(days[0] - side, days[-1] + side))
    for axis in (upper, lower):
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = lower.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right center", frameon=False, fontsize=9)
    return figure
