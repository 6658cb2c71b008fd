"""Classify polar sea ice in Sentinel-2 imagery: calibrated auto-labels, U-Net training, maps."""

import lazy_loader

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submodules=[
        "classes",
        "engines",
        "evaluation",
        "files",
        "labels",
        "lessons",
        "mapping",
        "maps",
        "parameters",
        "pipeline",
        "report",
        "scenes",
        "thresholds",
        "tiles",
        "training",
        "tuner",
    ],
    submod_attrs={
        "evaluation": ["evaluate"],
        "files": ["InputError"],
        "labels": ["autolabel", "label", "load_labels"],
        "mapping": ["predict"],
        "pipeline": ["Run"],
        "scenes": ["catalogue", "open_scene", "search"],
        "thresholds": ["Thresholds"],
        "training": ["train"],
        "tuner": ["ThresholdTuner"],
    },
)

__version__ = "0.1.0"
__all__ = [
    "InputError",
    "Run",
    "ThresholdTuner",
    "Thresholds",
    "autolabel",
    "catalogue",
    "evaluate",
    "label",
    "load_labels",
    "open_scene",
    "predict",
    "search",
    "train",
]
