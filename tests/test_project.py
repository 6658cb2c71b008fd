"""The habits: style, light imports, versions that agree, one way of imports."""

import json
import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement

from benchmarks import imports


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]])
def test_ruff(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *arguments, str(ROOT)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_import_is_light():
    code = (
        "import sys, seaicekit\n"
        "import seaicekit.pipeline, seaicekit.training.launch, seaicekit.training.loop\n"
        "print([m for m in ('tensorflow', 'keras', 'pyspark', 'leafmap', 'horovod.tensorflow') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import seaicekit"], capture_output=True, text=True
    )
    assert done.returncode == 0 and re.search(r"\bseaicekit\b", done.stderr)
    assert not re.search(r"\b(cv2|xarray|rasterio|pandas|numpy)\b", done.stderr)


def test_every_public_name_is_there_and_documented():
    import seaicekit as sik

    for name in sik.__all__:
        assert getattr(sik, name).__doc__
    assert callable(sik.autolabel) and sik.autolabel.__doc__.startswith("Label scenes")


def test_folders_import_upwards_only():
    """A folder imports from folders above it, and only what their ``__init__.py`` gives."""
    found = list(imports.between_folders(ROOT / "seaicekit"))
    assert found and not [str(each) for each in found if each.is_backward or each.reaches_past]


def test_files_of_a_folder_import_without_circles():
    for folder in imports.FOLDERS:
        assert imports.order(ROOT / "seaicekit" / folder), folder


def requirements():
    """Return package → requirement, of the dependencies and of the extra ``all``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    [all_extras] = (Requirement(line) for line in extras["all"])
    assert all_extras.name == "seaicekit" and all_extras.extras == set(extras) - {"all"}
    lines = project["dependencies"] + [line for name in sorted(all_extras.extras) for line in extras[name]]
    return {Requirement(line).name: line for line in lines}  # an extra may narrow a version


def conda_environment():
    """Return the requirements of environment.yml: those for conda, those for pip."""
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    return [entry for entry in entries if isinstance(entry, str)], next(
        entry["pip"] for entry in entries if isinstance(entry, dict)
    )


def test_conda_environment_has_the_same_versions():
    assert (ROOT / "binder" / "environment.yml").read_text() == (ROOT / "environment.yml").read_text()
    conda, pip = conda_environment()
    asked = requirements()
    horovod = asked.pop("horovod")  # built by postBuild
    assert sorted(pip) == sorted(asked.values())
    assert any(re.fullmatch(r"python=3\.11(\.\*)?", entry) for entry in conda)
    post = (ROOT / "binder" / "postBuild").read_text()
    assert horovod in post
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["extra-build-variables"][
        "horovod"
    ]
    assert all(f"{key}={value}" in post for key, value in build.items())


def test_all_and_the_conda_environment_hold_the_ten_packages():
    """The ten packages that the project promises in one environment; conda gets Horovod from postBuild."""
    ten = {"jupyterlab", "ipywidgets", "xarray", "rioxarray", "dask", "leafmap", "tensorflow-cpu", "horovod"}
    ten |= {"pyspark", "papermill"}
    pip = {Requirement(line).name for line in conda_environment()[1]}
    assert ten <= set(requirements()) and ten - {"horovod"} <= pip


def test_python_version_is_pinned():
    assert (ROOT / ".python-version").read_text() == "3.11\n"
    ignored = subprocess.run(["git", "check-ignore", "-q", ".python-version"], cwd=ROOT)
    assert ignored.returncode == 1


def test_versions_agree():
    import seaicekit as sik

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == sik.__version__ and sik.__version__ in (ROOT / "CHANGELOG.md").read_text()
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == sik.__version__


def test_notebooks_are_committed_bare():
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            assert not cell.get("outputs") and cell.get("execution_count") is None, path.name


def test_readme_numbers_come_from_the_demos_file():
    """Each per cent in the README's result table is the rounding of a figure in docs/demo.json."""
    figures = json.loads((ROOT / "docs" / "demo.json").read_text())
    shown = re.findall(r"\| (\d+\.\d) % \|", (ROOT / "README.md").read_text())
    keys = ("accuracy", "accuracy_labels", "accuracy_cuts", "majority_accuracy")
    assert shown == [f"{100 * figures[key]:.1f}" for key in keys]
    water, error = (100 * figures[key] for key in ("water_recall", "concentration_error"))
    told = (
        f"finds {water:.1f} % of the open water, and puts the ice concentration {error:.1f} points too high"
    )
    assert told in (ROOT / "README.md").read_text()


def guide():
    """Return the text of the guide's pages."""
    return "\n".join(path.read_text() for path in sorted((ROOT / "docs" / "guide").glob("*.md")))


def rows(name):
    """Return the rows of a benchmark's file."""
    return json.loads((ROOT / "docs" / f"{name}.json").read_text())["rows"]


def test_figures_of_the_benchmarks_in_the_guide_are_measured():
    names = ("label", "engines", "tuner", "train", "predict")  # the later one counts
    found = [row for name in names for row in rows(f"bench_{name}")]
    saved = {row["what"]: row for row in found} | {f"{row['part']}: {row['what']}": row for row in found}
    shown = re.findall(r"^\| (.+?) \| ([\d.e+-]+) \| (.*?) \|$", guide(), re.MULTILINE)
    shown = [each for each in shown if each[0] in saved]
    assert len(shown) >= 30
    for what, value, target in shown:
        assert float(value) == float(f"{saved[what]['value']:.4g}"), what
        wanted = saved[what]["target"].replace(">=", "≥").replace("<=", "≤")
        assert target == wanted, what


def test_accuracies_in_the_guide_are_measured():
    raw = json.loads((ROOT / "docs" / "bench_accuracy.json").read_text())["raw"]
    shown = re.findall(
        r"^\| (.+?) \| ([\d.]+)(?: ± [\d.]+)? \| ([\d.]+)(?: ± [\d.]+)? \|$", guide(), re.MULTILINE
    )
    assert len(shown) == 6
    for rule, *values in shown:
        for setting, value in zip(("demo", "hard"), values, strict=True):
            wanted = {"rule": rule, "stratum": "all", "score": "accuracy", "class": ""}
            [row] = [row for row in raw[setting]["scores"] if wanted.items() <= row.items()]
            assert value == f"{100 * row['mean']:.1f}", (rule, setting)


def test_figures_of_options_in_the_guide_are_measured():
    found = {row["what"]: row for row in rows("bench_label")}

    def accuracy(what):
        return f"{found[what]['value']:.3f}"

    def noted(what):
        return float(re.match(r"[\d.]+", found[what]["note"])[0])

    tile = "cloudy: accuracy, by tile, window"
    dark = ("light 0.7, cuts alone: accuracy, normalised", "light 0.7, filter and cuts: accuracy, normalised")
    sentences = (
        f"{noted(f'{tile} 155')} % of the labels change with the window kept, {noted(f'{tile} 19')} % with",
        f"Accuracy is {accuracy('cloudy: accuracy, whole scene')} by scene, {accuracy(f'{tile} 155')} and "
        f"{accuracy(f'{tile} 19')} by tile.",
        f"at 0.7 of the light the cuts alone score {noted(dark[0]):.2f}, and {found[dark[0]]['value']:.2f} with",
        f"With the cloud filter they score {noted(dark[1]):.2f} and {found[dark[1]]['value']:.2f},",
    )
    for sentence in sentences:
        assert sentence in guide()


def test_readme_is_short_and_begins_with_the_two_commands():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 130
    for command in ("seaicekit demo", "pytest"):
        assert any(line.startswith(f"pip install uv && uv run {command} ") for line in lines[:20])


@pytest.mark.exhaustive  # some forty seconds without a cache
def test_types():
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
