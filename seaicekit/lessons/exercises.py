"""Guesses beside the truth, and exercises that know when they are solved.

No answer is stored: each check works it out from the material that the learner has, and says only whether the
learner's is right, or what to think of next.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from seaicekit import thresholds
from seaicekit.classes import LEGEND, NODATA, OPEN_WATER, THICK_ICE, THIN_ICE
from seaicekit.evaluation import evaluate
from seaicekit.files import InputError
from seaicekit.lessons import laws
from seaicekit.lessons.material import labelled_pixels
from seaicekit.maps import parent
from seaicekit.scenes import CLASS_COLOURS, CLOUD_COLOUR, as_codes
from seaicekit.thresholds import Thresholds

INK = {True: "#2a7d4f", False: "#b3541e", None: "#6b7a89"}


@dataclass(frozen=True)
class Note:
    """What a lesson says to its learner.

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
        most = max((abs(value) for _, value in self.bars), default=0) or 1
        drawn = "".join(
            f"<div style='display:flex;align-items:center;margin:3px 0'><span style='width:7em'>{html.escape(name)}"
            f"</span><span style='width:{16 * abs(value) / most:.2f}em;height:0.9em;background:{colour}'></span>"
            f"<span style='margin-left:0.6em'>{value:.4g} {html.escape(self.unit)}</span></div>"
            for (name, value), colour in zip(self.bars, ("#8fa3b5", "#35b5ac"), strict=False)
        )
        edge = f"border-left:4px solid {INK[self.right]};padding:6px 12px;margin:4px 0"
        return f"<div style='{edge}'>{drawn}{html.escape(self.text)}</div>"


@dataclass(frozen=True)
class Link:
    """A link, shown as one in a notebook."""

    text: str
    address: str

    def __repr__(self) -> str:
        return f"{self.text}: {self.address}"

    def _repr_html_(self) -> str:
        return f'<a href="{html.escape(self.address)}" target="_blank">{html.escape(self.text)}</a>'


def tuner_link(notebook: str = "tuner.ipynb") -> Link | Note:
    """Return a link to the tuner as a page of Voila's, on the Jupyter server that this kernel belongs to.

    Parameters
    ----------
    notebook : str
        Its path from the working directory.
    """
    server = parent()
    if not server:
        return Note("No Jupyter server is known here; in a terminal, seaicekit tune opens the same page.")
    path = Path(notebook).absolute().relative_to(server["root_dir"])
    return Link("Open the tuner as a page", f"{server['base_url']}voila/render/{quote(path.as_posix())}")


def predict(guess: float | None, truth: float, unit: str = "") -> Note:
    """Show a guess beside the truth.

    Parameters
    ----------
    guess : float or None
        None keeps the truth hidden: first guess, then look. So does what is no number.
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
        said = "Within a tenth of it: well guessed."
    else:
        said = "Too high" if guess > truth else "Too low"
        said += f", by {abs(guess - truth):.3g} {'points' if unit == '%' else unit}".rstrip()
        said += ". What did you not think of?"
    return Note(said, None, (("your guess", guess), ("the truth", truth)), unit)


def check(exercise: str, answer: Any, *material: Any) -> Note:
    """Say whether an exercise's answer is right, or give a hint.

    Parameters
    ----------
    exercise : str
        Its number, such as "2.1".
    answer
        None says that there is none yet.
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


def _near(answer: Any, wanted: float, tolerance: float = 0.01) -> bool:
    return abs(_number(answer) - wanted) <= tolerance * abs(wanted)


def _concentration(answer: Any, truth: Any) -> str:
    """1.1: the share of the sea that is ice."""
    counts = np.bincount(as_codes(truth).ravel(), minlength=256)
    ice, sea = counts[THIN_ICE] + counts[THICK_ICE], counts[: THICK_ICE + 1].sum()
    if _near(answer, ice / sea, 0.001):
        return ""
    if _near(answer, (counts.sum() - counts[OPEN_WATER]) / counts.sum(), 0.001):
        return "You have counted 255 as ice: that is the grey corner, which the satellite did not see."
    if _near(answer, ice / counts.sum()):
        return "You have divided by all pixels. The grey corner was not seen by the satellite: it is neither ice nor sea."
    if _near(answer, 100 * ice / sea):
        return "That is in per cent; give a share from 0 to 1."
    if _near(answer, counts[THICK_ICE] / sea):
        return "Thin ice is ice, too."
    return "Count the pixels with code 1 or 2, and divide by those with code 0, 1 or 2."


def _water_area(answer: Any, truth: Any, pixel_size: float) -> str:
    """1.2: square kilometres of open water."""
    pixels = np.count_nonzero(as_codes(truth) == OPEN_WATER)
    wanted = pixels * pixel_size**2 / 1e6
    if _near(answer, wanted):
        return ""
    if _near(answer, pixels * pixel_size / 1e3):
        return "A pixel has an area: its side must be multiplied by itself."
    if _near(answer, wanted * 1e6) or _near(answer, wanted * 1e3):
        return "A square kilometre has 1000 × 1000 square metres."
    return "Count the pixels with code 0, multiply by the area of one pixel in m², and turn that into km²."


def _cuts(answer: Any, path: Any, truth: Any) -> str:
    """2.1: cuts nearly as good as the best two."""
    if not isinstance(answer, Thresholds):
        return "Give cuts, such as sik.Thresholds(20, 150)."
    pixels, known = labelled_pixels(path, truth)
    water, thin, most = thresholds.best_cuts(pixels.max(axis=1), known)
    accuracy = float((answer.classify(pixels) == known).mean())
    if accuracy >= 0.98 * most:
        return ""
    worse = {"water_max": abs(answer.water_max - water), "thin_max": abs(answer.thin_max - thin)}
    name = max(worse, key=lambda each: worse[each])
    far = "high" if getattr(answer, name) > {"water_max": water, "thin_max": thin}[name] else "low"
    return (
        f"These cuts are right for {accuracy:.1%} of the pixels, and better ones exist: {name} is too {far}."
    )


def _dark_thick_ice(answer: Any) -> str:
    """2.2: a dark colour that the rule calls thick ice."""
    colour = np.asarray(answer)
    if (
        colour.shape != (3,)
        or not np.issubdtype(colour.dtype, np.integer)
        or colour.min() < 0
        or colour.max() > 255
    ):
        return "Give three whole numbers from 0 to 255, as (red, green, blue)."
    if Thresholds().classify(colour.astype(np.uint8)) != THICK_ICE:
        return "The rule does not call this thick ice: which of the three numbers does it look at?"
    if colour.mean() > 100:
        return (
            "The rule calls this thick ice, but it is bright on average: make the other two numbers smaller."
        )
    return ""


def _opacity(answer: Any) -> str:
    """3.1: how much cloud lifts water above the paper's cut."""
    water, cloud, cut = max(CLASS_COLOURS[OPEN_WATER]), max(CLOUD_COLOUR), Thresholds().water_max
    wanted = (cut - water) / (cloud - water)
    if _near(answer, wanted, 0.05):
        return ""
    if _near(answer, 100 * wanted, 0.05):
        return "That is in per cent; give a share from 0 to 1."
    seen = laws.veil(water, _number(answer), cloud)
    return f"With this opacity water is seen at {seen:.0f}. Solve (1 - a) × water + a × cloud = {cut} for a."


def _improved(answer: Any, before: Any, after: Any, truth: Any) -> str:
    """3.2: which share of the changes were for the better."""
    before, after, known = (as_codes(each) for each in (before, after, truth))
    changed = (before != after) & (known != NODATA)
    wanted = (after == known)[changed].mean()
    if _near(answer, wanted):
        return ""
    if _near(answer, (after == known)[known != NODATA].mean()):
        return "That is the accuracy on all pixels. Look only at the pixels that the filter has changed."
    return "Of the pixels where before and after differ (no data left out): in which share is after equal to truth?"


def _bounds(answer: Any, labels: float, agreement: float) -> str:
    """4.1: between which accuracies a network can be, that agrees so far with labels so good."""
    wanted = labels + agreement - 1, 1 - abs(labels - agreement)
    try:
        low, high = (_number(each) for each in answer)
    except TypeError:
        return "Give two numbers, as (lowest, highest)."
    if abs(low - max(0, wanted[0])) < 0.005 and abs(high - wanted[1]) < 0.005:
        return ""
    if abs(low - max(0, wanted[0])) < 0.005:
        return "The lowest is right. Highest: let it disagree with the labels only where they are wrong."
    return "Lowest: let all its disagreements be new mistakes. Then they add to the mistakes of the labels."


def _lost(answer: Any, made: Mapping, truths: Mapping) -> str:
    """4.2: the class of which most is missed."""
    found = evaluate(made, truths)["classes"]
    recall = {
        entry.code: found[entry.name]["recall"] for entry in LEGEND if found[entry.name]["recall"] is not None
    }
    if answer not in recall:
        return "Give the code of a class: 0 open water, 1 thin ice, 2 thick ice."
    if recall[answer] == min(recall.values()):
        return ""
    return f"Of {LEGEND[answer].name}, {recall[answer]:.0%} is found. Of another class less."


def _share(answer: Any, speedup: float, workers: float) -> str:
    """5.1: Amdahl's share from a speed-up."""
    wanted = laws.parallel_share(speedup, workers)
    if _near(answer, wanted, 0.003):
        return ""
    if _near(answer, speedup / workers, 0.003):
        return "That is the efficiency. The share that is parallel is more: even a small rest costs much."
    seen = float(laws.amdahl(_number(answer), workers))
    return (
        f"With this share {workers} workers would be {seen:.2f} times as fast. Try another, or solve for it."
    )


def _traffic(answer: Any, parameters: int, ranks: int) -> str:
    """5.2: bytes that a rank sends in a ring all-reduce."""
    wanted = 2 * (ranks - 1) / ranks * parameters * 4
    if _near(answer, wanted):
        return ""
    if _near(answer, wanted / 4):
        return "Those are numbers; each one takes four bytes."
    if _near(answer, wanted / 2):
        return "That is half of it: sums go round the ring once, and the result goes round once more."
    return "A rank sends 2 (n - 1) / n times as many numbers as the network has, and each number takes four bytes."


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
