"""The legend: what each code in a class raster means, and the colour it is drawn in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import rasterio

OPEN_WATER, THIN_ICE, THICK_ICE = 0, 1, 2
NODATA = 255
TAG = "CLASS_"  # a raster's metadata name class 0 as CLASS_0
# The columns of each table before and after those of the classes. No class may have such a name.
LABEL_COLUMNS = ("scene", "path", "labels"), ("nodata", "opaque_cloud", "changed", "error")
TILE_COLUMNS = (
    ("scene", "path", "labels", "row", "col", "height", "width", "size", "split"),
    ("nodata", "cloud", "cloud_from", "truth"),
)
MAP_COLUMNS = (
    ("scene", "path", "map", "confidence", "datetime"),
    ("ice_concentration", "mean_confidence", "current", "error"),
)
RESERVED = {name for table in (LABEL_COLUMNS, TILE_COLUMNS, MAP_COLUMNS) for part in table for name in part}
SPARE = ("#e69f00", "#cc79a7", "#009e73", "#d55e00", "#f0e442", "#56b4e9")  # Okabe and Ito (2008)


@dataclass(frozen=True)
class SeaIceClass:
    """One entry of the legend: its raster code, its name, its colour as ``#rrggbb``."""

    code: int
    name: str
    colour: str

    @property
    def column(self) -> str:
        """The name as that of a table's column: ``open_water``."""
        return self.name.replace(" ", "_")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as three numbers from 0 to 255."""
        value = int(self.colour[1:], 16)
        return value >> 16, value >> 8 & 255, value & 255


class Legend(tuple[SeaIceClass, ...]):
    """The classes of a raster: an immutable sequence of `SeaIceClass`.

    It is written to and read from a raster's metadata and JSON here and nowhere else.
    """

    __slots__ = ()

    @property
    def codes(self) -> list[int]:
        """The classes' codes."""
        return [entry.code for entry in self]

    @property
    def columns(self) -> list[str]:
        """The classes' columns in a table."""
        return [entry.column for entry in self]

    @property
    def colour_table(self) -> dict[int, tuple[int, int, int, int]]:
        """Code → (red, green, blue, alpha) for a paletted raster; no data is transparent."""
        return {entry.code: (*entry.rgb, 255) for entry in self} | {NODATA: (0, 0, 0, 0)}

    @property
    def tags(self) -> dict[str, str]:
        """The classes' names as a raster's metadata hold them: ``CLASS_0`` and so on."""
        return {f"{TAG}{entry.code}": entry.name for entry in self}

    def palette(self, background: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
        """Return the colour of each code, (256, 3) uint8; codes of no class get ``background``."""
        import numpy as np

        colours = np.full((256, 3), background, np.uint8)
        for entry in self:
            colours[entry.code] = entry.rgb
        return colours

    def to_json(self) -> list[dict]:
        """Return the classes as JSON values, for `from_json`."""
        return [asdict(entry) for entry in self]

    @classmethod
    def from_json(cls, values: Iterable[Mapping[str, Any]]) -> Legend:
        """Make a legend from what `to_json` returned."""
        return cls(SeaIceClass(**entry) for entry in values)

    @classmethod
    def of_raster(cls, source: rasterio.DatasetReader, codes: Iterable[int] = ()) -> Legend:
        """Read the legend of an open raster from its metadata and colour table.

        Parameters
        ----------
        source : rasterio.DatasetReader
        codes : iterable of int, optional
            The classes of a raster that names none: they get the usual names, or ``class 7``.

        Returns
        -------
        Legend
            By code. A class that the colour table leaves out has its usual colour, or a spare one.
        """
        numbers = {key.removeprefix(TAG): name for key, name in source.tags().items() if key.startswith(TAG)}
        names = {int(key): name for key, name in numbers.items() if key.isdecimal() and int(key) < NODATA}
        table = source.colormap(1) if source.colorinterp[0].name == "palette" else {}
        usual = {entry.code: entry for entry in LEGEND}
        legend = []
        for code in sorted(names or codes):
            entry = usual.get(code) or SeaIceClass(code, f"class {code}", SPARE[code % len(SPARE)])
            colour = "#{:02x}{:02x}{:02x}".format(*table[code]) if code in table else entry.colour
            legend.append(SeaIceClass(code, names.get(code, entry.name), colour))
        return cls(legend)


# Dark to light with the ice's age, so that the order survives grey print and colour blindness.
LEGEND = Legend(
    (
        SeaIceClass(OPEN_WATER, "open water", "#0b3c6f"),
        SeaIceClass(THIN_ICE, "thin ice", "#35b5ac"),
        SeaIceClass(THICK_ICE, "thick ice", "#f3f1e7"),
    )
)
NO_ICE = ("water", "land", "cloud", "shadow")  # classes that are not ice, by their names


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
