import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import seaicekit as sik


def test_paper_values_are_the_papers_hsv_ranges():
    rgb = np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    ranges = [((0, 0, 0), (185, 255, 30)), ((0, 0, 31), (185, 255, 204)), ((0, 0, 205), (185, 255, 255))]
    expected = np.full(rgb.shape[:2], 9)
    for code, (low, high) in enumerate(ranges):
        expected[cv2.inRange(hsv, low, high) > 0] = code
    np.testing.assert_array_equal(sik.Thresholds().classify(rgb), expected)


def test_any_leading_shape():
    cuts = sik.Thresholds()
    assert cuts.classify(np.array([0, 31, 205], np.uint8)) == 2
    assert cuts.classify(np.zeros((0, 3), np.uint8)).shape == (0,)
    assert cuts.classify(np.array([[30, 0, 0], [0, 31, 0], [1, 1, 204], [0, 0, 205]], np.uint8)).tolist() == [
        0,
        1,
        1,
        2,
    ]


@given(st.tuples(st.integers(0, 255), st.integers(0, 255)).map(sorted))
def test_saved_cuts_come_back(tmp_path_factory, cuts):
    path = tmp_path_factory.mktemp("cuts") / "thresholds.json"
    sik.Thresholds(*cuts).save(path)
    assert sik.Thresholds.load(path) == sik.Thresholds(*cuts)
    assert [p.name for p in path.parent.iterdir()] == ["thresholds.json"]


@pytest.mark.parametrize("bad", [(205, 30), (-1, 20), (3, 256), (1.5, 20), (True, 20), ("30", 204)])
def test_impossible_cuts(bad):
    with pytest.raises(sik.InputError, match="water_max|thin_max"):
        sik.Thresholds(*bad)


@pytest.mark.parametrize("change", [{"format": "other"}, {"hue": 3}, {"thin_max": 2}, {"water_max": None}])
def test_files_that_are_no_cuts_are_named(tmp_path, change):
    path = tmp_path / "thresholds.json"
    sik.Thresholds().save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(sik.InputError, match=r"thresholds\.json"):
        sik.Thresholds.load(path)


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_broken_json_is_named(tmp_path, text):
    (tmp_path / "cuts.json").write_text(text)
    with pytest.raises(sik.InputError, match=r"cuts\.json"):
        sik.Thresholds.load(tmp_path / "cuts.json")
    with pytest.raises(sik.InputError, match=r"none\.json"):
        sik.Thresholds.load(tmp_path / "none.json")


@pytest.mark.parametrize("rgb", [np.zeros((4, 4), np.uint8), np.zeros((4, 3)), np.zeros((3, 4, 4), np.uint8)])
def test_wrong_arrays_are_refused(rgb):
    with pytest.raises(sik.InputError, match="rgb"):
        sik.Thresholds().classify(rgb)


@pytest.mark.parametrize(
    "ranges",
    [
        [1],
        5,
        [{"code": 3, "name": "pond", "colour": "#112233", "hue": 5}],
        [{"code": 3, "name": "pond", "colour": 7}],
    ],
)
def test_wrong_ranges_in_a_file_are_named(tmp_path, ranges):
    content = {"format": "seaicekit-thresholds-1", "water_max": 30, "thin_max": 204, "ranges": ranges}
    (tmp_path / "cuts.json").write_text(json.dumps(content))
    with pytest.raises(sik.InputError, match=r"cuts\.json: \w+: "):
        sik.Thresholds.load(tmp_path / "cuts.json")


def test_no_class_has_the_name_of_the_area_of_another():
    area = sik.thresholds.Range(3, "open water km2", "#112233", value=(1, 2))
    with pytest.raises(sik.InputError, match="open_water_km2 is the column of the area of open_water"):
        sik.Thresholds(ranges=[area])


def test_ends_of_a_range_may_be_numbers_of_numpy():
    pond = sik.thresholds.Range(3, "pond", "#112233", hue=(np.int64(90), 125))
    assert pond == sik.thresholds.Range(3, "pond", "#112233", hue=(90, 125))


def test_concentration_counts_water_against_all_ice():
    legend = [
        *sik.classes.LEGEND,
        sik.classes.SeaIceClass(3, "grey ice", "#000000"),
        sik.classes.SeaIceClass(4, "thick cloud", "#ffffff"),
    ]
    assert sik.classes.concentration({0: 20, 1: 10, 2: 30, 3: 40, 4: 99}, legend) == pytest.approx(0.8)
    assert sik.classes.concentration({4: 99}, legend) is None
