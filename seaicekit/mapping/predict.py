"""Classify whole scenes and write maps, which a further call leaves as they are."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from seaicekit import engines, labels, scenes, thresholds, tiles, training
from seaicekit.classes import MAP_COLUMNS, NODATA, concentration
from seaicekit.files import InputError, as_path, output_path, read_json, write_json
from seaicekit.mapping import blend
from seaicekit.mapping.items import describe_map

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from seaicekit.classes import SeaIceClass
    from seaicekit.scenes import Paths, SceneReader
    from seaicekit.training import Card

    Model = str | os.PathLike | tuple[keras.Model, Card]
    Tick = Callable[[float], object]

Engine = Literal["serial", "spark"]
Errors = Literal["raise", "quarantine"]
ITEMS = "maps.json"
VERSION = 1  # of the maps: raised whenever a map changes, so that maps are made anew
IGNORED_MEMBERS = ("seaicekit.json", "metadata.json")  # of a model's file: the card, and when it was saved


@dataclass(frozen=True)
class Task:
    """A scene to map: its name and path, the rasters to write, and how.

    ``size`` is the tiles', in pixels a side; ``model`` is the model's checksum.
    """

    scene: str
    path: str
    map: str
    confidence: str
    size: int
    model: str

    @property
    def files(self) -> dict[str, str]:
        """The rasters to write."""
        return {"map": self.map, "confidence": self.confidence}

    @property
    def record(self) -> str:
        """The file that says what the rasters were made of; not they, whose bytes do not depend on times."""
        folder, _, name = self.map.rpartition("/")
        return f"{folder}/.{name.removesuffix('.tif')}.json"

    def made(self) -> list[str]:
        """Return checksums of the rasters."""
        return [scenes.quick_checksum(file) for file in self.files.values()]


@dataclass(frozen=True)
class Map:
    """A scene's map in memory: (rows, columns) uint8 codes and per cents, 255 no data.

    ``confidence_sum`` is the sum of the valid pixels' confidences, 0 to 1 each; ``key`` is a checksum of all
    that the map depends on; ``current`` says that its rasters are there already; ``item`` is its STAC item.
    """

    codes: np.ndarray
    percent: np.ndarray
    confidence_sum: float
    key: str
    current: bool
    crs: Any = None
    transform: Any = None
    item: dict | None = None


def predict(
    model: Model,
    paths: Paths,
    out_dir: str | os.PathLike,
    size: int | None = None,
    engine: Engine = "serial",
    master: str | None = None,
    errors: Errors = "raise",
    progress: bool = False,
) -> pd.DataFrame:
    """Classify whole scenes with a trained model.

    Tiles overlap and their probabilities are blended (`seaicekit.mapping.blend`), so that no seams show and
    the tiles' size hardly matters: ``python -m benchmarks predict`` measures how much.

    A map that is there already is left as it is if it was made of the same scene (by size, time, first and
    last MiB of its files), model and options by the same version of this package's maps, and if both its
    rasters can be read to their ends. So a call that was stopped goes on with the same call. A copy of scenes
    or maps with new times (plain ``cp``, ``git clone``) is mapped anew; ``cp -p`` and ``rsync -t`` keep them.

    Parameters
    ----------
    model : path, or (keras.Model, seaicekit.training.Card)
        As written by `seaicekit.train`, or as from `seaicekit.training.load_model`. Its card says how scenes
        are prepared and what its classes are.
    paths : paths
        Scenes, as `seaicekit.open_scene` takes them; names for them as keys or index are kept.
    out_dir : path
        Gets ``NAME.tif`` (class codes, 255 no data) and ``NAME_confidence.tif`` (per cent, 255 no data) for
        each scene, on the scene's grid, and ``maps.json``, a STAC ItemCollection of them.
    size : int, optional
        Pixels a side of the tiles, a multiple of 2^(depth - 1) above 96; 512 by default. A model with the
        normalisation "l2" takes none but those of its training.
    engine : "serial" or "spark"
        In this process, or a scene a task of Spark's. The bytes are the same.
    master : str, optional
        Spark's master; ``local[*]`` if none is given.
    errors : "raise" or "quarantine"
        A scene that cannot be mapped ends the work, or is left out with its reason in the table.
    progress : bool
        Show a bar.

    Returns
    -------
    pandas.DataFrame
        A row a scene: ``scene``, ``path``, ``map``, ``confidence`` (paths), ``datetime`` (None where
        unknown), of each class the share of valid pixels (``open_water`` …) and the true area
        (``open_water_km2`` …, NaN without a CRS), ``ice_concentration`` (by area, else by pixels) and
        ``mean_confidence``, both from 0 to 1, ``current`` (whether an earlier call's map was left), and
        ``error``.

    Raises
    ------
    InputError
        No model, a model of other inputs, a scene that cannot be read, a folder that cannot be written, an
        unknown engine.
    """
    import pandas as pd
    import pystac
    from tqdm.auto import tqdm

    for name, value, known in (("engine", engine, Engine), ("errors", errors, Errors)):
        if value not in get_args(known):
            raise InputError(f"{name}: must be one of {', '.join(get_args(known))}, not {value!r}")
    card = training.read_card(model) if isinstance(model, str | os.PathLike) else model[1]
    tasks = _tasks(model, card, paths, out_dir, blend.tile_size(card, size))
    as_path(output_path(out_dir, ITEMS)).unlink(missing_ok=True)  # what it lists is about to change
    rows = []
    with tqdm(total=len(tasks), desc="scenes", disable=not progress, unit_scale=True) as bar:
        made = (
            _serial(model, tasks, bar.update)
            if engine == "serial"
            else _spark(model, tasks, master, bar.update)
        )
        for task, row in zip(tasks, made, strict=True):
            if row.get("error"):  # Remove the outdated map.
                for file in (task.record, *task.files.values()):
                    as_path(file).unlink(missing_ok=True)
            if "fatal" in row or (errors == "raise" and row.get("error")):
                raise InputError(row.get("fatal") or row["error"])
            rows.append(row)
    if not any("map" in row for row in rows):
        raise InputError(rows[0]["error"])
    items = [row.pop("item") for row in rows if "item" in row]
    scenes.save_catalogue(output_path(out_dir, ITEMS), pystac.ItemCollection(items))
    return pd.DataFrame(rows, columns=_columns(card.legend)).astype({"error": object})


def _columns(legend: Sequence[SeaIceClass]) -> list[str]:
    names = [entry.column for entry in legend]
    first, last = MAP_COLUMNS
    return [*first, *names, *(f"{name}_km2" for name in names), *last]


def _tasks(
    model: Model,
    card: Card,
    paths: Paths,
    out_dir: str | os.PathLike,
    size: int,
) -> list[Task]:
    named = scenes.name_scenes(paths)
    if not named:
        raise InputError("paths: no scenes given; list at least one")
    for name in named:
        if f"{name}_confidence" in named:
            raise InputError(f"{name}_confidence: the name is that of {name}'s own raster; rename the scene")
    checksum = _model_checksum(model, card)
    tasks = [
        Task(
            name,
            str(path),
            output_path(out_dir, f"{name}.tif"),
            output_path(out_dir, f"{name}_confidence.tif"),
            size,
            checksum,
        )
        for name, path in named.items()
    ]
    scenes.check_outputs(named, {task.scene: list(task.files.values()) for task in tasks})
    return tasks


def _model_checksum(model: Model, card: Card) -> str:
    """Return a checksum of a model's weights, layers and what of its card maps depend on."""
    if isinstance(model, tuple):
        weights = [np.ascontiguousarray(weight).tobytes() for weight in model[0].get_weights()]
        content = [model[0].to_json(), hashlib.sha256(b"".join(weights)).hexdigest()]
    else:
        with zipfile.ZipFile(model) as archive:
            content = [
                (each.filename, each.CRC)
                for each in archive.infolist()
                if each.filename not in IGNORED_MEMBERS
            ]
    described = card.to_dict()
    described = {name: described[name] for name in ("legend", "inputs", "rule", "normalisation", "size")}
    return hashlib.sha256(json.dumps([content, described]).encode()).hexdigest()


def _serial(model: Model, tasks: list[Task], tick: Tick) -> Iterator[dict]:
    """Map scenes here, and write a map while the network is at the next scene; yield the table's rows."""
    network, card = training.load_model(model) if isinstance(model, str | os.PathLike) else model
    network = blend.compiled(network)
    with ThreadPoolExecutor(1) as writer:
        pending: list[Future] = []
        for task in tasks:
            mapped = _map(task, network, card, tick)
            pending.append(writer.submit(_write, task, mapped, card.legend))
            waiting = 1 if isinstance(mapped, Map) else 0  # an error does not wait for the next scene
            while len(pending) > waiting:
                yield pending.pop(0).result()
        for each in pending:
            yield each.result()


def _spark(model: Model, tasks: list[Task], master: str | None, tick: Tick) -> Iterator[dict]:
    """Broadcast the model's file and let workers map scenes; yield the table's rows in order."""
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(model, tuple):
            path = Path(folder) / "model.keras"
            training.save_model(model[0], path, model[1])
            model = path
        content = Path(model).read_bytes()
    with engines.mapper("spark", 1, master, content) as mapped:
        yield from mapped(map_scene, [asdict(task) for task in tasks], tick)


def map_scene(task: dict, model: bytes) -> dict:
    """Map one scene in a process of Spark's; ``model`` is the content of a ``.keras`` file."""
    network, card = _load(model)
    return _write(Task(**task), _map(Task(**task), network, card), card.legend)


@functools.lru_cache(1)
def _load(model: bytes) -> tuple[blend.Network, Card]:
    """Load a model, once a process."""
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # TensorFlow runs already
        tf.config.threading.set_intra_op_parallelism_threads(1)  # the processes are the parallelism
        tf.config.threading.set_inter_op_parallelism_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(model)
        network, card = training.load_model(path)
    return blend.compiled(network), card


def _map(task: Task, network: blend.Network, card: Card, tick: Tick = lambda _: None) -> Map | str:
    """Return a scene's map, read or computed, or why there is none."""
    try:
        with scenes.open_reader(task.path) as reader:
            made_of = [reader.content_key(quick=True), task.size, task.model]
            version = f"{VERSION} {labels.VERSION}"
            key = hashlib.sha256(json.dumps([*made_of, version]).encode()).hexdigest()
            mapped = _read_current(task, key)
            if mapped:
                tick(1)
            else:
                mapped = Map(*_classify(task, reader, network, card, tick), key, False)
            item = describe_map(task.scene, task.files, reader, card.legend)
            return replace(mapped, crs=reader.crs, transform=reader.transform, item=item)
    except InputError as error:
        return str(error)


def _read_current(task: Task, key: str) -> Map | None:
    """Read the map that an earlier call made of the same; None if there is none that is whole."""
    try:
        record = read_json(task.record)
        if record.get("key") != key or record.get("rasters") != task.made():
            return None
        codes, percent = (scenes.read_codes(file) for file in task.files.values())
        return Map(codes, percent, record["confidence_sum"], key, True)
    except (InputError, KeyError):  # missing, cut off, or a record without the sum
        return None


def _classify(
    task: Task, reader: SceneReader, network: blend.Network, card: Card, tick: Tick
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return a scene's codes and per cents, (rows, columns) uint8, and the sum of its confidences."""
    order = np.array([entry.code for entry in card.legend], np.uint8)
    image, is_nodata = _image(task, reader, card)
    codes, percent, confidence_sum = np.empty(reader.shape, np.uint8), np.empty(reader.shape, np.uint8), 0.0
    for rows, probabilities in blend.strips(network, image, reader.shape, card, task.size):
        window = scenes.Window(rows.start, 0, rows.stop - rows.start, reader.shape[1])
        nodata, best = is_nodata(window), probabilities.max(axis=-1)
        codes[rows] = np.where(nodata, NODATA, order[probabilities.argmax(axis=-1)])
        percent[rows] = np.where(nodata, NODATA, (100 * best).round())
        confidence_sum += float(best[~nodata].sum(dtype=np.float64))
        tick(window.height / reader.shape[0])
    return codes, percent, confidence_sum


def _image(task: Task, reader: SceneReader, card: Card) -> tuple[blend.Image, blend.Image]:
    """Return what gives windows of a scene as the network sees it, and of where the map has no data."""
    if card.inputs == "filtered":
        image, is_nodata = _filtered(task, reader, card.rule or labels.Rule())
        return lambda window: image[window.slices], lambda window: is_nodata[window.slices]
    # Window by window, for a scene may be larger than memory.
    return (
        lambda window: tiles.prepare_inputs(*reader.read(window), card.inputs),
        lambda window: reader.read(window)[1],
    )


def _filtered(task: Task, reader: SceneReader, rule: labels.Rule) -> tuple[np.ndarray, np.ndarray]:
    """Return a whole scene, filtered as its model's labels were, and where the labels have no data."""
    metres = labels.pixel_size(reader.crs, reader.transform)
    if isinstance(rule.window, str) and metres is None:
        raise InputError(
            f"{task.path}: has no CRS in metres, and the model's filter has a window of {rule.window}; "
            "train one with a window in pixels"
        )
    scl = reader.scl() if rule.opaque == "scl" else None
    if rule.opaque == "scl" and scl is None:
        raise InputError(f"{task.path}: the model's filter needs its scene classification; append #scl=1")
    bands, nodata = reader.read()
    image = tiles.prepare_inputs(bands, nodata, "filtered", rule, metres, scl)
    hidden = rule.hidden(scl)
    is_nodata = nodata if rule.nodata == "mask" else np.zeros_like(nodata)  # as the labels that it learned
    return image, is_nodata if hidden is None else is_nodata | hidden


def _write(task: Task, mapped: Map | str, legend: Sequence[SeaIceClass]) -> dict:
    """Write a map that is not there yet; return its row of the table with its STAC item, or an error."""
    row = {"scene": task.scene, "path": task.path}
    if isinstance(mapped, str):
        return row | {"error": mapped}
    if not mapped.current:
        grid = mapped.crs, mapped.transform
        try:
            scenes.write_confidence(task.confidence, mapped.percent, *grid)
            scenes.write_classes(task.map, mapped.codes, *grid, legend)
            write_json(
                task.record,
                {"key": mapped.key, "confidence_sum": mapped.confidence_sum, "rasters": task.made()},
            )
        except InputError as error:  # not the scene's fault
            return row | {"fatal": str(error)}
    counts = labels.histogram(mapped.codes)
    valid = mapped.codes.size - int(counts[NODATA])
    shares = {entry.code: float(counts[entry.code] / valid) if valid else np.nan for entry in legend}
    areas = dict.fromkeys(shares, np.nan)
    if mapped.crs:
        areas = thresholds.square_kilometres(task.map, legend)
    names = {entry.code: entry.column for entry in legend}
    item = mapped.item or {}
    return (
        row
        | task.files
        | {"datetime": item["properties"]["datetime"]}
        | {names[code]: share for code, share in shares.items()}
        | {f"{names[code]}_km2": area for code, area in areas.items()}
        | {
            "ice_concentration": concentration(areas if mapped.crs else shares, legend),
            "mean_confidence": mapped.confidence_sum / valid if valid else np.nan,
            "current": mapped.current,
            "item": item,
        }
    )
