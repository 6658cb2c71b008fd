"""Look at a run's parameters as a whole before anything starts."""

from __future__ import annotations

import contextlib
import difflib
import typing
from datetime import date

from seaicekit import catalogues, engines, labels, launch, scenes, splits, stac, tiles, training
from seaicekit.files import InputError
from seaicekit.pipeline.chain import defaults
from seaicekit.thresholds import Thresholds


def validate(given: dict[str, object]) -> None:
    """Check parameters before anything starts; numbers that YAML read as text become numbers.

    Raises
    ------
    InputError
        A name that no notebook knows, or a value of another type than its default.
    """
    known = defaults()
    for name, value in given.items():
        if name == "dates" and isinstance(value, date | int):  # YAML takes 2019-11-03 for a date, off for False
            given[name] = value = str(value)
        if name == "opaque" and value is False:
            given[name] = value = "off"
        if isinstance(known.get(name), float) and isinstance(value, str):  # YAML takes 1e-3 for a text
            with contextlib.suppress(ValueError):
                given[name] = value = float(value)
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1, 0)
            raise InputError(f"{name}: unknown parameter; did you mean {near[0]}? Known: {', '.join(sorted(known))}")
        wanted = type(known[name])
        fits = isinstance(value, (int, float) if wanted is float else wanted) and isinstance(value, bool) == (
            wanted is bool
        )
        if known[name] is None:
            kinds = {"search": str | list | tuple, "normalise": list | tuple}
            fits = value is None or isinstance(value, kinds.get(name, str))
            wanted = list if name == "normalise" else str
        if name == "window":  # pixels or metres, which the rule itself looks at
            fits = isinstance(value, int | str)
        if not fits:
            raise InputError(f"{name}: must be of type {wanted.__name__}, not {value!r}")
    _check_values(known | given)


def _check_values(values: dict[str, object]) -> None:
    """Ask each stage's own rules, so that a wrong value is told before the first stage and not at the last."""
    for name, known in {"engine": engines.Engine, "launcher": launch.Launcher}.items():
        if values[name] not in typing.get_args(known):
            raise InputError(f"{name}: must be one of {', '.join(typing.get_args(known))}, not {values[name]!r}")
    for name in ("synthetic_count", "workers", "block", "tile", "ranks"):
        if values[name] < 1:
            raise InputError(f"{name}: must be at least 1, not {values[name]}")
    if values["synthetic_size"] < 16:
        raise InputError(f"synthetic_size: must be at least 16, not {values['synthetic_size']}")
    splits.check(values["split"], values["test_fraction"])
    launch.check_ranks(values["ranks"], values["launcher"], values["hosts"])
    if not 0 <= values["max_cloud"] <= 100:
        raise InputError(f"max_cloud: must lie between 0 and 100, not {values['max_cloud']}")
    if values["search"]:
        stac.place(values["search"])
        if values["scenes"]:
            raise InputError("search: scenes are given, too; leave one of the two out")
    Thresholds(values["water_max"], values["thin_max"])
    labels.Rule(
        **{name: values[name] for name in labels.Rule.__dataclass_fields__ if name in values}
        | {"thresholds": Thresholds()}
    )
    settings = {name: values[name] for name in training.Settings.__dataclass_fields__ if name in values}
    training.Settings(tiles="", out_dir="", **settings)


def check_scenes(where: str) -> None:
    """Make sure that scenes enough to train and to test on can be read, before anything is written."""
    reasons, count = [], 0
    for path in catalogues.find(where):
        try:
            catalogues.check(path)
            with scenes.reading(path) as reader:
                count += len(scenes.blocks(reader.shape, tiles.SIZE))
        except InputError as error:
            reasons.append(str(error))
        if count > 1:
            return
    if count:
        raise InputError(f"{where}: a single tile of {tiles.SIZE} pixels cannot be trained and tested on; add scenes")
    more = f" (none of the other {len(reasons) - 1} can be used either)" if reasons[1:] else ""
    raise InputError(reasons[0] + more)
