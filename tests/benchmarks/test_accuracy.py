"""The benchmark of accuracy says what was measured, and what was asked."""

import json

import pytest

from benchmarks import save, study
from benchmarks.accuracy import AUTO, MAN, run

TINY = {"epochs": 1, "batch": 4, "width": 2, "depth": 2}


def test_rows_repeat_the_scores_and_differences(tmp_path):
    small = study.Benchmark.load("hard", 128, 2, 1, 2)
    rows, raw = run([small], (0,), tmp_path, ("rgb",), ranks=1, launcher="inprocess", **TINY)
    save(tmp_path / "out.json", rows, raw, {})
    raw = json.loads((tmp_path / "out.json").read_text())["raw"]["hard"]
    found = {each["what"]: each for each in rows}
    whole = {
        row["rule"]: row for row in raw["scores"] if (row["stratum"], row["score"]) == ("all", "accuracy")
    }
    for rule in (
        "majority class",
        "calibrated cuts",
        "filter and calibrated cuts",
        "three-entry table",
        AUTO,
    ):
        assert found[f"{rule}: accuracy"]["value"] == pytest.approx(whole[rule]["mean"], abs=1e-4)
    assert "a look-up" in found["calibrated cuts: accuracy"]["note"]
    apart = {(row["a"], row["b"]): row for row in raw["differences"] if row["stratum"] == "all"}
    ours = apart[AUTO, "calibrated cuts"]
    assert ours["estimate"] == pytest.approx(whole[AUTO]["mean"] - whole["calibrated cuts"]["mean"], abs=1e-5)
    end = found[f"{AUTO} less calibrated cuts: lower end, worst seed"]
    assert end["value"] == pytest.approx(ours["low"], abs=1e-4) and end["met"] == (ours["low"] >= 0)
    within = found[f"{MAN} less {AUTO}: accuracy"]
    assert within["target"] == "<= 0.01" and f"{100 * apart[MAN, AUTO]['low']:+.2f}" in within["note"]
    assert raw["benchmark"]["heldout"] == [6000, 2] and raw["scored on"] == "heldout"
    assert raw["table 4"][0]["paper"] == 0.9139 and raw["table 4"][1]["truth"] is None


def test_committed_figures_are_of_the_committed_scenes():
    from conftest import ROOT

    saved = json.loads((ROOT / "docs" / "bench_accuracy.json").read_text())
    for name in ("demo", "hard"):
        assert saved["raw"][name]["benchmark"] == study.Benchmark.load(name).model_dump(mode="json")
        assert saved["raw"][name]["scored on"] == "heldout" and len(saved["settings"]["seeds"]) >= 3
        assert len({row["seed"] for row in saved["raw"][name]["trainings"]}) >= 3
