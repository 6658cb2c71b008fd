"""The networks of a study: what each sees and learns, trained with several seeds, and their maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from benchmarks.study.material import Group, Material, check_settings
from seaicekit import mapping, tiles, training
from seaicekit.files import read_json
from seaicekit.tiles import Inputs
from seaicekit.training import Launcher

Maps = dict[int, dict[str, dict[str, str]]]  # seed → rule → scene → raster
LEARNED = {"auto": "labels", "man": "truth"}  # what a person would label by hand is here the truth itself
KEPT = ("seconds", "images_per_second", "parameters")  # of a training


@dataclass(frozen=True)
class Variant:
    """A network by what it learns, "auto" (filtered labels) or "man" (the truth), and by what it sees."""

    learns: str
    sees: Inputs

    @property
    def name(self) -> str:
        """Its name in tables, after the paper."""
        return f"U-Net-{self.learns.title()} on {self.sees}"

    @property
    def folder(self) -> str:
        """How its folders' names begin."""
        return f"{self.learns}-{self.sees}"


def variants(*inputs: Inputs) -> list[Variant]:
    """Return the networks that learn filtered labels and the truth, for each input."""
    for each in inputs:
        tiles.check_inputs(each)
    return [Variant(learns, each) for each in inputs for learns in LEARNED]


def train(
    material: Material,
    chosen: Sequence[Variant],
    seeds: Sequence[int] = (0, 1, 2),
    ranks: int = 2,
    launcher: Launcher = "horovodrun",
    progress: bool = True,
    **settings: Any,
) -> pd.DataFrame:
    """Train each variant with each seed; what is trained already is left as it is.

    Parameters
    ----------
    material : Material
    chosen : sequence of Variant
    seeds : sequence of int
    ranks, launcher, **settings
        As for `seaicekit.train`.
    progress : bool
        Show a bar a training.

    Returns
    -------
    pandas.DataFrame
        A row a training: ``variant`` (name), ``seed``, ``folder``, ``seconds``, ``images_per_second``,
        ``parameters``, ``loss``, ``val_accuracy`` (agreement with what it learns, on development tiles).

    Raises
    ------
    InputError
        The folder holds networks of other settings, or as `seaicekit.train`.
    """
    check_settings(material.folder / "networks.json", {"ranks": ranks, **settings})
    rows = []
    for variant, seed in ((variant, seed) for variant in chosen for seed in seeds):
        folder = material.folder / "models" / f"{variant.folder}-{seed}"
        if not (folder / "training.json").exists():
            if progress:
                print(f"{variant.name}, seed {seed}")
            own: dict[str, Any] = {
                "inputs": variant.sees,
                "targets": LEARNED[variant.learns],
                "seed": seed,
                "resume": True,
            }
            own |= {"ranks": ranks, "launcher": launcher, "progress": progress}
            training.train(material.folder / "tiles.parquet", folder, **(settings | own))
        done = read_json(folder / "training.json")
        row = {"variant": variant.name, "seed": seed, "folder": str(folder)}
        row |= {name: done[name] for name in KEPT}
        rows.append(row | {name: done["epochs"][-1][name] for name in ("loss", "val_accuracy")})
    return pd.DataFrame(rows)


def predict(
    material: Material,
    chosen: Sequence[Variant],
    seeds: Sequence[int] = (0, 1, 2),
    group: Group = "heldout",
    progress: bool = True,
) -> Maps:
    """Map a group's scenes with each trained network; current maps are left as they are.

    Returns
    -------
    dict
        Seed → name of the variant → scene → path of the class raster.
    """
    paths = material.of(group)[0]["path"]
    maps: Maps = {seed: {} for seed in seeds}
    for variant in tqdm(chosen, "maps", disable=not progress):
        for seed in seeds:
            name = f"{variant.folder}-{seed}"
            model, folder = material.folder / "models" / name, material.folder / "maps" / group / name
            predicted = mapping.predict(model / "model.keras", paths, folder).set_index("scene")
            maps[seed][variant.name] = predicted["map"].to_dict()
    return maps
