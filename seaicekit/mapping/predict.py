"""Classify whole scenes and write what was found."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from seaicekit import engines, labels, scenes, thresholds, tiles, training
from seaicekit.classes import NODATA, concentration
from seaicekit.files import InputError, as_path, output_path
from seaicekit.mapping import blend

if TYPE_CHECKING:
    import keras
    import pandas as pd
    import pystac

    from seaicekit.scenes import Paths
    from seaicekit.training import Card

Engine = Literal["serial", "spark"]
ITEMS = "maps.json"
ENDS = {"map": "", "confidence": "_confidence"}


def predict(
    model: str | os.PathLike | tuple[keras.Model, Card],
    paths: Paths,
    out_dir: str | os.PathLike,
    size: int | None = None,
    engine: Engine = "serial",
    master: str | None = None,
    errors: Literal["raise", "quarantine"] = "raise",
    prepared: tiles.Inputs | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Classify whole scenes with a trained model.

    Tiles overlap and their probabilities are blended (`seaicekit.mapping.blend`), so that no seams show and
    the tiles' size hardly matters: ``python -m benchmarks predict`` says how much.

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
    prepared : "rgb", "grey" or "filtered", optional
        Where the scenes are images that something has made so already: nothing is prepared, and a model of
        other inputs refuses them.
    progress : bool
        Show a bar.

    Returns
    -------
    pandas.DataFrame
        A row a scene: ``scene``, ``path``, ``map``, ``confidence`` (paths), ``datetime`` (None where
        unknown),
        of each class the share of valid pixels (``open_water`` …) and the true area (``open_water_km2`` …,
        NaN without a CRS), ``ice_concentration`` (by area, else by pixels) and ``mean_confidence``, both from
        0 to 1, and ``error``.

    Raises
    ------
    InputError
        No model, a model of other inputs, a scene that cannot be read, a folder that cannot be written, an
        unknown engine.
    """
    import pandas as pd
    from tqdm.auto import tqdm

    for name, value, known in (
        ("engine", engine, Engine),
        ("errors", errors, Literal["raise", "quarantine"]),
    ):
        if value not in get_args(known):
            raise InputError(f"{name}: must be one of {', '.join(get_args(known))}, not {value!r}")
    named, card = (
        _named(paths),
        training.read_card(model) if isinstance(model, str | os.PathLike) else model[1],
    )
    if prepared and prepared != card.inputs:
        raise InputError(
            f"prepared: the scenes are {prepared}, and the model was trained on {card.inputs}; "
            f"give scenes that are {card.inputs}, or train with inputs={prepared!r}"
        )
    common = {"size": blend.tile_size(card, size), "prepared": prepared}
    outputs = {
        name: {kind: output_path(out_dir, f"{name}{end}.tif") for kind, end in ENDS.items()} for name in named
    }
    scenes.check_outputs(named, {name: list(files.values()) for name, files in outputs.items()})
    tasks = [
        common | {"scene": name, "path": str(path), "files": outputs[name]} for name, path in named.items()
    ]
    as_path(output_path(out_dir, ITEMS)).unlink(missing_ok=True)  # what it lists is about to change
    rows = []
    with tqdm(total=len(tasks), desc="scenes", disable=not progress, unit_scale=True) as bar:
        for row in (
            _serial(model, tasks, bar.update)
            if engine == "serial"
            else _spark(model, tasks, master, bar.update)
        ):
            if row.get("error"):  # what an earlier call made of the scene is no longer so
                for file in outputs[row["scene"]].values():
                    as_path(file).unlink(missing_ok=True)
            if "fatal" in row or (errors == "raise" and row.get("error")):
                raise InputError(row.get("fatal") or row["error"])
            rows.append(row)
    if not any("map" in row for row in rows):
        raise InputError(rows[0]["error"])
    items = [row.pop("item") for row in rows if "item" in row]
    scenes.write_items(output_path(out_dir, ITEMS), {"type": "FeatureCollection", "features": items})
    return pd.DataFrame(rows, columns=list(dict.fromkeys([*_columns(card), "error"]))).astype(
        {"error": object}
    )


def _named(paths: Paths) -> dict[str, str | os.PathLike]:
    named = scenes.name_scenes(paths)
    if not named:
        raise InputError("paths: no scenes given; list at least one")
    clash = next((name for name in named if f"{name}_confidence" in named), None)
    if clash:
        raise InputError(f"{clash}_confidence: the name is that of {clash}'s own raster; rename the scene")
    return named


def _columns(card: Card) -> list[str]:
    names = [entry.column for entry in card.legend]
    made = ["scene", "path", "map", "confidence", "datetime", *names, *(f"{name}_km2" for name in names)]
    return [*made, "ice_concentration", "mean_confidence"]


def _serial(model: Any, tasks: list[dict], tick: Callable[[float], object]) -> Iterator[dict]:
    """Map scenes here; a scene is written while the network is at the next."""
    network, card = training.load_model(model) if isinstance(model, str | os.PathLike) else model
    network = blend.compiled(network)
    with ThreadPoolExecutor(1) as writer:
        before = None
        for task in tasks:
            found = _classified(task, network, card, tick)
            if before:
                yield before.result()
            before = writer.submit(_written, task, found, card)
            if isinstance(found, str):  # told at once, and not after the next scene
                yield before.result()
                before = None
        if before:
            yield before.result()


def _spark(
    model: Any, tasks: list[dict], master: str | None, tick: Callable[[float], object]
) -> Iterator[dict]:
    """Broadcast the model's file and let workers map scenes; yield the rows in order."""
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(model, tuple):
            path = Path(folder) / "model.keras"
            training.save_model(model[0], path, model[1])
            model = path
        content = Path(model).read_bytes()
    with engines.mapper("spark", 1, master, content) as mapped:
        yield from mapped(map_scene, tasks, tick)


def map_scene(task: dict, model: bytes) -> dict:
    """Map one scene in a process of Spark's; ``model`` is the content of a ``.keras`` file."""
    network, card = _loaded(hashlib.sha256(model).hexdigest(), model)
    return _written(task, _classified(task, network, card), card)


_KEPT: dict[str, tuple] = {}


def _loaded(digest: str, model: bytes) -> tuple[blend.Network, Card]:
    """Load a model, once a process."""
    if digest not in _KEPT:
        _one_thread()  # the processes are the parallelism
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            path.write_bytes(model)
            network, card = training.load_model(path)
        _KEPT.clear()  # one at a time, for they are large
        _KEPT[digest] = blend.compiled(network), card
    return _KEPT[digest]


def _one_thread() -> None:
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # it runs already
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def _written(task: dict, found: tuple[np.ndarray, np.ndarray, float] | str, card: Card) -> dict:
    """Write a scene's rasters and return its row of the table, or why it has none."""
    row = {"scene": task["scene"], "path": task["path"]}
    if isinstance(found, str):
        return row | {"error": found}
    codes, percent, sure = found
    files, counts = task["files"], labels.histogram(codes)
    valid = codes.size - int(counts[NODATA])
    try:
        with scenes.open_reader(task["path"]) as reader:
            crs, transform = reader.crs, reader.transform
            item = _item(task, reader, valid / codes.size, card)
    except InputError as error:
        return row | {"error": str(error)}
    try:
        scenes.write_classes(files["map"], codes, crs, transform, card.legend)
        scenes.write_confidence(files["confidence"], percent, crs, transform)
    except InputError as error:  # not the scene's fault
        return row | {"fatal": str(error)}
    shares = {entry.code: counts[entry.code] / valid if valid else np.nan for entry in card.legend}
    area = thresholds.square_kilometres(files["map"], card.legend) if crs else dict.fromkeys(shares, np.nan)
    names = {entry.code: entry.column for entry in card.legend}
    return (
        row
        | files
        | {
            "datetime": item["properties"]["datetime"],
            **{names[code]: float(share) for code, share in shares.items()},
            **{f"{names[code]}_km2": square for code, square in area.items()},
            "ice_concentration": concentration(area if crs else shares, card.legend),
            "mean_confidence": sure / valid if valid else np.nan,
            "item": item,
        }
    )


def _classified(
    task: dict, network: blend.Network, card: Card, tick: Callable[[float], object] = lambda _: None
) -> tuple[np.ndarray, np.ndarray, float] | str:
    """Return a scene's codes and per cents, (rows, columns) uint8, and the sum of its confidences.

    Or why not.
    """
    order = np.array([entry.code for entry in card.legend], np.uint8)
    try:
        with scenes.open_reader(task["path"]) as reader:
            image, void = _image(task, reader, card)
            codes, percent, sure = np.empty(reader.shape, np.uint8), np.empty(reader.shape, np.uint8), 0.0
            for rows, probabilities in blend.strips(network, image, reader.shape, card, task["size"]):
                window = scenes.Window(rows.start, 0, rows.stop - rows.start, reader.shape[1])
                nodata, best = void(window), probabilities.max(axis=-1)
                codes[rows] = np.where(nodata, NODATA, order[probabilities.argmax(axis=-1)])
                percent[rows] = np.where(nodata, NODATA, (100 * best).round())
                sure += float(best[~nodata].sum(dtype=np.float64))
                tick(window.height / reader.shape[0])
    except InputError as error:
        return str(error)
    return codes, percent, sure


def _image(task: dict, reader: scenes.SceneReader, card: Card) -> tuple[blend.Image, blend.Image]:
    """Return what gives windows of a scene as the network sees it, and of where the map has no data."""
    rule = card.rule or labels.Rule()
    if card.inputs == "filtered" and not task["prepared"]:
        image, void = _filtered(task, reader, rule)
        return lambda window: image[window.slices], lambda window: void[window.slices]
    variant: tiles.Inputs = "rgb" if card.inputs == "rgb" else "grey"  # of equal bands the grey is the bands'
    # Open water is 0 in a filtered image, so that black at its border is no sign of missing data.
    declared = reader.declares_nodata or task["prepared"] != "filtered"

    def read(window: scenes.Window) -> tuple[np.ndarray, np.ndarray]:
        return reader.read(window, None if declared else np.zeros((window.height, window.width), bool))

    # Window by window, for a scene may be larger than memory.
    return lambda window: tiles.prepare_inputs(*read(window), variant), lambda window: read(window)[1]


def _filtered(task: dict, reader: scenes.SceneReader, rule: labels.Rule) -> tuple[np.ndarray, np.ndarray]:
    """Filter a whole scene as its model's labels were; return it, and where the labels have no data."""
    metres = labels.pixel_size(reader.crs, reader.transform)
    if isinstance(rule.window, str) and metres is None:
        raise InputError(
            f"{task['path']}: has no CRS in metres, and the model's filter has a window of {rule.window}; "
            "train one with a window in pixels"
        )
    scl = reader.scl() if rule.opaque == "scl" else None
    if rule.opaque == "scl" and scl is None:
        raise InputError(f"{task['path']}: the model's filter needs its scene classification; append #scl=1")
    bands, nodata = reader.read()
    image = tiles.prepare_inputs(bands, nodata, "filtered", rule, metres, scl)
    hidden = rule.hidden(scl)
    void = nodata if rule.nodata == "mask" else np.zeros_like(nodata)  # as the labels that it learned
    return image, void if hidden is None else void | hidden


def _item(task: dict, reader: scenes.SceneReader, valid: float, card: Card) -> dict:
    """Describe a map as a STAC item that is derived from its scene."""
    import pystac
    from pystac.extensions.classification import Classification, ClassificationExtension

    item: pystac.Item = scenes.describe_scene(task["scene"], reader, valid)
    item.add_link(pystac.Link("derived_from", item.assets.pop("image").href))
    for name in (scenes.SOURCE_PROPERTY, "seaicekit:valid_fraction"):
        item.properties.pop(name, None)
    for kind, what in (("map", "sea-ice class"), ("confidence", "confidence of the class, per cent")):
        about = {"data_type": "uint8", "nodata": NODATA}
        item.add_asset(
            kind, pystac.Asset(task["files"][kind], what, None, pystac.MediaType.COG, ["data"], about)
        )
    classes = [
        Classification.create(
            entry.code,
            name=entry.name.replace(" ", "-"),
            description=entry.name,
            color_hint=entry.colour[1:].upper(),
        )
        for entry in card.legend
    ]
    ClassificationExtension.ext(item.assets["map"], add_if_missing=True).apply(classes=classes)
    return item.to_dict()
