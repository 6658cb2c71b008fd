"""How the tuner chooses cuts: fitted to points, or suggested by the histogram."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets
import numpy as np
from ipywidgets import HBox

from seaicekit import thresholds
from seaicekit.classes import LEGEND, THICK_ICE
from seaicekit.files import InputError
from seaicekit.labels import Rule
from seaicekit.thresholds import Thresholds
from seaicekit.tuner.panels import button


class Fitting:
    """The fits of `seaicekit.ThresholdTuner`, which has the points and the scenes."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Stand for what the tuner, of which this is a part, has."""

    def fit(self) -> None:
        """Choose the cuts that score best on the points, and say how sure that is."""
        try:
            found = self._fitted()
        except InputError as error:
            return self._say(str(error), wrong=True)
        before = self._share_right()
        self.set(Thresholds(found.water_max, found.thin_max, self._ranges.ranges))
        told, after = list(found.messages), self._share_right()
        if after < before:  # a rare class weighs little where the pixels say how rare it is
            told.insert(
                0,
                f"your own points are worse off, {before:.0%} before and {after:.0%} now; look before you save",
            )
        (w0, w1), (t0, t1) = found.water_range, found.thin_range
        self._say(
            f"Fitted to {len(self.points)} points, so their score flatters: "
            f"water_max {found.water_max} (95 % interval {w0} to {w1}), "
            f"thin_max {found.thin_max} ({t0} to {t1})."
            + "".join(f" {each[0].upper()}{each[1:]}." for each in told)
        )

    def _share_right(self) -> float:
        """Return which share of the points the cuts alone get right."""
        rgb, codes = self.points.pixels()
        return float(np.mean(self.thresholds.classify(rgb) == codes))

    def suggest(self) -> dict[str, Thresholds]:
        """Offer cuts from the scenes' histogram alone, each with its area shares, to be accepted by a click."""
        counts = np.zeros(256, np.int64)
        for name in self._named:
            preview = self._preview(name)
            if preview:
                counts += preview.counts
        try:
            offered = {
                name: Thresholds(*cuts, self._ranges.ranges)
                for name, cuts in thresholds.suggest_cuts(counts).items()
            }
        except InputError as error:
            self._say(str(error), wrong=True)
            return {}
        rows = []
        for name, cuts in offered.items():
            found = np.bincount(cuts.table, counts, minlength=256) / max(1, counts.sum())
            areas = ", ".join(f"{entry.name} {100 * found[entry.code]:.0f} %" for entry in LEGEND)
            accept = button("accept", "make these the cuts", partial(self._accept, cuts), "70px")
            said = f'<div style="line-height:1.3"><b>{name}</b>: {cuts.water_max}, {cuts.thin_max}<br>{areas}</div>'
            rows.append(HBox([accept, ipywidgets.HTML(said)]))
        self._offers.children = rows
        return offered

    def _accept(self, thresholds: Thresholds) -> None:
        self._offers.children = ()
        self.set(thresholds)

    def _fitted(self) -> thresholds.Fit:
        """Fit the cuts to what the rule decides on.

        That is the pixels' brightness for open water, with the filter or without; it shows the filter what is
        water,
        so no fit to corrected brightness could raise that cut. Of ice, it is with the filter the corrected
        one.
        """
        plain = self._fitted_to(Rule.of(self.rule, cloud_filter=False))
        if not self.rule.cloud_filter:
            return plain
        cuts = replace(self.rule.thresholds, water_max=plain.water_max, thin_max=plain.thin_max)
        ice = self._fitted_to(Rule.of(self.rule, thresholds=cuts))
        thin_max = max(plain.water_max, ice.thin_max)
        return replace(ice, water_max=plain.water_max, water_range=plain.water_range, thin_max=thin_max)

    def _fitted_to(self, rule: Rule) -> thresholds.Fit:
        """Fit both cuts to the brightness that a rule sees."""
        rgb, codes = self.points.pixels()
        by_cuts = ~self.thresholds.in_ranges(rgb) & (codes <= THICK_ICE)
        values, population = np.zeros(len(codes), np.uint8), np.zeros(256, np.int64)
        for name, places in self._by_scene().items():
            preview = self._preview(name)
            if preview is None:
                raise InputError(
                    f"{name}: cannot be opened, so its points cannot be used; remove them or mend it"
                )
            rows, cols = np.array([(point.row, point.col) for _, point in places]).T
            values[[number for number, _ in places]] = preview.at(rule, rows, cols)[0]
            population += preview.histogram(rule)
        start = rule.thresholds.water_max, rule.thresholds.thin_max
        return thresholds.fit_cuts(
            values[by_cuts], codes[by_cuts], population if population.any() else None, start
        )

    def _by_scene(self) -> dict[str, list]:
        """Return scene → (number, point) of its points."""
        found: dict[str, list] = {}
        for number, point in enumerate(self.points):
            found.setdefault(point.scene, []).append((number, point))
        return found
