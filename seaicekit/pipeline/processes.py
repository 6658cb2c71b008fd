"""The processes of a run: their memory is measured, and none outlives its notebook or a killed run.

This file is also run as a script: it waits for the end of its standard input, which the run holds open.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator

TOKEN = "SEAICEKIT_RUN"  # an environment variable that a notebook's kernel has, and all below it inherit
DONE = b"done"
QUIET_SECONDS = 2.0  # without a process of the run's, for one may be just starting another
SAMPLE_SECONDS = 0.2  # between two looks at the memory
TERMINATE_SECONDS = 3.0  # for a process to end when it is asked to, before it is killed


@contextlib.contextmanager
def guarded_kernel() -> Iterator[type]:
    """Yield a kernel manager; end what its kernels started when the ``with`` block ends.

    A process stands by that does so where this one is killed. Processes that somebody else started, also in
    this very process, are left alone.
    """
    from jupyter_client import AsyncKernelManager

    token = uuid.uuid4().hex

    class GuardedKernel(AsyncKernelManager):
        """Starts kernels with the token in their environment."""

        async def _async_pre_start_kernel(self, **options):
            environment = dict(options.get("env") or os.environ) | {TOKEN: token}
            return await super()._async_pre_start_kernel(**options | {"env": environment})

    guard = subprocess.Popen([sys.executable, __file__, token], stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield GuardedKernel
    finally:
        end_all(token, 0)
        with contextlib.suppress(BrokenPipeError):  # somebody has killed the guard
            guard.communicate(DONE)


def end_all(token: str, quiet_seconds: float = QUIET_SECONDS) -> None:
    """End the processes that have a token, whoever their parent is now, until none appears for a while."""
    import psutil

    quiet, asked = time.monotonic(), set()
    while True:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(TOKEN) == token and process.status() != psutil.STATUS_ZOMBIE:
                    if process in asked:
                        process.kill()
                    else:
                        process.terminate()
                    found.append(process)
        if found:
            asked |= set(found)
            psutil.wait_procs(found, timeout=TERMINATE_SECONDS)
            quiet = time.monotonic()
        elif time.monotonic() - quiet >= quiet_seconds:
            return
        time.sleep(0.1)


@contextlib.contextmanager
def memory_watch(pid: int | None = None) -> Iterator[dict[str, int]]:
    """Measure the memory of a process, by default this one, and of all below it for a ``with`` block.

    Yields a dict whose ``peak`` is the largest sum of proportional set sizes seen, in bytes: memory shared
    by several processes counts once. No process is ended.
    """
    import psutil

    memory, stop, process = {"peak": 0}, threading.Event(), psutil.Process(pid)

    def sample() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            total = 0
            for each in [process, *process.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    total += each.memory_full_info().pss
            memory["peak"] = max(memory["peak"], total)

    watcher = threading.Thread(target=sample, daemon=True)
    watcher.start()
    try:
        yield memory
    finally:
        stop.set()
        watcher.join()


if __name__ == "__main__":
    if sys.stdin.buffer.read() != DONE:
        end_all(sys.argv[1])
