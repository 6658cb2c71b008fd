"""The base of every model of parameters: types, ranges, defaults and help in one place."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import os
import textwrap
from datetime import date
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

import pydantic

from seaicekit.files import InputError

INDENT = 4 * " "


class Parameters(pydantic.BaseModel):
    """Named values that are checked when they are given and never change.

    A subclass declares each parameter once, as ``name: type = Field(default, ge=..., description="...")``.
    Values are not converted, but for what YAML and NumPy write otherwise than Python does: see `_convert`.

    Raises
    ------
    InputError
        An unknown name, or a value of another type or out of range. The message is one line.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def __init__(self, **values: Any):
        try:
            super().__init__(**values)
        except pydantic.ValidationError as error:
            raise InputError(_message(type(self), values, error)) from None

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Add the parameters to the docstring."""
        lines = [inspect.cleandoc(cls.__doc__ or ""), "", "Parameters", "----------"]
        for name, field in cls.model_fields.items():
            default = "" if field.is_required() else f", default {field.default!r}"
            lines.append(f"{name} : {allowed(cls, name)}{default}")
            lines += textwrap.wrap(
                field.description or "", 104, initial_indent=INDENT, subsequent_indent=INDENT
            )
        cls.__doc__ = "\n".join(lines)

    @classmethod
    def of(cls, values: Parameters | None = None, **changes: Any) -> Self:
        """Return a model with the values that another one was given for its fields, and with changes.

        Parameters
        ----------
        values : Parameters, optional
            Any model; fields that this class does not have are left out. Without it defaults are taken.
        **changes
            Values that win.

        Raises
        ------
        InputError
            Something else than a model, or a value that is not allowed.
        """
        if not isinstance(values, Parameters | None):
            raise InputError(
                f"{cls.__name__}: must be a model of parameters, not {type(values).__name__}; "
                "give single values as keywords, name=value"
            )
        shared = cls.model_fields.keys() & (values.model_fields_set if values else set())
        return cls(**{name: getattr(values, name) for name in shared} | changes)

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _convert(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        """Convert what YAML and NumPy write otherwise than Python, where nothing is lost by it."""
        types = _types(cls, str(info.field_name))
        value = _number(value)
        if isinstance(value, list | tuple) and any(get_origin(kind) is tuple for kind in types):
            return tuple(map(_number, value))
        if isinstance(value, os.PathLike) and str in types:
            return os.fspath(value)
        if value is False and any("off" in get_args(kind) for kind in types):  # YAML reads off as false
            return "off"
        if isinstance(value, date | int) and not isinstance(value, bool) and types <= {str, type(None)}:
            return str(value)  # 2019-11-05 and 2019
        if isinstance(value, str) and float in types:  # YAML reads 1e-3 as text
            with contextlib.suppress(ValueError):
                return float(value)
        if isinstance(value, float) and value.is_integer() and int in types:
            return int(value)
        return value


def divide(values: dict[str, Any], *models: type[Parameters]) -> list[dict[str, Any]]:
    """Return for each model the values that are named as its fields.

    Raises
    ------
    InputError
        A name that none of the models has.
    """
    for name in values:
        if not any(name in model.model_fields for model in models):
            raise InputError(_unknown(name, *models))
    return [{name: value for name, value in values.items() if name in model.model_fields} for model in models]


def _number(value: Any) -> Any:
    """Return a NumPy number as Python's; all else as it is."""
    return value.item() if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0 else value


def _types(model: type[Parameters], name: str) -> set[Any]:
    """Return the types that a parameter may have."""
    annotation = model.model_fields[name].annotation
    return set(get_args(annotation)) if get_origin(annotation) in (Union, UnionType) else {annotation}


def _message(model: type[Parameters], values: dict[str, Any], errors: pydantic.ValidationError) -> str:
    """Return one line on the first wrong value: its name, what it is, and what is allowed."""
    error = errors.errors()[0]
    if "error" in error.get("ctx", {}):  # raised by a validator of ours, as an InputError
        return str(error["ctx"]["error"])
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return _unknown(name, model)
    if name not in values:
        return f"{name}: missing parameter; it must be {allowed(model, name)}"
    return f"{name}: must be {allowed(model, name)}, not {values[name]!r}"


def _unknown(name: str, *models: type[Parameters]) -> str:
    """Return the message for a name that none of the models has."""
    known = sorted({field for model in models for field in model.model_fields})
    near = difflib.get_close_matches(name, known, 1, 0)[0]
    return f"{name}: unknown parameter; did you mean {near}? Known: {', '.join(known)}"


def allowed(model: type[Parameters], name: str) -> str:
    """Return in words which values a parameter may have.

    Examples
    --------
    >>> class Sharing(Parameters):
    ...     test_fraction: float = pydantic.Field(0.25, gt=0, lt=1)
    >>> allowed(Sharing, "test_fraction")
    'a number above 0 and below 1'
    """
    field = model.model_fields[name]
    if any(kind not in _NAMED and get_origin(kind) not in (Literal, tuple) for kind in _types(model, name)):
        return str(getattr(field.annotation, "__name__", field.annotation))
    return _words(_adapter(model, name).json_schema())


def accepts(model: type[Parameters], name: str, values: list) -> bool:
    """Say whether a list is a value of a parameter by itself."""
    with contextlib.suppress(pydantic.ValidationError):
        _adapter(model, name).validate_python(tuple(values))
        return True
    return False


def _adapter(model: type[Parameters], name: str) -> pydantic.TypeAdapter:
    field = model.model_fields[name]
    annotation: Any = field.annotation
    return pydantic.TypeAdapter(Annotated[(annotation, *field.metadata)] if field.metadata else annotation)


_NAMED = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}


def _words(schema: dict[str, Any]) -> str:
    """Return in words what a JSON schema allows."""
    if "anyOf" in schema:
        return " or ".join(map(_words, schema["anyOf"]))
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    if schema["type"] == "array":
        if "minItems" not in schema:
            return "a list"
        return f"a list of {schema['minItems']}, each {_words(schema['prefixItems'][0])}"
    if schema.get("minLength"):
        return "text that is not empty"
    limits = {
        "from {}": schema.get("minimum"),
        "above {}": schema.get("exclusiveMinimum"),
        "to {}": schema.get("maximum"),
        "and below {}": schema.get("exclusiveMaximum"),
    }
    if limits["from {}"] is not None and limits["to {}"] is None:
        limits = {"of at least {}": limits["from {}"]}
    words = [text.format(limit) for text, limit in limits.items() if limit is not None]
    return " ".join([_WORDS[schema["type"]], *words])


class Seeded(Parameters):
    """What is drawn at random, and the same again from the same seed."""

    seed: int = pydantic.Field(
        0, ge=0, le=2**31 - 1, description="Seed of synthetic scenes, the split into tiles and the network."
    )
