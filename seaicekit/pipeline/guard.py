"""End what a run has started when the run itself is killed and can end nothing any more.

This file is also run as a script: it waits for the end of its standard input, which the run holds open.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

TOKEN = "SEAICEKIT_RUN"  # an environment variable that all below a run inherit
DONE = b"done"
QUIET_SECONDS = 2.0  # without a process of the run's, for one may be just starting another


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Have a process stand by, for a ``with`` block, that ends all that is started in it if this one is killed."""
    token = uuid.uuid4().hex
    guard = subprocess.Popen([sys.executable, __file__, token], stdin=subprocess.PIPE, start_new_session=True)
    os.environ[TOKEN] = token
    try:
        yield
    finally:
        os.environ.pop(TOKEN, None)
        with contextlib.suppress(BrokenPipeError):  # somebody has killed the guard
            guard.communicate(DONE)


def end_all(token: str) -> None:
    """Kill the processes that a run has started, whoever their parent is now, until no more appear."""
    import psutil

    quiet = time.monotonic()
    while time.monotonic() - quiet < QUIET_SECONDS:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(TOKEN) == token and process.status() != psutil.STATUS_ZOMBIE:
                    process.kill()
                    quiet = time.monotonic()
        time.sleep(0.1)


if __name__ == "__main__":
    if sys.stdin.buffer.read() != DONE:
        end_all(sys.argv[1])
