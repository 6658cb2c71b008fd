"""Run the notebooks in order, on one set of parameters, into one folder.

The notebooks' own ``parameters`` cells say which parameters there are and what they are by default.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import types
import typing
import warnings
from collections.abc import Iterator
from datetime import UTC, date, datetime
from importlib import metadata
from pathlib import Path

from seaicekit import catalogues, engines, labels, launch, scenes, splits, stac, tiles, training
from seaicekit.autolabel import load_table
from seaicekit.files import InputError, read_json, write_json
from seaicekit.remote import is_url
from seaicekit.thresholds import Thresholds

STAGES = ("01_scenes", "02_calibrate", "03_autolabel", "04_train", "05_map")
PACKAGES = (
    "seaicekit",
    "numpy",
    "opencv-python-headless",
    "rasterio",
    "pyspark",
    "tensorflow-cpu",
    "horovod",
    "papermill",
)
SAMPLE_SECONDS = 0.25


class StageError(RuntimeError):
    """A notebook stopped; the message has its cell, its traceback and where to open it."""


def notebooks() -> Path:
    """Return the folder of the notebooks: inside an installed package, beside it in a checkout."""
    inside = Path(__file__).parent / "notebooks"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "notebooks"


def parameters() -> dict[str, dict[str, object]]:
    """Return stage → parameter → default, as the notebooks' ``parameters`` cells have them."""
    return {stage: _declared(notebooks() / f"{stage}.ipynb") for stage in STAGES}


def _declared(notebook: Path) -> dict[str, object]:
    """Read a notebook's ``parameters`` cell; papermill would, too, but takes seconds to import."""
    cells = read_json(notebook)["cells"]
    source = next("".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", ()))
    return {line.targets[0].id: ast.literal_eval(line.value) for line in ast.parse(source).body}


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
        notebook = parameterize_notebook(load_notebook_node(str(notebooks() / page.name)), given)
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


def _defaults() -> dict[str, object]:
    return {name: value for stage in parameters().values() for name, value in stage.items() if name != "run_dir"}


def validate(given: dict[str, object]) -> None:
    """Check parameters before anything starts; numbers that YAML read as text become numbers.

    Raises
    ------
    InputError
        A name that no notebook knows, or a value of another type than its default.
    """
    defaults = _defaults()
    for name, value in given.items():
        if name == "dates" and isinstance(value, date | int):  # YAML takes 2019-11-03 for a date, off for False
            given[name] = value = str(value)
        if name == "opaque" and value is False:
            given[name] = value = "off"
        if isinstance(defaults.get(name), float) and isinstance(value, str):  # YAML takes 1e-3 for a text
            with contextlib.suppress(ValueError):
                given[name] = value = float(value)
        if name not in defaults:
            near = difflib.get_close_matches(str(name), defaults, 1, 0)
            raise InputError(f"{name}: unknown parameter; did you mean {near[0]}? Known: {', '.join(sorted(defaults))}")
        wanted = type(defaults[name])
        fits = isinstance(value, (int, float) if wanted is float else wanted) and isinstance(value, bool) == (
            wanted is bool
        )
        if defaults[name] is None:
            kinds = {"search": str | list | tuple, "normalise": list | tuple}
            fits = value is None or isinstance(value, kinds.get(name, str))
            wanted = list if name == "normalise" else str
        if name == "window":  # pixels or metres, which the rule itself looks at
            fits = isinstance(value, int | str)
        if not fits:
            raise InputError(f"{name}: must be of type {wanted.__name__}, not {value!r}")
    _check_values(defaults | given)


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


def run(out: str | os.PathLike, given: dict[str, object], progress: bool = True) -> dict:
    """Run all notebooks and write ``run.json`` and ``report.html``.

    Parameters
    ----------
    out : path
        The run's folder. A folder that holds something else than a run is refused; a run there is replaced.
    given : dict
        Parameters that differ from the notebooks' defaults; ``scenes`` names a folder of images, without it
        synthetic scenes are made.
    progress : bool
        Show a progress bar a stage.

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
    for name in ("scenes", "thresholds"):
        if given.get(name) and not is_url(given[name]):
            path = Path(given[name]).expanduser().absolute()
            if out.resolve() in (path.resolve(), *path.resolve().parents):
                raise InputError(
                    f"{out}: holds the {name}, which a run there would remove; choose another output folder"
                )
            given[name] = str(path)
    if given.get("scenes"):
        _check_scenes(given["scenes"])
    if given.get("thresholds"):
        Thresholds.load(given["thresholds"])
    created = _prepare(out)
    manifest = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "parameters": _defaults() | given,
        "versions": _versions(),
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "figures": {"seconds": {}},
    }
    with memory_watch() as memory:
        for number, stage in enumerate(STAGES, 1):
            start = time.perf_counter()
            try:
                _execute(stage, out, given, {"desc": f"{number}/{len(STAGES)} {stage}"} if progress else False)
            except InputError:
                _clear(out)
                if created:
                    shutil.rmtree(created)
                raise
            manifest["figures"]["seconds"][stage] = round(time.perf_counter() - start, 2)
    manifest["figures"]["peak_memory_gb"] = round(memory["peak"] / 1e9, 3)
    manifest["figures"] |= read_json(out / "metrics.json")["figures"]
    catalogued = read_json(out / "scenes.json")
    manifest["scenes"] = {item["id"]: item["assets"]["image"].get("file:checksum") for item in catalogued["features"]}
    manifest["quarantined"] = catalogued["seaicekit:quarantined"] + _left_out(out)
    manifest["thresholds"] = read_json(out / "thresholds.json")
    write_json(out / "run.json", manifest)
    from seaicekit import report

    report.write(out)
    return manifest


def _left_out(out: Path) -> list[dict[str, str]]:
    """List the scenes that could be catalogued but not labelled."""
    table = load_table(out / "labels")
    return [{"path": row.path, "reason": row.error} for row in table[table["error"].notna()].itertuples()]


def _check_scenes(where: str) -> None:
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
    _clear(out)
    (out / catalogues.RUN_MARK).touch()
    return created


def _clear(out: Path) -> None:
    """Remove what a run makes, and nothing else."""
    for name in (
        "run.json",
        "report.html",
        "metrics.json",
        "tiles.parquet",
        "scenes.json",
        "thresholds.json",
        "tuner.json",
    ):
        (out / name).unlink(missing_ok=True)
    for name in ("labels", "maps", "model", "figures", "notebooks", "scenes", "truth"):
        shutil.rmtree(out / name, ignore_errors=True)
    for partial in out.glob(".partial-*"):
        shutil.rmtree(partial, ignore_errors=True)
    (out / catalogues.RUN_MARK).unlink(missing_ok=True)


def _execute(stage: str, out: Path, given: dict[str, object], progress: dict | bool) -> None:
    from nbconvert.filters.ansi import strip_ansi
    from papermill.exceptions import PapermillExecutionError

    papermill, known = _papermill(), parameters()[stage]
    chosen = {name: value for name, value in given.items() if name in known} | {"run_dir": str(out)}
    finished = out / "notebooks" / f"{stage}.ipynb"
    finished.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=out) as folder:
        draft = Path(folder) / finished.name
        try:
            papermill.execute_notebook(
                notebooks() / finished.name, draft, chosen, kernel_name="python3", progress_bar=progress, cwd=str(out),
                extra_arguments=["--log-level=ERROR"],
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


@contextlib.contextmanager
def memory_watch() -> Iterator[dict[str, int]]:
    """Watch this process and all below it for a ``with`` block; end what it left running.

    Yields a dict whose ``peak`` is the largest sum of proportional set sizes seen, in bytes: memory shared
    by several processes counts once.
    """
    import psutil

    memory, seen, stop, this = {"peak": 0}, {}, threading.Event(), psutil.Process()

    def sample() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            total = 0
            for process in [this, *this.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    total += process.memory_full_info().pss
                    seen[process.pid] = process
            memory["peak"] = max(memory["peak"], total)

    before = {process.pid for process in this.children(recursive=True)} | {this.pid}
    watcher = threading.Thread(target=sample, daemon=True)
    watcher.start()
    try:
        yield memory
    finally:
        stop.set()
        watcher.join()
        left = [process for process in seen.values() if process.pid not in before and process.is_running()]
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        for process in psutil.wait_procs(left, timeout=5)[1]:
            with contextlib.suppress(psutil.Error):
                process.kill()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
