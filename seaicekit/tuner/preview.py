"""A scene at the resolution of a screen, labelled within milliseconds while its cuts move."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass

import numpy as np

from seaicekit import labels
from seaicekit.classes import NODATA
from seaicekit.labels import Measured, Rule, SceneRule
from seaicekit.scenes import SceneReader, Window, blocks, border_black, open_reader
from seaicekit.thresholds import brightness, scene_histogram

SIDE = 700  # pixels of a view's longer side
EXACT = 4096**2  # pixels up to which all of a scene is counted; beyond, pieces of it are


@dataclass(frozen=True)
class View:
    """Every ``step``-th pixel of a window of a scene.

    Attributes
    ----------
    window : Window
        What is shown, in the scene's pixels.
    step : int
    bands : (3, rows, columns) uint8, with ``around`` more pixels on each side where the scene has them
    nodata : (rows, columns) bool, likewise
    inner : (slice, slice)
        The window in these arrays.
    """

    window: Window
    step: int
    bands: np.ndarray
    nodata: np.ndarray
    inner: tuple[slice, slice]

    @property
    def picture(self) -> np.ndarray:
        """The window as (rows, columns, 3) uint8."""
        return self.bands[:, *self.inner].transpose(1, 2, 0)


class Preview:
    """A scene for a screen.

    Parameters
    ----------
    path : path
        As for `seaicekit.open_scene`.

    Attributes
    ----------
    shape : (rows, columns) of the scene
    crs, transform
        Its grid.
    overview : View
        All of it.
    counts : (256,) int64
        Its histogram of brightness: of all valid pixels up to 4096², of pieces spread over it beyond.

    Raises
    ------
    InputError
        The scene cannot be read.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = path
        with open_reader(path) as reader:
            self.shape, self.crs, self.transform = reader.shape, reader.crs, reader.transform
            self.exact = self.shape[0] * self.shape[1] <= EXACT
            whole = Window(0, 0, *self.shape)
            step = _step(whole)
            self._border = None
            if not reader.declares_nodata:
                small = reader.pixels(out_shape=_thin(whole, step))
                self._border = reader.border if self.exact else border_black(small)
            self.overview = self._look(reader, whole, step, 0)
            self.counts = self._count(reader)
        self._resolution = labels.pixel_size(self.crs, self.transform)
        self._measured: tuple[Rule | None, dict] = (None, {})
        self.shares = functools.lru_cache(maxsize=4)(self._shares)

    def _count(self, reader: SceneReader) -> np.ndarray:
        if not self.exact:  # overviews may be means of their pixels, which have another histogram
            return scene_histogram(self.path)
        if self.overview.step == 1:
            return np.bincount(brightness(self.overview.bands)[~self.overview.nodata], minlength=256)
        total = np.zeros(256, np.int64)
        for window in blocks(self.shape, 2048):
            bands, nodata = reader.read(window, None if self._border is None else self._border[window.slices])
            total += np.bincount(brightness(bands)[~nodata], minlength=256)
        return total

    def view(self, window: Window, rule: Rule) -> View:
        """Read a window, no finer than a screen, with what the rule's filter must see around it.

        Raises
        ------
        InputError
            It cannot be read.
        """
        step = _step(window)
        if step >= self.overview.step:
            return self.overview
        around = self._scene_rule(rule, step).halo
        with open_reader(self.path) as reader:
            return self._look(reader, window, step, around)

    def _look(self, reader: SceneReader, window: Window, step: int, around: int) -> View:
        outer = window.padded(around * step, self.shape, step)
        undeclared = None
        if self._border is not None:
            ratio = self._border.shape[0] / self.shape[0], self._border.shape[1] / self.shape[1]
            rows = (ratio[0] * (np.arange(outer.row, outer.row + outer.height, step) + step // 2)).astype(int)
            cols = (ratio[1] * (np.arange(outer.col, outer.col + outer.width, step) + step // 2)).astype(int)
            last = self._border.shape[0] - 1, self._border.shape[1] - 1
            undeclared = self._border[np.ix_(np.minimum(rows, last[0]), np.minimum(cols, last[1]))]
        bands, nodata = reader.read(outer, undeclared, _thin(outer, step))
        top, left = (window.row - outer.row) // step, (window.col - outer.col) // step
        rows, cols = _thin(window, step)
        return View(window, step, bands, nodata, (slice(top, top + rows), slice(left, left + cols)))

    def _scene_rule(self, rule: Rule, step: int) -> SceneRule:
        """Return the rule in a view's pixels, for the scene as a whole."""
        rule = Rule.of(rule, scope="scene", normalise=None, opaque="off")
        scene_rule = rule.for_scene(self._resolution)
        if step == 1:
            return scene_rule
        window = max(3, 2 * int(scene_rule.window / step / 2) + 1)
        return SceneRule(rule, window, labels.thinning(window))

    def codes(self, rule: Rule, view: View | None = None) -> np.ndarray:
        """Label a view, the overview if none is given.

        Where each pixel of the scene is seen, these are `seaicekit.label`'s labels. A coarser view with the
        cloud filter is near them: the filter's window is scaled with the view.

        Returns
        -------
        (rows, columns) uint8
        """
        view = view or self.overview
        if not rule.cloud_filter:
            nodata = np.zeros_like(view.nodata) if rule.nodata == "ignore" else view.nodata
            return labels.label_raw(view.bands[:, *view.inner], nodata[view.inner], rule.thresholds)
        counts = self._measure(rule, self.overview).counts
        return labels.decide(self._measure(rule, view), counts, Rule.of(rule, scope="scene"))[0]

    def filtered(self, rule: Rule, view: View | None = None) -> np.ndarray:
        """Return a view as the cloud filter sees it, (rows, columns) uint8.

        See `seaicekit.labels.filter_scene`.
        """
        rule, view = Rule.of(rule, cloud_filter=True), view or self.overview
        counts = self._measure(rule, self.overview).counts
        return labels.corrected_brightness(self._measure(rule, view), counts, rule)

    def difference(self, rule: Rule, view: View | None = None) -> np.ndarray:
        """Return how near each pixel of a view is to its background, (rows, columns) uint8."""
        return self._measure(Rule.of(rule, cloud_filter=True), view or self.overview).difference

    def histogram(self, rule: Rule) -> np.ndarray:
        """Count the brightness that the cuts decide on, (256,) int64, of all pixels in no class by colour.

        With the cloud filter ice counts with its corrected brightness (see `at`), of the overview's pixels.
        """
        if self.counts_all(rule) and not rule.cloud_filter:
            return self.counts
        view = self.overview
        counted = ~view.nodata[view.inner] | (rule.nodata == "ignore")
        counted[counted] = ~rule.thresholds.in_ranges(np.ascontiguousarray(view.picture[counted]))
        return np.bincount(self._brightness(rule, view)[counted], minlength=256)

    def counts_all(self, rule: Rule) -> bool:
        """Whether areas by a rule are those of all the scene's pixels, and not of some of them."""
        by_brightness = not rule.cloud_filter and not rule.thresholds.ranges and rule.nodata == "mask"
        return self.overview.step == 1 or (by_brightness and self.exact)

    def at(self, rule: Rule, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the brightness that the rule decides on, and its classes, at pixels of the scene.

        Parameters
        ----------
        rule : Rule
        rows, cols : (N,) int

        Returns
        -------
        brightness, codes : (N,) uint8
            The brightness is the pixel's own; with the cloud filter that of ice is the corrected one, to
            which `seaicekit.thresholds.Thresholds.ice_table` applies.
        """
        around = self._scene_rule(rule, 1).halo
        pixels = [Window(int(row), int(col), 1, 1) for row, col in zip(rows, cols, strict=True)]
        with open_reader(self.path) as reader:
            views = [self._look(reader, pixel, 1, around) for pixel in pixels]
        values = [self._brightness(rule, view)[0, 0] for view in views]
        codes = [self.codes(rule, view)[0, 0] for view in views]
        return np.array(values, np.uint8), np.array(codes, np.uint8)

    def _brightness(self, rule: Rule, view: View) -> np.ndarray:
        values = brightness(np.ascontiguousarray(view.bands[:, *view.inner]))
        if not rule.cloud_filter:
            return values
        return np.where(values <= rule.thresholds.water_max, values, self.filtered(rule, view))

    def _measure(self, rule: Rule, view: View) -> Measured:
        """Measure a view, once for all calls with a rule."""
        scene_rule = self._scene_rule(rule, view.step)
        if self._measured[0] != scene_rule.rule:
            self._measured = scene_rule.rule, {}
        measured = self._measured[1]
        if id(view) not in measured:
            while len(measured) > 1:  # the overview, which each call needs, and one other view are kept
                measured.pop(next(key for key in measured if key != id(self.overview)))
            values = labels.measure(view.bands, view.nodata, scene_rule, view.inner)
            measured[id(view)] = view, values  # the view is held, so that its id stays its own
        return measured[id(view)][1]

    def _shares(self, rule: Rule) -> dict[int, float]:
        """Return each class's share of the valid pixels, by code; by the histogram where that is enough."""
        if rule.cloud_filter or rule.thresholds.ranges or rule.nodata == "ignore":
            counts = labels.histogram(self.codes(rule))
            counts[NODATA] = 0
        else:
            counts = np.bincount(rule.thresholds.table, self.counts, minlength=256)
        return {code: counts[code] / max(1, counts.sum()) for code in rule.thresholds.legend.codes}


def _step(window: Window) -> int:
    return max(1, -(-max(window.height, window.width) // SIDE))


def _thin(window: Window, step: int) -> tuple[int, int]:
    return -(-window.height // step), -(-window.width // step)
