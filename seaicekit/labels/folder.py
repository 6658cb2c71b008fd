"""The output folder of a run: a lock on it, and the scratch files in it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from seaicekit.files import FREE_SPACE, LOCK, PARTIAL, InputError, as_path, is_url, output_path, remote_errors

SCRATCH = ".scratch"


class RunError(InputError):
    """An error that ends the run, for it is not one scene's fault."""


@contextlib.contextmanager
def hold_folder(out_dir: str | os.PathLike) -> Iterator[str]:
    """Hold an output folder for one run; yield its scratch folder, which is removed at the end.

    What a killed run left there is removed at the start; the system released its lock. The lock file
    stays. A folder in an object store cannot be locked, so two runs must not write into it at the same time.

    Raises
    ------
    InputError
        Another run holds the folder, or it cannot be written.
    """
    # Never the scratch folder of a killed run, whose workers may still write into it.
    scratch = output_path(out_dir, f"{SCRATCH}/{uuid.uuid4().hex}")
    with _remote_scratch(scratch) if is_url(out_dir) else _lock(Path(scratch).parents[1], out_dir):
        if not is_url(scratch):
            Path(scratch).mkdir(parents=True)
        yield scratch


@contextlib.contextmanager
def _remote_scratch(scratch: str) -> Iterator[None]:
    folder = as_path(scratch)
    with remote_errors(scratch):
        folder.exists()  # fails early if the server cannot be reached
    try:
        yield
    finally:
        with remote_errors(scratch), contextlib.suppress(FileNotFoundError):
            folder.fs.rm(folder.path, recursive=True)


@contextlib.contextmanager
def _lock(folder: Path, name: str | os.PathLike) -> Iterator[None]:
    lock = FileLock(folder / LOCK, blocking=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"{name}: another run is labelling into it; wait, or choose another folder"
        ) from error
    except OSError as error:
        raise InputError(
            f"{name}: cannot write there ({error.strerror}); choose another output folder"
        ) from error
    try:
        for unfinished in (folder / SCRATCH, *folder.glob(f"{PARTIAL}*")):
            shutil.rmtree(unfinished, ignore_errors=True)
        yield
    finally:
        shutil.rmtree(folder / SCRATCH, ignore_errors=True)
        # The file stays. If it were removed, two runs could lock two files of the same name.
        lock.release()


def save_array(path: str, values: np.ndarray) -> None:
    """Write an array to the scratch folder, whole or not at all.

    Raises
    ------
    RunError
        It cannot be written.
    """
    if is_url(path):
        with remote_errors(path), as_path(path).open("wb") as file:
            np.save(file, values)
        return
    draft = f"{path}.{uuid.uuid4().hex}"  # not shared by two tries of one task
    try:
        with open(draft, "wb") as file:
            np.save(file, values)
        os.replace(draft, path)
    except OSError as error:  # NumPy does not give the reason of a short write
        reason = error.strerror or os.strerror(errno.ENOSPC)
        raise RunError(f"{os.path.dirname(path)}: cannot be written ({reason}); {FREE_SPACE}") from error


def load_array(path: str) -> np.ndarray:
    """Read an array that `save_array` wrote."""
    with (
        remote_errors(path) if is_url(path) else contextlib.nullcontext(),
        as_path(path).open("rb") as file,
    ):
        return np.load(file)
