"""The tuner's controls and where they stand."""

from __future__ import annotations

import os
from functools import partial

import ipywidgets
from ipywidgets import Accordion, HBox, Layout, VBox

from seaicekit.labels import Rule
from seaicekit.thresholds import Thresholds
from seaicekit.tuner.canvas import SceneCanvas
from seaicekit.tuner.events import KeyListener
from seaicekit.tuner.histogram import BrightnessHistogram
from seaicekit.tuner.panels import RangesPanel, RulePanel, Status, described


class Page(VBox):
    """The controls of `seaicekit.ThresholdTuner`, which has the methods that they call."""

    def _build(self, rule: Rule) -> None:
        """Make the page of a tuner that starts with this rule."""
        self._status = Status()
        self._canvas = SceneCanvas(self._click, self._look_later)
        self._histogram = BrightnessHistogram(lambda *moved: self._status.call(self._cut, *moved))
        left = VBox([self._canvas, self._status], layout=Layout(flex="1 1 420px", min_width="300px"))
        right = VBox(
            [
                self._histogram,
                *self._cut_controls(rule.thresholds),
                *self._point_controls(),
                self._fold(rule),
            ],
            layout=Layout(width="360px", margin="0 0 0 12px"),
        )
        row = HBox([left, right], layout=Layout(flex_flow="row wrap", align_items="flex-start"))
        keys = KeyListener("seaicekit-tuner", "123456789zyn", self._key)
        super().__init__([self._scene_controls(), row, keys])
        self.add_class("seaicekit-tuner")

    def _scene_controls(self) -> HBox:
        self._scene = ipywidgets.Dropdown(options=list(self._named), layout=Layout(width="260px"))
        self._status.observe_value(self._scene, self._choose_scene)
        following = self._status.button("next", "the next scene (n)", self._next, "60px")
        tooltips = [
            "as it is",
            "after the thin-cloud and shadow filter",
            "how near to the surroundings: 255, equal",
        ]
        self._base = ipywidgets.ToggleButtons(
            options=["scene", "filtered", "difference"], tooltips=tooltips, style={"button_width": "88px"}
        )
        self._status.observe_value(self._base, self._refresh)
        looks = {"layout": Layout(width="190px"), "style": {"description_width": "52px"}, "readout": False}
        opacity = ipywidgets.FloatSlider(value=0.5, min=0, max=1, step=0.05, description="classes", **looks)
        ipywidgets.jslink((opacity, "value"), (self._canvas.classes, "opacity"))
        return HBox([self._scene, following, self._base, opacity], layout=Layout(flex_flow="row wrap"))

    def _cut_controls(self, cuts: Thresholds) -> list[ipywidgets.Widget]:
        self._sliders, rows = {}, []
        for name, text in (("water_max", "water to"), ("thin_max", "thin ice to")):
            ends = {"min": 0, "max": 255, "value": getattr(cuts, name)}
            looks = described(text, layout=Layout(width="270px"))
            slider = self._sliders[name] = ipywidgets.IntSlider(readout=False, **ends, **looks)
            number = ipywidgets.BoundedIntText(layout=Layout(width="64px"), **ends)
            ipywidgets.link((slider, "value"), (number, "value"))
            self._status.observe_value(slider, partial(self._cut, name))
            rows.append(HBox([slider, number]))
        self._shares = ipywidgets.HTML()
        return [*rows, self._shares]

    def _point_controls(self) -> list[ipywidgets.Widget]:
        button, change = self._status.button, self._change
        self._class = ipywidgets.ToggleButtons(style={"button_width": "auto"}, layout=Layout(width="355px"))
        looks = {"description": "load", "layout": Layout(width="85px")}
        upload = ipywidgets.FileUpload(accept=".geojson,.json", **looks)
        self._status.observe_value(upload, self._load)
        undo, redo = partial(change, self.points.undo), partial(change, self.points.redo)
        edit = [
            button("undo", "take the last change of the points back (z)", undo),
            button("redo", "make it again (y)", redo),
            button("clear", "remove all points; undo brings them back", partial(change, self.points.clear)),
            upload,
        ]
        act = [
            button("fit to points", "the cuts that score best on your points", self.fit),
            button("suggest", "cuts from the histogram, without points", self.suggest),
            button("save", "write thresholds.json", self.save),
        ]
        self._score, self._offers = ipywidgets.HTML(), VBox()
        return [self._class, HBox(edit), self._score, HBox(act), self._offers]

    def _fold(self, rule: Rule) -> Accordion:
        """Return the panels that are folded at first."""
        self._list = ipywidgets.Select(rows=7, layout=Layout(width="240px"))
        remove = self._status.button("remove", "remove the chosen point", self._remove, "80px")
        self._before = RulePanel(rule, self._status, self._refresh)
        self._ranges = RangesPanel(self._status, self._show_labels, lambda: max(self._entries) + 1)
        self._ranges.set(rule.thresholds.ranges)
        self._preset = ipywidgets.Dropdown(**described("preset"))
        self._list_presets()
        self._status.observe_value(self._preset, self._use_preset)
        self._name = ipywidgets.Text(placeholder="a name for these cuts", layout=Layout(width="230px"))
        keep = self._status.button("keep", "keep the cuts as a preset", self._keep_preset, "100px")
        user = os.environ.get("USER", "")
        self._who = ipywidgets.Text(value=user, continuous_update=False, **described("who"))
        presets = VBox([self._preset, HBox([self._name, keep]), self._who])
        titles = ("Points", "Filter and no data", "Classes by colour", "Presets")
        children = [HBox([self._list, remove]), self._before, self._ranges, presets]
        return Accordion(children, titles=titles, layout=Layout(width="352px"))

    def _key(self, key: str) -> None:
        undo, redo = (partial(self._change, step) for step in (self.points.undo, self.points.redo))
        actions = {"z": undo, "y": redo, "n": self._next}
        codes = [code for _, code in self._class.options]
        if key in actions:
            self._status.call(actions[key])
        elif int(key) <= len(codes):
            self._class.value = codes[int(key) - 1]
