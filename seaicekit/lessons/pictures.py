"""Figures for the lessons; the other ones are in `seaicekit.maps`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from seaicekit import labels, scenes
from seaicekit.classes import LEGEND, NODATA, OPEN_WATER, THICK_ICE
from seaicekit.lessons import laws
from seaicekit.maps import NODATA_GREY, coloured
from seaicekit.scenes import nodata_mask, open_scene
from seaicekit.thresholds import Thresholds

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

    from seaicekit.scenes import Raster

    Scene = xr.DataArray | str | os.PathLike

BANDS = {"B2, blue": (2, 490), "B3, green": (1, 560), "B4, red": (0, 665)}  # index in a scene, nm
LINES = {entry: "#8c8878" if entry.code == THICK_ICE else entry.colour for entry in LEGEND}  # on white
WRONG, INK, SECOND = "#d1642a", "#0b3c6f", "#35b5ac"
TITLES = (
    "what the satellite sees",
    "brightness and cuts",
    "clouds and shadows",
    "imperfect labels",
    "in parallel",
)


def _row(count: int, height: float = 3.4) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure with axes side by side, for pictures."""
    figure = Figure(figsize=(3.1 * count, height), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    for axis in axes:
        axis.set(xticks=[], yticks=[], facecolor=[c / 255 for c in NODATA_GREY])
    return figure, axes


def _panels(pictures: Mapping[str, np.ndarray], rasters: Mapping[str, Raster], height: float = 3.4) -> Figure:
    """Draw pictures (grey or colour) and class rasters beside each other, by their titles."""
    figure, axes = _row(len(pictures) + len(rasters), height)
    for axis, (title, picture) in zip(axes, pictures.items(), strict=False):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
        axis.set_title(title, fontsize=11)
    for axis, (title, raster) in zip(axes[len(pictures) :], rasters.items(), strict=True):
        axis.imshow(coloured(scenes.read_codes(raster)), interpolation="nearest")
        axis.set_title(title, fontsize=11)
    return figure


def _plot(height: float = 3.2, **properties: Any) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes, for curves."""
    figure = Figure(figsize=(7.0, height), layout="constrained")
    axis = figure.subplots()
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.3)
    axis.set(**properties)
    return figure, axis


def _opened(scene: Scene) -> xr.DataArray:
    return open_scene(scene) if isinstance(scene, str | os.PathLike) else scene


def _picture(scene: Scene) -> np.ndarray:
    """Return a scene's colours, (rows, columns, 3) uint8, with no data in grey."""
    scene = _opened(scene)
    picture = scene.values.transpose(1, 2, 0).copy()
    picture[nodata_mask(scene)] = NODATA_GREY
    return picture


def _mark_wrong(axis: Axes, wrong: np.ndarray) -> None:
    axis.imshow(np.ma.masked_where(~wrong, wrong), cmap=ListedColormap([WRONG]), interpolation="nearest")


def bands(scene: Scene) -> Figure:
    """Draw a scene's three bands in grey, and the colour picture that they make."""
    scene = _opened(scene)
    greys = {
        f"{name}, {length} nm": np.ma.masked_where(nodata_mask(scene), scene.values[number])
        for name, (number, length) in BANDS.items()
    }
    return _panels(greys | {"all three as a picture": _picture(scene)}, {})


def fresnel_curve() -> Figure:
    """Draw how much light flat water sends back, by the light's angle."""
    angles = np.linspace(0, 89, 179)
    figure, axis = _plot(xlabel="angle between light and vertical, degrees", ylabel="sent back, %")
    axis.plot(angles, 100 * laws.fresnel(angles), color=INK, linewidth=2)
    axis.set(xlim=(0, 90), ylim=(0, 100))
    axis.set_title("Flat sea water as a mirror", fontsize=11)
    return figure


def spectra(scene: Scene, truth: Raster) -> Figure:
    """Draw each class's reflectance in the three bands: its median, and where 90 % of its pixels are."""
    numbers, lengths = zip(*BANDS.values(), strict=True)
    values, codes = _opened(scene).values[list(numbers)] / 255, scenes.read_codes(truth)
    figure, axis = _plot(ylabel="reflectance", xlim=(465, 735), ylim=(0, 1.02))
    for entry, colour in LINES.items():
        low, middle, high = np.percentile(values[:, codes == entry.code], (5, 50, 95), axis=1)
        axis.fill_between(lengths, low, high, color=colour, alpha=0.18, linewidth=0)
        axis.plot(lengths, middle, color=colour, marker="o", linewidth=2)
        axis.annotate(entry.name, (lengths[-1], middle[-1]), (10, 0), textcoords="offset points", va="center")
    axis.set_xticks(lengths, labels=[f"{name}\n{length} nm" for name, (_, length) in BANDS.items()])
    return figure


def veil_curves(thresholds: Thresholds) -> Figure:
    """Draw the brightness of each surface of the synthetic scenes under thin cloud, and the cuts."""
    opacity = np.linspace(0, 1, 101)
    figure, axis = _plot(xlabel="opacity of the cloud, %", ylabel="brightness, max(R, G, B)")
    for entry, colour in LINES.items():
        brightness = laws.veil(max(scenes.CLASS_COLOURS[entry.code]), opacity)
        axis.plot(100 * opacity, brightness, color=colour, linewidth=2, label=entry.name)
    for name, cut, side in (("water_max", thresholds.water_max, 62), ("thin_max", thresholds.thin_max, 2)):
        axis.axhline(cut, color=WRONG, linewidth=1.3)
        axis.annotate(f"{name} = {cut}", (side, cut), (0, -11), textcoords="offset points", fontsize=9)
    axis.set(xlim=(0, 100), ylim=(0, 255))
    axis.legend(frameon=False, fontsize=9, loc="center right", bbox_to_anchor=(1, 0.4))
    return figure


def filter_steps(scene: Scene, thresholds: Thresholds) -> Figure:
    """Draw how the cloud filter works: scene, background, difference, and the corrected brightness."""
    scene = _opened(scene)
    nodata = nodata_mask(scene)
    grey = labels.to_grey(scene.values)
    grey[nodata | (labels.label_raw(scene.values, nodata, thresholds) == OPEN_WATER)] = 255
    steps = {
        "background": labels.background(grey),
        "nearness to it": labels.difference(grey),
        "stretched": labels.filter_scene(scene, labels.Rule(thresholds)).values,
    }
    greys = {title: np.ma.masked_where(nodata, step) for title, step in steps.items()}
    return _panels({"scene": _picture(scene)} | greys, {})


def side_by_side(scene: Scene, rasters: Mapping[str, Raster]) -> Figure:
    """Draw a scene beside class rasters: title → path or class codes."""
    return _panels({"scene": _picture(scene)}, rasters)


def mistakes(scene: Scene, rasters: Mapping[str, Raster], truth: Raster) -> Figure:
    """Draw a scene, its truth, and where each of several class rasters is wrong.

    Parameters
    ----------
    scene
        As it is, or its path.
    rasters : dict
        Title → path or class codes.
    truth
        Path or class codes.
    """
    codes = scenes.read_codes(truth)
    figure = _panels({"scene": _picture(scene)}, {"truth": codes} | dict.fromkeys(rasters, codes), 3.7)
    for axis, raster in zip(figure.axes[2:], rasters.values(), strict=True):
        wrong = (scenes.read_codes(raster) != codes) & (codes != NODATA)
        axis.images[0].set_alpha(0.3)
        _mark_wrong(axis, wrong)
        axis.set_xlabel(f"{wrong.sum() / (codes != NODATA).sum():.1%} wrong", fontsize=10, color=WRONG)
    return figure


def speedups(measured: Mapping[str, Mapping[int, float]], shares: Sequence[float], most: int = 8) -> Figure:
    """Draw measured speed-ups beside Amdahl's law.

    Parameters
    ----------
    measured : dict
        Name → workers → how many times as fast; at most three names.
    shares : sequence of float
        Shares of the work that can be divided: a curve each.
    most : int
        Workers up to which curves are drawn.
    """
    figure, axis = _plot(3.8, xlabel="workers", ylabel="times as fast")
    workers = np.linspace(1, most, 100)
    place: dict[str, Any] = {"xytext": (8, 0), "textcoords": "offset points", "va": "center"}
    for share in shares:
        axis.plot(workers, laws.amdahl(share, workers), color="0.6", linewidth=1.2)
        axis.annotate(f"p = {share:.0%}", (most, float(laws.amdahl(share, most))), fontsize=9, **place)
    points: dict[str, Any] = {"linestyle": "none", "clip_on": False, "zorder": 3}
    styles = ((INK, "o"), (WRONG, "s"), (SECOND, "D"))
    for (name, speeds), (colour, marker) in zip(measured.items(), styles, strict=False):
        axis.plot(list(speeds), list(speeds.values()), color=colour, marker=marker, label=name, **points)
    axis.set(xlim=(0.8, most), ylim=(0, most + 0.3), xticks=range(1, most + 1))
    axis.legend(frameon=False, fontsize=9, loc="upper left")
    return figure


def welcome(size: int = 256) -> Figure:
    """Draw the five lessons in one picture, for the start page."""
    clear, truth = scenes.synthetic_scene(24, (size, size))
    cloudy, _ = scenes.synthetic_scene(24, (size, size), 0.5)
    figure, axes = _row(5, 3.2)
    for number, (axis, title) in enumerate(zip(axes, TITLES, strict=True), 1):
        axis.set_title(f"{number} · {title}", fontsize=11)
    for axis, scene in ((axes[0], clear), (axes[2], cloudy)):
        axis.imshow(_picture(scene))
    counts = np.bincount(clear.values.max(axis=0).ravel(), minlength=256)
    counts[:2] = 0  # no data
    colours = coloured(Thresholds().table) / 255
    axes[1].bar(range(256), np.sqrt(counts), 1.0, color=colours, edgecolor="0.6", linewidth=0.2)
    axes[3].imshow(coloured(truth.values), interpolation="nearest", alpha=0.5)
    _mark_wrong(axes[3], labels.label(cloudy, cloud_filter=False).values != truth.values)
    workers = np.linspace(1, 8)
    for share in (1, 0.95, 0.8):
        axes[4].plot(workers, laws.amdahl(share, workers), color=INK, linewidth=2)
    for axis in (axes[1], axes[4]):
        axis.set_box_aspect(1)
        axis.set(facecolor="white")
    return figure
