"""What the tuner writes beside its points: where it was left, and where saved cuts come from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seaicekit.classes import Legend
from seaicekit.files import InputError, read_json, without_query
from seaicekit.labels import Rule
from seaicekit.thresholds import ReferencePoints, Thresholds, score_classes

FORMAT = "seaicekit-tuner-2"
OPTIONS = ("cloud_filter", "window", "nodata")  # of the rule, that the tuner has controls for


def read_state(path: Path, initial: Thresholds | None) -> tuple[Rule, Legend, str] | None:
    """Return the rule, the classes and the scene of a tuner that was left, or None if that is no use.

    It is none if the tuner began with other cuts than ``initial``. A broken file is passed over, as cuts and
    points have files of their own.
    """
    try:
        state = read_json(path)
        same = state["format"] == FORMAT and state["initial"] == (initial and initial.to_dict())
        rule = Rule(Thresholds.from_dict(state["thresholds"]), **state["rule"])
        return (rule, Legend.from_json(state["classes"]), state["scene"]) if same else None
    except (InputError, KeyError, TypeError):
        return None


def provenance(rule: Rule, points: ReferencePoints, who: str, scenes: Mapping[str, Any]) -> dict:
    """Describe where cuts come from: who chose them, when, on which scenes and points, and their score."""
    rgb, codes = points.pixels()
    score = None
    if len(codes):
        known = sorted({*codes.tolist(), *rule.thresholds.legend.codes})
        found = score_classes(rule.thresholds.classify(rgb), codes, known)
        interval = list(found.accuracy_range)
        score = {"of": "the cuts alone", "accuracy": found.accuracy, "interval": interval}
    return {
        "who": who,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "scenes": {name: without_query(str(path)) for name, path in scenes.items()},
        "points": {"count": len(codes), "file": "points.geojson" if len(codes) else None},
        "score": score,
        "rule": {name: value for name, value in rule.to_dict().items() if name != "thresholds"},
    }


def batch_options(rule: Rule) -> str:
    """Return what a batch run needs besides the thresholds file, which holds the cuts alone."""
    values, usual = rule.to_dict(), Rule().to_dict()
    changed = [f"-p {name} {values[name]}" for name in OPTIONS if values[name] != usual[name]]
    options = " ".join(changed).replace("False", "false")
    return f" For a batch as you see it add {options}." if changed else ""
