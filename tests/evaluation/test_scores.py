"""Scores, strata, similarity and calibration against scikit-learn, scikit-image and plain loops."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import structural_similarity
from sklearn import metrics

import seaicekit as sik
from seaicekit import evaluation
from seaicekit.classes import LEGEND, SeaIceClass

FOUR = (*LEGEND, SeaIceClass(7, "melt pond", "#3a7bd5"))  # a code that is not its place in the legend


def pairs(codes):
    shape = st.tuples(st.integers(1, 12), st.integers(1, 12))
    one = st.lists(st.sampled_from(codes), min_size=1, unique=True)  # so that classes are missing, often

    def draw(given):
        shape, first, second = given
        return st.tuples(
            arrays(np.uint8, shape, elements=st.sampled_from(first)),
            arrays(np.uint8, shape, elements=st.sampled_from(second)),
        )

    return st.tuples(shape, one, one).flatmap(draw)


def random(codes, shape=(40, 50), seed=0, blocks=1):
    small = np.random.default_rng(seed).choice(np.array(codes, np.uint8), [-(-n // blocks) for n in shape])
    return small.repeat(blocks, 0).repeat(blocks, 1)[: shape[0], : shape[1]]


@settings(deadline=None)
@given(pairs([0, 1, 2, 7, 255]))
def test_four_classes_score_as_scikit_learn_says(pair):
    prediction, reference = pair
    valid = (prediction != 255) & (reference != 255)
    if not valid.any():
        with pytest.raises(sik.InputError, match="no pixel"):
            sik.evaluate(prediction, reference, legend=FOUR)
        return
    said, truth, codes = prediction[valid], reference[valid], [entry.code for entry in FOUR]
    found = sik.evaluate(prediction, reference, legend=FOUR)
    assert found["confusion"] == metrics.confusion_matrix(truth, said, labels=codes).tolist()
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, said))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, said))
    at = {"labels": codes, "average": None, "zero_division": np.nan}
    each = metrics.precision_recall_fscore_support(truth, said, **at)[:3]
    expected = dict(zip(("precision", "recall", "f1"), each, strict=True))
    expected["iou"] = metrics.jaccard_score(truth, said, labels=codes, average=None, zero_division=0)
    for place, entry in enumerate(FOUR):
        got = found["classes"][entry.name]
        for score, values in expected.items():
            if got[score] is None:  # scikit-learn's Jaccard has no "undefined" but 0 or 1
                assert np.isnan(values[place]) or (score == "iou" and entry.code not in {*said, *truth})
            else:
                assert got[score] == pytest.approx(values[place])
    shares = evaluation.normalised(found["confusion"])
    with np.errstate(invalid="ignore"):
        rows = metrics.confusion_matrix(truth, said, labels=codes, normalize="true")
    np.testing.assert_allclose(np.nan_to_num(shares), rows)
    assert (np.isnan(shares).all(axis=1) == ~np.isin(codes, truth)).all()


def test_one_class_only():
    found = sik.evaluate(np.ones((3, 3), np.uint8), np.ones((3, 3), np.uint8))
    assert found["balanced_accuracy"] == found["majority_accuracy"] == found["accuracy"] == 1
    assert found["classes"]["open water"] == dict.fromkeys(("precision", "recall", "f1", "iou"))


@settings(deadline=None, max_examples=40)
@given(pairs([0, 1, 2, 255]), st.integers(1, 4))
def test_edges_by_looking_around_each_pixel(pair, width):
    codes, _ = pair
    expected = np.zeros(codes.shape, bool)
    for row, col in np.ndindex(codes.shape):
        around = codes[max(0, row - width) : row + width + 1, max(0, col - width) : col + width + 1]
        others = around[(around != 255) & (around != codes[row, col])]
        expected[row, col] = codes[row, col] != 255 and others.size > 0
    np.testing.assert_array_equal(evaluation.edges(codes, width), expected)


def test_strata_are_the_pixels_they_say():
    truth = {name: random([0, 1, 2, 7, 255], seed=seed, blocks=7) for seed, name in enumerate("ab")}
    truth["a"][:5] = 255
    said = {
        name: np.where(random([0, 1], seed=9) == 1, truth[name], random([0, 1, 2, 7], seed=8))
        for name in "ab"
    }
    other = {name: random([0, 1, 2, 7, 255], seed=5) for name in "ab"}
    clouds = [0.0, 0.0999, 0.1, 1.0]
    tiles = pd.DataFrame(
        [
            {
                "scene": name,
                "row": row,
                "col": col,
                "height": 20,
                "width": 20,
                "cloud": clouds[(row + col) // 20],
            }
            for name in "ab"
            for row in (0, 20)
            for col in (0, 20)  # the last ten columns are in no tile
        ]
    )
    found = evaluation.stratified({"one": said, "other": other}, truth, tiles, legend=FOUR, edge=3)
    for number, name in enumerate("ab"):
        where = np.arange(50) < 40
        cloudy = np.zeros(truth[name].shape)
        for tile in tiles[tiles.scene == name].itertuples():
            cloudy[tile.row : tile.row + 20, tile.col : tile.col + 20] = tile.cloud
        edge = evaluation.edges(truth[name], 3)
        masks = {"all": True, "cloud < 10 %": cloudy < 0.1, "cloud >= 10 %": cloudy >= 0.1}
        masks |= {"edge": edge, "interior": ~edge}
        assert set(found.matrices) == set(masks)
        for stratum, mask in masks.items():
            valid = mask & where & (truth[name] != 255) & (other[name] != 255) & (said[name] != 255)
            assert valid.any()
            for rule, made in (("one", said), ("other", other)):
                expected = metrics.confusion_matrix(
                    truth[name][valid], made[name][valid], labels=[0, 1, 2, 7]
                )
                np.testing.assert_array_equal(found.of(rule, stratum)[number], expected)
    held = np.array([(truth[name][:, :40] != 255).sum() for name in "ab"])
    both = np.array([((truth[name] != 255) & (other[name] != 255))[:, :40].sum() for name in "ab"])
    np.testing.assert_array_equal(found.coverage["other"], np.stack([both, held], axis=1))


@pytest.mark.parametrize("legend, codes", [(LEGEND, [0, 1, 2]), (FOUR, [0, 1, 2, 7])])
def test_similarity_is_scikit_images(legend, codes, monkeypatch):
    one, other = (random(codes, (57, 63), seed, blocks=4) for seed in (1, 2))
    places = np.zeros(256)
    places[codes] = range(len(codes))
    expected = structural_similarity(places[one], places[other], data_range=len(codes) - 1)
    found = sik.evaluation.ssim(one, other, legend=legend)
    assert found == {"ssim": pytest.approx(expected), "windows": 51 * 57}
    monkeypatch.setattr(evaluation.similarity, "ROWS", 10)  # a scene is done in strips
    assert evaluation.ssim(one, other, legend=legend) == {"ssim": pytest.approx(expected), "windows": 51 * 57}
    assert evaluation.ssim(one, one, legend=legend)["ssim"] == pytest.approx(1)
    # Without data in a corner, what is left is the mean over windows that do not touch it.
    hidden = one.copy()
    hidden[:20, :30] = 255
    index = structural_similarity(places[one], places[other], data_range=len(codes) - 1, full=True)[1]
    kept = [
        index[r, c]
        for r in range(3, 54)
        for c in range(3, 60)
        if (hidden[r - 3 : r + 4, c - 3 : c + 4] != 255).all()
    ]
    for pair in ((hidden, other), (other, hidden)):
        assert evaluation.ssim(*pair, legend=legend) == {
            "ssim": pytest.approx(np.mean(kept)),
            "windows": len(kept),
        }


def test_similarity_needs_a_window():
    small = np.zeros((6, 30), np.uint8)
    with pytest.raises(sik.InputError, match="no window"):
        evaluation.ssim(small, small)
    assert (
        evaluation.ssim([small, np.zeros((7, 7), np.uint8)], [small, np.zeros((7, 7), np.uint8)])["windows"]
        == 1
    )


def test_calibration_in_closed_form():
    # 100 pixels at 60 % of which 50 are right, 50 at 90 % of which 45 are, 50 at 100 % of which all are.
    percent = np.repeat([60, 90, 100], [100, 50, 50]).astype(np.uint8)[None]
    right = np.concatenate([np.arange(100) < 50, np.arange(50) < 45, np.ones(50, bool)])[None]
    reference = random([0, 1, 2], (1, 200))
    said = np.where(right, reference, (reference + 1) % 3)
    found = evaluation.reliability(said, percent, reference)
    assert found["ece"] == pytest.approx(0.5 * 0.1) and found["largest"] == pytest.approx(0.1)
    assert found["accuracy"] == pytest.approx(145 / 200) and found["confidence"] == pytest.approx(0.775)
    filled = {(entry["low"], entry["high"]): entry for entry in found["bins"] if entry["pixels"]}
    assert [*filled] == [(0.5, 0.6), (0.8, 0.9), (0.9, 1.0)]  # an upper end belongs to its bin
    assert filled[0.5, 0.6] | {"accuracy": pytest.approx(0.5)} == {
        "low": 0.5,
        "high": 0.6,
        "pixels": 100,
        "confidence": pytest.approx(0.6),
        "accuracy": pytest.approx(0.5),
    }
    assert found["bins"][0]["accuracy"] is None
    # In one bin over and under cancel: |145 / 200 - 0.775|.
    assert evaluation.reliability(said, percent, reference, bins=1)["ece"] == pytest.approx(0.05)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_calibration_by_a_loop_over_bins(seed, bins):
    rng = np.random.default_rng(seed)
    percent = rng.integers(0, 102, (9, 11)).astype(np.uint8)
    percent[percent == 101] = 255
    said, reference = (rng.choice(np.array([0, 1, 2, 255], np.uint8), (9, 11)) for _ in range(2))
    valid = (percent != 255) & (said != 255) & (reference != 255)
    right, sure, total = (said == reference)[valid], percent[valid].astype(int), 0.0
    for number in range(bins):
        inside = (sure * bins > 100 * number) | (sure == 0) * (number == 0)
        inside &= sure * bins <= 100 * (number + 1)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - sure[inside].mean() / 100)
    assert evaluation.reliability(said, percent, reference, bins)["ece"] == pytest.approx(total)


def test_calibration_of_chosen_tiles_and_wrong_input():
    codes = {name: random([0, 1, 2], (10, 10), seed) for seed, name in enumerate("ab")}
    percent = {name: np.full((10, 10), 80, np.uint8) for name in "ab"}
    chosen = pd.DataFrame([{"scene": "a", "row": 0, "col": 5, "height": 4, "width": 5}])
    assert evaluation.reliability(codes, percent, codes, tiles=chosen)["pixels"] == 20
    assert evaluation.reliability(codes, percent, codes)["ece"] == pytest.approx(0.2)
    for message, arguments in {
        "whole per cents": (codes["a"], codes["a"] + 150, codes["a"]),
        "in the map": (codes["a"], percent["a"][:4], codes["a"]),
        "1 predictions but 2 confidences": ([codes["a"]], [percent["a"]] * 2, [codes["a"]]),
        "bins": (codes["a"], percent["a"], codes["a"], 0),
        "no pixel": (codes["a"], percent["a"] + 175, codes["a"]),
        "in one way": (codes, percent["a"], codes),
        "missing in confidences": (codes, {"a": percent["a"]}, codes),
    }.items():
        with pytest.raises(sik.InputError, match=message):
            evaluation.reliability(*arguments)
