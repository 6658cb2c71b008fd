"""What the tuner looks like: its controls, where they stand, and what each of them calls."""

from __future__ import annotations

import getpass
import html
from collections.abc import Callable
from typing import Any

import ipywidgets
from ipywidgets import HBox, Layout, VBox

from seaicekit.classes import Legend
from seaicekit.files import InputError
from seaicekit.labels import Rule
from seaicekit.tuner import panels
from seaicekit.tuner.canvas import SceneCanvas
from seaicekit.tuner.histogram import BrightnessHistogram
from seaicekit.tuner.panels import button, labelled


class Page(VBox):
    """The controls of `seaicekit.ThresholdTuner`, which has what they call."""

    def _build(self) -> None:
        rule = Rule(self._start, cloud_filter=False)
        self._scene = ipywidgets.Dropdown(options=list(self._named), layout=Layout(width="260px"))
        self._base = ipywidgets.ToggleButtons(
            options=["scene", "filtered", "difference"],
            style={"button_width": "88px"},
            tooltips=[
                "as it is",
                "after the thin-cloud and shadow filter",
                "how near to the surroundings: 255, equal",
            ],
        )
        self._opacity = ipywidgets.FloatSlider(
            value=0.5,
            min=0,
            max=1,
            step=0.05,
            description="classes",
            readout=False,
            layout=Layout(width="190px"),
            style={"description_width": "52px"},
        )
        step = self._button("next", "the next scene (n)", self._next, "60px")
        self._top = HBox([self._scene, step, self._base, self._opacity], layout=Layout(flex_flow="row wrap"))
        self._canvas = SceneCanvas(self._click, self._look_later)
        self._status = ipywidgets.HTML(layout=Layout(min_height="2.6em"))
        self._left = VBox([self._canvas, self._status], layout=Layout(flex="1 1 420px", min_width="300px"))

        self._histogram = BrightnessHistogram(lambda *moved: self._try(self._cut, *moved))
        self._sliders, self._numbers, rows = {}, {}, []
        for name, text in (("water_max", "water to"), ("thin_max", "thin ice to")):
            ends = {"min": 0, "max": 255, "value": getattr(self._start, name)}
            self._sliders[name] = ipywidgets.IntSlider(
                **ends, readout=False, **labelled(text, layout=Layout(width="270px"))
            )
            self._numbers[name] = ipywidgets.BoundedIntText(**ends, layout=Layout(width="64px"))
            for control in (self._sliders[name], self._numbers[name]):
                control.observe(lambda change, name=name: self._try(self._cut, name, change["new"]), "value")
            rows.append(HBox([self._sliders[name], self._numbers[name]]))
        self._shares, self._score = ipywidgets.HTML(), ipywidgets.HTML()
        self._class = ipywidgets.ToggleButtons(style={"button_width": "auto"}, layout=Layout(width="355px"))
        self._offers = VBox()
        self._upload = ipywidgets.FileUpload(
            accept=".geojson,.json", description="load", layout=Layout(width="85px")
        )
        edit = HBox(
            [
                self._button("undo", "take the last change of the points back (z)", self._undo),
                self._button("redo", "make it again (y)", self._redo),
                self._button("clear", "remove all points; undo brings them back", self._clear),
                self._upload,
            ]
        )
        act = HBox(
            [
                self._button("fit to points", "the cuts that score best on your points", self.fit),
                self._button("suggest", "cuts from the histogram, without points", self.suggest),
                self._button("save", "write thresholds.json", self.save),
            ]
        )
        self._preset = ipywidgets.Dropdown(**labelled("preset"))
        self._name = ipywidgets.Text(placeholder="a name for these cuts", layout=Layout(width="230px"))
        self._who = ipywidgets.Text(value=_user(), continuous_update=False, **labelled("who"))
        store = HBox(
            [self._name, self._button("keep", "keep the cuts as a preset", self._keep_preset, "100px")]
        )
        self._before = panels.RulePanel(rule, lambda: self._try(self._rule_changed))
        self._ranges = panels.RangesPanel(
            lambda: self._try(self._ranges_changed),
            lambda: max(self._entries) + 1,
            lambda said: self._say(said, wrong=True),
        )
        self._ranges.set(self._start.ranges)
        self._list = ipywidgets.Select(rows=7, layout=Layout(width="240px"))
        self._list.observe(lambda _: self._mark(), "value")
        remove = self._button("remove", "remove the chosen point", self._remove, "80px")
        self._fold = ipywidgets.Accordion(
            [HBox([self._list, remove]), self._before, self._ranges, VBox([self._preset, store, self._who])],
            titles=("Points", "Filter and no data", "Classes by colour", "Presets"),
            layout=Layout(width="352px"),
        )
        self._right = VBox(
            [
                self._histogram,
                *rows,
                self._shares,
                self._class,
                edit,
                self._score,
                act,
                self._offers,
                self._fold,
            ],
            layout=Layout(width="360px", margin="0 0 0 12px"),
        )
        self._choose_classes()
        self._list_presets()
        self._scene.observe(lambda change: self._try(self._open, change["new"]), "value")
        self._base.observe(lambda _: self._try(self._look), "value")
        self._opacity.observe(lambda change: setattr(self._canvas, "opacity", change["new"]), "value")
        self._upload.observe(lambda change: self._try(self._load, change["new"]), "value")
        self._preset.observe(
            lambda change: change["new"] and self._try(self._use_preset, change["new"]), "value"
        )

    @property
    def _legend(self) -> Legend:
        """The cuts' classes, and those that only points have, for their range was removed."""
        codes = {point.code for point in self.points} | set(self.thresholds.legend.codes)
        return Legend(self._entries[code] for code in sorted(codes))

    def _choose_classes(self) -> None:
        """Offer the classes there are for the next point."""
        self._entries |= {entry.code: entry for entry in self.thresholds.legend}
        options = [
            (f"{number} {entry.name}", entry.code) for number, entry in enumerate(self.thresholds.legend, 1)
        ]
        if tuple(options) != tuple(self._class.options):
            chosen = self._class.value
            self._class.options = options
            self._class.value = chosen if chosen in dict(options).values() else options[0][1]
        self.points.know(self.thresholds.legend)

    def _try(self, what: Callable, *given: Any) -> Any:
        """Do what a control asks for; what goes wrong is told on the page."""
        try:
            return what(*given)
        except (InputError, OSError) as error:
            self._say(str(error), wrong=True)

    def _button(self, text: str, tooltip: str, pressed: Callable, width: str = "auto") -> ipywidgets.Button:
        return button(text, tooltip, lambda: self._try(pressed), width)

    def _say(self, text: str, wrong: bool = False) -> None:
        self._status.tooltip = text
        colour = "color:#c92a2a" if wrong else ""
        self._status.value = f'<div style="line-height:1.3;{colour}">{html.escape(text)}</div>'


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return ""
