"""What is installed: the members of the wheel, and a clean environment that has nothing else."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata

import light
import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
    parts = {part for name in asked for part in name.split("/")}
    assert parts >= {"notebooks", "presets", "schemas", "templates"}
    assert not [name for name in members if "checkpoint" in name.split("/") or name.endswith(".pyc")]
    with tarfile.open(made[".gz"]) as archive:
        inside = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert inside >= committed(
        "seaicekit", "notebooks", "tests", "docs", "README.md", "LICENSE", "pyproject.toml"
    )


def check_extras_are_named(folder):
    """Check what tests/light.py wrote: each function beyond the core names what to install."""
    named = json.loads((folder / "named.json").read_text())
    assert list(named) == list(light.FUNCTIONS)
    for call, extra in light.FUNCTIONS.items():
        package = f"'seaicekit[{extra}]'" if extra else "pyarrow"
        assert f"pip install {package}" in named[call] or "the extra 'train'" in named[call], call


def closure(lines):
    """Return the names of the installed distributions that requirements bring, directly or not."""
    names, waiting = set(), [Requirement(line) for line in lines]
    while waiting:
        asked = waiting.pop()
        for extra in ("", *asked.extras):
            key = (canonicalize_name(asked.name), extra)
            if key in names:
                continue
            names.add(key)
            try:
                found = [Requirement(line) for line in metadata.requires(asked.name) or ()]
            except metadata.PackageNotFoundError:
                continue
            waiting += [
                each for each in found if each.marker is None or each.marker.evaluate({"extra": extra})
            ]
    return {name for name, _ in names}


HIDE = """
import json, sys
from importlib.machinery import PathFinder
from pathlib import Path

folder = Path(sys.argv[1])
hidden = set(json.loads((folder / "hidden.json").read_text()))

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in hidden else super().find_spec(name, path, target)

sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
import light
light.main(folder)
"""


def test_without_extras_a_scene_is_labelled_and_drawn_and_functions_name_their_extra(tmp_path):
    """As in an environment without extras: modules that only extras bring are hidden."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = closure(project["dependencies"])
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    optional = closure(line for line in extras if not line.startswith("seaicekit[")) - core
    hidden = ["odc.stac"] + [
        module
        for module, owners in metadata.packages_distributions().items()
        if {canonicalize_name(owner) for owner in owners} <= optional
    ]
    assert {"tensorflow", "pyspark", "leafmap", "pyarrow", "papermill"} <= set(hidden)
    (tmp_path / "hidden.json").write_text(json.dumps(hidden))
    path = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", HIDE, str(tmp_path)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    check_extras_are_named(tmp_path)


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
def test_a_wheel_without_extras_labels_and_draws_and_functions_name_their_extra(clean, tmp_path):
    folder, _ = clean
    shutil.copy(ROOT / "tests" / "light.py", tmp_path)
    run(tmp_path, folder / "venv" / "bin" / "python", "light.py", tmp_path)
    check_extras_are_named(tmp_path)
    done = run(tmp_path, folder / "venv" / "bin" / "seaicekit", "run", *SMALL, check=False)
    assert done.returncode == 2 and not (tmp_path / "run").exists()
    assert done.stderr == ("seaicekit: running notebooks needs papermill: pip install 'seaicekit[batch]'\n")


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_a_wheel_runs_up_to_training_and_says_before_what_training_needs(clean, tmp_path):
    folder, wheel = clean
    seaicekit = folder / "venv" / "bin" / "seaicekit"

    def refused(reason):
        done = run(tmp_path, seaicekit, "run", *SMALL, check=False)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr and not (tmp_path / "run").exists()
        assert (
            f"training needs the extra 'train' ({reason})" in done.stderr and training.INSTALL in done.stderr
        )

    run(tmp_path, "uv", "pip", "install", "--python", folder / "venv", f"{wheel}[batch,lab,spark]")
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
