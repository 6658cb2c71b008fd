"""Run the notebooks in order, on one set of parameters, into one folder."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seaicekit import engines, training
from seaicekit.files import PARTIAL, RUN_MARKER, InputError, is_url, read_json, require, write_json
from seaicekit.labels import load_labels
from seaicekit.pipeline import chain, resume
from seaicekit.pipeline.chain import STAGES
from seaicekit.pipeline.checks import check_scenes, validate
from seaicekit.pipeline.guard import guarded
from seaicekit.pipeline.memory import memory_watch
from seaicekit.thresholds import Thresholds


class StageError(RuntimeError):
    """A notebook stopped.

    The message has its cell, its traceback and where to open it, ``failure`` the parts.
    """

    def __init__(self, failure: dict[str, Any]):
        super().__init__(
            f"{failure['stage']} stopped in cell {failure['cell']}:\n{failure['traceback'] or failure['error']}\n"
            f"Open it there: jupyter lab {failure['notebook']}\nThe report so far: {failure['report']}"
        )
        self.failure = failure


def _papermill() -> types.ModuleType:
    """Import papermill without what its optional storage packages complain about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import papermill
    return papermill


def serve_tuner(given: dict[str, str], browser: bool = True) -> int:
    """Serve the tuner's notebook as a page (by Voila, on loopback, with a token) until Ctrl-C; return 0.

    Parameters
    ----------
    given : dict
        Parameters of ``tuner.ipynb``.
    browser : bool
        Open the page in a browser.
    """
    require("lab", "the tuner", "voila", "papermill")
    import nbformat

    _papermill()
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "tuner.ipynb"
        notebook = parameterize_notebook(load_notebook_node(str(chain.notebooks() / page.name)), given)
        here = f"import os\n\nos.chdir({os.getcwd()!r})"  # Voila works in the notebook's folder
        notebook.cells.insert(0, nbformat.v4.new_code_cell(here))
        nbformat.write(notebook, page)
        safe = [
            "--token",
            "--Voila.ip=127.0.0.1",
            "--show_tracebacks=True",
            *([] if browser else ["--no-browser"]),
        ]
        server = subprocess.Popen([sys.executable, "-m", "voila", str(page), *safe])
        try:
            return server.wait()
        except KeyboardInterrupt:
            server.terminate()
            server.wait(20)
            return 0


def run(
    out: str | os.PathLike,
    given: dict[str, Any],
    progress: bool = True,
    again: Sequence[str] = (),
    only: Sequence[str] = STAGES,
    others: Sequence[Path] = (),
) -> dict:
    """Run the notebooks and write ``run.json`` and ``report.html``.

    A stage is passed over if its parameters, its inputs' checksums, its notebook, this package and what it
    made are unchanged (`seaicekit.pipeline.resume`). So the same call goes on where a run was stopped.

    Parameters
    ----------
    out : path
        The run's folder. A folder that holds something else than a run is refused.
    given : dict
        Parameters that differ from the notebooks' defaults; ``scenes`` names a folder of images, without it
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
    given = dict(given)
    validate(given)
    out = Path(out).expanduser().resolve()
    check_places(out, given)
    steps = resume.plan(out, given, again)
    _check_extras([step.stage for step in steps if step.run and step.stage in only], given)
    behind = [step for step in steps[: STAGES.index(only[-1])] if step.run and step.stage not in only]
    if behind:
        raise InputError(
            f"{behind[0].stage}: {behind[0].why} in {out}, and {only[-1]} needs it; run it first"
        )
    started, done, fresh = (
        datetime.now(UTC).isoformat(timespec="seconds"),
        {},
        not (out / RUN_MARKER).exists(),
    )
    created = _prepare(out)
    with _alone(out):
        for folder in (out, out / "figures"):  # which no stage has for its own, so none would clear them
            for partial in folder.glob(f"{PARTIAL}*"):  # of a run that was killed
                shutil.rmtree(partial, ignore_errors=True)
        record = resume.Record(out)
        for number, stage in enumerate(STAGES, 1):
            step = resume.next_step(stage, out, given, record, again)
            if stage not in only and step.run:  # nothing was asked of it, nor of those after it
                break
            wanted = stage in only and step.run
            may_share = wanted and stage not in again
            source = resume.shared(stage, resume.made_of(stage, out, given), others) if may_share else None
            done[stage] = {
                "run": wanted and not source,
                "why": f"shared with {source.name}" if source else step.why,
            }
            if progress and not done[stage]["run"]:
                print(f"{number}/{len(STAGES)} {stage}: {done[stage]['why']}", file=sys.stderr)
            if not wanted:
                continue
            for name in ("run.json", "report.html"):  # of a run before, which are no longer so
                (out / name).unlink(missing_ok=True)
            try:
                if source:
                    _copy_stage(stage, source, out, given, record)
                else:
                    bar = {"desc": f"{number}/{len(STAGES)} {stage}"} if progress else False
                    _run_stage(stage, out, given, record, bar)
            except StageError as error:
                unusable = error.failure["error"].startswith("InputError: ")
                if fresh and unusable and not any(each["done"] for each in record.stages.values()):
                    _withdraw(out, created)
                else:
                    _conclude(out, given, record, started, done, error.failure)
                if unusable:
                    raise InputError(error.failure["error"].removeprefix("InputError: ")) from None
                raise
        return _conclude(out, given, record, started, done)


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold a run's folder for a ``with`` block; the system lets go of it however this process ends."""
    with open(out / RUN_MARKER, "a") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{out}: another run is at work there; wait for it, or choose another folder"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield


def check_places(out: Path, given: dict[str, Any]) -> None:
    """Make the places of inputs absolute, and refuse those that cannot be read, or that a run would write over."""
    for name in ("scenes", "thresholds", "targets"):
        if given.get(name) in ("labels", "raw", "truth"):
            continue
        if given.get(name) and not is_url(given[name]):
            path = Path(given[name]).expanduser().absolute()
            if out.resolve() in (path.resolve(), *path.resolve().parents):
                raise InputError(
                    f"{out}: holds the {name}, which a run there would remove; choose another output folder"
                )
            given[name] = str(path)
    if given.get("scenes"):
        check_scenes(given["scenes"])
    if Path(given.get("targets", "")).is_absolute() and not any(Path(given["targets"]).glob("*.tif")):
        raise InputError(f"targets: {given['targets']} holds no rasters; name them SCENE.tif")
    if given.get("thresholds"):
        Thresholds.load(given["thresholds"])


def _run_stage(stage: str, out: Path, given: dict[str, Any], record: resume.Record, bar: dict | bool) -> None:
    """Run one notebook, from a clean start or where an interrupted one of the same make stopped."""
    made_of = resume.made_of(stage, out, given)
    goes_on = record.interrupted(stage, made_of) and stage in ("03_autolabel", "04_train")
    _keep_cuts(stage, out, record)
    before = record.stages.get(stage)
    with resume.kept(stage, out) if stage == STAGES[0] else contextlib.nullcontext():  # downloads take long
        resume.clear(out, stage, keep=goes_on)
        record.begin(stage, made_of)
        start = time.perf_counter()
        try:
            with guarded(), memory_watch() as memory:
                _execute(
                    stage, out, given | ({"resume": True} if goes_on and stage == "04_train" else {}), bar
                )
        except StageError:
            if before and stage == STAGES[0]:
                record.restore(stage, before)
            raise
    record.finish(stage, time.perf_counter() - start, memory["peak"])


def _keep_cuts(stage: str, out: Path, record: resume.Record) -> None:
    """Set cuts aside that somebody saved into the folder since, for the stage is about to write its own."""
    noted = record.stages.get(stage, {"done": True})
    path, written = out / "thresholds.json", noted.get("outputs", {})
    if (
        stage == "02_calibrate"
        and noted["done"]  # else it was being written when the run was stopped
        and path.exists()
        and resume.outputs(out, stage).get(path.name) != written.get(path.name)
    ):
        aside = path.with_name("thresholds-by-hand.json")
        os.replace(path, aside)
        print(
            f"{path}: saved by hand; now in {aside.name}. Give it as 'thresholds' to use it", file=sys.stderr
        )


def _copy_stage(stage: str, source: Path, out: Path, given: dict[str, Any], record: resume.Record) -> None:
    """Take a stage's outputs from another run, with the time that they took there."""
    _keep_cuts(stage, out, record)
    resume.clear(out, stage)
    record.begin(stage, {})  # a copy that is stopped is of no make, so nothing goes on from it
    resume.copy(stage, source, out)
    found = resume.Record(source).stages[stage]
    record.begin(stage, resume.made_of(stage, out, given))
    record.finish(stage, found["seconds"], found["memory"])


def _conclude(
    out: Path,
    given: dict[str, Any],
    record: resume.Record,
    started: str,
    done: dict,
    failure: dict | None = None,
) -> dict:
    """Write the manifest and the report, of a run that failed too."""
    from seaicekit import report

    finished = {stage: record.stages[stage] for stage in done if record.stages[stage]["done"]}
    figures: dict[str, Any] = {"seconds": {stage: each["seconds"] for stage, each in finished.items()}}
    figures["total_seconds"] = round(sum(figures["seconds"].values()), 2)
    figures["peak_memory_gb"] = round(max((each["memory"] for each in finished.values()), default=0) / 1e9, 3)
    manifest: dict[str, Any] = {
        "started": started,
        "parameters": chain.defaults() | given,
        "versions": resume.versions(),
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "stages": done,
        "figures": figures,
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
        manifest["quarantined"] = manifest["quarantined"] + _left_out(out)
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


def _withdraw(out: Path, created: Path | None) -> None:
    """Leave nothing behind of a run that could not begin, and of folders only those that were there."""
    for stage in STAGES:
        resume.clear(out, stage)
    for name in (resume.RECORD, RUN_MARKER):
        (out / name).unlink(missing_ok=True)
    for name in ("figures", "notebooks"):
        shutil.rmtree(out / name, ignore_errors=True)
    with contextlib.suppress(OSError):  # not empty
        for folder in (out, *out.parents):
            if created and folder.is_relative_to(created):
                folder.rmdir()


def _left_out(out: Path) -> list[dict[str, str]]:
    """List the scenes that could be catalogued but not labelled."""
    table = load_labels(out / "labels")
    return [{"path": row.path, "reason": row.error} for row in table[table["error"].notna()].itertuples()]


def _prepare(out: Path) -> Path | None:
    """Make the run's folder, empty; return the topmost folder that had to be made."""
    created = next((folder for folder in [*reversed(out.parents), out] if not folder.exists()), None)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; choose another output folder")
    if out.is_dir() and any(out.iterdir()) and not (out / RUN_MARKER).exists():
        raise InputError(f"{out}: holds something that is no run; choose an empty or a new output folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise InputError(
            f"{out}: cannot write there ({error.strerror}); choose another output folder"
        ) from error
    (out / RUN_MARKER).touch()
    return created


def _check_extras(stages: Sequence[str], given: dict[str, Any]) -> None:
    """Check before the first stage that the extras are installed which the stages need."""
    if stages:
        require("batch", "running notebooks", "papermill", "nbconvert", "ipykernel")
    if {"02_calibrate", "05_map"} & set(stages):
        require("lab", "running notebooks", "leafmap", "bqplot", "anywidget", "bokeh", "server_thread")
    if "03_autolabel" in stages and (chain.defaults() | given)["engine"] == "spark":
        engines.require_spark()
    if "04_train" in stages:
        training.require_horovod()


def _execute(stage: str, out: Path, given: dict[str, Any], progress: dict | bool) -> None:
    papermill, known = _papermill(), chain.parameters()[stage]
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    chosen = {name: value for name, value in given.items() if name in known} | {"run_dir": str(out)}
    finished = out / "notebooks" / f"{stage}.ipynb"
    finished.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=out) as folder:
        draft = Path(folder) / finished.name
        try:
            papermill.execute_notebook(
                chain.notebooks() / finished.name,
                draft,
                chosen,
                kernel_name="python3",
                progress_bar=progress,
                cwd=str(out),
                extra_arguments=["--log-level=CRITICAL"],
            )
        except KeyboardInterrupt:
            logging.getLogger(
                "asyncio"
            ).disabled = True  # it would tell of the kernel's end, which was asked for
            raise
        except (PapermillExecutionError, DeadKernelError) as error:
            failure = {"stage": stage, "notebook": str(finished), "report": str(out / "report.html")}
            raise StageError(failure | _told(error, draft)) from None
        finally:
            if draft.exists():
                os.replace(draft, finished)


def _told(error: Exception, draft: Path) -> dict[str, object]:
    """Return the cell that a notebook stopped in, and why."""
    from nbconvert.filters.ansi import strip_ansi
    from papermill.exceptions import PapermillExecutionError

    if isinstance(error, PapermillExecutionError):
        return {
            "cell": error.exec_count,
            "source": error.source,
            "error": f"{error.ename}: {error.evalue}",
            "traceback": strip_ansi("\n".join(error.traceback)),
        }
    code = (
        [cell for cell in read_json(draft)["cells"] if cell["cell_type"] == "code"] if draft.exists() else []
    )
    last = next(
        (cell for cell in code if cell["metadata"].get("papermill", {}).get("status") != "completed"), None
    )
    return {
        "cell": code.index(last) + 1 if last else None,
        "source": "".join(last["source"]) if last else "",
        "error": "the notebook's kernel was killed, perhaps for want of memory",
        "traceback": "",
    }
