"""The histogram of brightness by class, with the two cuts to drag."""

from __future__ import annotations

from collections.abc import Callable

import bqplot
import ipywidgets
import numpy as np

from seaicekit.classes import Legend
from seaicekit.thresholds import Thresholds

CUT = "#e8590c"


class BrightnessHistogram(bqplot.Figure):
    """Bars of how many pixels have which brightness, in their class's colour, and two lines to drag.

    Parameters
    ----------
    moved : callable
        Called with ("water_max" or "thin_max", the new value) while a line is dragged.
    """

    def __init__(self, moved: Callable[[str, int], None]):
        x = bqplot.LinearScale(min=-1, max=256, allow_padding=False)
        y = bqplot.LinearScale(min=0, max=1, allow_padding=False)
        scales = {"x": x, "y": y}
        self._bars = bqplot.Bars(
            x=np.arange(256), y=np.zeros(256), scales=scales, padding=0, colors=["#888888"]
        )
        self._lines = bqplot.Lines(
            x=[[0, 0], [0, 0]], y=[[0, 1], [0, 1]], scales=scales, colors=[CUT], stroke_width=2
        )
        looks = {"marker": "rectangle", "default_skew": 0.95, "default_size": 900, "stroke": "white"}
        drag = {"enable_move": True, "restrict_x": True, "update_on_move": True}
        self._grips = {
            name: bqplot.Scatter(x=[0], y=[0.55], scales=scales, colors=[CUT], **looks, **drag)
            for name in ("water_max", "thin_max")
        }
        for name, grip in self._grips.items():
            grip.observe(lambda change, name=name: self._dragged(name, change["new"]), "x")
        self._moved, self._setting = moved, False
        axis = bqplot.Axis(
            scale=x,
            label="brightness, max(R, G, B)",
            label_color="#868e96",
            grid_lines="none",
            tick_values=[0, 50, 100, 150, 200, 255],
        )
        super().__init__(
            marks=[self._bars, self._lines, *self._grips.values()],
            axes=[axis],
            fig_margin={"top": 4, "bottom": 38, "left": 12, "right": 12},
            padding_x=0,
            padding_y=0,
            background_style={"fill": "#7d8a96", "fill-opacity": "0.3"},
            display_toolbar=False,
            layout=ipywidgets.Layout(width="340px", height="170px"),
        )

    def _dragged(self, name: str, values: np.ndarray) -> None:
        if not self._setting:
            self._moved(name, int(np.clip(round(float(values[0]) - 0.5), 0, 255)))

    def count(self, counts: np.ndarray) -> None:
        """Set the bars, on a square root scale: (256,) pixels of each brightness."""
        self._bars.y = np.sqrt(counts / max(1, counts.max()))

    def draw(self, thresholds: Thresholds, legend: Legend) -> None:
        """Put the lines where the cuts are, and paint the bars in their classes' colours."""
        colours = {entry.code: entry.colour for entry in legend}
        self._bars.colors = [colours[code] for code in thresholds.table.tolist()]
        self._setting = True
        cuts = [getattr(thresholds, name) + 0.5 for name in self._grips]
        self._lines.x = [[cut, cut] for cut in cuts]
        for grip, cut in zip(self._grips.values(), cuts, strict=True):
            grip.x = [cut]
        self._setting = False
