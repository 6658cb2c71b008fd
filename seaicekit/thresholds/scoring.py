"""Score cuts on points and pixels of known class, and suggest cuts from a histogram."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seaicekit.files import InputError

LEVELS = np.arange(256)
SAMPLE = 4096  # values that stand for a histogram where the Gaussian mixture is fitted


@dataclass(frozen=True)
class Score:
    """The agreement of a rule's classes with a person's.

    Attributes
    ----------
    accuracy : float, 0 to 1
    accuracy_range : (float, float)
        95 % bootstrap interval over the points. Where no point is wrong, or none is right, the lower or upper
        end is that of the exact binomial interval, since resampling gives no other value.
    confusion : list of lists of int
        Rows are the person's class, columns the rule's, both in the order of ``codes``.
    codes : tuple of int
    count : int
        Points.
    """

    accuracy: float
    accuracy_range: tuple[float, float]
    confusion: list[list[int]]
    codes: tuple[int, ...]
    count: int


def score_classes(
    predicted: np.ndarray, classes: np.ndarray, codes: Sequence[int] = (0, 1, 2), seed: int = 0
) -> Score:
    """Score a rule's classes against a person's.

    Parameters
    ----------
    predicted, classes : (N,) int
        The rule's and the person's class of each point.
    codes : sequence of int
        All classes.
    seed : int
        Of the bootstrap.

    Raises
    ------
    InputError
        No points, shapes that differ, or a class that is not among ``codes``.
    """
    predicted, classes = np.asarray(predicted), np.asarray(classes)
    if predicted.ndim != 1 or predicted.shape != classes.shape:
        raise InputError(f"score: needs one class for each point, not {predicted.shape} and {classes.shape}")
    if not classes.size:
        raise InputError("score: there are no points; label some")
    codes = tuple(int(code) for code in codes)
    odd = sorted({*np.unique(predicted).tolist(), *np.unique(classes).tolist()} - set(codes))
    if odd:
        raise InputError(f"score: class {odd[0]} is not in the legend ({', '.join(map(str, codes))})")
    index = {code: number for number, code in enumerate(codes)}
    confusion = np.zeros((len(codes), len(codes)), int)
    np.add.at(confusion, ([index[c] for c in classes.tolist()], [index[c] for c in predicted.tolist()]), 1)
    count, right = len(classes), int(np.trace(confusion))
    drawn = np.random.default_rng(seed).binomial(count, right / count, 1000) / count
    low, high = np.percentile(drawn, [2.5, 97.5]).tolist()
    low = 0.025 ** (1 / count) if right == count else low
    high = 1 - 0.025 ** (1 / count) if right == 0 else high
    return Score(right / count, (low, high), confusion.tolist(), codes, count)


def best_cuts(values: np.ndarray, truth: np.ndarray) -> tuple[int, int, float]:
    """Return the best two cuts of all, and their accuracy.

    Parameters
    ----------
    values : (N,) uint8
    truth : (N,) int
        0, 1 or 2.

    Returns
    -------
    water_max, thin_max, accuracy
        The darkest of equally good cuts.
    """
    counts = count_points(values, truth)
    if not counts.sum():
        raise InputError("best: there are no pixels; give some")
    below = counts.cumsum(axis=1)
    right = (below[0] - below[1])[:, None] + (below[1] - below[2]) + counts[2].sum()
    right[np.tril_indices(256, -1)] = -1
    water, thin = np.unravel_index(right.argmax(), right.shape)
    return int(water), int(thin), float(right[water, thin] / counts.sum())


def suggest_cuts(histogram: np.ndarray) -> dict[str, tuple[int, int]]:
    """Suggest cuts from a histogram alone, without points.

    Parameters
    ----------
    histogram : (256,) int
        How many pixels have each brightness.

    Returns
    -------
    dict
        "multi-Otsu" (Liao et al. 2001: least spread within three classes) and "Gaussian mixture" (where the
        weighted densities of three components cross): (water_max, thin_max).

    Raises
    ------
    InputError
        No pixels, or fewer than three brightnesses: there are no three classes.
    """
    from skimage.filters import threshold_multiotsu
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    counts = check_histogram(histogram)
    levels = np.count_nonzero(counts)
    if levels < 3:
        raise InputError(
            f"histogram: has {levels} brightnesses, and three classes need three; give other scenes"
        )
    first, second = (int(cut) for cut in threshold_multiotsu(hist=(counts, LEVELS), classes=3))
    share = np.cumsum(counts) / counts.sum()
    sample = np.searchsorted(share, (np.arange(SAMPLE) + 0.5) / SAMPLE)
    parts = [
        counts * mask for mask in (first >= LEVELS, (first < LEVELS) & (second >= LEVELS), second < LEVELS)
    ]
    means = [[part @ LEVELS / part.sum()] if part.sum() else [0.0] for part in parts]
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # of a sample of two brightnesses; its cuts are good
        model = GaussianMixture(3, means_init=means, reg_covar=0.5, random_state=0).fit(
            sample[:, None].astype(float)
        )
    order = model.means_.ravel().argsort()
    mean, spread, weight = (
        each.ravel()[order, None] for each in (model.means_, np.sqrt(model.covariances_), model.weights_)
    )
    density = weight / spread * np.exp(-0.5 * ((LEVELS - mean) / spread) ** 2)
    low, high = (int(cut[0]) for cut in best_pair(density[None]))
    return {"multi-Otsu": (first, second), "Gaussian mixture": (low, high)}


def count_points(values: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Count the points by class and brightness, (3, 256) float."""
    values, classes = np.asarray(values), np.asarray(classes)
    if values.ndim != 1 or values.shape != classes.shape:
        raise InputError(f"fit: needs one class for each value, not {values.shape} and {classes.shape}")
    if not values.size:
        raise InputError("fit: there are no points of the three classes; label some of each")
    if values.dtype != np.uint8:
        raise InputError(f"fit: values must be uint8, not {values.dtype}")
    if not np.issubdtype(classes.dtype, np.integer) or classes.min() < 0 or classes.max() > 2:
        raise InputError("fit: classes must be 0 open water, 1 thin ice or 2 thick ice; leave out the others")
    return np.bincount(classes.astype(np.int64) * 256 + values, minlength=768).reshape(3, 256).astype(float)


def check_histogram(counts: np.ndarray) -> np.ndarray:
    """Return a histogram of brightness as (256,) float, or raise an `InputError`."""
    counts = np.asarray(counts, float)
    if counts.shape != (256,) or not np.isfinite(counts).all() or counts.min() < 0:
        raise InputError(f"histogram: must be 256 counts, one for each brightness, not {counts.shape}")
    if not counts.sum():
        raise InputError("histogram: there are no pixels with data; give scenes that have some")
    return counts


def best_pair(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two cuts, (B,) int each, that classify most of (B, 3, 256) weights right.

    The middle of equally good cuts is taken.
    """
    below = weights.cumsum(axis=-1)
    water, thin = below[:, 0] - below[:, 1], below[:, 1] - below[:, 2]
    first, second = _middle(water), _middle(thin)
    for i in np.flatnonzero(first > second):  # the best pair that does not cross
        reached = np.maximum.accumulate(water[i])
        second[i] = (reached + thin[i]).argmax()
        first[i] = water[i, : second[i] + 1].argmax()
    return first, second


def _middle(gain: np.ndarray) -> np.ndarray:
    """Return the middle of the first run of maxima of each row, (B,) int."""
    top = gain >= gain.max(axis=1, keepdims=True) - 1e-9
    begin = top.argmax(axis=1)
    later = ~top & (begin[:, None] < LEVELS)
    end = np.where(later.any(axis=1), later.argmax(axis=1) - 1, 255)
    return (begin + end) // 2


def count_right(points: np.ndarray, cuts: tuple[int, int]) -> np.ndarray:
    """Count the points that cuts classify right, by class."""
    water, thin = cuts
    return np.array(
        [points[0, : water + 1].sum(), points[1, water + 1 : thin + 1].sum(), points[2, thin + 1 :].sum()]
    )
