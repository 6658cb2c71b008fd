"""What runs in GitHub Actions is what .ci/run and CONTRIBUTING.md say."""

import re
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yml")}


def commands(name):
    """Return the lines that a workflow runs."""
    steps = [step for job in WORKFLOWS[name]["jobs"].values() for step in job["steps"]]
    return "\n".join(step["run"] for step in steps if "run" in step).splitlines()


def told(pattern):
    """Return the command of that pattern in CONTRIBUTING.md, without its comment."""
    block = re.search(r"```sh\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[1]
    [line] = [line for line in block.splitlines() if pattern in line]
    return line.split("#")[0].strip()


@pytest.mark.parametrize(
    ("schema", "files"),
    [("github-workflows", sorted(FOLDER.glob("*.yml"))), ("citation-file-format", [ROOT / "CITATION.cff"])],
)
def test_files_are_valid(schema, files):
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        f"vendor.{schema}",
        *map(str, files),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_there_are_tests_pages_nightly_and_binder_and_each_job_has_an_end():
    assert set(WORKFLOWS) == {"tests", "docs", "nightly", "binder"}
    for workflow in WORKFLOWS.values():
        assert all("timeout-minutes" in job or "needs" in job for job in workflow["jobs"].values())


def test_the_tests_are_those_of_ci_run():
    assert commands("tests") == [".ci/run"]
    assert f"pip install uv && {told('uv run pytest  ')}" in (ROOT / ".ci" / "run").read_text()
    assert "pip install uv && uv run pytest" in (ROOT / "README.md").read_text()


def test_the_pages_are_built_as_contributing_says():
    assert told("sphinx-build") in commands("docs")
    upload = next(
        step for step in WORKFLOWS["docs"]["jobs"]["build"]["steps"] if "upload" in step.get("uses", "")
    )
    assert told("sphinx-build").endswith(upload["with"]["path"])


def test_long_series_run_every_night_as_contributing_says():
    assert told("exhaustive") in commands("nightly")
    assert all(
        "schedule" in WORKFLOWS[name][True] for name in ("nightly", "binder")
    )  # YAML reads "on" as True


def test_binder_is_asked_for_this_repository_and_commit():
    text = " ".join(commands("binder"))
    assert "https://mybinder.org/build/gh/${{ github.repository }}/${{ github.sha }}" in text


def test_what_is_checked_before_a_commit_is_what_contributing_says():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    entries = [hook["entry"].removesuffix(" --force-exclude") for hook in hooks]
    for line in told("ruff").split(" && "):
        assert line.removesuffix(" .") in entries
    assert told("mypy") in entries
