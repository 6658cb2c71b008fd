"""Guesses beside the truth, and exercises that check themselves.

No answer is stored: each check computes it from the learner's own material, and returns only whether the
learner's answer is right, or a hint.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from seaicekit import thresholds
from seaicekit.classes import LEGEND, NODATA, OPEN_WATER, THICK_ICE
from seaicekit.evaluation import evaluate
from seaicekit.files import InputError, require
from seaicekit.lessons import laws
from seaicekit.lessons.material import labelled_pixels
from seaicekit.maps import parent
from seaicekit.scenes import CLASS_COLOURS, CLOUD_COLOUR, read_codes
from seaicekit.thresholds import Thresholds

COLOURS = {True: "#2a7d4f", False: "#b3541e", None: "#6b7a89"}


@dataclass(frozen=True)
class Note:
    """A message to the learner, shown as text or HTML.

    Parameters
    ----------
    text : str
    right : bool or None
        Whether an answer is right; None where there is none to judge.
    bars : tuple of (name, value), optional
        Numbers to be drawn beside one another.
    unit : str
        Of the bars.
    """

    text: str
    right: bool | None = None
    bars: tuple[tuple[str, float], ...] = ()
    unit: str = ""

    def __repr__(self) -> str:
        return "\n".join(
            [*(f"{name}: {value:.4g} {self.unit}".rstrip() for name, value in self.bars), self.text]
        )

    def _repr_html_(self) -> str:
        longest = max((abs(value) for _, value in self.bars), default=0) or 1
        bars = "".join(
            "<div style='display:flex;align-items:center;margin:3px 0'>"
            f"<span style='width:7em'>{html.escape(name)}</span>"
            f"<span style='width:{16 * abs(value) / longest:.2f}em;height:0.9em;background:{colour}'></span>"
            f"<span style='margin-left:0.6em'>{value:.4g} {html.escape(self.unit)}</span></div>"
            for (name, value), colour in zip(self.bars, ("#8fa3b5", "#35b5ac"), strict=False)
        )
        edge = f"border-left:4px solid {COLOURS[self.right]};padding:6px 12px;margin:4px 0"
        return f"<div style='{edge}'>{bars}{html.escape(self.text)}</div>"


def tuner_link(notebook: str = "tuner.ipynb") -> Any:
    """Return a link to the tuner as a page of Voila's, on the Jupyter server that this kernel belongs to.

    Parameters
    ----------
    notebook : str
        Its path from the working directory.

    Returns
    -------
    IPython.display.HTML, or Note without a server
    """
    require("lab", "a link to the tuner", "IPython")
    from IPython.display import HTML

    server = parent()
    if not server:
        return Note("No Jupyter server is known here; in a terminal, seaicekit tune opens the same page.")
    path = Path(notebook).absolute().relative_to(server["root_dir"]).as_posix()
    address = html.escape(f"{server['base_url']}voila/render/{quote(path)}")
    return HTML(f'<a href="{address}" target="_blank">Open the tuner as a page</a>')


def predict(guess: float | None, truth: float, unit: str = "") -> Note:
    """Show a guess beside the truth.

    Parameters
    ----------
    guess : float or None
        With None, or anything that is no number, the truth stays hidden.
    truth : float
    unit : str
    """
    if guess is None:
        return Note("Not yet guessed. Write a number in place of None, then run this cell again.")
    try:
        truth, guess = float(truth), _number(guess)
    except InputError as error:
        return Note(str(error), False)
    if truth and abs(guess - truth) <= 0.1 * abs(truth):
        text = "Within a tenth of it: well guessed."
    else:
        apart = f"{abs(guess - truth):.3g} {'points' if unit == '%' else unit}".rstrip()
        text = f"Too {'high' if guess > truth else 'low'}, by {apart}. What did you not think of?"
    return Note(text, None, (("your guess", guess), ("the truth", truth)), unit)


def check(exercise: str, answer: Any, *material: Any) -> Note:
    """Check an exercise's answer; return that it is right, or a hint.

    Parameters
    ----------
    exercise : str
        Its number, such as "2.1".
    answer
        None where there is none yet.
    *material
        What the exercise is about, as its cell has it.

    Raises
    ------
    InputError
        No such exercise.
    """
    if exercise not in EXERCISES:
        raise InputError(f"exercise: there is no {exercise!r}; there are {', '.join(EXERCISES)}")
    if answer is None:
        return Note("No answer yet. Write yours in place of None, then run this cell again.")
    try:
        hint = EXERCISES[exercise](answer, *material)
    except InputError as error:
        hint = str(error)
    return Note(f"Not yet. {hint}", False) if hint else Note("Right.", True)


def _number(answer: Any) -> float:
    if isinstance(answer, bool) or not np.isscalar(answer) or not isinstance(answer, int | float | np.number):
        raise InputError(f"A number is asked for, not {answer!r}.")
    return float(answer)


def _hint(
    answer: Any,
    right: float,
    wrong: Sequence[tuple[float, str]],
    otherwise: str | Callable[[float], str],
    tolerance: float = 0.01,
) -> str:
    """Return the hint to a number: empty if it is right, else that of the mistake that leads to it.

    Parameters
    ----------
    answer
        The learner's.
    right : float
    wrong : sequence of (float, str)
        The results of likely mistakes, each with its hint.
    otherwise : str, or callable of the answer
        The hint to any other number.
    tolerance : float
        As a share of ``right``.
    """
    number = _number(answer)
    if abs(number - right) <= tolerance * abs(right):
        return ""
    for value, hint in wrong:
        if abs(number - value) <= max(tolerance, 0.01) * abs(value):
            return hint
    return otherwise if isinstance(otherwise, str) else otherwise(number)


def _concentration(answer: Any, truth: Any) -> str:
    """1.1: the share of the sea that is ice."""
    counts = np.bincount(read_codes(truth).ravel(), minlength=256)
    pixels, sea = counts.sum(), counts[: THICK_ICE + 1].sum()
    ice = sea - counts[OPEN_WATER]
    mistakes = [
        (
            (pixels - counts[OPEN_WATER]) / pixels,
            "You have counted 255 as ice: that is the grey corner, which the satellite did not see.",
        ),
        (
            ice / pixels,
            "You have divided by all pixels. The grey corner was not seen by the satellite: it is neither "
            "ice nor sea.",
        ),
        (100 * ice / sea, "That is in per cent; give a share from 0 to 1."),
        (counts[THICK_ICE] / sea, "Thin ice is ice, too."),
    ]
    otherwise = "Count the pixels with code 1 or 2, and divide by those with code 0, 1 or 2."
    return _hint(answer, ice / sea, mistakes, otherwise, 0.001)


def _water_area(answer: Any, truth: Any, pixel_size: float) -> str:
    """1.2: square kilometres of open water."""
    pixels = np.count_nonzero(read_codes(truth) == OPEN_WATER)
    right = pixels * pixel_size**2 / 1e6
    units = "A square kilometre has 1000 × 1000 square metres."
    mistakes = [
        (pixels * pixel_size / 1e3, "A pixel has an area: its side must be multiplied by itself."),
        (right * 1e6, units),
        (right * 1e3, units),
    ]
    otherwise = (
        "Count the pixels with code 0, multiply by the area of one pixel in m², and turn that into km²."
    )
    return _hint(answer, right, mistakes, otherwise)


def _cuts(answer: Any, path: Any, truth: Any) -> str:
    """2.1: cuts nearly as good as the best two."""
    if not isinstance(answer, Thresholds):
        return "Give cuts, such as sik.Thresholds(20, 150)."
    pixels, codes = labelled_pixels(path, truth)
    water, thin, best = thresholds.best_cuts(pixels.max(axis=1), codes)
    accuracy = float((answer.classify(pixels) == codes).mean())
    if accuracy >= 0.98 * best:
        return ""
    above = {"water_max": answer.water_max - water, "thin_max": answer.thin_max - thin}
    name = max(above, key=lambda each: abs(above[each]))
    side = "high" if above[name] > 0 else "low"
    return (
        f"These cuts are right for {accuracy:.1%} of the pixels, and better ones exist: {name} is too {side}."
    )


def _dark_thick_ice(answer: Any) -> str:
    """2.2: a dark colour that the rule calls thick ice."""
    colour = np.asarray(answer)
    whole = colour.shape == (3,) and np.issubdtype(colour.dtype, np.integer)
    if not whole or colour.min() < 0 or colour.max() > 255:
        return "Give three whole numbers from 0 to 255, as (red, green, blue)."
    if Thresholds().classify(colour.astype(np.uint8)) != THICK_ICE:
        return "The rule does not call this thick ice: which of the three numbers does it look at?"
    bright = "The rule calls this thick ice, but it is bright on average: make the other two numbers smaller."
    return bright if colour.mean() > 100 else ""


def _opacity(answer: Any) -> str:
    """3.1: how much cloud lifts water above the paper's cut."""
    water, cloud, cut = max(CLASS_COLOURS[OPEN_WATER]), max(CLOUD_COLOUR), Thresholds().water_max
    right = (cut - water) / (cloud - water)

    def otherwise(number: float) -> str:
        seen = laws.veil(water, number, cloud)
        return (
            f"With this opacity water is seen at {seen:.0f}. Solve (1 - a) × water + a × cloud = {cut} for a."
        )

    percent = "That is in per cent; give a share from 0 to 1."
    return _hint(answer, right, [(100 * right, percent)], otherwise, 0.05)


def _improved(answer: Any, before: Any, after: Any, truth: Any) -> str:
    """3.2: which share of the changes were for the better."""
    before, after, codes = (read_codes(each) for each in (before, after, truth))
    valid = codes != NODATA
    right = (after == codes)[(before != after) & valid].mean()
    everywhere = "That is the accuracy on all pixels. Look only at the pixels that the filter has changed."
    return _hint(
        answer,
        right,
        [((after == codes)[valid].mean(), everywhere)],
        "Of the pixels where before and after differ (no data left out): in which share is after equal to "
        "truth?",
    )


def _bounds(answer: Any, labels: float, agreement: float) -> str:
    """4.1: between which accuracies a network can be, that agrees so far with labels so good."""
    try:
        low, high = (_number(each) for each in answer)
    except TypeError:
        return "Give two numbers, as (lowest, highest)."
    if abs(low - max(0, labels + agreement - 1)) >= 0.005:
        return (
            "Lowest: let all its disagreements be new mistakes. Then they add to the mistakes of the labels."
        )
    if abs(high - (1 - abs(labels - agreement))) >= 0.005:
        return "The lowest is right. Highest: let it disagree with the labels only where they are wrong."
    return ""


def _lost(answer: Any, predictions: Mapping, truths: Mapping) -> str:
    """4.2: the class of which most is missed."""
    classes = evaluate(predictions, truths)["classes"]
    recalls = {entry.code: classes[entry.name]["recall"] for entry in LEGEND}
    recalls = {code: recall for code, recall in recalls.items() if recall is not None}
    if answer not in recalls:
        return "Give the code of a class: 0 open water, 1 thin ice, 2 thick ice."
    hint = f"Of {LEGEND[answer].name}, {recalls[answer]:.0%} is found. Of another class less."
    return "" if recalls[answer] == min(recalls.values()) else hint


def _share(answer: Any, speedup: float, workers: float) -> str:
    """5.1: Amdahl's share from a speed-up."""

    def otherwise(number: float) -> str:
        speed = float(laws.amdahl(number, workers))
        faster = f"With this share {workers} workers would be {speed:.2f} times as fast."
        return f"{faster} Try another, or solve for it."

    efficiency = "That is the efficiency. The share that is parallel is more: even a small rest costs much."
    mistakes = [(speedup / workers, efficiency)]
    return _hint(answer, laws.parallel_share(speedup, workers), mistakes, otherwise, 0.003)


def _traffic(answer: Any, parameters: int, ranks: int) -> str:
    """5.2: bytes that a rank sends in a ring all-reduce."""
    right = 2 * (ranks - 1) / ranks * parameters * 4
    mistakes = [
        (right / 4, "Those are numbers; each one takes four bytes."),
        (
            right / 2,
            "That is half of it: sums go round the ring once, and the result goes round once more.",
        ),
    ]
    otherwise = (
        "A rank sends 2 (n - 1) / n times as many numbers as the network has, and each number takes four "
        "bytes."
    )
    return _hint(answer, right, mistakes, otherwise)


EXERCISES: dict[str, Callable[..., str]] = {
    "1.1": _concentration,
    "1.2": _water_area,
    "2.1": _cuts,
    "2.2": _dark_thick_ice,
    "3.1": _opacity,
    "3.2": _improved,
    "4.1": _bounds,
    "4.2": _lost,
    "5.1": _share,
    "5.2": _traffic,
}
