"""What several test files need: real imagery where it is, a small labelled set, one whole demo."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import seaicekit as sik

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def real():
    """The folder of real imagery; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real imagery is not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def modis(real):
    """Paths of the MODIS true-colour scenes."""
    return sik.catalogues.find(f"{real}/modis_dev/**/*truecolor*")


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Four small synthetic scenes, labelled and indexed: (folder, labelled, tiles)."""
    folder = tmp_path_factory.mktemp("small")
    sik.synthetic.write_set(folder, count=4, size=160, seed=5)
    labelled = sik.autolabel(sorted((folder / "scenes").iterdir()), folder / "labels", engine="serial")
    tiles = sik.tiles.index(labelled, folder / "tiles.parquet", size=64, test_fraction=0.5)
    return folder, labelled, tiles


def command(*arguments, cwd=None, timeout=580):
    """Run ``seaicekit`` as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "seaicekit", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=timeout,
    )


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """One real ``seaicekit demo``: (folder, manifest, what it printed)."""
    folder = tmp_path_factory.mktemp("demo") / "run"
    done = command("demo", "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder, json.loads((folder / "run.json").read_text()), done
