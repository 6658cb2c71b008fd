"""The formulas that the lessons use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SEA_WATER = 1.34  # refractive index in visible light


def fresnel(angle: float | np.ndarray, index: float = SEA_WATER) -> float | np.ndarray:
    """Return the reflectance of a flat surface for unpolarised light, 0 to 1 (Fresnel's equations).

    Parameters
    ----------
    angle : float or array
        Degrees between the light and the vertical, 0 to 90.
    index : float
        Refractive index of what lies below the air.
    """
    into = np.cos(np.radians(angle))
    beyond = np.sqrt(1 - (np.sin(np.radians(angle)) / index) ** 2)
    across = ((into - index * beyond) / (into + index * beyond)) ** 2
    along = ((beyond - index * into) / (beyond + index * into)) ** 2
    return (across + along) / 2


def veil(
    surface: float | np.ndarray, opacity: float | np.ndarray, cloud: float = 231.0
) -> float | np.ndarray:
    """Return the brightness of a surface seen through thin cloud.

    Parameters
    ----------
    surface, cloud : float or array
        Brightness of the surface and of thick cloud, 0 to 255.
    opacity : float or array
        0 is a clear sky, 1 a cloud that hides all.
    """
    return (1 - opacity) * surface + opacity * cloud


def amdahl(share: float, workers: float | np.ndarray) -> float | np.ndarray:
    """Return how many times faster work gets on so many workers (Amdahl 1967, doi:10.1145/1465482.1465560).

    Parameters
    ----------
    share : float
        The part of the work, 0 to 1, that can be divided among them.
    workers : float or array
    """
    return 1 / ((1 - share) + share / np.asarray(workers, float))


def parallel_share(speedup: float, workers: float) -> float:
    """Return the share of the work that was divided, from a measured speed-up.

    `amdahl` the other way round.
    """
    return (1 - 1 / speedup) / (1 - 1 / workers)


def ring_all_reduce(arrays: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[int]]:
    """Add up arrays as ranks in a ring do: each one talks to the next only, and all end with the sum.

    Parameters
    ----------
    arrays : sequence of (N,) arrays
        One a rank.

    Returns
    -------
    sums : list of (N,) arrays
        What each rank ends with.
    sent : list of int
        How many numbers each rank has sent.
    """
    ranks = len(arrays)
    pieces, sent = [np.array_split(np.array(each), ranks) for each in arrays], [0] * ranks
    for step in range(2 * (ranks - 1)):
        adding = step < ranks - 1  # sums go round first, then what came out
        passed = [(rank, (rank - step) % ranks) for rank in range(ranks)]
        messages = [pieces[rank][piece].copy() for rank, piece in passed]
        for (rank, piece), message in zip(passed, messages, strict=True):
            after = (rank + 1) % ranks
            pieces[after][piece] = pieces[after][piece] + message if adding else message
            sent[rank] += message.size
    return [np.concatenate(each) for each in pieces], sent
