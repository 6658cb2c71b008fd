"""The cuts: which brightness is which class."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields

import cv2
import numpy as np

from seaicekit.classes import OPEN_WATER, THICK_ICE, THIN_ICE
from seaicekit.files import InputError, read_json, write_json

FORMAT = "seaicekit-thresholds-1"


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

    Raises
    ------
    InputError
        A cut outside 0 to 255, or cuts that cross.
    """

    water_max: int = 30
    thin_max: int = 204

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value <= 255:
                raise InputError(f"{field.name}: must be a whole number from 0 to 255, not {value!r}")
            object.__setattr__(self, field.name, int(value))
        if self.water_max > self.thin_max:
            raise InputError(f"water_max: {self.water_max} is above thin_max, {self.thin_max}; let them not cross")

    @property
    def table(self) -> np.ndarray:
        """The class code of each brightness, (256,) uint8."""
        brightness = np.arange(256)
        codes = np.full(256, THICK_ICE, np.uint8)
        codes[brightness <= self.thin_max] = THIN_ICE
        codes[brightness <= self.water_max] = OPEN_WATER
        return codes

    def classify(self, rgb: np.ndarray) -> np.ndarray:
        """Return the class code of each pixel, without any filter.

        Parameters
        ----------
        rgb : (..., 3) uint8

        Returns
        -------
        (...) uint8: 0 open water, 1 thin ice, 2 thick ice

        Raises
        ------
        InputError
            Another dtype or last dimension.
        """
        rgb = np.asarray(rgb)
        if rgb.dtype != np.uint8 or rgb.ndim < 1 or rgb.shape[-1] != 3:
            raise InputError(f"rgb: must be (..., 3) uint8, not {rgb.shape} {rgb.dtype}")
        return self.table[rgb.max(axis=-1)]

    def save(self, path: str | os.PathLike) -> None:
        """Write the cuts as a small JSON file."""
        write_json(path, {"format": FORMAT, **asdict(self)})

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
        known = {field.name for field in fields(cls)}
        if values.keys() != known:
            odd = ", ".join(sorted(values.keys() ^ known))
            raise InputError(f"{path}: unknown or missing: {odd}; it holds {', '.join(sorted(known))}")
        try:
            return cls(**values)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None


def brightness(bands: np.ndarray) -> np.ndarray:
    """Return V = max(R, G, B) of (3, rows, columns) uint8 bands."""
    return cv2.max(cv2.max(bands[0], bands[1]), bands[2])
