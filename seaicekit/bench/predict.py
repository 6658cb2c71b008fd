"""How fast whole scenes are mapped: ``seaicekit bench predict``.

A map needs reading, blending and writing beside the network. So it is timed against Keras' own ``predict`` on
the very tiles that the map is made of, in turn, in one process.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seaicekit import engines, mapping, models, scenes, synthetic, unet
from seaicekit.bench import medians, row, seconds
from seaicekit.files import InputError
from seaicekit.mapping import blend
from seaicekit.models import Card

REPEATS = 5
NETS = {"the paper's network": (16, 6), "a small network": (8, 4)}  # width, depth
PARTS = ("keras", "spark")


def run(size: int = 2048, parts: Sequence[str] | None = None, repeats: int = REPEATS) -> tuple[list[dict], dict]:
    """Measure prediction with untrained networks, whose weights do not matter to the time.

    Parameters
    ----------
    size : int
        Pixels a side of the scene.
    parts : sequence of str, optional
        Of "keras" and "spark"; all by default.
    repeats : int
        In turn; what is told is of medians.

    Returns
    -------
    rows : list of dict
        As from `seaicekit.bench.row`.
    raw : dict
        Seconds of each turn.
    """
    unknown = set(parts or ()) - set(PARTS)
    if unknown:
        raise InputError(f"part: must be of {', '.join(PARTS)}, not {unknown.pop()!r}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    rows, raw = [], {}
    with tempfile.TemporaryDirectory() as folder:
        paths = [synthetic.write(folder, number, (size, size), 0.4)[0] for number in (1, 2)]
        for name, (width, depth) in NETS.items():
            card = Card(cell=2 ** (depth - 1))
            model = unet.build(width=width, depth=depth)
            if "keras" in (parts or PARTS):
                rows += _keras(name, model, card, paths, folder, repeats, raw)
        if "spark" in (parts or PARTS):
            rows += _spark(model, card, paths, folder, raw)
    return rows, raw


def _keras(name: str, model: object, card: Card, paths: list[Path], folder: str, repeats: int, raw: dict) -> list[dict]:
    """Compare maps with `keras.Model.predict` on their tiles."""
    tiles = np.concatenate([_tiles(path, card) for path in paths])
    many = max(1, blend.BATCH_PIXELS // tiles[0, ..., 0].size)
    taken = seconds(
        {
            "map": lambda: mapping.predict((model, card), paths, folder),
            "keras": lambda: model.predict(tiles, batch_size=many, verbose=0),
        },
        repeats,
    )
    raw[name], found = taken, medians(taken)
    pixels = sum(np.prod(_shape(path)) for path in paths) / 1e6
    note = f"{len(tiles)} tiles of {tiles.shape[1]} x {tiles.shape[2]}, {pixels / found['map']:.2f} megapixels a second"
    what = f"{name}: tiles a second, times those of Keras' predict"
    return [row("keras", what, found["keras"] / found["map"], ">= 0.95", note)]


def _shape(path: Path) -> tuple[int, int]:
    with scenes.reading(path) as reader:
        return reader.shape


def _tiles(path: Path, card: Card) -> np.ndarray:
    """Return the tiles that a map is made of, (tiles, rows, columns, 3) uint8."""
    seen: list[np.ndarray] = []

    def network(tiles: np.ndarray) -> np.ndarray:
        seen.extend(tiles)
        return np.ones((*tiles.shape[:3], len(card.legend)), np.float32)

    with scenes.reading(path) as reader:
        image = np.ascontiguousarray(reader.read()[0].transpose(1, 2, 0))
    for _ in blend.strips(network, lambda window: image[window.slices], image.shape[:2], card, blend.SIZE):
        pass
    return np.stack(seen)


def _spark(model: object, card: Card, paths: list[Path], folder: str, raw: dict) -> list[dict]:
    """Compare two of Spark's processes with this one; the first job, in which each loads TensorFlow, is not counted."""
    file = Path(folder) / "model.keras"
    models.save(model, file, card)
    with engines.spark_session("local[2]"):
        taken = seconds(
            {
                "serial": lambda: mapping.predict(file, paths, folder),
                "spark": lambda: mapping.predict(file, paths, folder, engine="spark", master="local[2]"),
            },
            2,
        )
    raw["spark"], found = taken, medians(taken)
    note = f"{len(paths)} scenes; this process has both cores, too"
    return [row("spark", "local[2]: times serial's speed", found["serial"] / found["spark"], "", note)]
