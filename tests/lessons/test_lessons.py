"""The lessons as a learner has them: in a real JupyterLab, with guesses and with right and wrong answers."""

import base64
import json
import re
import urllib.error
import urllib.request

import cv2
import nbformat
import numpy as np
import psutil
import pytest
from conftest import ROOT

import seaicekit as sik
from benchmarks import lessons as bench
from benchmarks.browser import TOKEN, end_kernels, open_notebook, run_all
from benchmarks.lessons import MOST_GB, MOST_SECONDS, execute
from seaicekit import lessons
from seaicekit.classes import NODATA
from seaicekit.pipeline import memory_watch

SMALL = {
    1: {"size": 160},
    2: {"size": 160},
    3: {"size": 200},
    4: {"size": 128, "epochs": 1},
    5: {"count": 4, "size": 256, "epochs": 1},
}
PATHS = {int(number): path for number, path in bench.PARTS.items()}
EXERCISES = {1: ["1.1", "1.2"], 2: ["2.1", "2.2"], 3: ["3.1", "3.2"], 4: ["4.1", "4.2"], 5: ["5.1", "5.2"]}


def text(notebook):
    return "\n".join(cell.source for cell in notebook.cells)


def solved(path, given):
    """Return a lesson with other parameters, a number for each guess, and each exercise done wrong, then right.

    The right answers are the lesson's own solutions, from the parts that fold out.
    """
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    notebook = load_notebook_node(str(path))
    solutions = re.findall(
        r"<summary>Solution</summary>.*?```python\n(.*?)```.*?</details>", text(notebook), re.DOTALL
    )
    assert len(solutions) == len(EXERCISES[int(path.stem[0])])
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "code" and re.match(r"answer = None", cell.source):
            asked = re.sub(r"answer = None.*\n", "", cell.source)
            for answer in ("answer = -1", solutions.pop(0)):
                cells.append(nbformat.v4.new_code_cell(f"{answer}\n{asked}", metadata={"tags": []}))
        else:
            cell.source = cell.source.replace("guess = None", "guess = 50")
            cells.append(cell)
    notebook.cells = cells
    return parameterize_notebook(notebook, given)


def output_text(cell):
    """Return what a cell has shown as text."""
    return "".join(
        output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in cell.outputs
    )


def check_outputs(notebook, number):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    guesses = [output_text(cell) for cell in code if "guess = 50" in cell.source]
    assert len(guesses) >= 2
    for shown in guesses:
        assert re.search(r"your guess: 50.*\nthe truth: [\d.e+-]+", shown), shown
    answers = [output_text(cell) for cell in code if re.search(r'check\("\d\.\d"', cell.source)]
    assert [shown.split(".")[0] for shown in answers] == ["Not yet", "Right"] * len(EXERCISES[number])
    encoded = [output.get("data", {}).get("image/png") for cell in code for output in cell.outputs]
    pictures = [cv2.imdecode(np.frombuffer(base64.b64decode(each), np.uint8), 1) for each in encoded if each]
    assert pictures
    for picture in pictures:
        assert min(picture.shape[:2]) > 100 and picture.std() > 5  # something is drawn


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab on one core, with the notebooks: (address, process id)."""
    with bench.lab(tmp_path_factory.mktemp("learner")) as started:
        yield started


@pytest.mark.parametrize("number", PATHS)
def test_small_lesson_runs_on_one_core_in_little_memory(lab, number):
    notebook = solved(PATHS[number], SMALL[number])
    with memory_watch(lab[1]) as memory:
        seconds = execute(lab[0], f"notebooks/lessons/{PATHS[number].name}", notebook)
        left = psutil.wait_procs(psutil.Process(lab[1]).children(recursive=True), timeout=20)[1]
    assert not left, "nothing stays running"
    assert 0.2e9 < memory["peak"] <= MOST_GB * 1e9 and seconds > 1
    check_outputs(notebook, number)
    shown = " ".join(output_text(cell) for cell in notebook.cells if cell.cell_type == "code")
    if number == 5:
        assert "weights of the two ranks are equal: True" in shown and "equal in 4 of 4 scenes" in shown


@pytest.mark.exhaustive
@pytest.mark.parametrize("number", PATHS)
def test_lesson_with_its_own_parameters_keeps_the_limits(lab, number):
    notebook = solved(PATHS[number], {})
    with memory_watch(lab[1]) as memory:
        seconds = execute(lab[0], f"notebooks/lessons/{PATHS[number].name}", notebook)
    assert memory["peak"] <= MOST_GB * 1e9 and seconds <= MOST_SECONDS
    check_outputs(notebook, number)
    if number == 4:  # what the lesson is about
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        truths = [
            float(found) for cell in cells for found in re.findall(r"the truth: ([\d.]+)", output_text(cell))
        ]
        right = next(
            float(found) for cell in cells for found in re.findall(r"are right: ([\d.]+)%", output_text(cell))
        )
        assert truths[0] > right + 5 and abs(truths[1] - right) < 4


def test_lessons_begin_with_a_table_and_link_to_the_next():
    for number, path in PATHS.items():
        written = text(nbformat.read(path, 4))
        assert written.startswith(f"# Lesson {number} · ")
        for row in ("You need", "It takes", "Afterwards you know"):
            assert f"| **{row}** |" in written
        for link in re.findall(r"\]\(([^)#]+)\)", written):
            assert link.startswith("https://arxiv.org/") or (path.parent / link).is_file(), link
        following = PATHS.get(number + 1)
        assert (f"]({following.name})" if following else "](../index.ipynb)") in written


def test_claimed_time_and_memory_are_measured():
    raw = json.loads((ROOT / "docs" / "lessons.json").read_text())["raw"]
    page = (ROOT / "docs" / "guide" / "learn.md").read_text()
    index = text(nbformat.read(ROOT / "notebooks" / "index.ipynb", 4))
    for path in PATHS.values():
        found, written = raw[path.stem], text(nbformat.read(path, 4))
        claim = re.search(r"about (\d+) minutes; the computer needs (?:less than )?(\d) of them", written)
        assert found["seconds"] <= 60 * int(claim[2]) <= found["seconds"] + 90
        assert re.search(rf"{path.name}\) \|.*\| {claim[1]} minutes \|", index)
        assert f"| {found['gigabytes']:.2f} | {found['seconds']:.0f} |" in page
        assert found["gigabytes"] <= MOST_GB and found["seconds"] <= MOST_SECONDS


def test_predict_shows_guess_and_truth():
    assert "None" in lessons.predict(None, 12.0).text and not lessons.predict(None, 12.0).bars
    near, high = lessons.predict(13, 12.5, "%"), lessons.predict(80.0, 12.5, "%")
    assert near.bars == (("your guess", 13.0), ("the truth", 12.5)) and "well guessed" in near.text
    assert (
        "Too high" in high.text and "67.5 points" in high.text and "Too low" in lessons.predict(1, 12.5).text
    )
    assert "the truth" in high._repr_html_() and "12.5 %" in high._repr_html_()
    word = lessons.predict("many", 1.0)
    assert "number" in word.text and word.right is False and not word.bars
    assert "&lt;b&gt;" in lessons.Note("<b>")._repr_html_()


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A dim scene: its path, and its truth's."""
    return lessons.make(tmp_path_factory.mktemp("dim"), {24: 0.0}, 200, light=0.7).iloc[0]


def test_checks_compute_the_answer_from_the_material(material):
    truth = sik.scenes.read_codes(material.truth)
    counts = np.bincount(truth.ravel(), minlength=256)
    ice = counts[1] + counts[2]
    assert lessons.check("1.1", ice / (ice + counts[0]), truth).right
    assert "255" in lessons.check("1.1", (truth > 0).mean(), truth).text
    for wrong, hint in (
        (ice / truth.size, "corner"),
        (100 * ice / counts[:3].sum(), "per cent"),
        (counts[2] / counts[:3].sum(), "Thin ice is ice"),
    ):
        note = lessons.check("1.1", wrong, material.truth)
        assert note.right is False and hint in note.text
    other = np.where(truth == NODATA, np.uint8(0), truth)  # another truth, another answer
    assert not lessons.check("1.1", ice / (ice + counts[0]), other).right
    assert lessons.check("1.2", counts[0] * 0.0025, truth, 50.0).right
    assert "area" in lessons.check("1.2", counts[0] * 0.05, truth, 50.0).text
    assert lessons.check("2.1", sik.Thresholds(50, 130), material.path, material.truth).right
    assert (
        "water_max is too low"
        in lessons.check("2.1", sik.Thresholds(21, 143), *material[["path", "truth"]]).text
    )
    assert (
        "thin_max is too high"
        in lessons.check("2.1", sik.Thresholds(21, 204), *material[["path", "truth"]]).text
    )
    assert (
        "water_max is too high"
        in lessons.check("2.1", sik.Thresholds(110, 143), *material[["path", "truth"]]).text
    )
    assert lessons.check("2.2", (0, 0, 210)).right and not lessons.check("2.2", (0, 0, 204)).right
    assert (
        "bright" in lessons.check("2.2", (250, 250, 250)).text
        and "whole" in lessons.check("2.2", (1, 2)).text
    )
    assert lessons.check("3.1", 11 / 212).right and "61" in lessons.check("3.1", 0.2).text
    before, after, known = (np.array([row], np.uint8) for row in ([0, 0, 1, 1], [1, 1, 1, 2], [1, 0, 1, 255]))
    assert lessons.check("3.2", 0.5, before, after, known).right
    assert "changed" in lessons.check("3.2", 2 / 3, before, after, known).text
    assert lessons.check("4.1", (0.85, 0.95), 0.9, 0.95).right
    assert "lowest is right" in lessons.check("4.1", (0.85, 1.0), 0.9, 0.95).text
    assert "two numbers" in lessons.check("4.1", 0.9, 0.9, 0.95).text
    maps, truths = {"a": np.array([[0, 1, 0, 2]], np.uint8)}, {"a": np.array([[0, 1, 1, 2]], np.uint8)}
    assert (
        lessons.check("4.2", 1, maps, truths).right and "less" in lessons.check("4.2", 2, maps, truths).text
    )
    assert lessons.check("5.1", lessons.parallel_share(7.21, 8), 7.21, 8).right
    assert "efficiency" in lessons.check("5.1", 7.21 / 8, 7.21, 8).text
    assert lessons.check("5.2", 4000, 1000, 2).right and lessons.check("5.2", 6000, 1000, 4).right
    assert "four bytes" in lessons.check("5.2", 1000, 1000, 2).text
    assert lessons.check("5.2", None, 1000, 2).right is None
    for exercise in ("1.1", "3.1", "5.2"):
        assert (
            lessons.check(exercise, "much", *{"1.1": [truth], "3.1": [], "5.2": [10, 2]}[exercise]).right
            is False
        )
    with pytest.raises(sik.InputError, match=r"5\.2"):
        lessons.check("6.1", 0)


def test_laws_against_closed_forms():
    assert lessons.fresnel(0, 1.5) == pytest.approx(0.04) and lessons.fresnel(90) == pytest.approx(1)
    brewster = np.degrees(np.arctan(1.34))  # there the light along the plane is not reflected at all
    assert lessons.fresnel(brewster) == pytest.approx(((1.34**2 - 1) / (1.34**2 + 1)) ** 2 / 2)
    assert lessons.amdahl(0.9, 1e9) == pytest.approx(10) and lessons.amdahl(1, 7) == pytest.approx(7)
    assert lessons.amdahl(lessons.parallel_share(3.7, 4), 4) == pytest.approx(3.7)
    assert lessons.veil(19, 0) == 19 and lessons.veil(19, 1) == 231
    for ranks in (1, 2, 3, 5):
        arrays = [np.random.default_rng(rank).normal(size=30) for rank in range(ranks)]
        sums, sent = lessons.ring_all_reduce(arrays)
        for each in sums:
            np.testing.assert_allclose(each, np.sum(arrays, axis=0))
        assert sent == [2 * (ranks - 1) * 30 // ranks] * ranks


def test_both_kinds_of_mistakes_are_equally_many(tmp_path):
    scenes = lessons.make(tmp_path, {61: 0.0, 62: 0.0}, 128)
    made = {how: lessons.mislabel(scenes, tmp_path / how, how, 110) for how in ("random", "systematic")}
    for name, truth in scenes.truth.items():
        known, random, systematic = map(
            sik.scenes.read_codes, (truth, made["random"][name], made["systematic"][name])
        )
        dark = (known == 1) & (sik.open_scene(scenes.path[name]).values.max(axis=0) <= 110)
        np.testing.assert_array_equal(systematic != known, dark)
        assert (random != known).sum() == dark.sum() > 100 and (systematic[dark] == 0).all()
        assert (
            set(np.unique(known[random != known])) == {0, 1, 2}
            and not (random[known == NODATA] != NODATA).any()
        )
    with pytest.raises(sik.InputError, match="how"):
        lessons.mislabel(scenes, tmp_path, "sometimes", 110)


@pytest.fixture
def page(chromium):
    page = chromium.new_page(viewport={"width": 1280, "height": 1000})
    yield page
    page.close()


def test_start_page_leads_to_a_lesson_and_to_the_tuner(page, lab):
    address, _ = lab
    open_notebook(page, address, "notebooks/index.ipynb")
    run_all(page)
    page.wait_for_selector(".jp-OutputArea-output img", timeout=60_000)
    link = page.locator("a:text-is('Open the tuner as a page')")
    assert link.get_attribute("href") == "/voila/render/notebooks/tuner.ipynb"
    page.click(".jp-RenderedMarkdown a:text-is('3 · Clouds and shadows')")
    page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) h1:has-text('Lesson 3')", timeout=60_000)
    page.wait_for_selector("mjx-container", timeout=30_000)  # the formula, without a network
    run_all(page)
    shown = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea-output"
    page.wait_for_selector(f"{shown}:has-text('of the labels differ')", timeout=90_000)
    assert page.locator(f"{shown} img").count() == 4 and page.locator("text=Traceback").count() == 0
    assert page.locator(f"{shown}:has-text('Not yet guessed')").count() == 3
    end_kernels(address)


def test_voila_serves_the_tuner_below_jupyterlab(lab):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{lab[0]}/voila/render/notebooks/nothing.ipynb?token={TOKEN}", timeout=60)
    assert refused.value.code == 404
    answer = urllib.request.urlopen(f"{lab[0]}/voila/render/notebooks/tuner.ipynb?token={TOKEN}", timeout=120)
    content = answer.read().decode()
    assert answer.status == 200 and "The threshold tuner" in content and "jupyter.widget-view" in content
    end_kernels(lab[0])
