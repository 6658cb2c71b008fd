"""Classes by colour: ranges of hue, saturation and value."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

import cv2
import numpy as np
from pydantic import Field, model_validator

from seaicekit.classes import LEGEND, RESERVED, SeaIceClass
from seaicekit.files import InputError
from seaicekit.parameters import Parameters

FULL_HUE, FULL = (0, 179), (0, 255)
MAX_CODE = 63  # the codes above are marks of the labelling
Hue = Annotated[int, Field(ge=0, le=179)]
Byte = Annotated[int, Field(ge=0, le=255)]


class Range(Parameters):
    """A range of hue, saturation and value (HSV as in OpenCV) that is one class. Both ends are included."""

    code: int = Field(
        ge=0, le=MAX_CODE, description="The class in a label raster: one of the legend's, or a new one."
    )
    name: str = Field("", description="Name of a new class, such as melt pond.")
    colour: str = Field("", description="Colour of a new class in the legend, as #rrggbb.")
    hue: tuple[Hue, Hue] = Field(
        FULL_HUE,
        description="Half degrees. Where the first is the larger one, the range passes through red: 179, 0.",
    )
    saturation: tuple[Byte, Byte] = Field(FULL, description="0 is grey.")
    value: tuple[Byte, Byte] = Field(FULL, description="Brightness.")

    def __init__(self, code: Any = None, name: Any = "", colour: Any = "", **ends: Any):
        known = {entry.code: entry for entry in LEGEND}.get(code)
        if known:  # of the legend, which has its name and colour
            name, colour = known.name, known.colour
        super().__init__(code=code, name=name, colour=colour, **ends)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not re.fullmatch(r"[^\W_][\w -]*", self.name):
            raise InputError(f"name: must be letters, digits, spaces and dashes, not {self.name!r}")
        if self.entry.column in RESERVED:
            raise InputError(f"name: {self.name!r} is a column of the tables; give the class another name")
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", self.colour):
            raise InputError(f"colour: {self.name} needs one as #rrggbb, not {self.colour!r}")
        for name, (low, high) in (("saturation", self.saturation), ("value", self.value)):
            if low > high:
                raise InputError(f"{name}: {low} is above {high}; only hue goes round")
        return self

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
