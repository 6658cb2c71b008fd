"""From pixels to classes, for one scene or for many on an engine."""

from seaicekit.labels.arrays import (
    filter_array,
    filter_scene,
    label,
    label_array,
    pixel_size,
    scene_pixel_size,
    stretch_limits,
)
from seaicekit.labels.batch import EngineOptions, autolabel, load_labels
from seaicekit.labels.blocks import Measured, corrected_brightness, decide, label_raw, measure
from seaicekit.labels.cloud_filter import (
    background,
    difference,
    histogram,
    stretch_bands,
    thinning,
    to_grey,
)
from seaicekit.labels.rule import VERSION, Rule, RuleOptions, SceneRule
from seaicekit.labels.tasks import label_provenance

__all__ = [
    "VERSION",
    "EngineOptions",
    "Measured",
    "Rule",
    "RuleOptions",
    "SceneRule",
    "autolabel",
    "background",
    "corrected_brightness",
    "decide",
    "difference",
    "filter_array",
    "filter_scene",
    "histogram",
    "label",
    "label_array",
    "label_provenance",
    "label_raw",
    "load_labels",
    "measure",
    "pixel_size",
    "scene_pixel_size",
    "stretch_bands",
    "stretch_limits",
    "thinning",
    "to_grey",
]
