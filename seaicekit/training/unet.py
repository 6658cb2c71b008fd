"""The U-Net (Ronneberger et al. 2015, arXiv 1505.04597) in the paper's dimensions (arXiv 2403.13135, IV)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from seaicekit.files import InputError, require

if TYPE_CHECKING:
    import keras

Normalisation = Literal["scale", "l2"]
DROPOUT = (0.1, 0.1, 0.2, 0.2, 0.2, 0.3)  # by level, from the image down


def build(
    channels: int = 3,
    classes: int = 3,
    width: int = 16,
    depth: int = 6,
    dropout: bool = True,
    normalisation: Normalisation = "scale",
) -> keras.Model:
    """Build an untrained U-Net.

    Parameters
    ----------
    channels : int
        Bands of the image, 1 or 3 here.
    classes : int
        Entries of the legend.
    width : int
        Filters of the first level; each level below has twice as many. 16 in the paper.
    depth : int
        Levels, 1 to 6. 6 in the paper: 7,775,347 parameters with one channel, 7,775,635 with three.
    dropout : bool
        Leave out features at random in training, as the paper does.
    normalisation : "scale" or "l2"
        "scale" makes 0–255 to 0–1. "l2" divides each column of a tile by the root of its sum of squares, as
        the paper's ``keras.utils.normalize(axis=1)`` does; what it gives then depends on the tile's rows.

    Returns
    -------
    keras.Model
        From (batch, rows, columns, channels) uint8, rows and columns multiples of 2^(depth - 1), to
        (batch, rows, columns, classes) float32 probabilities. It normalises its input itself.

    Raises
    ------
    InputError
        A width or depth out of range, an unknown normalisation.
    """
    require("train", "a network", "tensorflow", "keras")
    import keras
    from keras import layers

    if not 1 <= depth <= len(DROPOUT) or width < 1:
        raise InputError(f"depth: must be 1 to {len(DROPOUT)} and width at least 1, not {depth} and {width}")

    if normalisation not in get_args(Normalisation):
        raise InputError(
            f"normalisation: must be one of {', '.join(get_args(Normalisation))}, not {normalisation!r}"
        )

    def convolutions(x: keras.KerasTensor, level: int) -> keras.KerasTensor:
        for last in (False, True):
            x = layers.Conv2D(
                width * 2**level, 3, padding="same", activation="relu", kernel_initializer="he_normal"
            )(x)
            x = x if last or not dropout else layers.Dropout(DROPOUT[level])(x)
        return x

    image = keras.Input((None, None, channels), dtype="uint8")
    # In full precision whatever the rest computes in, as the probabilities are.
    x, skips = layers.Rescaling(1 / 255, dtype="float32")(image), []
    if normalisation == "l2":
        x = layers.UnitNormalization(axis=1, dtype="float32")(x)
    for level in range(depth - 1):
        skips.append(convolutions(x, level))
        x = layers.MaxPooling2D()(skips[-1])
    x = convolutions(x, depth - 1)
    for level in reversed(range(depth - 1)):
        x = layers.Conv2DTranspose(width * 2**level, 2, strides=2, padding="same")(x)
        x = convolutions(layers.concatenate([x, skips[level]]), level)
    return keras.Model(
        image, layers.Conv2D(classes, 1, activation="softmax", dtype="float32")(x), name="unet"
    )
