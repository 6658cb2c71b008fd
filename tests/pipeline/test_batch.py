"""Batches: killed at any moment, interrupted, repeated, moved, swept; what is left behind."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import psutil
import pytest
from conftest import command, command_here

import seaicekit as sik
from seaicekit import pipeline
from seaicekit.files import PARTIAL

TINY = {
    "synthetic_count": 2,
    "synthetic_size": 256,
    "test_fraction": 0.5,
    "engine": "serial",
    "launcher": "inprocess",
    "ranks": 1,
    "width": 2,
    "depth": 2,
    "epochs": 2,
}
SPARK = TINY | {"engine": "spark", "launcher": "ipyparallel", "ranks": 2, "epochs": 200}
MARK = "SEAICEKIT_TEST_RUN"  # an environment variable, by which a run's processes are found


def plan(folder, given):
    return pipeline.plan(folder, pipeline.read_parameters(given))


def given(parameters):
    return [part for name, value in parameters.items() for part in ("-p", name, json.dumps(value))]


class Run:
    """``seaicekit run`` in a session of its own, with all that it starts."""

    def __init__(self, folder, parameters):
        self.folder, self.mark = Path(folder), uuid.uuid4().hex
        self.started = subprocess.Popen(
            [sys.executable, "-m", "seaicekit", "run", "--out", str(folder), *given(parameters)],
            env=os.environ | {MARK: self.mark},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def processes(self):
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def wait_for(self, stage, seconds=120):
        """Wait until a stage has begun and has processes of its own."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with contextlib.suppress(OSError, ValueError):
                stages = json.loads((self.folder / "stages.json").read_text())["stages"]
                if stage in stages and not stages[stage]["done"]:
                    return
            assert self.started.poll() is None, self.started.stderr.read()
            time.sleep(0.1)
        raise AssertionError(f"{stage} never began")

    def wait_for_process(self, name, count, seconds=60):
        until = time.monotonic() + seconds
        while sum(name in " ".join(process.cmdline()) for process in self.alive()) < count:
            assert time.monotonic() < until, f"no {count} of {name}"
            time.sleep(0.2)

    def alive(self):
        alive = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.cmdline()
                alive.append(process)
        return alive

    def open_to_others(self):
        """Return the sockets that listen elsewhere than on loopback."""
        found = [each for process in self.alive() for each in process.net_connections("tcp")]
        listening = [each.laddr for each in found if each.status == psutil.CONN_LISTEN]
        assert listening
        return [place for place in listening if place.ip not in ("127.0.0.1", "::1", "::ffff:127.0.0.1")]

    def kill_all(self):
        """``kill -9`` everything, also what starts meanwhile."""
        while found := self.processes():
            for process in found:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        self.started.wait(10)

    def left_after(self, seconds):
        """Return the processes that still run after so many seconds."""
        until = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < until:
            time.sleep(0.2)
        return [" ".join(process.cmdline())[:200] for process in left]


def results(folder):
    """What must be the same however often a run was stopped: bytes of labels, tiles and cuts, all scores."""
    folder = Path(folder)
    rasters = sorted([*(folder / "labels").glob("*.tif"), *(folder / "maps").glob("*.tif")])
    files = [*rasters, folder / "labels" / "labels.csv", folder / "tiles.parquet", folder / "thresholds.json"]
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["figures"].pop("images_per_second")  # how fast it was
    history = pd.read_csv(folder / "model" / "history.csv").filter(regex="loss|accuracy")
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}, metrics, history.to_dict()


def partial(folder):
    return [
        str(path) for path in Path(folder).rglob("*") if path.name.startswith((PARTIAL, ".scratch", "tmp"))
    ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A tiny run of one rank: its folder and how many seconds it took."""
    folder, start = tmp_path_factory.mktemp("undisturbed") / "run", time.monotonic()
    done = command("run", "--out", folder, *given(TINY))
    assert done.returncode == 0, done.stderr
    return folder, time.monotonic() - start


def killed_and_finished(folder, seed, kills, seconds):
    """Kill a run at random moments, one in each equal part of its time, and finish it; return the moments."""
    moments, random_ = [], random.Random(seed)
    for _ in range(kills):
        run = Run(folder, TINY)
        moment = random_.uniform(3, 3 + 1.3 * seconds / kills)
        moments.append(round(moment, 1))
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.started.wait(moment)
        run.kill_all()
    done = command("run", "--out", folder, *given(TINY))
    assert done.returncode == 0, done.stderr
    return moments


def same(one, other):
    for mine, theirs in zip(results(one), results(other), strict=True):
        assert mine == theirs


@pytest.fixture(scope="module")
def killed(undisturbed, tmp_path_factory):
    """The same run elsewhere, killed twice and finished."""
    folder = tmp_path_factory.mktemp("killed") / "again"
    print("killed after", killed_and_finished(folder, 1, 2, undisturbed[1]))
    return folder


def test_killed_twice_a_run_elsewhere_ends_bit_for_bit_as_an_undisturbed_one(undisturbed, killed):
    same(undisturbed[0], killed)
    assert partial(killed.parent) == []


def test_a_moved_run_is_left_as_it_is(killed, tmp_path):
    shutil.copytree(killed, tmp_path / "moved")
    assert not any(step.run for step in plan(tmp_path / "moved", TINY))
    tiles = sik.tiles.read_tiles(tmp_path / "moved" / "tiles.parquet")
    assert all(Path(path).is_file() for column in ("path", "labels", "truth") for path in tiles[column])
    assert all(Path(path).is_file() for path in sik.load_labels(tmp_path / "moved" / "labels")["labels"])
    assert str(tmp_path) in tiles["path"][0]
    for name in ("scenes.json", "labels/labels.csv", "tiles.parquet", "maps/maps.json"):
        assert b"again" not in (tmp_path / "moved" / name).read_bytes()
    for folder in (".", "figures"):
        (tmp_path / "moved" / folder / f"{PARTIAL}left").mkdir()
    done = command_here("run", "--out", tmp_path / "moved", *given(TINY))
    assert done.returncode == 0 and done.stderr.count("unchanged") == 5, done.stderr
    assert partial(tmp_path) == []


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_killed_twenty_times_runs_end_as_an_undisturbed_one(undisturbed, tmp_path):
    folder, seconds = undisturbed
    for seed in range(5):
        moments = killed_and_finished(tmp_path / str(seed), seed, 4, seconds)
        same(folder, tmp_path / str(seed))
        print(f"| {seed} | {', '.join(f'{moment} s' for moment in moments)} | as undisturbed |")
    assert partial(tmp_path) == []


def interrupted(run):
    """Press Ctrl-C, and see that all ends within ten seconds, with one word to the user."""
    start = time.monotonic()
    os.killpg(run.started.pid, signal.SIGINT)  # as a terminal does
    assert run.started.wait(10) == 130
    told = run.started.stderr.read()
    assert "the same command goes on from there" in told and "Traceback" not in told
    assert run.left_after(10 - (time.monotonic() - start)) == []


def test_nothing_outlives_a_killed_parent_or_ctrl_c_and_the_same_command_goes_on(tmp_path):
    run = Run(tmp_path / "run", SPARK)
    run.wait_for("03_autolabel")
    run.wait_for_process("java", 1)
    time.sleep(5)  # until Spark's page is there
    assert run.open_to_others() == []
    run.started.kill()
    assert run.left_after(20) == []
    for end in ("kill", "ctrl-c"):
        run = Run(tmp_path / "run", SPARK | {"engine": "serial"})
        run.wait_for("04_train")
        run.wait_for_process("ipyparallel.engine", 2)
        if end == "kill":
            run.started.kill()
            assert run.left_after(20) == []
        else:
            time.sleep(5)  # until the ranks have met
            assert run.open_to_others() == []
            interrupted(run)
    assert partial(tmp_path) == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("stage", pipeline.STAGES)
def test_ctrl_c_ends_every_stage_within_ten_seconds(stage, tmp_path):
    run = Run(tmp_path / "run", SPARK | {"epochs": 1 if stage == "05_map" else 200})
    run.wait_for(stage)
    time.sleep(random.Random(stage).uniform(0, 8))
    interrupted(run)
    assert partial(tmp_path) == []


def test_one_stage_alone_needs_those_before_it_and_none_after(tmp_path):
    done = command_here("run", "--only", "03", "--out", tmp_path / "run", *given(TINY))
    assert (
        done.returncode == 2 and "01_scenes: not done yet" in done.stderr and list(tmp_path.iterdir()) == []
    )
    done = command("run", "--only", "01", "--out", tmp_path / "run", *given(TINY))
    assert done.returncode == 0 and "Done: 01_scenes. Report so far" in done.stdout, done.stderr
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Not all stages are done" in page and page.count("data:image/png") == 2
    assert "metrics" not in json.loads((tmp_path / "run" / "run.json").read_text())
    before = sorted(path.name for path in tmp_path.rglob("*") if "notebooks" not in path.parts)
    failing = {"search": "Ross Sea", "catalog": "http://127.0.0.1:9", "dates": "2019-11-03"}
    done = command("run", "--out", tmp_path / "run", *given(failing | {"launcher": "inprocess", "ranks": 1}))
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert sorted(path.name for path in tmp_path.rglob("*") if "notebooks" not in path.parts) == before
    assert not plan(tmp_path / "run", TINY)[0].run  # what a network's hiccup did not destroy


def test_a_killed_kernel_and_a_second_run_are_told(tmp_path):
    run = Run(tmp_path / "run", TINY)
    run.wait_for("01_scenes")
    run.wait_for_process("ipykernel", 1)
    with pytest.raises(sik.InputError, match="another run is at work"):
        pipeline.run(tmp_path / "run", TINY, progress=False)
    time.sleep(2)
    for process in run.alive():
        if "ipykernel" in " ".join(process.cmdline()):
            process.kill()
    assert run.started.wait(60) == 1
    told = run.started.stderr.read()
    assert "kernel was killed" in told and "Traceback" not in told
    assert "kernel was killed" in (tmp_path / "run" / "report.html").read_text()


def test_damaged_records_and_products_stop_nothing(tmp_path):
    for text in ("{", "[]", '{"stages": []}', '{"stages": {"01_scenes": {"done": true}}}'):
        (tmp_path / "stages.json").write_text(text)
        assert [step.why for step in plan(tmp_path, TINY)] == ["not done yet"] * 5
    sik.scenes.write_synthetic(tmp_path / "in", 1, (64, 64))
    (tmp_path / "in" / "scenes" / "B.SAFE").mkdir()
    (tmp_path / "in" / "scenes" / "B.SAFE" / "MTD_MSIL1C.xml").write_text("<x/>")
    (tmp_path / "in" / "scenes" / "z.zip").write_text("no archive")
    assert plan(tmp_path, {"scenes": str(tmp_path / "in" / "scenes")})[0].run


@pytest.mark.parametrize("arguments", [("epochs", "[1"), ("dates", "2019-02-30"), ("epochs", "{a: 1, a: 2}")])
def test_values_that_are_no_yaml_are_told(arguments):
    done = command_here("run", "-p", *arguments)
    assert done.returncode == 2 and "not YAML" in done.stderr and "Traceback" not in done.stderr


def test_a_list_makes_a_grid_that_shares_what_it_can(undisturbed, tmp_path):
    (tmp_path / "grid").mkdir()
    shutil.copytree(undisturbed[0], tmp_path / "grid" / "epochs=2")
    (tmp_path / "grid" / ".seaicekit-sweep").touch()
    lists = TINY | {"epochs": [2, 1]}
    planned = command_here("run", "--dry-run", "--out", tmp_path / "grid", *given(lists))
    assert planned.stdout.count("leave") == 5 and planned.stdout.count("run  ") == 5
    done = command("run", "--out", tmp_path / "grid", *given(lists))
    assert done.returncode == 0, done.stderr
    assert "03_autolabel: shared with epochs=2" in done.stderr and "04_train: shared" not in done.stderr
    one, two = (json.loads((tmp_path / "grid" / f"epochs={n}" / "run.json").read_text()) for n in (1, 2))
    assert [each["run"] for each in one["stages"].values()] == [False] * 3 + [True] * 2
    assert (
        one["parameters"]["epochs"] == 1 and one["figures"]["epochs"] == 1 and two["figures"]["epochs"] == 2
    )
    table = pd.read_csv(tmp_path / "grid" / "comparison.csv").set_index("run")
    for run, name in ((one, "epochs=1"), (two, "epochs=2")):
        for key in ("accuracy", "accuracy_cuts", "agreement", "total_seconds"):
            assert table[key][name] == pytest.approx(run["figures"][key])
    assert list(table.columns[1:2]) == ["epochs"]
    page = (tmp_path / "grid" / "comparison.html").read_text()
    links = [unquote(link) for link in re.findall('href="([^"]+)"', page)]
    assert page.count("data:image/png;base64,") == 1 and links == [
        "epochs=2/report.html",
        "epochs=1/report.html",
    ]
    same(undisturbed[0], tmp_path / "grid" / "epochs=2")
    done = command_here(
        "report", tmp_path / "grid" / "epochs=1", undisturbed[0], "--out", tmp_path / "both.html"
    )
    assert done.returncode == 0 and "grid/epochs=1" in (tmp_path / "both.html").read_text(), done.stderr


def test_grids_are_all_combinations_and_a_parameters_own_list_is_a_value():
    names = list(pipeline.grid({"epochs": [1, 2], "inputs": ["rgb", "grey"], "normalise": [1, 99]}))
    assert names == [
        "epochs=1,inputs=rgb",
        "epochs=1,inputs=grey",
        "epochs=2,inputs=rgb",
        "epochs=2,inputs=grey",
    ]
    assert list(pipeline.grid({"normalise": [[1, 99], None]})) == ["normalise=1-99", "normalise=None"]
    assert list(pipeline.grid({"epochs": 3})) == [""]
    long = ["a" * 50 + "b", "a" * 50 + "c"]
    folders = ["/data/one/same", "/data/other/same"]
    names = [*pipeline.grid({"catalog": long, "search": "Ross Sea"}), *pipeline.grid({"scenes": folders})]
    assert len(set(names)) == 4 and all(len(name) < 60 for name in names)
    assert all("=same-" in name for name in names[2:])
    assert list(pipeline.grid({"scenes": folders[::-1]})) == names[:1:-1]  # in whatever order they are given
    for wrong, match in (
        ({"epochs": []}, "needs values"),
        ({"epochs": [1, 1]}, "each once"),
        ({"epochs": [1, "x"]}, "'x'"),
    ):
        with pytest.raises(sik.InputError, match=match):
            pipeline.grid(wrong)
