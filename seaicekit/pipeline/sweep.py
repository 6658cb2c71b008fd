"""A grid of runs: a list for a single-valued parameter makes a run of each of its values."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seaicekit.files import RUN_MARKER, InputError
from seaicekit.parameters import accepts
from seaicekit.pipeline.chain import STAGES
from seaicekit.pipeline.execution import run
from seaicekit.pipeline.folder import check_inputs
from seaicekit.pipeline.notebook import StageError
from seaicekit.pipeline.parameters import RunParameters, read_parameters

MARK = ".seaicekit-sweep"  # the file that tells a sweep's folder from any other
COMPARISON = "comparison.html"
NAME_LENGTH = 40  # characters of a value in a folder's name, without what makes it unique


def grid(given: dict[str, Any]) -> dict[str, RunParameters]:
    """Return run's name → its parameters, all combinations in order; each is checked.

    A list that a parameter takes by itself is a value.

    Raises
    ------
    InputError
        An empty list, a value twice, or what `seaicekit.pipeline.read_parameters` says of a combination.
    """
    lists = {
        name: value
        for name, value in given.items()
        if isinstance(value, list)
        and name in RunParameters.model_fields
        and not accepts(RunParameters, name, value)
    }
    parts = []
    for name, values in lists.items():
        if not values or len({str(value) for value in values}) < len(values):
            raise InputError(f"{name}: a list of runs needs values, each once, not {values}")
        parts.append([f"{name}={short}" for short in _short_names(values)])
    combinations = zip(itertools.product(*parts), itertools.product(*lists.values()), strict=True)
    return {
        ",".join(names): read_parameters(given | dict(zip(lists, values, strict=True)))
        for names, values in combinations
    }


def _short_names(values: list) -> list[str]:
    """Return values as parts of folders' names, each another."""
    texts = [Path(value).stem if isinstance(value, str) and "/" in value else str(value) for value in values]
    names = [re.sub(r"[^\w.+-]+", "-", text).strip("-") for text in texts]
    return [
        name
        if len(name) <= NAME_LENGTH and names.count(name) == 1
        else f"{name[:NAME_LENGTH]}-{hashlib.sha256(str(value).encode()).hexdigest()[:8]}"
        for name, value in zip(names, values, strict=True)
    ]


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
        check_inputs(out / name, chosen)
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
