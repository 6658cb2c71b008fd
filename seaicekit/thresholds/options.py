"""Which cuts a run labels by."""

from __future__ import annotations

from pydantic import Field

from seaicekit.thresholds.cuts import Cuts, Thresholds


class CutOptions(Cuts):
    """Which cuts a run labels by: those of a file, or two numbers."""

    thresholds: str | None = Field(
        None, description="A file of cuts, as the tuner saves it; it wins over the two numbers."
    )

    def cuts(self) -> Thresholds:
        """Return the file's cuts, or those of the two numbers."""
        if self.thresholds:
            return Thresholds.load(self.thresholds)
        return Thresholds(self.water_max, self.thin_max)
