"""A grid of runs: each parameter that is a list where none is meant gives a run of each of its values."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seaicekit.files import RUN_MARKER, InputError
from seaicekit.pipeline.chain import STAGES, defaults
from seaicekit.pipeline.checks import objection, validate
from seaicekit.pipeline.execution import StageError, check_places, run

MARK = ".seaicekit-sweep"  # the file that tells a sweep's folder from any other
COMPARISON = "comparison.html"


def axes(given: dict[str, Any]) -> dict[str, list]:
    """Return the parameters that are lists of values; a list that a parameter takes by itself is a value."""
    known = defaults()
    return {
        name: value
        for name, value in given.items()
        if isinstance(value, list) and name in known and objection(name, value)
    }


def grid(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return run's name → its parameters, all combinations in order; each is checked.

    Raises
    ------
    InputError
        An empty list, a value twice, or what `seaicekit.pipeline.validate` says of a combination.
    """
    lists = axes(given)
    for name, values in lists.items():
        if not values or len({str(value) for value in values}) < len(values):
            raise InputError(f"{name}: a list of runs needs values, each once, not {values}")
    runs: dict[str, dict[str, Any]] = {}
    for combination in itertools.product(*lists.values()):
        chosen = dict(zip(lists, combination, strict=True))
        name = ",".join(f"{key}={_short(value)}" for key, value in chosen.items())
        while name in runs:  # two files of one name
            name += "-"
        runs[name] = given | chosen
        validate(runs[name])
    return runs


def _short(value: object) -> str:
    """Return a value as part of a folder's name."""
    text = Path(value).stem if isinstance(value, str) and "/" in value else str(value)
    return re.sub(r"[^\w.+-]+", "-", text).strip("-")[:40]


def sweep(
    out: str | os.PathLike, given: dict[str, Any], progress: bool = True, again: Sequence[str] = ()
) -> dict[str, dict]:
    """Run a grid of runs into one folder, and compare them; what several have in common is made once.

    Parameters
    ----------
    out : path
        Gets a folder a run, ``comparison.html`` and ``comparison.csv``.
    given, progress, again
        As for `seaicekit.pipeline.run`, with lists for the grid.

    Returns
    -------
    dict
        Run's name → its manifest.

    Raises
    ------
    InputError, StageError
        As from `seaicekit.pipeline.run`. Where a notebook failed the other runs are made and compared all the
        same.
    """
    from seaicekit import report

    runs, out = grid(given), Path(out).expanduser().resolve()
    if (out / RUN_MARKER).exists() or (out.is_dir() and any(out.iterdir()) and not (out / MARK).exists()):
        raise InputError(f"{out}: holds something that is no sweep; choose an empty or a new output folder")
    for name, chosen in runs.items():  # before the first of them begins
        check_places(out / name, chosen)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()
    for suffix in (".html", ".csv"):  # of what was there before
        (out / COMPARISON).with_suffix(suffix).unlink(missing_ok=True)
    made: dict[str, dict] = {}
    failed: StageError | None = None
    for number, (name, chosen) in enumerate(runs.items(), 1):
        if progress:
            print(f"run {number} of {len(runs)}: {name}", file=sys.stderr)
        others = [out / each for each in runs if each != name]
        try:
            made[name] = run(out / name, chosen, progress, again, STAGES, others)
        except StageError as error:  # the others may be well
            print(error, file=sys.stderr)
            failed = failed or error
    if made:
        report.compare([out / name for name in runs], out / COMPARISON)
    if failed:
        raise failed
    return made
