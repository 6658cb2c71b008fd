"""Charts of scores show the numbers they are given."""

import matplotlib.collections
import numpy as np
import pandas as pd
import pytest

import seaicekit as sik
from seaicekit import evaluation, maps
from seaicekit.classes import LEGEND, SeaIceClass

FOUR = (*LEGEND, SeaIceClass(7, "melt pond", "#3a7bd5"))


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(0)
    truths = {f"s{n}": rng.choice(3, (30, 30), p=[0.2, 0.3, 0.5]).astype(np.uint8) for n in range(7)}

    def run(rate):
        wrong = {name: rng.random((30, 30)) < rng.uniform(0, 2 * rate) for name in truths}
        labels = {name: np.where(wrong[name], 0, truth).astype(np.uint8) for name, truth in truths.items()}
        return evaluation.compare({"U-Net": labels}, truths, images=None, draws=50)

    return [run(rate) for rate in (0.1, 0.2, 0.3)]


def bars(axis):
    return [patch.get_width() for patch in axis.patches][::-1]  # from the top


def lines(axis):
    found = [each for each in axis.collections if isinstance(each, matplotlib.collections.LineCollection)]
    return [tuple(segment[:, 0]) for each in found for segment in each.get_segments()][::-1]


def texts(axis):
    return [text.get_text() for text in axis.texts][::-1]


def test_bars_are_scores_and_lines_are_intervals(tables):
    figure = maps.score_bars(tables[0], strata=("all", "edge"), title="Test scenes")
    for axis, stratum in zip(figure.axes, ("all", "edge"), strict=True):
        rows = tables[0][(tables[0].score == "accuracy") & (tables[0].stratum == stratum)]
        assert bars(axis) == pytest.approx(list(100 * rows.value))
        np.testing.assert_allclose(lines(axis), 100 * rows[["low", "high"]])
        assert texts(axis) == [f"{100 * value:.1f}" for value in rows.value]
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["majority class", "U-Net"]
    colours = [patch.get_facecolor() for patch in figure.axes[0].patches]
    assert colours[0] != colours[1]  # the table look-up is distinguished
    assert "95 % interval" in figure._supxlabel.get_text() and "too few" not in figure._supxlabel.get_text()
    few = tables[0].assign(few_scenes=True, scenes=3)
    assert "of 3: too few" in maps.score_bars(few)._supxlabel.get_text()


def test_bars_of_an_undefined_score_and_of_a_negative_one(tables):
    rows = tables[0].query("stratum == 'all' and score == 'precision' and `class` == 'open water'")
    assert np.isnan(rows[rows.rule == "majority class"].value.iloc[0])
    axis = maps.score_bars(tables[0], "precision", class_name="open water").axes[0]
    assert texts(axis)[1] == "–" and axis.get_xlabel() == "precision of open water, %"
    axis = maps.score_bars(tables[0], "ice_concentration_error").axes[0]
    assert bars(axis)[0] < 0 and axis.get_xlim()[0] < lines(axis)[0][0] and "points" in axis.get_xlabel()


def test_bars_of_missing_rows_are_refused(tables):
    for arguments in (("kappa",), ("accuracy", ("cloud >= 10 %",)), ("accuracy", ()), ("f1",)):
        with pytest.raises(sik.InputError, match="score_bars: no"):
            maps.score_bars(tables[0], *arguments)


@pytest.mark.parametrize("legend", [LEGEND, FOUR])
def test_confusion_has_a_row_and_a_share_for_each_class(legend):
    counts = np.arange(len(legend) ** 2).reshape(len(legend), -1) * 12_345_678
    counts[1] = 0
    axis = maps.confusion_matrix(counts, legend, "Title").axes[0]
    names = [entry.name for entry in legend]
    assert [tick.get_text().replace("\n", " ") for tick in axis.get_yticklabels()] == names
    shares = {text.get_position(): text.get_text() for text in axis.texts if "%" in text.get_text()}
    for row in (0, 2):
        for col in range(len(legend)):
            assert shares[col, row] == f"{100 * counts[row, col] / counts[row].sum():.1f} %"
    assert [text.get_text() for text in axis.texts].count("–") == len(legend)  # nothing to take a share of
    assert "12 million" in [text.get_text() for text in axis.texts]
    with pytest.raises(sik.InputError, match="classes; give the legend"):
        maps.confusion_matrix(counts[:2], legend)


def test_reliability_is_drawn_at_its_bins():
    percent = np.repeat([60, 90, 100], [100, 50, 50]).astype(np.uint8)[None]
    right = np.concatenate([np.arange(100) < 50, np.arange(50) < 45, np.ones(50, bool)])[None]
    reference = np.ones((1, 200), np.uint8)
    figure = maps.reliability_diagram(evaluation.reliability(reference * right, percent, reference))
    upper, lower = figure.axes
    assert [(patch.get_x(), patch.get_height()) for patch in upper.patches] == [(50, 50), (80, 90), (90, 100)]
    assert [patch.get_height() for patch in lower.patches] == [50, 25, 25]
    assert upper.get_legend().get_title().get_text() == "expected calibration error 5.0 %"


def test_tables_can_be_saved_and_read_again(tables, tmp_path):
    tables[0].to_parquet(tmp_path / "scores.parquet", index=False)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "scores.parquet"), tables[0])


def test_matrices_are_in_the_papers_grid():
    counts = {
        (row, col): np.diag([1, 2, 3]) + (col == "b") for row in ("cloud >= 10 %", "clear") for col in "ab"
    }
    figure = maps.confusion_matrices(counts)
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "", ""]
    assert [axis.get_ylabel() for axis in figure.axes] == ["cloud ≥ 10 %", "", "clear", ""]
    shown = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert "100.0 %" in shown[0] and "100.0 %" not in shown[1] and "50.0 %" in shown[1]
