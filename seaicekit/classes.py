"""The legend: what each code in a label raster means, and the colour it is drawn in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

OPEN_WATER, THIN_ICE, THICK_ICE = 0, 1, 2
NODATA = 255


@dataclass(frozen=True)
class SeaIceClass:
    """One entry of the legend: its raster code, its name, its colour as ``#rrggbb``."""

    code: int
    name: str
    colour: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as three numbers from 0 to 255."""
        value = int(self.colour[1:], 16)
        return value >> 16, value >> 8 & 255, value & 255


# Dark to light with the ice's age, so that the order survives grey print and colour blindness.
LEGEND = (
    SeaIceClass(OPEN_WATER, "open water", "#0b3c6f"),
    SeaIceClass(THIN_ICE, "thin ice", "#35b5ac"),
    SeaIceClass(THICK_ICE, "thick ice", "#f3f1e7"),
)
NO_ICE = ("water", "land", "cloud", "shadow")  # classes that are not ice, by their names
NAMES = tuple(entry.name for entry in LEGEND)
# A second palette, of hues that colour-blind people tell apart (Okabe and Ito, 2008, Color Universal Design).
VIVID = {OPEN_WATER: "#0072b2", THIN_ICE: "#e69f00", THICK_ICE: "#cc79a7"}


def repainted(legend: Sequence[SeaIceClass], colours: Mapping[int, str]) -> tuple[SeaIceClass, ...]:
    """Return a legend in other colours, by code; classes that have none there keep theirs."""
    return tuple(replace(entry, colour=colours.get(entry.code, entry.colour)) for entry in legend)


def colour_table(legend: Sequence[SeaIceClass] = LEGEND) -> dict[int, tuple[int, int, int, int]]:
    """Return code → (red, green, blue, alpha) for a paletted raster; no data is transparent."""
    return {entry.code: (*entry.rgb, 255) for entry in legend} | {NODATA: (0, 0, 0, 0)}


def concentration(areas: Mapping[int, float], legend: Sequence[SeaIceClass]) -> float | None:
    """Return the ice concentration, 0 to 1: which share of the sea is ice.

    Water is each class with "water" in its name. Cloud, shadow, land and no data are no sea. All else is ice,
    as a melt pond on it is.

    Parameters
    ----------
    areas : dict
        Class code → area or share.
    legend : sequence of SeaIceClass

    Returns
    -------
    float, or None if no class is water, or nothing is sea

    Examples
    --------
    >>> concentration({OPEN_WATER: 25, THIN_ICE: 15, THICK_ICE: 60, NODATA: 900}, LEGEND)
    0.75
    """
    names = {entry.code: entry.name.lower() for entry in legend}
    wet = [code for code, name in names.items() if "water" in name]
    ice = sum(areas.get(code, 0) for code, name in names.items() if not any(word in name for word in NO_ICE))
    sea = ice + sum(areas.get(code, 0) for code in wet)
    return ice / sea if wet and sea else None
