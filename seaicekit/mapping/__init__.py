"""Classes, confidences and areas of whole scenes by a trained model."""

from seaicekit.mapping.blend import BATCH_PIXELS, SIZE, classify, strips
from seaicekit.mapping.predict import predict
from seaicekit.mapping.series import time_series

__all__ = ["BATCH_PIXELS", "SIZE", "classify", "predict", "strips", "time_series"]
