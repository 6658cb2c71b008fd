"""The parameters of each notebook and of a whole run, joined from those of the stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seaicekit.files import InputError, without_credentials
from seaicekit.labels import EngineOptions, RuleOptions
from seaicekit.parameters import Parameters, allowed
from seaicekit.scenes import SceneOptions
from seaicekit.thresholds import CutOptions
from seaicekit.tiles import SplitOptions
from seaicekit.training import TrainOptions


class LabelParameters(EngineOptions, RuleOptions, SplitOptions):
    """The parameters of the notebook 03_autolabel."""


class RunParameters(TrainOptions, LabelParameters, CutOptions, SceneOptions):
    """The parameters of a whole run: what ``params.yaml`` and ``-p`` may hold.

    In ``params.yaml`` a list for a single-valued parameter makes a run of each of its values.
    """


STAGE_PARAMETERS: Mapping[str, type[Parameters]] = {
    "01_scenes": SceneOptions,
    "02_calibrate": CutOptions,
    "03_autolabel": LabelParameters,
    "04_train": TrainOptions,
    "05_map": Parameters,
}
SEARCH_ONLY = ("dates", "max_cloud", "catalog")


def read_parameters(given: Mapping[str, Any]) -> RunParameters:
    """Return the parameters that a person gave for a run, and the others' defaults.

    Raises
    ------
    InputError
        An unknown name, a value of another type or out of range, values that contradict each other, or a key
        in an address.
    """
    parameters = RunParameters(**given)
    for name in given:
        value = str(getattr(parameters, name))
        if without_credentials(value) != value:
            raise InputError(
                f"{name}: {without_credentials(value)} carries a key, which notebooks and manifests would "
                "keep; leave it out, and give credentials as your environment's variables or files"
            )
        if name in SEARCH_ONLY and not parameters.search:
            raise InputError(f"{name}: only a search uses it; give search, too, or leave it out")
    if parameters.thresholds and not {"water_max", "thin_max"}.isdisjoint(given):
        raise InputError("thresholds: water_max or thin_max is given, too; leave the file or the cuts out")
    return parameters


def stage_values(parameters: RunParameters, stage: str, given: bool = False) -> dict[str, Any]:
    """Return the values of one notebook's parameters, as JSON values; with ``given`` without the defaults."""
    names = set(STAGE_PARAMETERS[stage].model_fields)
    return parameters.model_dump(mode="json", include=names, exclude_unset=given)


def parameter_table() -> str:
    """Return all parameters as a Markdown table: name, notebook, allowed values, default and help."""
    lines = ["| parameter | notebook | values | default | |", "|---|---|---|---|---|"]
    stages: dict[str, list[str]] = {}
    for stage, model in STAGE_PARAMETERS.items():
        for name in model.model_fields:
            stages.setdefault(name, []).append(stage[:2])
    for name, where in stages.items():
        field = RunParameters.model_fields[name]
        default = "null" if field.default is None else str(field.default).lower()
        cells = (
            f"`{name}`",
            ", ".join(where),
            allowed(RunParameters, name),
            f"`{default}`",
            field.description,
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in map(str, cells)) + " |")
    return "\n".join(lines) + "\n"
