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
from seaicekit.report.metrics import untrained
from seaicekit.report.page import environment, manifest, picture

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
    import pandas as pd

    found = {os.path.realpath(folder): manifest(folder) for folder in runs}
    finished = {folder: run for folder, run in found.items() if "metrics" in run}
    if not finished:
        raise InputError(f"{', '.join(map(str, runs))}: no run there has finished; run them first")
    varied = _varied([run["parameters"] for run in finished.values()])
    kept = [key for key in MORE | LESS if any(key in run["figures"] for run in finished.values())]
    names, first = _names(list(finished)), next(iter(finished))
    table = pd.DataFrame(
        {"run": names[folder], "folder": folder}
        | {name: run["parameters"].get(name) for name in varied}
        | {key: run["figures"].get(key) for key in kept}
        for folder, run in finished.items()
    )
    with atomic_write(Path(path).with_suffix(".csv")) as place:
        table.to_csv(place, index=False)
    notes = [f"{folder}: has not finished, and is left out." for folder in found if folder not in finished]
    notes += [
        f"{names[folder]}: {note}" for folder, run in finished.items() if (note := untrained(run["figures"]))
    ]
    apart = [folder for folder in finished if _tested(finished[folder]) != _tested(finished[first])]
    notes += [
        f"{names[each]}: tested on other scenes than {names[first]}; their scores cannot be compared."
        for each in apart
    ]
    scene = _common_scene(finished)
    try:
        drawn = _small_multiples(finished, names, scene) if scene else None
    except InputError as error:  # imagery is often put away, and the scores are here all the same
        drawn = None
        notes.append(f"No maps: {error}")
    page = (
        environment()
        .get_template("comparison.html.j2")
        .render(
            name="Runs compared",
            rows=_told(table, varied, kept, Path(path)),
            varied=varied,
            notes=notes,
            scene=scene,
            columns={key: (MORE | LESS)[key] for key in kept},
            best=_best(table, [] if apart else kept),
            picture=drawn,
        )
    )
    write_text(path, page)
    return table


def _varied(parameters: list[dict]) -> list[str]:
    """Return the parameters in which runs differ."""
    return [
        name for name in parameters[0] if any(each.get(name) != parameters[0][name] for each in parameters)
    ]


def _names(folders: list[str]) -> dict[str, str]:
    """Return folder → its name, with as much of its path as tells it from the others."""
    common = os.path.commonpath([os.path.dirname(folder) for folder in folders])
    return {folder: os.path.relpath(folder, common) for folder in folders}


def _told(table: pd.DataFrame, varied: list[str], kept: list[str], path: Path) -> list[dict]:
    """Return a row a run as a page shows it."""
    rows = []
    for row in table.to_dict("records"):
        told = {
            key: "–" if row[key] is None or row[key] != row[key] else _figure(key, row[key]) for key in kept
        }
        page = Path(row["folder"]) / "report.html"
        link = quote(os.path.relpath(page, path.absolute().parent)) if page.exists() else None
        rows.append(
            {"run": row["run"], "link": link, "parameters": {name: row[name] for name in varied}} | told
        )
    return rows


def _figure(key: str, value: float) -> str:
    return {"total_seconds": f"{value:.0f}", "peak_memory_gb": f"{value:.2f}"}.get(key, f"{100 * value:.2f}")


def _best(table: pd.DataFrame, kept: list[str]) -> dict[str, list[str]]:
    """Return column → the runs that are best in it; none where all are alike."""
    found = {}
    for key in kept:
        values = table[key].astype(float)
        top = values.max() if key in MORE else values.min()
        found[key] = [] if values.nunique() < 2 else table["run"][values == top].tolist()
    return found


def _tested(run: dict) -> set[tuple[str, str | None]]:
    """Return a run's test scenes, each with the checksum of its content."""
    return {
        (row["scene"], run["scenes"].get(row["scene"]))
        for row in run["metrics"]["maps"]
        if row["split"] == "test"
    }


def _common_scene(runs: dict[str, dict]) -> str | None:
    """Return the first test scene that all runs have mapped."""
    return min((scene for scene, _ in set.intersection(*map(_tested, runs.values()))), default=None)


def _small_multiples(runs: dict[str, dict], names: dict[str, str], scene: str) -> str:
    """Draw a scene, its truth if there is one, and each run's map of it."""
    first = next(iter(runs))
    row = scenes.load_catalogue(Path(first) / "scenes.json").loc[scene]
    legend = Legend.from_json(runs[first]["legend"])
    pictures = {"scene": row.path} | ({"truth": row.truth} if row.truth else {})
    for folder, run in runs.items():
        score = run["figures"].get("accuracy", run["figures"]["agreement"])
        pictures[f"{names[folder]}\n{100 * score:.1f} %"] = str(Path(folder) / "maps" / f"{scene}.tif")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "maps.png"
        maps.save(maps.small_multiples(pictures, legend), place)
        return picture(place)
