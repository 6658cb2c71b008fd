"""What is installed: the members of the wheel, and a clean environment that has nothing else."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
from conftest import ROOT

from seaicekit import training


def built(folder, *options):
    """Run ``python -m build``; return the files it made."""
    command = [sys.executable, "-m", "build", *options, "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.suffix: path for path in folder.iterdir()}


def committed(*folders):
    listed = subprocess.run(["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, text=True)
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}


def test_the_wheel_holds_the_package_with_its_notebooks_presets_schemas_and_templates(tmp_path):
    made = built(tmp_path, "--no-isolation")
    members = {name for name in zipfile.ZipFile(made[".whl"]).namelist() if ".dist-info/" not in name}
    asked = committed("seaicekit") | {f"seaicekit/{name}" for name in committed("notebooks")}
    assert asked <= members
    assert {name.split("/")[1] for name in asked} >= {"notebooks", "presets", "schemas", "templates"}
    assert not [name for name in members if "checkpoint" in name.split("/") or name.endswith(".pyc")]
    with tarfile.open(made[".gz"]) as archive:
        inside = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert inside >= committed(
        "seaicekit", "notebooks", "tests", "docs", "README.md", "LICENSE", "pyproject.toml"
    )


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A new environment with the wheel alone: (its folder, the wheel)."""
    folder = tmp_path_factory.mktemp("clean")
    wheel = built(folder / "dist")[".whl"]
    run(folder, "uv", "venv", "--python", sys.executable, folder / "venv")
    run(folder, "uv", "pip", "install", "--python", folder / "venv", wheel)
    return folder, wheel


def run(cwd, *command, check=True):
    """Run a command outside the checkout, in an environment that knows nothing of this one."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not re.match("VIRTUAL_ENV|PYTHON|UV_PROJECT", name)
    }
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, capture_output=True, text=True, env=kept, timeout=900
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


SMALL = ["-p", "synthetic_count", 4, "-p", "synthetic_size", 512, "-p", "engine", "serial", "--out", "run"]


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_a_wheel_alone_runs_up_to_training_and_says_before_what_training_needs(clean, tmp_path):
    folder, wheel = clean
    seaicekit = folder / "venv" / "bin" / "seaicekit"

    def refused(reason):
        done = run(tmp_path, seaicekit, "run", *SMALL, check=False)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr and not (tmp_path / "run").exists()
        assert (
            f"training needs the extra 'train' ({reason})" in done.stderr and training.INSTALL in done.stderr
        )

    refused("TensorFlow is not installed")
    for stage in ("01_scenes", "02_calibrate", "03_autolabel"):
        done = run(tmp_path, seaicekit, "run", *SMALL, "--only", stage, check=False)
        assert done.returncode == 0 and f"{stage}. Report so far" in done.stdout, done.stderr
    assert len(list((tmp_path / "run" / "labels").glob("*.tif"))) == 4
    done = run(tmp_path, seaicekit, "run", *SMALL, "--only", "04_train", check=False)
    assert done.returncode == 2 and training.INSTALL in done.stderr
    shutil.rmtree(tmp_path / "run")

    # As pip alone does it: Horovod is built, for nothing, and without a word.
    run(tmp_path, "uv", "pip", "install", "--no-config", "--python", folder / "venv", f"{wheel}[train]")
    refused("Horovod was built without TensorFlow")
    done = run(tmp_path, seaicekit, "doctor", check=False)
    assert (
        done.returncode == 1 and "built without TensorFlow" in done.stdout and "Traceback" not in done.stderr
    )
