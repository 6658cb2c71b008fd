"""What a training needs to know."""

from __future__ import annotations

import os
import re
from typing import Literal, Self

from pydantic import Field, model_validator

from seaicekit.files import InputError
from seaicekit.parameters import Parameters, Seeded
from seaicekit.tiles import Inputs
from seaicekit.training.unet import DROPOUT, Normalisation

Launcher = Literal["inprocess", "ipyparallel", "horovodrun"]


class Settings(Seeded):
    """The network and how it is trained."""

    epochs: int = Field(15, ge=1, description="Passes over the training tiles; 50 in the paper.")
    batch: int = Field(2, ge=1, description="Tiles a step, of each rank; 16 in the paper.")
    learning_rate: float = Field(0.003, gt=0, description="Of Adam; 0.001 in the paper.")
    scale_rate: bool = Field(
        False,
        description="Multiply the learning rate by the number of ranks, growing to it over the first "
        "warmup_epochs (Goyal et al. 2017, arXiv 1706.02677); the paper does not.",
    )
    warmup_epochs: int = Field(5, ge=0, description="Epochs over which the scaled rate grows.")
    width: int = Field(8, ge=1, description="Filters of the U-Net's first level; 16 in the paper.")
    depth: int = Field(4, ge=1, le=len(DROPOUT), description="Levels of the U-Net; 6 in the paper.")
    dropout: bool = Field(True, description="Leave out features at random, as the paper does.")
    augment: bool = Field(True, description="Flip and turn the tiles at random.")
    inputs: Inputs = Field(
        "rgb",
        description="What the network sees: the bands, their grey, or the filtered brightness (the paper).",
    )
    targets: str = Field(
        "labels",
        min_length=1,
        description="What it learns: labels, raw (by the cuts alone), truth, or a folder of rasters "
        "SCENE.tif.",
    )
    normalisation: Normalisation = Field(
        "scale", description="Of the input: scale divides by 255; l2 is the paper's, by columns of a tile."
    )
    mixed_precision: bool = Field(
        False, description="Compute in bfloat16, with weights and probabilities in float32."
    )
    threads: int = Field(0, ge=0, description="Of each rank; 0 shares a machine's cores among its ranks.")
    resume: bool = Field(False, description="Go on from the newest checkpoint, if there is one.")

    @property
    def cell(self) -> int:
        """What a tile's sides must be a multiple of, in pixels."""
        return 2 ** (self.depth - 1)


class Ranks(Parameters):
    """Horovod's ranks and who starts them."""

    launcher: Launcher = Field(
        "ipyparallel",
        description="Who starts the ranks: IPython engines, Horovod's own command over Gloo, or nobody "
        "(inprocess: one rank, here).",
    )
    ranks: int = Field(2, ge=1, description="Horovod ranks, on this machine if no hosts are given.")
    hosts: str | None = Field(
        None, description='For horovodrun: hosts and their slots, as "node1:2,node2:2", reached by SSH.'
    )

    @model_validator(mode="after")
    def _check_ranks(self) -> Self:
        """Refuse more ranks than there are slots, and hosts that cannot be understood."""
        if self.launcher == "inprocess" and self.ranks > 1:
            raise InputError(f"ranks: must be 1 in process, not {self.ranks}")
        if self.hosts is None:
            most = max(2, os.cpu_count() or 1)  # two on one core are slow, but show that it works
            if self.ranks > most:
                raise InputError(
                    f"ranks: {self.ranks} are more than this machine's {most} slots, one a core; give fewer"
                )
            return self
        if self.launcher != "horovodrun":
            raise InputError("hosts: only the launcher horovodrun starts ranks on other machines")
        if not re.fullmatch(r"\s*[^,]+:[1-9]\d*\s*(,\s*[^,]+:[1-9]\d*\s*)*", self.hosts):
            raise InputError(f'hosts: must be names and their slots as "node1:2,node2:2", not {self.hosts!r}')
        slots = sum(int(each.rpartition(":")[2]) for each in self.hosts.split(","))
        if self.ranks > slots:
            raise InputError(
                f"ranks: {self.ranks} are more than the {slots} slots of {self.hosts}; give fewer, or "
                "more hosts"
            )
        return self


class TrainOptions(Ranks, Settings):
    """All that `seaicekit.train` can be told."""


class Job(Settings):
    """A training of a tile index into a folder, as each rank gets it."""

    tiles: str = Field(description="Path of the tile index.")
    out_dir: str = Field(
        description="Gets model.keras, history.csv, training.json and checkpoints; all hosts must see it."
    )


def learning_rate_at(settings: Settings, ranks: int, step: int, steps: int) -> float:
    """Return the learning rate at a step, counted from the training's start.

    ``steps`` is those of an epoch.
    """
    if not settings.scale_rate:
        return settings.learning_rate
    warmup = settings.warmup_epochs * steps
    return settings.learning_rate * (1 + (ranks - 1) * (min(1.0, step / warmup) if warmup else 1.0))
