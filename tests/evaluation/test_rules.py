"""Rules beside their baselines, and how sure a difference is."""

import numpy as np
import pandas as pd
import pytest
from conftest import write_tiff
from scipy import stats
from sklearn import metrics

import seaicekit as sik
from seaicekit import evaluation, labels
from seaicekit.evaluation.uncertainty import weights

CUTS = sik.Thresholds(45, 190)


@pytest.fixture(scope="module")
def compared(small):
    folder, labelled, tiles = small
    made = dict(zip(labelled.scene, labelled.labels, strict=True))
    truths = {name: path.replace("/labels/", "/truth/") for name, path in made.items()}
    train = tiles[tiles.split == "train"]
    table = evaluation.fit_table(made, truths, train)
    images = dict(zip(labelled.scene, labelled.path, strict=True))
    chosen = tiles[tiles.split == "test"]
    names = chosen.scene.unique()
    predictions = {"filter and cuts": {name: made[name] for name in names}}
    shown = evaluation.compare(
        predictions,
        {name: truths[name] for name in names},
        chosen,
        images=images,
        thresholds=CUTS,
        filtered=made,
        table=table,
        draws=200,
    )
    return shown, made, truths, images, chosen, names, table, train


def pixels(rasters, names):
    return np.concatenate([sik.scenes.read_codes(rasters[name]).ravel() for name in names])


def value(table, rule, score="accuracy", stratum="all", **where):
    rows = table[(table.rule == rule) & (table.score == score) & (table.stratum == stratum)]
    for column, wanted in ({"class": "", "scene": ""} | where).items():
        rows = rows[rows[column] == wanted]
    assert len(rows) == 1
    return rows.iloc[0]


def test_baselines_score_as_scikit_learn_says(compared):
    shown, made, truths, images, chosen, names, table, train = compared
    rules = [
        "filter and cuts",
        "fixed cuts (30, 204)",
        "calibrated cuts",
        "three-entry table",
        "majority class",
    ]
    assert list(shown.rule.unique()) == rules
    assert (shown.groupby(["rule", "stratum", "scene", "class", "score"]).size() == 1).all()
    truth = pixels(truths, names)
    for rule, cuts in (("fixed cuts (30, 204)", sik.Thresholds()), ("calibrated cuts", CUTS)):
        scenes = {name: sik.open_scene(images[name]) for name in names}
        cut = {
            name: labels.label_raw(each.values, each.coords["nodata"].values, cuts)
            for name, each in scenes.items()
        }
        said = pixels(cut, names)
        valid = (truth != 255) & (said != 255)
        assert value(shown, rule).value == pytest.approx(metrics.accuracy_score(truth[valid], said[valid]))
        assert value(shown, rule).pixels == valid.sum()
        recalls = metrics.recall_score(truth[valid], said[valid], average=None, labels=[0, 1, 2])
        for entry, recall in zip(sik.classes.LEGEND, recalls, strict=True):
            assert value(shown, rule, "recall", **{"class": entry.name}).value == pytest.approx(recall)
    counts = np.bincount(truth[truth != 255], minlength=3)
    assert value(shown, "majority class").value == pytest.approx(counts.max() / counts.sum())
    looked = table[pixels(made, names)]
    valid = looked != 255
    assert value(shown, "three-entry table").value == pytest.approx((looked == truth)[valid].mean())
    said = pixels(made, names)
    error = (said[valid] != 0).mean() - (truth[valid] != 0).mean()
    assert value(shown, "filter and cuts", "ice_concentration_error").value == pytest.approx(error)
    own = sik.evaluate(made, truths, tiles=chosen)
    assert value(shown, "filter and cuts").value == own["accuracy"]
    assert value(shown, "filter and cuts", "majority_accuracy").value == own["majority_accuracy"]


def test_a_table_is_fitted_on_the_training_tiles_alone(compared):
    _, made, truths, _, _, _, table, train = compared
    seen = [
        (sik.scenes.read_codes(made[name]), sik.scenes.read_codes(truths[name]))
        for name in train.scene.unique()
    ]
    filtered, truth = (np.concatenate([pair[side].ravel() for pair in seen]) for side in (0, 1))
    for value in range(3):
        inside = truth[(filtered == value) & (truth != 255)]
        assert table[value] == (
            stats.mode(inside).mode if inside.size else stats.mode(truth[truth != 255]).mode
        )
    assert table[255] == 255 and table[77] == stats.mode(truth[(truth != 255) & (filtered != 255)]).mode


def test_a_table_is_fitted_inside_its_tiles():
    filtered = {"a": np.zeros((4, 4), np.uint8), "b": np.ones((4, 4), np.uint8)}
    truth = {"a": np.full((4, 4), 2, np.uint8), "b": np.ones((4, 4), np.uint8)}
    truth["a"][0, 0] = 1
    tile = pd.DataFrame([{"scene": "a", "row": 0, "col": 0, "height": 1, "width": 1}])
    assert evaluation.fit_table(filtered, truth)[:2].tolist() == [2, 1]
    assert evaluation.fit_table(filtered, truth, tile)[:3].tolist() == [1, 1, 1]


def test_a_table_reaches_what_a_table_made(compared):
    _, made, truths, images, chosen, names, table, _ = compared
    # The paper's filtered task: the labels are the filter's own output, and a table cannot miss.
    own = {name: made[name] for name in names}
    shown = evaluation.compare(
        {"U-Net": own}, own, chosen, images=None, filtered=own, table=np.arange(256, dtype=np.uint8)
    )
    assert list(shown.rule.unique()) == ["U-Net", "three-entry table", "majority class"]
    row = value(shown, "U-Net")
    assert row.value == 1 and row.table_reaches and not row.table and value(shown, "three-entry table").table
    # Against the truth nothing here but a perfect rule is out of a table's reach.
    shown = evaluation.compare(
        {"perfect": {n: truths[n] for n in names}}, {n: truths[n] for n in names}, images=images
    )
    row = value(shown, "perfect")
    assert row.value == 1 and not row.table_reaches
    assert not value(shown, "perfect", "ice_concentration_error").table_reaches
    marked = evaluation.compare(
        {"perfect": truths}, {n: truths[n] for n in names}, images=None, tables=["perfect"]
    )
    assert value(marked, "perfect").table_reaches


def test_strata_scenes_and_intervals_in_the_table(compared):
    shown, *_, names, _, _ = compared
    assert set(shown.stratum) == {"all", "cloud < 10 %", "cloud >= 10 %", "edge", "interior", "scene"}
    assert set(shown.scene) == {"", *names}
    parts = [value(shown, "filter and cuts", stratum=name).pixels for name in ("edge", "interior")]
    assert sum(parts) == value(shown, "filter and cuts").pixels
    pooled = shown[(shown.stratum == "all") & (shown.score == "accuracy")]
    assert (
        (pooled.low <= pooled.value).all() and (pooled.value <= pooled.high).all() and pooled.few_scenes.all()
    )
    assert shown[shown.stratum == "scene"].low.isna().all()
    scenes = shown[
        (shown.stratum == "scene") & (shown.score == "accuracy") & (shown.rule == "filter and cuts")
    ]
    assert np.average(scenes.value, weights=scenes.pixels) == pytest.approx(
        value(shown, "filter and cuts").value
    )


def synthetic(count, seed, rate_a=0.1, rate_b=0.15, shape=(30, 30)):
    """Scenes whose accuracies scatter from scene to scene, equal in size."""
    rng = np.random.default_rng(seed)
    truths = {f"s{n:02}": rng.integers(0, 3, shape).astype(np.uint8) for n in range(count)}

    def rule(rate):
        wrong = {name: rng.random(shape) < rng.uniform(0, 2 * rate) for name in truths}
        return {
            name: np.where(wrong[name], (truth + 1) % 3, truth).astype(np.uint8)
            for name, truth in truths.items()
        }

    return rule(rate_a), rule(rate_b), truths


def test_difference_is_scipys_bootstrap_and_the_normal_interval():
    a, b, truths = synthetic(40, 3)
    found = evaluation.difference(a, b, truths, draws=4000, seed=1)
    # Scenes of one size: the difference of pooled accuracies is the mean of the scenes' differences.
    apart = np.array([(a[n] == truths[n]).mean() - (b[n] == truths[n]).mean() for n in truths])
    assert found["estimate"] == pytest.approx(apart.mean())
    margin = 1.96 * apart.std() / np.sqrt(len(apart))
    other = stats.bootstrap(
        (apart,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0)
    )
    for low, high in ((apart.mean() - margin, apart.mean() + margin), other.confidence_interval):
        assert found["low"] == pytest.approx(low, abs=0.1 * margin)
        assert found["high"] == pytest.approx(high, abs=0.1 * margin)
    above = 1 - stats.norm.cdf(0, apart.mean(), margin / 1.96)
    assert found["share_above"] == pytest.approx(above, abs=0.02)
    assert found["meaningful"] and not found["note"] and found["scenes"] == 40 and found["draws"] == 4000
    back = evaluation.difference(b, a, truths, draws=4000, seed=1)
    assert (back["low"], back["high"]) == pytest.approx((-found["high"], -found["low"]))
    assert found == evaluation.difference(a, b, truths, draws=4000, seed=1)


def test_difference_of_other_scores_by_a_loop():
    a, b, truths = synthetic(7, 5)
    for name, code in (("s03", 1), ("s04", 2)):
        truths[name][:] = code
    found = evaluation.difference(a, b, truths, draws=60, seed=4, score="f1", class_name="thin ice")
    drawn = []
    for times in weights(7, 60, 4):
        names = np.repeat(list(truths), times)
        truth, *said = (np.concatenate([each[n].ravel() for n in names]) for each in (truths, a, b))
        scores = [metrics.f1_score(truth, each, labels=[1], average=None)[0] for each in said]
        drawn.append(scores[0] - scores[1])
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.percentile(drawn, (2.5, 97.5))))
    assert found["share_above"] == pytest.approx(np.mean(np.array(drawn) > 0))
    balanced = evaluation.difference(a, b, truths, score="balanced_accuracy", draws=50, stratum="edge")
    assert balanced["low"] <= balanced["estimate"] <= balanced["high"]


def test_intervals_are_percentiles_of_scenes_drawn_anew():
    a, b, truths = synthetic(7, 5)
    shown = evaluation.compare({"a": a, "b": b}, truths, images=None, draws=60, seed=4)
    drawn = {"accuracy": [], "recall": []}
    for times in weights(7, 60, 4):
        names = np.repeat(list(truths), times)
        truth, said = (np.concatenate([each[n].ravel() for n in names]) for each in (truths, b))
        drawn["accuracy"].append(metrics.accuracy_score(truth, said))
        drawn["recall"].append(metrics.recall_score(truth, said, average=None)[2])
    for score, name in (("accuracy", ""), ("recall", "thick ice")):
        row = value(shown, "b", score, **{"class": name})
        assert (row.low, row.high) == pytest.approx(tuple(np.percentile(drawn[score], (2.5, 97.5))))
        assert row.scenes == 7 and not row.few_scenes


def test_cuts_with_a_class_of_their_own(small):
    folder, labelled, index = small
    pond = sik.thresholds.Range(
        7, "melt pond", "#3a7bd5", hue=(90, 130), saturation=(40, 255), value=(60, 255)
    )
    cuts = sik.Thresholds(ranges=(pond,))
    truths = {row.scene: row.labels.replace("/labels/", "/truth/") for row in labelled.itertuples()}
    images = dict(zip(labelled.scene, labelled.path, strict=True))
    shown = evaluation.compare({"perfect": truths}, truths, images=images, thresholds=cuts, draws=10)
    assert "melt pond" in set(shown["class"]) and value(shown, "perfect").value == 1
    catalogue = pd.DataFrame({"path": images, "truth": truths})
    predicted = pd.DataFrame(
        {"map": truths, "confidence": dict.fromkeys(truths, np.full((160, 160), 90, np.uint8))}
    )
    found = evaluation.assess(predicted, truths, catalogue, index, cuts)
    assert (
        np.shape(found["confusion"]["counts"]) == (4, 4) and found["confusion"]["classes"][3] == "melt pond"
    )


def test_difference_with_few_scenes_says_so():
    a, b, truths = synthetic(5, 1)
    found = evaluation.difference(a, b, truths, draws=100)
    assert not found["meaningful"] and "5 scenes" in found["note"] and found["low"] is not None
    six = evaluation.difference(*synthetic(6, 1), draws=100)
    assert six["meaningful"] and not six["note"]
    times = weights(5, 4000, 0)
    assert (times.sum(axis=1) == 5).all()
    np.testing.assert_allclose(times.mean(axis=0), 1, atol=0.06)
    one = evaluation.difference(*({"s01": each["s01"]} for each in (a, b, truths)))
    assert one["low"] is one["share_above"] is None and "no interval" in one["note"]
    same = evaluation.difference(a, a, truths, draws=100)
    assert same["estimate"] == same["low"] == same["high"] == same["share_above"] == 0


def test_only_pixels_that_both_rules_have_are_compared():
    a, b, truths = synthetic(6, 2)
    b["s00"][:, :15] = 255
    found = evaluation.difference(a, b, truths, draws=10)
    right = [sum((each[n] == truths[n])[b[n] != 255].sum() for n in truths) for each in (a, b)]
    assert found["estimate"] == pytest.approx((right[0] - right[1]) / (6 * 900 - 450))
    shown = evaluation.compare({"a": a, "b": b}, truths, images=None, draws=10)
    assert value(shown, "a", "coverage").value == 1
    assert value(shown, "b", "coverage").value == pytest.approx(1 - 450 / 5400)
    assert set(shown[shown.score == "accuracy"].groupby("stratum").pixels.max()) >= {4950}


def test_concentration_by_scene():
    a, _, truths = synthetic(3, 2)
    truths["s01"][:] = 255
    found = evaluation.concentration(a, truths).set_index("scene")
    for name in ("s00", "s02"):
        expected = (a[name] != 0).mean() - (truths[name] != 0).mean()
        assert found.error[name] == pytest.approx(expected) and found.pixels[name] == 900
        assert found.reference[name] == pytest.approx((truths[name] != 0).mean())
    assert np.isnan(found.error["s01"]) and found.pixels["s01"] == 0


def test_cloud_is_no_ice():
    """The evaluation's ice concentration is the maps' own."""
    legend = (*sik.classes.LEGEND, sik.classes.SeaIceClass(3, "cloud", "#ffffff"))
    truth = np.repeat(np.array([0, 2, 3, 3], np.uint8), 25)[None]
    found = evaluation.concentration({"a": truth}, {"a": truth}, legend=legend)
    shares = {code: (truth == code).mean() for code in range(4)}
    assert found.reference[0] == sik.classes.concentration(shares, legend) == 0.5


def test_calibrated_cuts_stretch_as_their_rule_does(tmp_path):
    scene, truth = sik.scenes.synthetic_scene(4, (200, 200), light=0.7)
    path = write_tiff(tmp_path / "dark.tif", scene.values)
    rule = sik.labels.Rule(sik.Thresholds(40, 200), cloud_filter=False, normalise=(1, 99))
    labels = sik.autolabel([path], tmp_path / "labels", rule, engine="serial").labels[0]
    ends = sik.tiles.labelling_rule(labels)[1]
    shown = evaluation.compare(
        {"x": {"dark": labels}},
        {"dark": truth.values},
        images={"dark": path},
        thresholds=rule.thresholds,
        ends={"dark": ends},
        draws=10,
    )
    assert value(shown, "calibrated cuts").value == value(shown, "x").value > 0.6


def test_a_run_is_scored_on_its_test_tiles(small):
    folder, labelled, index = small
    rng = np.random.default_rng(0)
    index = index.assign(split=np.where(np.arange(len(index)) % 2, "test", "train"))
    truths, maps = {}, {}
    for row in labelled.itertuples():
        truths[row.scene] = row.labels.replace("/labels/", "/truth/")
        perfect = sik.scenes.read_codes(truths[row.scene])
        guessed = np.where(perfect == 255, 255, rng.integers(0, 3, perfect.shape)).astype(np.uint8)
        learned = sik.tiles.mask_outside_tiles(
            perfect, index[(index.scene == row.scene) & (index.split == "train")]
        )
        maps[row.scene] = np.where(learned != 255, learned, guessed)
    catalogue = pd.DataFrame({"path": dict(zip(labelled.scene, labelled.path, strict=True)), "truth": truths})
    predicted = pd.DataFrame(
        {"map": maps, "confidence": {name: np.full_like(m, 50) for name, m in maps.items()}}
    )
    labels = dict(zip(labelled.scene, labelled.labels, strict=True))
    found = evaluation.assess(predicted, labels, catalogue, index, CUTS)
    assert found["ssim"]["U-Net"] < 0.2 and abs(value(found["table"], "U-Net").value - 1 / 3) < 0.05
    counts = np.array(found["confusion"]["counts"])
    assert np.trace(counts) / counts.sum() == pytest.approx(value(found["table"], "U-Net").value)
    told, tested = evaluation.headline(found), index[index.split == "test"]
    kept = {
        name: sik.tiles.mask_outside_tiles(sik.scenes.read_codes(truths[name]), tested[tested.scene == name])
        for name in truths
    }
    truth = np.concatenate([kept[name][kept[name] != 255] for name in kept])
    said = np.concatenate([maps[name][kept[name] != 255] for name in kept])
    assert told["water_recall"] == pytest.approx((said[truth == 0] == 0).mean())
    assert told["concentration_error"] == pytest.approx((said > 0).mean() - (truth > 0).mean())
    assert evaluation.headline(found | {"against": "labels"}) == {}
    dry = {"counts": [[0, 0, 0], *counts[1:].tolist()]}
    assert "water_recall" not in evaluation.headline(found | {"confusion": dry})


def test_wrong_input():
    a, b, truths = synthetic(2, 0)
    tile = pd.DataFrame([{"scene": "x", "row": 0, "col": 0, "height": 9, "width": 9, "cloud": 0.0}])
    calls = {
        "at least one rule": lambda: evaluation.compare({}, truths, images=None),
        "name of a baseline": lambda: evaluation.compare({"majority class": a}, truths, images=None),
        "lacks scene s01": lambda: evaluation.compare({"a": {"s00": a["s00"]}}, truths, images=None),
        "images lacks": lambda: evaluation.compare({"a": a}, truths, images={}),
        "go together": lambda: evaluation.compare({"a": a}, truths, images=None, filtered=a),
        "none lies in a scene": lambda: evaluation.compare({"a": a}, truths, tile, images=None),
        "not rows of a tile index": lambda: evaluation.compare(
            {"a": a}, truths, tile[["scene"]], images=None
        ),
        "no rule 'x'": lambda: evaluation.compare({"a": a}, truths, images=None, tables=["x"]),
        "edge: must be": lambda: evaluation.compare({"a": a}, truths, images=None, edge=0),
        "draws: must be": lambda: evaluation.compare({"a": a}, truths, images=None, draws=0),
        "by scene": lambda: evaluation.compare({"a": a["s00"]}, truths, images=None),
        "stratum: must be": lambda: evaluation.difference(a, b, truths, stratum="cloud >= 10 %"),
        "score: unknown": lambda: evaluation.difference(a, b, truths, score="kappa"),
        "class_name: f1 needs": lambda: evaluation.difference(a, b, truths, score="f1"),
        "leave it out": lambda: evaluation.difference(a, b, truths, class_name="thin ice"),
        "no pixel": lambda: evaluation.compare(
            {"a": {n: v * 0 + 255 for n, v in a.items()}}, truths, images=None
        ),
        "fit_table: no pixel": lambda: evaluation.fit_table(a, truths, tile.assign(scene="s00", height=0)),
        "filtered lacks": lambda: evaluation.fit_table({}, truths),
        "fit_table: s00 has": lambda: evaluation.fit_table({n: v[:5] for n, v in a.items()}, truths),
    }
    for message, call in calls.items():
        with pytest.raises(sik.InputError, match=message):
            call()
