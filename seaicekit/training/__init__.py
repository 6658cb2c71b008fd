"""The U-Net and its training under Horovod."""

from seaicekit.training.launch import INSTALL, Launcher, check_ranks, horovod_problem, require_horovod, train
from seaicekit.training.loop import fit
from seaicekit.training.models import CARD, Card, load_model, read_card, save_model, write_card
from seaicekit.training.ranks import TrainingError
from seaicekit.training.settings import Settings
from seaicekit.training.unet import build

__all__ = [
    "CARD",
    "INSTALL",
    "Card",
    "Launcher",
    "Settings",
    "TrainingError",
    "build",
    "check_ranks",
    "fit",
    "horovod_problem",
    "load_model",
    "read_card",
    "require_horovod",
    "save_model",
    "train",
    "write_card",
]
