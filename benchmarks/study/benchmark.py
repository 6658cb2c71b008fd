"""Which scenes a study is made on.

Settings of the generator that were written down before the first training.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from seaicekit.files import InputError

PRESET = Path(__file__).with_name("benchmark.yaml")
Group = Literal["training", "development", "heldout"]
Split = Literal["scene", "tile"]


@dataclass(frozen=True)
class Benchmark:
    """Scenes to learn from, to choose on, and to be scored on.

    Parameters
    ----------
    name : str
    size : int
        Pixels a side of each scene.
    cloud, overlap, thickness : float
        As for `seaicekit.scenes.synthetic_scene`; ``cloud`` is that of every second scene, the others are
        clear.
    training, development, heldout : (int, int)
        First seed and how many.
    split : "scene" or "tile"
        "tile" is the paper's: a fifth of all tiles of training and held-out scenes, drawn at random, is
        scored. It leaks, for neighbouring tiles stand on both sides.

    Raises
    ------
    InputError
        No scenes in a group, or a seed in two.
    """

    name: str
    size: int
    cloud: float
    overlap: float
    thickness: float
    training: tuple[int, int]
    development: tuple[int, int]
    heldout: tuple[int, int]
    split: Split = "scene"

    def __post_init__(self):
        taken: dict[int, str] = {}
        for group in get_args(Group):
            first, count = getattr(self, group)
            object.__setattr__(self, group, (first, count))
            if count < 1:
                raise InputError(f"{group}: must be at least 1 scene, not {count}")
            for seed in range(first, first + count):
                if taken.setdefault(seed, group) != group:
                    raise InputError(f"{group}: seed {seed} is one of {taken[seed]}, too; give fewer scenes")
        if self.split not in get_args(Split):
            raise InputError(f"split: must be one of {', '.join(get_args(Split))}, not {self.split!r}")

    @classmethod
    def load(
        cls,
        name: str = "demo",
        size: int | None = None,
        training: int | None = None,
        development: int | None = None,
        heldout: int | None = None,
        split: Split = "scene",
    ) -> Benchmark:
        """Return a benchmark as committed in ``presets/benchmark.yaml``, or a smaller or larger one of its kind.

        Parameters
        ----------
        name : str
            "demo" or "hard".
        size : int, optional
            Pixels a side.
        training, development, heldout : int, optional
            How many scenes.
        split : "scene" or "tile"
        """
        import yaml

        known = yaml.safe_load(PRESET.read_text(encoding="utf-8"))
        if name not in known:
            raise InputError(f"setting: must be one of {', '.join(known)}, not {name!r}")
        found = cls(name, **known[name], split=split)
        counts = {"training": training, "development": development, "heldout": heldout}
        changed: dict[str, Any] = {
            group: (getattr(found, group)[0], count) for group, count in counts.items() if count is not None
        }
        return replace(found, **changed | ({} if size is None else {"size": size}))

    def scenes(self, group: Group) -> dict[int, float]:
        """Return seed → share of cloud for a group's scenes."""
        first, count = getattr(self, group)
        return {first + number: self.cloud * (number % 2) for number in range(count)}

    def look(self, cloud: float) -> dict[str, float]:
        """Return what `seaicekit.scenes.synthetic_scene` needs beside seed and shape."""
        return {"cloud": cloud, "overlap": self.overlap, "thickness": self.thickness}

    def to_dict(self) -> dict:
        """Return the benchmark as JSON values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
