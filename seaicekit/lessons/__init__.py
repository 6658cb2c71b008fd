"""What the lessons in ``notebooks/lessons`` need: guesses, exercises, a little physics, pictures."""

from seaicekit.lessons.exercises import Note, check, predict
from seaicekit.lessons.laws import amdahl, fresnel, parallel_share, veil
from seaicekit.lessons.material import clicks, labelled_pixels, make, mislabel
from seaicekit.lessons.pictures import bands, filter_steps, fresnel_curve, mistakes, spectra, speedups, welcome

__all__ = [
    "Note", "amdahl", "bands", "check", "clicks", "filter_steps", "fresnel", "fresnel_curve", "labelled_pixels",
    "make", "mislabel", "mistakes", "parallel_share", "predict", "spectra", "speedups", "veil", "welcome",
]  # fmt: skip
