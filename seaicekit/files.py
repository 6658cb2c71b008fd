"""Files that are either complete or absent, their paths and URLs, and the error for a user to read."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FREE_SPACE = "free some space and run the same again, what is finished stays"
PARTIAL = ".partial-"  # begins the name of each folder of an unfinished file
LOCK = ".lock"  # the file by which a run of `autolabel` holds its folder; it stays there
RUN_MARKER = ".seaicekit-run"  # the file that marks a run's folder
SCHEMES = ("s3", "gs", "https", "http")  # of URLs that are read and written
STORES = {"s3": "s3fs", "gs": "gcsfs"}  # scheme → the module that fsspec needs for it
_ANY = r"[^=&#\s%]*"
# Names of the options in a URL's query that hold keys, tokens and signatures.
KEYS = (
    rf"{_ANY}(?:sig|token|secret|credential|passw|pwd|auth|jwt"
    rf"|(?:api|access|subscription|account)[-_]?key){_ANY}"
)


class InputError(ValueError):
    """Something the user gave cannot be used: one line that names it, the cause and the way out."""


def require(extra: str | None, purpose: str, *modules: str) -> None:
    """Check that optional modules are installed, without importing them.

    Parameters
    ----------
    extra : str or None
        Name of the extra in ``pyproject.toml``; None if a module is a package that is installed by itself.
    purpose : str
        What needs it; the error message begins with it.
    *modules : str
        Modules that are needed.

    Raises
    ------
    InputError
        A module is missing.

    Examples
    --------
    >>> require("spark", "engine spark", "no_such_module")
    Traceback (most recent call last):
    seaicekit.files.InputError: engine spark needs no_such_module: pip install 'seaicekit[spark]'
    >>> require(None, "a tile index", "no_such_module")
    Traceback (most recent call last):
    seaicekit.files.InputError: a tile index needs no_such_module: pip install no_such_module
    """
    for module in modules:
        if find_spec(module) is None:
            package = f"'seaicekit[{extra}]'" if extra else module
            raise InputError(f"{purpose} needs {module}: pip install {package}")


def require_store(path: str) -> None:
    """Check that the library of a URL's object store is installed.

    Raises
    ------
    InputError
        It is missing.
    """
    scheme = path.partition("://")[0].lower()
    if scheme in STORES:
        require("cloud", f"{scheme}://", STORES[scheme])


def is_url(path: str | os.PathLike) -> bool:
    """Say whether a path is a URL.

    Raises
    ------
    InputError
        A URL whose scheme is none of `SCHEMES`.
    """
    scheme = re.match(r"([^/#?]+)://", str(path))
    if scheme and scheme[1].lower() not in SCHEMES:
        known = ", ".join(f"{each}://" for each in SCHEMES)
        raise InputError(f"{path}: cannot use {scheme[1]}://; give a path, or a URL of {known}")
    return scheme is not None


def as_path(path: str | os.PathLike) -> Any:
    """Return a path, or for a URL such as ``s3://bucket/name`` an object with the same methods (fsspec's)."""
    if not is_url(path):
        return Path(path)
    require_store(str(path))
    from upath import UPath

    return UPath(str(path))


def output_path(out_dir: str | os.PathLike, name: str) -> str:
    """Return the path or URL of a file in an output folder."""
    return f"{str(out_dir).rstrip('/')}/{name}" if is_url(out_dir) else str(Path(out_dir).resolve() / name)


def without_credentials(text: str) -> str:
    """Remove the keys, tokens, signatures, user names and passwords from the URLs in a text.

    A URL may also stand encoded among another one's options.
    """
    text = re.sub(r"(\w(?::|%3A)//)[^/\s]*@", r"\1", text)
    text = re.sub(rf"(?i)([?&#](?:{KEYS}|key)=)[^&#\s'\"]*", r"\1", text)
    return re.sub(rf"(?i)((?:%3F|%26)(?:{KEYS}|key)%3D)(?:[^&#\s'\"%]|%(?!26))*", r"\1", text)


def without_query(text: str) -> str:
    """Remove the query, which may hold tokens, from the URLs in a text."""
    return re.sub(r"(\w+://[^\s?]*)\?[^\s'\"]*", r"\1", text)


def relative_path(path: str | os.PathLike, file: str | os.PathLike) -> str:
    """Return the name by which ``file`` refers to a path or URL, without keys.

    The name is relative if both are in one run's folder, so that the folder can be moved.
    """
    text = without_credentials(os.fspath(path))
    if "://" in text or "://" in str(file):
        return text
    folder = Path(os.path.realpath(file)).parent
    root = next((each for each in (folder, *folder.parents) if (each / RUN_MARKER).exists()), None)
    inside = root is not None and text.startswith(f"{root}{os.sep}")
    return os.path.relpath(text, folder) if inside else text


def resolve_path(name: str, file: str | os.PathLike) -> str:
    """Return the path or URL to which a name in ``file`` refers; the inverse of `relative_path`."""
    if "://" in name or "://" in str(file) or os.path.isabs(name):
        return name
    return os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(file)), name))


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path; when the block ends without an error, its file becomes ``path`` in one step.

    The temporary path is in a hidden folder beside ``path``. So the rename stays on one file system, and
    the folder takes away the other files that a driver writes. An object store has no rename: the file
    is finished on this machine and then uploaded.

    Raises
    ------
    InputError
        The folder of ``path`` cannot be made or written, or is full.
    """
    target = as_path(path)
    remote = is_url(path)
    try:
        if not remote:
            target.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=PARTIAL, dir=None if remote else target.parent)
    except OSError as error:
        raise InputError(
            f"{target.parent}: cannot write there ({error.strerror}); choose another output folder"
        ) from error
    with folder as name:
        temporary = Path(name) / target.name
        try:
            yield temporary
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise InputError(f"{target}: cannot be written ({error.strerror}); {FREE_SPACE}") from error
        if remote:
            _upload(temporary, target)
        else:
            os.replace(temporary, target)


def _upload(finished: Path, target: Any) -> None:
    """Copy a finished file to an object store, where it appears in one step."""
    try:
        target.fs.put_file(str(finished), target.path)
    except Exception as error:  # each store's library raises its own errors
        raise InputError(
            f"{target}: cannot write there ({error}); check the address and your credentials"
        ) from error


@contextmanager
def remote_errors(path: str | os.PathLike) -> Iterator[None]:
    """Turn an error of a file system or an archive into one line that names the file."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # each protocol's library raises its own errors
        cause = str(getattr(error, "strerror", None) or error.__cause__ or error).replace(str(path), "")
        cause = without_query(" ".join(cause.split())) or type(error).__name__
        result, way = "read", "check the path"
        if is_url(path):
            result, way = "reached", "check the address and the network"
        raise InputError(f"{without_query(str(path))}: cannot be {result} ({cause}); {way}") from error


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write ``text`` to ``path`` in one step."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON, in one step; NaN, which JSON lacks, is refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike) -> dict:
    """Read the JSON object in ``path``.

    Raises
    ------
    InputError
        The file is missing, or is not a JSON object.
    """
    try:
        value = json.loads(as_path(path).read_text(encoding="utf-8"))
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
