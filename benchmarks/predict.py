"""How fast whole scenes are mapped: ``python -m benchmarks predict``.

A map needs reading, blending and writing beside the network. So it is timed against Keras' own ``predict`` on
the very tiles that the map is made of, in turn, in one process.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import medians, row, seconds
from seaicekit import engines, mapping, scenes, tiles, training
from seaicekit.files import InputError
from seaicekit.labels import autolabel
from seaicekit.training import Card

REPEATS = 5
NETS = {"the paper's network": (16, 6), "a small network": (8, 4)}  # width, depth
PARTS = ("keras", "spark", "agreement")
EPOCHS = 12


def run(
    size: int = 2048, parts: Sequence[str] | None = None, repeats: int = REPEATS
) -> tuple[list[dict], dict]:
    """Measure prediction with untrained networks, whose weights do not matter to the time.

    Parameters
    ----------
    size : int
        Pixels a side of the scene.
    parts : sequence of str, optional
        Of "keras", "spark", and "agreement" of maps by tiles of other sizes and from other origins; all by
        default.
    repeats : int
        In turn; what is told is of medians.

    Returns
    -------
    rows : list of dict
        As from `benchmarks.row`.
    raw : dict
        Seconds of each turn.
    """
    unknown = set(parts or ()) - set(PARTS)
    if unknown:
        raise InputError(f"part: must be of {', '.join(PARTS)}, not {unknown.pop()!r}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    rows: list[dict] = []
    raw: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = [scenes.write_synthetic(folder, number, (size, size), 0.4)[0] for number in (1, 2)]
        for name, (width, depth) in NETS.items():
            card = Card(cell=2 ** (depth - 1))
            model = training.build(width=width, depth=depth)
            if "keras" in (parts or PARTS):
                rows += _keras(name, model, card, paths, folder, repeats, raw)
        if "spark" in (parts or PARTS):
            rows += _spark(model, card, paths, folder, raw)
        if "agreement" in (parts or PARTS):
            for depth in (4, 6):
                rows += _agreement(depth, size, Path(folder) / "agreement", raw)
    return rows, raw


def _keras(
    name: str, model: Any, card: Card, paths: list[Path], folder: str, repeats: int, raw: dict
) -> list[dict]:
    """Compare maps with `keras.Model.predict` on their tiles."""
    cut = np.concatenate([_tiles(path, card) for path in paths])
    many = max(1, mapping.BATCH_PIXELS // cut[0, ..., 0].size)
    taken = seconds(
        {
            "map": lambda: mapping.predict((model, card), paths, tempfile.mkdtemp(dir=folder)),
            "keras": lambda: model.predict(cut, batch_size=many, verbose=0),
        },
        repeats,
    )
    raw[name], found = taken, medians(taken)
    pixels = sum(np.prod(_shape(path)) for path in paths) / 1e6
    note = f"{len(cut)} tiles of {cut.shape[1]} x {cut.shape[2]}, {pixels / found['map']:.2f} megapixels a second"
    what = f"{name}: tiles a second, times those of Keras' predict"
    return [row("keras", what, found["keras"] / found["map"], ">= 0.95", note)]


def _shape(path: Path) -> tuple[int, int]:
    with scenes.open_reader(path) as reader:
        return reader.shape


def _tiles(path: Path, card: Card) -> np.ndarray:
    """Return the tiles that a map is made of, (tiles, rows, columns, 3) uint8."""
    seen: list[np.ndarray] = []

    def network(part: np.ndarray) -> np.ndarray:
        seen.extend(part)
        return np.ones((*part.shape[:3], len(card.legend)), np.float32)

    with scenes.open_reader(path) as reader:
        image = np.ascontiguousarray(reader.read()[0].transpose(1, 2, 0))
    for _ in mapping.strips(
        network, lambda window: image[window.slices], image.shape[:2], card, mapping.SIZE
    ):
        pass
    return np.stack(seen)


def _spark(model: Any, card: Card, paths: list[Path], folder: str, raw: dict) -> list[dict]:
    """Compare two of Spark's processes with this one.

    The first job, in which each loads TensorFlow, is not counted.
    """
    file = Path(folder) / "model.keras"
    training.save_model(model, file, card)
    with engines.spark_session("local[2]"):
        taken = seconds(
            {
                "serial": lambda: mapping.predict(file, paths, tempfile.mkdtemp(dir=folder)),
                "spark": lambda: mapping.predict(
                    file, paths, tempfile.mkdtemp(dir=folder), engine="spark", master="local[2]"
                ),
            },
            2,
        )
    raw["spark"], found = taken, medians(taken)
    note = f"{len(paths)} scenes; this process has both cores, too"
    return [row("spark", "local[2]: times serial's speed", found["serial"] / found["spark"], "", note)]


def _agreement(depth: int, size: int, folder: Path, raw: dict) -> list[dict]:
    """Train a network until it is right about most, and compare its maps pixel by pixel."""
    if not folder.is_dir():
        scenes.write_synthetic_set(folder, 4, 512)
        labelled = autolabel(
            sorted((folder / "scenes").iterdir()), folder / "labels", engine="serial", progress=False
        )
        tiles.index_tiles(labelled, folder / "tiles.parquet")
    training.train(
        folder / "tiles.parquet",
        folder / str(depth),
        ranks=1,
        launcher="inprocess",
        progress=False,
        depth=depth,
        width=8,
        batch=2,
        epochs=EPOCHS * (1 + 2 * (depth > 4)),
        learning_rate=0.002,
    )
    model, card = training.load_model(folder / str(depth) / "model.keras")
    scene, truth = scenes.synthetic_scene(99, (size, size), 0.3)
    bands, valid = scene.values, ~scene.coords["nodata"].values

    def classes(move: int, side: int) -> np.ndarray:
        moved = bands[:, move:, move:], ~valid[move:, move:]
        return mapping.classify(model, card, *moved, side).argmax(axis=-1)

    whole = classes(0, 256)
    found = {"tiles of 512": [(classes(0, 512) != whole)[valid].mean()]}
    for name, moves in {
        "offsets by the cell": (1, 3, 7),
        "other offsets": (1 / card.cell, 3 / card.cell, 0.5),
    }.items():
        shifts = [round(card.cell * each) for each in moves]
        found[name] = [
            (classes(move, 256) != whole[move:, move:])[valid[move:, move:]].mean() for move in shifts
        ]
    raw[f"agreement, {depth} levels"] = {
        name: [float(each) for each in shares] for name, shares in found.items()
    }
    right = f"a network that is right about {100 * (whole == truth.values)[valid].mean():.0f} %"
    return [
        row(
            "agreement",
            f"{depth} levels, {name}: share of pixels that differ, at most",
            max(shares),
            "" if name == "other offsets" else "<= 0.001",
            f"from tiles of 256 at the origin; {right}",
        )
        for name, shares in found.items()
    ]
