"""Reference points that a scientist clicks: pixels of scenes, each with its class."""

from __future__ import annotations

import json
import math
import operator
import os
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from seaicekit.classes import LEGEND, SeaIceClass
from seaicekit.files import InputError, as_path, write_text
from seaicekit.thresholds.geojson import (
    CRS_MEMBER,
    FORMAT,
    as_integer,
    as_text,
    extra_members,
    get_object,
    parse_geojson,
    plain_name,
)
from seaicekit.thresholds.pixels import Pixel, ScenePixels

if TYPE_CHECKING:
    import pandas as pd

    from seaicekit.scenes import Paths

STEPS = 500  # that can be undone


class UnsavedError(InputError):
    """The points have changed, but their file could not be written."""


@dataclass(frozen=True)
class Point:
    """A pixel (indices from 0) of the scene with that name, and the code of its class."""

    scene: str
    row: int
    col: int
    code: int


class ReferencePoints:
    """Points of known class in several scenes, at most one a pixel. Each change is saved and can be undone.

    Parameters
    ----------
    scenes : paths
        As for `seaicekit.scenes.name_scenes`, whose names the points have for their scenes.
    path : str or path, optional
        A GeoJSON file. It is read if it exists, and written in one step at each change. Without it nothing is
        written before `save`.
    legend : sequence of SeaIceClass

    Attributes
    ----------
    scenes : dict of str to path
    unplaced : tuple of (dict, str)
        GeoJSON features that were read but cannot be used, each with the reason. They are saved with the
        points, so nothing is lost while a scene is not available.
    message : str
        What the last `load` did.

    Raises
    ------
    InputError
        ``path`` exists but cannot be read as GeoJSON; it is not changed.
    UnsavedError
        From each method that changes points: the change is made in memory and can be undone, but ``path``
        cannot be written, or another program has changed it. The next change tries again.
    """

    def __init__(
        self, scenes: Paths, path: str | os.PathLike | None = None, legend: Sequence[SeaIceClass] = LEGEND
    ):
        self._pixels, self.path, self.message = ScenePixels(scenes), path, ""
        self.unplaced: tuple[tuple[dict, str], ...] = ()
        self.add_classes(legend)
        # Pixel → code and further members of the feature that it was read from.
        self._points: dict[Pixel, tuple[int, dict]] = {}
        self._before: deque = deque(maxlen=STEPS)
        self._after: deque = deque(maxlen=STEPS)
        self._written: bytes | None = None  # the file's contents when last read or written
        try:
            if path is not None:
                self._points, self.unplaced = self._merge(path, False)
        except InputError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise InputError(
                    f"{error}; it stays as it is: rename it to begin anew, or give another path"
                ) from None

    @property
    def scenes(self) -> dict[str, Any]:
        """The scenes' paths by name."""
        return self._pixels.scenes

    def add_classes(self, legend: Sequence[SeaIceClass]) -> None:
        """Allow these classes, too, for new points."""
        # No class is dropped: undo may bring its points back.
        self._names = getattr(self, "_names", {}) | {entry.code: entry.name for entry in legend}
        self._codes = {plain_name(name): code for code, name in self._names.items()}

    def __len__(self) -> int:
        return len(self._points)

    def __iter__(self) -> Iterator[Point]:
        return iter([Point(*key, code) for key, (code, _) in self._points.items()])

    def add(self, scene: str, row: int, col: int, code: int, rgb: np.ndarray | None = None) -> Point:
        """Give a pixel its class, in place of the one it has.

        Parameters
        ----------
        scene : str
            One of the names in ``scenes``.
        row, col : int
        code : int
        rgb : (3,) uint8, optional
            The pixel's colour, if it is known and is not no data. Then no file is opened.

        Raises
        ------
        InputError
            Outside the scene, on no data, no such scene or class, or the scene cannot be read.
        """
        try:
            row, col, code = operator.index(row), operator.index(col), operator.index(code)
        except TypeError as error:
            raise InputError(f"row, col, code: must be whole numbers ({error})") from None
        if code not in self._names:
            raise InputError(f"code: no class {code}; there are {self._names}")
        self._pixels.retry()
        grid, key = self._pixels.grid(scene), (scene, row, col)
        if not grid.holds(row, col):
            size = f"{grid.shape[0]} x {grid.shape[1]}"
            raise InputError(f"{scene}: row {row}, column {col} is outside its {size} pixels; choose another")
        if rgb is not None:
            self._pixels.set_rgb(key, rgb)
        for reason in self._pixels.check(scene, [(row, col)]).values():
            raise InputError(
                f"{scene}: row {row}, column {col} cannot be used: {reason}; choose another pixel"
            )
        self._change(self._points | {key: (code, self._points.get(key, (0, {}))[1])}, self.unplaced)
        return Point(*key, code)

    def remove(self, point: Point) -> bool:
        """Remove a point, whatever its class is now; return whether it was there."""
        gone = (point.scene, point.row, point.col)
        return self._change({key: value for key, value in self._points.items() if key != gone}, self.unplaced)

    def clear(self) -> bool:
        """Remove all points, but not the features in ``unplaced``; return whether there were any."""
        return self._change({}, self.unplaced)

    def undo(self) -> bool:
        """Undo the last change, of one point or by `load`; return whether there was one."""
        return self._step(self._before, self._after)

    def redo(self) -> bool:
        """Redo the change that was undone last; return whether there was one."""
        return self._step(self._after, self._before)

    @property
    def table(self) -> pd.DataFrame:
        """The points: scene, row, col, code, class, lon, lat (WGS84; NaN where a scene has no CRS)."""
        import pandas as pd

        rows = [
            (*key, code, self._names[code], *(self._pixels.lonlat(key) or (math.nan,) * 2))
            for key, (code, _) in self._points.items()
        ]
        table = pd.DataFrame(rows, columns=["scene", "row", "col", "code", "class", "lon", "lat"])
        return table.astype({"row": int, "col": int, "code": int, "lon": float, "lat": float})

    def pixels(self, scenes: str | Iterable[str] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the points' colours, (N, 3) uint8, and classes, (N,) uint8, of all or some scenes."""
        names = self.scenes.keys() if scenes is None else {scenes} if isinstance(scenes, str) else {*scenes}
        chosen = [(self._pixels.rgb(key), code) for key, (code, _) in self._points.items() if key[0] in names]
        rgb = np.array([rgb for rgb, _ in chosen], np.uint8).reshape(-1, 3)
        return rgb, np.array([code for _, code in chosen], np.uint8)

    def save(self, path: str | os.PathLike | None = None) -> None:
        """Write points and ``unplaced`` as GeoJSON in longitude and latitude (WGS84), in one step.

        Each point lies at its pixel's centre, without a geometry where the scene has no CRS.

        Parameters
        ----------
        path : str or path, optional
            The path given at first if none is given.

        Raises
        ------
        InputError
            No path, or it cannot be written.
        """
        path = self.path if path is None else path
        if path is None:
            raise InputError("path: none is known; give one to save the points there")
        text = self._geojson()
        try:
            write_text(path, text)
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror}); save under another path"
            ) from error
        self._remember(path, text.encode())

    def load(self, path: str | os.PathLike, replace: bool = False) -> str:
        """Read points from GeoJSON, written by `save` or another program.

        A feature needs its class, as ``class`` (name or number) or ``code``. Its pixel is ``scene``, ``row``
        and ``col`` if it has these and the coordinates agree within a pixel. Otherwise it is the pixel at the
        coordinates, in ``scene`` or in the first scene that holds them. Of two at one pixel the later counts.

        Parameters
        ----------
        path : str or path
            A FeatureCollection, in longitude and latitude or the CRS that its member ``crs`` names. JSON's
            unofficial NaN and infinity are read as null.
        replace : bool
            Whether to drop the points that there are, and ``unplaced``.

        Returns
        -------
        str
            How many points were read, and how many not and why; as in ``message``.

        Raises
        ------
        InputError
            Not such a file, or an unknown CRS; the points stay as they are.
        """
        try:
            state = self._merge(path, replace)
        except InputError as error:
            raise InputError(
                f"{error}; correct it or give another file, the points stay as they were"
            ) from None
        self._change(*state)
        return self.message

    def _change(self, points: dict, unplaced: tuple) -> bool:
        if (points, unplaced) == (self._points, self.unplaced):
            return False
        self._before.append((self._points, self.unplaced))
        self._after.clear()
        self._points, self.unplaced = points, unplaced
        self._autosave()
        return True

    def _step(self, source: deque, target: deque) -> bool:
        if not source:
            return False
        target.append((self._points, self.unplaced))
        self._points, self.unplaced = source.pop()
        self._autosave()
        return True

    def _autosave(self) -> None:
        if self.path is None:
            return
        path, way = as_path(self.path), "the points are kept in memory: save them under another path"
        try:
            changed = path.exists() and path.read_bytes() != self._written
            if not changed:
                self.save()
        except OSError as error:
            raise UnsavedError(f"{self.path}: cannot be read again ({error.strerror}); {way}") from error
        except InputError as error:
            raise UnsavedError(f"{error}; {way}") from error
        if changed:
            raise UnsavedError(
                f"{self.path}: was changed by another program, so it is not overwritten; load it to take its "
                f"points in, or {way}"
            )

    def _remember(self, path: str | os.PathLike, content: bytes) -> None:
        """Keep the contents of the points' own file."""
        if self.path is not None and as_path(path).absolute() == as_path(self.path).absolute():
            self._written = content

    def _geojson(self) -> str:
        features = [feature for feature, _ in self.unplaced]
        for key, (code, read) in self._points.items():
            lonlat = self._pixels.lonlat(key)
            own = asdict(Point(*key, code)) | {"class": self._names[code]}
            geometry = {"type": "Point", "coordinates": lonlat} if lonlat else None
            properties = {**get_object(read, "properties"), **own}
            features.append({"type": "Feature", **read, "geometry": geometry, "properties": properties})
        # A line for each feature, so that versions are compared easily.
        lines = ",\n".join(as_text(feature) for feature in features)
        head = json.dumps({"type": "FeatureCollection", "format": FORMAT, "crs": CRS_MEMBER})
        return f'{head[:-1]}, "features": [\n{lines}\n]}}\n'

    def _merge(self, path: str | os.PathLike, replace: bool) -> tuple[dict, tuple]:
        """Read a file; return the points and the unplaced features after that."""
        content, features = parse_geojson(path)
        placed, unusable = [], []
        self._pixels.retry()
        for feature in features:
            try:
                placed.append(
                    (
                        self._pixels.place(feature),
                        self._class(get_object(feature, "properties")),
                        feature,
                    )
                )
            except InputError as error:
                unusable.append((feature, str(error)))
        by_scene: defaultdict[str, set[tuple[int, int]]] = defaultdict(set)
        refused: dict[Pixel, str] = {}
        for (scene, row, col), _, _ in placed:
            by_scene[scene].add((row, col))
        for scene, pixels in by_scene.items():
            refused |= self._pixels.check(scene, pixels)
        points, loaded, changed = {} if replace else dict(self._points), set(), set()
        unplaced = {
            as_text(feature): (feature, reason) for feature, reason in (() if replace else self.unplaced)
        }
        for key, code, feature in placed:
            if key in refused:
                unusable.append((feature, refused[key]))
                continue
            unplaced.pop(as_text(feature), None)  # its scene was not available before
            if key in points and points[key][0] != code:
                changed.add(key)
            loaded.add(key)
            points[key] = code, extra_members(feature)
        unplaced |= {as_text(each[0]): each for each in unusable}  # once, if a file is read twice
        self.message = f"loaded {len(loaded)} point{'s' * (len(loaded) != 1)}"
        if unusable:
            reasons = Counter(reason for _, reason in unusable).most_common()
            self.message += f"; {len(unusable)} not used: " + ", ".join(
                f"{count} {reason}" for reason, count in reasons
            )
        if changed:
            self.message += f"; {len(changed)} had another class before, the later one counts"
        self._remember(path, content)
        return points, tuple(unplaced.values())

    def _class(self, properties: dict) -> int:
        """Return the code that a feature's ``code`` and ``class`` name."""
        names = [properties[key] for key in ("code", "class") if properties.get(key) is not None]
        if not names:
            raise InputError("without a class")
        codes: list[Any] = [self._codes.get(plain_name(each), as_integer(each)) for each in names]
        if len(set(codes)) > 1:
            raise InputError(f"where code {names[0]!r} and class {names[1]!r} disagree")
        if codes[0] not in self._names:
            raise InputError(f"of class {names[0]!r}, which is not in the legend")
        return codes[0]
