"""Read metadata files and checksums from paths and URLs alike."""

from __future__ import annotations

import hashlib
import os
import string
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from seaicekit.files import is_url, remote_errors, require, require_store

if TYPE_CHECKING:
    import fsspec

TIMEOUT_SECONDS = 20  # to wait for a server
MAX_METADATA_BYTES = 1 << 26  # bytes of the largest metadata file that is read


def signed_url(path: str) -> str:
    """Return the address to open for ``path``: a URL is encoded, and signed where it needs a token.

    Microsoft's blobs need one. It is fetched here, at opening, and never stored.

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


def digest(path: str, quick: bool = False) -> str:
    """Return a hexadecimal checksum of a file: its SHA-256, or for a URL that of its ETag.

    Parameters
    ----------
    path : str
        Path or URL. A URL whose server gives no ETag is known by its size and date.
    quick : bool
        Take only a local file's size, time, first and last MiB.

    Raises
    ------
    InputError
        Missing, or out of reach.
    """
    if is_url(path):
        with remote_errors(path):
            info = _filesystem(path).info(signed_url(path))
        keys = ("Last-Modified", "LastModified", "updated", "mtime")
        version = [str(info.get("size")), *(str(info[key]) for key in keys if info.get(key))]
        tag = info.get("ETag") or info.get("etag") or " ".join(version)
        return hashlib.sha256(tag.encode()).hexdigest()
    with remote_errors(path), open(path, "rb") as file:
        if not quick:
            return hashlib.file_digest(file, "sha256").hexdigest()
        status = os.fstat(file.fileno())
        head = file.read(1 << 20)
        file.seek(max(0, status.st_size - (1 << 20)))
        mark = f"{status.st_size} {status.st_mtime_ns}".encode()
        return hashlib.sha256(mark + head + file.read()).hexdigest()


def quick_checksum(path: str) -> str:
    """Return a checksum of a file's size, time, first and last MiB; for a URL as `digest` does."""
    return digest(path, quick=True)


def _filesystem(path: str) -> fsspec.AbstractFileSystem:
    import fsspec

    scheme = path.partition("://")[0].lower() if is_url(path) else "file"
    if not scheme.startswith("http"):
        return fsspec.filesystem(scheme)
    import aiohttp

    return fsspec.filesystem(scheme, client_kwargs={"timeout": aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)})
