"""The threshold tuner, a widget."""

from seaicekit.files import require

require("lab", "the tuner", "ipywidgets", "ipyleaflet", "bqplot", "anywidget")

# Below the check, so that a missing library is named with its extra.
from seaicekit.tuner.calibrate import fit_points  # noqa: E402
from seaicekit.tuner.preview import Preview  # noqa: E402
from seaicekit.tuner.tuner import ThresholdTuner  # noqa: E402

__all__ = ["Preview", "ThresholdTuner", "fit_points"]
