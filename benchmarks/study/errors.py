"""Where a network's errors come from.

Which of its labels' errors it repeats, which it mends, what it adds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.study.benchmark import Group
from benchmarks.study.material import Material
from seaicekit import evaluation, scenes
from seaicekit.classes import NODATA
from seaicekit.evaluation import CLEAR_TILES, CLOUDY, CLOUDY_TILES
from seaicekit.tiles import mask_outside_tiles

if TYPE_CHECKING:
    import pandas as pd

    from benchmarks.study.networks import Maps


def inherited(material: Material, maps: Maps, rules: Sequence[str], group: Group = "heldout") -> pd.DataFrame:
    """Part networks' errors by whether the automatic label was wrong, too.

    Returns
    -------
    pandas.DataFrame
        By ``rule`` and ``stratum``, shares of the pixels, over all seeds: ``label wrong``; of these
        ``repeated`` (the
        map says what the label says) and ``mended`` (the map says what is true); and ``added`` (the label is
        right and the map is not). ``map wrong`` is what comes of it.
    """
    import pandas as pd

    table, chosen = material.of(group)
    counts: dict[tuple[str, str], Counter] = {}
    for name, row in table.iterrows():
        tiles = chosen[chosen["scene"] == name]
        truth, label = scenes.as_codes(row["truth"]), scenes.as_codes(row["labels"])
        held = (mask_outside_tiles(truth, tiles) != NODATA) & (label != NODATA)
        strata = dict(_strata(truth, tiles))
        for rule in rules:
            for of in maps.values():
                said = scenes.as_codes(of[rule][name])
                for stratum, where in strata.items():
                    seen = held & where
                    wrong = seen & (label != truth)
                    found = {
                        "pixels": seen,
                        "label wrong": wrong,
                        "repeated": wrong & (said == label),
                        "mended": wrong & (said == truth),
                        "added": seen & (label == truth) & (said != truth),
                        "map wrong": seen & (said != truth),
                    }
                    total = counts.setdefault((rule, stratum), Counter())
                    total.update({what: int(np.count_nonzero(each)) for what, each in found.items()})
    found = pd.DataFrame.from_dict(counts, orient="index").rename_axis(["rule", "stratum"])
    return found.drop(columns="pixels").div(found["pixels"], axis=0)


def _strata(truth: np.ndarray, tiles: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Yield where each stratum is, (rows, columns) bool."""
    cloudy = np.zeros(truth.shape, bool)
    for tile in tiles[tiles["cloud"] >= CLOUDY].itertuples():
        cloudy[scenes.Window(tile.row, tile.col, tile.height, tile.width).slices] = True
    edge = evaluation.edges(truth)
    yield from {"all": np.ones(truth.shape, bool), CLEAR_TILES: ~cloudy, CLOUDY_TILES: cloudy}.items()
    yield from {"interior": ~edge, "edge": edge}.items()
