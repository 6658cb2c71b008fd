"""About how much room and time a run needs, told before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seaicekit import scenes
from seaicekit.files import InputError
from seaicekit.pipeline import chain, resume
from seaicekit.tiles import TILE_SIZE, channels

# Of the demo, on two cores: what a megapixel takes in a stage, and how much is done just to start one. They
# are there to tell minutes from hours, and nothing else.
SECONDS = {"01_scenes": (6, 0.5), "02_calibrate": (7, 0.3), "03_autolabel": (9, 0.8), "05_map": (10, 2.0)}
TILES_A_SECOND = 20.0  # trained with width 8 on two cores; four times the work with twice the width
RAW, LABEL, MAP = (
    3.1,
    0.4,
    1.0,
)  # bytes a pixel, at most: synthetic scene and truth, label, map with confidence


def megapixels(given: dict[str, Any]) -> float | None:
    """Return how large all scenes are together; None where a search has yet to find them."""
    values = chain.defaults() | given
    if values["search"]:
        return None
    if not values["scenes"]:
        return values["synthetic_count"] * values["synthetic_size"] ** 2 / 1e6
    total = 0
    for path in scenes.find_scenes(values["scenes"]):
        try:
            with scenes.open_reader(path) as reader:
                total += reader.shape[0] * reader.shape[1]
        except InputError:  # a run would set it aside
            continue
    return total / 1e6


def estimate(out: Path, given: dict[str, Any]) -> dict[str, float] | None:
    """Estimate what a run takes: ``seconds`` and ``megabytes``; None where that cannot be known.

    Stages that have run in the folder before are taken to need as long again; the others what the demo needs.
    """
    pixels, values = megapixels(given), chain.defaults() | given
    if pixels is None:
        return None
    record, seconds = resume.Record(out), 0.0
    for step in resume.plan(out, given):
        if not step.run:
            continue
        known = record.stages.get(step.stage, {}).get("seconds")
        if known is None and step.stage == "04_train":
            tiles = pixels * 1e6 / TILE_SIZE**2 * (1 - values["test_fraction"])
            known = 15 + tiles * values["epochs"] / TILES_A_SECOND * (values["width"] / 8) ** 2
        elif known is None:
            start, each = SECONDS[step.stage]
            known = start + each * pixels
        seconds += known
    network = 12 * 8e6 * (values["width"] / 16) ** 2 / 1e6  # weights and optimiser, in three files
    kept = pixels * (LABEL + MAP + (0 if values["scenes"] else RAW)) + 3 * network
    return {"seconds": seconds, "megabytes": kept + pixels * (channels(values["inputs"]) + 1)}
