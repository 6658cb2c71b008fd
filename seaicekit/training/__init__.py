"""The U-Net and its training under Horovod."""

from seaicekit.training.launch import INSTALL, horovod_problem, require_horovod, train
from seaicekit.training.loop import fit
from seaicekit.training.models import CARD, Card, load_model, read_card, save_model, write_card
from seaicekit.training.ranks import TrainingError
from seaicekit.training.settings import Job, Launcher, Ranks, Settings, TrainOptions
from seaicekit.training.unet import build

__all__ = [
    "CARD",
    "INSTALL",
    "Card",
    "Job",
    "Launcher",
    "Ranks",
    "Settings",
    "TrainOptions",
    "TrainingError",
    "build",
    "fit",
    "horovod_problem",
    "load_model",
    "read_card",
    "require_horovod",
    "save_model",
    "train",
    "write_card",
]
