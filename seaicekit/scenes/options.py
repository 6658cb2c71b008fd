"""Which scenes a run works on."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from seaicekit.files import InputError, is_url
from seaicekit.parameters import Seeded
from seaicekit.scenes.archive import parse_dates, parse_region


class SceneOptions(Seeded):
    """Which scenes a run works on: a folder's, those of a search, or synthetic ones."""

    scenes: str | None = Field(
        None,
        description="A folder of images or products, a quoted pattern, or a URL, with options after #; "
        "synthetic scenes are made if null.",
    )
    synthetic_count: int = Field(4, ge=1, description="How many synthetic scenes are made.")
    synthetic_size: int = Field(1024, ge=16, description="Side of a synthetic scene, pixels of 50 m.")
    search: str | tuple[float, float, float, float] | None = Field(
        None,
        description='A sea ("Ross Sea") or [west, south, east, north] in degrees: scenes are looked for in '
        "a STAC catalogue.",
    )
    dates: str = Field(
        "2019-11", description="Of the search: a day, month or year, or a span such as 2019-11-01/2019-11-30."
    )
    max_cloud: float = Field(60, ge=0, le=100, description="Of the search: the most cloud cover, per cent.")
    catalog: str = Field(
        "earth-search",
        description="Of the search: earth-search, planetary-computer, or the address of a STAC API.",
    )

    @model_validator(mode="after")
    def _check_search(self) -> Self:
        if self.search:
            parse_region(self.search)
            parse_dates(self.dates)
            is_url(self.catalog)
            if self.scenes:
                raise InputError("search: scenes are given, too; leave one of the two out")
        return self
