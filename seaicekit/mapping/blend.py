"""Overlapping tiles over a scene, their probabilities blended, a strip at a time.

A network with same-size convolutions sees zeros beyond a tile's edge, so its output there depends on where
the tile is cut. Each tile therefore loses a margin, and neighbours fade into one another over a further
stretch. The grid of tiles begins a margin beyond the scene's upper left corner. Its steps are multiples of
the network's cell, so that a pixel has the same place in the poolings whatever the tiles' size.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from seaicekit import tiles
from seaicekit.files import InputError
from seaicekit.scenes import Window

if TYPE_CHECKING:
    import keras

    from seaicekit.training import Card

    Image = Callable[[Window], np.ndarray]  # window → (rows, columns, channels) uint8
    Network = Callable[[np.ndarray], np.ndarray]  # (tiles, rows, columns, channels) → probabilities

MARGIN = 32  # pixels of a tile that are thrown away on each side; a multiple of any network's cell
FADE = 32  # pixels over which neighbours fade into one another
SIZE = 512  # pixels a side: larger tiles lose less to margins, smaller ones need less memory
BATCH_PIXELS = 2**19  # at a time through the network


def tile_size(card: Card, size: int | None) -> int:
    """Return the side of the tiles, in pixels.

    Raises
    ------
    InputError
        A size that the model cannot take.
    """
    if card.normalisation == "l2":
        if size not in (None, card.size):
            raise InputError(
                f"size: this model normalises each tile by its columns, so it needs tiles of {card.size} as "
                f"in training, not {size}; leave size out"
            )
        size = card.size
    size = SIZE if size is None else size
    if size % card.cell or size <= 2 * MARGIN + FADE:
        raise InputError(f"size: must be a multiple of {card.cell} above {2 * MARGIN + FADE}, not {size}")
    return size


@functools.lru_cache(maxsize=2)
def compiled(model: keras.Model) -> Network:
    """Return a model as a function that is traced once, whatever the tiles' shape."""
    import tensorflow as tf

    shape = tf.TensorSpec((None, None, None, model.input_shape[-1]), tf.uint8)
    function = tf.function(lambda tiles: model(tiles, training=False), input_signature=[shape])
    return lambda tiles: function(tiles).numpy()


def strips(
    network: Network, read: Image, shape: tuple[int, ...], card: Card, size: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield a scene's probabilities from top to bottom, in strips that do not overlap.

    Parameters
    ----------
    network : callable
        As from `compiled`.
    read : callable
        Returns a window of the scene as the network sees it; see `seaicekit.tiles.prepare_inputs`.
    shape : (rows, columns)
    card : seaicekit.training.Card
    size : int
        As from `tile_size`.

    Yields
    ------
    rows : slice
    probabilities : (rows, columns, classes) float32
    """
    whole = card.normalisation == "l2"  # else a small scene gets a tile no larger than itself
    tall, wide = (size if whole else min(size, _padded(length, card.cell)) for length in shape)
    tops, lefts = (_starts(length, side) for length, side in zip(shape, (tall, wide), strict=True))
    down, across = _ramp(tall), _ramp(wide)
    weight = (down[:, None] * across)[..., None]
    sums, norm = _covered(tops, down, shape[0]), _covered(lefts, across, shape[1])[:, None]
    total = np.zeros(
        (tall, shape[1] + 2 * (MARGIN + wide), len(card.legend)), np.float32
    )  # from MARGIN left of it
    batches = _batches(read, shape, (tops, lefts), (tall, wide))
    for (number, part), probabilities in _classified(network, batches):
        for left, each in zip(part, probabilities, strict=True):
            total[:, left + MARGIN : left + MARGIN + wide] += weight * each
        if part[-1] != lefts[-1]:
            continue
        # Further tiles begin to count a margin below their own top.
        top, last = tops[number], number + 1 == len(tops)
        begin, end = top + MARGIN, shape[0] if last else tops[number + 1] + MARGIN
        done = total[begin - top : end - top, MARGIN : MARGIN + shape[1]]
        yield slice(begin, end), done / (sums[begin:end, None, None] * norm)
        if not last:
            step = tops[number + 1] - top
            total[: tall - step] = total[step:]
            total[tall - step :] = 0


def _batches(
    read: Image, shape: tuple[int, ...], starts: tuple[range, range], sides: tuple[int, int]
) -> Iterator[tuple[tuple[int, Sequence[int]], np.ndarray]]:
    """Yield (number of the row of tiles, their left edges) and the tiles, the scene mirrored at its edges.

    A mirrored edge is more like ice that goes on than zeros are.
    """
    (tops, lefts), (tall, wide) = starts, sides
    many = max(1, BATCH_PIXELS // (tall * wide))
    cols = _mirrored(np.arange(-MARGIN, shape[1] + MARGIN + wide), shape[1])
    for number, top in enumerate(tops):
        rows = _mirrored(np.arange(top, top + tall), shape[0])
        first = int(rows.min())
        strip = read(Window(first, 0, int(rows.max()) + 1 - first, shape[1]))[rows - first][:, cols]
        for start in range(0, len(lefts), many):
            part = lefts[start : start + many]
            yield (number, part), np.stack([strip[:, left + MARGIN : left + MARGIN + wide] for left in part])


def _mirrored(places: np.ndarray, length: int) -> np.ndarray:
    """Return indices into a side of a scene; those beyond its edges are mirrored at them."""
    places = places % (2 * length)
    return np.minimum(places, 2 * length - 1 - places)


def _classified(
    network: Network, batches: Iterator[tuple[Any, np.ndarray]]
) -> Iterator[tuple[Any, np.ndarray]]:
    """Yield each batch's place and probabilities; the network works on the next batch meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        pending: deque = deque()
        for place, tiles in batches:
            pending.append((place, pool.submit(network, tiles)))
            if len(pending) > 1:
                place, result = pending.popleft()
                yield place, result.result()
        for place, result in pending:
            yield place, result.result()


def _padded(length: int, cell: int) -> int:
    """Return the side of one tile that holds a whole scene."""
    return -(-(length + 2 * MARGIN) // cell) * cell


def _starts(length: int, side: int) -> range:
    """Return where tiles begin along one side of a scene."""
    return range(-MARGIN, max(1, length - FADE) - MARGIN, max(1, side - 2 * MARGIN - FADE))


def _ramp(side: int) -> np.ndarray:
    """Return a tile's weights along one side: 0 in its margin, 1 in its middle."""
    depth = np.minimum(np.arange(side), np.arange(side)[::-1])
    return np.clip((depth - MARGIN + 0.5) / FADE, 0, 1).astype(np.float32)


def _covered(starts: range, ramp: np.ndarray, length: int) -> np.ndarray:
    """Return the sum of all tiles' weights, (length,), at each pixel along a side of the scene."""
    total = np.zeros(starts[-1] + len(ramp) + 2 * MARGIN + length, np.float32)
    for start in starts:
        total[start + MARGIN : start + MARGIN + len(ramp)] += ramp
    return total[MARGIN : MARGIN + length]


def classify(
    model: keras.Model,
    card: Card,
    bands: np.ndarray,
    nodata: np.ndarray,
    size: int | None = None,
    **prepared: Any,
) -> np.ndarray:
    """Return class probabilities, (rows, columns, classes) float32, of a scene in memory.

    Parameters
    ----------
    model, card
        As from `seaicekit.training.load_model`.
    bands, nodata : (3, rows, columns) uint8, (rows, columns) bool
    size : int, optional
        Pixels a side of the tiles; see `seaicekit.predict`.
    **prepared
        ``resolution`` and ``scl``, as for `seaicekit.tiles.prepare_inputs`.
    """
    image = tiles.prepare_inputs(bands, nodata, card.inputs, card.rule, **prepared)
    parts = strips(
        compiled(model), lambda window: image[window.slices], nodata.shape, card, tile_size(card, size)
    )
    return np.concatenate([part for _, part in parts])
