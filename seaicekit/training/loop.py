"""Train the U-Net on this rank, in step with the others.

`fit` runs once on each Horovod rank, whoever started it. All ranks walk through one random order of the
tiles; a global batch is cut among them; gradients are summed over the valid pixels of all ranks and divided
by their number, so that the step is that of one rank with the whole batch.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seaicekit import scenes, tiles
from seaicekit.classes import Legend
from seaicekit.files import InputError, atomic_write, sha256, write_json
from seaicekit.tiles import Tiles, channels, epoch_order, shared_cache
from seaicekit.tiles import read_tiles as read_tiles
from seaicekit.training import checkpoints, steps
from seaicekit.training.models import Card
from seaicekit.training.models import save_model as save_model
from seaicekit.training.settings import Job, learning_rate_at

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from seaicekit.labels import Rule

    Report = Callable[[dict], None]

PACKAGES = ("seaicekit", "tensorflow-cpu", "keras", "horovod", "numpy")
# What may change from an interrupted training to its resumption; of the batch, only how ranks share it.
LEAST = 96  # pixels a side of a tile, without margins that maps throw away (seaicekit.mapping.blend)
FREE = {"tiles", "out_dir", "epochs", "batch", "threads", "resume"}


def fit(settings: Job, report: Report | None = None) -> dict:
    """Train on this rank; rank 0 writes the files.

    Parameters
    ----------
    settings : Job
    report : callable, optional
        Called on rank 0 after each step, and for each tile that it reads before the first, with a dict:
        ``done``
        and ``total`` images, those ``before`` this call (of a resumed training), ``epochs`` as below so far,
        ``messages`` for the user so far.

    Returns
    -------
    dict
        ``settings``, ``ranks``, ``parameters``, ``tiles`` (counts by split), ``legend`` (names),
        ``weights_sha256`` (one a rank, all equal), ``seconds``, ``images_per_second``, ``messages``, and
        ``epochs``: a list with ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy``, ``seconds``,
        ``images_per_second`` (of training alone) and ``seconds_left`` of each. Losses are means over valid
        pixels of all ranks.

    Raises
    ------
    InputError
        No tiles to train or to test on, tiles that the depth does not fit, scenes or rasters that cannot be
        used, a loss that diverges, a checkpoint that is damaged or of other settings, a full disk.
    RuntimeError
        The ranks' weights have drifted apart.
    """
    table, targets, classes, rule = plan(settings)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import horovod.tensorflow as hvd
    import tensorflow as tf

    hvd.init()
    rank, ranks = hvd.rank(), hvd.size()
    steps.share_machine(tf, settings.threads, hvd.local_rank(), hvd.local_size())
    sides = {side: np.flatnonzero(table["split"] == side) for side in ("train", "test")}
    state = {
        "settings": {name: value for name, value in settings.model_dump().items() if name not in FREE},
        "global batch": settings.batch * ranks,
        "tiles": sha256(settings.tiles),
        "targets": _mark(targets, table),
        "epoch": 0,
        "history": [],
    }

    model, optimizer = steps.network(settings, channels(settings.inputs), len(classes))
    variables = [*model.weights, *optimizer.variables]
    messages: list[str] = []
    if settings.resume:
        state, messages = hvd.broadcast_object(_resume(settings, state, variables) if rank == 0 else None)
    hvd.broadcast_variables([variable.value for variable in variables], root_rank=0)
    train_step, test_step = steps.steps(settings, model, optimizer)
    history, first = state["history"], state["epoch"]
    epochs, images = settings.epochs, len(sides["train"])

    def tell(done: int) -> None:
        if report and rank == 0:
            progress = {"done": first * images + done, "before": first * images, "total": epochs * images}
            report(progress | {"epochs": history, "messages": messages})

    meet = partial(hvd.allgather_object, None)
    host = (
        f"{platform.node()}-{os.environ.get('HOROVOD_HOSTNAME', '')}"  # two of Horovod's may be one machine
    )
    with shared_cache(settings.out_dir, host, hvd.local_rank() == 0, meet) as file:
        tiles = Tiles(table, settings.inputs, classes, targets, file)
        pixels = tiles.fill(hvd.local_rank(), hvd.local_size(), partial(tell, 0))
        found = hvd.allreduce(tf.constant(pixels), op=hvd.Sum).numpy()
        messages += _one_class(found[: len(classes)], [entry.name for entry in classes])
        for epoch in range(first, epochs):
            start = time.perf_counter()
            steps.reseed(model, [settings.seed, epoch, rank])
            share = epoch_order(images, epoch, settings.seed, settings.batch, rank, ranks)
            turn = [settings.seed, epoch] if settings.augment else None
            counts, numbers = np.zeros(3), np.append(sides["train"], -1)  # so that -1 stays -1
            for step, batch in enumerate(tiles.batches(numbers[share], turn)):
                if settings.scale_rate:
                    optimizer.learning_rate.assign(
                        learning_rate_at(settings, ranks, epoch * len(share) + step, len(share))
                    )
                counts += train_step(*batch).numpy()
                tell((epoch - first) * images + min(images, (step + 1) * settings.batch * ranks))
            trained = time.perf_counter() - start
            share = epoch_order(len(sides["test"]), 0, 0, settings.batch, rank, ranks)
            batches = tiles.batches(np.append(sides["test"], -1)[share])
            seen = np.zeros(3)
            for batch in batches:
                seen += test_step(*batch).numpy()
                tell((epoch + 1 - first) * images)
            seen = hvd.allreduce(tf.constant(seen), op=hvd.Sum).numpy()
            if not np.isfinite([*counts, *seen]).all():
                raise InputError(f"epoch {epoch + 1}: the loss is no longer finite; lower learning_rate")
            hashes = steps.equal_weights(model, hvd, epoch)
            history.append(
                {"epoch": epoch + 1, **_means(counts)} | {f"val_{k}": v for k, v in _means(seen).items()}
            )
            history[-1] |= {"images_per_second": images / trained, "seconds": time.perf_counter() - start}
            mean = sum(each["seconds"] for each in history[first:]) / (epoch + 1 - first)
            history[-1]["seconds_left"] = (epochs - epoch - 1) * mean
            if rank == 0:
                checkpoints.save(settings.out_dir, variables, state | {"epoch": epoch + 1})
                _write_history(settings, history)
            tell((epoch + 1 - first) * images)
    if first == epochs:
        hashes = steps.equal_weights(model, hvd, epochs - 1)
    seconds = sum(each["seconds"] for each in history)
    result = {
        "settings": settings.model_dump(),
        "ranks": ranks,
        "parameters": model.count_params(),
        "tiles": {side: len(numbers) for side, numbers in sides.items()},
        "legend": [entry.name for entry in classes],
        "weights_sha256": hashes,
        "seconds": seconds,
        "images_per_second": images * epochs / seconds,
        "messages": messages,
        "epochs": history,
    }
    if rank == 0:
        size = int(table["size"].iloc[0])
        manifest = {
            name: result[name] for name in ("ranks", "parameters", "tiles", "weights_sha256", "seconds")
        }
        manifest |= {"settings": state["settings"] | {"epochs": epochs, "batch": settings.batch}}
        manifest |= {
            "tiles_sha256": state["tiles"],
            "versions": {name: metadata.version(name) for name in PACKAGES},
        }
        card = Card(classes, settings.inputs, rule, settings.normalisation, size, settings.cell, manifest)
        save_model(model, Path(settings.out_dir) / "model.keras", card)
        _write_history(settings, history)
        write_json(Path(settings.out_dir) / "training.json", result)
    return result


def plan(
    settings: Job,
) -> tuple[pd.DataFrame, dict[str, str | None], Legend, Rule | None]:
    """Look at all that is known before the first pixel is read, without TensorFlow.

    Returns
    -------
    table : pandas.DataFrame
        The tiles to train and test on.
    targets : dict
        As from `seaicekit.tiles.target_rasters`.
    classes : Legend
    rule : Rule or None
        The one that filters the inputs.

    Raises
    ------
    InputError
        No tiles to train or to test on, tiles that the depth does not fit, rasters that are missing or
        disagree.
    """
    table = read_tiles(settings.tiles)
    table = table[table["split"].isin(["train", "test"])].reset_index(drop=True)
    for side in ("train", "test"):
        if (table["split"] != side).all():
            raise InputError(f"{settings.tiles}: no tiles to {side} on; give more scenes")
    if table["size"].iloc[0] % settings.cell:
        raise InputError(
            f"depth: at {settings.depth} tiles must be a multiple of {settings.cell} pixels a side"
        )
    if settings.normalisation == "l2" and table["size"].iloc[0] <= LEAST:
        raise InputError(
            f"normalisation: l2 needs tiles above {LEAST} pixels a side, for maps are made of such tiles"
        )
    targets = tiles.target_rasters(table, settings.targets, settings.tiles)
    classes = scenes.common_legend(sorted({*table["labels"], *filter(None, targets.values())}))
    return table, targets, classes, _rule(table) if settings.inputs == "filtered" else None


def _rule(table: pd.DataFrame) -> Rule:
    """Return the one rule that the labels were made by, for prediction to filter by it, too."""
    rules = [tiles.labelling_rule(raster)[0] for raster in table["labels"].unique()]
    if any(rule != rules[0] for rule in rules):
        raise InputError(
            'inputs: "filtered" needs labels made by one rule, and these are of several; label again'
        )
    return rules[0]


def _resume(settings: Job, state: dict, variables: list[keras.Variable]) -> tuple[dict, list[str]]:
    """Put the newest checkpoint into the variables; return its state and what to tell the user."""
    found = checkpoints.newest(settings.out_dir)
    if not found:
        return state, []
    arrays, saved, messages = found
    old, new = (
        each["settings"] | {name: each.get(name) for name in ("global batch", "tiles", "targets")}
        for each in (saved, state)
    )
    other = sorted(name for name in new if old.get(name) != new[name])
    if other:
        raise InputError(
            f"resume: the checkpoint is of other {', '.join(other)}; give the same, or resume=False"
        )
    if saved["epoch"] > settings.epochs:
        raise InputError(
            f"epochs: {saved['epoch']} are done, more than {settings.epochs}; give more, or resume=False"
        )
    checkpoints.restore(variables, arrays)
    return saved, messages


def _mark(targets: dict[str, str | None], table: pd.DataFrame) -> str:
    """Return a hash of all that is to be learned, for a raster may have been drawn anew since."""
    rasters = {str(raster) for raster in targets.values() if raster} or set(table["labels"])
    return hashlib.sha256("".join(sha256(raster) for raster in sorted(rasters)).encode()).hexdigest()


def _one_class(counts: np.ndarray, names: list[str]) -> list[str]:
    if not counts.any():
        raise InputError("targets: not one pixel has a class; check the rasters")
    if np.count_nonzero(counts) == 1:
        only = names[int(counts.argmax())]
        return [
            f"all pixels are {only}, so {only} is all the network can learn; give scenes with other classes, too"
        ]
    return []


def _means(counts: np.ndarray) -> dict[str, float]:
    pixels = max(1.0, counts[2])
    return {"loss": float(counts[0] / pixels), "accuracy": float(counts[1] / pixels)}


def _write_history(settings: Job, history: list[dict]) -> None:
    import pandas as pd

    with atomic_write(Path(settings.out_dir) / "history.csv") as place:
        pd.DataFrame(history).to_csv(place, index=False)
