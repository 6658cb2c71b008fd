"""Rules beside one another on the same pixels, and beside what knows next to nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seaicekit import scenes, tiles
from seaicekit.classes import NODATA, SeaIceClass
from seaicekit.evaluation import inputs
from seaicekit.evaluation.matrices import OF_CLASS, OVERALL, ice_share, measures, sea_rows, tally
from seaicekit.evaluation.references import by_scene, evaluate
from seaicekit.evaluation.strata import CALIBRATED, EDGE, FIXED, MAJORITY, TABLE, Stratified, stratified
from seaicekit.evaluation.uncertainty import DRAWS, FEW, drawn, interval, weights
from seaicekit.files import InputError
from seaicekit.tiles import mask_outside_tiles

if TYPE_CHECKING:
    import pandas as pd

    from seaicekit.evaluation.inputs import Mapped
    from seaicekit.evaluation.strata import ByScene
    from seaicekit.scenes import Raster
    from seaicekit.thresholds import Thresholds


def compare(
    predictions: Mapping[str, ByScene],
    references: ByScene,
    tiles: pd.DataFrame | None = None,
    *,
    images: Mapping[str, str] | None,
    thresholds: Thresholds | None = None,
    ends: Mapping[str, tuple[int, int] | None] | None = None,
    filtered: ByScene | None = None,
    table: np.ndarray | None = None,
    tables: Sequence[str] = (),
    classes: Mapped | None = None,
    legend: Sequence[SeaIceClass] | None = None,
    edge: int = EDGE,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Score rules on the same pixels, by stratum and by scene, beside what knows next to nothing.

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
        Scene → what the cloud filter makes of it: its labels, three values. To be given where a rule has
        seen filtered images, for then a table of three entries knows as much.
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
        (of
        the stratum's own commonest class), ice_concentration_error (prediction less reference), precision,
        recall, f1, iou, and coverage (pixels to which the rule alone gives a class, of the reference's);
        ``value``, NaN where no pixel is there to take it from; ``low`` and ``high``, the 95 % interval of
        drawing other scenes, NaN with a single one; ``scenes`` and ``pixels`` that it is taken from;
        ``few_scenes``, whether these are under six, when the interval means little; ``table``, whether the
        rule is a table look-up; and ``table_reaches``, whether some table look-up scores as high (for
        ice_concentration_error: is as near to 0), which is then no proof of anything learned.

    Raises
    ------
    InputError
        As for `seaicekit.evaluate`; a scene that is missing somewhere.
    """
    import pandas as pd

    unknown = set(tables) - predictions.keys()
    if unknown:
        raise InputError(f"tables: no rule {unknown.pop()!r}; there are {', '.join(predictions)}")
    found = stratified(
        predictions,
        references,
        tiles,
        images=images,
        thresholds=thresholds,
        ends=ends,
        filtered=filtered,
        table=table,
        classes=classes,
        legend=legend,
        edge=edge,
    )
    if not found.of(MAJORITY).any():
        raise InputError("compare: no pixel has data in all rules and the reference")
    sea, parts = sea_rows(found.legend), []
    for stratum, rules in found.matrices.items():
        for rule, matrices in rules.items():
            held = matrices.sum(axis=(1, 2)) > 0
            many = int(held.sum())
            whole = measures(matrices.sum(axis=0), sea)
            bounds: dict[str, Any] = {}
            if many > 1:
                made = drawn(matrices[held], weights(many, draws, seed), sea)
                bounds = {score: interval(values) for score, values in made.items()}
            parts.append(_rows(whole, bounds, found.legend, rule, stratum, "", many, int(matrices.sum())))
            if stratum == "all":
                for name, matrix in zip(found.scenes, matrices, strict=True):
                    one = measures(matrix, sea)
                    parts.append(_rows(one, {}, found.legend, rule, "scene", name, 1, int(matrix.sum())))
    rows = pd.DataFrame([row for part in parts for row in part] + _coverage(found))
    rows["few_scenes"] = rows["scenes"] < FEW
    rows["table"] = rows["rule"].isin({MAJORITY, FIXED, CALIBRATED, TABLE, *tables})
    return rows.assign(table_reaches=_reached(rows))


def _rows(
    found: dict,
    ends: dict,
    legend: Sequence[SeaIceClass],
    rule: str,
    stratum: str,
    scene: str,
    many: int,
    pixels: int,
) -> list[dict]:
    place = {"rule": rule, "stratum": stratum, "scene": scene}
    rows = []
    for row, name in [(None, "")] + [(row, entry.name) for row, entry in enumerate(legend)]:
        for score in OVERALL if row is None else OF_CLASS:
            at = () if row is None else row
            low, high = (float(end[at]) for end in ends[score]) if score in ends else (np.nan, np.nan)
            value = {"value": float(found[score][at]), "low": low, "high": high}
            rows.append(place | {"class": name, "score": score} | value | {"scenes": many, "pixels": pixels})
    return rows


def _coverage(found: Stratified) -> list[dict]:
    rows = []
    for rule, pixels in found.coverage.items():
        for stratum, scene, (given, held) in [("all", "", pixels.sum(axis=0))] + [
            ("scene", name, one) for name, one in zip(found.scenes, pixels, strict=True)
        ]:
            place = {"rule": rule, "stratum": stratum, "scene": scene, "class": "", "score": "coverage"}
            value = {"value": given / held if held else np.nan, "low": np.nan, "high": np.nan}
            many = 1 if scene else int((pixels[:, 1] > 0).sum())
            rows.append(place | value | {"scenes": many, "pixels": int(held)})
    return rows


def _reached(rows: pd.DataFrame) -> pd.Series:
    """Say of each score whether the best table look-up reaches it."""
    height = rows["value"].where(rows["score"] != "ice_concentration_error", -rows["value"].abs())
    keys = [rows[name] for name in ("stratum", "scene", "class", "score")]
    best = height.where(rows["table"]).groupby(keys).transform("max")
    return (best >= height) & ~rows["score"].isin({"majority_accuracy", "coverage"})


def fit_table(filtered: ByScene, references: ByScene, tiles: pd.DataFrame | None = None) -> np.ndarray:
    """Fit the simplest rule for filtered images.

    For each value that the filter puts out, the commonest label.

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
    filtered, references = by_scene(filtered), by_scene(references)
    names = [name for name in references if tiles is None or (tiles["scene"] == name).any()]
    counts = np.zeros((256, 256), np.int64)
    for name in names:
        if name not in filtered:
            raise InputError(f"fit_table: filtered lacks scene {name}; give the same scenes to both")
        seen, truth = (scenes.as_codes(each[name]) for each in (filtered, references))
        if seen.shape != truth.shape:
            raise InputError(
                f"fit_table: {name} has {seen.shape} pixels filtered and {truth.shape} as reference"
            )
        truth = truth if tiles is None else mask_outside_tiles(truth, tiles[tiles["scene"] == name])
        counts += tally(seen, truth, np.zeros(truth.shape, np.uint8), 1, 256)[0].T
    if not counts.any():
        raise InputError("fit_table: no pixel has data in both; check the scenes' names and the tiles")
    table = np.where(counts.any(axis=1), counts.argmax(axis=1), counts.sum(axis=0).argmax()).astype(np.uint8)
    table[NODATA] = NODATA
    return table


def concentration(
    prediction: ByScene,
    references: ByScene,
    tiles: pd.DataFrame | None = None,
    classes: Mapped | None = None,
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

    found = stratified({"map": prediction}, references, tiles, classes=classes, legend=legend)
    sea, matrices = sea_rows(found.legend), found.of("map")
    if sea is None:
        raise InputError("concentration: the legend has no water, a class with that word in its name")
    truth, said = (ice_share(matrices.sum(axis=axis), sea) for axis in (2, 1))
    made = {
        "scene": found.scenes,
        "pixels": matrices.sum(axis=(1, 2)),
        "reference": truth,
        "prediction": said,
        "error": said - truth,
    }
    return pd.DataFrame(made)


def score_tiles(
    rasters_by_scene: Mapping[str, Raster],
    references: Mapping[str, Raster],
    chosen: pd.DataFrame,
    legend: Sequence[SeaIceClass] | None = None,
) -> dict:
    """Score class rasters as `evaluate` does, on the chosen tiles alone.

    Parameters
    ----------
    rasters_by_scene, references : dict
        Scene name → class raster.
    chosen : pandas.DataFrame
        Rows of a tile index, such as those of the split "test".
    legend : sequence of SeaIceClass, optional
        By default as the rasters' tags say.
    """
    groups = [(name, rows) for name, rows in chosen.groupby("scene") if name in references]
    several = [rasters_by_scene[name] for name, _ in groups], [references[name] for name, _ in groups]
    return evaluate(
        [
            tiles.mask_outside_tiles(scenes.as_codes(one), rows)
            for one, (_, rows) in zip(several[0], groups, strict=True)
        ],
        [
            tiles.mask_outside_tiles(scenes.as_codes(one), rows)
            for one, (_, rows) in zip(several[1], groups, strict=True)
        ],
        legend=legend or inputs.legend_of([*several[0], *several[1]]),
    )
