"""Confusion matrices of several rules on the same pixels: by stratum and by scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from seaicekit import labels, scenes, tiles
from seaicekit.classes import NODATA, SeaIceClass
from seaicekit.evaluation import inputs
from seaicekit.evaluation.matrices import positions, tally
from seaicekit.evaluation.references import by_scene, common_legend, onto, plain
from seaicekit.files import InputError
from seaicekit.thresholds import Thresholds

if TYPE_CHECKING:
    import pandas as pd

    from seaicekit.evaluation.inputs import Mapped
    from seaicekit.scenes import Raster

    ByScene = Mapping[str, Raster]  # scene name → class raster

CLOUDY = 0.1  # share of a tile under cloud and shadow at which the paper parts its scores
EDGE = 2  # pixels
CLEAR_TILES, CLOUDY_TILES = f"cloud < {100 * CLOUDY:.0f} %", f"cloud >= {100 * CLOUDY:.0f} %"
MAJORITY, FIXED, CALIBRATED, TABLE = (
    "majority class",
    "fixed cuts (30, 204)",
    "calibrated cuts",
    "three-entry table",
)


def edges(reference: np.ndarray, width: int = EDGE) -> np.ndarray:
    """Find the pixels at floe edges, (rows, columns) bool.

    A pixel is at an edge if a pixel of another class lies within ``width`` pixels, along rows and columns
    and diagonally alike: with 1, the two pixels that touch. No data is no class, and no edge.

    Parameters
    ----------
    reference : (rows, columns) uint8
        Class codes, 255 no data.
    width : int
        Pixels, from 1 on.
    """
    if isinstance(width, bool) or not isinstance(width, int) or width < 1:
        raise InputError(f"edge: must be a whole number of pixels from 1 on, not {width!r}")
    around = np.ones((2 * width + 1,) * 2, np.uint8)
    valid = reference != NODATA
    lowest = cv2.erode(
        reference, around
    )  # no data is the highest value, so it is never the lowest of a class
    highest = cv2.dilate(np.where(valid, reference, 0).astype(np.uint8), around)
    return valid & (lowest != highest)


@dataclass(frozen=True)
class Stratified:
    """Confusion matrices of several rules on the same pixels.

    Attributes
    ----------
    matrices : dict
        Stratum → rule → (scenes, classes, classes) int64.
    scenes : tuple of str
    legend : tuple of SeaIceClass
    coverage : dict
        Rule → (scenes, 2) int64: pixels with a class where the reference has data, and pixels where it has.
    """

    matrices: dict[str, dict[str, np.ndarray]]
    scenes: tuple[str, ...]
    legend: tuple[SeaIceClass, ...]
    coverage: dict[str, np.ndarray]

    def of(self, rule: str, stratum: str = "all") -> np.ndarray:
        """Return a rule's confusion matrices in a stratum, (scenes, classes, classes) int64."""
        if stratum not in self.matrices:
            known = ", ".join(f'"{name}"' for name in self.matrices)
            raise InputError(f"stratum: must be one of {known}, not {stratum!r}; those of cloud need tiles")
        if rule not in self.matrices[stratum]:
            raise InputError(f"rule: must be one of {', '.join(self.matrices[stratum])}, not {rule!r}")
        return self.matrices[stratum][rule]


def stratified(
    predictions: Mapping[str, ByScene],
    references: ByScene,
    tiles: pd.DataFrame | None = None,
    *,
    images: Any = None,  # scene → path
    thresholds: Thresholds | None = None,
    ends: Mapping[str, tuple[int, int] | None] | None = None,
    filtered: ByScene | None = None,
    table: np.ndarray | None = None,
    classes: Mapped | None = None,
    legend: Sequence[SeaIceClass] | None = None,
    edge: int = EDGE,
) -> Stratified:
    """Count, for each rule, scene and stratum, pixels by reference and prediction.

    Only pixels to which all rules give a class count, so that rules are compared on the same pixels;
    ``coverage`` says how many each could have had. The strata are "all"; "cloud < 10 %" and
    "cloud >= 10 %", by the column ``cloud`` of the tile that a pixel is in; "edge" and "interior", by `edges`
    of the reference over the whole scene.

    Parameters are those of `compare`.
    """
    predictions = {rule: by_scene(given) for rule, given in predictions.items()}
    references = by_scene(references)
    images, filtered = (given if given is None else by_scene(given) for given in (images, filtered))
    _check(predictions, references, tiles, filtered, table)
    names = [name for name in references if tiles is None or (tiles["scene"] == name).any()]
    if not names:
        raise InputError(
            "compare: no chosen tile lies in a scene that has a reference; check the scenes' names"
        )
    for what, given in {**predictions, "images": images, "filtered": filtered}.items():
        missing = [name for name in names if given is not None and name not in given]
        if missing:
            raise InputError(f"compare: {what} lacks scene {missing[0]}; give the same scenes to all")
    if legend is None:
        known = [given[name] for given in predictions.values() for name in names]
        further = thresholds.legend if images is not None and thresholds else ()
        legend = common_legend(known, [references[name] for name in names], classes, further)
    fixed = {} if images is None else {FIXED: Thresholds()} | ({CALIBRATED: thresholds} if thresholds else {})
    found = {}
    for name in names:
        layer = inputs.read(next(iter(predictions.values()))[name], "prediction")
        codes = {
            rule: plain(onto(layer, given[name], None, legend)[0]) for rule, given in predictions.items()
        }
        if fixed:
            with scenes.open_reader(images[name]) as reader:
                bands, nodata = reader.read()
            stretch = (ends or {}).get(name)
            seen = {CALIBRATED: labels.stretch_bands(bands, stretch)} if stretch else {}
            cut = {
                rule: labels.label_raw(seen.get(rule, bands), nodata, cuts) for rule, cuts in fixed.items()
            }
            codes |= {rule: plain(onto(layer, made, None, legend)[0]) for rule, made in cut.items()}
        if filtered is not None:
            codes[TABLE] = cv2.LUT(plain(onto(layer, filtered[name], None, legend)[0]), table)
        truth = plain(onto(layer, references[name], classes, legend)[0])
        rows = None if tiles is None else tiles[tiles["scene"] == name]
        found[name] = _of_scene(codes, truth, rows, legend, edge)
    return _gathered(found, tuple(legend), tiles is not None and "cloud" in tiles)


def _check(
    predictions: Mapping, references: Mapping, tiles: pd.DataFrame | None, filtered: Any, table: Any
) -> None:
    if not predictions:
        raise InputError("compare: give at least one rule, as rule → scene → raster")
    taken = {MAJORITY, FIXED, CALIBRATED, TABLE} & predictions.keys()
    if taken:
        raise InputError(f"compare: {taken.pop()!r} is the name of a baseline; give your rule another")
    if tiles is not None and {"scene", "row", "col", "height", "width"} - set(tiles):
        raise InputError("tiles: not rows of a tile index; make one by seaicekit.tiles.index_tiles")
    if (filtered is None) != (table is None):
        raise InputError(
            "compare: filtered and table go together; fit the table by seaicekit.evaluation.fit_table"
        )


def _of_scene(
    codes: dict[str, np.ndarray],
    truth: np.ndarray,
    rows: pd.DataFrame | None,
    legend: Sequence[SeaIceClass],
    edge: int,
) -> tuple[dict[str, np.ndarray], dict[str, tuple[int, int]]]:
    """Return each rule's matrices, (2 by edge, 2 by cloud, classes, classes), and its coverage."""
    cells = 2 * edges(truth, edge).astype(np.uint8)
    if rows is not None:
        truth = tiles.mask_outside_tiles(truth, rows)
        for tile in rows.itertuples():
            if getattr(tile, "cloud", 0) >= CLOUDY:
                cells[scenes.Window(tile.row, tile.col, tile.height, tile.width).slices] |= 1
    held = truth != NODATA
    coverage = {
        rule: (int(np.count_nonzero(held & (said != NODATA))), int(held.sum()))
        for rule, said in codes.items()
    }
    for said in codes.values():
        held = held & (said != NODATA)
    truth = positions(np.where(held, truth, NODATA).astype(np.uint8), legend)
    count = len(legend)
    made = {rule: tally(positions(said, legend), truth, cells, 4, count) for rule, said in codes.items()}
    return {rule: each.reshape(2, 2, count, count) for rule, each in made.items()}, coverage


def _gathered(found: dict[str, tuple], legend: tuple[SeaIceClass, ...], cloudy: bool) -> Stratified:
    """Sum the cells to strata, and add the rule that calls everything the commonest class of the reference."""
    rules = list(next(iter(found.values()))[0])
    cells = {rule: np.stack([made[rule] for made, _ in found.values()]) for rule in rules}
    truth = cells[rules[0]].sum(axis=-1)
    cells[MAJORITY] = np.zeros_like(cells[rules[0]])
    cells[MAJORITY][..., truth.sum(axis=(0, 1, 2)).argmax()] = truth
    strata = {"all": lambda each: each.sum(axis=(1, 2))}
    if cloudy:
        strata |= {
            CLEAR_TILES: lambda each: each[:, :, 0].sum(axis=1),
            CLOUDY_TILES: lambda each: each[:, :, 1].sum(axis=1),
        }
    strata |= {"interior": lambda each: each[:, 0].sum(axis=1), "edge": lambda each: each[:, 1].sum(axis=1)}
    matrices = {name: {rule: add(each) for rule, each in cells.items()} for name, add in strata.items()}
    coverage = {rule: np.array([seen[rule] for _, seen in found.values()]) for rule in rules}
    coverage[MAJORITY] = np.stack([coverage[rules[0]][:, 1]] * 2, axis=1)
    return Stratified(matrices, tuple(found), legend, coverage)
