"""Which cuts a run labels by."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from seaicekit.parameters import Parameters
from seaicekit.thresholds.cuts import Thresholds


class CutOptions(Parameters):
    """Which cuts a run labels by: those of a file, or two numbers."""

    thresholds: str | None = Field(
        None, description="A file of cuts, as the tuner saves it; it wins over the two numbers."
    )
    water_max: int = Field(Thresholds.water_max, ge=0, le=255, description="The brightest open water.")
    thin_max: int = Field(Thresholds.thin_max, ge=0, le=255, description="The brightest thin ice.")

    @model_validator(mode="after")
    def _check_cuts(self) -> Self:
        Thresholds(self.water_max, self.thin_max)
        return self

    def cuts(self) -> Thresholds:
        """Return the file's cuts, or those of the two numbers."""
        if self.thresholds:
            return Thresholds.load(self.thresholds)
        return Thresholds(self.water_max, self.thin_max)
