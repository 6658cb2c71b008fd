"""A study on synthetic scenes: make, calibrate, label, train, map and score, reproducibly from seeds."""

from benchmarks.study.material import Benchmark, Group, Material, make
from benchmarks.study.networks import predict, train, variants
from benchmarks.study.published import (
    figure_13,
    records,
    save,
    shown,
    similarity,
    table_4,
    table_5,
)
from benchmarks.study.scoring import (
    FILTERED,
    STRATA,
    confusions,
    differences,
    inherited,
    percent,
    score,
    summary,
)

__all__ = [
    "FILTERED",
    "STRATA",
    "Benchmark",
    "Group",
    "Material",
    "confusions",
    "differences",
    "figure_13",
    "inherited",
    "make",
    "percent",
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
