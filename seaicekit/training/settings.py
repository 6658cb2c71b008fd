"""What a training needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from seaicekit import tiles
from seaicekit.files import InputError
from seaicekit.tiles import Inputs
from seaicekit.training.unet import DROPOUT, Normalisation


@dataclass(frozen=True)
class Settings:
    """What a training needs to know.

    Parameters
    ----------
    tiles : str
        Path of the tile index.
    out_dir : str
        Gets ``model.keras``, ``history.csv``, ``training.json`` and ``checkpoints``. All hosts must see it.
    epochs, batch, learning_rate, seed
        ``batch`` is per rank; 50, 16 and Adam's 0.001 in the paper.
    width, depth
        Of the U-Net; see `seaicekit.training.build`.
    augment : bool
        Flip and turn the tiles at random.
    dropout : bool
        Leave out features at random, as the paper does.
    inputs : "rgb", "grey" or "filtered"
        What the network sees; see `seaicekit.tiles.prepare_inputs`.
    targets : str
        What it learns: "labels", "raw", "truth" or a folder of rasters; see `seaicekit.tiles.target_rasters`.
    normalisation : "scale" or "l2"
        See `seaicekit.training.build`.
    scale_rate : bool
        Multiply the learning rate by the number of ranks, from once to so many times over the first
        ``warmup_epochs`` (Goyal et al. 2017, arXiv 1706.02677). The paper does not.
    warmup_epochs : int
        For that.
    mixed_precision : bool
        Compute in bfloat16, with weights and probabilities in float32.
    threads : int
        Of each rank; 0 shares a machine's cores among its ranks.
    resume : bool
        Go on from the newest checkpoint in ``out_dir``, if there is one.
    """

    tiles: str
    out_dir: str
    epochs: int = 50
    batch: int = 16
    learning_rate: float = 0.001
    seed: int = 0
    width: int = 16
    depth: int = 6
    augment: bool = True
    dropout: bool = True
    inputs: Inputs = "rgb"
    targets: str = "labels"
    normalisation: Normalisation = "scale"
    scale_rate: bool = False
    warmup_epochs: int = 5
    mixed_precision: bool = False
    threads: int = 0
    resume: bool = False

    def __post_init__(self):
        for name, least in {
            "epochs": 1,
            "batch": 1,
            "width": 1,
            "depth": 1,
            "warmup_epochs": 0,
            "threads": 0,
        }.items():
            if getattr(self, name) < least:
                raise InputError(f"{name}: must be at least {least}, not {getattr(self, name)}")
        if self.depth > len(DROPOUT):
            raise InputError(f"depth: must be at most {len(DROPOUT)}, not {self.depth}")
        if self.seed < 0:
            raise InputError(f"seed: must not be negative, not {self.seed}")
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate: must be above 0, not {self.learning_rate}")
        tiles.check_inputs(self.inputs)
        if self.normalisation not in get_args(Normalisation):
            options = ", ".join(get_args(Normalisation))
            raise InputError(f"normalisation: must be one of {options}, not {self.normalisation!r}")
        if not self.targets:
            raise InputError('targets: must be "labels", "raw", "truth" or a folder of rasters')

    @property
    def cell(self) -> int:
        """What a tile's sides must be a multiple of, in pixels."""
        return 2 ** (self.depth - 1)


def learning_rate_at(settings: Settings, ranks: int, step: int, steps: int) -> float:
    """Return the learning rate at a step, counted from the training's start.

    ``steps`` is those of an epoch.
    """
    if not settings.scale_rate:
        return settings.learning_rate
    warmup = settings.warmup_epochs * steps
    return settings.learning_rate * (1 + (ranks - 1) * (min(1.0, step / warmup) if warmup else 1.0))
