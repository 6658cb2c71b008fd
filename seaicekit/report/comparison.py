"""Several runs beside each other: a table of their scores, and their maps of one scene."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from seaicekit import maps, scenes
from seaicekit.classes import Legend
from seaicekit.files import InputError, atomic_write, write_text
from seaicekit.report.metrics import NOT_TRAINED, is_trained
from seaicekit.report.page import manifest, picture, render

if TYPE_CHECKING:
    import pandas as pd

# Key in ``figures`` → title; of the first group more is better, of the second less.
MORE = {
    "accuracy": "Map",
    "accuracy_labels": "Filter and cuts",
    "accuracy_cuts": "Cuts alone",
    "majority_accuracy": "Commonest class",
    "water_recall": "Open water found",
    "agreement": "Map agrees with labels",
    "agreement_majority": "Commonest class agrees",
}
LESS = {"calibration_error": "Calibration error", "total_seconds": "Seconds", "peak_memory_gb": "Memory, GB"}
TITLES = MORE | LESS


def compare(runs: Sequence[str | os.PathLike], path: str | os.PathLike) -> pd.DataFrame:
    """Write a page that compares runs, and its table beside it as CSV.

    Parameters
    ----------
    runs : sequence of path
        Folders of runs. One that has not finished is left out, and named on the page.
    path : path
        The page, such as ``comparison.html``; the table gets its name with ``.csv``.

    Returns
    -------
    pandas.DataFrame
        A row a run: ``run`` (its folder's name), ``folder``, the parameters in which they differ and the
        scores (shares from 0 to 1), seconds and gigabytes of ``run.json``'s figures.

    Raises
    ------
    InputError
        A folder holds no run, or not one has finished.
    """
    manifests = {os.path.realpath(folder): manifest(folder) for folder in runs}
    finished = {folder: run for folder, run in manifests.items() if "metrics" in run}
    if not finished:
        raise InputError(f"{', '.join(map(str, runs))}: no run there has finished; run them first")
    varied, columns, table = _table(finished)
    with atomic_write(Path(path).with_suffix(".csv")) as place:
        table.to_csv(place, index=False)
    names, tested = (
        dict(zip(finished, table["run"], strict=True)),
        [_tested(run) for run in finished.values()],
    )
    notes = [
        f"{folder}: has not finished, and is left out." for folder in manifests if folder not in finished
    ]
    notes += [
        f"{names[each]}: {NOT_TRAINED}" for each, run in finished.items() if not is_trained(run["figures"])
    ]
    notes += [
        f"{name}: tested on other scenes than {table['run'][0]}; their scores cannot be compared."
        for name, test in zip(table["run"], tested, strict=True)
        if test != tested[0]
    ]
    scene = min((name for name, _ in set.intersection(*tested)), default=None)
    try:
        drawn = _draw(finished, names, scene) if scene else None
    except InputError as error:  # the scores are shown where the imagery is gone
        drawn = None
        notes.append(f"No maps: {error}")
    page = render(
        "comparison.html.j2",
        name="Runs compared",
        rows=[_cells(row, varied, columns, Path(path)) for row in table.to_dict("records")],
        varied=varied,
        notes=notes,
        scene=scene,
        columns={key: TITLES[key] for key in columns},
        best=_best(table, columns) if all(test == tested[0] for test in tested) else {},
        picture=drawn,
    )
    write_text(path, page)
    return table


def _table(runs: dict[str, dict]) -> tuple[list[str], list[str], pd.DataFrame]:
    """Return the parameters in which runs differ, the figures that they have, and both in a table."""
    import pandas as pd

    first, *others = (run["parameters"] for run in runs.values())
    varied = [name for name in first if any(each.get(name) != first[name] for each in others)]
    columns = [key for key in TITLES if any(key in run["figures"] for run in runs.values())]
    common = os.path.commonpath([os.path.dirname(folder) for folder in runs])  # the rest tells them apart
    table = pd.DataFrame(
        {"run": os.path.relpath(folder, common), "folder": folder}
        | {name: run["parameters"].get(name) for name in varied}
        | {key: run["figures"].get(key) for key in columns}
        for folder, run in runs.items()
    )
    return varied, columns, table


def _cells(row: dict, varied: list[str], columns: list[str], path: Path) -> dict:
    """Return a row of the table as the page shows it."""
    page = Path(row["folder"]) / "report.html"
    link = quote(os.path.relpath(page, path.absolute().parent)) if page.exists() else None
    cells = {"run": row["run"], "link": link, "parameters": {name: row[name] for name in varied}}
    for key in columns:
        missing = row[key] is None or row[key] != row[key]
        cells[key] = "–" if missing else _text(key, row[key])
    return cells


def _text(key: str, value: float) -> str:
    return {"total_seconds": f"{value:.0f}", "peak_memory_gb": f"{value:.2f}"}.get(key, f"{100 * value:.2f}")


def _best(table: pd.DataFrame, columns: list[str]) -> dict[str, list[str]]:
    """Return column → the runs that are best in it; none where all are alike."""
    best = {}
    for key in columns:
        values = table[key].astype(float)
        top = values.max() if key in MORE else values.min()
        best[key] = [] if values.nunique() < 2 else table["run"][values == top].tolist()
    return best


def _tested(run: dict) -> set[tuple[str, str | None]]:
    """Return a run's test scenes, each with the checksum of its content."""
    rows = run["metrics"]["maps"]
    return {(row["scene"], run["scenes"].get(row["scene"])) for row in rows if row["split"] == "test"}


def _draw(runs: dict[str, dict], names: dict[str, str], scene: str) -> str:
    """Draw a scene, its truth if there is one, and each run's map of it; return the PNG as text."""
    first = next(iter(runs))
    row = scenes.load_catalogue(Path(first) / "scenes.json").loc[scene]
    pictures = {"scene": row.path} | ({"truth": row.truth} if row.truth else {})
    for folder, run in runs.items():
        score = run["figures"].get("accuracy", run["figures"]["agreement"])
        pictures[f"{names[folder]}\n{100 * score:.1f} %"] = str(Path(folder) / "maps" / f"{scene}.tif")
    legend = Legend.from_json(runs[first]["legend"])
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) / "maps.png"
        maps.save(maps.small_multiples(pictures, legend), place)
        return picture(place)
