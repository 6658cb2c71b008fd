"""The notebook of the paper's tables runs by itself, and its numbers are those of the calls in it."""

import json
import sys

import nbformat
import pytest
from conftest import ROOT

import seaicekit as sik

NOTEBOOK = ROOT / "notebooks" / "06_reproduce_paper.ipynb"
SMALL = {
    "size": 128,
    "training": 2,
    "development": 1,
    "heldout": 2,
    "tile": 64,
    "seeds": [0],
    "epochs": 1,
    "batch": 4,
    "width": 2,
    "depth": 2,
}


def run(folder, parameters):
    """Execute the notebook as papermill does; return it and what it wrote."""
    import papermill

    parameters = parameters | {"run_dir": str(folder / "run")}
    done = papermill.execute_notebook(
        str(NOTEBOOK),
        str(folder / "done.ipynb"),
        parameters,
        progress_bar=False,
        kernel_name="python3",
        cwd=str(folder),
    )
    return done, json.loads((folder / "run" / "reproduction.json").read_text())


def check(done, tables, seeds):
    four = {(row["network"], row["images"]): row for row in tables["table_4"]}
    assert {key: row["paper"] for key, row in four.items()} == {
        ("U-Net-Man", "original"): 0.9139,
        ("U-Net-Man", "filtered"): 0.984,
        ("U-Net-Auto", "original"): 0.9018,
        ("U-Net-Auto", "filtered"): 0.9897,
    }
    assert four["U-Net-Auto", "filtered"]["table"] == 1 and four["U-Net-Auto", "original"]["table"] is None
    assert all(0 < row["truth"] <= 1 and 0 < row["learned"] <= 1 for row in four.values())
    assert four["U-Net-Man", "original"]["truth"] == four["U-Net-Man", "original"]["learned"]
    assert len(tables["table_5"]) == 4 and len(tables["figure_13"]) == 12 and len(tables["similarity"]) == 2
    assert len(tables["trained"]) == 4 * seeds and len(tables["differences"]) == 4 * seeds
    shown = " ".join(
        text
        for cell in done.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        for text in [str(output.get("data", {}).get("text/html", ""))]
    )
    for text in (
        "majority class (look-up)",
        "three-entry table (look-up)",
        "filter and calibrated cuts",
        "98.97",
    ):
        assert text in shown
    assert f"{100 * four['U-Net-Auto', 'filtered']['truth']:.2f}" in shown, (
        "the page shows what the file says"
    )
    assert (
        sum(
            "image/png" in output.get("data", {}) for cell in done.cells for output in cell.get("outputs", [])
        )
        == 2
    )


def test_small_notebook_writes_all_tables(tmp_path):
    check(*run(tmp_path, SMALL), 1)


def test_the_notebook_outside_a_checkout_is_an_error_with_a_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "benchmarks", None)
    cells = nbformat.read(NOTEBOOK, 4).cells
    assert "needs a checkout" in cells[0].source
    [code] = [cell.source for cell in cells if "import study" in cell.source]
    with pytest.raises(sik.InputError, match="clone the repository"):
        exec(code.replace("%matplotlib inline", ""), {"run_dir": "."})


@pytest.mark.exhaustive
def test_notebook_with_its_own_parameters_writes_all_tables(tmp_path):
    check(*run(tmp_path, {}), 3)


@pytest.mark.exhaustive
def test_papers_protocol_writes_all_tables(tmp_path):
    protocol = {"split": "tile", "original": "grey", "normalisation": "l2", "augment": False}
    check(*run(tmp_path, SMALL | protocol | {"training": 4}), 1)


def test_notebook_is_no_stage_of_the_chain():
    from seaicekit import pipeline

    assert NOTEBOOK.stem not in pipeline.STAGES and NOTEBOOK.parent == pipeline.notebooks()
