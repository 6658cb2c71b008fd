"""Files that are either whole or not there, and the one error a user is meant to read."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """Something the user gave cannot be used: one line that names it, the cause and the way out."""


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a place to write; when the block ends well, rename what stands there to ``path``.

    The place is in a hidden folder beside ``path``, so that the rename stays on one file system and
    whatever a driver leaves beside its output goes with the folder.

    Raises
    ------
    InputError
        The folder of ``path`` cannot be made or written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent)
    except OSError as error:
        raise InputError(
            f"{path.parent}: cannot write there ({error.strerror}); choose another output folder"
        ) from error
    with folder as name:
        temporary = Path(name) / path.name
        yield temporary
        os.replace(temporary, path)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write ``text`` to ``path`` in one step."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, value: object) -> None:
    """Write ``value`` to ``path`` as indented JSON, in one step; NaN is refused, for JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike) -> dict:
    """Read the JSON object in ``path``.

    Raises
    ------
    InputError
        The file is missing, or is not a JSON object.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); write it again") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a JSON object; write it again")
    return value


def sha256(path: str | os.PathLike) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
