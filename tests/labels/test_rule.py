import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import between_class_variances, published_labels

import seaicekit as sik
from seaicekit import labels
from seaicekit.labels import cloud_filter


def test_paper_filter_on_every_real_scene(modis):
    for path in modis:
        scene = sik.open_scene(path)
        expected = published_labels(np.ascontiguousarray(scene.values.transpose(1, 2, 0)))
        for block in (100, None):
            got = sik.label(scene, sik.Thresholds(), nodata="ignore", block=block)
            np.testing.assert_array_equal(got.values, expected, err_msg=f"{path} {block}")


def test_paper_filter_with_calibrated_cuts_and_no_data():
    scene, _ = sik.scenes.synthetic_scene(7, (300, 420), cloud=0.5)
    valid = ~scene.coords["nodata"].values
    assert 0.5 < valid.mean() < 1
    expected = published_labels(np.ascontiguousarray(scene.values.transpose(1, 2, 0)), 45, 180, valid)
    for block in (64, 256, None):
        got = sik.label(scene, sik.Thresholds(45, 180), block=block)
        np.testing.assert_array_equal(got.values, expected)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 260),
    cols=st.integers(1, 260),
    block=st.integers(1, 300),
    seed=st.integers(0, 99),
    flat=st.booleans(),
    rule=st.sampled_from(["mask", "ignore"]),
)
def test_blocks_never_change_a_label(rows, cols, block, seed, flat, rule):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (3, rows // 20 + 1, cols // 20 + 1)).astype(np.uint8)
    bands = np.stack([cv2.resize(band, (cols, rows), interpolation=cv2.INTER_LINEAR) for band in coarse])
    bands = np.full_like(bands, 200) if flat else bands
    scene = sik.scenes.opening.as_dataarray(bands, rng.random((rows, cols)) < 0.1)
    block = max(block, max(rows, cols) // 6)  # keeps the number of blocks, and the time, small
    whole = sik.label(scene, nodata=rule)
    np.testing.assert_array_equal(sik.label(scene, nodata=rule, block=block), whole)
    valid = None if rule == "ignore" else ~scene.coords["nodata"].values
    rgb = np.ascontiguousarray(bands.transpose(1, 2, 0))
    if valid is None or valid.any():
        np.testing.assert_array_equal(whole, published_labels(rgb, valid=valid))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(1, 1000)), min_size=1, max_size=40))
def test_otsu_is_the_definitions_and_opencvs_where_no_cuts_are_equal(pairs):
    counts = np.zeros(256, np.int64)
    for value, count in pairs:
        counts[value] += count
    variances = between_class_variances(counts)
    top = max(variances.values(), default=0)
    equal = [cut for cut, variance in variances.items() if variance == top] or [0]
    assert cloud_filter.otsu(counts) == min(equal)
    image = np.repeat(np.arange(256, dtype=np.uint8), counts)[None]
    by_opencv = cv2.threshold(image, 0, 255, cv2.THRESH_TOZERO + cv2.THRESH_OTSU)[0]
    near = [cut for cut, variance in variances.items() if variance > top * (1 - 1e-9)] or [0]
    assert by_opencv in near


@pytest.mark.parametrize(
    ("counts", "cut"),
    [
        ({99: 1, 154: 3, 209: 1}, 99),  # symmetric: OpenCV's rounding takes 99 here,
        ({99: 1, 154: 4, 209: 1}, 99),  # and 154 here
        ({99: 7, 154: 2, 209: 7}, 99),
        ({10: 5, 200: 5}, 10),  # no pixel between the equal cuts 10 to 199
        ({42: 9}, 0),
        ({}, 0),
        ({0: 1, 255: 2**24}, 0),  # one odd pixel of 16 million is no class
    ],
)
def test_otsu_takes_the_lowest_of_equal_cuts(counts, cut):
    assert cloud_filter.otsu(np.array([counts.get(value, 0) for value in range(256)])) == cut


def test_histogram_counts_large_images_exactly():
    values = np.zeros((4100, 4100), np.uint8)  # more pixels than float32 counts exactly
    values[0, :3] = 7
    counts = labels.histogram(values, np.ones_like(values))
    assert counts[7] == 3 and counts[0] == 4100**2 - 3


def test_no_data_stays_no_data_and_changes_nothing_else():
    scene, truth = sik.scenes.synthetic_scene(3, (200, 200))
    outside = scene.coords["nodata"].values
    label = sik.label(scene)
    assert (label.values[outside] == 255).all() and (label.values[~outside] < 3).all()
    assert (sik.label(scene, nodata="ignore").values[outside] == 0).all()  # the paper's black edge
    painted = scene.copy()
    painted.values[:, outside] = 180
    np.testing.assert_array_equal(sik.label(painted), label)


def test_label_keeps_the_grid():
    scene, _ = sik.scenes.synthetic_scene(3, (64, 90))
    label = sik.label(scene)
    assert label.dims == ("y", "x") and label.dtype == np.uint8
    assert label.rio.crs == scene.rio.crs and label.rio.transform() == scene.rio.transform()


def test_all_no_data_gives_all_no_data():
    scene = sik.scenes.opening.as_dataarray(np.zeros((3, 20, 30), np.uint8), np.ones((20, 30), bool))
    assert (sik.label(scene) == 255).all()


@pytest.mark.parametrize("cloud_filter", [True, False])
def test_wrong_arrays_are_named(cloud_filter):
    scene, _ = sik.scenes.synthetic_scene(3, (64, 64))
    with pytest.raises(sik.InputError, match="float32"):
        sik.label(scene.astype("float32"), cloud_filter=cloud_filter)
    with pytest.raises(sik.InputError, match="band=2"):
        sik.label(scene[:2], cloud_filter=cloud_filter)
    with pytest.raises(sik.InputError, match="nodata"):
        sik.label(scene, nodata="drop")
    with pytest.raises(sik.InputError, match="block"):
        sik.label(scene, block=0)


def test_raw_labels_are_the_cuts():
    scene, _ = sik.scenes.synthetic_scene(2, (50, 60), cloud=0.3)
    got = sik.label(scene, cloud_filter=False, nodata="ignore").values
    np.testing.assert_array_equal(got, sik.Thresholds().classify(scene.values.transpose(1, 2, 0)))
