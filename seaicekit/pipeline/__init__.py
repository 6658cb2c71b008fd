"""The whole chain as a batch.

Parameters checked, notebooks run in order, what is done already left as it is.
"""

from seaicekit.pipeline.budget import estimate
from seaicekit.pipeline.chain import STAGES, defaults, notebooks, parameters
from seaicekit.pipeline.checks import validate
from seaicekit.pipeline.doctor import complete, examine, table, versions
from seaicekit.pipeline.execution import StageError, check_places, run, serve_tuner
from seaicekit.pipeline.memory import memory_watch
from seaicekit.pipeline.resume import plan
from seaicekit.pipeline.sweep import COMPARISON, grid, sweep

__all__ = [
    "COMPARISON",
    "STAGES",
    "StageError",
    "check_places",
    "complete",
    "defaults",
    "estimate",
    "examine",
    "grid",
    "memory_watch",
    "notebooks",
    "parameters",
    "plan",
    "run",
    "serve_tuner",
    "sweep",
    "table",
    "validate",
    "versions",
]
