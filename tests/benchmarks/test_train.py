import pytest

import seaicekit as sik
from benchmarks.train import Work, projection, run

TINY = {"count": 4, "size": 32, "batch": 2, "epochs": 2, "width": 2, "depth": 2, "repeats": 1}


@pytest.mark.exhaustive
def test_one_rank_is_compared_with_keras():
    rows, raw = run(["plain"], **TINY)
    found = {each["what"]: each for each in rows}
    cost = found["one rank in process: times the time of Keras' fit"]
    assert cost["value"] == pytest.approx(raw["plain"]["fit"][0] / raw["plain"]["keras"][0], rel=1e-3)
    assert cost["target"] == "<= 1.05" and "4 images, 2 a step" in cost["note"]


def test_the_projection_follows_from_its_assumptions():
    rows, assumed = projection(8.0, Work(batch=4, width=2, depth=2))
    assert assumed["compute seconds a step"] == 0.5 and assumed["gradient bytes"] == 4 * 473
    two = 0.5 + 4 * 473 / 1.25e9 + 2 * 50e-6
    assert rows[0]["value"] == pytest.approx(2 * 0.5 / two, rel=1e-3)
    assert "7.21" in rows[2]["note"]


def test_sizes_that_do_not_fit_are_refused():
    for wrong in ({"ranks": (2,)}, {"ranks": (1, 2), "count": 6}, {"epochs": 1}):
        with pytest.raises(sik.InputError):
            run(["plain"], **TINY | wrong)


@pytest.mark.exhaustive
def test_scaling_compares_equal_work():
    rows, raw = run(["strong", "weak"], **TINY)
    assert [raw["strong"][n]["batch"] * int(n) for n in "12"] == [4, 4]
    assert [raw["weak"][n]["images"] for n in "12"] == [4, 8]
    speed = next(each for each in rows if "times one rank's speed" in each["what"])
    rates = [raw["strong"][n]["images_per_second"] for n in "12"]
    assert speed["value"] == pytest.approx(rates[1] / rates[0], rel=1e-3) and speed["target"] == ">= 1.8"
    assert {each["part"] for each in rows} == {"strong", "weak", "projection"}
