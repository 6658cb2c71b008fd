"""Calibrate as a scientist does: some points of each class, and the scenes' own pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from seaicekit import scenes, thresholds
from seaicekit.classes import LEGEND
from seaicekit.files import InputError
from seaicekit.labels import Rule
from seaicekit.tuner import Preview

if TYPE_CHECKING:
    import pandas as pd

    from seaicekit.scenes import Paths, Raster
    from seaicekit.thresholds import Thresholds

EACH = 15  # points of a class, 45 in all


def draw(truths: Mapping[str, Raster], each: int = EACH, seed: int = 0) -> pd.DataFrame:
    """Draw points of known class, as many of each, from scenes at random.

    ``scene``, ``row``, ``col``, ``code``.

    Raises
    ------
    InputError
        A class that no scene holds.
    """
    import pandas as pd

    rng, rows = np.random.default_rng(seed), []
    codes = {name: scenes.as_codes(raster) for name, raster in truths.items()}
    for entry in LEGEND:
        places = {name: np.flatnonzero(each_codes == entry.code) for name, each_codes in codes.items()}
        places = {name: found for name, found in places.items() if found.size}
        if not places:
            raise InputError(f"points: no scene holds {entry.name}; give more or larger scenes")
        for name in rng.choice(list(places), each):
            row, col = np.unravel_index(rng.choice(places[name]), codes[name].shape)
            rows.append({"scene": str(name), "row": int(row), "col": int(col), "code": entry.code})
    return pd.DataFrame(rows)


def calibrate(points: pd.DataFrame, paths: Paths, rule: Rule) -> Thresholds:
    """Fit a rule's two cuts to points.

    Water is what the image's own brightness says, with the cloud filter or without. So the cut of water is
    always
    fitted to that, and with the filter only the other cut to the corrected brightness: pixels brighter than
    the first cut show the filter alone what they are, so no fit to corrected brightness could ever raise it.

    Parameters
    ----------
    points : pandas.DataFrame
        As from `draw`.
    paths : dict
        Scene → path; the pixels of all of them say how common each class is.
    rule : Rule
        Its ``cloud_filter`` says whether it filters; its cuts are those to begin with.
    """
    plain = _fit(points, paths, Rule.of(rule, cloud_filter=False))
    if not rule.cloud_filter:
        return plain
    thin_max = _fit(points, paths, Rule.of(rule, thresholds=plain)).thin_max
    return replace(plain, thin_max=max(plain.water_max, thin_max))


def _fit(points: pd.DataFrame, paths: Any, rule: Rule) -> Thresholds:
    """Fit both cuts to the brightness that the rule decides on."""
    values, population = np.zeros(len(points), np.uint8), np.zeros(256, np.int64)
    for name, path in paths.items():
        preview = Preview(path)
        population += preview.histogram(rule)
        chosen = np.flatnonzero(points["scene"] == name)
        if chosen.size:
            rows, cols = (points[column].to_numpy()[chosen] for column in ("row", "col"))
            values[chosen] = preview.at(rule, rows, cols)[0]
    start = rule.thresholds.water_max, rule.thresholds.thin_max
    found = thresholds.fit_cuts(values, points["code"].to_numpy(), population, start)
    return replace(rule.thresholds, water_max=found.water_max, thin_max=found.thin_max)
