"""How the ice changes from one date to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seaicekit.files import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from seaicekit.classes import SeaIceClass


def time_series(predicted: pd.DataFrame, legend: Sequence[SeaIceClass]) -> pd.DataFrame:
    """Sum the areas of all scenes of a day.

    Parameters
    ----------
    predicted : pandas.DataFrame
        As from `seaicekit.predict`. Scenes without a date or an area are passed over. Where scenes of one day
        overlap, what they share counts twice.
    legend : sequence of SeaIceClass
        The model's.

    Returns
    -------
    pandas.DataFrame
        A row a day, ``date`` as index: ``scenes``, how many; the area of each class, ``open_water_km2`` …;
        and ``ice_concentration``, 0 to 1.

    Raises
    ------
    InputError
        Columns that are not there.
    """
    import pandas as pd

    from seaicekit.classes import concentration

    columns = {entry.code: f"{entry.name.replace(' ', '_')}_km2" for entry in legend}
    missing = ({"datetime", *columns.values()}) - set(predicted)
    if missing:
        raise InputError(f"time series: {sorted(missing)[0]} is missing; give the table of seaicekit.predict")
    known = predicted.dropna(subset=["datetime", *columns.values()])
    day = pd.to_datetime(known["datetime"], utc=True, format="ISO8601").dt.date.rename("date")
    summed = known.groupby(day)[list(columns.values())].sum()
    summed.insert(0, "scenes", known.groupby(day).size())
    summed["ice_concentration"] = [
        concentration({code: row[name] for code, name in columns.items()}, legend)
        for _, row in summed.iterrows()
    ]
    return summed
