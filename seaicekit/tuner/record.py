"""What the tuner leaves in its folder: where it was, and where cuts come from."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seaicekit import thresholds
from seaicekit.classes import LEGEND, Legend
from seaicekit.files import InputError, read_json
from seaicekit.labels import Rule
from seaicekit.scenes import without_query
from seaicekit.thresholds import Thresholds, presets

FORMAT = "seaicekit-tuner-1"


class Files:
    """The files of `seaicekit.ThresholdTuner`, which has what is written there."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Stand for what the tuner, of which this is a part, has."""

    def _provenance(self) -> dict:
        rgb, codes = self.points.pixels()
        legend = self._legend.codes
        score = thresholds.score_classes(self.thresholds.classify(rgb), codes, legend) if len(codes) else None
        return {
            "who": self._who.value,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "scenes": {name: without_query(str(path)) for name, path in self._named.items()},
            "points": {"count": len(codes), "file": "points.geojson" if len(codes) else None},
            "score": score
            and {"of": "the cuts alone", "accuracy": score.accuracy, "interval": list(score.accuracy_range)},
            "rule": {name: value for name, value in self.rule.to_dict().items() if name != "thresholds"},
        }

    def _for_the_batch(self) -> str:
        """Say what a batch must be told, for the thresholds file holds the cuts alone."""
        plain, now = Rule().to_dict(), self.rule.to_dict()
        told = [
            f"-p {name} {now[name]}"
            for name in ("cloud_filter", "window", "nodata")
            if now[name] != plain[name]
        ]
        return f" For a batch as you see it add {' '.join(told).replace('False', 'false')}." if told else ""

    def _state(self) -> dict:
        return {
            "format": FORMAT,
            "given": self._given and self._given.to_dict(),
            "thresholds": self.thresholds.to_dict(),
            "rule": {name: getattr(self.rule, name) for name in ("cloud_filter", "window", "nodata")},
            "classes": Legend(entry for entry in self._entries.values() if entry not in LEGEND).to_json(),
            "scene": self._now,
        }

    def _earlier(self) -> dict | None:
        """Return where an earlier tuner in this folder was, unless other cuts are given now than were then."""
        file = self._folder / "tuner.json"
        if not file.is_file():
            return None
        try:
            state = read_json(file)
            Thresholds.from_dict(state["thresholds"]), state["rule"]["nodata"], state["scene"]
            known = set(Legend.from_json(state["classes"]))
        except (
            InputError,
            KeyError,
            TypeError,
        ):  # it is only where one was; cuts and points have files of their own
            return None
        fits = state.get("format") == FORMAT and known is not None
        return state if fits and (self._given is None or state["given"] == self._given.to_dict()) else None

    def _list_presets(self) -> None:
        own = self._folder / "presets"
        self._preset.options = [("", None), *presets(own if own.is_dir() else None).items()]

    def _use_preset(self, path: Path) -> None:
        cuts = Thresholds.load(path)
        for entry in cuts.legend:
            mine = self._entries.get(entry.code)
            if mine and mine.name != entry.name:
                raise InputError(
                    f"{path}: class {entry.code} is {entry.name} there, {mine.name} here; renumber one"
                )
        self.set(cuts)

    def _keep_preset(self) -> None:
        name = "".join(letter for letter in self._name.value if letter.isalnum() or letter in " -_").strip()
        if not name:
            return self._say("Give the preset a name of letters and digits.", wrong=True)
        path = self._folder / "presets" / f"{name}.json"
        self.thresholds.save(path, self._provenance())
        self._list_presets()
        self._say(f"Kept as {path}.")
