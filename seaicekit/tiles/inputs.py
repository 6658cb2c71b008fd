"""What the network sees of a scene, the same in training and in prediction."""

from __future__ import annotations

import os
from typing import Literal, get_args

import cv2
import numpy as np

from seaicekit import labels
from seaicekit.files import InputError
from seaicekit.labels import Rule, label_provenance

Inputs = Literal["rgb", "grey", "filtered"]


def check_inputs(variant: str) -> None:
    """Refuse a variant that `prepare_inputs` does not know."""
    if variant not in get_args(Inputs):
        raise InputError(f"inputs: must be one of {', '.join(get_args(Inputs))}, not {variant!r}")


def channels(variant: Inputs) -> int:
    """Return how many channels a variant has."""
    check_inputs(variant)
    return 3 if variant == "rgb" else 1


def labelling_rule(raster: str | os.PathLike) -> tuple[Rule, tuple[int, int] | None]:
    """Return the rule that a label raster was made by, and the brightnesses it stretched to 0 and 255.

    For a raster that `seaicekit.autolabel` did not make: the paper's rule and None.
    """
    made = label_provenance(raster)
    return (Rule.from_dict(made["rule"]), made["ends"]) if made else (Rule(), None)


def prepare_inputs(
    bands: np.ndarray,
    nodata: np.ndarray,
    variant: Inputs = "rgb",
    rule: Rule | None = None,
    resolution: float | None = None,
    scl: np.ndarray | None = None,
) -> np.ndarray:
    """Turn a scene into the network's input.

    Parameters
    ----------
    bands : (3, rows, columns) uint8
        Red, green, blue. "filtered" needs the whole scene, for the filter depends on its extent; the others
        take any part of one.
    nodata : (rows, columns) bool
    variant : "rgb", "grey" or "filtered"
        The bands; their grey by OpenCV's weights; or the brightness corrected by the thin-cloud and shadow
        filter (arXiv 2403.13135, section III; the paper trains on it), open water 0.
    rule : Rule, optional
        For "filtered": that of the labels, as from `labelling_rule`; the paper's by default.
    resolution : float, optional
        Metres a pixel, where the rule gives its window in metres.
    scl : (rows, columns) uint8, optional
        Scene classification, where the rule asks for it.

    Returns
    -------
    (rows, columns, channels) uint8
        0 where there is no data.

    Raises
    ------
    InputError
        An unknown variant, or a rule that needs metres or a scene classification which is not there.
    """
    check_inputs(variant)
    if variant == "rgb":
        return np.where(nodata, 0, bands).transpose(1, 2, 0)
    if variant == "grey":
        return np.where(nodata, 0, labels.to_grey(bands))[..., None]
    values = labels.filter_array(bands, nodata, rule or Rule(), resolution, scl)
    return cv2.copyTo(values, (~nodata).view(np.uint8))[..., None]
