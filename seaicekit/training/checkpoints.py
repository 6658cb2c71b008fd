"""The state of a training after an epoch, in files that are written in one step."""

from __future__ import annotations

import json
import os
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seaicekit.files import InputError, atomic_write

if TYPE_CHECKING:
    import keras

KEPT = 2  # the newest, and the one before it in case that is damaged
FOLDER = "checkpoints"


def save(out_dir: str | os.PathLike, variables: list[keras.Variable], state: dict) -> None:
    """Write the variables and a state of JSON values with ``epoch``; keep the newest `KEPT` checkpoints.

    Raises
    ------
    InputError
        The disk is full; earlier checkpoints stay.
    """
    path = Path(out_dir) / FOLDER / f"epoch_{state['epoch']:05}.npz"
    arrays = {f"v{number:05}": np.asarray(variable) for number, variable in enumerate(variables)}
    text = np.frombuffer(json.dumps(state).encode(), np.uint8)
    with atomic_write(path) as place:
        try:
            np.savez(place, state=text, **arrays)
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror}); free some space and train again with "
                "resume=True, the checkpoint before it is kept"
            ) from error
    for old in _paths(out_dir)[KEPT:]:
        old.unlink()


def newest(out_dir: str | os.PathLike) -> tuple[list[np.ndarray], dict, list[str]] | None:
    """Read the newest checkpoint that is not damaged; None where there is none.

    Returns
    -------
    variables : list of arrays
    state : dict
    messages : list of str
        Which damaged checkpoints were skipped.

    Raises
    ------
    InputError
        All are damaged.
    """
    paths = _paths(out_dir)
    messages: list[str] = []
    for path in paths:
        try:
            with np.load(path, allow_pickle=False) as arrays:  # reading checks each member's CRC-32
                state = json.loads(arrays["state"].tobytes())
                return [arrays[name] for name in sorted(arrays.files) if name != "state"], state, messages
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            messages.append(f"{path}: is damaged ({error}); going on from the checkpoint before it")
    if paths:
        raise InputError(
            f"{paths[0]}: is damaged, and no other checkpoint is whole; train again with resume=False"
        )
    return None


def restore(variables: list[keras.Variable], arrays: list[np.ndarray]) -> None:
    """Put a checkpoint's arrays into the variables that `save` took."""
    if [tuple(v.shape) for v in variables] != [a.shape for a in arrays]:
        raise InputError("resume: the checkpoint is of another network; train again with resume=False")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def clear(out_dir: str | os.PathLike) -> None:
    """Remove all checkpoints."""
    for path in _paths(out_dir):
        path.unlink()


def _paths(out_dir: str | os.PathLike) -> list[Path]:
    """List the checkpoints, the newest first."""
    paths = (Path(out_dir) / FOLDER).glob("epoch_*.npz")
    return sorted((path for path in paths if re.fullmatch(r"epoch_\d+", path.stem)), reverse=True)
