"""Figures for the lessons; the other ones are in `seaicekit.maps`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seaicekit import labels, scenes
from seaicekit.classes import LEGEND, NODATA, OPEN_WATER
from seaicekit.lessons import laws
from seaicekit.maps import NODATA_GREY, coloured
from seaicekit.scenes import nodata_mask, open_scene
from seaicekit.thresholds import Thresholds

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import xarray as xr

    from seaicekit.scenes import Raster

    Scene = xr.DataArray | str | os.PathLike

BANDS = {"B2, blue": (2, 490, "#3465a4"), "B3, green": (1, 560, "#3f8f3f"), "B4, red": (0, 665, "#b8322a")}
WRONG, INK, SECOND = "#d1642a", "#0b3c6f", "#35b5ac"


def _row(count: int, height: float = 3.4) -> tuple[matplotlib.figure.Figure, Sequence[matplotlib.axes.Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.1 * count, height), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    for axis in axes:
        axis.set(xticks=[], yticks=[], facecolor=[c / 255 for c in NODATA_GREY])
    return figure, axes


def _plot(width: float = 7.0, height: float = 3.2) -> tuple[matplotlib.figure.Figure, matplotlib.axes.Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axis = figure.subplots()
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.3)
    return figure, axis


def _opened(scene: Scene) -> xr.DataArray:
    return open_scene(scene) if isinstance(scene, str | os.PathLike) else scene


def _picture(scene: xr.DataArray) -> np.ndarray:
    picture = scene.values.transpose(1, 2, 0).copy()
    picture[nodata_mask(scene)] = NODATA_GREY
    return picture


def bands(scene: Scene) -> matplotlib.figure.Figure:
    """Draw a scene's three bands in grey, and the colour picture that they make."""
    scene = _opened(scene)
    figure, axes = _row(4)
    for axis, (name, (number, length, _)) in zip(axes, BANDS.items(), strict=False):
        values = np.ma.masked_where(nodata_mask(scene), scene.values[number])
        axis.imshow(values, cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"{name}, {length} nm", fontsize=11)
    axes[3].imshow(_picture(scene))
    axes[3].set_title("all three as a picture", fontsize=11)
    return figure


def fresnel_curve() -> matplotlib.figure.Figure:
    """Draw how much light flat water sends back, by the light's angle."""
    angles = np.linspace(0, 89, 179)
    figure, axis = _plot()
    axis.plot(angles, 100 * laws.fresnel(angles), color=INK, linewidth=2)
    axis.set(
        xlabel="angle between light and vertical, degrees", ylabel="sent back, %", xlim=(0, 90), ylim=(0, 100)
    )
    axis.set_title("Flat sea water as a mirror", fontsize=11)
    return figure


def spectra(scene: Scene, truth: Raster) -> matplotlib.figure.Figure:
    """Draw each class's reflectance in the three bands: its median, and where 90 % of its pixels are."""
    values, known = _opened(scene).values / 255, scenes.as_codes(truth)
    figure, axis = _plot()
    lengths = [length for _, length, _ in BANDS.values()]
    for entry in LEGEND:
        chosen = values[:, known == entry.code]
        low, middle, high = (
            [np.percentile(chosen[number], percent) for number, _, _ in BANDS.values()]
            for percent in (5, 50, 95)
        )
        colour = "#8c8878" if entry.name == "thick ice" else entry.colour
        axis.fill_between(lengths, low, high, color=colour, alpha=0.18, linewidth=0)
        axis.plot(lengths, middle, color=colour, marker="o", linewidth=2)
        axis.annotate(entry.name, (lengths[-1], middle[-1]), (10, 0), textcoords="offset points", va="center")
    axis.set_xticks(lengths, labels=[f"{name}\n{length} nm" for name, (_, length, _) in BANDS.items()])
    axis.set(ylabel="reflectance", xlim=(465, 735), ylim=(0, 1.02))
    return figure


def veil_curves(thresholds: Thresholds) -> matplotlib.figure.Figure:
    """Draw how bright each surface of the synthetic scenes is under thin cloud, and the cuts that it crosses."""
    opacity = np.linspace(0, 1, 101)
    figure, axis = _plot()
    for entry in LEGEND:
        colour = "#8c8878" if entry.name == "thick ice" else entry.colour
        seen = laws.veil(max(scenes.CLASS_COLOURS[entry.code]), opacity)
        axis.plot(100 * opacity, seen, color=colour, linewidth=2, label=entry.name)
    for name, cut, side in (("water_max", thresholds.water_max, 62), ("thin_max", thresholds.thin_max, 2)):
        axis.axhline(cut, color=WRONG, linewidth=1.3)
        axis.annotate(f"{name} = {cut}", (side, cut), (0, -11), textcoords="offset points", fontsize=9)
    axis.set(
        xlabel="opacity of the cloud, %", ylabel="brightness, max(R, G, B)", xlim=(0, 100), ylim=(0, 255)
    )
    axis.legend(frameon=False, fontsize=9, loc="center right", bbox_to_anchor=(1, 0.4))
    return figure


def filter_steps(scene: Scene, thresholds: Thresholds) -> matplotlib.figure.Figure:
    """Draw how the cloud filter works: scene, background, difference, and the corrected brightness."""
    scene = _opened(scene)
    grey = labels.to_grey(scene.values)
    grey[
        nodata_mask(scene) | (labels.label_raw(scene.values, nodata_mask(scene), thresholds) == OPEN_WATER)
    ] = 255
    corrected = labels.filter_scene(scene, labels.Rule(thresholds)).values
    figure, axes = _row(4)
    steps = {
        "background": labels.background(grey),
        "nearness to it": labels.difference(grey),
        "stretched": corrected,
    }
    axes[0].imshow(_picture(scene))
    axes[0].set_title("scene", fontsize=11)
    for axis, (title, values) in zip(axes[1:], steps.items(), strict=True):
        axis.imshow(np.ma.masked_where(nodata_mask(scene), values), cmap="gray", vmin=0, vmax=255)
        axis.set_title(title, fontsize=11)
    return figure


def side_by_side(scene: Scene, made: Mapping[str, Raster]) -> matplotlib.figure.Figure:
    """Draw a scene beside class rasters: title → path or class codes."""
    figure, axes = _row(1 + len(made))
    axes[0].imshow(_picture(_opened(scene)))
    axes[0].set_title("scene", fontsize=11)
    for axis, (title, raster) in zip(axes[1:], made.items(), strict=True):
        axis.imshow(coloured(scenes.as_codes(raster)), interpolation="nearest")
        axis.set_title(title, fontsize=11)
    return figure


def mistakes(scene: Scene, made: Mapping[str, Raster], truth: Raster) -> matplotlib.figure.Figure:
    """Draw a scene, its truth, and where each of several class rasters is wrong.

    Parameters
    ----------
    scene
        As it is, or its path.
    made : dict
        Title → path or class codes.
    truth
        Path or class codes.
    """
    known = scenes.as_codes(truth)
    figure, axes = _row(2 + len(made), 3.7)
    axes[0].imshow(_picture(_opened(scene)))
    axes[0].set_title("scene", fontsize=11)
    axes[1].imshow(coloured(known), interpolation="nearest")
    axes[1].set_title("truth", fontsize=11)
    for axis, (title, raster) in zip(axes[2:], made.items(), strict=True):
        wrong = (scenes.as_codes(raster) != known) & (known != NODATA)
        axis.imshow(coloured(known), interpolation="nearest", alpha=0.3)
        axis.imshow(np.ma.masked_where(~wrong, wrong), cmap=_one_colour(WRONG), interpolation="nearest")
        axis.set_title(title, fontsize=11)
        axis.set_xlabel(f"{wrong.sum() / (known != NODATA).sum():.1%} wrong", fontsize=10, color=WRONG)
    return figure


def _one_colour(colour: str) -> Any:
    from matplotlib.colors import ListedColormap

    return ListedColormap([colour])


def speedups(
    measured: Mapping[str, Mapping[int, float]], shares: Sequence[float], most: int = 8
) -> matplotlib.figure.Figure:
    """Draw measured speed-ups beside Amdahl's law.

    Parameters
    ----------
    measured : dict
        Name → workers → how many times as fast.
    shares : sequence of float
        Shares of the work that can be divided: a curve each.
    most : int
        Workers up to which curves are drawn.
    """
    figure, axis = _plot(7.0, 3.8)
    workers = np.linspace(1, most, 100)
    for share in shares:
        axis.plot(workers, laws.amdahl(share, workers), color="0.6", linewidth=1.2)
        end = float(laws.amdahl(share, most))
        axis.annotate(
            f"p = {share:.0%}", (most, end), (8, 0), textcoords="offset points", va="center", fontsize=9
        )
    for (name, points), (colour, marker) in zip(
        measured.items(), ((INK, "o"), (WRONG, "s"), (SECOND, "D")), strict=False
    ):
        axis.plot(
            list(points),
            list(points.values()),
            color=colour,
            marker=marker,
            linestyle="none",
            label=name,
            clip_on=False,
            zorder=3,
        )
    axis.set(xlabel="workers", ylabel="times as fast", xlim=(0.8, most), ylim=(0, most + 0.3))
    axis.set_xticks(range(1, most + 1))
    axis.legend(frameon=False, fontsize=9, loc="upper left")
    return figure


def welcome(size: int = 256) -> matplotlib.figure.Figure:
    """Draw the five lessons in one picture, for the start page."""
    clear, truth = scenes.synthetic_scene(24, (size, size))
    cloudy, _ = scenes.synthetic_scene(24, (size, size), 0.5)
    wrong = labels.label(cloudy, cloud_filter=False).values != truth.values
    figure, axes = _row(5, 3.2)
    for axis, scene in ((axes[0], clear), (axes[2], cloudy)):
        axis.imshow(_picture(scene))
    axes[3].imshow(coloured(truth.values), interpolation="nearest", alpha=0.5)
    axes[3].imshow(np.ma.masked_where(~wrong, wrong), cmap=_one_colour(WRONG), interpolation="nearest")
    brightness, workers = np.arange(256), np.linspace(1, 8)
    colours = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in coloured(Thresholds().table)]
    counts = labels.histogram(clear.values.max(axis=0))
    counts[:2] = 0  # no data
    axes[1].bar(brightness, np.sqrt(counts), 1.0, color=colours, edgecolor="0.6", linewidth=0.2)
    for share in (1, 0.95, 0.8):
        axes[4].plot(workers, laws.amdahl(share, workers), color=INK, linewidth=2)
    titles = (
        "what the satellite sees",
        "brightness and cuts",
        "clouds and shadows",
        "imperfect labels",
        "in parallel",
    )
    for number, (axis, title) in enumerate(zip(axes, titles, strict=True), 1):
        axis.set_title(f"{number} · {title}", fontsize=11)
        if number in (2, 5):
            axis.set_box_aspect(1)
            axis.set(facecolor="white")
    return figure
