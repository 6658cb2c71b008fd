"""A study on synthetic scenes: make them, calibrate, label, train, map and score, again and the same each time."""

from seaicekit.study.benchmark import Benchmark
from seaicekit.study.errors import inherited
from seaicekit.study.material import Material, make
from seaicekit.study.networks import predict, train, variants
from seaicekit.study.published import figure_13, shown, similarity, table_4, table_5
from seaicekit.study.record import records, save
from seaicekit.study.scoring import confusions, differences, score, summary

__all__ = [
    "Benchmark", "Material", "confusions", "differences", "figure_13", "inherited", "make", "predict", "records",
    "save", "score", "shown", "similarity", "summary", "table_4", "table_5", "train", "variants",
]  # fmt: skip
