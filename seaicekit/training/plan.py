"""All that is known of a training before the first pixel is read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seaicekit import scenes, tiles
from seaicekit.files import InputError, sha256
from seaicekit.training.models import Card

if TYPE_CHECKING:
    import pandas as pd

    from seaicekit.classes import Legend
    from seaicekit.labels import Rule
    from seaicekit.training.settings import Job

LEAST = 96  # pixels a side of a tile, without margins that maps throw away (seaicekit.mapping.blend)
# What may change from an interrupted training to its resumption; of the batch, only how ranks share it.
MAY_CHANGE_ON_RESUME = {"tiles", "out_dir", "epochs", "batch", "threads", "resume"}
SIDES = ("train", "test")


@dataclass(frozen=True)
class Plan:
    """A training: its job, its tiles and what to learn of them.

    Attributes
    ----------
    job : Job
    table : pandas.DataFrame
        The tiles to train and test on.
    targets : dict
        Scene → raster to learn, as from `seaicekit.tiles.target_rasters`.
    legend : Legend
    rule : Rule or None
        The one that filters the inputs, where they are filtered.
    """

    job: Job
    table: pd.DataFrame
    targets: dict[str, str | None]
    legend: Legend
    rule: Rule | None

    @classmethod
    def of(cls, job: Job) -> Plan:
        """Read the tile index and the rasters' metadata, without TensorFlow.

        Raises
        ------
        InputError
            No tiles to train or to test on, tiles that the depth does not fit, rasters that are missing or
            disagree.
        """
        table = tiles.read_tiles(job.tiles)
        table = table[table["split"].isin(SIDES)].reset_index(drop=True)
        for side in SIDES:
            if (table["split"] != side).all():
                raise InputError(f"{job.tiles}: no tiles to {side} on; give more scenes")
        size = table["size"].iloc[0]
        if size % job.cell:
            raise InputError(f"depth: at {job.depth} tiles must be a multiple of {job.cell} pixels a side")
        if job.normalisation == "l2" and size <= LEAST:
            raise InputError(
                f"normalisation: l2 needs tiles above {LEAST} pixels a side, for maps are made of such tiles"
            )
        targets = tiles.target_rasters(table, job.targets, job.tiles)
        legend = scenes.common_legend(sorted({*table["labels"], *filter(None, targets.values())}))
        return cls(job, table, targets, legend, _rule(table) if job.inputs == "filtered" else None)

    def numbers(self, side: str) -> np.ndarray:
        """Return which rows of the table are of a split, (tiles,) int."""
        return np.flatnonzero(self.table["split"] == side)

    def identity(self, ranks: int) -> dict:
        """Return all that a resumed training must have in common with the interrupted one, as JSON values."""
        # A raster may have been drawn anew, so the targets' contents count.
        rasters = {str(raster) for raster in self.targets.values() if raster} or set(self.table["labels"])
        contents = "".join(sha256(raster) for raster in sorted(rasters))
        return {
            "settings": {
                name: value
                for name, value in self.job.model_dump().items()
                if name not in MAY_CHANGE_ON_RESUME
            },
            "global batch": self.job.batch * ranks,
            "tiles": sha256(self.job.tiles),
            "targets": hashlib.sha256(contents.encode()).hexdigest(),
        }

    def card(self, manifest: dict) -> Card:
        """Return the card of the trained model."""
        size = int(self.table["size"].iloc[0])
        job = self.job
        return Card(self.legend, job.inputs, self.rule, job.normalisation, size, job.cell, manifest)


def _rule(table: pd.DataFrame) -> Rule:
    """Return the one rule that the labels were made by, for prediction to filter by it, too."""
    rules = [tiles.labelling_rule(raster)[0] for raster in table["labels"].unique()]
    if any(rule != rules[0] for rule in rules):
        raise InputError(
            'inputs: "filtered" needs labels made by one rule, and these are of several; label again'
        )
    return rules[0]
