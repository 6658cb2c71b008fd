"""What of a run is there already.

A stage is done if nothing that it is made of, and nothing it made, has changed.
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from seaicekit import scenes, training
from seaicekit.files import PARTIAL, InputError, read_json, sha256, write_json
from seaicekit.pipeline import chain
from seaicekit.pipeline.chain import STAGES

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
NEVER = {"resume", "hosts", "master"}  # where and how a stage is run, and not what it makes


@dataclass(frozen=True)
class Step:
    """What is to be done about a stage: run it or leave it, and why."""

    stage: str
    run: bool
    why: str


class Record:
    """The stages that a folder has been through, in ``stages.json``."""

    def __init__(self, out: Path):
        self._path, self._out = out / RECORD, out
        self.stages: dict[str, dict] = {}
        with contextlib.suppress(InputError):  # damaged: then nothing is known, and all is made anew
            found = read_json(self._path).get("stages") if self._path.exists() else None
            if isinstance(found, dict) and all(map(_whole, found.values())):
                self.stages = found

    def begin(self, stage: str, made_of: dict) -> None:
        """Note that a stage has begun; what it made before counts no more."""
        self.stages[stage] = {"made of": made_of, "done": False}
        self._save()

    def finish(self, stage: str, seconds: float, memory: int) -> None:
        """Note that a stage is done, and what it made."""
        told = {
            "done": True,
            "seconds": round(seconds, 2),
            "memory": memory,
            "outputs": outputs(self._out, stage),
        }
        self.stages[stage] |= told
        self._save()

    def restore(self, stage: str, noted: dict) -> None:
        """Note of a stage what was noted before; its outputs are there again."""
        self.stages[stage] = noted
        self._save()

    def _save(self) -> None:
        write_json(self._path, {"stages": self.stages})

    def interrupted(self, stage: str, made_of: dict) -> bool:
        """Say whether a stage of the same make was begun and not finished."""
        found = self.stages.get(stage, {})
        return not found.get("done", True) and found["made of"] == made_of


def _whole(stage: object) -> bool:
    """Say whether what is noted of a stage is all there."""
    needed: dict[str, Any] = {"done": bool, "made of": dict}
    if isinstance(stage, dict) and stage.get("done"):
        needed |= {"seconds": (int, float), "memory": int, "outputs": dict}
    return isinstance(stage, dict) and all(isinstance(stage.get(name), kind) for name, kind in needed.items())


def outputs(out: Path, stage: str) -> dict[str, str]:
    """Return path → checksum of each file that a stage made, below the run's folder."""
    found = []
    for name in OUTPUTS[stage]:
        path = out / name
        found += (
            [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path] * path.is_file()
        )
    return {str(path.relative_to(out)): _digest(path) for path in sorted(found) if PARTIAL not in str(path)}


def _digest(path: Path) -> str:
    if path.suffix != ".keras":
        return sha256(path)
    with zipfile.ZipFile(path) as archive:  # its card is given scores by a later stage
        members = [[each.filename, each.CRC] for each in archive.infolist() if each.filename != training.CARD]
    return hashlib.sha256(json.dumps(members).encode()).hexdigest()


def made_of(stage: str, out: Path, given: dict[str, Any]) -> dict:
    """Return all that a stage's outputs depend on, as JSON values.

    Checksums of files, and not their places.
    """
    known = chain.parameters()[stage]
    chosen = {
        name: given.get(name, default) for name, default in known.items() if name not in NEVER | {"run_dir"}
    }
    found = {"parameters": chosen, "notebook": _notebook(stage), "code": code(), "versions": versions()}
    if stage == "01_scenes" and chosen["scenes"]:
        found["scenes"] = {
            name: _fingerprint(path)
            for name, path in scenes.name_scenes(scenes.find_scenes(chosen["scenes"])).items()
        }
    if chosen.get("thresholds"):
        found["thresholds"] = sha256(chosen["thresholds"])
    if chosen.get("targets", "labels") not in ("labels", "raw", "truth"):
        found["targets"] = [sha256(path) for path in sorted(Path(chosen["targets"]).glob("*.tif"))]
    found["parameters"] = {
        name: value for name, value in chosen.items() if name not in found
    }  # their content counts
    before = STAGES[: STAGES.index(stage)]
    found["before"] = {
        name: mark for each in before for name, mark in outputs(out, each).items() if _data(name)
    }
    return json.loads(json.dumps(found))


def _fingerprint(path: str | os.PathLike) -> str:
    """Return what a scene's content is known by, or why it has none: a run will set it aside."""
    try:
        return scenes.fingerprint(path)
    except InputError as error:
        return str(error)


def _data(name: str) -> bool:
    """Say whether a later stage looks at a file: not at figures, and not at how long a training took."""
    return not name.startswith("figures/") and name not in ("model/training.json", "model/history.csv")


def _notebook(stage: str) -> str:
    cells = read_json(chain.notebooks() / f"{stage}.ipynb")["cells"]
    source = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(source).encode()).hexdigest()


@functools.cache
def code() -> str:
    """Return a hash of this package's source."""
    root, found = Path(__file__).parents[1], hashlib.sha256()
    kinds = (".py", ".json", ".yaml", ".j2")
    for path in sorted(
        path for path in root.rglob("*") if path.suffix in kinds and "notebooks" not in path.parts
    ):
        found.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return found.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of Python and of what a run's results depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def next_step(
    stage: str, out: Path, given: dict[str, Any], record: Record, again: Sequence[str] = ()
) -> Step:
    """Say whether a stage is to be run, once those before it are done.

    Parameters
    ----------
    stage : str
    out : Path
    given : dict
        Parameters that differ from the defaults.
    record : Record
    again : sequence of str
        Stages to be run in any case.
    """
    if stage in again:
        return Step(stage, True, "asked for")
    found = record.stages.get(stage)
    if not found:
        return Step(stage, True, "not done yet")
    now = made_of(stage, out, given)
    if not found["done"]:
        return Step(stage, True, "was interrupted")
    changed = sorted(name for name in now if found["made of"].get(name) != now[name])
    if changed:
        return Step(stage, True, f"{_told(changed, found['made of'], now)} changed")
    there = outputs(out, stage)
    lost = [name for name, mark in found["outputs"].items() if there.get(name) != mark]
    if lost:
        return Step(stage, True, f"{lost[0]} is missing or was changed")
    return Step(stage, False, f"unchanged, {found['seconds']:.0f} s saved")


def _told(changed: list[str], old: dict, new: dict) -> str:
    """Name parameters and files that changed, and else what kind of thing did."""
    parts = []
    for name in changed:
        if name in ("parameters", "before", "versions"):
            one, other = old.get(name, {}), new[name]
            parts += sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))[:3]
        else:
            parts.append({"code": "seaicekit's code", "notebook": "the notebook"}.get(name, f"the {name}"))
    return ", ".join(parts)


def plan(out: str | os.PathLike, given: dict[str, Any], again: Sequence[str] = ()) -> list[Step]:
    """Say of each stage whether it would be run, and why, without running any.

    What a stage would make anew is not known, so all after it are taken to follow.
    """
    out = Path(out)
    steps: list[Step] = []
    record = Record(out)
    for stage in STAGES:
        ahead = next((step for step in steps if step.run), None)
        if ahead and stage not in again and record.stages.get(stage, {}).get("done"):
            steps.append(Step(stage, True, f"if what {ahead.stage} makes is new"))
        else:
            steps.append(next_step(stage, out, given, record, again))
    return steps


def shared(stage: str, made_of: dict, runs: Sequence[Path]) -> Path | None:
    """Return the first run that has a stage's outputs already, of the same make and whole.

    None if none has.
    """
    for run in runs:
        found = Record(run).stages.get(stage, {})
        if found.get("done") and found["made of"] == made_of and outputs(run, stage) == found["outputs"]:
            return run
    return None


def copy(stage: str, source: Path, out: Path) -> None:
    """Copy what a stage made, and its notebook, from one run's folder into another's."""
    for name in (*OUTPUTS[stage], f"notebooks/{stage}.ipynb"):
        if (source / name).is_dir():
            shutil.copytree(source / name, out / name, dirs_exist_ok=True)
        elif (source / name).exists():
            (out / name).parent.mkdir(exist_ok=True)
            shutil.copy2(source / name, out / name)


@contextlib.contextmanager
def kept(stage: str, out: Path) -> Iterator[None]:
    """Set aside what a stage has made for a ``with`` block; put it back if the block fails."""
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
    """Remove what a stage made, or with ``keep`` only what it left unfinished."""
    for name in OUTPUTS[stage]:
        path = out / name
        if path.is_dir() and not keep:
            shutil.rmtree(path)
        elif path.is_dir():
            for partial in path.rglob(f"{PARTIAL}*"):
                shutil.rmtree(partial, ignore_errors=True)
        elif path.exists() and not keep:
            path.unlink()
