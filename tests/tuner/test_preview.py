"""The tuner's view of a scene, against the labels that a batch would make."""

import numpy as np
import pytest
from conftest import write_tiff

import seaicekit as sik
from seaicekit import labels, scenes
from seaicekit.classes import NODATA
from seaicekit.labels import Rule
from seaicekit.scenes import Window
from seaicekit.thresholds import Range
from seaicekit.tuner import Preview
from seaicekit.tuner.preview import SIDE

POND = Range(3, "melt pond", "#3a7bd5", hue=(90, 130), saturation=(40, 255))
RULES = [
    Rule(sik.Thresholds(40, 190), cloud_filter=False),
    Rule(sik.Thresholds(40, 190)),
    Rule(sik.Thresholds(60, 150, [POND]), cloud_filter=False, nodata="ignore"),
    Rule(sik.Thresholds(60, 150, [POND]), window=31),
]


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A cloudy synthetic scene of which the preview shows every second pixel."""
    return scenes.write_synthetic(tmp_path_factory.mktemp("large"), 3, (2 * SIDE, 2 * SIDE), 0.4)[0]


@pytest.mark.parametrize("rule", RULES)
def test_a_small_scene_is_labelled_as_in_a_batch(small, rule):
    path = small[1].path[1]
    expected = sik.label(sik.open_scene(path), rule).values
    preview = Preview(path)
    np.testing.assert_array_equal(preview.codes(rule), expected)
    valid = expected[expected != NODATA]
    for code, share in preview.shares(rule).items():
        assert share == pytest.approx((valid == code).mean())
    rows, cols = np.random.default_rng(0).integers(0, 160, (2, 12))
    seen, codes = preview.at(rule, rows, cols)
    np.testing.assert_array_equal(codes, expected[rows, cols])
    if not rule.thresholds.ranges:
        decided = rule.thresholds.table[seen]
        np.testing.assert_array_equal(decided[codes != NODATA], codes[codes != NODATA])


def test_filtered_and_difference_are_the_filters(small):
    scene, preview = sik.open_scene(small[1].path[1]), Preview(small[1].path[1])
    np.testing.assert_array_equal(preview.filtered(Rule()), labels.filter_scene(scene).values)
    assert preview.difference(Rule()).shape == scene.shape[1:]


def test_a_window_of_a_large_scene_is_seen_pixel_by_pixel(large):
    scene, preview = sik.open_scene(large), Preview(large)
    assert preview.overview.step == 2
    window = Window(300, 500, 400, 350)
    plain = RULES[0]
    view = preview.view(window, plain)
    assert view.step == 1 and view.picture.shape == (400, 350, 3)
    np.testing.assert_array_equal(view.picture, scene.values[:, *window.slices].transpose(1, 2, 0))
    np.testing.assert_array_equal(preview.codes(plain, view), sik.label(scene, plain).values[window.slices])
    whole = sik.label(scene, plain).values
    for code, share in preview.shares(plain).items():
        assert share == pytest.approx((whole == code).sum() / (whole != NODATA).sum())


def test_filter_on_a_coarse_view_approximates_the_scenes(large):
    """The histogram is of every second pixel and the window is scaled, so some labels differ."""
    scene, preview, rule = sik.open_scene(large), Preview(large), RULES[1]
    whole = sik.label(scene, rule).values
    window = Window(300, 500, 400, 350)
    fine = preview.codes(rule, preview.view(window, rule))
    assert (fine == whole[window.slices]).mean() > 0.98
    coarse = preview.codes(rule)
    assert (coarse == whole[1::2, 1::2]).mean() > 0.95
    for code, share in preview.shares(rule).items():
        assert share == pytest.approx((whole == code).sum() / (whole != NODATA).sum(), abs=0.02)


def test_no_data_without_a_declaration_is_found_in_a_coarse_view(tmp_path):
    bands = np.full((3, 1600, 1700), 120, np.uint8)
    bands[:, :, :400] = 0
    path = write_tiff(tmp_path / "edge.tif", bands)
    preview = Preview(path)
    codes = preview.codes(RULES[0])
    assert (codes == NODATA).mean() == pytest.approx(400 / 1700, abs=0.005)
    window = Window(100, 300, 300, 300)
    view = preview.view(window, RULES[0])
    np.testing.assert_array_equal(view.nodata[view.inner], np.broadcast_to(np.arange(300) < 100, (300, 300)))


def test_unreadable_scene_is_refused(tmp_path):
    (tmp_path / "a.tif").write_text("no image")
    with pytest.raises(sik.InputError, match=r"a\.tif"):
        Preview(tmp_path / "a.tif")
