"""What the lessons in ``notebooks/lessons`` need.

Guesses, exercises, a little physics, material, pictures.
"""

from seaicekit.lessons.exercises import Link, Note, check, predict, tuner_link
from seaicekit.lessons.laws import amdahl, fresnel, parallel_share, ring_all_reduce, veil
from seaicekit.lessons.material import (
    agreement,
    cores,
    equal_pixels,
    fewer,
    labelled_pixels,
    learn,
    make,
    mislabel,
    recalls,
    tiles,
    time_labelling,
)
from seaicekit.lessons.pictures import (
    bands,
    filter_steps,
    fresnel_curve,
    mistakes,
    side_by_side,
    spectra,
    speedups,
    veil_curves,
    welcome,
)

__all__ = [
    "Link",
    "Note",
    "agreement",
    "amdahl",
    "bands",
    "check",
    "cores",
    "equal_pixels",
    "fewer",
    "filter_steps",
    "fresnel",
    "fresnel_curve",
    "labelled_pixels",
    "learn",
    "make",
    "mislabel",
    "mistakes",
    "parallel_share",
    "predict",
    "recalls",
    "ring_all_reduce",
    "side_by_side",
    "spectra",
    "speedups",
    "tiles",
    "time_labelling",
    "tuner_link",
    "veil",
    "veil_curves",
    "welcome",
]
