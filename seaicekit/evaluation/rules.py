"""Compare rules on the same pixels with one another and with trivial baselines."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from seaicekit import labels, scenes
from seaicekit.classes import NODATA, SeaIceClass
from seaicekit.evaluation.matrices import OF_CLASS, OVERALL, ice_share, measures, sea_rows, tally
from seaicekit.evaluation.references import common_legend, within_tiles
from seaicekit.evaluation.strata import EDGE, MAJORITY, Stratified, chosen_scenes, stratified
from seaicekit.evaluation.uncertainty import DRAWS, FEW, intervals
from seaicekit.files import InputError
from seaicekit.thresholds import Thresholds

if TYPE_CHECKING:
    import pandas as pd

    from seaicekit.evaluation.inputs import ClassMapping
    from seaicekit.evaluation.strata import ByScene
    from seaicekit.scenes import Raster

FIXED, CALIBRATED, TABLE = "fixed cuts (30, 204)", "calibrated cuts", "three-entry table"


def compare(
    predictions: Mapping[str, Mapping[str, Raster]],
    references: Mapping[str, Raster],
    tiles: pd.DataFrame | None = None,
    *,
    images: Mapping[str, str] | None,
    thresholds: Thresholds | None = None,
    ends: Mapping[str, tuple[int, int] | None] | None = None,
    filtered: Mapping[str, Raster] | None = None,
    table: np.ndarray | None = None,
    tables: Sequence[str] = (),
    classes: ClassMapping | None = None,
    legend: Sequence[SeaIceClass] | None = None,
    edge: int = EDGE,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Score rules and trivial baselines on the same pixels, by stratum and by scene.

    The baselines are "majority class", the reference's commonest over all scenes, everywhere; "fixed cuts
    (30, 204)", the paper's, and "calibrated cuts", on the images as they are; and with ``filtered`` the
    "three-entry table".

    Parameters
    ----------
    predictions : dict
        Rule → scene → class raster.
    references : dict
        Scene → class raster; scored are these scenes.
    tiles : pandas.DataFrame, optional
        Rows of a tile index, such as those of the split "test": only they count, and their ``cloud`` parts
        the strata.
    images : dict, or None
        Scene → image, for the cuts; None where there are no images, and then no cuts stand in the table.
    thresholds : Thresholds, optional
        The calibrated cuts.
    ends : dict, optional
        Scene → brightnesses that the calibrated cuts' rule stretches to 0 and 255; see
        `seaicekit.labels.Rule`.
    filtered : dict, optional
        Scene → what the cloud filter makes of it: its labels, three values. Give it where a rule has
        seen filtered images, since a table of three entries then has the same information.
    table : (256,) uint8, optional
        That table, from `fit_table` on the training tiles.
    tables : sequence of str
        Which of ``predictions`` are table look-ups themselves.
    classes, legend
        As for `seaicekit.evaluate`. The references' classes are mapped, the predictions' are ours.
    edge : int
        How many pixels from a class boundary of the reference are its edge.
    draws, seed : int
        Of the bootstrap over scenes that gives the intervals.

    Returns
    -------
    pandas.DataFrame
        A row a score: ``rule``; ``stratum`` (see `stratified`; "scene" for one scene); ``scene`` (empty for
        all together); ``class`` (empty for all); ``score``: accuracy, balanced_accuracy, majority_accuracy
        (of the stratum's own commonest class), ice_concentration_error (prediction less reference),
        precision, recall, f1, iou, and coverage (pixels to which the rule alone gives a class, of the
        reference's); ``value``, NaN where no pixel is there to take it from; ``low`` and ``high``, the 95 %
        interval of drawing other scenes, NaN with a single one; ``scenes`` and ``pixels`` that it is taken
        from; ``few_scenes``, whether these are under six, when the interval means little; ``table``, whether
        the rule is a table look-up; and ``table_reaches``, whether some table look-up scores as high (for
        ice_concentration_error: is as near to 0), which is then no proof of anything learned.

    Raises
    ------
    InputError
        As for `seaicekit.evaluate`; a scene that is missing somewhere.
    """
    import pandas as pd

    if not predictions:
        raise InputError("compare: give at least one rule, as rule → scene → raster")
    for name in {MAJORITY, FIXED, CALIBRATED, TABLE} & predictions.keys():
        raise InputError(f"compare: {name!r} is the name of a baseline; give your rule another")
    for name in set(tables) - predictions.keys():
        raise InputError(f"tables: no rule {name!r}; there are {', '.join(predictions)}")
    if (filtered is None) != (table is None):
        raise InputError(
            "compare: filtered and table go together; fit the table by seaicekit.evaluation.fit_table"
        )
    optional = {"images": images, "filtered": filtered}
    others = {**predictions, **{what: each for what, each in optional.items() if each is not None}}
    names = chosen_scenes(references, tiles, others)
    if legend is None:
        rasters = [each[name] for each in predictions.values() for name in names]
        further = thresholds.legend if images is not None and thresholds else ()
        legend = common_legend(rasters, [references[name] for name in names], classes, further)
    rules: dict[str, ByScene] = dict(predictions)
    if images is not None:
        rules |= _cuts(images, thresholds, ends or {})
    if filtered is not None:
        rules[TABLE] = lambda name: cv2.LUT(scenes.read_codes(filtered[name]), table)
    matrices = stratified(rules, references, tiles, classes, legend, edge)
    if not matrices.of(MAJORITY).any():
        raise InputError("compare: no pixel has data in all rules and the reference")
    rows = pd.DataFrame([*_score_rows(matrices, draws, seed), *_coverage_rows(matrices)])
    rows["few_scenes"] = rows["scenes"] < FEW
    rows["table"] = rows["rule"].isin({MAJORITY, FIXED, CALIBRATED, TABLE, *tables})
    return rows.assign(table_reaches=_reached(rows))


def _cuts(
    images: Mapping[str, str], thresholds: Thresholds | None, ends: Mapping[str, tuple[int, int] | None]
) -> dict[str, ByScene]:
    """Return the rules that cut the images' brightness, each a function of the scene."""

    @functools.lru_cache(1)
    def read(name: str) -> tuple[np.ndarray, np.ndarray]:
        with scenes.open_reader(images[name]) as reader:
            return reader.read()

    def cut(name: str, cuts: Thresholds, stretch: tuple[int, int] | None = None) -> np.ndarray:
        bands, nodata = read(name)
        return labels.label_raw(labels.stretch_bands(bands, stretch) if stretch else bands, nodata, cuts)

    rules: dict[str, ByScene] = {FIXED: lambda name: cut(name, Thresholds())}
    if thresholds:
        rules[CALIBRATED] = lambda name: cut(name, thresholds, ends.get(name))
    return rules


def _score_rows(by_stratum: Stratified, draws: int, seed: int) -> Iterator[dict]:
    """Yield the scores of each rule in each stratum, those of "all" also by scene."""
    sea = sea_rows(by_stratum.legend)
    for stratum, rules in by_stratum.matrices.items():
        for rule, matrices in rules.items():
            parts = [(stratum, "", matrices)]
            if stratum == "all":
                parts += [("scene", name, matrices[[n]]) for n, name in enumerate(by_stratum.scenes)]
            for part, scene, counts in parts:
                held = counts[counts.any(axis=(1, 2))]
                bounds = intervals(held, draws, seed, sea) if len(held) > 1 else {}
                values, pixels = measures(counts.sum(axis=0), sea), int(counts.sum())
                for place, name, scores in _classes(by_stratum.legend):
                    for score in scores:
                        low, high = bounds[score][(..., *place)] if bounds else (np.nan, np.nan)
                        yield {
                            "rule": rule,
                            "stratum": part,
                            "scene": scene,
                            "class": name,
                            "score": score,
                            "value": float(values[score][place]),
                            "low": float(low),
                            "high": float(high),
                            "scenes": len(held) if not scene else 1,
                            "pixels": pixels,
                        }


def _classes(legend: Sequence[SeaIceClass]) -> list[tuple[tuple, str, Sequence[str]]]:
    """Return index, name and scores of all classes together and of each."""
    return [((), "", OVERALL), *(((row,), entry.name, OF_CLASS) for row, entry in enumerate(legend))]


def _coverage_rows(by_stratum: Stratified) -> Iterator[dict]:
    for rule, pixels in by_stratum.coverage.items():
        scenes_held = int((pixels[:, 1] > 0).sum())
        parts = [("all", "", scenes_held, pixels.sum(axis=0))]
        parts += [("scene", name, 1, one) for name, one in zip(by_stratum.scenes, pixels, strict=True)]
        for stratum, scene, many, (covered, held) in parts:
            yield {
                "rule": rule,
                "stratum": stratum,
                "scene": scene,
                "class": "",
                "score": "coverage",
                "value": covered / held if held else np.nan,
                "low": np.nan,
                "high": np.nan,
                "scenes": many,
                "pixels": int(held),
            }


def _reached(rows: pd.DataFrame) -> pd.Series:
    """Return for each score whether the best table look-up reaches it."""
    height = rows["value"].where(rows["score"] != "ice_concentration_error", -rows["value"].abs())
    keys = [rows[name] for name in ("stratum", "scene", "class", "score")]
    best = height.where(rows["table"]).groupby(keys).transform("max")
    return (best >= height) & ~rows["score"].isin({"majority_accuracy", "coverage"})


def fit_table(
    filtered: Mapping[str, Raster], references: Mapping[str, Raster], tiles: pd.DataFrame | None = None
) -> np.ndarray:
    """Fit the simplest rule for filtered images: for each value of the filter's output, the commonest label.

    Parameters
    ----------
    filtered, references : dict
        Scene → raster of small whole numbers, such as the labels by `seaicekit.autolabel`, and scene →
        class raster of the same shape, both 255 no data.
    tiles : pandas.DataFrame, optional
        The training rows of a tile index: only they are fitted to.

    Returns
    -------
    (256,) uint8
        Value → class code. A value that did not occur gets the commonest label; 255 stays no data.
    """
    counts = np.zeros((256, 256), np.int64)  # by label and value
    for name in chosen_scenes(references, tiles, {"filtered": filtered}):
        values, truth = (scenes.read_codes(each[name]) for each in (filtered, references))
        if values.shape != truth.shape:
            raise InputError(
                f"fit_table: {name} has {values.shape} pixels filtered and {truth.shape} as reference"
            )
        counts += tally(values, within_tiles(truth, name, tiles), 256)
    if not counts.any():
        raise InputError("fit_table: no pixel has data in both; check the scenes' names and the tiles")
    commonest = counts.sum(axis=1).argmax()
    table = np.where(counts.any(axis=0), counts.argmax(axis=0), commonest).astype(np.uint8)
    table[NODATA] = NODATA
    return table


def concentration(
    prediction: Mapping[str, Raster],
    references: Mapping[str, Raster],
    tiles: pd.DataFrame | None = None,
    classes: ClassMapping | None = None,
    legend: Sequence[SeaIceClass] | None = None,
) -> pd.DataFrame:
    """Compare ice concentration, the ice's share of ice and water, scene by scene.

    Returns
    -------
    pandas.DataFrame
        ``scene``, ``pixels`` (with data in both), ``reference``, ``prediction`` (0 to 1), and ``error``,
        prediction less reference. NaN where a scene has no pixel.
    """
    import pandas as pd

    by_stratum = stratified({"map": prediction}, references, tiles, classes, legend)
    sea, matrices = sea_rows(by_stratum.legend), by_stratum.of("map")
    if sea is None:
        raise InputError("concentration: the legend has no water, a class with that word in its name")
    rows = pd.DataFrame({"scene": by_stratum.scenes, "pixels": matrices.sum(axis=(1, 2))})
    rows["reference"], rows["prediction"] = (ice_share(matrices.sum(axis=axis), sea) for axis in (2, 1))
    return rows.assign(error=rows["prediction"] - rows["reference"])
