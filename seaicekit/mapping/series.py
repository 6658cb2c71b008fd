"""How the ice changes from one date to the next."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from seaicekit import scenes, thresholds
from seaicekit.classes import NODATA, concentration
from seaicekit.files import InputError

if TYPE_CHECKING:
    import pandas as pd
    import rasterio

    from seaicekit.classes import SeaIceClass


def time_series(predicted: pd.DataFrame, legend: Sequence[SeaIceClass]) -> pd.DataFrame:
    """Sum the areas of all scenes of a day, each place once.

    Where scenes of one day overlap, a place counts by the scene of the highest ``mean_confidence`` that has
    data there; of equal ones by the first. The maps are compared pixel by pixel on each scene's own grid,
    the nearest pixel of the others (right to an eighth of a pixel), so areas of an overlap are right to the
    pixels along its border. Strips of a thirty-second of a scene are in memory at a time.

    Parameters
    ----------
    predicted : pandas.DataFrame
        As from `seaicekit.predict`. Scenes without a date or an area are passed over.
    legend : sequence of SeaIceClass
        The model's.

    Returns
    -------
    pandas.DataFrame
        A row a day (UTC), ``date`` as index: ``scenes``, how many; the area of each class,
        ``open_water_km2`` …; and ``ice_concentration``, 0 to 1.

    Raises
    ------
    InputError
        Columns that are not there, or a map that cannot be read.
    """
    import pandas as pd

    columns = {entry.code: f"{entry.column}_km2" for entry in legend}
    missing = {"datetime", "map", "mean_confidence", *columns.values()} - set(predicted)
    if missing:
        raise InputError(f"time series: {sorted(missing)[0]} is missing; give the table of seaicekit.predict")
    known = predicted.dropna(subset=["datetime", *columns.values()])
    day = pd.to_datetime(known["datetime"], utc=True, format="ISO8601").dt.date.rename("date")
    rows = []
    for date, group in known.groupby(day):
        group = group.sort_values("mean_confidence", ascending=False, kind="stable")
        areas = dict.fromkeys(columns, 0.0)
        for number, row in enumerate(group.to_dict("records")):
            own = {code: row[name] for code, name in columns.items()}
            if number:
                own = _uncovered(row["map"], list(group["map"][:number]), legend) or own
            areas = {code: area + own[code] for code, area in areas.items()}
        shown = {name: areas[code] for code, name in columns.items()}
        ice = concentration(areas, legend)
        rows.append({"date": date, "scenes": len(group)} | shown | {"ice_concentration": ice})
    names = ["date", "scenes", *columns.values(), "ice_concentration"]
    return pd.DataFrame(rows, columns=names).set_index("date")


def _uncovered(path: str, others: Sequence[str], legend: Sequence[SeaIceClass]) -> dict[int, float] | None:
    """Return a map's area of each class, km², where no other map has data; None if no other is near."""
    from rasterio.vrt import WarpedVRT

    with ExitStack() as stack:
        grid = stack.enter_context(scenes.open_raster(path))
        near = [stack.enter_context(scenes.open_raster(other)) for other in others]
        warped = [
            stack.enter_context(
                WarpedVRT(
                    other,
                    crs=grid.crs,
                    transform=grid.transform,
                    width=grid.width,
                    height=grid.height,
                    nodata=NODATA,
                )
            )
            for other in near
            if _may_overlap(grid, other)
        ]

        def covered(rows: slice) -> np.ndarray:
            window = ((rows.start, rows.stop), (0, grid.width))
            return np.any([other.read(1, window=window) != NODATA for other in warped], axis=0)

        return thresholds.square_kilometres(path, legend, covered) if warped else None


def _may_overlap(grid: rasterio.DatasetReader, other: rasterio.DatasetReader) -> bool:
    """Say whether two rasters' bounds, a tenth wider, meet in the first one's CRS."""
    import rasterio.errors
    from rasterio.warp import transform_bounds

    try:
        left, bottom, right, top = transform_bounds(other.crs, grid.crs, *other.bounds)
    except rasterio.errors.RasterioError:
        return True
    wide, high = 0.1 * (right - left), 0.1 * (top - bottom)
    apart = (
        left - wide > grid.bounds.right
        or right + wide < grid.bounds.left
        or bottom - high > grid.bounds.top
        or top + high < grid.bounds.bottom
    )
    return not apart
