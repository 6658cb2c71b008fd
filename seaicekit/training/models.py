"""A trained model as one file, with a card that describes its inputs and outputs."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from seaicekit import tiles
from seaicekit.classes import LEGEND, Legend
from seaicekit.files import InputError, atomic_write, require
from seaicekit.labels import Rule
from seaicekit.tiles import Inputs

if TYPE_CHECKING:
    import keras

CARD = "seaicekit.json"  # a member of the .keras file, which is a zip
FORMAT = "seaicekit-model-1"


@dataclass(frozen=True)
class Card:
    """A description of a model's inputs, outputs and training.

    Attributes
    ----------
    legend : Legend
        The classes in the order of the model's outputs; their codes need not be 0, 1, 2.
    inputs : str
        For `seaicekit.tiles.prepare_inputs`.
    rule : Rule or None
        The filter's, where the inputs are "filtered".
    normalisation : str
        "scale" or "l2"; a layer of the model. "l2" depends on the tile, so predict by tiles of ``size``.
    size : int
        Pixels a side of the tiles it was trained on.
    cell : int
        A tile's sides must be multiples of this many pixels, 2^(depth - 1), and a scene that is moved by as
        many gets the same classes.
    training : dict
        How it was trained: settings, ranks, tiles, versions.
    scores : dict or None
        How good it is, once it has been evaluated; see `write_card`.
    """

    legend: Legend = LEGEND
    inputs: Inputs = "rgb"
    rule: Rule | None = None
    normalisation: str = "scale"
    size: int = 256
    cell: int = 32
    training: dict = field(default_factory=dict)
    scores: dict | None = None

    def __post_init__(self):
        tiles.check_inputs(self.inputs)
        object.__setattr__(self, "legend", Legend(self.legend))

    def to_dict(self) -> dict:
        """Return the card as JSON values, for `from_dict`."""
        rule = self.rule and self.rule.to_dict()
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {"format": FORMAT} | fields | {"legend": self.legend.to_json(), "rule": rule}

    @classmethod
    def from_dict(cls, values: dict) -> Card:
        """Make a card from what `to_dict` returned."""
        known = {name: value for name, value in values.items() if name in cls.__dataclass_fields__}
        legend = Legend.from_json(values["legend"])
        return cls(
            **known | {"legend": legend, "rule": Rule.from_dict(values["rule"]) if values["rule"] else None}
        )


def save_model(model: keras.Model, path: str | os.PathLike, card: Card) -> None:
    """Write a model with its card as one ``.keras`` file, in one step.

    Raises
    ------
    InputError
        A name that does not end in .keras, or a folder that cannot be written or is full.
    """
    if Path(path).suffix != ".keras":
        raise InputError(f"{path}: a model's name must end in .keras")
    with atomic_write(path) as place:
        model.save(place)
        with zipfile.ZipFile(place, "a") as archive:
            archive.writestr(CARD, _text(card))


def load_model(path: str | os.PathLike) -> tuple[keras.Model, Card]:
    """Load a model and its card, in Keras' safe mode: no code that the file may hold is run.

    Raises
    ------
    InputError
        Missing, not a model, or one without a card.
    """
    card = read_card(path)
    require("train", "a Keras model", "tensorflow", "keras")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # whatever a damaged or foreign file makes Keras raise
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{path}: cannot be loaded ({reason}); train it again") from error
    outputs, channels = model.output_shape[-1], model.input_shape[-1]
    if outputs != len(card.legend) or channels != tiles.channels(card.inputs):
        raise InputError(
            f"{path}: takes {channels} channels and gives {outputs} classes where its card says "
            f"{card.inputs} and {len(card.legend)}; train it again"
        )
    return model, card


def read_card(path: str | os.PathLike) -> Card:
    """Read a model's card alone, without TensorFlow.

    Raises
    ------
    InputError
        Missing, not a model, or one without a card.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such model; train one first")
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(CARD)
    except KeyError as error:
        raise InputError(
            f"{path}: a model without {CARD}, so its inputs and classes are not known; give it a card with "
            "seaicekit.training.write_card, or train one here"
        ) from error
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a trained model ({error}); train one first") from error
    try:
        values = json.loads(text)
        if values["format"] != FORMAT:
            raise ValueError(f"format {values['format']!r}")
        return Card.from_dict(values)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its card cannot be used ({error}); train it again") from error


def write_card(path: str | os.PathLike, card: Card) -> None:
    """Give a model's file another card, such as one with scores, in one step and without TensorFlow."""
    try:
        with zipfile.ZipFile(path) as old, atomic_write(path) as place:
            with zipfile.ZipFile(place, "w") as new:
                for member in old.infolist():
                    if member.filename != CARD:
                        with old.open(member) as source, new.open(member, "w", force_zip64=True) as target:
                            shutil.copyfileobj(source, target)
                new.writestr(CARD, _text(card))
    except (FileNotFoundError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a trained model ({error}); train one first") from error


def _text(card: Card) -> str:
    return json.dumps(card.to_dict(), indent=2, ensure_ascii=False)
