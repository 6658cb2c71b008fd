"""How much memory a run takes, and that nothing of it stays running."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

SAMPLE_SECONDS = 0.2


@contextlib.contextmanager
def memory_watch(pid: int | None = None) -> Iterator[dict[str, int]]:
    """Watch a process, by default this one, and all below it for a ``with`` block; end what it left running.

    Yields a dict whose ``peak`` is the largest sum of proportional set sizes seen, in bytes: memory shared
    by several processes counts once.
    """
    import psutil

    memory, seen, stop, this = {"peak": 0}, {}, threading.Event(), psutil.Process(pid)

    def sample() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            total = 0
            for process in [this, *this.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    total += process.memory_full_info().pss
                    seen[process.pid] = process
            memory["peak"] = max(memory["peak"], total)

    before = {process.pid for process in this.children(recursive=True)} | {this.pid}
    watcher = threading.Thread(target=sample, daemon=True)
    watcher.start()
    try:
        yield memory
    finally:
        stop.set()
        watcher.join()
        left = [process for process in seen.values() if process.pid not in before and process.is_running()]
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        for process in psutil.wait_procs(left, timeout=5)[1]:
            with contextlib.suppress(psutil.Error):
                process.kill()
