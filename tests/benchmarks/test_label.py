import json

import numpy as np
import pytest
from conftest import command

import seaicekit as sik
from benchmarks import row, table
from benchmarks.label import write_scenes
from benchmarks.published_form import (
    COLOURS,
    filter_one_channel,
    filter_three_channels,
    label_one_channel,
    label_three_channels,
)


def test_label_writes_rows_and_raw_timings(tmp_path):
    parts = ("onecore", "scope", "illumination", "linear")
    asked = ("label", "--scenes", 4, "--size", 256, "--json", tmp_path / "b.json", "--part", *parts)
    done = command(*asked, module="benchmarks")
    assert done.returncode == 0, done.stderr
    saved = json.loads((tmp_path / "b.json").read_text())
    assert {each["part"] for each in saved["rows"]} == {"one core", *parts[1:]}
    assert saved["machine"]["versions"]["numpy"] == np.__version__ and saved["settings"]["scenes"] == 4
    raw = {name: np.median(taken) for name, taken in saved["raw"]["onecore"].items()}
    found = {each["what"]: each for each in saved["rows"]}
    one = found["filter, label: times the published form's speed"]
    assert one["value"] == pytest.approx(raw["published filter"] / raw["filter"], rel=1e-3)
    assert one["met"] == (one["value"] >= 2.5)
    assert done.stdout.count("\n| ") == len(saved["rows"]) + done.stdout.startswith("| | |") - 1
    for each in saved["rows"]:
        assert each["what"] in done.stdout


def test_wrong_arguments_are_errors_of_one_line(tmp_path):
    for wrong in (("--part", "colour"), ("--scenes", 1)):
        done = command("label", *wrong, module="benchmarks")
        assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1


def test_rows_compare_values_with_targets():
    assert row("p", "w", 2.5, ">= 2.5")["met"] and not row("p", "w", 1.7, "<= 1.6")["met"]
    assert row("p", "w", 1)["met"] is None
    assert "**missed**" in table([row("p", "w", 1.7, "<= 1.6")])


def test_published_and_lean_forms_give_the_same_labels():
    scene, _ = sik.scenes.synthetic_scene(3, (300, 310), cloud=0.4)
    rgb = np.ascontiguousarray(scene.values.transpose(1, 2, 0))
    ours = sik.label(scene, nodata="ignore").values
    np.testing.assert_array_equal(filter_one_channel(rgb), ours)
    np.testing.assert_array_equal(filter_three_channels(rgb), np.array(COLOURS, np.uint8)[ours])
    plain = sik.label(scene, nodata="ignore", cloud_filter=False).values
    np.testing.assert_array_equal(label_one_channel(rgb), plain)
    np.testing.assert_array_equal(label_three_channels(rgb), np.array(COLOURS, np.uint8)[plain])


def test_scenes_beyond_the_distinct_ones_are_copies(tmp_path):
    paths = write_scenes(tmp_path, 8, 64)
    assert len(paths) == 8 and paths[6].read_bytes() == paths[0].read_bytes() != paths[1].read_bytes()
