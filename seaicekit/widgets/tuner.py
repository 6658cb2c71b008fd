"""The threshold tuner: move a cut, see what it changes; click what you know, fit to it."""

from __future__ import annotations

import asyncio
import getpass
import html
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets
import numpy as np
from ipyevents import Event
from ipywidgets import HBox, Layout, VBox

from seaicekit import fitting, scenes
from seaicekit.classes import LEGEND, THICK_ICE, VIVID, SeaIceClass, repainted
from seaicekit.files import InputError, read_json, write_json
from seaicekit.labels import Rule
from seaicekit.points import ReferencePoints
from seaicekit.preview import Preview, View
from seaicekit.thresholds import Thresholds, presets
from seaicekit.widgets import panels
from seaicekit.widgets.canvas import SceneCanvas
from seaicekit.widgets.histogram import BrightnessHistogram
from seaicekit.widgets.panels import button, labelled

if TYPE_CHECKING:
    from seaicekit.scenes import Paths

FORMAT = "seaicekit-tuner-1"
OPEN = 4  # scenes kept open at once
SETTLED, MOVED = 0.5, 0.05  # seconds without a change after which the state is written, and a new view is read


class Later:
    """Call a function once nothing has asked for it for some seconds; without an event loop, at once."""

    def __init__(self, seconds: float, function: Callable[[], None]):
        self._seconds, self._function = seconds, function
        self._handle: asyncio.TimerHandle | None = None

    def __call__(self) -> None:
        """Ask for it."""
        if self._handle:
            self._handle.cancel()
        try:
            self._handle = asyncio.get_running_loop().call_later(self._seconds, self._function)
        except RuntimeError:
            self._function()


class ThresholdTuner(VBox):
    """Calibrate the cuts on scenes: by eye, and on points that you click.

    Keys, with the mouse over the tuner: 1, 2, 3 … choose the class of the next point, z undoes and y redoes
    a point, n goes to the next scene.

    Parameters
    ----------
    paths : paths
        The scenes; their cuts are shared. One that cannot be opened is said so and passed over.
    thresholds : Thresholds, optional
        The cuts to begin with; by default those saved in ``folder``, else the paper's.
    folder : path
        Gets ``points.geojson`` with every click, ``thresholds.json`` by `save`, ``presets/``, and
        ``tuner.json``, from which a new tuner with the same ``thresholds`` goes on.

    Attributes
    ----------
    thresholds : Thresholds
        The cuts as they stand.
    rule : seaicekit.labels.Rule
        The cuts and what is done before them, as they stand.
    points : seaicekit.points.ReferencePoints

    Raises
    ------
    InputError
        No scene can be opened, or the folder's files are broken.
    """

    def __init__(self, paths: Paths, thresholds: Thresholds | None = None, folder: str | os.PathLike = "calibration"):
        self._named, self._folder = scenes.names(paths), Path(folder)
        self._previews: dict[str, Preview] = {}
        self._settle_later, self._look_later = Later(SETTLED, self._settle), Later(MOVED, self._look)
        file = self._folder / "thresholds.json"
        self._start = thresholds or (Thresholds.load(file) if file.is_file() else Thresholds())
        self._saved, self._setting = self._start, False
        self._entries: dict[int, SeaIceClass] = {}
        self._known_shares: tuple = (None, {})
        state = self._earlier()
        cuts = Thresholds.from_dict(state["thresholds"]) if state else self._start
        self.points = ReferencePoints(self._named, self._folder / "points.geojson", cuts.legend)
        self._build()
        super().__init__(
            [self._top, HBox([self._left, self._right], layout=Layout(flex_flow="row wrap", align_items="flex-start"))]
        )
        keys = Event(source=self, watched_events=["keydown"])
        keys.on_dom_event(self._key)
        if state:
            self.set(cuts)
            self._before.set(state["rule"])
            self._vivid.value = state["vivid"]
        first = state["scene"] if state and state["scene"] in self._named else next(iter(self._named), None)
        if not any(self._open(name) for name in [first, *self._named]):
            raise InputError(f"scenes: none can be opened; {self._status.tooltip or 'none is given'}")
        if self.points.message:
            self._say(f"{self._folder / 'points.geojson'}: {self.points.message}")

    # What stands.

    @property
    def thresholds(self) -> Thresholds:
        """The cuts as they stand."""
        return Thresholds(self._sliders["water_max"].value, self._sliders["thin_max"].value, self._ranges.ranges)

    @property
    def rule(self) -> Rule:
        """The cuts and what is done before them, as they stand."""
        return self._before.rule(self.thresholds)

    def set(self, thresholds: Thresholds) -> None:
        """Make these the cuts."""
        self._setting = True
        for name, control in self._sliders.items():
            control.value = self._numbers[name].value = getattr(thresholds, name)
        if thresholds.ranges != self._ranges.ranges:
            self._ranges.set(thresholds.ranges)
        self._setting = False
        self._choose_classes()
        self._label()

    def save(self, path: str | os.PathLike | None = None) -> None:
        """Write the cuts as they stand, with who chose them, when, on which scenes and points, and their score.

        Parameters
        ----------
        path : path, optional
            ``thresholds.json`` in the tuner's folder, if none is given.
        """
        path = Path(path or self._folder / "thresholds.json")
        self.thresholds.save(path, self._provenance())
        self._saved = self.thresholds
        self._label()
        self._say(f"Saved {path}.{self._for_the_batch()}")

    def fit(self) -> None:
        """Choose the cuts that score best on the points, and say how sure that is."""
        try:
            found = self._fitted()
        except InputError as error:
            return self._say(str(error), wrong=True)
        self.set(Thresholds(found.water_max, found.thin_max, self._ranges.ranges))
        (w0, w1), (t0, t1) = found.water_range, found.thin_range
        self._say(
            f"Fitted to {len(self.points)} points: water_max {found.water_max} (95 % interval {w0} to {w1}), "
            f"thin_max {found.thin_max} ({t0} to {t1}). {' '.join(found.messages)}"
        )

    def suggest(self) -> dict[str, Thresholds]:
        """Offer cuts from the scenes' histogram alone, each with its area shares, to be accepted by a click."""
        counts = np.zeros(256, np.int64)
        for name in self._named:
            preview = self._preview(name)
            if preview:
                counts += preview.counts
        try:
            offered = {name: Thresholds(*cuts, self._ranges.ranges) for name, cuts in fitting.suggest(counts).items()}
        except InputError as error:
            self._say(str(error), wrong=True)
            return {}
        rows = []
        for name, cuts in offered.items():
            found = np.bincount(cuts.table, counts, minlength=256) / max(1, counts.sum())
            areas = ", ".join(f"{entry.name} {100 * found[entry.code]:.0f} %" for entry in LEGEND)
            accept = button("accept", "make these the cuts", lambda cuts=cuts: self._accept(cuts), "70px")
            said = f'<div style="line-height:1.3"><b>{name}</b>: {cuts.water_max}, {cuts.thin_max}<br>{areas}</div>'
            rows.append(HBox([accept, ipywidgets.HTML(said)]))
        self._offers.children = rows
        return offered

    def _accept(self, thresholds: Thresholds) -> None:
        self._offers.children = ()
        self.set(thresholds)

    # The page.

    def _build(self) -> None:
        rule = Rule(self._start, cloud_filter=False)
        self._scene = ipywidgets.Dropdown(options=list(self._named), layout=Layout(width="260px"))
        self._base = ipywidgets.ToggleButtons(
            options=["scene", "filtered", "difference"], style={"button_width": "88px"},
            tooltips=["as it is", "after the thin-cloud and shadow filter", "how near to the surroundings: 255, equal"],
        )  # fmt: skip
        self._opacity = ipywidgets.FloatSlider(
            value=0.5, min=0, max=1, step=0.05, description="classes", readout=False,
            layout=Layout(width="190px"), style={"description_width": "52px"},
        )  # fmt: skip
        self._vivid = ipywidgets.Checkbox(
            description="vivid colours", tooltip="a second palette", indent=False, layout=Layout(width="120px")
        )
        step = button("next", "the next scene (n)", self._next, "60px")
        self._top = HBox(
            [self._scene, step, self._base, self._opacity, self._vivid], layout=Layout(flex_flow="row wrap")
        )
        self._canvas = SceneCanvas(self._click, self._look_later)
        self._status = ipywidgets.HTML(layout=Layout(min_height="2.6em"))
        self._left = VBox([self._canvas, self._status], layout=Layout(flex="1 1 420px", min_width="300px"))

        self._histogram = BrightnessHistogram(self._cut)
        self._sliders, self._numbers, rows = {}, {}, []
        for name, text in (("water_max", "water to"), ("thin_max", "thin ice to")):
            ends = {"min": 0, "max": 255, "value": getattr(self._start, name)}
            self._sliders[name] = ipywidgets.IntSlider(
                **ends, readout=False, **labelled(text, layout=Layout(width="270px"))
            )
            self._numbers[name] = ipywidgets.BoundedIntText(**ends, layout=Layout(width="64px"))
            for control in (self._sliders[name], self._numbers[name]):
                control.observe(lambda change, name=name: self._cut(name, change["new"]), "value")
            rows.append(HBox([self._sliders[name], self._numbers[name]]))
        self._shares, self._score, self._filtered_score = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.HTML()
        self._class = ipywidgets.ToggleButtons(style={"button_width": "auto"}, layout=Layout(width="355px"))
        self._offers = VBox()
        self._upload = ipywidgets.FileUpload(accept=".geojson,.json", description="load", layout=Layout(width="85px"))
        edit = HBox([
            button("undo", "take the last change of the points back (z)", self._undo),
            button("redo", "make it again (y)", self._redo),
            button("clear", "remove all points; undo brings them back", self._clear),
            self._upload,
        ])  # fmt: skip
        act = HBox([
            button("fit to points", "the cuts that score best on your points", self.fit),
            button("suggest", "cuts from the histogram, without points", self.suggest),
            button("save", "write thresholds.json", self.save),
        ])  # fmt: skip
        self._preset = ipywidgets.Dropdown(**labelled("preset"))
        self._name = ipywidgets.Text(placeholder="a name for these cuts", layout=Layout(width="230px"))
        self._who = ipywidgets.Text(value=getpass.getuser(), continuous_update=False, **labelled("who"))
        store = HBox([self._name, button("keep", "keep the cuts as a preset", self._keep_preset, "100px")])
        self._before = panels.RulePanel(rule, self._rule_changed)
        self._ranges = panels.RangesPanel(self._ranges_changed)
        self._ranges.set(self._start.ranges)
        self._list = ipywidgets.Select(rows=7, layout=Layout(width="240px"))
        self._list.observe(lambda _: self._mark(), "value")
        remove = button("remove", "remove the chosen point", self._remove, "80px")
        self._fold = ipywidgets.Accordion(
            [HBox([self._list, remove]), self._before, self._ranges, VBox([self._preset, store, self._who])],
            titles=("Points", "Filter and no data", "Classes by colour", "Presets"), layout=Layout(width="352px"),
        )  # fmt: skip
        self._right = VBox(
            [
                self._histogram,
                *rows,
                self._shares,
                self._class,
                edit,
                self._score,
                self._filtered_score,
                act,
                self._offers,
                self._fold,
            ],
            layout=Layout(width="360px", margin="0 0 0 12px"),
        )
        self._choose_classes()
        self._list_presets()
        self._scene.observe(lambda change: self._open(change["new"]), "value")
        self._base.observe(lambda _: self._look(), "value")
        self._opacity.observe(lambda change: setattr(self._canvas, "opacity", change["new"]), "value")
        self._vivid.observe(lambda _: (self._choose_classes(), self._label()), "value")
        self._upload.observe(lambda change: self._load(change["new"]), "value")
        self._preset.observe(lambda change: change["new"] and self._use_preset(change["new"]), "value")

    @property
    def _legend(self) -> tuple[SeaIceClass, ...]:
        """The cuts' classes, and those that only points have, for their range was removed."""
        here = {point.code for point in self.points} | {entry.code for entry in self.thresholds.legend}
        legend = tuple(self._entries[code] for code in sorted(here))
        return repainted(legend, VIVID) if self._vivid.value else legend

    def _choose_classes(self) -> None:
        """Offer the classes there are for the next point."""
        self._entries |= {entry.code: entry for entry in self.thresholds.legend}
        options = [(f"{number} {entry.name}", entry.code) for number, entry in enumerate(self.thresholds.legend, 1)]
        if tuple(options) != tuple(self._class.options):
            chosen = self._class.value
            self._class.options = options
            self._class.value = chosen if chosen in dict(options).values() else options[0][1]
        self.points.know(self.thresholds.legend)

    def _say(self, text: str, wrong: bool = False) -> None:
        self._status.tooltip = text
        colour = "color:#c92a2a" if wrong else ""
        self._status.value = f'<div style="line-height:1.3;{colour}">{html.escape(text)}</div>'

    # Scenes.

    def _preview(self, name: str) -> Preview | None:
        if name not in self._previews:
            try:
                made = Preview(self._named[name])
            except InputError as error:
                self._say(f"{name} is passed over: {error}", wrong=True)
                return None
            while len(self._previews) >= OPEN:
                self._previews.pop(next(iter(self._previews)))
            self._previews[name] = made
        return self._previews[name]

    def _open(self, name: str) -> bool:
        preview = self._preview(name)
        if preview is None:
            if getattr(self, "_now", None) in self._named:  # back to the one that is on the screen
                self._scene.value = self._now
            return False
        self._now = name
        if self._scene.value != name:
            self._scene.value = name
        self._view: View | None = None
        self._histogram.count(preview.counts)
        self._canvas.fit(preview.shape)
        self._look()
        return True

    def _next(self) -> None:
        listed = list(self._named)
        at = listed.index(self._now)
        for name in (*listed[at + 1 :], *listed[: at + 1]):
            if self._open(name):
                return

    def _look(self) -> None:
        """Show what is seen now: after a move, another scene, another picture."""
        preview = self._previews.get(getattr(self, "_now", None))
        if preview is None:
            return
        rule = self.rule
        seen = self._canvas.seen
        view = preview.view(seen, rule)
        if self._view is None or view.window != self._view.window or self._base.value != self._shown:
            self._view, self._shown = view, self._base.value
            picture = {
                "scene": lambda: view.picture,
                "filtered": lambda: preview.filtered(rule, view),
                "difference": lambda: preview.difference(rule, view),
            }[self._base.value]()
            self._canvas.show(picture, view.window)
            self._label()

    # Cuts.

    def _cut(self, name: str, value: int) -> None:
        """Move one cut; the other one gives way."""
        if self._setting:
            return
        cuts = {each: control.value for each, control in self._sliders.items()} | {name: value}
        if name == "water_max":
            cuts["thin_max"] = max(cuts["thin_max"], value)
        else:
            cuts["water_max"] = min(cuts["water_max"], value)
        self.set(Thresholds(**cuts, ranges=self._ranges.ranges))

    def _ranges_changed(self) -> None:
        if not self._setting:
            self._choose_classes()
            self._label()

    def _rule_changed(self) -> None:
        try:
            self.rule  # noqa: B018
        except InputError as error:
            self._before.window.value = str(Rule().window)
            return self._say(str(error), wrong=True)
        self._view = None
        self._look()

    def _label(self) -> None:
        """Show what the rule says, everywhere."""
        preview = self._previews.get(getattr(self, "_now", None))
        if preview is None or self._view is None:
            return
        rule, legend = self.rule, self._legend
        self._canvas.overlay(preview.codes(rule, self._view), self._view.window, legend)
        if self._base.value != "scene" and rule.cloud_filter:
            self._canvas.show(getattr(preview, self._base.value)(rule, self._view), self._view.window)
        self._histogram.draw(rule.thresholds, legend)
        self._shares.value = panels.shares(preview.shares(rule), self._shares_saved(preview, rule), legend)
        self._mark()
        self._settle_later()

    def _shares_saved(self, preview: Preview, rule: Rule) -> dict[int, float]:
        """Return the areas by the cuts last saved; computed once, for the filter takes as long again."""
        key = preview, replace(rule, thresholds=self._saved)
        if self._known_shares[0] != key:
            self._known_shares = key, preview.shares(key[1])
        return self._known_shares[1]

    def _settle(self) -> None:
        """Do what takes longer: score the whole rule on the points, write where the tuner is."""
        self._filtered_score.value = ""
        if self.rule.cloud_filter and len(self.points):
            said, codes = [], []
            for name, places in self._by_scene().items():
                preview = self._preview(name)
                if preview:
                    rows, cols = np.array([(point.row, point.col) for _, point in places]).T
                    said += preview.at(self.rule, rows, cols)[1].tolist()
                    codes += [point.code for _, point in places]
            right = np.equal(said, codes).mean() if said else 0
            self._filtered_score.value = f"<b>{100 * right:.0f} %</b> right with the filter"
        write_json(self._folder / "tuner.json", self._state())

    # Points.

    def _click(self, row: int, col: int) -> None:
        self._change(lambda: self.points.add(self._now, row, col, self._class.value))

    def _undo(self) -> None:
        self._change(self.points.undo)

    def _redo(self) -> None:
        self._change(self.points.redo)

    def _clear(self) -> None:
        self._change(self.points.clear)

    def _remove(self) -> None:
        if self._list.value is not None:
            self._change(lambda: self.points.remove(self._list.value))

    def _change(self, what: Callable[[], object]) -> None:
        try:
            what()
        except InputError as error:
            self._say(str(error), wrong=True)
        else:
            self._say("")
        self._mark()
        self._settle_later()

    def _load(self, uploaded: tuple) -> None:
        for file in uploaded:
            place = self._folder / f"loaded-{Path(file['name']).name}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file["content"])
            try:
                said = self.points.load(place)
            except InputError as error:
                self._say(str(error), wrong=True)
            else:
                self._say(said)
        self._mark()

    def _mark(self) -> None:
        """Show the points, on the picture and in the list, and how the cuts score on them."""
        legend = self._legend
        entries = {entry.code: entry for entry in legend}
        rgb, codes = self.points.pixels()
        said = self.thresholds.classify(rgb) if len(codes) else codes
        listed, marks = [], []
        for point, pixel, code in zip(self.points, rgb, said, strict=True):
            listed.append(
                (f"{entries[point.code].name} · {point.scene} {point.row}, {point.col} · V {pixel.max()}", point)
            )
            if point.scene == self._now:
                marks.append((point.row, point.col, entries[point.code].colour, code == point.code))
        if listed != list(self._list.options):
            chosen = self._list.value
            self._list.options = listed
            self._list.value = chosen if chosen in list(self.points) else None
        self._canvas.mark(marks)
        text = (
            panels.scored(fitting.score(said, codes, [entry.code for entry in legend]), legend)
            if len(codes)
            else ("Click on the picture where you know the class: the cuts can be fitted to some ten points of each.")
        )
        self._score.value = f'<div style="line-height:1.4">{text}</div>'

    def _fitted(self) -> fitting.Fit:
        """Fit the cuts to what the rule decides on: the pixels' brightness, with the filter the corrected one."""
        rgb, codes = self.points.pixels()
        by_cuts = ~self.thresholds.in_ranges(rgb) & (codes <= THICK_ICE)
        rule = self.rule
        for _ in range(2 if rule.cloud_filter else 1):  # what is corrected depends on water_max
            values, population = np.zeros(len(codes), np.uint8), np.zeros(256, np.int64)
            for name, places in self._by_scene().items():
                preview = self._preview(name)
                if preview is None:
                    raise InputError(f"{name}: cannot be opened, so its points cannot be used; remove them or mend it")
                rows, cols = np.array([(point.row, point.col) for _, point in places]).T
                values[[number for number, _ in places]] = preview.at(rule, rows, cols)[0]
                population += np.bincount(preview.brightness(rule), minlength=256)
            start = rule.thresholds.water_max, rule.thresholds.thin_max
            found = fitting.fit(values[by_cuts], codes[by_cuts], population if population.any() else None, start)
            rule = replace(
                rule, thresholds=replace(rule.thresholds, water_max=found.water_max, thin_max=found.thin_max)
            )
        return found

    def _by_scene(self) -> dict[str, list]:
        """Return scene → (number, point) of its points."""
        found: dict[str, list] = {}
        for number, point in enumerate(self.points):
            found.setdefault(point.scene, []).append((number, point))
        return found

    # Files.

    def _provenance(self) -> dict:
        rgb, codes = self.points.pixels()
        legend = [entry.code for entry in self._legend]
        score = fitting.score(self.thresholds.classify(rgb), codes, legend) if len(codes) else None
        return {
            "who": self._who.value,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "scenes": list(self._named),
            "points": len(codes),
            "score": score and {"accuracy": score.accuracy, "interval": list(score.accuracy_range)},
            "rule": {name: value for name, value in self.rule.to_dict().items() if name != "thresholds"},
        }

    def _for_the_batch(self) -> str:
        """Say what a batch must be told, for the thresholds file holds the cuts alone."""
        plain, now = Rule().to_dict(), self.rule.to_dict()
        told = [f"-p {name} {now[name]}" for name in ("cloud_filter", "window", "nodata") if now[name] != plain[name]]
        return f" For a batch as you see it add {' '.join(told).replace('False', 'false')}." if told else ""

    def _state(self) -> dict:
        return {
            "format": FORMAT,
            "start": self._start.to_dict(),
            "thresholds": self.thresholds.to_dict(),
            "rule": {name: getattr(self.rule, name) for name in ("cloud_filter", "window", "nodata")},
            "scene": self._now,
            "vivid": self._vivid.value,
        }

    def _earlier(self) -> dict | None:
        """Return where an earlier tuner in this folder was, if it began with the same cuts."""
        file = self._folder / "tuner.json"
        if not file.is_file():
            return None
        state = read_json(file)
        if state.get("format") != FORMAT:
            raise InputError(f"{file}: not of this version ({FORMAT}); remove it, cuts and points are in other files")
        return state if state["start"] == self._start.to_dict() else None

    def _list_presets(self) -> None:
        own = self._folder / "presets"
        self._preset.options = [("", None), *presets(own if own.is_dir() else None).items()]

    def _use_preset(self, path: Path) -> None:
        try:
            self.set(Thresholds.load(path))
        except InputError as error:
            self._say(str(error), wrong=True)

    def _keep_preset(self) -> None:
        name = "".join(letter for letter in self._name.value if letter.isalnum() or letter in " -_").strip()
        if not name:
            return self._say("Give the preset a name of letters and digits.", wrong=True)
        path = self._folder / "presets" / f"{name}.json"
        self.thresholds.save(path, self._provenance())
        self._list_presets()
        self._say(f"Kept as {path}.")

    # Keys.

    def _key(self, event: dict) -> None:
        if event.get("target", {}).get("tagName") in ("INPUT", "TEXTAREA", "SELECT") or event.get("ctrlKey"):
            return
        key = event["key"]
        codes = [code for _, code in self._class.options]
        if key.isdigit() and 0 < int(key) <= len(codes):
            self._class.value = codes[int(key) - 1]
        elif key in ("z", "y", "n"):
            {"z": self._undo, "y": self._redo, "n": self._next}[key]()
