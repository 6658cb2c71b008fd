"""Run the notebooks in order, on one set of parameters, into one folder."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seaicekit import engines, report, training
from seaicekit.files import RUN_MARKER, InputError, read_json, require, write_json
from seaicekit.labels import load_labels
from seaicekit.pipeline import folder, resume
from seaicekit.pipeline.chain import STAGES
from seaicekit.pipeline.notebook import StageError, execute
from seaicekit.pipeline.parameters import RunParameters, read_parameters, stage_values
from seaicekit.pipeline.processes import memory_watch


@dataclass
class Execution:
    """One run under way.

    Attributes
    ----------
    out : Path
        The run's folder.
    parameters : RunParameters
    record : seaicekit.pipeline.resume.Record
        The stages that the folder has been through.
    progress : bool
        Show a bar a stage.
    started : str
        When, ISO 8601.
    done : dict
        Stage → whether it was run, and why or why not, of those looked at so far.
    """

    out: Path
    parameters: RunParameters
    record: resume.Record
    progress: bool
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    done: dict[str, dict] = field(default_factory=dict)


def run(
    out: str | os.PathLike,
    given: dict[str, Any] | RunParameters,
    progress: bool = True,
    again: Sequence[str] = (),
    only: Sequence[str] = STAGES,
    others: Sequence[Path] = (),
) -> dict:
    """Run the notebooks and write ``run.json`` and ``report.html``.

    A stage is left as it is if its parameters, its inputs' checksums, its notebook, this package and what it
    made are unchanged (`seaicekit.pipeline.resume`). So the same call goes on where a run was stopped.

    Parameters
    ----------
    out : path
        The run's folder. A folder that holds something else than a run is refused.
    given : dict or RunParameters
        Parameters that differ from the defaults; ``scenes`` names a folder of images, without it
        synthetic scenes are made.
    progress : bool
        Show a progress bar a stage.
    again : sequence of str
        Stages to run although nothing has changed.
    only : sequence of str
        Stages that may run at all; the others are left as they are. Those before them must be there.
    others : sequence of Path
        Folders of runs whose outputs are copied where a stage here would make the same.

    Returns
    -------
    dict
        The manifest, as in ``run.json``; ``figures`` has the numbers.

    Raises
    ------
    InputError
        A parameter, a scene or the folder cannot be used; nothing is written then.
    StageError
        A notebook failed; what came before it stays, and is in the report.
    """
    parameters = given if isinstance(given, RunParameters) else read_parameters(given)
    out = Path(out).expanduser().resolve()
    parameters = folder.check_inputs(out, parameters)
    steps = resume.plan(out, parameters, again)
    _check_extras([step.stage for step in steps if step.run and step.stage in only], parameters)
    missing = [step for step in steps[: STAGES.index(only[-1])] if step.run and step.stage not in only]
    if missing:
        raise InputError(
            f"{missing[0].stage}: {missing[0].why} in {out}, and {only[-1]} needs it; run it first"
        )
    fresh = not (out / RUN_MARKER).exists()
    created = folder.prepare(out)
    with folder.locked(out):
        execution = Execution(out, parameters, resume.Record(out), progress)
        try:
            _run_stages(execution, again, only, others)
        except StageError as error:
            unusable = error.failure["error"].startswith("InputError: ")
            if fresh and unusable and not any(each["done"] for each in execution.record.stages.values()):
                folder.remove_run(out, created)
            else:
                _write_manifest(execution, error.failure)
            if unusable:
                raise InputError(error.failure["error"].removeprefix("InputError: ")) from None
            raise
        return _write_manifest(execution)


def _run_stages(
    execution: Execution, again: Sequence[str], only: Sequence[str], others: Sequence[Path]
) -> None:
    """Run, copy or leave each stage in turn."""
    for number, stage in enumerate(STAGES, 1):
        step = resume.next_step(stage, execution.out, execution.parameters, execution.record, again)
        if stage not in only and step.run:  # nothing was asked of it, nor of those after it
            return
        pending = stage in only and step.run
        source = None
        if pending and others and stage not in again:
            source = resume.find_shared(
                stage, resume.stage_inputs(stage, execution.out, execution.parameters), others
            )
        why = f"shared with {source.name}" if source else step.why
        execution.done[stage] = {"run": pending and not source, "why": why}
        label = f"{number}/{len(STAGES)} {stage}"
        if execution.progress and not execution.done[stage]["run"]:
            print(f"{label}: {why}", file=sys.stderr)
        if pending:
            for name in ("run.json", "report.html"):  # of a run before, which are outdated
                (execution.out / name).unlink(missing_ok=True)
            if source:
                _copy_stage(execution, stage, source)
            else:
                _run_stage(execution, stage, label)


def _check_extras(stages: Sequence[str], parameters: RunParameters) -> None:
    """Check before the first stage that the extras are installed which the stages need."""
    if stages:
        require("batch", "running notebooks", "papermill", "nbconvert", "ipykernel")
    if {"02_calibrate", "05_map"} & set(stages):
        require("lab", "running notebooks", "leafmap", "bqplot", "anywidget", "bokeh", "server_thread")
    if "01_scenes" in stages and parameters.search:
        require("stac", "a search", "pystac_client", "odc.stac")
    if "03_autolabel" in stages and parameters.engine == "spark":
        engines.require_spark()
    if "04_train" in stages:
        training.require_horovod()
    if "05_map" in stages:
        require("train", "mapping scenes", "tensorflow", "keras")
    if "03_autolabel" in stages:  # last, for the extras of Spark and of training have it
        require(None, "a tile index", "pyarrow")


def _run_stage(execution: Execution, stage: str, label: str) -> None:
    """Run one notebook, from a clean start or where an interrupted one with the same inputs stopped."""
    inputs = resume.stage_inputs(stage, execution.out, execution.parameters)
    resumes = execution.record.interrupted(stage, inputs) and stage in ("03_autolabel", "04_train", "05_map")
    _keep_cuts(execution, stage)
    before = execution.record.stages.get(stage)
    values = stage_values(execution.parameters, stage, given=True) | {"run_dir": str(execution.out)}
    if resumes and stage == "04_train":
        values["resume"] = True
    with (
        resume.backed_up(stage, execution.out) if stage == STAGES[0] else contextlib.nullcontext()
    ):  # downloads take long
        resume.clear(execution.out, stage, keep=resumes)
        execution.record.begin(stage, inputs)
        start = time.perf_counter()
        try:
            with memory_watch() as memory:
                execute(stage, execution.out, values, {"desc": label} if execution.progress else False)
        except StageError:
            if before and stage == STAGES[0]:
                execution.record.restore(stage, before)
            raise
    execution.record.finish(stage, time.perf_counter() - start, memory["peak"])


def _keep_cuts(execution: Execution, stage: str) -> None:
    """Set cuts aside that somebody saved into the folder since, for the stage is about to write its own."""
    entry = execution.record.stages.get(stage, {"done": True})
    path, written = execution.out / "thresholds.json", entry.get("outputs", {})
    if (
        stage == "02_calibrate"
        and entry["done"]  # else it was being written when the run was stopped
        and path.exists()
        and resume.outputs(execution.out, stage).get(path.name) != written.get(path.name)
    ):
        aside = path.with_name("thresholds-by-hand.json")
        os.replace(path, aside)
        print(
            f"{path}: saved by hand; now in {aside.name}. Give it as 'thresholds' to use it", file=sys.stderr
        )


def _copy_stage(execution: Execution, stage: str, source: Path) -> None:
    """Take a stage's outputs from another run, with the time that they took there."""
    _keep_cuts(execution, stage)
    resume.clear(execution.out, stage)
    execution.record.begin(stage, {})  # an interrupted copy has no inputs, so nothing resumes from it
    resume.copy(stage, source, execution.out)
    theirs = resume.Record(source).stages[stage]
    execution.record.begin(stage, resume.stage_inputs(stage, execution.out, execution.parameters))
    execution.record.finish(stage, theirs["seconds"], theirs["memory"])


def _write_manifest(execution: Execution, failure: dict | None = None) -> dict:
    """Write ``run.json`` and ``report.html``, of a run that failed, too; return the manifest."""
    out, record = execution.out, execution.record
    finished = {stage: record.stages[stage] for stage in execution.done if record.stages[stage]["done"]}
    seconds = {stage: each["seconds"] for stage, each in finished.items()}
    peak = max((each["memory"] for each in finished.values()), default=0)
    manifest: dict[str, Any] = {
        "started": execution.started,
        "parameters": execution.parameters.model_dump(mode="json"),
        "versions": resume.versions(),
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "stages": execution.done,
        "figures": {
            "seconds": seconds,
            "total_seconds": round(sum(seconds.values()), 2),
            "peak_memory_gb": round(peak / 1e9, 3),
        },
        "scenes": {},
        "quarantined": [],
        "thresholds": None,
    }
    if "01_scenes" in finished:
        catalogued = read_json(out / "scenes.json")
        manifest["scenes"] = {
            item["id"]: item["assets"]["image"].get("file:checksum") for item in catalogued["features"]
        }
        manifest["quarantined"] = catalogued["seaicekit:quarantined"]
    if "02_calibrate" in finished:
        manifest["thresholds"] = read_json(out / "thresholds.json")
    if "03_autolabel" in finished:
        manifest["quarantined"] = manifest["quarantined"] + _unlabelled(out)
    if failure:
        manifest["failure"] = failure
        (out / "metrics.json").unlink(missing_ok=True)  # of the run before
    elif "05_map" in finished:
        metrics = read_json(out / "metrics.json")
        manifest["figures"] |= metrics.pop("figures")
        manifest["legend"] = training.read_card(out / "model" / "model.keras").legend.to_json()
        manifest["metrics"] = metrics
    write_json(out / "run.json", manifest)
    report.write(out)
    return manifest


def _unlabelled(out: Path) -> list[dict[str, str]]:
    """List the scenes that could be catalogued but not labelled."""
    table = load_labels(out / "labels")
    return [{"path": row.path, "reason": row.error} for row in table[table["error"].notna()].itertuples()]
