"""Figures of scenes, labels, predictions and scores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from seaicekit import labels, scenes
from seaicekit.classes import LEGEND, NODATA, Legend, SeaIceClass
from seaicekit.evaluation import CLOUDY
from seaicekit.files import InputError, atomic_write
from seaicekit.labels import provenance
from seaicekit.maps import polar
from seaicekit.thresholds import Thresholds

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd
    import pystac
    import shapely
    from matplotlib.patches import Patch

    from seaicekit.scenes import Paths, Raster

NODATA_GREY = (214, 214, 214)
CLOUD_COLOUR = "#e07b39"


def coloured(codes: np.ndarray, legend: Sequence[SeaIceClass] = LEGEND) -> np.ndarray:
    """Paint class codes, (rows, columns) uint8, in the legend's colours: (rows, columns, 3) uint8."""
    return Legend(legend).palette(NODATA_GREY)[codes]


def rgb(path: Any) -> np.ndarray:
    """Read a scene as a picture, (rows, columns, 3) uint8, no data in light grey."""
    with scenes.open_reader(path) as reader:
        bands, nodata = reader.read()
    picture = bands.transpose(1, 2, 0).copy()
    picture[nodata] = NODATA_GREY
    return picture


def _thinned(pixels: np.ndarray) -> np.ndarray:
    """Leave out rows and columns that a figure could not show anyway, so that it does not hold them all."""
    step = max(1, max(pixels.shape[:2]) // 1000)
    return pixels[::step, ::step].copy() if step > 1 else pixels


def _short(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:15]} … {name[-14:]}"


def gallery(paths: Paths) -> matplotlib.figure.Figure:
    """Draw scenes as thumbnails with their names, four a row."""
    from matplotlib.figure import Figure

    named = scenes.name_scenes(paths)
    columns, rows = min(4, len(named)), -(-len(named) // 4)
    figure = Figure(figsize=(3.1 * columns, 3.3 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, (name, path) in zip(axes, named.items(), strict=False):
        axis.imshow(_thinned(rgb(path)), interpolation="antialiased")
        axis.set_title(_short(name), fontsize=9)
    return figure


def footprints(items: Iterable[pystac.Item | dict], crs: str | None = None) -> matplotlib.figure.Figure:
    """Draw where scenes lie, on a polar map, each with its number in the order given and coloured by its date.

    Parameters
    ----------
    items : iterable of pystac.Item or of GeoJSON features (dict)
        As from `seaicekit.catalogue` or `seaicekit.search`. Those that are not on the map are named below it.
    crs : str, optional
        A polar stereographic projection; by default EPSG:3413 or EPSG:3031, by where most of the scenes are.

    Raises
    ------
    InputError
        No item has a place.
    """
    import pandas as pd
    import shapely
    from matplotlib import colormaps, colors, patheffects
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    features = [item if isinstance(item, dict) else item.to_dict(transform_hrefs=False) for item in items]
    latitudes = [
        shapely.geometry.shape(f["geometry"]).centroid.y if f["geometry"] else np.nan for f in features
    ]
    if np.isnan(latitudes).all():
        raise InputError("footprints: no scene has a place on a map; see them with seaicekit.maps.gallery")
    crs = crs or scenes.polar_crs(np.nanmedian(latitudes))
    north = scenes.is_north(crs)
    shapes = {
        number: scenes.footprint_on_map(features[number]["geometry"], crs)
        for number, latitude in enumerate(latitudes)
        if (latitude >= 0 if north else latitude < 0)
    }
    dates = pd.to_datetime([features[number]["properties"].get("datetime") for number in shapes], utc=True)
    days = [None if pd.isna(taken) else taken.toordinal() for taken in dates]
    known = [day for day in days if day] or [0]
    palette = colors.ListedColormap(
        colormaps["viridis"](np.linspace(0, 0.9, 256))
    )  # its yellow is too light a line
    paint = ScalarMappable(colors.Normalize(min(known), max(known)), palette)

    figure = Figure(figsize=(8, 6.2), layout="constrained")
    axis, side = figure.subplots(1, 2, width_ratios=[4, 1])
    side.set_axis_off()
    frame = polar.map_frame(shapely.union_all(list(shapes.values())).bounds)
    polar.draw_polar_map(axis, crs, frame)
    polar.draw_locator(side.inset_axes([0, 0.7, 1, 0.3]), crs, frame)
    for day, shape in zip(days, shapes.values(), strict=True):
        colour = paint.to_rgba(day) if day else (0.35, 0.35, 0.35, 1)
        polar.draw_polygon(
            axis, shape, facecolor=(*colour[:3], 0.15), edgecolor=colour, linewidth=1.4, zorder=5
        )
    halo = [patheffects.withStroke(linewidth=2.5, foreground="white")]
    size = frame[2] - frame[0]
    for (x, y, width), numbers in _gathered(shapes, size / 28).items():
        text = ", ".join(map(str, numbers)) if len(numbers) < 4 else f"{numbers[0]} … {numbers[-1]}"
        up = 9 if width < size / 20 else 0  # above what it would hide
        axis.annotate(
            text,
            (x, y),
            (0, up),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=9,
            weight="bold",
            path_effects=halo,
            zorder=6,
        )
    if min(known) < max(known):
        bar = figure.colorbar(paint, cax=side.inset_axes([0.1, 0.05, 0.12, 0.5]))
        ticks = np.unique(np.linspace(min(known), max(known), 5).astype(int))
        bar.set_ticks(ticks, labels=[f"{date.fromordinal(tick)}" for tick in ticks], fontsize=8.5)
        bar.outline.set_visible(False)
    elif max(known):
        side.text(0.5, 0.6, f"{date.fromordinal(max(known))}", ha="center", fontsize=9)
    missing = [
        _short(str(feature.get("id"))) for number, feature in enumerate(features) if number not in shapes
    ]
    if missing:
        more = f" and {len(missing) - 3} more" if missing[3:] else ""
        figure.supxlabel(f"Not on this map: {', '.join(missing[:3])}{more}", fontsize=9, color="0.35")
    return figure


def _gathered(
    shapes: dict[int, shapely.Geometry], near: float
) -> dict[tuple[float, float, float], list[int]]:
    """Put the numbers, from 1, of shapes too near one another for texts at one place: x, y and its width."""
    places: dict[tuple[float, float, float], list[int]] = {}
    for number, shape in shapes.items():
        x, y, width = shape.centroid.x, shape.centroid.y, shape.area**0.5
        place = next(
            (at for at in places if abs(at[0] - x) < 1.5 * near and abs(at[1] - y) < near), (x, y, width)
        )
        places.setdefault(place, []).append(number + 1)
    return places


def labelled(
    paths: Paths,
    thresholds: Thresholds,
    label_paths: Iterable[str | os.PathLike] = (),
    truth_paths: Iterable[str | os.PathLike | None] = (),
    most: int = 4,
) -> matplotlib.figure.Figure:
    """Draw the first few scenes beside their labels.

    By the cuts alone, filtered, and the truth if there is one.
    """
    named = dict(list(scenes.name_scenes(paths).items())[:most])
    label_paths, truth_paths = list(label_paths)[:most], list(truth_paths)[:most]
    rows: list[dict] = []
    for path in named.values():
        with scenes.open_reader(path) as reader:
            rows.append({"scene": path, "cuts alone": labels.label_raw(*reader.read(), thresholds)})
    for title, column in (("filter and cuts", label_paths), ("truth", truth_paths)):
        if column and all(column):
            rows = [row | {title: path} for row, path in zip(rows, column, strict=True)]
    return panels(rows, list(named), thresholds.legend)


def strata(
    path: str | os.PathLike, label_path: str | os.PathLike, tiles: pd.DataFrame
) -> matplotlib.figure.Figure:
    """Draw a scene, what the cloud filter makes of it, its labels, and how cloudy its tiles are.

    Parameters
    ----------
    path, label_path
        The scene and its label raster, by `seaicekit.autolabel`.
    tiles : pandas.DataFrame
        The scene's rows of the tile index. Tiles with at least 10 % cloud and shadow, the paper's upper
        stratum, are framed; each bears its share in per cent.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch, Rectangle

    rule = labels.Rule.from_dict((provenance(label_path) or {"rule": labels.Rule().to_dict()})["rule"])
    picture, codes = rgb(path), scenes.as_codes(label_path)
    seen = labels.filter_scene(scenes.open_scene(path), rule).values
    figure = Figure(figsize=(13, 13 / 4 * picture.shape[0] / picture.shape[1] + 0.8), layout="constrained")
    axes = figure.subplots(1, 4)
    rows, cols = picture.shape[:2]
    shown = {"extent": (0, cols, rows, 0)}
    axes[0].imshow(_thinned(picture), **shown)
    axes[1].imshow(
        np.ma.masked_where(_thinned(codes) == NODATA, _thinned(seen)), cmap="gray", vmin=0, vmax=255, **shown
    )
    axes[2].imshow(coloured(_thinned(codes), rule.thresholds.legend), interpolation="nearest", **shown)
    axes[3].imshow(_thinned(picture), alpha=0.45, **shown)
    for tile in tiles.itertuples():
        cloudy = tile.cloud >= CLOUDY
        box = (tile.col, tile.row), tile.width, tile.height
        axes[3].add_patch(
            Rectangle(*box, facecolor=CLOUD_COLOUR if cloudy else "none", alpha=0.35, linewidth=0)
        )
        axes[3].add_patch(Rectangle(*box, facecolor="none", edgecolor="0.25", linewidth=0.6))
        middle = tile.col + tile.width / 2, tile.row + tile.height / 2
        if min(tile.width, tile.height) >= 0.06 * max(rows, cols):
            axes[3].annotate(f"{100 * tile.cloud:.0f}", middle, ha="center", va="center", fontsize=9)
    for axis, title in zip(axes, ("scene", "filtered", "labels", "cloud and shadow, % of tile"), strict=True):
        axis.set(xticks=[], yticks=[], facecolor=[c / 255 for c in NODATA_GREY])
        axis.set_title(title, fontsize=11)
    patches = _patches(rule.thresholds.legend)
    patches.append(Patch(facecolor=CLOUD_COLOUR, alpha=0.5, label=f"tile with {100 * CLOUDY:.0f} % or more"))
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False)
    return figure


def mapped(
    predicted: pd.DataFrame,
    catalogue: pd.DataFrame,
    names: Iterable[str],
    legend: Sequence[SeaIceClass] = LEGEND,
    most: int = 4,
) -> matplotlib.figure.Figure:
    """Draw the first few of the named scenes beside their maps, confidences, and the truth if there is one.

    Parameters
    ----------
    predicted, catalogue : pandas.DataFrame
        As from `seaicekit.predict` and `seaicekit.scenes.load_catalogue`, both with ``scene`` as index.
    legend : sequence of SeaIceClass
        The map's classes.
    """
    rows, names = [], list(names)[:most]
    for name in names:
        truth = {"truth": catalogue.truth[name]} if catalogue.truth[names].notna().all() else {}
        made = {"map": predicted["map"][name], "confidence": predicted["confidence"][name]}
        rows.append({"scene": catalogue.path[name]} | truth | made)
    return panels(rows, names, legend)


def panels(
    rows: list[dict[str, Raster]], names: list[str] | None = None, legend: Sequence[SeaIceClass] = LEGEND
) -> matplotlib.figure.Figure:
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
    from matplotlib.figure import Figure

    titles = list(rows[0])
    shapes = [rgb(row["scene"]).shape for row in rows]
    heights = [shape[0] / shape[1] for shape in shapes]
    width = 3.1
    figure = Figure(
        figsize=(width * len(titles), sum(width * h for h in heights) + 0.9), layout="constrained"
    )
    axes = figure.subplots(len(rows), len(titles), squeeze=False, height_ratios=heights)
    for number, row in enumerate(rows):
        for axis, title in zip(axes[number], titles, strict=True):
            if title == "scene":
                axis.imshow(_thinned(rgb(row[title])), interpolation="antialiased")
            elif title == "confidence":
                percent = np.ma.masked_equal(_thinned(scenes.as_codes(row[title])), NODATA)
                image = axis.imshow(percent, vmin=33, vmax=100, cmap="magma")
            else:
                axis.imshow(coloured(_thinned(scenes.as_codes(row[title])), legend), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            if number == 0:
                axis.set_title(title, fontsize=11)
        if names:
            axes[number, 0].set_ylabel(_short(names[number]), fontsize=9)
    if "confidence" in titles:
        figure.colorbar(image, ax=axes[:, -1], label="confidence, %", shrink=0.8)
    patches = _patches(legend)
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False)
    return figure


def small_multiples(
    pictures: Mapping[str, Raster], legend: Sequence[SeaIceClass] = LEGEND
) -> matplotlib.figure.Figure:
    """Draw many class rasters of one scene beside each other, four a row.

    Parameters
    ----------
    pictures : dict
        Title → path or class codes, all of one shape; "scene" is a scene's path.
    legend : sequence of SeaIceClass
        The classes that occur.
    """
    from matplotlib.figure import Figure

    drawn = {
        title: rgb(raster) if title == "scene" else coloured(scenes.as_codes(raster), legend)
        for title, raster in pictures.items()
    }
    columns, rows = min(4, len(drawn)), -(-len(drawn) // 4)
    ratio = max(image.shape[0] / image.shape[1] for image in drawn.values())
    figure = Figure(figsize=(3.1 * columns, rows * (3.1 * ratio + 0.5) + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, (title, image) in zip(axes, drawn.items(), strict=False):
        axis.imshow(_thinned(image), interpolation="antialiased" if title == "scene" else "nearest")
        axis.set_title(title, fontsize=9)
    patches = _patches(legend)
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False)
    return figure


def _patches(legend: Sequence[SeaIceClass]) -> list[Patch]:
    from matplotlib.patches import Patch

    patches = [Patch(facecolor=entry.colour, edgecolor="0.4", label=entry.name) for entry in legend]
    red, green, blue = (each / 255 for each in NODATA_GREY)
    return [*patches, Patch(facecolor=(red, green, blue), edgecolor="0.4", label="no data")]


def curves(history: pd.DataFrame | list[dict]) -> matplotlib.figure.Figure:
    """Draw loss and accuracy (agreement with the labels) by epoch, on training and test tiles."""
    import pandas as pd
    from matplotlib.figure import Figure

    table = pd.DataFrame(history)
    figure = Figure(figsize=(8.5, 3), layout="constrained")
    for axis, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axis.plot(table["epoch"], table[name], color="#0b3c6f", marker=".", label="training tiles")
        axis.plot(table["epoch"], table[f"val_{name}"], color="#d1642a", marker=".", label="test tiles")
        axis.set(
            xlabel="epoch",
            ylabel=name if name == "loss" else "agreement with the labels",
            xlim=(0.5, max(2, table["epoch"].max()) + 0.5),
        )
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.3)
    axis.set_ylim(0, 1)
    axis.legend(frameon=False)
    if "images_per_second" in table:
        said = f"{table['images_per_second'].iloc[-1]:.1f} images a second"
        left = timedelta(seconds=round(table["seconds_left"].iloc[-1]))
        figure.supxlabel(f"{said}, {left} left" if left else said, fontsize=9, color="0.35")
    return figure


def live_curves() -> Callable[[list[dict]], None]:
    """Show `curves` in a notebook cell; return what redraws them with the epochs so far."""
    from IPython.display import display

    shown = display("Waiting for the first epoch …", display_id=True)
    return lambda epochs: shown.update(curves(epochs))


def save(figure: matplotlib.figure.Figure, path: str | os.PathLike) -> matplotlib.figure.Figure:
    """Write a figure as PNG and give it back, to be shown."""
    with atomic_write(path) as place:
        figure.savefig(place, dpi=110, bbox_inches="tight", pad_inches=0.08)
    return figure
