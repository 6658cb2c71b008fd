"""A network, and the steps by which all ranks train it together."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from seaicekit.classes import NODATA

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from seaicekit.training.settings import Settings


def network(settings: Settings, channels: int, classes: int) -> tuple[keras.Model, keras.Optimizer]:
    """Build an untrained network and its optimiser, the same on every rank."""
    import keras

    from seaicekit.training import unet

    keras.utils.set_random_seed(settings.seed)
    before = keras.config.dtype_policy()
    if settings.mixed_precision:
        keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = unet.build(
            channels, classes, settings.width, settings.depth, settings.dropout, settings.normalisation
        )
    finally:
        keras.config.set_dtype_policy(before)
    optimizer = keras.optimizers.Adam(settings.learning_rate)
    optimizer.build(model.trainable_variables)
    return model, optimizer


def compile_steps(model: keras.Model, optimizer: keras.Optimizer) -> tuple[Callable, Callable]:
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

    return train_step, test_step


def reseed(model: keras.Model, seed: list[int]) -> None:
    """Seed each dropout layer anew for an epoch, so that a resumed training draws the same."""
    for number, layer in enumerate(model.layers):
        if hasattr(layer, "seed_generator"):
            layer.seed_generator.state.assign(np.random.default_rng([*seed, number]).integers(2**31, size=2))


def share_machine(threads: int, local_rank: int, local_ranks: int) -> None:
    """Give this rank its part of the cores, and a GPU of its own where there are any (untested)."""
    import tensorflow as tf

    try:
        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            tf.config.set_visible_devices(gpus[local_rank % len(gpus)], "GPU")
        tf.config.threading.set_intra_op_parallelism_threads(
            threads or max(1, (os.cpu_count() or 1) // local_ranks)
        )
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        pass  # TensorFlow already runs in this process; its threads stay as they are


def equal_weights(model: keras.Model, epoch: int) -> list[str]:
    """Return the hash of each rank's weights, all equal.

    Raises
    ------
    RuntimeError
        They differ.
    """
    import horovod.tensorflow as hvd

    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    hashes = hvd.allgather_object(digest.hexdigest())
    if len(set(hashes)) > 1:
        raise RuntimeError(f"epoch {epoch + 1}: the ranks' weights differ; report this as a bug")
    return hashes
