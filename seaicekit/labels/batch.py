"""Label many scenes: a map over scenes and blocks, a sum per scene, and a map again.

A scene of a single block is labelled at once. Of a larger one each block writes its raw labels and its
difference image beside the output and returns a histogram; the reduce adds a scene's histograms; the last
map turns the sum into one table, applies it and writes the scene's raster. Tasks carry addresses, windows
and counts, never pixels. A raster remembers what it was made of, so that a further run can leave it be.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import uuid
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from seaicekit.classes import LABEL_COLUMNS
from seaicekit.engines import Engine
from seaicekit.files import FREE_SPACE, InputError, output_path
from seaicekit.parameters import Parameters, divide

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from seaicekit.engines import Mapper, Result, Task
    from seaicekit.labels.rule import Rule
    from seaicekit.scenes import Paths, SceneReader
    from seaicekit.thresholds import Thresholds

BATCH = 4096  # scenes that are under way together
SCRATCH_PIXELS = 2**31  # pixels of larger scenes under way together: two bytes each, beside the output
SCRATCH = ".scratch"
TAG = "SEAICEKIT"  # where a raster says what it was made of, as JSON


class EngineOptions(Parameters):
    """Who labels, and in which blocks. The labels do not depend on it."""

    engine: Engine = Field("spark", description="Who labels.")
    workers: int = Field(2, ge=1, description="Number of processes; Spark takes its own from master.")
    master: str | None = Field(None, description="Spark's master; local[*] if null.")
    block: int | None = Field(
        2048, ge=1, description="Side of the blocks that the work is cut into, pixels; null is whole scenes."
    )


def autolabel(
    paths: Paths,
    out_dir: str | os.PathLike,
    thresholds: Thresholds | Rule | None = None,
    engine_options: EngineOptions | None = None,
    errors: Literal["raise", "quarantine"] = "raise",
    progress: bool = True,
    **options,
) -> pd.DataFrame:
    """Label scenes and write one Cloud-Optimised GeoTIFF each.

    A scene whose raster is there already is left as it is if the scene's contents, the rule and the
    version of the labelling rule are the same. So a run that was stopped goes on with the same call.

    Parameters
    ----------
    paths : paths
        Scenes, as `seaicekit.open_scene` takes them; names for them as keys or index are kept.
    out_dir : path or URL
        Gets ``NAME.tif`` for each scene and ``labels.csv``, the returned table.
    thresholds : Thresholds or seaicekit.labels.Rule
        The cuts, or the whole rule; the paper's if none are given.
    engine_options : seaicekit.labels.EngineOptions, optional
        Who labels, and in which blocks; processes if nothing is said.
    errors : "raise" or "quarantine"
        A scene that cannot be read ends the work, or is left out with its reason in the table. What is
        labelled stays in both cases.
    progress : bool
        Show a bar with scenes and megapixels per second.
    **options
        Values of `seaicekit.labels.Rule` and `seaicekit.labels.EngineOptions` that differ: ``engine``,
        ``workers``, ``block``, ``cloud_filter``, ``window`` and more.

    Returns
    -------
    pandas.DataFrame
        A row a scene: ``scene``, ``path``, ``labels`` (path of the raster), pixel counts of each class
        (``open_water``, ``thin_ice``, ``thick_ice`` and what the cuts add), of ``nodata`` beyond the swath
        and under ``opaque_cloud``, the count ``changed`` whose class the filter changed, and ``error``. For
        a scene left out only ``scene``, ``path`` and ``error`` are set.

    Raises
    ------
    InputError
        An unknown option or one out of range, a folder that cannot be written, no scene, one that cannot be read, or
        none that can.
    """
    import pandas as pd

    from seaicekit import engines, scenes
    from seaicekit.files import as_path, atomic_write, relative_path
    from seaicekit.labels.rule import Rule

    of_rule, of_engine = divide(options, Rule, EngineOptions)
    applied = Rule.of(thresholds, **of_rule)
    how = EngineOptions.of(engine_options or EngineOptions(engine="processes"), **of_engine)
    if errors not in ("raise", "quarantine"):
        raise InputError(f'errors: must be "raise" or "quarantine", not {errors!r}')
    named = list(scenes.name_scenes(paths).items())
    scenes.check_outputs(dict(named), {name: [output_path(out_dir, f"{name}.tif")] for name, _ in named})
    if not named:
        raise InputError("paths: no scenes given; list at least one")
    table = {name: {"scene": name, "path": str(path)} for name, path in named}
    with (
        _alone_in(out_dir) as scratch,
        engines.mapper(how.engine, how.workers, how.master) as mapped,
        _Bar(len(named), progress) as bar,
    ):
        common = {"rule": applied.to_dict(), "block": how.block, "scratch": scratch}
        for first in range(0, len(named), BATCH):
            tasks = [
                common | {"scene": name, "path": str(path), "labels": output_path(out_dir, f"{name}.tif")}
                for name, path in named[first : first + BATCH]
            ]
            for name, result in _label_batch(tasks, mapped, bar):
                if "fatal" in result or ("error" in result and errors == "raise"):
                    raise InputError(result.get("fatal") or result["error"])
                if "warning" in result:
                    warnings.warn(result.pop("warning"), stacklevel=2)
                if "error" in result:  # what an earlier run made of it is no longer so
                    as_path(output_path(out_dir, f"{name}.tif")).unlink(missing_ok=True)
                table[name] |= result
        first, last = LABEL_COLUMNS
        names = [*first, *applied.thresholds.legend.columns, *last]
        frame = pd.DataFrame(table.values(), columns=names)
        frame = frame.astype(dict.fromkeys(names[len(first) : -1], "Int64"))
        table_file = as_path(out_dir) / "labels.csv"
        said = {
            name: frame[name].map(lambda each: relative_path(each, table_file), "ignore")
            for name in ("path", "labels")
        }
        with atomic_write(table_file) as csv:
            frame.assign(**said).to_csv(csv, index=False)
    if frame["labels"].isna().all():
        more = f" (and none of the other {len(frame) - 1} can be used: labels.csv)" if len(frame) > 1 else ""
        raise InputError(frame["error"][0] + more)
    return frame


def load_labels(out_dir: str | os.PathLike) -> pd.DataFrame:
    """Read the table that `autolabel` wrote into ``out_dir``."""
    import pandas as pd

    from seaicekit.files import as_path, resolve_path

    path = as_path(out_dir) / "labels.csv"
    if not path.is_file():
        raise InputError(f"{path}: no such table; label the scenes first")
    with path.open() as file:  # a scene may be called 20191105 or NA, so all is text at first
        table = pd.read_csv(file, dtype=str, keep_default_na=False, na_values={})
    counts = [name for name in table.columns if name not in (*LABEL_COLUMNS[0], "error")]
    for name in ("path", "labels"):
        table[name] = [resolve_path(each, path) if each else each for each in table[name]]
    table[["labels", "error", *counts]] = table[["labels", "error", *counts]].replace("", pd.NA)
    return table.astype(dict.fromkeys(counts, "Int64"))


def _label_batch(tasks: list[Task], mapped: Mapper, bar: _Bar) -> Iterator[tuple[str, Result]]:
    """Yield scene → columns of the table, for each scene as it is done."""
    larger: list[Task] = []
    for task, result in zip(tasks, mapped(start_scene, tasks, bar.scenes), strict=True):
        if "windows" in result:
            larger.append(task | result)
            bar.scenes(-1)  # only begun
            continue
        bar.pixels(result.pop("pixels", 0))
        yield task["scene"], result
    while larger:
        group = [larger.pop(0)]
        while larger and sum(map(_pixels, [*group, larger[0]])) <= SCRATCH_PIXELS:
            group.append(larger.pop(0))
        yield from _label_larger(group, mapped, bar)


def _label_larger(group: list[Task], mapped: Mapper, bar: _Bar) -> Iterator[tuple[str, Result]]:
    """Both passes over scenes of several blocks: measure, add up, decide."""
    blocks = [
        {key: value for key, value in task.items() if key != "windows"} | {"window": window}
        for task in group
        for window in task["windows"]
    ]
    share = sum(map(_pixels, group)) / len(blocks)
    counts: dict[str, list[int]] = {task["scene"]: [0] * 256 for task in group}
    failed: dict[str, Result] = {}
    for block, result in zip(
        blocks, mapped(measure_block, blocks, lambda n: bar.pixels(n * share)), strict=True
    ):
        if "counts" in result:
            total = counts[block["scene"]]
            counts[block["scene"]] = [a + b for a, b in zip(total, result["counts"], strict=True)]
        else:
            failed.setdefault(block["scene"], result)
    bar.scenes(len(failed))
    yield from failed.items()
    good = [task | {"counts": counts[task["scene"]]} for task in group if task["scene"] not in failed]
    for task, result in zip(good, mapped(decide_scene, good, bar.scenes), strict=True):
        yield task["scene"], result | {key: task[key] for key in ("warning",) if key in task}


def _pixels(task: Task) -> int:
    return sum(height * width for _, _, height, width in task["windows"])


def start_scene(task: Task) -> Result:
    """Look at one scene: leave it be, label it at once, or say which blocks it has.

    Returns
    -------
    dict
        The columns of the table and ``pixels``; or ``windows`` and what all blocks must know, with the mask
        of undeclared no data written to the scratch folder; or ``error``.
    """
    import numpy as np

    from seaicekit import scenes
    from seaicekit.labels.rule import VERSION, Rule, label_array, pixel_size

    rule = Rule.from_dict(task["rule"])
    with _telling(task) as told, scenes.open_reader(task["path"]) as reader:
        if rule.opaque == "scl" and reader.source.scl is None:
            raise InputError(
                f'{task["path"]}: opaque "scl" needs its scene classification layer; append #scl=1'
            )
        metres = pixel_size(reader.crs, reader.transform)
        filtered = rule.filter_for(metres)
        # The content, not the path or the time, so that a copy elsewhere gives the same bytes.
        made_of = [reader.made_of(), task["rule"], filtered, VERSION]
        key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
        if reader.source.true_colour:
            told["warning"] = scenes.saturation_warning(reader)
        told |= _found(task["labels"], key)
        if "labels" in told:
            return told | {"pixels": reader.shape[0] * reader.shape[1]}
        windows = rule.blocks(reader.shape, task["block"])
        known: dict[str, Any] = {"key": key, "filtered": filtered, "ends": _ends(reader, rule)}
        if len(windows) > 1:
            if not reader.declares_nodata and rule.nodata == "mask":
                _save(np.packbits(reader.find_border(), axis=1), _scratch(task, "border"))
            return told | known | {"windows": windows}
        bands, nodata = reader.read()
        scl = reader.scl() if rule.opaque == "scl" else None
        codes, counts = label_array(bands, nodata, rule, None, metres, scl, known["ends"])
        told |= _write(task | known, rule, codes, counts, reader) | {"pixels": codes.size}
    return told


def _ends(reader: SceneReader, rule: Rule) -> tuple[int, int] | None:
    """Return the brightnesses that the rule's percentiles are at, if it has any."""
    import numpy as np

    from seaicekit import scenes
    from seaicekit.labels import cloud_filter
    from seaicekit.labels.rule import count_brightness

    if not rule.normalise:
        return None
    counts = np.zeros(256, np.int64)
    for window in scenes.blocks(reader.shape, 2048):
        counts += count_brightness(*reader.read(window), rule)
    return cloud_filter.stretch_limits(counts, *rule.normalise)


def measure_block(task: Task) -> Result:
    """First pass over one block: write its raw labels and difference image, return its histogram."""
    import numpy as np

    from seaicekit import scenes
    from seaicekit.labels.rule import Rule, measure

    rule, window = Rule.from_dict(task["rule"]), scenes.Window(*task["window"])
    filtered = tuple(task["filtered"])
    with _telling(task) as told, scenes.open_reader(task["path"]) as reader:
        outer = rule.seen_from(window, reader.shape, filtered)
        undeclared = None
        if not reader.declares_nodata and rule.nodata == "mask":
            rows, cols = outer.slices
            packed = _load(_scratch(task, "border"))[rows]
            undeclared = np.unpackbits(packed, axis=1, count=reader.shape[1])[:, cols].view(bool)
        bands, nodata = reader.read(outer, undeclared)
        scl = reader.scl(outer) if rule.opaque == "scl" else None
        inner = window.within(outer)
        codes, near, counts = measure(bands, nodata, rule, inner, filtered, task["ends"], scl)
        _save(np.stack([codes, near]), _scratch(task, *window))
        told["counts"] = counts.tolist()
    return told


def decide_scene(task: Task) -> Result:
    """Second pass over one scene: put its blocks together, write its raster, return its columns."""
    import numpy as np

    from seaicekit import scenes
    from seaicekit.labels.rule import Rule, decide

    rule, counts = Rule.from_dict(task["rule"]), np.array(task["counts"])
    with _telling(task) as told, scenes.open_reader(task["path"]) as reader:
        codes, totals = np.empty(reader.shape, np.uint8), Counter[str]()
        for window in (scenes.Window(*each) for each in task["windows"]):
            marks, near = _load(_scratch(task, *window))
            codes[window.slices], found = decide(marks, near, counts, rule)
            totals.update(found)
        told |= _write(task, rule, codes, totals, reader)
    return told


def _write(task: Task, rule: Rule, codes: np.ndarray, found: dict[str, int], reader: SceneReader) -> Result:
    """Write a scene's raster with what it was made of and counts; return the columns of the table."""
    from seaicekit import scenes
    from seaicekit.classes import NODATA
    from seaicekit.files import is_url
    from seaicekit.labels import cloud_filter

    legend = rule.thresholds.legend
    totals = cloud_filter.histogram(codes)
    counts = {entry.column: int(totals[entry.code]) for entry in legend} | dict(found)
    counts["nodata"] = int(totals[NODATA]) - counts["opaque_cloud"]
    made = {"key": task["key"], "rule": task["rule"], "ends": task["ends"], "counts": counts}
    tags = {TAG: json.dumps(made, sort_keys=True)}
    if not is_url(task["scratch"]) and not Path(task["scratch"]).is_dir():
        # A worker that outlived its killed run must not write over what the next one makes.
        return {
            "fatal": f"{task['labels']}: not written, for the run that asked for it is over; start it again"
        }
    try:
        scenes.write_classes(task["labels"], codes, reader.crs, reader.transform, legend, tags)
    except InputError as error:  # not the scene's fault
        return {"fatal": str(error)}
    return counts | {"labels": task["labels"]}


def _found(path: str, key: str) -> Result:
    """Return the columns of a raster that is there and was made of the same; else nothing."""
    made = provenance(path)
    return made["counts"] | {"labels": path} if made and made["key"] == key else {}


def provenance(path: str | os.PathLike) -> dict | None:
    """Return what a label raster was made of: ``key``, ``rule``, ``ends``, ``counts``.

    None if not by `autolabel`.
    """
    from seaicekit import scenes
    from seaicekit.files import as_path, is_url
    from seaicekit.scenes import remote_errors

    with remote_errors(path) if is_url(path) else contextlib.nullcontext():
        if not as_path(path).is_file():
            return None
    try:
        return json.loads(scenes.read_tags(path)[TAG])
    except (InputError, KeyError, ValueError):
        return None


@contextlib.contextmanager
def _telling(task: Task) -> Iterator[Result]:
    """Yield the dict that a task returns.

    An error goes into it, as the scene's or as one that ends the work.
    """
    told: Result = {}
    try:
        yield told
    except InputError as error:
        told["error"] = str(error)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        told["fatal"] = f"{task['scratch']}: cannot be written ({error.strerror}); {FREE_SPACE}"


def _scratch(task: Task, *parts: Any) -> str:
    return f"{task['scratch']}/{'_'.join(map(str, (task['scene'], *parts)))}.npy"


def _save(values: np.ndarray, path: str) -> None:
    import numpy as np

    from seaicekit.files import as_path, is_url
    from seaicekit.scenes import remote_errors

    if is_url(path):
        with remote_errors(path), as_path(path).open("wb") as file:
            np.save(file, values)
        return
    draft = f"{path}.{uuid.uuid4().hex}"  # a task that is tried again never shares a file with its first try
    with open(draft, "wb") as file:
        try:
            np.save(file, values)
        except OSError as error:  # a short write, of which numpy does not say why
            raise OSError(error.errno or errno.ENOSPC, error.strerror or "No space left on device") from error
    os.replace(draft, path)


def _load(path: str) -> np.ndarray:
    import numpy as np

    from seaicekit.files import as_path, is_url
    from seaicekit.scenes import remote_errors

    with (
        remote_errors(path) if is_url(path) else contextlib.nullcontext(),
        as_path(path).open("rb") as file,
    ):
        return np.load(file)


@contextlib.contextmanager
def _alone_in(out_dir: str | os.PathLike) -> Iterator[str]:
    """Hold an output folder for one run; yield its scratch folder, and leave nothing unfinished behind.

    A run that was killed could not clean up after itself, so the next one does.
    """
    from seaicekit.files import PARTIAL, as_path, is_url
    from seaicekit.scenes import remote_errors

    left = as_path(output_path(out_dir, SCRATCH))
    scratch = left / uuid.uuid4().hex  # never one that a worker of an earlier run may still write to
    if is_url(out_dir):  # nothing to lock there; two runs into one folder are the user's to avoid
        with remote_errors(out_dir):
            scratch.exists()  # so that a server that is not there is told now
        try:
            yield str(scratch)
        finally:
            with remote_errors(out_dir), contextlib.suppress(FileNotFoundError):
                scratch.fs.rm(scratch.path, recursive=True)
        return
    try:
        left.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(left.parent, os.O_RDONLY)
    except OSError as error:
        raise InputError(
            f"{out_dir}: cannot write there ({error.strerror}); choose another output folder"
        ) from error
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{out_dir}: another run is labelling into it; wait, or choose another folder"
            ) from error
        try:
            for each in (left, *left.parent.glob(f"{PARTIAL}*")):
                shutil.rmtree(each, ignore_errors=True)
            try:
                scratch.mkdir(parents=True)
            except OSError as error:
                raise InputError(
                    f"{out_dir}: cannot write there ({error.strerror}); choose another output folder"
                ) from error
            yield str(scratch)
        finally:
            shutil.rmtree(left, ignore_errors=True)
    finally:
        os.close(folder)


class _Bar:
    """A progress bar that counts megapixels and scenes."""

    def __init__(self, scenes: int, shown: bool):
        from tqdm.auto import tqdm

        self._scenes, self._done = scenes, 0.0
        form = "{desc}, {n:.0f} Mpx [{elapsed}, {rate_fmt}]"
        self._bar = tqdm(desc=f"0/{scenes} scenes", unit="Mpx", bar_format=form, disable=not shown)

    def scenes(self, number: float) -> None:
        self._done += number
        self._bar.set_description(f"{self._done:.0f}/{self._scenes} scenes")

    def pixels(self, number: float) -> None:
        self._bar.update(number / 1e6)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_) -> None:
        self._bar.close()
