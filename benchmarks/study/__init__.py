"""A study on synthetic scenes.

Make them, calibrate, label, train, map and score, again and the same each time.
"""

from benchmarks.study.benchmark import Benchmark
from benchmarks.study.errors import inherited
from benchmarks.study.material import Material, make
from benchmarks.study.networks import predict, train, variants
from benchmarks.study.published import figure_13, shown, similarity, table_4, table_5
from benchmarks.study.record import records, save
from benchmarks.study.scoring import confusions, differences, score, summary

__all__ = [
    "Benchmark",
    "Material",
    "confusions",
    "differences",
    "figure_13",
    "inherited",
    "make",
    "predict",
    "records",
    "save",
    "score",
    "shown",
    "similarity",
    "summary",
    "table_4",
    "table_5",
    "train",
    "variants",
]
