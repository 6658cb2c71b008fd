"""What an engine's workers do: measure blocks, add up a scene's histograms, decide the scene.

A scene of a single block is labelled at once. Of a larger one each block writes its `Measured` arrays to the
scratch folder and returns its histogram. Tasks and results hold paths, windows and counts, never pixels.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seaicekit import scenes
from seaicekit.classes import NODATA
from seaicekit.files import InputError, as_path, is_url, remote_errors
from seaicekit.labels import cloud_filter
from seaicekit.labels.arrays import count_brightness, label_array, pixel_size
from seaicekit.labels.blocks import Measured, decide, measure
from seaicekit.labels.folder import RunError, load_array, save_array
from seaicekit.labels.rule import VERSION, Rule, SceneRule
from seaicekit.scenes import SceneReader, Window

TAG = "SEAICEKIT"  # the tag of a raster in which `label_provenance` is kept, as JSON


@dataclass(frozen=True)
class SceneTask:
    """A scene to label: name, path, path of its raster, rule, side of the blocks, scratch folder."""

    name: str
    path: str
    labels: str
    rule: Rule
    block: int | None
    scratch: str

    def scratch_file(self, *parts: Any) -> str:
        """Return the path of a file for a block, or for what blocks share."""
        return f"{self.scratch}/{'_'.join(map(str, (self.name, *parts)))}.npy"


@dataclass(frozen=True)
class ScenePlan:
    """What all blocks of a scene share; ``key`` is a checksum of all that its labels depend on."""

    task: SceneTask
    shape: tuple[int, int]
    scene_rule: SceneRule
    key: str
    warning: str | None

    @property
    def windows(self) -> list[Window]:
        """The blocks."""
        return self.task.rule.blocks(self.shape, self.task.block)

    @property
    def pixels(self) -> int:
        """The number of pixels."""
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True)
class Labelled:
    """A scene that has its raster: the counts for the table, the scene's pixels, and a warning."""

    counts: dict[str, int]
    pixels: int
    warning: str | None


@dataclass(frozen=True)
class Failure:
    """The reason why a scene cannot be labelled; ``fatal`` ends the run."""

    error: str
    fatal: bool = False


def _return_failures(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Make a function return a `Failure` in place of an `InputError`."""

    @functools.wraps(function)
    def returning(task: Any) -> Any:
        try:
            return function(task)
        except InputError as error:
            return Failure(str(error), isinstance(error, RunError))

    return returning


@_return_failures
def start_scene(task: SceneTask) -> Labelled | ScenePlan | Failure:
    """Label a scene of a single block, or plan a larger one. Leave a raster that is current."""
    with scenes.open_reader(task.path) as reader:
        if task.rule.opaque == "scl" and reader.source.scl is None:
            raise InputError(f'{task.path}: opaque "scl" needs its scene classification layer; append #scl=1')
        metres = pixel_size(reader.crs, reader.transform)
        scene_rule = task.rule.for_scene(metres, None)
        # Of contents and not of path or time, so that a copy elsewhere gives the same bytes.
        filtered = scene_rule.window, scene_rule.thinning
        key = hashlib.sha256(
            json.dumps([reader.content_key(), task.rule.to_dict(), filtered, VERSION]).encode()
        ).hexdigest()
        warning = scenes.saturation_warning(reader) if reader.source.true_colour else None
        made = label_provenance(task.labels)
        if made and made["key"] == key:
            return Labelled(made["counts"], reader.shape[0] * reader.shape[1], warning)
        scene_rule = task.rule.for_scene(metres, _stretch(reader, task.rule))
        plan = ScenePlan(task, reader.shape, scene_rule, key, warning)
        if len(plan.windows) > 1:
            if not reader.declares_nodata and task.rule.nodata == "mask":
                save_array(task.scratch_file("border"), np.packbits(reader.border, axis=1))
            return plan
        bands, nodata = reader.read()
        scl = reader.scl() if task.rule.opaque == "scl" else None
        return _write(plan, reader, *label_array(bands, nodata, scene_rule, None, scl))


def _stretch(reader: SceneReader, rule: Rule) -> tuple[int, int] | None:
    """Return the brightnesses at the rule's percentiles, if it has any."""
    if not rule.normalise:
        return None
    counts = np.zeros(256, np.int64)
    for window in scenes.blocks(reader.shape, 2048):
        counts += count_brightness(*reader.read(window), rule)
    return cloud_filter.stretch_limits(counts, *rule.normalise)


@_return_failures
def measure_block(block: tuple[ScenePlan, Window]) -> np.ndarray | Failure:
    """Measure a block of a scene, write what was measured to the scratch folder, and return the histogram."""
    plan, window = block
    task, rule = plan.task, plan.task.rule
    with scenes.open_reader(task.path) as reader:
        outer = plan.scene_rule.surroundings(window, plan.shape)
        undeclared = None
        if not reader.declares_nodata and rule.nodata == "mask":
            rows, cols = outer.slices
            packed = load_array(task.scratch_file("border"))[rows]
            undeclared = np.unpackbits(packed, axis=1, count=plan.shape[1])[:, cols].view(bool)
        bands, nodata = reader.read(outer, undeclared)
        scl = reader.scl(outer) if rule.opaque == "scl" else None
        measured = measure(bands, nodata, plan.scene_rule, window.within(outer), scl)
        save_array(task.scratch_file(*window), np.stack([measured.codes, measured.difference]))
        return measured.counts


def add_counts(
    blocks: Iterable[tuple[ScenePlan, Window]], results: Iterable[np.ndarray | Failure]
) -> dict[str, np.ndarray | Failure]:
    """Return scene → the sum of its blocks' histograms, or the first failure."""
    totals: dict[str, np.ndarray | Failure] = {}
    for (plan, _), result in zip(blocks, results, strict=True):
        name = plan.task.name
        total = totals.setdefault(name, np.zeros(256, np.int64))
        if not isinstance(total, Failure):
            totals[name] = result if isinstance(result, Failure) else total + result
    return totals


@_return_failures
def decide_scene(scene: tuple[ScenePlan, np.ndarray]) -> Labelled | Failure:
    """Decide all blocks of a scene by the sum of its histograms, and write its raster."""
    plan, counts = scene
    codes, pixels = np.empty(plan.shape, np.uint8), Counter[str]()
    for window in plan.windows:
        marked, difference = load_array(plan.task.scratch_file(*window))
        measured = Measured(marked, difference, counts)
        codes[window.slices], pixel_counts = decide(measured, counts, plan.task.rule)
        pixels.update(pixel_counts)
    with scenes.open_reader(plan.task.path) as reader:
        return _write(plan, reader, codes, pixels)


def _write(plan: ScenePlan, reader: SceneReader, codes: np.ndarray, pixels: dict[str, int]) -> Labelled:
    """Write a scene's raster with its provenance."""
    task, legend = plan.task, plan.task.rule.thresholds.legend
    totals = cloud_filter.histogram(codes)
    counts = {entry.column: int(totals[entry.code]) for entry in legend} | dict(pixels)
    counts["nodata"] = int(totals[NODATA]) - counts["opaque_cloud"]
    made = {
        "key": plan.key,
        "rule": task.rule.to_dict(),
        "ends": plan.scene_rule.stretch,
        "counts": counts,
    }
    if not is_url(task.scratch) and not Path(task.scratch).is_dir():
        # A worker that outlives its killed run must not write over what the next run makes.
        raise RunError(f"{task.labels}: not written, for the run that asked for it is over; start it again")
    try:
        tags = {TAG: json.dumps(made, sort_keys=True)}
        scenes.write_classes(task.labels, codes, reader.crs, reader.transform, legend, tags)
    except InputError as error:
        raise RunError(str(error)) from error
    return Labelled(counts, plan.pixels, plan.warning)


def label_provenance(path: str | os.PathLike) -> dict | None:
    """Return what a label raster was made of: ``key``, ``rule``, ``ends``, ``counts``.

    None if it was not made by `seaicekit.autolabel`.
    """
    with remote_errors(path) if is_url(path) else contextlib.nullcontext():
        if not as_path(path).is_file():
            return None
    try:
        return json.loads(scenes.read_tags(path)[TAG])
    except (InputError, KeyError, ValueError):
        return None
