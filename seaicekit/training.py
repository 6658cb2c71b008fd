"""Train the U-Net on this rank, in step with the others.

`fit` runs once on each Horovod rank, whoever started it. All ranks walk through one random order of the
tiles; a global batch is cut among them; gradients are summed over the valid pixels of all ranks and divided
by their number, so that the step is that of one rank with the whole batch.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from seaicekit.classes import LEGEND, NODATA
from seaicekit.files import InputError, replacing, write_json
from seaicekit.unet import DROPOUT


@dataclass(frozen=True)
class Settings:
    """What a training needs to know.

    Parameters
    ----------
    tiles : str
        Path of the tile index.
    out_dir : str
        Gets ``model.keras``, ``history.csv`` and ``training.json``.
    epochs, batch, learning_rate, seed
        ``batch`` is per rank; 50, 16 and Adam's 0.001 in the paper.
    width, depth
        Of the U-Net; see `seaicekit.unet.build`.
    augment : bool
        Flip and turn the tiles at random.
    dropout : bool
        Leave out features at random, as the paper does.
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

    def __post_init__(self):
        for name in ("epochs", "batch", "width", "depth"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: must be at least 1, not {getattr(self, name)}")
        if self.depth > len(DROPOUT):
            raise InputError(f"depth: must be at most {len(DROPOUT)}, not {self.depth}")
        if self.seed < 0:
            raise InputError(f"seed: must not be negative, not {self.seed}")
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate: must be above 0, not {self.learning_rate}")


def order(count: int, epoch: int, seed: int, batch: int, rank: int, ranks: int) -> np.ndarray:
    """Return which samples a rank sees in an epoch, (steps, batch) int, -1 for none.

    Over all ranks each sample comes once; step by step the ranks together see what one rank with a batch
    ``ranks`` times as large would see.
    """
    steps = -(-count // (batch * ranks))
    samples = np.full(steps * ranks * batch, -1)
    samples[:count] = np.random.default_rng([seed, epoch]).permutation(count)
    return samples.reshape(steps, ranks, batch)[:, rank]


def fit(settings: Settings) -> dict:
    """Train on this rank; rank 0 writes the files.

    Returns
    -------
    dict
        ``settings``, ``ranks``, ``parameters``, ``tiles`` (counts by split), ``weights_sha256`` (one a rank,
        all equal), ``seconds``, ``images_per_second``, and ``epochs``: a list with ``loss``, ``accuracy``,
        ``val_loss``, ``val_accuracy``, ``seconds`` of each. Losses are means over valid pixels of all ranks.

    Raises
    ------
    InputError
        No tiles to train or to test on, tiles that the depth does not fit, a loss that diverges.
    RuntimeError
        The ranks' weights have drifted apart.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import horovod.tensorflow as hvd
    import keras
    import pandas as pd
    import tensorflow as tf

    from seaicekit import tiles, unet

    hvd.init()
    rank, ranks = hvd.rank(), hvd.size()
    _share_cores(tf, hvd.local_size())
    table = pd.read_parquet(settings.tiles)
    train, test = (table[table["split"] == split] for split in ("train", "test"))
    if train.empty or test.empty:
        raise InputError(f"{settings.tiles}: no tiles to {'train' if train.empty else 'test'} on; give more scenes")
    if table["size"].iloc[0] % 2 ** (settings.depth - 1):
        cell = 2 ** (settings.depth - 1)
        raise InputError(f"depth: at {settings.depth} tiles must be a multiple of {cell} pixels a side")
    train_tiles, test_tiles = tiles.load(train), tiles.load(test)

    keras.utils.set_random_seed(settings.seed + rank)  # the first weights are broadcast, dropout differs
    model = unet.build(3, len(LEGEND), settings.width, settings.depth, settings.dropout)
    optimizer = keras.optimizers.Adam(settings.learning_rate)
    optimizer.build(model.trainable_variables)
    hvd.broadcast_variables([v.value for v in [*model.weights, *optimizer.variables]], root_rank=0)

    def loss_and_counts(images: tf.Tensor, codes: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        valid = tf.cast(codes != NODATA, tf.float32)
        classes = tf.where(codes != NODATA, codes, 0)
        probabilities = model(images, training=training)
        losses = keras.losses.sparse_categorical_crossentropy(classes, probabilities)
        right = tf.cast(tf.argmax(probabilities, -1, tf.int32) == tf.cast(classes, tf.int32), tf.float32)
        loss = tf.reduce_sum(losses * valid)
        return loss, tf.stack([loss, tf.reduce_sum(right * valid), tf.reduce_sum(valid)])

    @tf.function(reduce_retracing=True)
    def train_step(images: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss, counts = loss_and_counts(images, codes, training=True)
        gradients = tape.gradient(loss, model.trainable_variables)
        *gradients, counts = hvd.grouped_allreduce([*gradients, counts], op=hvd.Sum)
        pixels = tf.maximum(counts[2], 1.0)
        optimizer.apply([gradient / pixels for gradient in gradients], model.trainable_variables)
        return counts

    @tf.function(reduce_retracing=True)
    def test_step(images: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
        return loss_and_counts(images, codes, training=False)[1]

    history, began = [], time.perf_counter()
    for epoch in range(settings.epochs):
        start = time.perf_counter()
        share = order(len(train), epoch, settings.seed, settings.batch, rank, ranks)
        turn = [settings.seed, epoch] if settings.augment else None
        counts = sum(train_step(*batch).numpy().astype(float) for batch in batches(*train_tiles, share, turn))
        share = order(len(test), 0, 0, settings.batch, rank, ranks)
        seen = sum(test_step(*batch).numpy().astype(float) for batch in batches(*test_tiles, share))
        seen = hvd.allreduce(tf.constant(seen), op=hvd.Sum).numpy()
        if not np.isfinite([*counts, *seen]).all():
            raise InputError(f"epoch {epoch + 1}: the loss is no longer finite; lower learning_rate")
        hashes = hvd.allgather_object(_weights_hash(model))
        if len(set(hashes)) > 1:
            raise RuntimeError(f"epoch {epoch + 1}: the ranks' weights differ; report this as a bug")
        history.append(
            {
                "epoch": epoch + 1,
                **_means(counts),
                **{f"val_{name}": value for name, value in _means(seen).items()},
                "seconds": time.perf_counter() - start,
            }  # fmt: skip
        )
        if rank == 0:
            with replacing(Path(settings.out_dir) / "history.csv") as place:
                pd.DataFrame(history).to_csv(place, index=False)
    seconds = time.perf_counter() - began
    result = {
        "settings": asdict(settings),
        "ranks": ranks,
        "parameters": model.count_params(),
        "tiles": {"train": len(train), "test": len(test)},
        "weights_sha256": hashes,
        "seconds": seconds,
        "images_per_second": len(train) * settings.epochs / seconds,
        "epochs": history,
    }
    if rank == 0:
        with replacing(Path(settings.out_dir) / "model.keras") as place:
            model.save(place)
        write_json(Path(settings.out_dir) / "training.json", result)
    return result


def batches(images: np.ndarray, codes: np.ndarray, share: np.ndarray, turn: list[int] | None = None):
    """Return a ``tf.data.Dataset`` of (images, codes) batches, uint8, for the rows of ``share``.

    A sample -1 is all no data. With ``turn``, a seed, each sample is flipped and turned by a draw of its
    own, which does not depend on the number of ranks.
    """
    import tensorflow as tf

    def gather(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = np.zeros((len(samples), *images.shape[1:]), np.uint8)
        y = np.full((len(samples), *codes.shape[1:]), NODATA, np.uint8)
        for place, sample in enumerate(samples):
            if sample < 0:
                continue
            draw = np.random.default_rng([*turn, sample]).integers(8) if turn else 0
            for target, source in ((x, images), (y, codes)):
                turned = np.rot90(source[sample], draw % 4)
                target[place] = turned[::-1] if draw >= 4 else turned
        return x, y

    def shaped(samples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x, y = tf.numpy_function(gather, [samples], (tf.uint8, tf.uint8), stateful=False)
        return tf.ensure_shape(x, (None, *images.shape[1:])), tf.ensure_shape(y, (None, *codes.shape[1:]))

    return tf.data.Dataset.from_tensor_slices(share).map(shaped).prefetch(2)


def _share_cores(tf: object, local_ranks: int) -> None:
    try:
        tf.config.threading.set_intra_op_parallelism_threads(max(1, (os.cpu_count() or 1) // local_ranks))
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        pass  # TensorFlow already runs in this process; its threads stay as they are


def _means(counts: np.ndarray) -> dict[str, float]:
    pixels = max(1.0, counts[2])
    return {"loss": float(counts[0] / pixels), "accuracy": float(counts[1] / pixels)}


def _weights_hash(model: object) -> str:
    import hashlib

    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


if __name__ == "__main__":  # how horovodrun starts a rank: python -m seaicekit.training SETTINGS.json
    fit(Settings(**json.loads(Path(sys.argv[1]).read_text())))
