"""How good fits to a few points are: shares of what the best two cuts reach, on pixels with known truth."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import row
from seaicekit import scenes, thresholds
from seaicekit.thresholds import Thresholds

DRAWS = 60
PIXELS = 20_000
SHAPES = {  # brightness of water, thin and thick ice: each a draw of so many pixels
    "even spreads": lambda rng, n: [rng.normal(m, 18, k) for m, k in zip((30, 120, 215), n, strict=True)],
    "uneven spreads": lambda rng, n: [
        rng.normal(20, 6, n[0]),
        rng.normal(110, 38, n[1]),
        rng.normal(205, 16, n[2]),
    ],
    "skewed": lambda rng, n: [
        90 * rng.beta(1.5, 6, n[0]),
        50 + 160 * rng.beta(3, 2.2, n[1]),
        150 + 105 * rng.beta(5, 1.6, n[2]),
    ],
}
SHARES = {"3/15/82 %": (0.03, 0.15, 0.82), "70/20/10 %": (0.7, 0.2, 0.1), "third each": (1 / 3, 1 / 3, 1 / 3)}


def cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return name → (brightness (N,) uint8, class (N,) int) of made-up classes and of synthetic scenes."""
    found = {}
    for shape, draw in SHAPES.items():
        for shares, parts in SHARES.items():
            counts = [round(part * PIXELS) for part in parts]
            values = np.concatenate(draw(np.random.default_rng(0), counts))
            found[f"{shape}, {shares}"] = (
                np.clip(values, 0, 255).astype(np.uint8),
                np.repeat([0, 1, 2], counts),
            )
    with tempfile.TemporaryDirectory() as folder:
        for name, seed, cloud in (("clear scene", 20, 0.0), ("cloudy scene", 21, 0.4)):
            path, truth = scenes.write_synthetic(folder, seed, (512, 512), cloud)
            with scenes.open_reader(path) as reader:
                bands, nodata = reader.read()
            found[name] = bands.max(axis=0)[~nodata], scenes.read_codes(truth)[~nodata].astype(int)
    return found


def chosen(truth: np.ndarray, count: int, evenly: bool, rng: np.random.Generator) -> np.ndarray:
    """Choose points at random, or the same number of each class, as people click."""
    if not evenly:
        return rng.choice(len(truth), count, replace=False)
    return np.concatenate([rng.choice(np.flatnonzero(truth == code), count // 3, False) for code in range(3)])


def reached(
    values: np.ndarray,
    truth: np.ndarray,
    rng: np.random.Generator,
    fit: Callable[..., Thresholds],
    evenly: bool = False,
    population: bool = False,
    wrong: float = 0.0,
    count: int = 30,
) -> float:
    """Return the accuracy on all pixels of cuts fitted to one draw of points, some of them clicked wrongly."""
    points = chosen(truth, count, evenly, rng)
    said = truth[points].copy()
    mistaken = rng.choice(count, round(wrong * count), replace=False)
    said[mistaken] = (said[mistaken] + rng.integers(1, 3, len(mistaken))) % 3
    grey = np.repeat(values[:, None], 3, axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        cuts = fit(grey[points], said, grey if population else None)
    return float((cuts.table[values] == truth).mean())


SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "30 random points": ({}, ">= 0.97"),
    "30 random points, with the scene's pixels": ({"population": True}, ""),
    "ten a class, at face value": ({"evenly": True}, ""),
    "ten a class, with the scene's pixels": ({"evenly": True, "population": True}, ">= 0.95"),
    "30 random points, 3 of them wrong": ({"wrong": 0.1}, ""),
    "ten a class, with the scene's pixels, 3 of 30 wrong": (
        {"evenly": True, "population": True, "wrong": 0.1},
        "",
    ),
}


def run() -> tuple[list[dict], dict]:
    """Measure the mean share of the best two cuts' accuracy.

    Of the worst case, and the loss to wrong clicks.
    """
    raw: dict[str, dict[str, float]] = {name: {} for name in SETTINGS}
    best = {}
    for case, (values, truth) in cases().items():
        best[case] = thresholds.best_cuts(values, truth)[2]
        for name, (settings, _) in SETTINGS.items():
            rng = np.random.default_rng(1)
            each = [reached(values, truth, rng, Thresholds.fit, **settings) for _ in range(DRAWS)]
            raw[name][case] = float(np.mean(each)) / best[case]
    rows = []
    for name, (_, target) in SETTINGS.items():
        believed = {case: share for case, share in raw[name].items() if best[case] >= 0.9}
        worst = min(believed, key=lambda case: believed[case])
        what = f"{name}: share of the best two cuts' accuracy, worst case"
        rows.append(
            row(
                "fit",
                what,
                believed[worst],
                target,
                f"{worst}; mean of all {np.mean(list(believed.values())):.3f}",
            )
        )
    return rows, {"best": best, **raw}
