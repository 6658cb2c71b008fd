"""The cuts: the class of each brightness, and of ranges of hue and saturation."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import cv2
import numpy as np
from pydantic import Field, model_validator

from seaicekit import scenes
from seaicekit.classes import LEGEND, OPEN_WATER, THICK_ICE, THIN_ICE, Legend
from seaicekit.files import InputError, read_json, write_json
from seaicekit.parameters import Parameters
from seaicekit.thresholds import fitting, scoring
from seaicekit.thresholds.histograms import scene_histogram
from seaicekit.thresholds.ranges import Range

if TYPE_CHECKING:
    from seaicekit.scenes import Paths
    from seaicekit.thresholds.scoring import Score

PRESETS = Path(__file__).parent / "presets"
FORMAT = "seaicekit-thresholds-1"


class Cuts(Parameters):
    """Two cuts on brightness."""

    water_max: int = Field(30, ge=0, le=255, description="The brightest open water; 30 in the paper.")
    thin_max: int = Field(
        204, ge=0, le=255, description="The brightest thin ice; all above is thick ice. 204 in the paper."
    )

    @model_validator(mode="after")
    def _check_cuts(self) -> Self:
        if self.water_max > self.thin_max:
            raise InputError(
                f"water_max: {self.water_max} is above thin_max, {self.thin_max}; let them not cross"
            )
        return self


class Thresholds(Cuts):
    """Two cuts on brightness, V = max(R, G, B), from 0 to 255.

    The paper gives its classes as ranges of hue, saturation and value in which hue and saturation are full
    (arXiv 2403.13135, section III), so its rule is one on V alone.

    Examples
    --------
    >>> cuts = Thresholds(water_max=40, thin_max=190)
    >>> cuts.classify(np.uint8([[10, 20, 40], [60, 70, 80], [250, 250, 250]])).tolist()
    [0, 1, 2]
    >>> Thresholds(water_max=200, thin_max=190)
    Traceback (most recent call last):
        ...
    seaicekit.files.InputError: water_max: 200 is above thin_max, 190; let them not cross
    """

    ranges: tuple[Range, ...] = Field(
        (),
        description="Further classes, or colours that belong to one of the three. They win over the two "
        "cuts, those with a range of hue or saturation over those of brightness alone, and later ones over "
        "earlier ones.",
    )

    def __init__(self, water_max: Any = 30, thin_max: Any = 204, ranges: Iterable[Range] = ()):
        Parameters.__init__(self, water_max=water_max, thin_max=thin_max, ranges=tuple(ranges))

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        classes = {(entry.code, entry.column) for entry in (*LEGEND, *(each.entry for each in self.ranges))}
        if any(len(set(part)) != len(classes) for part in zip(*classes, strict=True)):
            raise InputError("ranges: one code has two names, or one name two codes; give each class its own")
        columns = set(self.legend.columns)
        for column in columns:
            if f"{column}_km2" in columns:
                raise InputError(
                    f"ranges: {column}_km2 is the column of the area of {column}; give the class another name"
                )
        return self

    @property
    def table(self) -> np.ndarray:
        """The class code of each brightness, (256,) uint8."""
        brightness = np.arange(256)
        codes = np.full(256, THICK_ICE, np.uint8)
        codes[brightness <= self.thin_max] = THIN_ICE
        codes[brightness <= self.water_max] = OPEN_WATER
        for entry in self.ranges:
            if entry.by_brightness:
                codes[entry.value[0] : entry.value[1] + 1] = entry.code
        return codes

    @property
    def ice_table(self) -> np.ndarray:
        """The class code of each brightness that the cloud filter has corrected, (256,) uint8.

        Never open water, which the scene's own brightness decides. So the darkest values belong to the
        darkest ice.
        """
        brightness = np.arange(256)
        codes = np.where(brightness > self.thin_max, THICK_ICE, THIN_ICE).astype(np.uint8)
        lifted = np.maximum(brightness, self.water_max + 1)
        for entry in self.ranges:
            if entry.by_brightness and entry.code != OPEN_WATER:
                codes[(entry.value[0] <= lifted) & (lifted <= entry.value[1])] = entry.code
        return codes

    @property
    def coloured(self) -> tuple[Range, ...]:
        """The ranges that need a pixel's hue or saturation; without any, `table` is the whole rule."""
        return tuple(entry for entry in self.ranges if not entry.by_brightness)

    @property
    def legend(self) -> Legend:
        """All classes that the cuts can give, by code."""
        by_code = {entry.code: entry for entry in (*LEGEND, *(each.entry for each in self.ranges))}
        return Legend(by_code[code] for code in sorted(by_code))

    def classify(self, rgb: np.ndarray) -> np.ndarray:
        """Return the class code of each pixel, without any filter.

        Parameters
        ----------
        rgb : (..., 3) uint8

        Returns
        -------
        (...) uint8: 0 open water, 1 thin ice, 2 thick ice, and what ``ranges`` add

        Raises
        ------
        InputError
            Another dtype or last dimension.
        """
        rgb = np.asarray(rgb)
        if rgb.dtype != np.uint8 or rgb.ndim < 1 or rgb.shape[-1] != 3:
            raise InputError(f"rgb: must be (..., 3) uint8, not {rgb.shape} {rgb.dtype}")
        codes = self.table[rgb.max(axis=-1)]
        if self.coloured:
            hsv = cv2.cvtColor(np.ascontiguousarray(rgb).reshape(1, -1, 3), cv2.COLOR_RGB2HSV)
            for entry in self.coloured:
                codes[entry.contains(hsv).reshape(codes.shape)] = entry.code
        return codes

    @classmethod
    def fit(
        cls,
        rgb: np.ndarray,
        classes: np.ndarray,
        population: np.ndarray | None = None,
        start: Thresholds | None = None,
    ) -> Thresholds:
        """Fit the two cuts to labelled points.

        Parameters
        ----------
        rgb : (N, 3) uint8
            The points' pixels.
        classes : (N,) int
            The class that a person gave each.
        population : (M, 3) uint8, optional
            Unlabelled pixels of the same scenes, no data left out. People click about as many points of each
            class; with these pixels the classes' shares are those of the scenes.
        start : Thresholds, optional
            The cuts to begin with; the paper's if none are given. Its ranges are kept. Points and pixels that
            lie in one, and points of a class beyond the three, are left out.

        Returns
        -------
        Thresholds

        Raises
        ------
        InputError
            Arrays of other shapes or dtypes, a class that is in no legend, or no points of the three classes.

        Warns
        -----
        UserWarning
            Two or fewer points of a class, or points that contradict others.
        """
        start = start or cls()
        rgb, classes = _labelled(rgb, classes, start)
        chosen = ~start.in_ranges(rgb) & (classes <= THICK_ICE)
        counts = None
        if population is not None:
            pixels = _pixels("population", population)
            counts = np.bincount(pixels[~start.in_ranges(pixels)].max(axis=1), minlength=256)
        cuts = start.water_max, start.thin_max
        fit = fitting.fit_cuts(rgb[chosen].max(axis=1), classes[chosen], counts, cuts)
        for message in fit.messages:
            warnings.warn(message, stacklevel=2)
        return cls(fit.water_max, fit.thin_max, start.ranges)

    @classmethod
    def suggest(cls, paths: Paths) -> dict[str, Thresholds]:
        """Suggest cuts from scenes alone, by the histogram of all their pixels together.

        Parameters
        ----------
        paths : paths
            The scenes, as `seaicekit.scenes.name_scenes` takes them. Of a large one, pieces spread over it
            are read.

        Returns
        -------
        dict
            "multi-Otsu" and "Gaussian mixture": see `seaicekit.thresholds.suggest_cuts`.

        Raises
        ------
        InputError
            A scene that cannot be read, no pixels with data, or fewer than three brightnesses.
        """
        total = sum(
            (scene_histogram(path) for path in scenes.name_scenes(paths).values()), np.zeros(256, np.int64)
        )
        return {name: cls(*cuts) for name, cuts in scoring.suggest_cuts(total).items()}

    def score(self, rgb: np.ndarray, classes: np.ndarray) -> Score:
        """Score the cuts on labelled points.

        Parameters
        ----------
        rgb : (N, 3) uint8
        classes : (N,) int

        Returns
        -------
        Score
            Accuracy, its interval and the confusion, over the codes of `legend`.

        Raises
        ------
        InputError
            As `fit`.
        """
        rgb, classes = _labelled(rgb, classes, self)
        return scoring.score_classes(self.classify(rgb), classes, self.legend.codes)

    def in_ranges(self, rgb: np.ndarray) -> np.ndarray:
        """Return which of (N, 3) pixels lie in a range, (N,) bool, and are not decided by the two cuts."""
        if not self.ranges or not len(rgb):
            return np.zeros(len(rgb), bool)
        hsv = cv2.cvtColor(np.ascontiguousarray(rgb)[None], cv2.COLOR_RGB2HSV)
        return np.any([entry.contains(hsv)[0] for entry in self.ranges], axis=0)

    def save(self, path: str | os.PathLike, provenance: dict | None = None) -> None:
        """Write the cuts as a small JSON file.

        Parameters
        ----------
        path
        provenance : dict, optional
            Where the cuts come from, as JSON values: who, when, which scenes, points, score. Only the file
            has it, for `seaicekit.thresholds.cuts_provenance`.
        """
        extra = {} if provenance is None else {"provenance": provenance}
        write_json(path, {"format": FORMAT, **self.to_dict(), **extra})

    def to_dict(self) -> dict:
        """Return the cuts as JSON values, for `from_dict`."""
        return self.model_dump(mode="json", exclude=None if self.ranges else {"ranges"})

    @classmethod
    def from_dict(cls, values: dict) -> Thresholds:
        """Make cuts from what `to_dict` returned.

        Raises
        ------
        InputError
            An unknown or missing key, or cuts out of range.
        """
        odd = {"water_max", "thin_max"} - values.keys() or values.keys() - cls.model_fields.keys()
        if odd:
            raise InputError(
                f"{', '.join(sorted(odd))}: unknown or missing; cuts are water_max, thin_max and ranges"
            )
        ranges = values.get("ranges", [])
        if not isinstance(ranges, list | tuple) or not all(isinstance(each, dict) for each in ranges):
            raise InputError(
                f"ranges: must be a list of objects with code, hue, saturation and value, not {ranges!r}"
            )
        try:
            ranges = [Range(**each) for each in ranges]
        except InputError as error:
            raise InputError(f"ranges: {error}") from None
        return cls(values["water_max"], values["thin_max"], ranges)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Thresholds:
        """Read cuts that `save` wrote.

        Raises
        ------
        InputError
            Not such a file, an unknown key, or cuts out of range.
        """
        values = _read(path)[0]
        try:
            return cls.from_dict(values)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None


def _read(path: str | os.PathLike) -> tuple[dict, dict]:
    """Return what a thresholds file holds, and its provenance."""
    values = read_json(path)
    if values.pop("format", None) != FORMAT:
        raise InputError(f"{path}: not a thresholds file of this version ({FORMAT}); save it again")
    provenance = values.pop("provenance", {})
    if not isinstance(provenance, dict):
        raise InputError(f"{path}: provenance must be a JSON object; correct it or leave it out")
    return values, provenance


def cuts_provenance(path: str | os.PathLike) -> dict:
    """Read where a file's cuts come from, as given to `Thresholds.save`; empty if nothing was given.

    Raises
    ------
    InputError
        Not a thresholds file.
    """
    return _read(path)[1]


def presets(folder: str | os.PathLike | None = None) -> dict[str, Path]:
    """Return the shipped thresholds files, and those of a folder, by name.

    Parameters
    ----------
    folder : path, optional
        A folder of your own. Its thresholds files, ``*.json``, come after the shipped ones and replace those
        of the same name.

    Returns
    -------
    dict
        Name → path, for `Thresholds.load` and `cuts_provenance`.

    Raises
    ------
    InputError
        There is no such folder.
    """
    files = {path.stem: path for path in sorted(PRESETS.glob("*.json"))}
    if folder is None:
        return files
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder; make it, or leave it out")
    for path in sorted(Path(folder).glob("*.json")):
        try:
            Thresholds.load(path)
        except InputError:
            continue  # another JSON file
        files[path.stem] = path
    return files


def _pixels(name: str, rgb: np.ndarray) -> np.ndarray:
    rgb = np.asarray(rgb)
    if rgb.dtype != np.uint8 or rgb.ndim != 2 or rgb.shape[1] != 3:
        raise InputError(f"{name}: must be (N, 3) uint8, not {rgb.shape} {rgb.dtype}")
    return rgb


def _labelled(rgb: np.ndarray, classes: np.ndarray, cuts: Thresholds) -> tuple[np.ndarray, np.ndarray]:
    """Check points and their classes."""
    rgb, classes = _pixels("rgb", rgb), np.asarray(classes)
    if classes.shape != rgb.shape[:1]:
        raise InputError(f"classes: must be one for each of {len(rgb)} points, not {classes.shape}")
    if classes.size and not np.issubdtype(classes.dtype, np.integer):
        raise InputError(f"classes: must be whole numbers, not {classes.dtype}")
    odd = sorted(set(np.unique(classes).tolist()) - set(cuts.legend.codes))
    if odd:
        raise InputError(
            f"classes: {odd[0]} is not in the legend; give start its range, or leave such points out"
        )
    return rgb, classes
