"""Label many scenes, in two passes: measure blocks, then decide scenes.

The map of the first pass writes each block's raw labels and difference image beside the output and returns
a histogram; the reduce adds the histograms of a scene; the map of the second pass turns them into one
table, applies it and writes the scene's raster. Tasks carry paths, windows and counts, never pixels.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from seaicekit.files import InputError

if TYPE_CHECKING:
    import pandas as pd

    from seaicekit.engines import Engine, Result, Task
    from seaicekit.labels import NodataRule
    from seaicekit.scenes import Paths
    from seaicekit.thresholds import Thresholds


def autolabel(
    paths: Paths,
    out_dir: str | os.PathLike,
    thresholds: Thresholds | None = None,
    engine: Engine = "processes",
    workers: int = 2,
    block: int | None = 1024,
    master: str | None = None,
    cloud_filter: bool = True,
    nodata: NodataRule = "mask",
    errors: Literal["raise", "quarantine"] = "raise",
) -> pd.DataFrame:
    """Label scenes and write one Cloud-Optimised GeoTIFF each.

    Parameters
    ----------
    paths : paths
        Scenes, as `seaicekit.open_scene` takes them; names for them as keys or index are kept.
    out_dir : path
        Gets ``NAME.tif`` for each scene and ``labels.csv``, the returned table.
    thresholds : Thresholds
        The cuts; the paper's if none are given.
    engine : "serial", "processes", "dask" or "spark"
    workers : int
        Number of processes; Spark takes its own from ``master``.
    block : int, optional
        Pixels a side of the blocks that the work is cut into; None is whole scenes. The labels do not
        depend on it.
    master : str, optional
        Spark's master; ``local[*]`` if none is given.
    cloud_filter, nodata
        As for `seaicekit.label`.
    errors : "raise" or "quarantine"
        A scene that cannot be read ends the work, or is left out with its reason in the table.

    Returns
    -------
    pandas.DataFrame
        A row a scene: ``scene``, ``path``, ``labels`` (path of the raster), pixel counts ``open_water``,
        ``thin_ice``, ``thick_ice``, ``nodata``, the count ``changed`` whose class the filter changed, and
        ``error``. For a scene left out only ``scene``, ``path`` and ``error`` are set.

    Raises
    ------
    InputError
        An unknown engine or rule, a folder that cannot be written, no scene, or one that cannot be read.
    """
    import pandas as pd

    from seaicekit import engines, labels, scenes
    from seaicekit.files import replacing
    from seaicekit.thresholds import Thresholds

    labels.check_rule(nodata)
    if errors not in ("raise", "quarantine"):
        raise InputError(f'errors: must be "raise" or "quarantine", not {errors!r}')
    named = scenes.names(paths)
    if not named:
        raise InputError("paths: no scenes given; list at least one")
    cuts = thresholds or Thresholds()
    rule = {"water_max": cuts.water_max, "thin_max": cuts.thin_max}
    rule = {"thresholds": rule, "nodata": nodata, "cloud_filter": cloud_filter}
    table = {name: {"scene": name, "path": str(path)} for name, path in named.items()}

    with (
        replacing(Path(out_dir) / "labels.csv") as csv,
        tempfile.TemporaryDirectory(dir=csv.parent) as scratch,
        engines.mapper(engine, workers, master) as mapped,
    ):
        tasks: list[Task] = []
        for name, path in named.items():
            common = rule | {"scene": name, "path": str(path), "scratch": scratch}
            try:
                with scenes.reading(path) as reader:
                    windows = scenes.blocks(reader.shape, block)
                tasks += [common | {"window": list(window)} for window in windows]
            except InputError as error:
                _set_aside(table[name], str(error), errors)
        measured: dict[str, Task] = {}
        for task, result in zip(tasks, mapped(measure_block, tasks), strict=True):
            scene = measured.setdefault(task["scene"], task | {"windows": [], "counts": [0] * 256})
            if "error" in result:
                _set_aside(table[task["scene"]], result["error"], errors)
                continue
            scene["windows"].append(task["window"])
            scene["counts"] = [a + b for a, b in zip(scene["counts"], result["counts"], strict=True)]
        whole = [
            scene | {"labels": str(Path(out_dir).resolve() / f"{name}.tif")}
            for name, scene in measured.items()
            if "error" not in table[name]
        ]
        for task, result in zip(whole, mapped(decide_scene, whole), strict=True):
            if "error" in result:
                _set_aside(table[task["scene"]], result["error"], errors)
            else:
                table[task["scene"]] |= result | {"labels": task["labels"]}
        columns = [
            "scene",
            "path",
            "labels",
            "open_water",
            "thin_ice",
            "thick_ice",
            "nodata",
            "changed",
            "error",
        ]
        frame = pd.DataFrame(table.values(), columns=columns)
        frame = frame.astype(dict.fromkeys(columns[3:8], "Int64"))
        frame.to_csv(csv, index=False)
    return frame


def load_table(out_dir: str | os.PathLike) -> pd.DataFrame:
    """Read the table that `autolabel` wrote into ``out_dir``."""
    import pandas as pd

    path = Path(out_dir) / "labels.csv"
    if not path.is_file():
        raise InputError(f"{path}: no such table; label the scenes first")
    # A scene may be called 20191105 or NA.
    texts = dict.fromkeys(("scene", "path", "labels", "error"), str)
    counts = dict.fromkeys(("open_water", "thin_ice", "thick_ice", "nodata", "changed"), "Int64")
    blank = {column: [""] for column in ("labels", "error", *counts)}
    return pd.read_csv(path, dtype=texts | counts, keep_default_na=False, na_values=blank)


def _set_aside(row: dict, reason: str, errors: str) -> None:
    if errors == "raise":
        raise InputError(reason)
    row["error"] = reason


def measure_block(task: Task) -> Result:
    """First pass over one block: write its raw labels and difference image, return its histogram."""
    import numpy as np

    from seaicekit import clouds, labels, scenes
    from seaicekit.thresholds import Thresholds

    window, cuts = scenes.Window(*task["window"]), Thresholds(**task["thresholds"])
    try:
        with scenes.reading(task["path"]) as reader:
            outer = window.padded(clouds.HALO if task["cloud_filter"] else 0, reader.shape)
            bands, nodata = reader.read(outer)
    except InputError as error:
        return {"error": str(error)}
    if task["nodata"] == "ignore":
        nodata = np.zeros_like(nodata)
    if task["cloud_filter"]:
        codes, near, counts = labels.measure(bands, nodata, cuts, window.within(outer))
    else:
        codes, counts = labels.raw(bands, nodata, cuts), np.zeros(256, np.int64)
        near = codes
    np.save(_scratch(task, window), np.stack([codes, near]))
    return {"counts": counts.tolist()}


def decide_scene(task: Task) -> Result:
    """Second pass over one scene: put its blocks together, write its raster, return its counts."""
    import numpy as np

    from seaicekit import labels, rasters, scenes
    from seaicekit.thresholds import Thresholds

    with scenes.reading(task["path"]) as reader:
        shape, crs, transform = reader.shape, reader.crs, reader.transform
    cuts, counts = Thresholds(**task["thresholds"]), np.array(task["counts"])
    final, changed = np.empty(shape, np.uint8), 0
    for window in (scenes.Window(*each) for each in task["windows"]):
        codes, near = np.load(_scratch(task, window))
        part = labels.decide(codes, near, counts, cuts) if task["cloud_filter"] else codes
        final[window.slices] = part
        changed += int(np.count_nonzero(part != codes))
    try:
        rasters.write_classes(task["labels"], final, crs, transform)
    except (InputError, OSError) as error:
        return {"error": f"{task['labels']}: cannot be written ({error})"}
    totals = np.bincount(final.ravel(), minlength=256)
    names = {"open_water": 0, "thin_ice": 1, "thick_ice": 2, "nodata": 255}
    return {name: int(totals[code]) for name, code in names.items()} | {"changed": changed}


def _scratch(task: Task, window: tuple) -> str:
    return os.path.join(task["scratch"], "_".join(map(str, (task["scene"], *window))) + ".npy")
