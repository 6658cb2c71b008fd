"""The threshold tuner, a widget."""

from seaicekit.tuner.preview import Preview
from seaicekit.tuner.tuner import ThresholdTuner

__all__ = ["Preview", "ThresholdTuner"]
