"""Classify polar sea ice in Sentinel-2 imagery: calibrated auto-labels, U-Net training, maps."""

import lazy_loader

# First, and itself light: the module has its function's name, and here the function is meant.
from seaicekit.autolabel import autolabel
from seaicekit.autolabel import load_table as load_labels

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submodules=["areas", "catalogues", "checkpoints", "classes", "clouds", "data", "doctor", "engines", "evaluation",
                "fitting", "geojson", "inputs", "labels", "launch", "lessons", "mapping", "maps", "models", "pipeline",
                "points",
                "polar", "preview", "ranges", "ranks", "rasters", "report", "scenes", "settings", "sources", "splits",
                "stac", "steps", "study", "synthetic", "thresholds", "tiles", "training", "unet", "widgets"],
    submod_attrs={
        "catalogues": ["catalogue"],
        "evaluation": ["evaluate"],
        "files": ["InputError"],
        "labels": ["label"],
        "launch": ["train"],
        "mapping": ["predict"],
        "scenes": ["open_scene"],
        "stac": ["search"],
        "thresholds": ["Thresholds"],
        "widgets": ["ThresholdTuner"],
    },
)  # fmt: skip

__version__ = "0.1.0"
__all__ = [
    "InputError", "ThresholdTuner", "Thresholds", "autolabel", "catalogue", "evaluate", "label", "load_labels",
    "open_scene", "predict", "search", "train",
]  # fmt: skip
