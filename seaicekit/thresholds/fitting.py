"""Fit the two cuts on brightness to labelled points, with intervals of the cuts.

All computation is on histograms of 256 brightnesses. Each point becomes a smooth bump as wide as its class is
spread (a kernel density), so that few points give stable cuts, and ties resolve to the middle of a gap. Where
the scene's unlabelled pixels are known, the shares of the classes are estimated from them by the EM steps of
Saerens et al. 2002 (doi:10.1162/089976602753284446): people click about as many points of each class, while
the classes' shares of a scene differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seaicekit.classes import LEGEND
from seaicekit.thresholds.scoring import (
    LEVELS,
    best_cuts,
    best_pair,
    check_histogram,
    count_points,
    count_right,
)

if TYPE_CHECKING:
    import pandas as pd

FEW = 2  # a class of at most so many points does not decide its cuts
WIDTH = 1.2  # of the bump of a class's only point, in spreads; with more points times points**-0.2
NEEDED = 5, 3, 1  # points that a cut must gain to take from a class of no, few or many points
POOLED = 3.0  # weight, in points, of the mean spread of all classes
PRIOR = 0.5  # weight, in points, of the starting cuts for a class of few points
FLOOR = 1e-6  # least density of a class, for brightnesses far from all points
EM_STEPS, EM_AGAIN = 100, 25
LIKENESS = 0.5  # least overlap of the points' density with the population for it to be used
RESAMPLES = 200


@dataclass(frozen=True)
class Fit:
    """Cuts that were fitted to points, with their intervals.

    Attributes
    ----------
    water_max, thin_max : int
        The cuts.
    water_range, thin_range : (int, int)
        95 % bootstrap intervals of the cuts, each resample of the points fitted anew.
    messages : tuple of str
        Warnings: classes of few points, points that contradict others.
    """

    water_max: int
    thin_max: int
    water_range: tuple[int, int]
    thin_range: tuple[int, int]
    messages: tuple[str, ...] = ()


def fit_cuts(
    values: np.ndarray,
    classes: np.ndarray,
    population: np.ndarray | None = None,
    start: tuple[int, int] = (30, 204),
    seed: int = 0,
) -> Fit:
    """Fit the two cuts to labelled points.

    Parameters
    ----------
    values : (N,) uint8
        Brightness of each point.
    classes : (N,) int
        0 open water, 1 thin ice, 2 thick ice.
    population : (256,) int, optional
        How many pixels of the same scenes have each brightness, no data left out. With it the classes' shares
        are estimated from the pixels; without, they are those of the points.
    start : (int, int)
        The cuts to begin with. Where a class has two points or fewer, its cuts stay as they are here,
        unless others get more of the points right.
    seed : int
        Of the bootstrap. The cuts themselves are not random.

    Returns
    -------
    Fit

    Raises
    ------
    InputError
        No points, other shapes or classes, or a population without pixels.
    """
    points = count_points(values, classes)
    if population is not None:
        population = check_histogram(population)
    cuts, shares, likeness, smoother = _solve(points, population, start)
    used_population = population if likeness >= LIKENESS else None
    used = points if used_population is None else _without_outliers(points)
    low, high = _resample(used, used_population, start, smoother, shares, np.random.default_rng(seed))
    # A cut lies in its interval, also where all resamples fall to one side of it.
    water, thin = ((min(a, cut), max(b, cut)) for a, b, cut in zip(low, high, cuts, strict=True))
    return Fit(*cuts, water, thin, _messages(points, cuts, likeness < LIKENESS))


def _solve(
    points: np.ndarray, population: np.ndarray | None, start: tuple[int, int]
) -> tuple[tuple[int, int], np.ndarray, float, np.ndarray]:
    """Return the cuts, the classes' shares, the overlap of points and population, and the smoother."""
    kept = _without_outliers(points)
    smoother = _smoother(kept)
    weights = _smooth(points[None], smoother, start)
    shares, likeness = points.sum(axis=1) / points.sum(), 1.0
    if population is not None:
        density = _density(_smooth(kept[None], smoother, start))
        estimated, posterior = _shares(density, population, np.full((1, 3), 1 / 3), EM_STEPS)
        observed = population / population.sum()
        likeness = float(np.minimum(observed, estimated[0] @ density[0]).sum())
        if likeness >= LIKENESS:
            shares, weights = estimated[0], posterior * observed
    water, thin = (each[0] for each in best_pair(weights))
    return _guarded(points, (int(water), int(thin)), start), shares, likeness, smoother


def _without_outliers(points: np.ndarray) -> np.ndarray:
    """Leave out points beyond the median of another class: wrong clicks spoil a class's spread and share."""
    counts = points.sum(axis=1)
    if (counts <= FEW).any():
        return points
    medians = [int((row.cumsum() >= row.sum() / 2).argmax()) for row in points]
    if medians != sorted(medians):
        return points
    kept = points.copy()
    kept[0, medians[1] :] = 0
    kept[1, : medians[0]] = 0
    kept[1, medians[2] :] = 0
    kept[2, : medians[1]] = 0
    return kept if (kept.sum(axis=1) > FEW).all() else points


def _smoother(points: np.ndarray) -> np.ndarray:
    """Return the Gaussian bump of a point of each class and brightness, (3, 256, 256).

    The bumps are shifted towards the class's mean, so that their sum is spread as the points are. The spread
    of few points is drawn towards the mean spread.
    """
    counts = points.sum(axis=1)
    middle = points @ LEVELS / np.maximum(counts, 1)
    square = (points * (LEVELS - middle[:, None]) ** 2).sum(axis=1)
    spread = np.maximum(np.sqrt(square / np.maximum(counts - 1, 1)), 1.5)
    known = counts > 1
    common = np.log(spread[known]).mean() if known.any() else np.log(10.0)
    belief = np.maximum(counts - 1, 0)
    spread = np.exp((belief * np.log(spread) + POOLED * common) / (belief + POOLED))
    width = np.maximum(WIDTH * spread * np.maximum(counts, 1) ** -0.2, 1)
    drawn = np.sqrt(1 + (width / spread) ** 2)
    centre = middle[:, None] + (LEVELS - middle[:, None]) / drawn[:, None]
    bumps = np.exp(-0.5 * ((LEVELS - centre[..., None]) / width[:, None, None]) ** 2)
    return bumps / bumps.sum(axis=-1, keepdims=True)


def _smooth(points: np.ndarray, smoother: np.ndarray, start: tuple[int, int]) -> np.ndarray:
    """Smooth (…, 3, 256) points, and add the starting cuts to a class of few points."""
    from_start = (np.digitize(LEVELS, start, right=True) == np.arange(3)[:, None]).astype(float)
    from_start /= np.maximum(from_start.sum(axis=1, keepdims=True), 1)
    few = points.sum(axis=-1, keepdims=True) <= FEW
    return np.einsum("bkv,kvw->bkw", points, smoother, optimize=True) + PRIOR * few * from_start


def _density(smooth: np.ndarray) -> np.ndarray:
    total = smooth.sum(axis=-1, keepdims=True)
    return FLOOR + (1 - 256 * FLOOR) * np.divide(
        smooth, total, out=np.full_like(smooth, 1 / 256), where=total > 0
    )


def _shares(density: np.ndarray, population: np.ndarray, shares: np.ndarray, steps: int) -> tuple:
    """Estimate the shares of the classes, (…, 3), and each brightness's class, (…, 3, 256), by EM."""
    occurring = np.flatnonzero(population)
    observed = population[occurring] / population.sum()
    near = np.ascontiguousarray(density[..., occurring])
    for _ in range(steps):
        # Only the sum over the classes is needed for the next shares.
        mixed = np.einsum("bk,bkv->bv", shares, near)
        shares = shares * np.einsum("bkv,bv->bk", near, observed / mixed)
    joint = shares[..., None] * density
    return shares, joint / joint.sum(axis=1, keepdims=True)


def _guarded(points: np.ndarray, cuts: tuple[int, int], start: tuple[int, int]) -> tuple[int, int]:
    """Keep the starting cuts beside a class of few points, unless a move classifies enough more points right.

    A class of few points may be most of the scene, so its loss is unknown: a cut that takes from it must gain
    more points than one that gives to it.
    """
    counts = points.sum(axis=1)
    if (counts > FEW).all():
        return cuts
    few = counts <= FEW
    needed = np.select([counts == 0, few], NEEDED[:2], NEEDED[2])
    kept = start
    for cut in (0, 1, 0):  # the first again, since the second may have blocked it
        moved = (cuts[0], kept[1]) if cut == 0 else (kept[0], cuts[1])
        loses, wins = (cut + 1, cut) if moved[cut] > kept[cut] else (cut, cut + 1)
        gain = count_right(points, moved).sum() - count_right(points, kept).sum()
        if moved[0] <= moved[1] and gain >= (1 if few[wins] and not few[loses] else needed[loses]):
            kept = moved
    return kept


def _resample(
    points: np.ndarray,
    population: np.ndarray | None,
    start: tuple[int, int],
    smoother: np.ndarray,
    shares: np.ndarray,
    rng: np.random.Generator,
) -> tuple[list[int], list[int]]:
    """Return the lower and upper ends of 95 % bootstrap intervals of the two cuts.

    With a population the resamples keep the number of points of each class, which then has no meaning.
    """
    counts = points.sum(axis=1).astype(int)
    if population is None:
        total = int(counts.sum())
        drawn = rng.multinomial(total, points.ravel() / total, RESAMPLES).reshape(-1, 3, 256)
    else:
        odds = np.where(counts[:, None] > 0, points / np.maximum(counts, 1)[:, None], 1 / 256)
        each = [rng.multinomial(count, row, RESAMPLES) for count, row in zip(counts, odds, strict=True)]
        drawn = np.stack(each, axis=1)
    weights = _smooth(drawn.astype(float), smoother, start)
    if population is not None:
        _, posterior = _shares(_density(weights), population, np.tile(shares, (RESAMPLES, 1)), EM_AGAIN)
        weights = posterior * (population / population.sum())
    pairs = np.stack(best_pair(weights), axis=1).tolist()
    cuts = [_guarded(one, tuple(pair), start) for one, pair in zip(drawn, pairs, strict=True)]
    low, high = np.percentile(cuts, [2.5, 97.5], axis=0)
    return np.floor(low).astype(int).tolist(), np.ceil(high).astype(int).tolist()


def _messages(points: np.ndarray, cuts: tuple[int, int], strange: bool) -> tuple[str, ...]:
    counts = points.sum(axis=1).astype(int)
    messages = []
    for code, bounds in enumerate(((0,), (0, 1), (1,))):
        if counts[code] <= FEW:
            names = [f"{('water_max', 'thin_max')[cut]} = {cuts[cut]}" for cut in bounds]
            number = f"{counts[code]} point{'' if counts[code] == 1 else 's'}"
            messages.append(
                f"{LEGEND[code].name} has {number}, too few to be sure of {' and '.join(names)}; "
                f"label {FEW + 1} or more"
            )
    both = points[:, (points > 0).sum(axis=0) > 1]
    wrong = int(both.sum() - both.max(axis=0, initial=0).sum())
    if wrong:
        messages.append(
            f"{wrong} of the points contradict others of the same brightness; no cuts get them right"
        )
    middles = [float(np.repeat(LEVELS, row.astype(int)).mean()) for row in points if row.any()]
    if middles != sorted(middles):
        messages.append(
            "the classes' points do not grow brighter from water to thick ice; see whether they are mixed up"
        )
    if strange:
        messages.append(
            "the points are not like the scenes' pixels, so shares are those of the points; "
            "label more of them"
        )
    return tuple(messages)


def accuracy_curve(
    values: np.ndarray,
    truth: np.ndarray,
    counts: Sequence[int] = (3, 6, 9, 15, 30, 60, 120, 300),
    draws: int = 50,
    population: bool = True,
    seed: int = 0,
) -> pd.DataFrame:
    """Fit to more and more points of known truth, and score each fit on all pixels.

    Parameters
    ----------
    values, truth : (N,) uint8, (N,) int
        Brightness and class of all pixels.
    counts : sequence of int
        How many points in all.
    draws : int
        How many times points are drawn.
    population : bool
        Fit with the pixels' histogram.
    seed : int

    Returns
    -------
    pandas.DataFrame
        ``points``; ``drawn``, "random" or "per class" (a third each, as people click, where there are so
        many pixels); ``accuracy`` on all pixels, the mean over the draws, with ``low`` and ``high`` (5 and
        95 %); ``share`` of the accuracy of the best two cuts.
    """
    import pandas as pd

    values, truth = np.asarray(values), np.asarray(truth)
    best, pixels, rng = best_cuts(values, truth)[2], count_points(values, truth), np.random.default_rng(seed)
    histogram = pixels.sum(axis=0) if population else None
    places = [np.flatnonzero(truth == code) for code in range(3)]
    rows = []
    for drawn in ("random", "per class"):
        for count in counts:
            accuracies = []
            for _ in range(draws):
                if drawn == "random":
                    chosen = rng.choice(len(values), min(count, len(values)), replace=False)
                else:
                    each = [rng.choice(place, min(max(1, count // 3), len(place)), False) for place in places]
                    chosen = np.concatenate(each)
                cuts = _solve(count_points(values[chosen], truth[chosen]), histogram, (30, 204))[0]
                accuracies.append(count_right(pixels, cuts).sum() / len(values))
            mean, (low, high) = float(np.mean(accuracies)), np.percentile(accuracies, [5, 95])
            rows.append((count, drawn, mean, float(low), float(high), mean / best))
    return pd.DataFrame(rows, columns=["points", "drawn", "accuracy", "low", "high", "share"])
