"""Confusion matrices of several rules on the same pixels: by stratum and by scene."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from seaicekit import scenes
from seaicekit.classes import NODATA, SeaIceClass
from seaicekit.evaluation import inputs
from seaicekit.evaluation.matrices import tally
from seaicekit.evaluation.references import common_legend, within_tiles
from seaicekit.files import InputError

if TYPE_CHECKING:
    import pandas as pd

    from seaicekit.evaluation.inputs import ClassMapping
    from seaicekit.scenes import Raster

    ByScene = Mapping[str, Raster] | Callable[[str], Raster]  # scene name → class raster

CLOUDY = 0.1  # share of a tile under cloud and shadow at which the paper parts its scores
EDGE = 2  # pixels
CLEAR_TILES, CLOUDY_TILES = f"cloud < {100 * CLOUDY:.0f} %", f"cloud >= {100 * CLOUDY:.0f} %"
MAJORITY = "majority class"


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
    lowest = cv2.erode(reference, around)  # no data is the highest value, so it is never the lowest
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
        return self.matrices[stratum][rule]


def stratified(
    predictions: Mapping[str, ByScene],
    references: Mapping[str, Raster],
    tiles: pd.DataFrame | None = None,
    classes: ClassMapping | None = None,
    legend: Sequence[SeaIceClass] | None = None,
    edge: int = EDGE,
) -> Stratified:
    """Count, for each rule, scene and stratum, pixels by reference and prediction.

    Only pixels to which all rules give a class count, so that rules are compared on the same pixels;
    ``coverage`` says how many each could have had. The strata are "all"; "cloud < 10 %" and
    "cloud >= 10 %", by the column ``cloud`` of the tile that a pixel is in; "edge" and "interior", by `edges`
    of the reference over the whole scene. "majority class" is a further rule, which calls every pixel the
    commonest class of the reference.

    Parameters
    ----------
    predictions : dict
        Rule → scene → class raster; instead of a dict by scene a function of the scene's name.
    references, tiles, classes, legend, edge
        As for `seaicekit.evaluation.compare`.
    """
    names = chosen_scenes(references, tiles, predictions)
    if legend is None:
        known = [each[name] for each in predictions.values() if not callable(each) for name in names]
        legend = common_legend(known, [references[name] for name in names], classes)
    counts, coverage = [], []
    for name in names:
        rasters = {rule: each(name) if callable(each) else each[name] for rule, each in predictions.items()}
        first, *others = rasters
        grid = inputs.read(rasters[first], "prediction")
        layers = {rule: inputs.read_onto(grid, rasters[rule], "prediction") for rule in others}
        predicted = {rule: layer.positions(legend) for rule, layer in ({first: grid} | layers).items()}
        reference = inputs.read_onto(grid, references[name], "reference", classes).positions(legend, classes)
        cells = 2 * edges(reference, edge).astype(np.uint8)
        if tiles is not None and "cloud" in tiles:
            for tile in tiles[(tiles["scene"] == name) & (tiles["cloud"] >= CLOUDY)].itertuples():
                cells[scenes.Window(tile.row, tile.col, tile.height, tile.width).slices] |= 1
        reference = within_tiles(reference, name, tiles)
        counts.append(_count(predicted, reference, cells, len(legend)))
        coverage.append(_coverage(predicted, reference))
    return _summed(
        {rule: np.stack([each[rule] for each in counts]) for rule in predictions},
        {rule: np.array([each[rule] for each in coverage]) for rule in predictions},
        names,
        tuple(legend),
        tiles is not None and "cloud" in tiles,
    )


def chosen_scenes(
    references: Mapping[str, Raster], tiles: pd.DataFrame | None, others: Mapping[str, ByScene]
) -> list[str]:
    """Return the scenes of the references that have tiles.

    Raises
    ------
    InputError
        None; rasters that are not given by scene; a scene that is missing in one of ``others``.
    """
    if tiles is not None and {"scene", "row", "col", "height", "width"} - set(tiles):
        raise InputError("tiles: not rows of a tile index; make one by seaicekit.tiles.index_tiles")
    for what, rasters in {"references": references, **others}.items():
        if not callable(rasters) and not hasattr(rasters, "items"):
            raise InputError(f"{what}: give rasters by scene, in a dict, for the scenes' names are needed")
    names = [name for name, _ in references.items() if tiles is None or (tiles["scene"] == name).any()]
    if not names:
        raise InputError("tiles: none lies in a scene that has a reference; check the scenes' names")
    for what, rasters in others.items():
        for name in names:
            if not callable(rasters) and name not in rasters:
                raise InputError(f"{what} lacks scene {name}; give the same scenes to all")
    return names


def _count(
    predicted: Mapping[str, np.ndarray], reference: np.ndarray, cells: np.ndarray, classes: int
) -> dict[str, np.ndarray]:
    """Count the pixels that all rules have; return each rule's (edge 2, cloud 2, classes, classes)."""
    common = reference.copy()
    for each in predicted.values():
        common[each == NODATA] = NODATA
    counts = {rule: tally(each, common, classes, cells) for rule, each in predicted.items()}
    return {rule: each.reshape(2, 2, classes, classes) for rule, each in counts.items()}


def _coverage(predicted: Mapping[str, np.ndarray], reference: np.ndarray) -> dict[str, tuple[int, int]]:
    """Return each rule's pixels with a class where the reference has data, and pixels where it has."""
    held = reference != NODATA
    total = np.count_nonzero(held)
    return {rule: (np.count_nonzero(held & (each != NODATA)), total) for rule, each in predicted.items()}


def _summed(
    cells: dict[str, np.ndarray],
    coverage: dict[str, np.ndarray],
    names: Sequence[str],
    legend: tuple[SeaIceClass, ...],
    cloudy: bool,
) -> Stratified:
    """Sum cells, (scenes, 2 by edge, 2 by cloud, classes, classes), to strata; add the majority class."""
    first = next(iter(cells))
    reference = cells[first].sum(axis=-1)
    majority = np.zeros_like(cells[first])
    majority[..., reference.sum(axis=(0, 1, 2)).argmax()] = reference
    cells = cells | {MAJORITY: majority}
    coverage = coverage | {MAJORITY: coverage[first][:, [1, 1]]}
    matrices = {"all": {rule: each.sum(axis=(1, 2)) for rule, each in cells.items()}}
    if cloudy:
        for cloud, name in enumerate((CLEAR_TILES, CLOUDY_TILES)):
            matrices[name] = {rule: each[:, :, cloud].sum(axis=1) for rule, each in cells.items()}
    for edge, name in enumerate(("interior", "edge")):
        matrices[name] = {rule: each[:, edge].sum(axis=1) for rule, each in cells.items()}
    return Stratified(matrices, tuple(names), legend, coverage)
