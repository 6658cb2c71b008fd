"""Look at a run's parameters as a whole before anything starts."""

from __future__ import annotations

import contextlib
import difflib
import functools
import math
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seaicekit import labels, scenes, tiles, training
from seaicekit.files import InputError, is_url, read_json, without_credentials
from seaicekit.pipeline.chain import defaults
from seaicekit.thresholds import Thresholds

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

SCHEMAS = Path(__file__).parent / "schemas"


def validate(given: dict[str, Any]) -> None:
    """Check parameters before anything starts; what YAML read as another type becomes what was meant.

    Names are those of the notebooks' ``parameters`` cells, types and ranges those of
    ``schemas/parameters.json``, and what must fit together is asked of the stages' own rules.

    Raises
    ------
    InputError
        A name that no notebook knows, a value of another type or out of range, or values that contradict.
    """
    known = defaults()
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1, 0)
            raise InputError(
                f"{name}: unknown parameter; did you mean {near[0]}? Known: {', '.join(sorted(known))}"
            )
        given[name] = _as_meant(name, given[name])
        if isinstance(given[name], str) and without_credentials(given[name]) != given[name]:
            raise InputError(
                f"{name}: {without_credentials(given[name])} carries a key, which notebooks and manifests would keep; "
                "leave it out, and give credentials as your environment's variables or files"
            )
        if isinstance(given[name], float) and not math.isfinite(given[name]):
            raise InputError(f"{name}: must be a finite number, not {given[name]}")
        wrong = objection(name, given[name])
        if wrong:
            raise InputError(f"{name}: {wrong}")
    _check_together(given, known | given)


@functools.cache
def _validators() -> dict[str, Validator]:
    from jsonschema import Draft202012Validator

    properties = read_json(SCHEMAS / "parameters.json")["properties"]
    return {name: Draft202012Validator(each) for name, each in properties.items()}


def objection(name: str, value: object) -> str | None:
    """Say in words what the schema has against a parameter's value; None if nothing."""
    from jsonschema.exceptions import best_match

    validator = _validators()[name]
    error = best_match(validator.iter_errors(value))
    return f"{error.message}. {validator.schema['description']}" if error else None


def _as_meant(name: str, value: object) -> object:
    """Return a value as it was meant where YAML reads it otherwise."""
    if name == "dates" and isinstance(value, date | int):
        return str(value)
    if name == "opaque" and value is False:  # off
        return "off"
    if isinstance(value, str) and "number" in str(_validators()[name].schema.get("type")):  # 1e-3
        with contextlib.suppress(ValueError):
            return float(value)
    if (
        isinstance(value, float)
        and value.is_integer()
        and _validators()[name].schema.get("type") == "integer"
    ):
        return int(value)
    return value


def _check_together(given: dict[str, Any], values: dict[str, Any]) -> None:
    """Ask each stage's own rules, so that a contradiction is told before the first stage and not at the last."""
    if values["search"]:
        scenes.parse_region(values["search"])
        scenes.parse_dates(values["dates"])
        is_url(values["catalog"])
        if values["scenes"]:
            raise InputError("search: scenes are given, too; leave one of the two out")
    for name in ("dates", "max_cloud", "catalog"):
        if name in given and not values["search"]:
            raise InputError(
                f"{name}: is of a search, and none is asked for; give search, too, or leave it out"
            )
    if values["thresholds"] and not {"water_max", "thin_max"}.isdisjoint(given):
        raise InputError("thresholds: water_max or thin_max is given, too; leave the file or the cuts out")
    Thresholds(values["water_max"], values["thin_max"])
    for model in (labels.EngineOptions, labels.RuleOptions, tiles.SplitOptions, training.TrainOptions):
        model(**{name: value for name, value in values.items() if name in model.model_fields})


def check_scenes(where: str) -> None:
    """Make sure that scenes enough to train and to test on can be read, before anything is written."""
    reasons, count = [], 0
    for path in scenes.find_scenes(where):
        try:
            with scenes.open_reader(path) as reader:
                scenes.check_scene(reader)
                count += len(scenes.blocks(reader.shape, tiles.TILE_SIZE))
        except InputError as error:
            reasons.append(str(error))
        if count > 1:
            return
    if count:
        raise InputError(
            f"{where}: a single tile of {tiles.TILE_SIZE} pixels cannot be trained and tested on; add scenes"
        )
    more = f" (none of the other {len(reasons) - 1} can be used either)" if reasons[1:] else ""
    raise InputError(reasons[0] + more)
