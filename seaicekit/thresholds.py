"""The cuts: which brightness, and where wanted which hue and saturation, is which class."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass, fields

import cv2
import numpy as np

from seaicekit.classes import LEGEND, OPEN_WATER, THICK_ICE, THIN_ICE, SeaIceClass
from seaicekit.files import InputError, read_json, write_json

FORMAT = "seaicekit-thresholds-1"
FULL_HUE, FULL = (0, 179), (0, 255)
MAX_CODE = 63  # the codes above are kept for marks while a scene is labelled


@dataclass(frozen=True)
class Range:
    """A range of hue, saturation and value (HSV as in OpenCV) that is one class.

    Parameters
    ----------
    code : int, 0 to 63
        The class in the label raster: one of the legend's, or a new one.
    name, colour : str
        A new class's entry in the legend, such as "melt pond" and "#3a7bd5".
    hue : (int, int), 0 to 179
        Half degrees, both ends included. Where the first is the larger one, the range goes on through red
        (179, then 0).
    saturation, value : (int, int), 0 to 255
        Both ends included.

    Raises
    ------
    InputError
        A number out of range, or a new class without name and colour.
    """

    code: int
    name: str = ""
    colour: str = ""
    hue: tuple[int, int] = FULL_HUE
    saturation: tuple[int, int] = FULL
    value: tuple[int, int] = FULL

    def __post_init__(self):
        known = {entry.code: entry for entry in LEGEND}.get(self.code)
        if known:  # a class of the legend keeps its name and colour
            object.__setattr__(self, "name", known.name)
            object.__setattr__(self, "colour", known.colour)
        _check_number("code", self.code, MAX_CODE)
        object.__setattr__(self, "code", int(self.code))
        if not re.fullmatch(r"[^\W_][\w -]*", self.name) or self.name.replace(" ", "_") in RESERVED:
            raise InputError(f"name: must be letters, digits, spaces and dashes, and not {self.name!r}")
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", self.colour):
            raise InputError(f"colour: {self.name} needs one as #rrggbb, not {self.colour!r}")
        for field, top in (("hue", 179), ("saturation", 255), ("value", 255)):
            ends = tuple(getattr(self, field))
            if len(ends) != 2:
                raise InputError(f"{field}: must be two numbers, not {ends}")
            for end in ends:
                _check_number(field, end, top)
            if field != "hue" and ends[0] > ends[1]:
                raise InputError(f"{field}: {ends[0]} is above {ends[1]}; only hue goes round")
            object.__setattr__(self, field, tuple(int(end) for end in ends))

    @property
    def by_brightness(self) -> bool:
        """Whether hue and saturation are full, so that brightness alone decides."""
        # A full turn that begins elsewhere is full as well.
        return (self.hue[1] - self.hue[0]) % 180 == 179 and self.saturation == FULL

    def contains(self, hsv: np.ndarray) -> np.ndarray:
        """Return where (rows, columns, 3) uint8 HSV lies in the range, bool."""
        (h0, h1), (s0, s1), (v0, v1) = self.hue, self.saturation, self.value
        turns = [(h0, h1)] if h0 <= h1 else [(h0, 179), (0, h1)]
        masks = [cv2.inRange(hsv, (first, s0, v0), (last, s1, v1)) for first, last in turns]
        return np.any(masks, axis=0)


# Columns of the table of labels, which a class's name must not take.
RESERVED = {"scene", "path", "labels", "nodata", "opaque_cloud", "changed", "error"}


def _check_number(name: str, value: object, top: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value <= top:
        raise InputError(f"{name}: must be a whole number from 0 to {top}, not {value!r}")


@dataclass(frozen=True)
class Thresholds:
    """Two cuts on brightness, V = max(R, G, B), from 0 to 255.

    The paper gives its classes as ranges of hue, saturation and value in which hue and saturation span
    all they can (arXiv 2403.13135, section III), so its rule is one on V alone.

    Parameters
    ----------
    water_max : int
        Brightest open water; 30 in the paper.
    thin_max : int
        Brightest thin ice; all above is thick ice. 204 in the paper.
    ranges : tuple of Range
        Further classes, or colours that belong to one of the three. They win over the two cuts, those with
        a range of hue or saturation over those of brightness alone, and later ones over earlier ones.

    Raises
    ------
    InputError
        A cut outside 0 to 255, cuts that cross, or two names for one code.
    """

    water_max: int = 30
    thin_max: int = 204
    ranges: tuple[Range, ...] = ()

    def __post_init__(self):
        for name in ("water_max", "thin_max"):
            _check_number(name, getattr(self, name), 255)
            object.__setattr__(self, name, int(getattr(self, name)))
        object.__setattr__(self, "ranges", tuple(self.ranges))
        named = {(entry.code, entry.name) for entry in self.ranges} | {(entry.code, entry.name) for entry in LEGEND}
        if len({code for code, _ in named}) != len(named) or len({name for _, name in named}) != len(named):
            raise InputError("ranges: one code has two names, or one name two codes; give each class its own")
        if self.water_max > self.thin_max:
            raise InputError(f"water_max: {self.water_max} is above thin_max, {self.thin_max}; let them not cross")

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

        Never open water: what is water, the scene's own brightness says. So the darkest values belong to
        the darkest ice.
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
        """The ranges that need a pixel's hue or saturation; without any, one table is the whole rule."""
        return tuple(entry for entry in self.ranges if not entry.by_brightness)

    @property
    def legend(self) -> tuple[SeaIceClass, ...]:
        """All classes that the cuts can give, by code."""
        further = {entry.code: SeaIceClass(entry.code, entry.name, entry.colour) for entry in self.ranges}
        return tuple(sorted({*LEGEND, *further.values()}, key=lambda entry: entry.code))

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

    def save(self, path: str | os.PathLike) -> None:
        """Write the cuts as a small JSON file."""
        write_json(path, {"format": FORMAT, **self.to_dict()})

    def to_dict(self) -> dict:
        """Return the cuts as JSON values, for `from_dict`."""
        values = asdict(self)
        return values if self.ranges else {name: values[name] for name in ("water_max", "thin_max")}

    @classmethod
    def from_dict(cls, values: dict) -> Thresholds:
        """Make cuts from what `to_dict` returned.

        Raises
        ------
        InputError
            An unknown or missing key, or cuts out of range.
        """
        odd = ({"water_max", "thin_max"} - values.keys()) | (values.keys() - {field.name for field in fields(cls)})
        if odd:
            raise InputError(f"unknown or missing: {', '.join(sorted(odd))}; cuts are water_max, thin_max and ranges")
        ranges = []
        for entry in values.get("ranges", []):
            odd = entry.keys() - {field.name for field in fields(Range)}
            if odd or "code" not in entry:
                raise InputError(f"ranges: unknown or missing: {', '.join(sorted(odd)) or 'code'}")
            ranges.append(Range(**entry))
        return cls(values["water_max"], values["thin_max"], tuple(ranges))

    @classmethod
    def load(cls, path: str | os.PathLike) -> Thresholds:
        """Read cuts that `save` wrote.

        Raises
        ------
        InputError
            Not such a file, an unknown key, or cuts out of range.
        """
        values = read_json(path)
        if values.pop("format", None) != FORMAT:
            raise InputError(f"{path}: not a thresholds file of this version ({FORMAT}); save it again")
        try:
            return cls.from_dict(values)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None


def brightness(bands: np.ndarray) -> np.ndarray:
    """Return V = max(R, G, B) of (3, rows, columns) uint8 bands."""
    return cv2.max(cv2.max(bands[0], bands[1]), bands[2])
