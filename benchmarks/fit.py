"""How good fits to a few points are: shares of what the best two cuts reach, on pixels with known truth."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

import seaicekit as sik
from benchmarks import Raw, Rows, row
from seaicekit import thresholds
from seaicekit.classes import NODATA

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
    pixels = {}
    for shape, draw in SHAPES.items():
        for shares, parts in SHARES.items():
            counts = [round(part * PIXELS) for part in parts]
            values = np.concatenate(draw(np.random.default_rng(0), counts)).clip(0, 255)
            pixels[f"{shape}, {shares}"] = values.astype(np.uint8), np.repeat([0, 1, 2], counts)
    for name, seed, cloud in (("clear scene", 20, 0.0), ("cloudy scene", 21, 0.4)):
        scene, truth = sik.scenes.synthetic_scene(seed, (512, 512), cloud)
        valid = truth.values != NODATA
        pixels[name] = scene.values.max(axis=0)[valid], truth.values[valid].astype(int)
    return pixels


def reached(
    values: np.ndarray,
    truth: np.ndarray,
    rng: np.random.Generator,
    evenly: bool = False,
    population: bool = False,
    wrong: float = 0.0,
    count: int = 30,
) -> float:
    """Return the accuracy on all pixels of cuts fitted to one draw of points.

    Parameters
    ----------
    values, truth : (N,) uint8, (N,) int
        Brightness and class of all pixels.
    rng : numpy.random.Generator
    evenly : bool
        Draw as many points of each class, as people click.
    population : bool
        Fit with all pixels' brightness as well.
    wrong : float
        The share of points with a wrong class.
    count : int
        How many points.
    """
    pools = [np.flatnonzero(truth == code) for code in range(3)] if evenly else [np.arange(len(truth))]
    points = np.concatenate([rng.choice(pool, count // len(pools), replace=False) for pool in pools])
    clicked = truth[points].copy()
    mistaken = rng.choice(count, round(wrong * count), replace=False)
    clicked[mistaken] = (clicked[mistaken] + rng.integers(1, 3, len(mistaken))) % 3
    grey = np.repeat(values[:, None], 3, axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        cuts = sik.Thresholds.fit(grey[points], clicked, grey if population else None)
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


def run() -> tuple[Rows, Raw]:
    """Measure the mean share of the best two cuts' accuracy, in the worst case whose best cuts reach 0.9."""
    known = cases()
    best = {case: thresholds.best_cuts(*pixels)[2] for case, pixels in known.items()}
    rows: Rows = []
    raw: Raw = {"best": best}
    for name, (settings, target) in SETTINGS.items():
        raw[name] = {}
        for case, pixels in known.items():
            rng = np.random.default_rng(1)
            raw[name][case] = np.mean([reached(*pixels, rng, **settings) for _ in range(DRAWS)]) / best[case]
        shares = {case: share for case, share in raw[name].items() if best[case] >= 0.9}
        worst = min(shares, key=lambda case: shares[case])
        what = f"{name}: share of the best two cuts' accuracy, worst case"
        note = f"{worst}; mean of all {np.mean(list(shares.values())):.3f}"
        rows.append(row("fit", what, shares[worst], target, note))
    return rows, raw
