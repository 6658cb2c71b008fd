"""The threshold tuner: move a cut, see what it changes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import cv2
import ipywidgets
import numpy as np

from seaicekit import labels, maps, scenes
from seaicekit.classes import LEGEND, NODATA
from seaicekit.thresholds import Thresholds, brightness

if TYPE_CHECKING:
    from seaicekit.scenes import Paths

PREVIEW = 512  # pixels of the preview's longer side


class ThresholdTuner(ipywidgets.HBox):
    """Sliders for the two cuts, over a preview and the brightness histogram of one of several scenes.

    Parameters
    ----------
    paths : paths
        The scenes; their cuts are shared.
    thresholds : Thresholds, optional
        The cuts to begin with; the paper's if none are given.

    Attributes
    ----------
    thresholds : Thresholds
        The cuts as they stand.
    """

    def __init__(self, paths: Paths, thresholds: Thresholds | None = None):
        start, wide = thresholds or Thresholds(), ipywidgets.Layout(width="316px")
        self._scenes = scenes.names(paths)
        self._picker = ipywidgets.Dropdown(
            options=list(self._scenes), description="scene", layout=wide, style={"description_width": "50px"}
        )
        self._cuts = ipywidgets.IntRangeSlider(
            value=(start.water_max, start.thin_max), min=0, max=255, description="cuts",
            layout=wide, style={"description_width": "50px"},
        )  # fmt: skip
        self._opacity = ipywidgets.FloatSlider(
            value=0.6, min=0, max=1, step=0.05, description="overlay", layout=wide, style={"description_width": "50px"}
        )
        self._filter = ipywidgets.Checkbox(
            value=False, description="filter thin cloud and shadow", indent=False, layout=wide
        )
        self._view = ipywidgets.Image(format="png", layout=ipywidgets.Layout(max_width="480px"))
        self._histogram = ipywidgets.Image(format="png", layout=wide)
        self._shares = ipywidgets.HTML()
        controls = [self._picker, self._cuts, self._histogram, self._shares, self._opacity, self._filter]
        column = ipywidgets.VBox(controls, layout=ipywidgets.Layout(min_width="330px", margin="0 0 0 12px"))
        super().__init__([self._view, column], layout=ipywidgets.Layout(flex_flow="row wrap"))
        self._picker.observe(self._open, "value")
        for control in (self._cuts, self._opacity, self._filter):
            control.observe(self._draw, "value")
        self._open()

    @property
    def thresholds(self) -> Thresholds:
        """The cuts as they stand."""
        return Thresholds(*self._cuts.value)

    def save(self, path: str | os.PathLike) -> None:
        """Write the cuts as they stand; see `Thresholds.save`."""
        self.thresholds.save(path)

    def _open(self, _: object = None) -> None:
        with scenes.reading(self._scenes[self._picker.value]) as reader:
            bands, nodata = reader.read()
        step = max(1, -(-max(nodata.shape) // PREVIEW))
        self._bands = np.ascontiguousarray(bands[:, ::step, ::step])
        self._nodata = nodata[::step, ::step]
        self._whole = (bands, nodata, step)
        values = brightness(bands)[~nodata]
        self._counts = np.bincount(values, minlength=256)
        self._draw()

    def _codes(self) -> np.ndarray:
        if not self._filter.value:
            return labels.raw(self._bands, self._nodata, self.thresholds)
        bands, nodata, step = self._whole  # the filter needs the scene at its own scale
        return labels.label_array(bands, nodata, labels.Rule(self.thresholds))[0][::step, ::step]

    def _draw(self, _: object = None) -> None:
        codes = self._codes()
        picture = self._bands.transpose(1, 2, 0)
        mixed = cv2.addWeighted(picture, 1 - self._opacity.value, maps.coloured(codes), self._opacity.value, 0)
        self._view.value = _png(mixed)
        self._histogram.value = _png(self._bars())
        shares = np.bincount(codes[codes != NODATA], minlength=len(LEGEND)) / max(1, (codes != NODATA).sum())
        self._shares.value = "".join(
            f'<div><span style="display:inline-block;width:1em;height:1em;background:{entry.colour};'
            f'border:1px solid #888;vertical-align:middle"></span> {entry.name}: {100 * share:.1f} %</div>'
            for entry, share in zip(LEGEND, shares, strict=True)
        )

    def _bars(self) -> np.ndarray:
        """Draw the brightness histogram, each bar in its class's colour: (120, 512, 3) uint8."""
        heights = np.log1p(self._counts) / max(1e-9, np.log1p(self._counts.max()))
        picture = np.full((120, 256, 3), 255, np.uint8)
        filled = np.arange(120)[:, None] >= 118 - (heights * 112).astype(int)
        picture = np.where(filled[..., None], maps.coloured(self.thresholds.table)[None], (120, 128, 138))
        return np.repeat(picture.astype(np.uint8), 2, axis=1)


def _png(rgb: np.ndarray) -> bytes:
    return cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))[1].tobytes()
