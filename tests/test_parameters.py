import datetime
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from pydantic import Field

import seaicekit as sik
from seaicekit.parameters import Parameters, divide


class Sample(Parameters):
    """A model with a field of each kind."""

    epochs: int = Field(2, ge=1, description="Passes.")
    rate: float = Field(0.1, gt=0, lt=1, description="Of learning.")
    augment: bool = Field(True, description="Turn tiles.")
    opaque: Literal["off", "scl"] = Field("scl", description="Of clouds.")
    dates: str | None = Field(None, description="When.")
    pair: tuple[float, float] | None = Field(None, description="Two.")


class Part(Parameters):
    """Two of the fields of `Sample`, and one more."""

    epochs: int = Field(9, description="Passes.")
    rate: float = Field(0.9, description="Of learning.")
    more: int = Field(0, description="More.")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", 0, "epochs: must be a whole number of at least 1, not 0"),
        ("epochs", True, "epochs: must be a whole number of at least 1, not True"),
        ("epochs", 1.5, "epochs: must be a whole number of at least 1, not 1.5"),
        ("epochs", "3", "epochs: must be a whole number of at least 1, not '3'"),
        ("rate", float("nan"), "rate: must be a number above 0 and below 1, not nan"),
        ("rate", True, "rate: must be a number above 0 and below 1, not True"),
        ("augment", 1, "augment: must be true or false, not 1"),
        ("opaque", "on", "opaque: must be one of off, scl, not 'on'"),
        ("pair", [1], "pair: must be a list of 2, each a number or null, not [1]"),
        ("epoch", 3, "epoch: unknown parameter; did you mean epochs? Known: augment, dates, epochs,"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_what_is_allowed(name, value, message):
    with pytest.raises(sik.InputError) as error:
        Sample(**{name: value})
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", np.int64(3), 3),
        ("epochs", 3.0, 3),
        ("rate", "1e-3", 0.001),
        ("rate", np.float32(0.5), 0.5),
        ("augment", np.bool_(False), False),
        ("opaque", False, "off"),
        ("dates", 2019, "2019"),
        ("dates", datetime.date(2019, 11, 5), "2019-11-05"),
        ("pair", [1, 99], (1, 99)),
        ("pair", (np.int64(1), np.float32(99)), (1, 99)),
        ("dates", Path("a/b"), str(Path("a/b"))),
    ],
)
def test_what_yaml_and_numpy_write_otherwise_is_converted(name, value, expected):
    found = getattr(Sample(**{name: value}), name)
    assert found == expected and type(found) is type(expected)
    assert not any(isinstance(each, np.generic) for each in found) if name == "pair" else True


def test_a_model_is_made_of_the_shared_fields_of_another():
    assert Part.of(Sample(epochs=5), more=1) == Part(epochs=5, more=1)
    assert Part.of(None, rate=0.5) == Part(rate=0.5) and Part.of(Sample()) == Part()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: sik.label(None, "cuts.json"),
            "thresholds: must be Thresholds or a Rule, not str; read a file",
        ),
        (lambda: sik.label(None, {"water_max": 3}), "thresholds: .*, not dict; .*Thresholds.from_dict"),
        (
            lambda: sik.autolabel([], "out", None, "serial"),
            "EngineOptions: .*, not str; give single values as",
        ),
        (lambda: sik.train(__file__, "out", 2), "TrainOptions: must be a model of parameters, not int; give"),
    ],
)
def test_something_else_than_a_model_is_one_line_on_what_to_pass(call, message):
    with pytest.raises(sik.InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_values_are_divided_by_the_models_that_have_them():
    assert divide({"pair": None, "more": 1, "rate": 2}, Sample, Part) == [
        {"pair": None, "rate": 2},
        {"more": 1, "rate": 2},
    ]
    with pytest.raises(sik.InputError, match="mor: unknown parameter; did you mean more"):
        divide({"mor": 1}, Sample, Part)


def test_values_never_change_and_the_docstring_lists_them():
    with pytest.raises(ValueError, match="frozen"):
        Sample().epochs = 3
    assert "epochs : a whole number of at least 1, default 2\n    Passes." in Sample.__doc__
