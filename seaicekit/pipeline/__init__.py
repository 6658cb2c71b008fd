"""The whole chain as a batch.

Parameters are checked, notebooks run in order, and what is done already is left as it is.
"""

from seaicekit.pipeline.chain import STAGES, notebooks
from seaicekit.pipeline.doctor import complete, examine, installed_versions, table
from seaicekit.pipeline.execution import run
from seaicekit.pipeline.folder import Run, check_inputs
from seaicekit.pipeline.notebook import StageError, serve_tuner
from seaicekit.pipeline.parameters import STAGE_PARAMETERS, RunParameters, parameter_table, read_parameters
from seaicekit.pipeline.processes import memory_watch
from seaicekit.pipeline.resume import plan
from seaicekit.pipeline.sweep import COMPARISON, grid, sweep

__all__ = [
    "COMPARISON",
    "STAGES",
    "STAGE_PARAMETERS",
    "Run",
    "RunParameters",
    "StageError",
    "check_inputs",
    "complete",
    "examine",
    "grid",
    "installed_versions",
    "memory_watch",
    "notebooks",
    "parameter_table",
    "plan",
    "read_parameters",
    "run",
    "serve_tuner",
    "sweep",
    "table",
]
