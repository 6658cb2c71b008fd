"""How fast whole scenes are mapped: ``python -m benchmarks predict``.

A map needs reading, blending and writing beside the network. So it is timed against Keras' own ``predict`` on
the very tiles that the map is made of, in turn, in one process.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import seaicekit as sik
from benchmarks import Raw, Rows, medians, row, run_parts, seconds
from seaicekit import mapping, training
from seaicekit.training import Card

REPEATS = 5
NETWORKS = {"the paper's network": (16, 6), "a small network": (8, 4)}  # width, depth
EPOCHS = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's own options."""
    parser.add_argument(
        "--size", type=int, default=2048, metavar="PIXELS", help="a side (default: %(default)s)"
    )


def run(parts: Sequence[str], size: int = 2048) -> tuple[Rows, Raw]:
    """Measure prediction on scenes of ``size`` pixels a side.

    "keras" times untrained networks, whose weights do not matter to the time; "agreement" compares maps that
    are made of tiles of other sizes and from other origins.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with tempfile.TemporaryDirectory() as folder:
        return run_parts(PARTS, parts, size, Path(folder))


def against_keras(size: int, folder: Path) -> tuple[Rows, Raw]:
    """Compare maps with `keras.Model.predict` on their tiles."""
    paths = [sik.scenes.write_synthetic(folder, number, (size, size), 0.4)[0] for number in (1, 2)]
    rows, raw = [], {}
    for name, (width, depth) in NETWORKS.items():
        card, model = Card(cell=2 ** (depth - 1)), training.build(width=width, depth=depth)
        tiles = np.concatenate([_tiles(path, card) for path in paths])
        batch = max(1, mapping.BATCH_PIXELS // tiles[0, ..., 0].size)

        def make_maps(model=model, card=card) -> None:
            mapping.predict((model, card), paths, tempfile.mkdtemp(dir=folder))

        def predict_tiles(model=model, tiles=tiles, batch=batch) -> None:
            model.predict(tiles, batch_size=batch, verbose=0)

        raw[name] = seconds({"map": make_maps, "keras": predict_tiles}, REPEATS)
        median = medians(raw[name])
        speed = len(paths) * size**2 / 1e6 / median["map"]
        note = f"{len(tiles)} tiles of {tiles.shape[1]} x {tiles.shape[2]}, {speed:.2f} megapixels a second"
        what = f"{name}: tiles a second, times those of Keras' predict"
        rows.append(row("keras", what, median["keras"] / median["map"], ">= 0.95", note))
    return rows, raw


def _tiles(path: Path, card: Card) -> np.ndarray:
    """Return the tiles that a map is made of, (tiles, rows, columns, 3) uint8."""
    image = np.ascontiguousarray(sik.open_scene(path).values.transpose(1, 2, 0))
    tiles: list[np.ndarray] = []

    def network(part: np.ndarray) -> np.ndarray:
        tiles.extend(part)
        return np.ones((*part.shape[:3], len(card.legend)), np.float32)

    list(mapping.strips(network, lambda window: image[window.slices], image.shape[:2], card, mapping.SIZE))
    return np.stack(tiles)


def agreement(size: int, folder: Path) -> tuple[Rows, Raw]:
    """Train networks until they are right about most pixels, and compare their maps pixel by pixel."""
    folder = sik.scenes.write_synthetic_set(folder / "agreement", 4, 512).parent
    paths, index = sorted((folder / "scenes").glob("*.tif")), folder / "tiles.parquet"
    sik.tiles.index_tiles(sik.autolabel(paths, folder / "labels", engine="serial", progress=False), index)
    scene, truth = sik.scenes.synthetic_scene(99, (size, size), 0.3)
    valid = ~scene.coords["nodata"].values
    rows: Rows = []
    raw: Raw = {}
    for depth, epochs in ((4, EPOCHS), (6, 3 * EPOCHS)):
        settings: dict[str, Any] = {
            "depth": depth,
            "width": 8,
            "batch": 2,
            "epochs": epochs,
            "learning_rate": 0.002,
        }
        settings |= {"ranks": 1, "launcher": "inprocess", "progress": False}
        sik.train(index, folder / str(depth), **settings)
        model, card = training.load_model(folder / str(depth) / "model.keras")

        def classes(move: int, side: int, model: Any = model, card: Card = card) -> np.ndarray:
            moved = scene.values[:, move:, move:], ~valid[move:, move:]
            return mapping.classify(model, card, *moved, side).argmax(axis=-1)

        whole = classes(0, 256)
        differ = {"tiles of 512": [(classes(0, 512) != whole)[valid].mean()]}
        cells = [card.cell, 3 * card.cell, 7 * card.cell]  # the steps in which the network's poolings repeat
        for name, steps in (("offsets by the cell", cells), ("other offsets", [1, 3, card.cell // 2])):
            differ[name] = [(classes(s, 256) != whole[s:, s:])[valid[s:, s:]].mean() for s in steps]
        raw[f"{depth} levels"] = {name: np.array(shares).tolist() for name, shares in differ.items()}
        right = f"a network that is right about {100 * (whole == truth.values)[valid].mean():.0f} %"
        for name, shares in differ.items():
            what = f"{depth} levels, {name}: share of pixels that differ, at most"
            target = "" if name == "other offsets" else "<= 0.001"
            note = f"from tiles of 256 at the origin; {right}"
            rows.append(row("agreement", what, max(shares), target, note))
    return rows, raw


PARTS = {"keras": against_keras, "agreement": agreement}
