"""The threshold tuner: move a cut and see what it changes; click points and fit the cuts to them."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets
import numpy as np

from seaicekit import scenes, thresholds
from seaicekit.classes import LEGEND, THICK_ICE, Legend
from seaicekit.files import InputError, write_json
from seaicekit.labels import Rule
from seaicekit.thresholds import ReferencePoints, Thresholds, UnsavedError
from seaicekit.tuner import panels
from seaicekit.tuner.calibrate import fit_points
from seaicekit.tuner.events import Debounce
from seaicekit.tuner.page import Page
from seaicekit.tuner.preview import Preview, View
from seaicekit.tuner.state import FORMAT, OPTIONS, batch_options, provenance, read_state

if TYPE_CHECKING:
    from seaicekit.scenes import Paths

OPEN = 4  # scenes kept open at once
SETTLE = 0.5  # seconds without a change after which the state is written
LOOK = 0.05  # seconds without a move after which a new view is read


class ThresholdTuner(Page):
    """Calibrate the cuts on scenes: by eye, and on points that you click.

    Keys, with the mouse over the tuner: 1, 2, 3 … choose the class of the next point, z undoes and y redoes
    a point, n goes to the next scene.

    Parameters
    ----------
    paths : paths
        The scenes; their cuts are shared. One that cannot be opened is passed over with a message.
    thresholds : Thresholds, optional
        The cuts to begin with; by default those saved in ``folder``, else the paper's.
    folder : path
        Gets ``points.geojson`` with every click, ``thresholds.json`` by `save`, ``presets/``, and
        ``tuner.json``, from which a new tuner with the same ``thresholds`` goes on.

    Attributes
    ----------
    thresholds : Thresholds
        The current cuts.
    rule : seaicekit.labels.Rule
        The current cuts and what is done before them.
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
        self._open_preview: Callable[[Any], Preview] = functools.lru_cache(maxsize=OPEN)(Preview)
        self._settle_later: Callable[[], None] = Debounce(SETTLE, lambda: self._status.call(self._settle))
        self._look_later: Callable[[], None] = Debounce(LOOK, lambda: self._status.call(self._look))
        file = self._folder / "thresholds.json"
        self._initial = thresholds
        self._saved = thresholds or (Thresholds.load(file) if file.is_file() else Thresholds())
        start: Any = Rule(self._saved, cloud_filter=False), (), None
        rule, classes, scene = read_state(self._folder / "tuner.json", thresholds) or start
        self._entries = {entry.code: entry for entry in (*classes, *rule.thresholds.legend)}
        points = self._folder / "points.geojson"
        self.points = ReferencePoints(self._named, points, tuple(self._entries.values()))
        self._scored: tuple[Any, Any] = (None, None)
        self._now = ""  # the scene's name
        self._current: Preview | None = None
        self._view: View | None = None
        self._state: dict | None = None  # as last written
        self._setting = False
        self._build(rule)
        first = [scene] if scene in self._named else []
        if not any(self._open(name) for name in [*first, *self._named]):
            raise InputError(f"scenes: none can be opened; {self._status.tooltip or 'none is given'}")
        self._state = self._describe()
        if self.points.message:
            self._status.show(f"{points}: {self.points.message}")

    @property
    def thresholds(self) -> Thresholds:
        """The current cuts."""
        water, thin = (slider.value for slider in self._sliders.values())
        return Thresholds(water, thin, self._ranges.ranges)

    @property
    def rule(self) -> Rule:
        """The current cuts and what is done before them."""
        return Rule(self.thresholds, **self._before.values())

    def set(self, thresholds: Thresholds) -> None:
        """Make these the cuts."""
        self._setting = True
        for name, slider in self._sliders.items():
            slider.value = getattr(thresholds, name)
        if thresholds.ranges != self._ranges.ranges:
            self._ranges.set(thresholds.ranges)
        self._setting = False
        self._show_labels()

    def save(self, path: str | os.PathLike | None = None) -> None:
        """Write the current cuts, with who chose them, when, on which scenes and points, and their score.

        Parameters
        ----------
        path : path, optional
            ``thresholds.json`` in the tuner's folder, if none is given.
        """
        path = Path(path or self._folder / "thresholds.json")
        self.thresholds.save(path, self._provenance())
        self._saved = self.thresholds
        self._show_labels()
        self._status.show(f"Saved {path}.{batch_options(self.rule)}")

    def fit(self) -> None:
        """Choose the cuts that score best on the points, and show how sure that is."""
        rgb, codes = self.points.pixels()
        by_cuts = ~self.thresholds.in_ranges(rgb) & (codes <= THICK_ICE)
        points = self.points.table[by_cuts]
        previews = {name: self._open_preview(self._named[name]) for name in points["scene"].unique()}
        fit = fit_points(points, previews, self.rule)
        before = np.mean(self.thresholds.classify(rgb) == codes)
        self.set(Thresholds(fit.water_max, fit.thin_max, self._ranges.ranges))
        after, messages = np.mean(self.thresholds.classify(rgb) == codes), list(fit.messages)
        if after < before:  # a rare class weighs little where the pixels show how rare it is
            messages.insert(0, f"your own points are worse off, {before:.0%} before and {after:.0%} now")
        (w0, w1), (t0, t1) = fit.water_range, fit.thin_range
        self._status.show(
            f"Fitted to {len(codes)} points, so their score flatters: "
            f"water_max {fit.water_max} (95 % interval {w0} to {w1}), "
            f"thin_max {fit.thin_max} ({t0} to {t1})."
            + "".join(f" {message[0].upper()}{message[1:]}." for message in messages)
        )

    def suggest(self) -> dict[str, Thresholds]:
        """Offer cuts from the scenes' histogram alone, each with its areas, to be accepted by a click."""
        counts = np.zeros(256, np.int64)
        for preview in filter(None, map(self._preview, self._named)):
            counts += preview.counts
        offers, rows = {}, []
        for name, pair in thresholds.suggest_cuts(counts).items():
            cuts = offers[name] = Thresholds(*pair, self._ranges.ranges)
            shares = np.bincount(cuts.table, counts, minlength=256) / max(1, counts.sum())
            areas = ", ".join(f"{entry.name} {100 * shares[entry.code]:.0f} %" for entry in LEGEND)
            text = f'<div style="line-height:1.3"><b>{name}</b>: {pair[0]}, {pair[1]}<br>{areas}</div>'
            accept = functools.partial(self._accept, cuts)
            button = self._status.button("accept", "make these the cuts", accept, "70px")
            rows.append(ipywidgets.HBox([button, ipywidgets.HTML(text)]))
        self._offers.children = rows
        return offers

    def _accept(self, cuts: Thresholds) -> None:
        self._offers.children = ()
        self.set(cuts)

    # Scenes.

    def _preview(self, name: str) -> Preview | None:
        try:
            return self._open_preview(self._named[name])
        except InputError as error:
            self._status.show(f"{name} is passed over: {error}", error=True)
            return None

    def _open(self, name: str) -> bool:
        preview = self._preview(name)
        if preview:
            self._now, self._current = name, preview
            self._histogram.count(preview.counts)
            self._canvas.fit(preview.shape)
            self._refresh()
        self._scene.value = self._now or name  # a scene that cannot be opened leaves the current one
        return preview is not None

    def _choose_scene(self, name: str) -> None:
        if name != self._now:
            self._open(name)

    def _next(self) -> None:
        names = list(self._named)
        at = names.index(self._now) + 1
        any(self._open(name) for name in names[at:] + names[:at])

    def _refresh(self, *_: Any) -> None:
        """Read and show the view anew; a window that the rule or the scene refuses becomes the usual one."""
        self._view = None
        try:
            self._look()
        except InputError as error:
            self._before.window.value = str(Rule().window)
            self._status.show(str(error), error=True)

    def _look(self) -> None:
        """Read and show the part of the scene that is on the screen, unless it is the one that is shown."""
        if self._current is None:
            return
        rule = Rule.of(self.rule, cloud_filter=self.rule.cloud_filter or self._base.value != "scene")
        view = self._current.view(self._canvas.visible, rule)
        if self._view is None or view.window != self._view.window:
            self._view = view
            if self._base.value == "scene":
                self._canvas.show(view.picture, view.window)
            self._show_labels()

    # Cuts.

    def _cut(self, name: str, value: int) -> None:
        """Move one cut; the other one gives way."""
        if not self._setting:
            water, thin = (slider.value for slider in self._sliders.values())
            water, thin = (value, max(thin, value)) if name == "water_max" else (min(water, value), value)
            self.set(Thresholds(water, thin, self._ranges.ranges))

    def _show_labels(self) -> None:
        """Show what the rule makes of the view: classes, histogram, areas, points."""
        self._offer_classes()
        preview, view = self._current, self._view
        if preview is None or view is None:
            return
        rule, legend = self.rule, self._legend
        if self._base.value != "scene":
            self._canvas.show(getattr(preview, self._base.value)(rule, view), view.window)
        self._canvas.overlay(preview.codes(rule, view), view.window, legend)
        self._histogram.draw(rule.thresholds, legend)
        saved = preview.shares(Rule.of(rule, thresholds=self._saved))
        exact = preview.counts_all(rule)
        self._shares.value = panels.share_table(preview.shares(rule), saved, legend, exact)
        self._show_points()
        self._settle_later()

    @property
    def _legend(self) -> Legend:
        """The cuts' classes, and those that only points have, since their range was removed."""
        codes = {point.code for point in self.points} | set(self.thresholds.legend.codes)
        return Legend(self._entries[code] for code in sorted(codes))

    def _offer_classes(self) -> None:
        """Offer the cuts' classes for the next point."""
        legend = self.thresholds.legend
        self._entries |= {entry.code: entry for entry in legend}
        options = [(f"{number} {entry.name}", entry.code) for number, entry in enumerate(legend, 1)]
        if tuple(options) != tuple(self._class.options):
            chosen = self._class.value
            self._class.options = options
            self._class.value = chosen if chosen in dict(options).values() else options[0][1]
        self.points.add_classes(legend)

    # Presets.

    def _list_presets(self) -> None:
        own = self._folder / "presets"
        names = thresholds.presets(own if own.is_dir() else None)
        self._preset.options = [("", None), *names.items()]

    def _use_preset(self, path: Path | None) -> None:
        if path is None:
            return
        cuts = Thresholds.load(path)
        for entry in cuts.legend:
            known = self._entries.get(entry.code, entry).name
            if known != entry.name:
                raise InputError(f"{path}: class {entry.code} is {entry.name}, here {known}; renumber one")
        self.set(cuts)

    def _keep_preset(self) -> None:
        name = "".join(letter for letter in self._name.value if letter.isalnum() or letter in " -_").strip()
        if not name:
            raise InputError("Give the preset a name of letters and digits.")
        path = self._folder / "presets" / f"{name}.json"
        self.thresholds.save(path, self._provenance())
        self._list_presets()
        self._status.show(f"Kept as {path}.")

    def _provenance(self) -> dict:
        return provenance(self.rule, self.points, self._who.value, self._named)

    # Points.

    def _click(self, row: int, col: int) -> None:
        self._change(lambda: self.points.add(self._now, row, col, self._class.value))

    def _remove(self) -> None:
        if self._list.value is not None:
            self._change(lambda: self.points.remove(self._list.value))

    def _change(self, function: Callable[[], object]) -> None:
        """Change the points, and show them."""
        self._status.show("")
        try:
            function()
        except UnsavedError as error:
            self._status.call(self._take_in, error)
        except InputError as error:
            self._status.show(str(error), error=True)
        self._show_points()
        self._settle_later()

    def _take_in(self, error: UnsavedError) -> None:
        """Read the points' file, which another program has written, and save all points."""
        path = self.points.path
        if path is None or not Path(path).is_file():
            raise error
        try:
            self._status.show(f"{path} was changed elsewhere; taken in: {self.points.load(path)}")
        except InputError as broken:
            rescue = self._folder / "points.rescued.geojson"
            self.points.save(rescue)
            raise InputError(f"{broken}; yours are in {rescue}, also what you click from here on") from error

    def _load(self, uploaded: tuple) -> None:
        for file in uploaded:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / Path(file["name"]).name
                path.write_bytes(file["content"])
                self._change(functools.partial(self._load_file, path))

    def _load_file(self, path: Path) -> None:
        self._status.show(self.points.load(path))

    def _show_points(self) -> None:
        """Show the points, on the picture and in the list, and how the cuts score on them."""
        legend = self._legend
        entries = {entry.code: entry for entry in legend}
        rgb, codes = self.points.pixels()
        labels, how = self.thresholds.classify(rgb) if len(codes) else codes, "by the cuts alone"
        if self.rule.cloud_filter and self._scored[0] == (self.rule, tuple(self.points)):
            labels, how = self._scored[1], "with the filter"
        listed, marks = [], []
        for point, pixel, label in zip(self.points, rgb, labels, strict=True):
            entry, place = entries[point.code], f"{point.scene} {point.row}, {point.col}"
            listed.append((f"{entry.name} · {place} · V {pixel.max()}", point))
            if point.scene == self._now:
                marks.append((point.row, point.col, entry.colour, label == point.code))
        if listed != list(self._list.options):
            chosen = self._list.value
            self._list.options = listed
            self._list.value = chosen if chosen in list(self.points) else None
        self._canvas.mark(marks)
        text = "Click on the picture where you know the class: some ten points of each will do for a fit."
        if len(codes):
            score = thresholds.score_classes(labels, codes, list(entries))
            text = panels.score_table(score, legend, how)
        self._score.value = f'<div style="line-height:1.4">{text}</div>'

    # What takes longer.

    def _settle(self) -> None:
        """Score the whole rule on the points, and write where the tuner is."""
        rule, points = self.rule, tuple(self.points)
        if rule.cloud_filter and points:
            labels = np.zeros(len(points), np.uint8)
            for name, rows in self.points.table.groupby("scene"):
                preview = self._preview(name)
                if preview is None:
                    return
                labels[rows.index] = preview.at(rule, rows["row"], rows["col"])[1]
            self._scored = (rule, points), labels
            self._show_points()
        state = self._describe()
        # A batch run, in which nobody moves anything, leaves no such file.
        if self._state is not None and state != self._state:
            write_json(self._folder / "tuner.json", state)
            self._state = state

    def _describe(self) -> dict:
        """Return where the tuner is, for `read_state`."""
        rule = self.rule
        return {
            "format": FORMAT,
            "initial": self._initial and self._initial.to_dict(),
            "thresholds": rule.thresholds.to_dict(),
            "rule": {name: getattr(rule, name) for name in OPTIONS},
            "classes": Legend(entry for entry in self._entries.values() if entry not in LEGEND).to_json(),
            "scene": self._now,
        }
