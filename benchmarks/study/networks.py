"""The networks of a study: what each sees and learns, trained with several seeds, and their maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.study.benchmark import Group
from benchmarks.study.material import Material, claim
from seaicekit import mapping, tiles, training
from seaicekit.files import read_json

if TYPE_CHECKING:
    import pandas as pd

    from seaicekit.tiles import Inputs
    from seaicekit.training import Launcher

    Maps = dict[int, dict[str, dict[str, str]]]  # seed → rule → scene → raster

LEARNED = {"auto": "labels", "man": "truth"}  # what a person would label by hand is here the truth itself


@dataclass(frozen=True)
class Variant:
    """A network by what it learns, "auto" (filtered labels) or "man" (the truth), and by what it sees."""

    learns: str
    sees: Inputs

    @property
    def name(self) -> str:
        """How tables call it, after the paper."""
        return f"U-Net-{self.learns.title()} on {self.sees}"

    @property
    def folder(self) -> str:
        """How its folders are called."""
        return f"{self.learns}-{self.sees}"


def variants(*seen: Inputs) -> list[Variant]:
    """Return the networks that learn filtered labels and the truth, for each input."""
    for each in seen:
        tiles.check_inputs(each)
    return [Variant(learns, each) for each in seen for learns in LEARNED]


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
    import pandas as pd

    claim(material.folder, "networks.json", {"ranks": ranks, **settings})
    rows = []
    for variant in chosen:
        for seed in seeds:
            folder = material.folder / "models" / f"{variant.folder}-{seed}"
            rows.append({"variant": variant.name, "seed": seed, "folder": str(folder)})
            rows[-1] |= _trained(
                material, variant, folder, ranks, launcher, progress, settings | {"seed": seed}
            )
    return pd.DataFrame(rows)


def _trained(
    material: Material,
    variant: Variant,
    folder: Path,
    ranks: int,
    launcher: Launcher,
    progress: bool,
    settings: dict,
) -> dict:
    if (folder / "training.json").exists():
        found = read_json(folder / "training.json")
    else:
        wanted = {"inputs": variant.sees, "targets": LEARNED[variant.learns], "resume": True}
        if progress:
            print(f"{variant.name}, seed {settings['seed']}")
        found = training.train(
            material.folder / "tiles.parquet",
            folder,
            progress=progress,
            ranks=ranks,
            launcher=launcher,
            **settings | wanted,
        )
    last = {name: found["epochs"][-1][name] for name in ("loss", "val_accuracy")}
    return {name: found[name] for name in ("seconds", "images_per_second", "parameters")} | last


def predict(
    material: Material,
    chosen: Sequence[Variant],
    seeds: Sequence[int] = (0, 1, 2),
    group: Group = "heldout",
    progress: bool = True,
) -> Maps:
    """Map a group's scenes with each trained network; maps that are there are left as they are.

    Returns
    -------
    dict
        Seed → name of the variant → scene → path of the class raster.
    """
    from tqdm.auto import tqdm

    paths = material.of(group)[0]["path"]
    found: dict[int, dict] = {seed: {} for seed in seeds}
    for variant in tqdm(chosen, "maps", disable=not progress):
        for seed in seeds:
            name = f"{variant.folder}-{seed}"
            folder = material.folder / "maps" / group / name
            missing = {scene: path for scene, path in paths.items() if not (folder / f"{scene}.tif").exists()}
            if missing:
                mapping.predict(material.folder / "models" / name / "model.keras", missing, folder)
            found[seed][variant.name] = {scene: str(folder / f"{scene}.tif") for scene in paths.index}
    return found
