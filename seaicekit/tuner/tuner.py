"""The threshold tuner: move a cut, see what it changes; click what you know, fit to it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ipywidgets import HBox, Layout

from seaicekit import scenes, thresholds
from seaicekit.classes import Legend, SeaIceClass
from seaicekit.files import InputError, write_json
from seaicekit.labels import Rule
from seaicekit.thresholds import ReferencePoints, Thresholds, UnsavedError
from seaicekit.tuner import panels
from seaicekit.tuner.calibrate import Fitting
from seaicekit.tuner.events import Keys, Later
from seaicekit.tuner.page import Page
from seaicekit.tuner.preview import Preview, View
from seaicekit.tuner.record import Files

if TYPE_CHECKING:
    from seaicekit.scenes import Paths

OPEN = 4  # scenes kept open at once
SETTLED, MOVED = (
    0.5,
    0.05,
)  # seconds without a change after which the state is written, and a new view is read


class ThresholdTuner(Page, Fitting, Files):
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
    points : seaicekit.thresholds.ReferencePoints

    Raises
    ------
    InputError
        No scene can be opened, or the folder's files are broken.
    """

    def __init__(
        self, paths: Paths, thresholds: Thresholds | None = None, folder: str | os.PathLike = "calibration"
    ):
        self._named, self._folder = scenes.name_scenes(paths), Path(folder)
        self._previews: dict[str, Preview] = {}
        self._settle_later: Callable[[], None] = Later(SETTLED, lambda: self._try(self._settle))
        self._look_later = Later(MOVED, lambda: self._try(self._look))
        file = self._folder / "thresholds.json"
        saved = Thresholds.load(file) if file.is_file() and not thresholds else None
        self._given, self._start = thresholds, thresholds or saved or Thresholds()
        self._saved, self._setting = saved or self._start, False
        self._entries: dict[int, SeaIceClass] = {}
        self._known_shares: tuple = (None, {})
        self._decided: tuple = (None, None)
        self._written: dict | None = None
        self._now: Any = None  # the scene's name
        self._shown: str | None = None
        state = self._earlier()
        cuts = Thresholds.from_dict(state["thresholds"]) if state else self._start
        further = Legend.from_json(state["classes"]) if state else []
        self._entries |= {entry.code: entry for entry in (*further, *cuts.legend)}
        self.points = ReferencePoints(
            self._named, self._folder / "points.geojson", tuple(self._entries.values())
        )
        self._build()
        keys = Keys("seaicekit-tuner", "123456789zyn", self._key)
        row = HBox([self._left, self._right], layout=Layout(flex_flow="row wrap", align_items="flex-start"))
        super().__init__([self._top, row, keys])
        self.add_class("seaicekit-tuner")
        if state:
            self.set(cuts)
            self._before.set(state["rule"])
        first: Any = (
            state["scene"] if state and state["scene"] in self._named else next(iter(self._named), None)
        )
        if not any(self._open(name) for name in [first, *self._named]):
            raise InputError(f"scenes: none can be opened; {self._status.tooltip or 'none is given'}")
        self._written = self._state()
        if self.points.message:
            self._say(f"{self._folder / 'points.geojson'}: {self.points.message}")

    # What stands.

    @property
    def thresholds(self) -> Thresholds:
        """The cuts as they stand."""
        return Thresholds(
            self._sliders["water_max"].value, self._sliders["thin_max"].value, self._ranges.ranges
        )

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

    # Scenes.

    def _preview(self, name: str) -> Preview | None:
        if name in self._previews:
            self._previews[name] = self._previews.pop(name)  # the last one used is the last to go
        else:
            try:
                made = Preview(self._named[name])
            except InputError as error:
                self._say(f"{name} is passed over: {error}", wrong=True)
                return None
            while len(self._previews) >= OPEN:
                self._previews.pop(next(each for each in self._previews if each != self._now))
            self._previews[name] = made
        return self._previews[name]

    def _open(self, name: str) -> bool:
        preview = self._preview(name)
        if preview is None:
            if self._now in self._named:  # back to the one that is on the screen
                self._scene.value = self._now
            return False
        self._now = name
        if self._scene.value != name:
            self._scene.value = name
        self._view: View | None = None
        self._histogram.count(preview.counts)
        self._canvas.fit(preview.shape)
        try:
            self._look()
        except InputError as error:  # a window in metres, and a scene that has none
            self._before.window.value = str(Rule().window)
            self._say(str(error), wrong=True)
        return True

    def _next(self) -> None:
        listed = list(self._named)
        at = listed.index(self._now)
        for name in (*listed[at + 1 :], *listed[: at + 1]):
            if self._open(name):
                return

    def _look(self) -> None:
        """Show what is seen now: after a move, another scene, another picture."""
        preview = self._previews.get(self._now)
        if preview is None:
            return
        rule = self.rule
        seen = self._canvas.seen
        view = preview.view(
            seen, Rule.of(rule, cloud_filter=rule.cloud_filter or self._base.value != "scene")
        )
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
            if self._now in self._previews:
                self._previews[self._now].codes(self.rule)
        except InputError as error:
            self._before.window.value = str(Rule().window)
            return self._say(str(error), wrong=True)
        self._view = None
        self._look()

    def _label(self) -> None:
        """Show what the rule says, everywhere."""
        preview = self._previews.get(self._now)
        if preview is None or self._view is None:
            return
        rule, legend = self.rule, self._legend
        self._canvas.overlay(preview.codes(rule, self._view), self._view.window, legend)
        if self._base.value != "scene":
            self._canvas.show(getattr(preview, self._base.value)(rule, self._view), self._view.window)
        self._histogram.draw(rule.thresholds, legend)
        self._shares.value = panels.shares(
            preview.shares(rule), self._shares_saved(preview, rule), legend, preview.counts_all(rule)
        )
        self._mark()
        self._settle_later()

    def _shares_saved(self, preview: Preview, rule: Rule) -> dict[int, float]:
        """Return the areas by the cuts last saved; computed once, for the filter takes as long again."""
        key = preview, Rule.of(rule, thresholds=self._saved)
        if self._known_shares[0] != key:
            self._known_shares = key, preview.shares(key[1])
        return self._known_shares[1]

    def _settle(self) -> None:
        """Do what takes longer: score the whole rule on the points, write where the tuner is."""
        if self.rule.cloud_filter and len(self.points):
            said = np.zeros(len(self.points), np.uint8)
            for name, places in self._by_scene().items():
                preview = self._preview(name)
                if preview is None:
                    return
                rows, cols = np.array([(point.row, point.col) for _, point in places]).T
                said[[number for number, _ in places]] = preview.at(self.rule, rows, cols)[1]
            self._decided = (self.rule, tuple(self.points)), said
            self._mark()
        state = self._state()
        if (
            self._written is not None and state != self._written
        ):  # a batch run, in which nobody moves anything, leaves no such file
            write_json(self._folder / "tuner.json", state)
            self._written = state

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
        self._say("")
        try:
            what()
        except UnsavedError as error:
            self._try(self._take_in, error)
        except InputError as error:
            self._say(str(error), wrong=True)
        self._mark()
        self._settle_later()

    def _take_in(self, error: UnsavedError) -> None:
        """Go on after another program has written the points' file: take its points in, and save all."""
        path = self.points.path
        if path is None or not Path(path).is_file():
            raise error
        try:
            self._say(f"{path} was changed elsewhere; taken in: {self.points.load(path)}")
        except InputError as broken:
            rescue = self._folder / "points.rescued.geojson"
            self.points.save(rescue)
            raise InputError(f"{broken}; yours are in {rescue}, also what you click from here on") from error

    def _load_file(self, path: Path) -> None:
        self._say(self.points.load(path))

    def _load(self, uploaded: tuple) -> None:
        for file in uploaded:
            with tempfile.TemporaryDirectory() as folder:
                place = Path(folder) / Path(file["name"]).name
                place.write_bytes(file["content"])
                self._try(self._load_file, place)
        self._mark()
        self._settle_later()

    def _mark(self) -> None:
        """Show the points, on the picture and in the list, and how the cuts score on them."""
        legend = self._legend
        entries = {entry.code: entry for entry in legend}
        rgb, codes = self.points.pixels()
        said, how = self.thresholds.classify(rgb) if len(codes) else codes, "by the cuts alone"
        if self.rule.cloud_filter and self._decided[0] == (self.rule, tuple(self.points)):
            said, how = self._decided[1], "with the filter"
        listed, marks = [], []
        for point, pixel, code in zip(self.points, rgb, said, strict=True):
            listed.append(
                (
                    f"{entries[point.code].name} · {point.scene} {point.row}, {point.col} · V {pixel.max()}",
                    point,
                )
            )
            if point.scene == self._now:
                marks.append((point.row, point.col, entries[point.code].colour, code == point.code))
        if listed != list(self._list.options):
            chosen = self._list.value
            self._list.options = listed
            self._list.value = chosen if chosen in list(self.points) else None
        self._canvas.mark(marks)
        text = (
            panels.scored(thresholds.score_classes(said, codes, legend.codes), legend, how)
            if len(codes)
            else (
                "Click on the picture where you know the class: the cuts can be fitted to some ten points of each."
            )
        )
        self._score.value = f'<div style="line-height:1.4">{text}</div>'

    # Keys.

    def _key(self, key: str) -> None:
        codes = [code for _, code in self._class.options]
        if key in "zyn":
            self._try({"z": self._undo, "y": self._redo, "n": self._next}[key])
        elif int(key) <= len(codes):
            self._class.value = codes[int(key) - 1]
