"""Fit the cuts of a rule to points in scenes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from seaicekit.labels import Rule
from seaicekit.thresholds import Fit, Thresholds, fit_cuts
from seaicekit.tuner.preview import Preview

if TYPE_CHECKING:
    import pandas as pd


def fit_points(points: pd.DataFrame, previews: Mapping[str, Preview], rule: Rule) -> Fit:
    """Fit a rule's two cuts to points of known class.

    Open water is decided by the image's own brightness, with the cloud filter or without. So ``water_max`` is
    always fitted to that, and with the filter only ``thin_max`` to the corrected brightness: the filter
    corrects only pixels brighter than ``water_max``, so no fit to its result could ever raise that cut.

    Parameters
    ----------
    points : pandas.DataFrame
        ``scene``, ``row``, ``col`` and ``code``, one of 0 to 2.
    previews : dict
        Scene → its preview; the pixels of all of them show how common each class is.
    rule : Rule
        Its cuts are those to begin with.

    Raises
    ------
    InputError
        There is no point, or a scene cannot be read.
    """
    plain = _fit(points, previews, Rule.of(rule, cloud_filter=False))
    if not rule.cloud_filter:
        return plain
    cuts = Thresholds.of(rule.thresholds, water_max=plain.water_max, thin_max=plain.thin_max)
    ice = _fit(points, previews, Rule.of(rule, thresholds=cuts))
    thin_max = max(plain.water_max, ice.thin_max)
    return replace(ice, water_max=plain.water_max, water_range=plain.water_range, thin_max=thin_max)


def _fit(points: pd.DataFrame, previews: Mapping[str, Preview], rule: Rule) -> Fit:
    """Fit both cuts to the brightness that a rule decides on."""
    values, population = np.zeros(len(points), np.uint8), np.zeros(256, np.int64)
    for name, preview in previews.items():
        here = (points["scene"] == name).to_numpy()
        values[here] = preview.at(rule, *points.loc[here, ["row", "col"]].to_numpy().T)[0]
        population += preview.histogram(rule)
    start = rule.thresholds.water_max, rule.thresholds.thin_max
    return fit_cuts(values, points["code"].to_numpy(), population if population.any() else None, start)
