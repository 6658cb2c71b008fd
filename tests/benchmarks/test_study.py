import numpy as np
import pandas as pd
import pytest
import yaml

import seaicekit as sik
from benchmarks import study
from benchmarks.study import FILTERED
from benchmarks.study.material import PRESET, draw
from benchmarks.study.networks import Variant
from seaicekit.evaluation import CALIBRATED, CLEAR_TILES, CLOUDY_TILES, TABLE

SMALL = {"size": 128, "training": 4, "development": 2, "heldout": 4}
NETWORK = {"epochs": 1, "batch": 4, "learning_rate": 0.01, "width": 2, "depth": 2}
RANKS = {"ranks": 1, "launcher": "inprocess"}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A small study with networks on colour: (material, maps)."""
    folder = tmp_path_factory.mktemp("study")
    material = study.make(folder, study.Benchmark.load("demo", **SMALL), tile=64, points=10, progress=False)
    study.train(material, study.variants("rgb"), (0,), progress=False, **RANKS, **NETWORK)
    return material, study.predict(material, study.variants("rgb"), (0,), progress=False)


def test_committed_groups_share_no_seed():
    known = yaml.safe_load(PRESET.read_text())
    seeds = [
        seed
        for each in known
        for group in ("training", "development", "heldout")
        for seed in study.Benchmark.load(each).scenes(group)
    ]
    assert len(seeds) == len(set(seeds)), "the settings share scenes, too"
    demo, hard = study.Benchmark.load("demo"), study.Benchmark.load("hard")
    for each in (demo, hard):
        sky = each.scenes("heldout").values()
        assert len(sky) >= 12 and np.mean([cloud > 0 for cloud in sky]) == 0.5
    assert hard.overlap > demo.overlap and hard.thickness > demo.thickness and hard.cloud > demo.cloud


@pytest.mark.parametrize("wrong", [{"name": "easy"}, {"heldout": 0}, {"training": 1001}, {"split": "row"}])
def test_impossible_benchmarks_are_refused(wrong):
    with pytest.raises(sik.InputError, match="setting|heldout|training|split"):
        study.Benchmark.load(**wrong)


def test_groups_share_no_scene_and_held_out_ones_are_not_trained_on(done):
    material, _ = done
    tiles = material.tiles.groupby("scene")["split"].nunique()
    assert (tiles == 1).all()
    assert material.scenes["group"].value_counts().to_dict() == {
        "training": 4,
        "heldout": 4,
        "development": 2,
    }
    job = sik.training.Job(tiles=str(material.folder / "tiles.parquet"), out_dir="", depth=2)
    table = sik.training.plan.Plan.of(job).table
    assert not set(table["scene"]) & set(material.of("heldout")[0].index)


def test_cloud_of_a_tile_is_the_true_share(done):
    material, _ = done
    for name, rows in material.tiles.groupby("scene"):
        assert (rows["cloud"] > 0).any() == name.endswith("cloudy")
    name = next(name for name in material.scenes.index if name.endswith("cloudy"))
    truth = sik.scenes.synthetic_scene(int(name.split("_")[1]), (128, 128), cloud=0.4)[1]
    whole, valid = truth.coords["cloudy"].values, truth.values != 255
    rows = material.tiles[material.tiles["scene"] == name]
    pixels = [np.count_nonzero(valid[r.row : r.row + 64, r.col : r.col + 64]) for r in rows.itertuples()]
    assert np.average(rows["cloud"], weights=pixels) == pytest.approx(whole[valid].mean())


def test_points_have_the_true_class_and_cuts_are_fitted(done):
    material, _ = done
    training = material.of("training")[0]
    points = draw(training["truth"], 10)
    assert points["code"].value_counts().to_dict() == {0: 10, 1: 10, 2: 10}
    for name, rows in points.groupby("scene"):
        truth = sik.scenes.read_codes(training["truth"][name])
        assert (truth[rows["row"], rows["col"]] == rows["code"]).all()
    assert material.cuts != sik.Thresholds() and material.filter_cuts.water_max == material.cuts.water_max
    rule = sik.tiles.labelling_rule(training["labels"].iloc[0])[0]
    assert rule.thresholds == material.filter_cuts and rule.cloud_filter


def test_results_are_reused_and_other_settings_are_refused(done):
    material, maps = done
    model = material.folder / "models" / "auto-rgb-0" / "model.keras"
    before = model.stat().st_mtime_ns
    study.train(material, study.variants("rgb"), (0,), progress=False, **RANKS, **NETWORK)
    assert model.stat().st_mtime_ns == before
    with pytest.raises(sik.InputError, match="other epochs"):
        study.train(material, study.variants("rgb"), (0,), progress=False, **RANKS, **NETWORK | {"epochs": 2})
    with pytest.raises(sik.InputError, match="other .*overlap"):
        study.make(material.folder, study.Benchmark.load("hard", **SMALL), tile=64, points=10, progress=False)
    again = study.make(material.folder, material.benchmark, tile=64, points=10, progress=False)
    pd.testing.assert_frame_equal(again.tiles, material.tiles)


def test_scores_have_their_baselines(done):
    material, maps = done
    truth, labels = (study.score(material, maps, reference=name, draws=50) for name in ("truth", "labels"))
    rules = set(truth["rule"])
    assert {
        "majority class",
        "fixed cuts (30, 204)",
        CALIBRATED,
        TABLE,
        FILTERED,
        "U-Net-Auto on rgb",
    } <= rules
    whole = truth[(truth["stratum"] == "all") & (truth["score"] == "accuracy")].set_index("rule")
    of = material.of("heldout")
    plain = sik.evaluate(maps[0]["U-Net-Auto on rgb"], of[0]["truth"].to_dict(), tiles=of[1])
    assert whole["mean"]["U-Net-Auto on rgb"] == pytest.approx(plain["accuracy"])
    assert whole["sd"].isna().all() and whole["reached"]["majority class"] == 1
    shown = study.summary(truth)
    assert list(shown) == ["all", CLEAR_TILES, CLOUDY_TILES, "interior", "edge"]
    assert f"{CALIBRATED} (look-up)" in shown.index
    poor = whole["mean"]["U-Net-Auto on rgb"] <= whole[whole["table"]]["mean"].max()
    assert shown["all"]["U-Net-Auto on rgb"].endswith("•") == poor
    exact = labels[(labels["rule"] == TABLE) & (labels["score"] == "accuracy") & (labels["stratum"] == "all")]
    assert exact["mean"].item() == 1, "a table repeats what is a function of what it is given"


def test_spread_over_three_seeds(done):
    material, maps = done
    rules = maps[0] | {"U-Net-Auto on rgb": material.of("heldout")[0]["raw"].to_dict()}
    scores = study.score(material, {0: maps[0], 1: maps[0], 2: rules}, draws=20)
    row = scores[(scores["rule"] == "U-Net-Auto on rgb") & (scores["stratum"] == "all")].set_index("score")
    assert row["runs"]["accuracy"] == 3 and row["sd"]["accuracy"] > 0
    assert "±" in study.summary(scores)["all"].loc[lambda shown: shown.index == "U-Net-Auto on rgb"].item()


def test_differences_name_their_rules(done):
    material, maps = done
    found = study.differences(material, maps, [(FILTERED, CALIBRATED)], draws=50, strata=("all", "edge"))
    of = material.of("heldout")
    one, other = (
        sik.evaluate(of[0][name].to_dict(), of[0]["truth"].to_dict(), tiles=of[1])
        for name in ("labels", "raw")
    )
    assert found["estimate"][0] == pytest.approx(one["accuracy"] - other["accuracy"])
    assert (found["low"] <= found["high"]).all() and list(found["stratum"]) == ["all", "edge"]
    with pytest.raises(sik.InputError, match="no rule"):
        study.differences(material, maps, [("a guess", CALIBRATED)])


def test_errors_are_divided_by_whether_the_label_was_wrong(done):
    material, maps = done
    rule = "U-Net-Auto on rgb"
    found = study.inherited(material, maps, [rule]).loc[rule]
    assert (found["mended"] + found["repeated"] <= found["label wrong"]).all()
    np.testing.assert_allclose(found["map wrong"], found["label wrong"] - found["mended"] + found["added"])
    scores = study.score(material, maps, draws=20)
    right = scores[(scores["rule"] == rule) & (scores["score"] == "accuracy")].set_index("stratum")["mean"]
    for stratum in found.index:
        assert found["map wrong"][stratum] == pytest.approx(1 - right[stratum])


def test_tables_hold_the_papers_numbers_and_ours(done):
    material, maps = done
    truth, labels = (study.score(material, maps, reference=name, draws=50) for name in ("truth", "labels"))
    four = study.table_4(truth, labels)
    assert four["paper"].tolist() == [0.9139, 0.984, 0.9018, 0.9897]
    assert four["truth"].loc["U-Net-Man"].isna().tolist() == [False, True], (
        "no network on filtered images here"
    )
    auto = labels[(labels["rule"] == "U-Net-Auto on rgb") & (labels["score"] == "accuracy")].set_index(
        "stratum"
    )
    assert four["learned"]["U-Net-Auto", "original"] == auto["mean"]["all"]
    five = study.table_5(truth, labels)
    assert five["learned"][CLOUDY_TILES, "original"] == auto["mean"][CLOUDY_TILES]
    recalls = study.figure_13(truth, labels)
    assert recalls["paper"][CLOUDY_TILES, "original", "thick ice"] == 0.7595
    counted = study.confusions(material, maps, ["U-Net-Auto on rgb"])[CLOUDY_TILES, "U-Net-Auto on rgb"]
    mine = sik.evaluation.normalised(counted).diagonal()
    names = [(CLOUDY_TILES, "original", entry.name) for entry in sik.classes.LEGEND]
    assert recalls["truth"][names].tolist() == pytest.approx(mine.tolist())
    assert study.shown(recalls).loc[(CLOUDY_TILES, "original", "thick ice"), "the paper"] == "75.95"
    alike = study.similarity(material)
    table = material.of("heldout")[0]
    assert alike["here"]["filtered"] == sik.evaluation.ssim(table["labels"], table["truth"])["ssim"]


def test_a_random_split_of_tiles_leaks_as_the_papers_does(tmp_path):
    benchmark = study.Benchmark.load("demo", **SMALL, split="tile")
    material = study.make(tmp_path, benchmark, tile=64, points=10, progress=False)
    sides = material.tiles.groupby("split")["scene"].agg(set)
    assert sides["train"] & sides["heldout"] and not sides["test"] & (sides["train"] | sides["heldout"])
    counts = material.tiles["split"].value_counts()
    assert counts["heldout"] == round(0.2 * (counts["heldout"] + counts["train"]))


def test_names_of_variants():
    assert Variant("auto", "filtered").name == "U-Net-Auto on filtered"
    assert [each.folder for each in study.variants("grey")] == ["auto-grey", "man-grey"]
    with pytest.raises(sik.InputError, match="inputs"):
        study.variants("infrared")
