import ast
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import jsonschema
import nbformat
import numpy as np
import pytest
import rasterio
import yaml
from conftest import ROOT, SHARED, command, command_here

import seaicekit as sik
from seaicekit import files, pipeline
from seaicekit.files import PARTIAL
from seaicekit.pipeline import execution, resume

GIGABYTE = 1e9


def test_demo_does_all_and_says_so(demo):
    folder, manifest, done = demo
    figures = manifest["figures"]
    assert f"{100 * figures['accuracy']:.2f} %  U-Net map" in done.stdout and "report.html" in done.stdout
    for stage in pipeline.STAGES:
        assert stage in done.stderr  # the progress bar names it
        assert figures["seconds"][stage] > 0
    assert figures["peak_memory_gb"] <= 2.3
    assert figures["ranks"] == 2 and figures["scenes"] == 4 and figures["quarantined"] == 0
    assert figures["accuracy"] > max(figures["accuracy_cuts"], figures["majority_accuracy"])
    kept = {
        "run.json",
        "thresholds.json",
        "scenes.json",
        "labels",
        "tiles.parquet",
        "model",
        "metrics.json",
        "maps",
    }
    assert {p.name for p in folder.iterdir()} == kept | {
        ".seaicekit-run",
        "stages.json",
        "notebooks",
        "report.html",
        "figures",
        "scenes",
        "truth",
    }


def test_the_lock_file_of_labels_is_no_output_of_a_stage(tmp_path):
    (tmp_path / "labels").mkdir()
    for name in ("a.tif", ".lock"):
        (tmp_path / "labels" / name).touch()
    assert list(resume.outputs(tmp_path, "03_autolabel")) == [str(Path("labels", "a.tif"))]


def test_the_same_again_runs_nothing_and_another_parameter_only_what_follows(demo):
    folder, manifest, _ = demo
    given = yaml.safe_load((Path(sik.__file__).parent / "pipeline" / "presets" / "demo.yaml").read_text())

    def ran(**changed):
        return [step.run for step in pipeline.plan(folder, pipeline.read_parameters(given | changed))]

    assert ran() == [False] * 5 and ran(epochs=31) == [False] * 3 + [True] * 2
    assert ran(hosts="a:2,b:2", launcher="horovodrun") != ran(master="local[2]") == [False] * 5
    assert ran(thin_max=190) == [False] + [True] * 4 and ran(synthetic_count=5) == [True] * 5
    maps = {path.name: path.read_bytes() for path in (folder / "maps").glob("*.tif")}
    done = command("demo", "--out", folder)
    assert done.returncode == 0 and done.stderr.count("unchanged") == 5
    again = json.loads((folder / "run.json").read_text())
    assert again["figures"] == manifest["figures"] and not any(
        each["run"] for each in again["stages"].values()
    )
    assert maps == {path.name: path.read_bytes() for path in (folder / "maps").glob("*.tif")}


def test_a_lost_or_changed_file_is_made_anew(demo, tmp_path):
    given = yaml.safe_load((Path(sik.__file__).parent / "pipeline" / "presets" / "demo.yaml").read_text())
    parameters = pipeline.read_parameters(given)
    shutil.copytree(demo[0], tmp_path / "run")
    one = next((tmp_path / "run" / "maps").glob("*_confidence.tif"))
    one.unlink()
    assert [step.run for step in pipeline.plan(tmp_path / "run", parameters)] == [False] * 4 + [True]
    raster = next((tmp_path / "run" / "labels").glob("*.tif"))
    raster.write_bytes(raster.read_bytes()[:-1])
    steps = pipeline.plan(tmp_path / "run", parameters)
    assert [step.run for step in steps] == [False] * 2 + [True] * 3 and raster.name in steps[2].why
    (tmp_path / "run" / "stages.json").write_text("{")
    assert all(step.run for step in pipeline.plan(tmp_path / "run", parameters))


def test_demo_scores_are_those_of_its_rasters(demo):
    folder, manifest, _ = demo
    metrics = json.loads((folder / "metrics.json").read_text())
    test = [row["scene"] for row in metrics["maps"] if row["split"] == "test"]
    assert len(test) == 2 and {name.split("_")[-1] for name in test} == {"clear", "cloudy"}
    right = total = 0
    for name in test:
        with (
            rasterio.open(folder / "maps" / f"{name}.tif") as made,
            rasterio.open(folder / "truth" / f"{name}.tif") as true,
        ):
            prediction, truth = made.read(1), true.read(1)
            assert made.crs == true.crs and made.transform == true.transform
        valid = truth != 255
        right, total = right + (prediction == truth)[valid].sum(), total + valid.sum()
    assert manifest["figures"]["accuracy"] == pytest.approx(right / total)
    assert sum(map(sum, metrics["confusion"]["counts"])) == metrics["reliability"]["pixels"] == total
    rules = {row["rule"] for row in metrics["scores"]}
    assert rules == {"U-Net", "filter and cuts", "fixed cuts (30, 204)", "majority class"}


def test_demo_ranks_end_with_equal_weights(demo):
    training = json.loads((demo[0] / "model" / "training.json").read_text())
    assert (
        sik.training.read_card(demo[0] / "model" / "model.keras").scores["accuracy"]
        == demo[1]["figures"]["accuracy"]
    )
    assert len(training["weights_sha256"]) == 2 and len(set(training["weights_sha256"])) == 1


def test_demo_notebooks_ran_in_order_and_show_pictures(demo):
    for stage in pipeline.STAGES:
        book = nbformat.read(demo[0] / "notebooks" / f"{stage}.ipynb", 4)
        code = [cell for cell in book.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
        shown = [output.get("data", {}) for cell in code for output in cell.outputs]
        assert any("image/png" in data for data in shown), stage
        assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert any("application/vnd.jupyter.widget-view+json" in data for data in shown)  # the map of 05


def test_report_is_one_page_and_its_numbers_are_the_manifests(demo):
    folder, manifest, _ = demo
    page = (folder / "report.html").read_text()
    assert not re.search(r'(src|href)="https?:', page) and page.count("data:image/png;base64,") == 10
    for key in ("accuracy", "accuracy_labels", "accuracy_cuts", "majority_accuracy", "agreement"):
        assert f"{100 * manifest['figures'][key]:.2f} %" in page


@pytest.fixture(scope="session")
def own(tmp_path_factory):
    """A run on a folder of a PNG without CRS, a grey JPEG, a GeoTIFF, a real scene, and two bad files."""
    folder = tmp_path_factory.mktemp("own") / "my scénes <b>"
    folder.mkdir()
    for seed, name in ((1, "first.png"), (2, "second <i>.jpg")):
        scene, _ = sik.scenes.synthetic_scene(seed, (130, 170), cloud=0.3)
        cv2.imwrite(str(folder / name), scene.values.transpose(1, 2, 0)[..., ::-1])
    sik.scenes.write_synthetic(folder, 3, (150, 140))
    for path in SHARED.glob("modis_dev/*okhostk*/*aqua.truecolor*"):  # none where the real imagery is absent
        shutil.copy(path, folder / "real.tif")
    (folder / "cut.png").write_bytes((folder / "first.png").read_bytes()[:9000])
    (folder / "notes.png").write_text("no picture")
    params = folder.parent / "params.yaml"
    settings = {
        "scenes": str(folder),
        "epochs": 1,
        "ranks": 1,
        "launcher": "inprocess",
        "engine": "processes",
        "width": 2,
        "water_max": 80,
    }
    params.write_text(yaml.safe_dump(settings))
    (folder / "truth").rename(folder.parent / "elsewhere")
    done = command("run", params, "--out", folder.parent / "out", cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    return folder.parent / "out", done


def test_own_scenes_without_truth_have_no_accuracy(own):
    out, done = own
    manifest = json.loads((out / "run.json").read_text())
    assert not {"accuracy", "accuracy_labels", "accuracy_cuts"} & manifest["figures"].keys()
    assert "agreement with automatic labels is not accuracy" in (out / "report.html").read_text()
    assert "No truth" in done.stdout and "agreement" in manifest["figures"]
    assert sorted(Path(row["path"]).name for row in manifest["quarantined"]) == ["cut.png", "notes.png"]
    assert "notes.png: cannot be read" in done.stdout
    learned = manifest["figures"]["agreement"] > manifest["figures"]["agreement_majority"]
    assert ("has not learned" in done.stdout) != learned
    assert manifest["figures"]["scenes"] == 3 + (out / "maps" / "real.tif").exists()
    assert manifest["parameters"]["epochs"] == 1 and manifest["thresholds"]["water_max"] == 80
    for name, shape in (
        ("first", (130, 170)),
        ("second <i>", (130, 170)),
        ("synthetic_003_clear", (150, 140)),
    ):
        assert sik.scenes.read_codes(out / "maps" / f"{name}.tif").shape == shape


def test_report_escapes_file_names(own):
    page = (own[0] / "report.html").read_text()
    assert "second &lt;i&gt;" in page and "<i>" not in page and "scénes &lt;b&gt;" in page


def test_real_imagery_runs(own, real):
    with rasterio.open(own[0] / "maps" / "real.tif") as source:
        assert source.crs.to_epsg() == 3413 and source.shape == (200, 200)


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    "case",
    [
        "empty",
        "text",
        "cut",
        "two",
        "absent",
        "out_is_file",
        "foreign",
        "missing",
        "unknown",
        "number",
        "type",
        "yaml",
        "cuts",
        "engine",
        "depth",
        "seed",
        "out_number",
        "out_holds_scenes",
        "one_tile",
    ],
)
def test_bad_input_is_one_line_exit_two_and_nothing_written(case, tmp_path):
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    good = np.full((64, 64, 3), 100, np.uint8)
    arguments, named = ["run", "--scenes", scenes, "--out", tmp_path / "new" / "out"], "scenes"
    good = np.zeros((300, 64, 3), np.uint8) + 100 if case != "one_tile" else good
    if case == "text":
        (scenes / "letter.png").write_text("dear reader")
        named = "letter.png"
    elif case == "cut":
        cv2.imwrite(
            str(scenes / "cut.png"), np.random.default_rng(0).integers(0, 255, (99, 99, 3)).astype(np.uint8)
        )
        (scenes / "cut.png").write_bytes((scenes / "cut.png").read_bytes()[:3000])
        named = "cut.png"
    elif case == "two":
        with rasterio.open(
            scenes / "two.tif",
            "w",
            driver="GTiff",
            height=9,
            width=9,
            count=2,
            dtype="uint8",
            crs="EPSG:3031",
            transform=rasterio.Affine(1, 0, 0, 0, -1, 0),
        ) as target:
            target.write(np.ones((2, 9, 9), np.uint8))
        named = "two.tif"
    elif case == "absent":
        arguments[2] = named = str(tmp_path / "nowhere")
    elif case != "empty":
        cv2.imwrite(str(scenes / "good.png"), good)
    if case == "out_is_file":
        (tmp_path / "file").touch()
        arguments[4] = tmp_path / "file" / "out"
        named = str(tmp_path / "file")
    elif case == "foreign":
        arguments[4], named = tmp_path / "other", "holds something"
        arguments[4].mkdir()
        (arguments[4] / "letter.txt").touch()
    elif case == "missing":
        arguments, named = ["run"], "scenes: missing parameter"
    elif case in ("unknown", "number", "type", "yaml"):
        text, named = {
            "unknown": ("epoch: 3", "did you mean epochs?"),
            "number": ("3: 4", "3: unknown parameter"),
            "type": ("epochs: many", "epochs"),
            "yaml": ("a: [", "params.yaml"),
        }[case]
        (tmp_path / "params.yaml").write_text(f"scenes: {scenes}\n{text}\n")
        arguments = ["run", tmp_path / "params.yaml", "--out", tmp_path / "new"]
    elif case == "cuts":
        arguments += ["-p", "water_max", "240"]
        named = "water_max"
    elif case in ("engine", "depth", "seed"):
        arguments, named = [*arguments, "-p", case, {"engine": "abacus", "depth": 9, "seed": -1}[case]], case
    elif case == "out_number":
        (tmp_path / "params.yaml").write_text(f"scenes: {scenes}\nout: 2019\n")
        arguments, named = ["run", tmp_path / "params.yaml"], "out"
    elif case == "out_holds_scenes":
        (tmp_path / ".seaicekit-run").touch()
        arguments[4], named = tmp_path, "holds the scenes"
    elif case == "one_tile":
        named = "single tile"
    before = tree(tmp_path)
    done = command_here(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip().count("\n") == 0 and named in done.stderr and "Traceback" not in done.stderr
    assert tree(tmp_path) == before


def test_a_failing_notebook_ends_the_run_with_its_cell_and_a_report_so_far(tmp_path, small):
    (tmp_path / "books").mkdir()
    for stage in pipeline.STAGES:
        book = nbformat.read(pipeline.notebooks() / f"{stage}.ipynb", 4)
        if stage == "02_calibrate":
            book.cells[2].source += "\n1 / 0  # here it breaks"
        nbformat.write(book, tmp_path / "books" / f"{stage}.ipynb")
    code = (
        "import sys; from pathlib import Path; from seaicekit import cli;"
        "from seaicekit.pipeline import chain;"
        f"chain.notebooks = lambda: Path({str(tmp_path / 'books')!r});"
        f"arguments = ['run', '--scenes', {str(small[0] / 'scenes')!r}, '--out', {str(tmp_path / 'out')!r}];"
        "sys.exit(cli.main(arguments))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    assert "02_calibrate stopped in cell" in done.stderr and "ZeroDivisionError" in done.stderr
    assert "here it breaks" in done.stderr and "\x1b" not in done.stderr
    assert f"jupyter lab {tmp_path / 'out' / 'notebooks' / '02_calibrate.ipynb'}" in done.stderr
    stages = sorted(p.name for p in (tmp_path / "out" / "notebooks").iterdir())
    assert stages == ["01_scenes.ipynb", "02_calibrate.ipynb"]
    manifest = json.loads((tmp_path / "out" / "run.json").read_text())
    assert manifest["failure"]["error"] == "ZeroDivisionError: division by zero" and "metrics" not in manifest
    assert list(manifest["figures"]["seconds"]) == ["01_scenes"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "1 / 0  # here it breaks" in page and "division by zero" in page
    assert page.count("data:image/png;base64,") == 2  # the scenes, and where they lie
    opened = nbformat.read(tmp_path / "out" / "notebooks" / "02_calibrate.ipynb", 4)
    assert "papermill-error-cell" in opened.cells[0].source  # a link to the cell


def test_each_notebooks_parameters_cell_has_the_names_and_defaults_of_its_model():
    import papermill

    for stage, model in pipeline.STAGE_PARAMETERS.items():
        book = nbformat.read(pipeline.notebooks() / f"{stage}.ipynb", 4)
        assert sum("parameters" in cell.metadata.get("tags", []) for cell in book.cells) == 1
        known = papermill.inspect_notebook(str(pipeline.notebooks() / f"{stage}.ipynb"))
        declared = {name: ast.literal_eval(each["default"]) for name, each in known.items()}
        assert declared.pop("run_dir") and declared == model().model_dump()


def test_no_call_in_a_notebook_passes_more_than_five_keywords():
    for path in pipeline.notebooks().glob("0*.ipynb"):
        cells = nbformat.read(path, 4).cells
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        code = code.replace("%matplotlib inline", "")
        calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
        assert max(len(call.keywords) for call in calls) <= 5


def test_the_page_and_the_schema_of_the_parameters_are_current():
    spec = importlib.util.spec_from_file_location("parameters", ROOT / "docs" / "parameters.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    for path, text in made.texts().items():
        assert path.read_text() == text, "run python docs/parameters.py"


@pytest.mark.parametrize(("inputs", "kept"), [("same", True), ("other", False)])
def test_an_interrupted_05_keeps_its_maps_only_if_its_inputs_are_the_same(
    inputs, kept, tmp_path, monkeypatch
):
    names, present = {"a.tif", "a_confidence.tif", ".a.json"}, set()
    (tmp_path / "maps").mkdir()
    for name in names:
        (tmp_path / "maps" / name).write_text("x")
    (tmp_path / "maps" / f"{PARTIAL}b").mkdir()
    record = resume.Record(tmp_path)
    record.begin("05_map", {"scenes": "same"})
    monkeypatch.setattr(resume, "stage_inputs", lambda *_: {"scenes": inputs})
    monkeypatch.setattr(
        execution, "execute", lambda *_: present.update(path.name for path in (tmp_path / "maps").glob("*"))
    )
    state = execution.Execution(tmp_path, pipeline.read_parameters({}), record, False)
    execution._run_stage(state, "05_map", "")
    assert present == (names if kept else set()) and record.stages["05_map"]["done"]


@pytest.mark.parametrize(
    ("stage", "given", "module", "hint"),
    [
        ("01_scenes", {"search": "Ross Sea"}, "pystac_client", "'seaicekit[stac]'"),
        ("03_autolabel", {"engine": "serial"}, "pyarrow", "pyarrow"),
        ("03_autolabel", {"engine": "spark"}, "pyarrow", "'seaicekit[spark]'"),
        ("05_map", {}, "tensorflow", "'seaicekit[train]'"),
    ],
)
def test_a_missing_module_is_named_before_the_first_stage(stage, given, module, hint, monkeypatch):
    real = files.find_spec
    monkeypatch.setattr(files, "find_spec", lambda name: None if name == module else real(name))
    with pytest.raises(sik.InputError, match=re.escape(f"needs {module}: pip install {hint}") + "$"):
        execution._check_extras([stage], pipeline.read_parameters(given))


@pytest.mark.parametrize("preset", ["demo", "paper"])
def test_presets_follow_the_schema(preset):
    folder = Path(pipeline.__file__).parent
    schema = json.loads((folder / "schemas" / "parameters.json").read_text())
    given = yaml.safe_load((folder / "presets" / f"{preset}.yaml").read_text())
    jsonschema.Draft202012Validator(schema).validate(given)
    pipeline.read_parameters(given)


def test_a_notebooks_own_parameters_are_checked(tmp_path):
    run = sik.Run(tmp_path)
    given = {"water_max": 20, "thin_max": np.int64(90), "thresholds": None, "np": np}
    assert run.parameters("02_calibrate", given).cuts() == sik.Thresholds(20, 90)
    with pytest.raises(sik.InputError, match="water_max: must be a whole number from 0 to 255, not 300"):
        run.parameters("02_calibrate", {"water_max": 300})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dates": "2019"}, "dates: only a search"),
        ({"thresholds": "a.json", "water_max": 9}, "thresholds: water_max or thin_max"),
        ({"search": "Ros Sea"}, "did you mean Ross Sea"),
        ({"search": "Ross Sea", "scenes": "x"}, "search: scenes are given, too"),
        ({"water_max": 240}, "water_max: 240 is above thin_max"),
        ({"ranks": 2, "launcher": "inprocess"}, "ranks: must be 1 in process"),
    ],
)
def test_values_that_contradict_each_other_are_refused(given, message):
    with pytest.raises(sik.InputError, match=message):
        pipeline.read_parameters(given)


def test_help_and_version():
    assert "demo" in command("--help").stdout and "PARAMS.yaml" in command_here("run", "--help").stdout
    assert command_here("--version").stdout.strip() == f"seaicekit {sik.__version__}"
    assert command_here("dem").returncode == 2
