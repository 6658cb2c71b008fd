"""A trained model over whole scenes: what class, how sure, how much of it."""

from seaicekit.mapping.blend import classify
from seaicekit.mapping.predict import predict
from seaicekit.mapping.series import time_series

__all__ = ["classify", "predict", "time_series"]
