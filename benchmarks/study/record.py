"""A study's tables as JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from seaicekit.files import write_json

if TYPE_CHECKING:
    import pandas as pd


def records(table: pd.DataFrame) -> list[dict]:
    """Return a table's rows as JSON values: numbers rounded to six places, None for NaN."""
    rounded = table.round(6).astype(object)
    return rounded.where(table.notna(), None).to_dict("records")


def save(path: str | os.PathLike, **tables: pd.DataFrame | Mapping) -> None:
    """Write tables, by their indices as well, and plain values as one JSON object."""
    made = {
        name: table if isinstance(table, Mapping) else records(_flat(table)) for name, table in tables.items()
    }
    write_json(path, made)


def _flat(table: pd.DataFrame) -> pd.DataFrame:
    return table.reset_index() if table.index.names != [None] else table
