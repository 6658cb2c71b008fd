"""Small files and facts from a path or a URL alike; pixels are the raster library's business."""

from __future__ import annotations

import hashlib
import os
import re
import string
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from seaicekit.files import InputError, is_url, require, require_store, sha256

if TYPE_CHECKING:
    import fsspec

TIMEOUT_SECONDS = 20  # to wait for a server
MAX_METADATA_BYTES = 1 << 26  # bytes of the largest metadata file that is read


def without_query(text: str) -> str:
    """Return text without what follows a URL's question mark, where tokens stand."""
    return re.sub(r"(\w+://[^\s?]*)\?[^\s'\"]*", r"\1", text)


def signed_url(path: str) -> str:
    """Return what to open for ``path``: of a URL its encoded form, with a token where one is needed.

    Microsoft's blobs need one; it is got here, at opening, and never stored.

    Raises
    ------
    InputError
        The server of the tokens is out of reach, or a library that the URL needs is not installed.
    """
    if not is_url(path):
        return path
    require_store(path)
    if not path.lower().startswith("http"):
        return path
    if (urlsplit(path).hostname or "").endswith(".blob.core.windows.net"):
        require("stac", "Microsoft's Planetary Computer", "planetary_computer")
        import planetary_computer

        with remote_errors(path):
            path = planetary_computer.sign(path)
    return quote(path, safe=string.punctuation)


def read_bytes(path: str) -> bytes:
    """Read a metadata file, of a path or a URL.

    Raises
    ------
    InputError
        Missing, or out of reach.
    """
    with remote_errors(path), _filesystem(path).open(signed_url(path), "rb") as file:
        return file.read(MAX_METADATA_BYTES)


def digest(path: str) -> str:
    """Return a file's hexadecimal SHA-256; for a URL that of its ETag, or else of its size and date.

    Raises
    ------
    InputError
        Missing, or out of reach.
    """
    with remote_errors(path):
        if not is_url(path):
            return sha256(path)
        info = _filesystem(path).info(signed_url(path))
    dates = [str(info[key]) for key in ("Last-Modified", "LastModified", "updated", "mtime") if info.get(key)]
    tag = info.get("ETag") or info.get("etag") or " ".join([str(info.get("size")), *dates])
    return hashlib.sha256(tag.encode()).hexdigest()


def quick_checksum(path: str) -> str:
    """Return a checksum of a file's size, time, first and last MiB; for a URL as `digest` does.

    Raises
    ------
    InputError
        Missing, or out of reach.
    """
    if is_url(path):
        return digest(path)
    with remote_errors(path), open(path, "rb") as file:
        status = os.stat(path)
        head = file.read(2**20)
        file.seek(max(0, status.st_size - 2**20))
        text = f"{status.st_size} {status.st_mtime_ns}".encode()
        return hashlib.sha256(text + head + file.read()).hexdigest()


@contextmanager
def remote_errors(path: str | os.PathLike) -> Iterator[None]:
    """Turn a file system's complaints into one line that names the file."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # each protocol's library, and each archive's, has errors of its own
        cause = " ".join(
            str(getattr(error, "strerror", None) or error.__cause__ or error).replace(str(path), "").split()
        )
        cause = without_query(cause)
        what, way = (
            ("reached", "check the address and the network") if is_url(path) else ("read", "check the path")
        )
        raise InputError(
            f"{without_query(str(path))}: cannot be {what} ({cause or type(error).__name__}); {way}"
        ) from error


def _filesystem(path: str) -> fsspec.AbstractFileSystem:
    import fsspec

    scheme = path.partition("://")[0].lower() if is_url(path) else "file"
    if not scheme.startswith("http"):
        return fsspec.filesystem(scheme)
    import aiohttp

    return fsspec.filesystem(scheme, client_kwargs={"timeout": aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)})
