"""Run the notebooks in order, on one set of parameters, into one folder."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from seaicekit import catalogues
from seaicekit.autolabel import load_table
from seaicekit.files import PARTIAL, InputError, read_json, write_json
from seaicekit.pipeline import chain, resume
from seaicekit.pipeline.chain import STAGES
from seaicekit.pipeline.checks import check_scenes, validate
from seaicekit.pipeline.memory import memory_watch
from seaicekit.remote import is_url
from seaicekit.thresholds import Thresholds


class StageError(RuntimeError):
    """A notebook stopped; the message has its cell, its traceback and where to open it."""


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
        safe = ["--token", "--Voila.ip=127.0.0.1", "--show_tracebacks=True", *([] if browser else ["--no-browser"])]
        server = subprocess.Popen([sys.executable, "-m", "voila", str(page), *safe])
        try:
            return server.wait()
        except KeyboardInterrupt:
            server.terminate()
            server.wait(20)
            return 0


def run(
    out: str | os.PathLike, given: dict[str, object], progress: bool = True, again: Sequence[str] = (),
    only: Sequence[str] = STAGES,
) -> dict:  # fmt: skip
    """Run the notebooks and write ``run.json`` and ``report.html``.

    A stage is passed over if its parameters, its inputs' checksums, its notebook, this package and what it made are
    unchanged (`seaicekit.pipeline.resume`). So the same call goes on where a run was stopped.

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
        Stages that may run at all; the others are left as they are, and must be there.

    Returns
    -------
    dict
        The manifest, as in ``run.json``; ``figures`` has the numbers.

    Raises
    ------
    InputError
        A parameter, a scene or the folder cannot be used; nothing is written then.
    StageError
        A notebook failed; what came before it stays.
    """
    given = dict(given)
    validate(given)
    out = Path(out).expanduser().absolute()
    _check_places(out, given)
    created = _prepare(out)
    record, started, done = resume.Record(out), datetime.now(UTC).isoformat(timespec="seconds"), {}
    for number, stage in enumerate(STAGES, 1):
        step = resume.next_step(stage, out, given, record, again)
        if stage in only and step.run:
            bar = {"desc": f"{number}/{len(STAGES)} {stage}"} if progress else False
            try:
                _run_stage(stage, out, given, record, bar)
            except InputError:
                if not any(each["done"] for each in record.stages.values()):
                    _withdraw(out, created)
                raise
        elif stage not in only and not record.stages.get(stage, {}).get("done"):
            raise InputError(f"{stage}: is not done in {out}, and others need it; run it first")
        elif progress:
            print(f"{number}/{len(STAGES)} {stage}: {step.why}", file=sys.stderr)
        done[stage] = {"run": stage in only and step.run, "why": step.why}
    return _conclude(out, given, record, started, done)


def _check_places(out: Path, given: dict[str, object]) -> None:
    """Make the places of inputs absolute, and refuse those that a run would write over."""
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


def _run_stage(stage: str, out: Path, given: dict[str, object], record: resume.Record, bar: dict | bool) -> None:
    """Run one notebook, from a clean start or where an interrupted one of the same make stopped."""
    made_of = resume.made_of(stage, out, given)
    goes_on = record.interrupted(stage, made_of) and stage in ("03_autolabel", "04_train")
    _keep_cuts(stage, out, record)
    resume.clear(out, stage, keep=goes_on)
    record.begin(stage, made_of)
    start = time.perf_counter()
    with memory_watch() as memory:
        _execute(stage, out, given | ({"resume": True} if goes_on and stage == "04_train" else {}), bar)
    record.finish(stage, time.perf_counter() - start, memory["peak"])


def _keep_cuts(stage: str, out: Path, record: resume.Record) -> None:
    """Set cuts aside that somebody saved into the folder since, for the stage is about to write its own."""
    path, written = out / "thresholds.json", record.stages.get(stage, {}).get("outputs", {})
    if (
        stage == "02_calibrate"
        and path.exists()
        and resume.outputs(out, stage).get(path.name) != written.get(path.name)
    ):
        aside = path.with_name("thresholds-by-hand.json")
        os.replace(path, aside)
        print(f"{path}: saved by hand; now in {aside.name}. Give it as 'thresholds' to use it", file=sys.stderr)


def _conclude(out: Path, given: dict[str, object], record: resume.Record, started: str, done: dict) -> dict:
    """Write the manifest and the report."""
    from seaicekit import report

    stages = {stage: record.stages[stage] for stage in STAGES}
    catalogued = read_json(out / "scenes.json")
    figures = {"seconds": {stage: each["seconds"] for stage, each in stages.items()}}
    figures["peak_memory_gb"] = round(max(each["memory"] for each in stages.values()) / 1e9, 3)
    manifest = {
        "started": started,
        "parameters": chain.defaults() | given,
        "versions": resume.versions(),
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "stages": done,
        "figures": figures | read_json(out / "metrics.json")["figures"],
        "scenes": {item["id"]: item["assets"]["image"].get("file:checksum") for item in catalogued["features"]},
        "quarantined": catalogued["seaicekit:quarantined"] + _left_out(out),
        "thresholds": read_json(out / "thresholds.json"),
    }
    write_json(out / "run.json", manifest)
    report.write(out)
    return manifest


def _withdraw(out: Path, created: Path | None) -> None:
    """Leave nothing behind of a run that could not begin, and of folders only those that were there."""
    for stage in STAGES:
        resume.clear(out, stage)
    for name in (resume.RECORD, catalogues.RUN_MARK):
        (out / name).unlink(missing_ok=True)
    for name in ("figures", "notebooks"):
        shutil.rmtree(out / name, ignore_errors=True)
    with contextlib.suppress(OSError):  # not empty
        for folder in (out, *out.parents):
            if created and folder.is_relative_to(created):
                folder.rmdir()


def _left_out(out: Path) -> list[dict[str, str]]:
    """List the scenes that could be catalogued but not labelled."""
    table = load_table(out / "labels")
    return [{"path": row.path, "reason": row.error} for row in table[table["error"].notna()].itertuples()]


def _prepare(out: Path) -> Path | None:
    """Make the run's folder, empty; return the topmost folder that had to be made."""
    created = next((folder for folder in [*reversed(out.parents), out] if not folder.exists()), None)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; choose another output folder")
    if out.is_dir() and any(out.iterdir()) and not (out / catalogues.RUN_MARK).exists():
        raise InputError(f"{out}: holds something that is no run; choose an empty or a new output folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise InputError(f"{out}: cannot write there ({error.strerror}); choose another output folder") from error
    for partial in out.glob(f"{PARTIAL}*"):  # of a run that was killed
        shutil.rmtree(partial, ignore_errors=True)
    (out / catalogues.RUN_MARK).touch()
    return created


def _execute(stage: str, out: Path, given: dict[str, object], progress: dict | bool) -> None:
    from nbconvert.filters.ansi import strip_ansi
    from papermill.exceptions import PapermillExecutionError

    papermill, known = _papermill(), chain.parameters()[stage]
    chosen = {name: value for name, value in given.items() if name in known} | {"run_dir": str(out)}
    finished = out / "notebooks" / f"{stage}.ipynb"
    finished.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=out) as folder:
        draft = Path(folder) / finished.name
        try:
            papermill.execute_notebook(
                chain.notebooks() / finished.name, draft, chosen, kernel_name="python3", progress_bar=progress,
                cwd=str(out), extra_arguments=["--log-level=ERROR"],
            )  # fmt: skip
        except PapermillExecutionError as error:
            if error.ename == "InputError":
                raise InputError(error.evalue) from None
            trace = strip_ansi("\n".join(error.traceback))
            raise StageError(
                f"{stage} stopped in cell {error.exec_count}:\n{trace}\nOpen it there: jupyter lab {finished}"
            ) from None
        finally:
            if draft.exists():
                os.replace(draft, finished)
