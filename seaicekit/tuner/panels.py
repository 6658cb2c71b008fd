"""The tuner's forms and tables."""

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

WIDTH = "340px"
NEW_COLOUR = "#3a7bd5"
BOX = "display:inline-block;width:.9em;height:.9em;border:1px solid #888;vertical-align:-1px;background:"


def described(text: str, **more: Any) -> dict:
    """Return what the controls of the right column with a description have in common."""
    return {"description": text, "layout": Layout(width=WIDTH), "style": {"description_width": "80px"}} | more


class Status(ipywidgets.HTML):
    """A line that tells what happened; what controls call goes through it, so that errors are shown."""

    def __init__(self) -> None:
        super().__init__(layout=Layout(min_height="2.6em"))

    def show(self, text: str, error: bool = False) -> None:
        """Show a text, in red if it is an error."""
        self.tooltip = text
        colour = "color:#c92a2a" if error else ""
        self.value = f'<div style="line-height:1.3;{colour}">{html.escape(text)}</div>'

    def call(self, function: Callable, *arguments: Any) -> Any:
        """Call a function, and show the error if it fails."""
        try:
            return function(*arguments)
        except (InputError, OSError) as error:
            self.show(str(error), error=True)

    def button(self, text: str, tooltip: str, function: Callable, width: str = "auto") -> ipywidgets.Button:
        """Return a button that calls a function without arguments."""
        button = ipywidgets.Button(description=text, tooltip=tooltip, layout=Layout(width=width))
        button.on_click(lambda _: self.call(function))
        return button

    def observe_value(self, control: ipywidgets.Widget, function: Callable[[Any], object]) -> None:
        """Call a function with a control's new value whenever that changes."""
        control.observe(lambda change: self.call(function, change["new"]), "value")


def _swatch(entry: SeaIceClass, text: str = "") -> str:
    return f'<span style="{BOX}{entry.colour}"></span>&nbsp;{html.escape(text)}'


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells, HTML, as a table; all but the first column are aligned to the right."""
    right = 'style="text-align:right;padding-left:14px"'
    lines = [f"<td>{row[0]}</td>" + "".join(f"<td {right}>{cell}</td>" for cell in row[1:]) for row in rows]
    looks = "line-height:1.5;font-variant-numeric:tabular-nums"
    return f'<table style="{looks}"><tr>{"</tr><tr>".join(lines)}</tr></table>'


def share_table(
    now: Mapping[int, float], saved: Mapping[int, float], legend: Sequence[SeaIceClass], exact: bool
) -> str:
    """Return each class's share of the area and the ice concentration, with their change since the last save.

    Where not every pixel was counted, it says "about".
    """

    def change(before: float, after: float) -> str:
        return f"{100 * (after - before):+.1f}" if abs(after - before) >= 5e-4 else "·"

    rows = [["", "area" if exact else "area, about", "since saved"]]
    for entry in legend:
        before, after = saved.get(entry.code, 0), now.get(entry.code, 0)
        rows.append([_swatch(entry, entry.name), f"{100 * after:.1f} %", change(before, after)])
    before, after = (concentration(shares, legend) or 0 for shares in (saved, now))
    rows.append(["<b>ice concentration</b>", f"<b>{100 * after:.1f} %</b>", change(before, after)])
    return _table(rows)


def score_table(score: Any, legend: Sequence[SeaIceClass], how: str) -> str:
    """Return a score, by `seaicekit.thresholds.score_classes`: accuracy, interval, confusion matrix."""
    low, high = score.accuracy_range
    text = (
        f"<b>{100 * score.accuracy:.0f} %</b> of {score.count} points right {how} "
        f"(95 % interval {100 * low:.0f} to {100 * high:.0f} %)"
    )
    rows = [["your point is ↓ &nbsp; labelled as →", *(_swatch(entry) for entry in legend)]]
    for number, (entry, counts) in enumerate(zip(legend, score.confusion, strict=True)):
        if sum(counts):
            cells = [str(count or "·") for count in counts]
            cells[number] = f"<b>{counts[number]}</b>"
            rows.append([_swatch(entry, entry.name), *cells])
    return text + _table(rows)


class RulePanel(VBox):
    """What is done before the cuts: the cloud filter, its window, the no-data rule."""

    def __init__(self, rule: Rule, status: Status, changed: Callable[[Any], object]):
        self.filter = ipywidgets.Checkbox(
            value=rule.cloud_filter, description="filter thin cloud and shadow", indent=False
        )
        looks = {"continuous_update": False, "placeholder": "155, or 7750 m"}
        self.window = ipywidgets.Text(value=str(rule.window), **looks, **described("window"))
        options = [("is masked (255)", "mask"), ("is a class as well (the paper)", "ignore")]
        self.nodata = ipywidgets.Dropdown(options=options, value=rule.nodata, **described("no data"))
        super().__init__([self.filter, self.window, self.nodata])
        for control in self.children:
            status.observe_value(control, changed)

    def values(self) -> dict:
        """Return the form as fields of a `seaicekit.labels.Rule`."""
        window = self.window.value.strip()
        return {
            "cloud_filter": self.filter.value,
            "nodata": self.nodata.value,
            "window": int(window) if window.isdigit() else window,
        }


class RangesPanel(VBox):
    """Classes by colour: ranges of hue, saturation and value that take precedence over the cuts.

    Parameters
    ----------
    status : Status
    changed : callable
        Called without arguments when the ranges are others.
    next_code : callable
        Returns a code that no class had before, since points may still have it.
    """

    def __init__(self, status: Status, changed: Callable[[], object], next_code: Callable[[], int]):
        self.ranges: tuple[Range, ...] = ()
        self._changed, self._next_code, self._filling = changed, next_code, False
        self._chosen = ipywidgets.Dropdown(options=[], layout=Layout(width="150px"))
        self._class = ipywidgets.Dropdown(**described("class"))
        self._name = ipywidgets.Text(continuous_update=False, **described("name"))
        self._colour = ipywidgets.ColorPicker(value=NEW_COLOUR, **described("colour"))
        self._ends = {
            name: ipywidgets.IntRangeSlider(value=full, min=0, max=full[1], **described(name))
            for name, full in (("hue", FULL_HUE), ("saturation", FULL), ("value", FULL))
        }
        self._red = ipywidgets.Checkbox(description="hue goes round through red", indent=False)
        add = status.button("add", "one more range", self._add, "70px")
        remove = status.button("remove", "take this range away", self._remove, "80px")
        self._form = VBox([self._class, self._name, self._colour, *self._ends.values(), self._red])
        status.observe_value(self._chosen, lambda _: self._fill())
        for control in self._form.children:
            status.observe_value(control, lambda _: self._read())
        super().__init__([HBox([self._chosen, add, remove]), self._form])
        self.set(())

    def set(self, ranges: Sequence[Range], chosen: int = 0) -> None:
        """Show these ranges, one of them in the form."""
        self.ranges, self._filling = tuple(ranges), True
        self._chosen.options = [(f"{n + 1} · {each.name}", n) for n, each in enumerate(self.ranges)]
        self._chosen.value = chosen if self.ranges else None
        self._filling = False
        self._fill()

    def _fill(self) -> None:
        self._form.layout.display = "" if self.ranges else "none"
        if self._chosen.value is None or self._filling:
            return
        self._filling = True
        shown = self.ranges[self._chosen.value]
        names = {entry.code: entry.name for entry in (*LEGEND, *self.ranges)}
        self._class.options = [(name, code) for code, name in sorted(names.items())]
        self._class.value, self._name.value, self._colour.value = shown.code, shown.name, shown.colour
        self._name.disabled = self._colour.disabled = shown.code < len(LEGEND)
        self._red.value = shown.hue[0] > shown.hue[1]
        for name, control in self._ends.items():
            control.value = tuple(sorted(getattr(shown, name)))
        self._filling = False

    def _read(self) -> None:
        if self._filling or self._chosen.value is None:
            return
        ends = {name: control.value for name, control in self._ends.items()}
        if self._red.value:
            ends["hue"] = ends["hue"][::-1]
        number, code = self._chosen.value, self._class.value
        others = [*self.ranges[:number], *self.ranges[number + 1 :]]
        # Ranges of one class share its name and colour.
        same = next((each for each in others if each.code == code), None)
        name, colour = (same.name, same.colour) if same else (self._name.value, self._colour.value)
        try:
            others.insert(number, Range(code, name, colour, **ends))
            Thresholds(ranges=tuple(others))
        except InputError:
            self._fill()  # with the last valid values
            raise
        self.set(others, number)
        self._changed()

    def _add(self) -> None:
        code = self._next_code()
        new = Range(code, f"class {code}", NEW_COLOUR, hue=(90, 130), saturation=(80, 255))
        self.set((*self.ranges, new), len(self.ranges))
        self._changed()

    def _remove(self) -> None:
        if self.ranges:
            self.set([each for number, each in enumerate(self.ranges) if number != self._chosen.value])
            self._changed()
