"""Classes by colour: ranges of hue, saturation and value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from seaicekit.classes import LEGEND, RESERVED, SeaIceClass
from seaicekit.files import InputError

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
        check_number("code", self.code, MAX_CODE)
        object.__setattr__(self, "code", int(self.code))
        if not isinstance(self.name, str) or not re.fullmatch(r"[^\W_][\w -]*", self.name):
            raise InputError(f"name: must be letters, digits, spaces and dashes, not {self.name!r}")
        if self.entry.column in RESERVED:
            raise InputError(f"name: {self.name!r} is a column of the tables; give the class another name")
        if not isinstance(self.colour, str) or not re.fullmatch(r"#[0-9a-fA-F]{6}", self.colour):
            raise InputError(f"colour: {self.name} needs one as #rrggbb, not {self.colour!r}")
        for field, top in (("hue", 179), ("saturation", 255), ("value", 255)):
            ends = getattr(self, field)
            ends = tuple(ends) if isinstance(ends, list | tuple) else (ends,)
            if len(ends) != 2:
                raise InputError(f"{field}: must be two numbers, not {ends}")
            for end in ends:
                check_number(field, end, top)
            if field != "hue" and ends[0] > ends[1]:
                raise InputError(f"{field}: {ends[0]} is above {ends[1]}; only hue goes round")
            object.__setattr__(self, field, tuple(int(end) for end in ends))

    @property
    def entry(self) -> SeaIceClass:
        """The class in the legend."""
        return SeaIceClass(self.code, self.name, self.colour)

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


def check_number(name: str, value: Any, top: int) -> None:
    """Refuse what is no whole number from 0 to ``top``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value <= top:
        raise InputError(f"{name}: must be a whole number from 0 to {top}, not {value!r}")
