"""Label many scenes on an engine, and keep a table of them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import Field
from tqdm.auto import tqdm

from seaicekit import engines, scenes
from seaicekit.classes import LABEL_COLUMNS, Legend
from seaicekit.engines import Engine, Mapper
from seaicekit.files import InputError, as_path, atomic_write, output_path, relative_path, resolve_path
from seaicekit.labels import tasks
from seaicekit.labels.folder import hold_folder
from seaicekit.labels.rule import Rule
from seaicekit.labels.tasks import Failure, Labelled, ScenePlan, SceneTask
from seaicekit.parameters import Parameters, divide

if TYPE_CHECKING:
    import pandas as pd

    from seaicekit.scenes import Paths
    from seaicekit.thresholds import Thresholds

Errors = Literal["raise", "quarantine"]
BATCH = 4096  # scenes that are under way together
SCRATCH_PIXELS = 2**31  # pixels of larger scenes under way together: two bytes each, beside the output


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
    errors: Errors = "raise",
    progress: bool = True,
    **options: Any,
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
        Who labels, and in which blocks; processes where no ``engine`` is set.
    errors : "raise" or "quarantine"
        A scene that cannot be read ends the work, or is left out with its reason in the table. What is
        labelled stays in both cases.
    progress : bool
        Show a bar of scenes, with megapixels per second.
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
        An unknown option or one out of range, a folder that cannot be written, no scene, one that cannot be
        read, or none that can.
    """
    of_rule, of_engine = divide(options, Rule, EngineOptions)
    rule = Rule.of(thresholds, **of_rule)
    how = EngineOptions.of(engine_options, **of_engine)
    engine: Engine = how.engine if "engine" in how.model_fields_set else "processes"
    if errors not in get_args(Errors):
        raise InputError(f"errors: must be one of {', '.join(get_args(Errors))}, not {errors!r}")
    named = {name: str(path) for name, path in scenes.name_scenes(paths).items()}
    outputs = {name: output_path(out_dir, f"{name}.tif") for name in named}
    scenes.check_outputs(named, {name: [path] for name, path in outputs.items()})
    if not named:
        raise InputError("paths: no scenes given; list at least one")
    rows: dict[str, dict[str, Any]] = {name: {"scene": name, "path": path} for name, path in named.items()}
    form = "{n:.0f}/{total} scenes{postfix} [{elapsed}]"
    with (
        hold_folder(out_dir) as scratch,
        engines.mapper(engine, how.workers, how.master) as mapped,
        tqdm(total=len(named), bar_format=form, disable=not progress) as bar,
    ):
        scene_tasks = [
            SceneTask(name, path, outputs[name], rule, how.block, scratch) for name, path in named.items()
        ]
        pixels = 0
        for task, result in _label_all(scene_tasks, mapped, bar):
            if isinstance(result, Failure):
                if result.fatal or errors == "raise":
                    raise InputError(result.error)
                as_path(task.labels).unlink(missing_ok=True)  # the labels of an earlier run
                rows[task.name]["error"] = result.error
                continue
            if result.warning:
                warnings.warn(result.warning, stacklevel=2)
            rows[task.name] |= result.counts | {"labels": task.labels}
            pixels += result.pixels
            if progress:
                bar.set_postfix_str(f"{pixels / 1e6 / bar.format_dict['elapsed']:.1f} Mpx/s")
        table = _write_table(rows.values(), rule.thresholds.legend, out_dir)
    if table["labels"].isna().all():
        others = (
            f" (and none of the other {len(table) - 1} can be used: labels.csv)" if len(table) > 1 else ""
        )
        raise InputError(table["error"][0] + others)
    return table


def _write_table(rows: Iterable[dict], legend: Legend, out_dir: str | os.PathLike) -> pd.DataFrame:
    """Write labels.csv; return it with absolute paths."""
    import pandas as pd

    first, last = LABEL_COLUMNS
    names = [*first, *legend.columns, *last]
    table = pd.DataFrame(rows, columns=names).astype(dict.fromkeys(names[len(first) : -1], "Int64"))
    path = as_path(out_dir) / "labels.csv"
    relative = {
        name: table[name].map(lambda each: relative_path(each, path), "ignore") for name in ("path", "labels")
    }
    with atomic_write(path) as file:
        table.assign(**relative).to_csv(file, index=False)
    return table


def load_labels(out_dir: str | os.PathLike) -> pd.DataFrame:
    """Read the table that `autolabel` wrote into ``out_dir``."""
    import pandas as pd

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


Result = tuple[SceneTask, Labelled | Failure]


def _label_all(scene_tasks: list[SceneTask], mapped: Mapper, bar: tqdm) -> Iterator[Result]:
    """Yield each scene with what became of it."""
    for first in range(0, len(scene_tasks), BATCH):
        batch, plans = scene_tasks[first : first + BATCH], []
        for task, result in zip(batch, mapped(tasks.start_scene, batch, bar.update), strict=True):
            if isinstance(result, ScenePlan):
                plans.append(result)
                bar.update(-1)
            else:
                yield task, result
        while plans:
            group = [plans.pop(0)]
            while plans and sum(plan.pixels for plan in (*group, plans[0])) <= SCRATCH_PIXELS:
                group.append(plans.pop(0))
            yield from _label_larger(group, mapped, bar)


def _label_larger(plans: list[ScenePlan], mapped: Mapper, bar: tqdm) -> Iterator[Result]:
    """Label scenes of several blocks: measure, reduce, decide."""
    blocks = [(plan, window) for plan in plans for window in plan.windows]
    share = len(plans) / len(blocks)
    measured = mapped(tasks.measure_block, blocks, lambda number: bar.update(number * share))
    counts = tasks.add_counts(blocks, measured)
    decided = []
    for plan in plans:
        total = counts[plan.task.name]
        if isinstance(total, Failure):
            yield plan.task, total
        else:
            decided.append((plan, total))
    for (plan, _), result in zip(decided, mapped(tasks.decide_scene, decided, lambda _: None), strict=True):
        yield plan.task, result
