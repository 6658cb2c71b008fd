"""The whole chain as a batch: parameters checked, notebooks run in order, what is done already left as it is."""

from seaicekit.pipeline.budget import estimate
from seaicekit.pipeline.chain import STAGES, defaults, notebooks, parameters
from seaicekit.pipeline.checks import validate
from seaicekit.pipeline.execution import StageError, check_places, run, serve_tuner
from seaicekit.pipeline.memory import memory_watch
from seaicekit.pipeline.resume import plan
from seaicekit.pipeline.sweep import grid, sweep

__all__ = [
    "STAGES", "StageError", "check_places", "defaults", "estimate", "grid", "memory_watch", "notebooks", "parameters",
    "plan", "run", "serve_tuner", "sweep", "validate",
]  # fmt: skip
