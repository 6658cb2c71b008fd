"""A run's folder: as the notebooks use it, and as a batch makes, holds and clears it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from seaicekit import labels, maps, scenes, tiles, training
from seaicekit.files import PARTIAL, RUN_MARKER, InputError, is_url
from seaicekit.parameters import Parameters
from seaicekit.pipeline import resume
from seaicekit.pipeline.chain import STAGES
from seaicekit.pipeline.parameters import STAGE_PARAMETERS, RunParameters
from seaicekit.thresholds import Thresholds

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd


TARGETS = ("labels", "raw", "truth")  # that are not a folder


def _show_figures() -> None:
    """Let a notebook show figures as pictures, as ``%matplotlib inline`` does."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell:
        shell.enable_matplotlib("inline")


class Run:
    """A run's folder: where each notebook's results are, and the results of those before.

    Parameters
    ----------
    folder : path
        Need not exist yet.

    Attributes
    ----------
    folder : Path
    scenes_file, thresholds_file, tiles_file, model_file : Path
    labels_folder, model_folder, maps_folder : Path
        What the notebooks write.
    """

    def __init__(self, folder: str | os.PathLike):
        _show_figures()
        self.folder = Path(folder)
        self.scenes_file = self.folder / "scenes.json"
        self.thresholds_file = self.folder / "thresholds.json"
        self.labels_folder = self.folder / "labels"
        self.tiles_file = self.folder / "tiles.parquet"
        self.model_folder = self.folder / "model"
        self.model_file = self.model_folder / "model.keras"
        self.maps_folder = self.folder / "maps"

    @property
    def catalogue(self) -> pd.DataFrame:
        """The scenes, as from `seaicekit.scenes.load_catalogue`."""
        return scenes.load_catalogue(self.scenes_file)

    @property
    def cuts(self) -> Thresholds:
        """The calibrated cuts."""
        return Thresholds.load(self.thresholds_file)

    @property
    def labels(self) -> pd.Series:
        """Scene → path of its label raster, of the scenes that have one."""
        return labels.load_labels(self.labels_folder).set_index("scene")["labels"].dropna()

    @property
    def tiles(self) -> pd.DataFrame:
        """The tile index, as from `seaicekit.tiles.read_tiles`."""
        return tiles.read_tiles(self.tiles_file)

    @property
    def card(self) -> training.Card:
        """What the trained model is, as from `seaicekit.training.read_card`."""
        return training.read_card(self.model_file)

    def parameters(self, stage: str, variables: Mapping[str, Any]) -> Any:
        """Check a notebook's parameters and return them as one object.

        Parameters
        ----------
        stage : str
            Name of the notebook, such as "04_train".
        variables : dict
            The notebook's variables, ``globals()``; those that are no parameters are passed over.

        Returns
        -------
        seaicekit.parameters.Parameters
            Can be passed wherever a part of them is asked for.

        Raises
        ------
        InputError
            A value of another type or out of range.
        """
        model: type[Parameters] = STAGE_PARAMETERS[stage]
        return model(**{name: variables[name] for name in model.model_fields if name in variables})

    def figure(self, name: str, figure: matplotlib.figure.Figure) -> matplotlib.figure.Figure:
        """Save a figure as ``figures/NAME.png``, and return it to be shown."""
        return maps.save(figure, self.folder / "figures" / f"{name}.png")


def check_inputs(out: Path, parameters: RunParameters) -> RunParameters:
    """Check the places of a run's inputs, and return the parameters with absolute ones.

    Raises
    ------
    InputError
        A place that cannot be read, or that the run would write over.
    """
    given = {name: getattr(parameters, name) for name in ("scenes", "thresholds", "targets")}
    local = {
        name: place for name, place in given.items() if place and place not in TARGETS and not is_url(place)
    }
    for name, place in local.items():
        path = Path(place).expanduser().absolute()
        if out.resolve() in (path.resolve(), *path.resolve().parents):
            raise InputError(
                f"{out}: holds the {name}, which a run there would remove; choose another output folder"
            )
        local[name] = str(path)
    if parameters.scenes:
        check_scenes(local.get("scenes", parameters.scenes))
    if "targets" in local and not any(Path(local["targets"]).glob("*.tif")):
        raise InputError(f"targets: {local['targets']} holds no rasters; name them SCENE.tif")
    if parameters.thresholds:
        Thresholds.load(local.get("thresholds", parameters.thresholds))
    return RunParameters.of(parameters, **local)


def check_scenes(where: str) -> None:
    """Check that scenes enough to train and to test on can be read.

    Raises
    ------
    InputError
        No scene, none that can be read, or only a single tile.
    """
    reasons, count = [], 0
    for path in scenes.find_scenes(where):
        try:
            with scenes.open_reader(path) as reader:
                scenes.check_scene(reader)
                count += len(scenes.blocks(reader.shape, tiles.TILE_SIZE))
        except InputError as error:
            reasons.append(str(error))
        if count > 1:
            return
    if count:
        raise InputError(
            f"{where}: a single tile of {tiles.TILE_SIZE} pixels cannot be trained and tested on; add scenes"
        )
    more = f" (none of the other {len(reasons) - 1} can be used either)" if reasons[1:] else ""
    raise InputError(reasons[0] + more)


def prepare(out: Path) -> Path | None:
    """Make a run's folder; return the topmost folder that had to be made."""
    created = next((folder for folder in [*reversed(out.parents), out] if not folder.exists()), None)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; choose another output folder")
    if out.is_dir() and any(out.iterdir()) and not (out / RUN_MARKER).exists():
        raise InputError(f"{out}: holds something that is no run; choose an empty or a new output folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise InputError(
            f"{out}: cannot write there ({error.strerror}); choose another output folder"
        ) from error
    (out / RUN_MARKER).touch()
    return created


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Lock a run's folder for a ``with`` block, and clear what a killed run left half written.

    The system releases the lock however this process ends.
    """
    try:
        with FileLock(out / RUN_MARKER, timeout=0):
            for folder in (out, out / "figures"):  # no stage clears them, for none has them alone
                for partial in folder.glob(f"{PARTIAL}*"):
                    shutil.rmtree(partial, ignore_errors=True)
            yield
    except Timeout:
        raise InputError(
            f"{out}: another run is at work there; wait for it, or choose another folder"
        ) from None


def remove_run(out: Path, created: Path | None) -> None:
    """Remove all of a run that could not begin, and the folders that were made for it."""
    for stage in STAGES:
        resume.clear(out, stage)
    for name in (resume.RECORD, RUN_MARKER):
        (out / name).unlink(missing_ok=True)
    for name in ("figures", "notebooks"):
        shutil.rmtree(out / name, ignore_errors=True)
    with contextlib.suppress(OSError):  # not empty
        for folder in (out, *out.parents):
            if created and folder.is_relative_to(created):
                folder.rmdir()
