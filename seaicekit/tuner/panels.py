"""The parts of the tuner that are forms and tables."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets
from ipywidgets import HBox, Layout, VBox

from seaicekit.classes import LEGEND, SeaIceClass, concentration
from seaicekit.files import InputError
from seaicekit.labels import Rule
from seaicekit.thresholds import FULL, FULL_HUE, Range, Thresholds

WIDE = "340px"
NEW_COLOUR = "#3a7bd5"


def labelled(text: str, **more: Any) -> dict:
    """Return what a control of the right column with a description has in common."""
    return {"description": text, "layout": Layout(width=WIDE), "style": {"description_width": "80px"}} | more


def button(text: str, tooltip: str, pressed: Callable[[], None], width: str = "auto") -> ipywidgets.Button:
    """Make a button that calls ``pressed`` without arguments."""
    made = ipywidgets.Button(description=text, tooltip=tooltip, layout=Layout(width=width))
    made.on_click(lambda _: pressed())
    return made


def swatch(entry: SeaIceClass) -> str:
    """Return a class's colour and name as HTML."""
    return (
        f'<span style="display:inline-block;width:.9em;height:.9em;background:{entry.colour};border:1px solid #888;'
        f'vertical-align:-1px"></span>&nbsp;{html.escape(entry.name)}'
    )


def _row(cells: Sequence[str], tag: str = "td") -> str:
    first, *rest = cells
    inner = "".join(f'<{tag} style="text-align:right;padding-left:14px">{cell}</{tag}>' for cell in rest)
    return f'<tr><{tag} style="text-align:left">{first}</{tag}>{inner}</tr>'


def _table(rows: Sequence[str]) -> str:
    return f'<table style="line-height:1.5;font-variant-numeric:tabular-nums">{"".join(rows)}</table>'


def shares(
    now: Mapping[int, float], saved: Mapping[int, float], legend: Sequence[SeaIceClass], exact: bool = True
) -> str:
    """Return each class's share of the area and the ice concentration, with their change since the last save.

    Where not every pixel was looked at, it says "about".
    """

    def change(before: float, after: float) -> str:
        return f"{100 * (after - before):+.1f}" if abs(after - before) >= 5e-4 else "·"

    rows = [_row(["", "area" if exact else "area, about", "since saved"], "th")]
    for entry in legend:
        after = now.get(entry.code, 0)
        rows.append(_row([swatch(entry), f"{100 * after:.1f} %", change(saved.get(entry.code, 0), after)]))
    before, after = (concentration(each, legend) or 0 for each in (saved, now))
    rows.append(_row(["<b>ice concentration</b>", f"<b>{100 * after:.1f} %</b>", change(before, after)]))
    return _table(rows)


def scored(score: Any, legend: Sequence[SeaIceClass], how: str) -> str:
    """Return accuracy with its interval, and the confusion matrix, of a `seaicekit.thresholds.fitting.Score`."""
    low, high = score.accuracy_range
    said = (
        f"<b>{100 * score.accuracy:.0f} %</b> of {score.count} points right {how} "
        f"(95 % interval {100 * low:.0f} to {100 * high:.0f} %)"
    )
    rows = [
        _row(
            ["your point is ↓ &nbsp; labelled as →", *(swatch(entry).split("&nbsp;")[0] for entry in legend)]
        )
    ]
    for entry, counts in zip(legend, score.confusion, strict=True):
        if sum(counts):
            marked = [
                f"<b>{n}</b>" if other is entry else str(n or "·")
                for n, other in zip(counts, legend, strict=True)
            ]
            rows.append(_row([swatch(entry), *marked]))
    return said + _table(rows)


class RulePanel(VBox):
    """What is done before the cuts: the cloud filter, its window, the no-data rule."""

    def __init__(self, rule: Rule, changed: Callable[[], None]):
        self.filter = ipywidgets.Checkbox(
            value=rule.cloud_filter, description="filter thin cloud and shadow", indent=False
        )
        self.window = ipywidgets.Text(
            value=str(rule.window),
            continuous_update=False,
            placeholder="155, or 7750 m",
            **labelled("window"),
        )
        self.nodata = ipywidgets.Dropdown(
            value=rule.nodata,
            **labelled("no data"),
            options=[("is masked (255)", "mask"), ("is a class as well (the paper)", "ignore")],
        )
        for control in (self.filter, self.window, self.nodata):
            control.observe(lambda _: changed(), "value")
        super().__init__([self.filter, self.window, self.nodata])

    def rule(self, thresholds: Thresholds) -> Rule:
        """Return the rule as the form says it.

        Raises
        ------
        InputError
            Not a window.
        """
        window = self.window.value.strip()
        return Rule(
            thresholds,
            cloud_filter=self.filter.value,
            nodata=self.nodata.value,
            window=int(window) if window.isdigit() else window,
        )

    def set(self, values: Mapping) -> None:
        """Fill the form from `seaicekit.labels.Rule.to_dict`."""
        self.filter.value, self.window.value = values["cloud_filter"], str(values["window"])
        self.nodata.value = values["nodata"]


class RangesPanel(VBox):
    """Classes by colour: ranges of hue, saturation and value that win over the cuts."""

    def __init__(
        self, changed: Callable[[], None], next_code: Callable[[], int], refused: Callable[[str], None]
    ):
        self._next_code, self._refused = next_code, refused
        self.ranges: tuple[Range, ...] = ()
        self._changed, self._filling = changed, False
        self._which = ipywidgets.Dropdown(options=[], layout=Layout(width="150px"))
        self._class = ipywidgets.Dropdown(**labelled("class"))
        self._name = ipywidgets.Text(continuous_update=False, **labelled("name"))
        self._colour = ipywidgets.ColorPicker(value=NEW_COLOUR, **labelled("colour"))
        self._ends = {
            name: ipywidgets.IntRangeSlider(value=full, min=0, max=full[1], **labelled(name))
            for name, full in (("hue", FULL_HUE), ("saturation", FULL), ("value", FULL))
        }
        self._turn = ipywidgets.Checkbox(description="hue goes round through red", indent=False)
        top = HBox(
            [
                self._which,
                button("add", "one more range", self._add, "70px"),
                button("remove", "take this range away", self._remove, "80px"),
            ]
        )
        self._form = VBox([self._class, self._name, self._colour, *self._ends.values(), self._turn])
        self._which.observe(lambda _: self._fill(), "value")
        for control in (self._class, self._name, self._colour, *self._ends.values(), self._turn):
            control.observe(lambda _: self._read(), "value")
        super().__init__([top, self._form])
        self.set(())

    def set(self, ranges: Sequence[Range], which: int = 0) -> None:
        """Show these ranges, one of them in the form."""
        self.ranges = tuple(ranges)
        self._filling = True
        self._which.options = [(f"{n + 1} · {each.name}", n) for n, each in enumerate(self.ranges)]
        self._which.value = which if self.ranges else None
        self._filling = False
        self._fill()

    def _fill(self) -> None:
        self._form.layout.display = "" if self.ranges else "none"
        if self._which.value is None or self._filling:
            return
        self._filling = True
        shown = self.ranges[self._which.value]
        legend: tuple[SeaIceClass | Range, ...] = (*LEGEND, *self.ranges)
        known = {entry.code: entry.name for entry in legend}
        self._class.options = [(name, code) for code, name in sorted(known.items())]
        self._class.value = shown.code
        self._name.value, self._colour.value = shown.name, shown.colour
        for control in (self._name, self._colour):
            control.disabled = shown.code < len(LEGEND)
        self._turn.value = shown.hue[0] > shown.hue[1]
        for name, control in self._ends.items():
            control.value = tuple(sorted(getattr(shown, name)))
        self._filling = False

    def _read(self) -> None:
        if self._filling or self._which.value is None:
            return
        ends = {name: control.value for name, control in self._ends.items()}
        if self._turn.value:
            ends["hue"] = ends["hue"][::-1]
        number, code = self._which.value, self._class.value
        same = next(
            (each for each in self.ranges if each.code == code and each is not self.ranges[number]), None
        )
        name, colour = (same.name, same.colour) if same else (self._name.value, self._colour.value)
        try:
            made = Range(code, name, colour, **ends)
            Thresholds(ranges=(*self.ranges[:number], made, *self.ranges[number + 1 :]))
        except InputError as error:  # the form shows the last good one again
            self._refused(str(error))
            return self._fill()
        self.set((*self.ranges[:number], made, *self.ranges[number + 1 :]), number)
        self._changed()

    def _add(self) -> None:
        code = self._next_code()  # one that no class had before, for points may still have it
        try:
            new = Range(code, f"class {code}", NEW_COLOUR, hue=(90, 130), saturation=(80, 255))
        except InputError as error:
            return self._refused(str(error))
        self.set((*self.ranges, new), len(self.ranges))
        self._changed()

    def _remove(self) -> None:
        number = self._which.value
        if number is not None:
            self.set((*self.ranges[:number], *self.ranges[number + 1 :]))
            self._changed()
