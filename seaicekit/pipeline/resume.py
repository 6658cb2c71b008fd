"""Which stages of a run are done already.

A stage is done if none of its inputs and none of its outputs has changed since.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from seaicekit import scenes, training
from seaicekit.files import LOCK, PARTIAL, InputError, read_json, sha256, write_json
from seaicekit.pipeline import chain
from seaicekit.pipeline.chain import STAGES
from seaicekit.pipeline.parameters import RunParameters, stage_values

RECORD = "stages.json"
PACKAGES = (
    "seaicekit",
    "numpy",
    "opencv-python-headless",
    "rasterio",
    "scikit-image",
    "scikit-learn",
    "matplotlib",
    "dask",
    "pyspark",
    "tensorflow-cpu",
    "keras",
    "horovod",
    "papermill",
)
# What a stage leaves in the run's folder beside its notebook; the figures are those of its own.
OUTPUTS = {
    "01_scenes": ("scenes.json", "scenes", "truth", "figures/footprints.png", "figures/scenes.png"),
    "02_calibrate": ("thresholds.json", "tuner.json", "figures/histogram.png", "figures/fit_curve.png"),
    "03_autolabel": ("labels", "tiles.parquet", "figures/labels.png", "figures/strata.png"),
    "04_train": ("model", "figures/curves.png"),
    "05_map": (
        "maps",
        "metrics.json",
        "figures/maps.png",
        "figures/series.png",
        "figures/scores.png",
        "figures/polar.png",
        "figures/confusion.png",
        "figures/reliability.png",
    ),
}
IRRELEVANT = {"resume", "hosts", "master"}  # where and how a stage is run; its outputs do not depend on it


@dataclass(frozen=True)
class Step:
    """Whether a stage is to be run, and why."""

    stage: str
    run: bool
    why: str


class Record:
    """The stages that a folder has been through, in ``stages.json``."""

    def __init__(self, out: Path):
        self._path, self._out = out / RECORD, out
        self.stages: dict[str, dict] = {}
        with contextlib.suppress(InputError):  # damaged: then all stages run again
            stages = read_json(self._path).get("stages") if self._path.exists() else None
            if isinstance(stages, dict) and all(map(_is_complete, stages.values())):
                self.stages = stages

    def begin(self, stage: str, inputs: dict) -> None:
        """Note that a stage has begun; its earlier outputs are no longer valid."""
        self.stages[stage] = {"inputs": inputs, "done": False}
        self._save()

    def finish(self, stage: str, seconds: float, memory: int) -> None:
        """Note that a stage is done, and its outputs."""
        result = {
            "done": True,
            "seconds": round(seconds, 2),
            "memory": memory,
            "outputs": outputs(self._out, stage),
        }
        self.stages[stage] |= result
        self._save()

    def restore(self, stage: str, noted: dict) -> None:
        """Put a stage's earlier entry back, as its outputs are back."""
        self.stages[stage] = noted
        self._save()

    def _save(self) -> None:
        write_json(self._path, {"stages": self.stages})

    def interrupted(self, stage: str, inputs: dict) -> bool:
        """Say whether a stage was begun with the same inputs and not finished."""
        entry = self.stages.get(stage, {})
        return not entry.get("done", True) and entry["inputs"] == inputs


def _is_complete(stage: object) -> bool:
    """Say whether a stage's entry in the record has all that it needs."""
    needed: dict[str, Any] = {"done": bool, "inputs": dict}
    if isinstance(stage, dict) and stage.get("done"):
        needed |= {"seconds": (int, float), "memory": int, "outputs": dict}
    return isinstance(stage, dict) and all(isinstance(stage.get(name), kind) for name, kind in needed.items())


def outputs(out: Path, stage: str) -> dict[str, str]:
    """Return path → checksum of each output file of a stage, below the run's folder."""
    places = [out / name for name in OUTPUTS[stage]]
    paths = [
        path
        for place in places
        for path in (place, *place.rglob("*"))
        if path.is_file() and path.name != LOCK
    ]
    return {str(path.relative_to(out)): _digest(path) for path in sorted(paths) if PARTIAL not in str(path)}


def _digest(path: Path) -> str:
    if path.suffix != ".keras":
        return sha256(path)
    with zipfile.ZipFile(path) as archive:  # its card is given scores by a later stage
        members = [[each.filename, each.CRC] for each in archive.infolist() if each.filename != training.CARD]
    return hashlib.sha256(json.dumps(members).encode()).hexdigest()


def stage_inputs(stage: str, out: Path, parameters: RunParameters) -> dict:
    """Return all that a stage's outputs depend on, as JSON values; files by their checksums."""
    values = stage_values(parameters, stage)
    inputs: dict[str, Any] = {"notebook": _notebook(stage), "code": code(), "versions": versions()}
    if values.get("scenes"):
        paths = scenes.name_scenes(scenes.find_scenes(values["scenes"]))
        inputs["scenes"] = {name: _fingerprint(path) for name, path in paths.items()}
    if values.get("thresholds"):
        inputs["thresholds"] = sha256(values["thresholds"])
    if values.get("targets", "labels") not in ("labels", "raw", "truth"):
        inputs["targets"] = [sha256(path) for path in sorted(Path(values["targets"]).glob("*.tif"))]
    # Of scenes, thresholds and targets the content counts, and not the place.
    inputs["parameters"] = {
        name: value for name, value in values.items() if name not in IRRELEVANT | inputs.keys()
    }
    inputs["before"] = {
        name: digest
        for earlier in STAGES[: STAGES.index(stage)]
        for name, digest in outputs(out, earlier).items()
        if _is_input(name)
    }
    return inputs


def _fingerprint(path: str | os.PathLike) -> str:
    """Return what a scene's content is known by, or why it has none: a run will set it aside."""
    try:
        return scenes.fingerprint(path)
    except InputError as error:
        return str(error)


def _is_input(name: str) -> bool:
    """Say whether a later stage reads a file; none reads figures, nor how long a training took."""
    return not name.startswith("figures/") and name not in ("model/training.json", "model/history.csv")


def _notebook(stage: str) -> str:
    cells = read_json(chain.notebooks() / f"{stage}.ipynb")["cells"]
    source = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(source).encode()).hexdigest()


@functools.cache
def code() -> str:
    """Return a hash of this package's source."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    kinds = (".py", ".json", ".yaml", ".j2")
    for path in sorted(
        path for path in root.rglob("*") if path.suffix in kinds and "notebooks" not in path.parts
    ):
        digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of Python and of those packages that are installed."""
    installed = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            installed[package] = metadata.version(package)
    return installed


def next_step(
    stage: str, out: Path, parameters: RunParameters, record: Record, again: Sequence[str] = ()
) -> Step:
    """Say whether a stage is to be run, once those before it are done.

    Parameters
    ----------
    stage : str
    out : Path
    parameters : RunParameters
    record : Record
    again : sequence of str
        Stages to be run in any case.
    """
    if stage in again:
        return Step(stage, True, "asked for")
    noted = record.stages.get(stage)
    if not noted:
        return Step(stage, True, "not done yet")
    now = stage_inputs(stage, out, parameters)
    if not noted["done"]:
        return Step(stage, True, "was interrupted")
    changed = sorted(name for name in now if noted["inputs"].get(name) != now[name])
    if changed:
        return Step(stage, True, f"{_changes(changed, noted['inputs'], now)} changed")
    present = outputs(out, stage)
    lost = [name for name, digest in noted["outputs"].items() if present.get(name) != digest]
    if lost:
        return Step(stage, True, f"{lost[0]} is missing or was changed")
    return Step(stage, False, f"unchanged, {noted['seconds']:.0f} s saved")


def _changes(changed: list[str], old: dict, new: dict) -> str:
    """Name the parameters and files that changed, or the kind of thing that did."""
    parts = []
    for name in changed:
        if name in ("parameters", "before", "versions"):
            one, other = old.get(name, {}), new[name]
            parts += sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))[:3]
        else:
            parts.append({"code": "seaicekit's code", "notebook": "the notebook"}.get(name, f"the {name}"))
    return ", ".join(parts)


def plan(out: str | os.PathLike, parameters: RunParameters, again: Sequence[str] = ()) -> list[Step]:
    """Say of each stage whether it would be run, and why, without running any.

    The outputs of a stage that would run are not known, so all stages after it count as to be run.
    """
    out = Path(out)
    steps: list[Step] = []
    record = Record(out)
    for stage in STAGES:
        first = next((step for step in steps if step.run), None)
        if first and stage not in again and record.stages.get(stage, {}).get("done"):
            steps.append(Step(stage, True, f"if what {first.stage} makes is new"))
        else:
            steps.append(next_step(stage, out, parameters, record, again))
    return steps


def find_shared(stage: str, inputs: dict, runs: Sequence[Path]) -> Path | None:
    """Return the first run that has a stage's outputs, complete and of the same inputs; None if none has."""
    for run in runs:
        entry = Record(run).stages.get(stage, {})
        if entry.get("done") and entry["inputs"] == inputs and outputs(run, stage) == entry["outputs"]:
            return run
    return None


def copy(stage: str, source: Path, out: Path) -> None:
    """Copy a stage's outputs and its notebook from one run's folder into another's."""
    for name in (*OUTPUTS[stage], f"notebooks/{stage}.ipynb"):
        if (source / name).is_dir():
            shutil.copytree(source / name, out / name, dirs_exist_ok=True)
        elif (source / name).exists():
            (out / name).parent.mkdir(exist_ok=True)
            shutil.copy2(source / name, out / name)


@contextlib.contextmanager
def backed_up(stage: str, out: Path) -> Iterator[None]:
    """Move a stage's outputs away for a ``with`` block, and back if the block fails."""
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=out) as aside:
        for name in filter(lambda each: (out / each).exists(), OUTPUTS[stage]):
            (Path(aside) / name).parent.mkdir(exist_ok=True)
            (out / name).rename(Path(aside) / name)
        try:
            yield
        except Exception:
            clear(out, stage)
            for name in filter(lambda each: (Path(aside) / each).exists(), OUTPUTS[stage]):
                (Path(aside) / name).rename(out / name)
            raise


def clear(out: Path, stage: str, keep: bool = False) -> None:
    """Remove a stage's outputs, or with ``keep`` only its unfinished files."""
    for name in OUTPUTS[stage]:
        path = out / name
        if path.is_dir() and not keep:
            shutil.rmtree(path)
        elif path.is_dir():
            for partial in path.rglob(f"{PARTIAL}*"):
                shutil.rmtree(partial, ignore_errors=True)
        elif path.exists() and not keep:
            path.unlink()
