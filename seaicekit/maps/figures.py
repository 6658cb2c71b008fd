"""Figures of scenes beside class rasters."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from seaicekit import labels, scenes
from seaicekit.classes import LEGEND, NODATA, Legend, SeaIceClass
from seaicekit.evaluation import CLOUDY
from seaicekit.files import atomic_write
from seaicekit.labels import label_provenance
from seaicekit.thresholds import Thresholds

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from seaicekit.scenes import Paths, Raster

NODATA_GREY = (214, 214, 214)
CLOUD_COLOUR = "#e07b39"
CLOUD_TITLE = "cloud and shadow, % of tile"
PANEL = 3.1  # inches that a panel is wide
MOST_PIXELS = 1000  # a side of an image in a figure; no figure shows more


def coloured(codes: np.ndarray, legend: Sequence[SeaIceClass] = LEGEND) -> np.ndarray:
    """Return class codes, (rows, columns) uint8, in the legend's colours: (rows, columns, 3) uint8."""
    return Legend(legend).palette(NODATA_GREY)[codes]


def shorten(name: str) -> str:
    """Return a name of at most 32 characters, its middle left out if it is longer."""
    return name if len(name) <= 32 else f"{name[:15]} … {name[-14:]}"


def gallery(paths: Paths) -> Figure:
    """Draw scenes as thumbnails with their names, four a row."""
    return _draw_grid([(shorten(name), "scene", path) for name, path in scenes.name_scenes(paths).items()])


def small_multiples(pictures: Mapping[str, Raster], legend: Sequence[SeaIceClass] = LEGEND) -> Figure:
    """Draw many class rasters of one scene beside each other, four a row.

    Parameters
    ----------
    pictures : dict
        Title → path or class codes, all of one shape; "scene" is a scene's path.
    legend : sequence of SeaIceClass
        The classes that occur.
    """
    figure = _draw_grid([(title, title, raster) for title, raster in pictures.items()], legend)
    _add_legend(figure, legend)
    return figure


def labelled(
    paths: Paths,
    thresholds: Thresholds,
    label_paths: Iterable[str | os.PathLike] = (),
    truth_paths: Iterable[str | os.PathLike | None] = (),
    most: int = 4,
) -> Figure:
    """Draw the first scenes beside their labels, by the cuts alone and filtered, and the truth if any."""
    named = dict(list(scenes.name_scenes(paths).items())[:most])
    rows: list[dict] = []
    for path in named.values():
        with scenes.open_reader(path) as reader:
            rows.append({"scene": path, "cuts alone": labels.label_raw(*reader.read(), thresholds)})
    for title, column in (("filter and cuts", list(label_paths)), ("truth", list(truth_paths))):
        if column and all(column[:most]):
            rows = [row | {title: path} for row, path in zip(rows, column[:most], strict=True)]
    return panels(rows, list(named), thresholds.legend)


def mapped(
    predicted: pd.DataFrame,
    catalogue: pd.DataFrame,
    names: Iterable[str],
    legend: Sequence[SeaIceClass] = LEGEND,
    most: int = 4,
) -> Figure:
    """Draw the first of the named scenes beside their maps, confidences, and the truth if there is one.

    Parameters
    ----------
    predicted, catalogue : pandas.DataFrame
        As from `seaicekit.predict` and `seaicekit.scenes.load_catalogue`, both with ``scene`` as index.
    names : iterable of str
    legend : sequence of SeaIceClass
        The map's classes.
    most : int
        Scenes that are drawn.
    """
    names = list(names)[:most]
    columns = {"scene": catalogue["path"], "truth": catalogue["truth"]}
    if not catalogue["truth"][names].notna().all():
        del columns["truth"]
    columns |= {"map": predicted["map"], "confidence": predicted["confidence"]}
    return panels(
        [{title: column[name] for title, column in columns.items()} for name in names], names, legend
    )


def strata(path: str | os.PathLike, label_path: str | os.PathLike, tiles: pd.DataFrame) -> Figure:
    """Draw a scene, its filtered brightness, its labels, and how cloudy its tiles are.

    Parameters
    ----------
    path, label_path
        The scene and its label raster, by `seaicekit.autolabel`.
    tiles : pandas.DataFrame
        The scene's rows of the tile index. Tiles with at least 10 % cloud and shadow, the paper's upper
        stratum, are tinted; each bears its share in per cent.
    """
    rule = labels.Rule.from_dict((label_provenance(label_path) or {"rule": labels.Rule().to_dict()})["rule"])
    picture, legend = read_picture(path), rule.thresholds.legend
    filtered = np.repeat(labels.filter_scene(scenes.open_scene(path), rule).values[..., None], 3, axis=2)
    filtered[scenes.read_codes(label_path) == NODATA] = NODATA_GREY
    pale = (255 - 0.45 * (255.0 - picture)).astype(np.uint8)
    row = {"scene": picture, "filtered": filtered, "labels": label_path, CLOUD_TITLE: pale}
    figure = _draw_rows([row], legend=legend)
    axis = figure.axes[3]
    for tile in tiles.itertuples():
        box = (tile.col, tile.row), tile.width, tile.height
        if tile.cloud >= CLOUDY:
            axis.add_patch(Rectangle(*box, facecolor=CLOUD_COLOUR, alpha=0.35, linewidth=0))
        axis.add_patch(Rectangle(*box, facecolor="none", edgecolor="0.25", linewidth=0.6))
        if min(tile.width, tile.height) >= 0.06 * max(picture.shape):
            middle = tile.col + tile.width / 2, tile.row + tile.height / 2
            axis.annotate(f"{100 * tile.cloud:.0f}", middle, ha="center", va="center", fontsize=9)
    cloud = Patch(facecolor=CLOUD_COLOUR, alpha=0.5, label=f"tile with {100 * CLOUDY:.0f} % or more")
    _add_legend(figure, legend, cloud)
    return figure


def panels(
    rows: list[dict[str, Raster]], names: list[str] | None = None, legend: Sequence[SeaIceClass] = LEGEND
) -> Figure:
    """Draw scenes beside their rasters, a row a scene, with the legend.

    Parameters
    ----------
    rows : list of dict
        Title → path or class codes, in the order of the columns: "scene" is shown as it is, "confidence"
        on a scale of its own, all others in the legend's colours.
    names : list of str, optional
        What to write beside each row.
    legend : sequence of SeaIceClass
        The classes that occur.
    """
    figure = _draw_rows(rows, names, legend)
    _add_legend(figure, legend)
    return figure


def save(figure: Figure, path: str | os.PathLike) -> Figure:
    """Write a figure as PNG and return it, to be shown."""
    with atomic_write(path) as place:
        figure.savefig(place, dpi=110, bbox_inches="tight", pad_inches=0.08)
    return figure


def _draw_rows(
    rows: list[dict], names: list[str] | None = None, legend: Sequence[SeaIceClass] = LEGEND
) -> Figure:
    titles = list(rows[0])
    rows = [row | {"scene": read_picture(row["scene"])} for row in rows]
    heights = [row["scene"].shape[0] / row["scene"].shape[1] for row in rows]
    figure = Figure((PANEL * len(titles), PANEL * sum(heights) + 0.9), layout="constrained")
    axes = figure.subplots(len(rows), len(titles), squeeze=False, height_ratios=heights)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=11)
    images = [
        _draw_raster(axis, title, row[title], legend)
        for row, line in zip(rows, axes, strict=True)
        for axis, title in zip(line, titles, strict=True)
    ]
    for axis, name in zip(axes[:, 0], names or [], strict=False):
        axis.set_ylabel(shorten(name), fontsize=9)
    if "confidence" in titles:
        image = images[titles.index("confidence")]
        figure.colorbar(image, ax=axes[:, -1], label="confidence, %", shrink=0.8)
    return figure


def _draw_grid(drawn: Sequence[tuple[str, str, Any]], legend: Sequence[SeaIceClass] = LEGEND) -> Figure:
    """Draw (title, kind, raster) each, four a row."""
    columns, rows = min(4, len(drawn)), -(-len(drawn) // 4)
    figure = Figure((PANEL * columns, (PANEL + 0.3) * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (title, kind, raster) in zip(axes, drawn, strict=False):
        _draw_raster(axis, kind, raster, legend)
        axis.set_title(title, fontsize=9)
    for axis in axes:
        axis.set_axis_off()
    return figure


def _draw_raster(axis: Axes, kind: str, raster: Raster, legend: Sequence[SeaIceClass]) -> Any:
    """Draw a scene, a picture (rows, columns, 3), confidences or class codes in pixel coordinates."""
    axis.set(xticks=[], yticks=[])
    values: Any = read_picture(raster) if kind == "scene" else raster
    values = values if getattr(values, "ndim", 0) == 3 else scenes.read_codes(values)
    rows, columns = values.shape[:2]
    step = max(1, max(rows, columns) // MOST_PIXELS)
    values, extent = values[::step, ::step].copy(), (0, columns, rows, 0)
    if values.ndim == 3:
        return axis.imshow(values, interpolation="antialiased", extent=extent)
    if kind == "confidence":
        percent = np.ma.masked_equal(values, NODATA)
        return axis.imshow(percent, vmin=33, vmax=100, cmap="magma", extent=extent)
    return axis.imshow(coloured(values, legend), interpolation="nearest", extent=extent)


def read_picture(scene: Any) -> np.ndarray:
    """Return a scene as (rows, columns, 3) uint8, no data in light grey; a picture is returned as it is."""
    if isinstance(scene, np.ndarray):
        return scene
    with scenes.open_reader(scene) as reader:
        bands, nodata = reader.read()
    picture = bands.transpose(1, 2, 0).copy()
    picture[nodata] = NODATA_GREY
    return picture


def _add_legend(figure: Figure, legend: Sequence[SeaIceClass], *more: Patch) -> None:
    patches = [Patch(facecolor=entry.colour, edgecolor="0.4", label=entry.name) for entry in legend]
    grey = "#" + bytes(NODATA_GREY).hex()
    patches += [Patch(facecolor=grey, edgecolor="0.4", label="no data"), *more]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False)
