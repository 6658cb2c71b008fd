"""The threshold tuner."""

from seaicekit.widgets.tuner import ThresholdTuner

__all__ = ["ThresholdTuner"]
