"""Which processes a run ends: those that its notebooks start, and no others."""

import asyncio
import os
import subprocess
import sys

import psutil
import pytest

from seaicekit import pipeline
from seaicekit.pipeline.processes import TOKEN, guarded_kernel

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def sleeper():
    """Start a sleeping process on demand; end it after the test."""
    started = []
    yield lambda **options: started.append(subprocess.Popen(SLEEP, **options)) or started[0]
    for process in started:
        process.kill()
        process.wait()


def test_memory_watch_leaves_a_child_that_the_caller_starts(sleeper):
    with pipeline.memory_watch() as memory:
        child = sleeper()
        psutil.Process().cpu_percent(0.5)
    assert child.poll() is None and memory["peak"] > 10e6


def test_a_guarded_kernels_children_are_ended_and_the_callers_are_not(sleeper):
    async def kernel_environment(manager):
        options = await manager(kernel_name="python3")._async_pre_start_kernel(
            env=os.environ | {"GIVEN": "1"}
        )
        return options[1]["env"]

    with guarded_kernel() as manager:
        child = sleeper()
        environment = asyncio.run(kernel_environment(manager))
        own = subprocess.Popen(SLEEP, env=environment, start_new_session=True)
    own.wait(5)
    assert environment["GIVEN"] == "1" and environment[TOKEN]
    assert child.poll() is None and TOKEN not in os.environ
