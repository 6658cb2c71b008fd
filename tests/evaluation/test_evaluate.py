import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import seaicekit as sik

CODES = st.sampled_from([0, 1, 2, 255])
PAIR = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda shape: st.tuples(arrays(np.uint8, shape, elements=CODES), arrays(np.uint8, shape, elements=CODES))
)


@given(PAIR)
def test_scores_by_counting_pixel_for_pixel(pair):
    prediction, reference = pair
    pairs = [
        (p, r) for p, r in zip(prediction.ravel(), reference.ravel(), strict=True) if p != 255 and r != 255
    ]
    if not pairs:
        with pytest.raises(sik.InputError, match="no pixel"):
            sik.evaluate(prediction, reference)
        return
    scores = sik.evaluate(prediction, reference)
    assert scores["pixels"] == len(pairs)
    assert scores["accuracy"] == pytest.approx(np.mean([p == r for p, r in pairs]))
    assert scores["majority_accuracy"] == max(sum(r == c for _, r in pairs) for c in range(3)) / len(pairs)
    recalls = []
    for code, name in enumerate(("open water", "thin ice", "thick ice")):
        both = sum(p == r == code for p, r in pairs)
        said, true = sum(p == code for p, _ in pairs), sum(r == code for _, r in pairs)
        got = scores["classes"][name]
        assert got["precision"] == (both / said if said else None)
        assert got["recall"] == (both / true if true else None)
        assert got["iou"] == (both / (said + true - both) if said + true else None)
        assert got["f1"] == (pytest.approx(2 * both / (said + true)) if said + true else None)
        recalls += [both / true] if true else []
    assert scores["balanced_accuracy"] == pytest.approx(np.mean(recalls))


def test_files_arrays_and_lists_agree(small):
    _, labelled, _ = small
    paths = list(labelled.labels)
    truths = [path.replace("/labels/", "/truth/") for path in paths]
    together = sik.evaluate(paths, truths)
    arrays = (
        [sik.scenes.read_codes(path) for path in paths],
        [sik.scenes.read_codes(path) for path in truths],
    )
    assert sik.evaluate(*arrays) == together
    assert together["accuracy"] > together["majority_accuracy"]


def test_wrong_input():
    codes = np.zeros((3, 3), np.uint8)
    with pytest.raises(sik.InputError, match="pixels"):
        sik.evaluate(codes, codes[:2])
    with pytest.raises(sik.InputError, match="legend"):
        sik.evaluate(codes + 7, codes)
    with pytest.raises(sik.InputError, match="references"):
        sik.evaluate([codes], [codes, codes])
