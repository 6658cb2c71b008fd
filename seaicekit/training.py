"""Train the U-Net on this rank, in step with the others.

`fit` runs once on each Horovod rank, whoever started it. All ranks walk through one random order of the
tiles; a global batch is cut among them; gradients are summed over the valid pixels of all ranks and divided
by their number, so that the step is that of one rank with the whole batch.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from seaicekit import checkpoints, data, inputs
from seaicekit.classes import NODATA
from seaicekit.data import order
from seaicekit.files import InputError, replacing, sha256, write_json
from seaicekit.models import Card
from seaicekit.models import save as save_model
from seaicekit.unet import DROPOUT, Normalisation

if TYPE_CHECKING:
    import keras
    import pandas as pd
    import tensorflow as tf

    Report = Callable[[dict], None]

__all__ = ["Settings", "fit", "order", "rate"]
PACKAGES = ("seaicekit", "tensorflow-cpu", "keras", "horovod", "numpy")
# What may change from an interrupted training to its resumption; of the batch, only how ranks share it.
FREE = {"tiles", "out_dir", "epochs", "batch", "threads", "resume"}


@dataclass(frozen=True)
class Settings:
    """What a training needs to know.

    Parameters
    ----------
    tiles : str
        Path of the tile index.
    out_dir : str
        Gets ``model.keras``, ``history.csv``, ``training.json`` and ``checkpoints``. All hosts must see it.
    epochs, batch, learning_rate, seed
        ``batch`` is per rank; 50, 16 and Adam's 0.001 in the paper.
    width, depth
        Of the U-Net; see `seaicekit.unet.build`.
    augment : bool
        Flip and turn the tiles at random.
    dropout : bool
        Leave out features at random, as the paper does.
    inputs : "rgb", "grey" or "filtered"
        What the network sees; see `seaicekit.inputs.prepare`.
    targets : str
        What it learns: "labels", "raw", "truth" or a folder of rasters; see `seaicekit.data.wanted`.
    normalisation : "scale" or "l2"
        See `seaicekit.unet.build`.
    scale_rate : bool
        Multiply the learning rate by the number of ranks, from once to so many times over the first
        ``warmup_epochs`` (Goyal et al. 2017, arXiv 1706.02677). The paper does not.
    warmup_epochs : int
        For that.
    mixed_precision : bool
        Compute in bfloat16, with weights and probabilities in float32.
    xla : bool
        Compile forward and backward pass.
    threads : int
        Of each rank; 0 shares a machine's cores among its ranks.
    resume : bool
        Go on from the newest checkpoint in ``out_dir``, if there is one.
    """

    tiles: str
    out_dir: str
    epochs: int = 50
    batch: int = 16
    learning_rate: float = 0.001
    seed: int = 0
    width: int = 16
    depth: int = 6
    augment: bool = True
    dropout: bool = True
    inputs: inputs.Inputs = "rgb"
    targets: str = "labels"
    normalisation: Normalisation = "scale"
    scale_rate: bool = False
    warmup_epochs: int = 5
    mixed_precision: bool = False
    xla: bool = False
    threads: int = 0
    resume: bool = False

    def __post_init__(self):
        for name, least in {"epochs": 1, "batch": 1, "width": 1, "depth": 1, "warmup_epochs": 0, "threads": 0}.items():
            if getattr(self, name) < least:
                raise InputError(f"{name}: must be at least {least}, not {getattr(self, name)}")
        if self.depth > len(DROPOUT):
            raise InputError(f"depth: must be at most {len(DROPOUT)}, not {self.depth}")
        if self.seed < 0:
            raise InputError(f"seed: must not be negative, not {self.seed}")
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate: must be above 0, not {self.learning_rate}")
        inputs.check(self.inputs)
        if self.normalisation not in get_args(Normalisation):
            options = ", ".join(get_args(Normalisation))
            raise InputError(f"normalisation: must be one of {options}, not {self.normalisation!r}")
        if not self.targets:
            raise InputError('targets: must be "labels", "raw", "truth" or a folder of rasters')


def rate(settings: Settings, ranks: int, step: int, steps: int) -> float:
    """Return the learning rate at a step, counted from the training's start; ``steps`` is those of an epoch."""
    if not settings.scale_rate:
        return settings.learning_rate
    warmup = settings.warmup_epochs * steps
    return settings.learning_rate * (1 + (ranks - 1) * (min(1.0, step / warmup) if warmup else 1.0))


def fit(settings: Settings, report: Report | None = None) -> dict:
    """Train on this rank; rank 0 writes the files.

    Parameters
    ----------
    settings : Settings
    report : callable, optional
        Called on rank 0 after each step with a dict: ``done`` and ``total`` images, those ``before`` this call
        (of a resumed training), ``epochs`` as below so far, ``messages`` for the user so far.

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
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import horovod.tensorflow as hvd
    import tensorflow as tf

    hvd.init()
    rank, ranks = hvd.rank(), hvd.size()
    _share_machine(tf, settings.threads, hvd.local_rank(), hvd.local_size())
    table = _table(settings)
    sides = {side: np.flatnonzero(table["split"] == side) for side in ("train", "test")}
    targets = data.wanted(table, settings.targets, settings.tiles)
    classes = data.legend(sorted({*table["labels"], *filter(None, targets.values())}))
    rule = _rule(table) if settings.inputs == "filtered" else None
    state = {
        "settings": {name: value for name, value in asdict(settings).items() if name not in FREE},
        "global batch": settings.batch * ranks, "tiles": sha256(settings.tiles), "epoch": 0, "history": [],
    }  # fmt: skip

    model, optimizer = _network(settings, inputs.channels(settings.inputs), len(classes))
    variables = [*model.weights, *optimizer.variables]
    messages: list[str] = []
    if settings.resume:
        state, messages = hvd.broadcast_object(_resume(settings, state, variables) if rank == 0 else None)
    hvd.broadcast_variables([variable.value for variable in variables], root_rank=0)
    train_step, test_step = _steps(settings, model, optimizer)
    history, first = state["history"], state["epoch"]
    epochs, images = settings.epochs, len(sides["train"])

    def tell(done: int) -> None:
        if report and rank == 0:
            progress = {"done": first * images + done, "before": first * images, "total": epochs * images}
            report(progress | {"epochs": history, "messages": messages})

    meet = partial(hvd.allgather_object, None)
    with data.shared(settings.out_dir, platform.node(), hvd.local_rank() == 0, meet) as file:
        tiles = data.Tiles(table, settings.inputs, classes, targets, file)
        tell(0)
        found = hvd.allreduce(tf.constant(tiles.fill(hvd.local_rank(), hvd.local_size())), op=hvd.Sum).numpy()
        messages += _one_class(found[: len(classes)], [entry.name for entry in classes])
        for epoch in range(first, epochs):
            start = time.perf_counter()
            _reseed(model, [settings.seed, epoch, rank])
            share = order(images, epoch, settings.seed, settings.batch, rank, ranks)
            turn = [settings.seed, epoch] if settings.augment else None
            counts, numbers = np.zeros(3), np.append(sides["train"], -1)  # so that -1 stays -1
            for step, batch in enumerate(tiles.batches(numbers[share], turn)):
                if settings.scale_rate:
                    optimizer.learning_rate.assign(rate(settings, ranks, epoch * len(share) + step, len(share)))
                counts += train_step(*batch).numpy()
                tell((epoch - first) * images + min(images, (step + 1) * settings.batch * ranks))
            trained = time.perf_counter() - start
            share = order(len(sides["test"]), 0, 0, settings.batch, rank, ranks)
            batches = tiles.batches(np.append(sides["test"], -1)[share])
            seen = sum(test_step(*batch).numpy().astype(float) for batch in batches)
            seen = hvd.allreduce(tf.constant(seen), op=hvd.Sum).numpy()
            if not np.isfinite([*counts, *seen]).all():
                raise InputError(f"epoch {epoch + 1}: the loss is no longer finite; lower learning_rate")
            hashes = _equal_weights(model, hvd, epoch)
            history.append({"epoch": epoch + 1, **_means(counts)} | {f"val_{k}": v for k, v in _means(seen).items()})
            history[-1] |= {"images_per_second": images / trained, "seconds": time.perf_counter() - start}
            mean = sum(each["seconds"] for each in history[first:]) / (epoch + 1 - first)
            history[-1]["seconds_left"] = (epochs - epoch - 1) * mean
            if rank == 0:
                checkpoints.save(settings.out_dir, variables, state | {"epoch": epoch + 1})
                _write_history(settings, history)
            tell((epoch + 1 - first) * images)
    if first == epochs:
        hashes = _equal_weights(model, hvd, epochs - 1)
    seconds = sum(each["seconds"] for each in history)
    result = {
        "settings": asdict(settings),
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
        manifest = {name: result[name] for name in ("ranks", "parameters", "tiles", "weights_sha256", "seconds")}
        manifest |= {"settings": state["settings"] | {"epochs": epochs, "batch": settings.batch}}
        manifest |= {"tiles_sha256": state["tiles"], "versions": {name: metadata.version(name) for name in PACKAGES}}
        card = Card(
            classes, settings.inputs, rule, settings.normalisation, size, _cell(settings), manifest
        )  # fmt: skip
        save_model(model, Path(settings.out_dir) / "model.keras", card)
        _write_history(settings, history)
        write_json(Path(settings.out_dir) / "training.json", result)
    return result


def _table(settings: Settings) -> pd.DataFrame:
    """Read the tile index and make sure that it can be trained on."""
    import pandas as pd

    try:
        table = pd.read_parquet(settings.tiles)
        table = table[table["split"].isin(["train", "test"])].reset_index(drop=True)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{settings.tiles}: not a tile index ({error}); make it with seaicekit.tiles.index") from error
    for side in ("train", "test"):
        if (table["split"] != side).all():
            raise InputError(f"{settings.tiles}: no tiles to {side} on; give more scenes")
    if table["size"].iloc[0] % _cell(settings):
        raise InputError(f"depth: at {settings.depth} tiles must be a multiple of {_cell(settings)} pixels a side")
    return table


def _cell(settings: Settings) -> int:
    return 2 ** (settings.depth - 1)


def _rule(table: pd.DataFrame) -> object:
    """Return the one rule that the labels were made by, for prediction to filter by it, too."""
    rules = [inputs.rule_of(raster)[0] for raster in table["labels"].unique()]
    if any(rule != rules[0] for rule in rules):
        raise InputError('inputs: "filtered" needs labels made by one rule, and these are of several; label again')
    return rules[0]


def _network(settings: Settings, channels: int, classes: int) -> tuple[keras.Model, keras.Optimizer]:
    import keras

    from seaicekit import unet

    keras.utils.set_random_seed(settings.seed)
    with _policy("mixed_bfloat16" if settings.mixed_precision else None):
        model = unet.build(
            channels, classes, settings.width, settings.depth, settings.dropout, settings.normalisation
        )  # fmt: skip
    optimizer = keras.optimizers.Adam(settings.learning_rate)
    optimizer.build(model.trainable_variables)
    return model, optimizer


@contextmanager
def _policy(name: str | None) -> Iterator[None]:
    """Build layers with a policy of Keras' for precision, and leave others as they are."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name or before)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _steps(settings: Settings, model: keras.Model, optimizer: keras.Optimizer) -> tuple[Callable, Callable]:
    """Return the steps of training and testing: (images, codes) → loss, right and valid pixels, (3,) float32.

    Those of training are summed over all ranks, those of testing are this rank's.
    """
    import horovod.tensorflow as hvd
    import keras
    import tensorflow as tf

    def loss_and_counts(images: tf.Tensor, codes: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        valid = tf.cast(codes != NODATA, tf.float32)
        classes = tf.where(codes != NODATA, codes, 0)
        probabilities = model(images, training=training)
        losses = keras.losses.sparse_categorical_crossentropy(classes, probabilities)
        right = tf.cast(tf.argmax(probabilities, -1, tf.int32) == tf.cast(classes, tf.int32), tf.float32)
        loss = tf.reduce_sum(losses * valid)
        return loss, tf.stack([loss, tf.reduce_sum(right * valid), tf.reduce_sum(valid)])

    @tf.function(reduce_retracing=True, jit_compile=settings.xla or None)  # Horovod's operations do not compile
    def compute(images: tf.Tensor, codes: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        with tf.GradientTape() as tape:
            loss, counts = loss_and_counts(images, codes, training=True)
        return tape.gradient(loss, model.trainable_variables), counts

    @tf.function(reduce_retracing=True)
    def train_step(images: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
        gradients, counts = compute(images, codes)
        *gradients, counts = hvd.grouped_allreduce([*gradients, counts], op=hvd.Sum)
        pixels = tf.maximum(counts[2], 1.0)
        optimizer.apply([gradient / pixels for gradient in gradients], model.trainable_variables)
        return counts

    @tf.function(reduce_retracing=True, jit_compile=settings.xla or None)
    def test_step(images: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
        return loss_and_counts(images, codes, training=False)[1]

    return train_step, test_step


def _resume(settings: Settings, state: dict, variables: list[keras.Variable]) -> tuple[dict, list[str]]:
    """Put the newest checkpoint into the variables; return its state and what to tell the user."""
    found = checkpoints.newest(settings.out_dir)
    if not found:
        return state, []
    arrays, saved, messages = found
    old, new = (
        each["settings"] | {"global batch": each["global batch"], "tiles": each["tiles"]} for each in (saved, state)
    )
    other = sorted(name for name in new if old.get(name) != new[name])
    if other:
        raise InputError(f"resume: the checkpoint is of other {', '.join(other)}; give the same, or resume=False")
    if saved["epoch"] > settings.epochs:
        raise InputError(f"epochs: {saved['epoch']} are done, more than {settings.epochs}; give more, or resume=False")
    checkpoints.restore(variables, arrays)
    return saved, messages


def _reseed(model: keras.Model, seed: list[int]) -> None:
    """Start each dropout layer's draws from an epoch's own seed, so that a resumed training draws the same."""
    for number, layer in enumerate(model.layers):
        if hasattr(layer, "seed_generator"):
            layer.seed_generator.state.assign(np.random.default_rng([*seed, number]).integers(2**31, size=2))


def _one_class(counts: np.ndarray, names: list[str]) -> list[str]:
    if not counts.any():
        raise InputError("targets: not one pixel has a class; check the rasters")
    if np.count_nonzero(counts) == 1:
        only = names[int(counts.argmax())]
        return [f"all pixels are {only}, so {only} is all the network can learn; give scenes with other classes, too"]
    return []


def _share_machine(tf: object, threads: int, local_rank: int, local_ranks: int) -> None:
    """Take this rank's part of the cores, and a GPU of its own where there are any (untested)."""
    try:
        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            tf.config.set_visible_devices(gpus[local_rank % len(gpus)], "GPU")
        tf.config.threading.set_intra_op_parallelism_threads(threads or max(1, (os.cpu_count() or 1) // local_ranks))
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        pass  # TensorFlow already runs in this process; its threads stay as they are


def _means(counts: np.ndarray) -> dict[str, float]:
    pixels = max(1.0, counts[2])
    return {"loss": float(counts[0] / pixels), "accuracy": float(counts[1] / pixels)}


def _write_history(settings: Settings, history: list[dict]) -> None:
    import pandas as pd

    with replacing(Path(settings.out_dir) / "history.csv") as place:
        pd.DataFrame(history).to_csv(place, index=False)


def _equal_weights(model: keras.Model, hvd: object, epoch: int) -> list[str]:
    """Return the hash of each rank's weights, all equal."""
    import hashlib

    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    hashes = hvd.allgather_object(digest.hexdigest())
    if len(set(hashes)) > 1:
        raise RuntimeError(f"epoch {epoch + 1}: the ranks' weights differ; report this as a bug")
    return hashes
