"""Models that carry their card."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

import seaicekit as sik
from seaicekit import training
from seaicekit.classes import SeaIceClass

CARD = training.Card(
    legend=(*sik.classes.LEGEND, SeaIceClass(7, "melt pond", "#3a7bd5")),
    inputs="filtered",
    rule=sik.labels.Rule(sik.Thresholds(20, 190), normalise=(1, 99)),
    normalisation="l2",
    size=64,
    cell=2,
    training={"ranks": 2},
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model = training.build(1, 4, 2, 2, normalisation="l2")
    training.save_model(model, path, CARD)
    return model, path


def test_a_model_comes_back_with_its_card(saved):
    import keras

    model, path = saved
    loaded, card = training.load_model(path)
    assert card == CARD and card == training.read_card(path)
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 1)).astype(np.uint8)
    np.testing.assert_array_equal(loaded(image), model(image))
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["model.keras"]
    plain = keras.models.load_model(path, compile=False)  # Keras passes the card over
    assert plain.count_params() == model.count_params()


def test_scores_are_added_without_touching_the_model(saved, tmp_path):
    model, path = saved
    scored = tmp_path / "scored.keras"
    scored.write_bytes(path.read_bytes())
    training.write_card(scored, replace(CARD, scores={"accuracy": 0.9}))
    training.write_card(scored, replace(training.read_card(scored), scores={"accuracy": 0.91}))
    loaded, card = training.load_model(scored)
    assert card.scores == {"accuracy": 0.91} and card.rule == CARD.rule
    for one, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def with_member(path, source, name, content):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.namelist():
            if member != name:
                new.writestr(member, old.read(member))
        if content is not None:
            new.writestr(name, content)
    return path


def test_what_is_no_model_is_refused_with_the_way_out(saved, tmp_path):
    _, path = saved
    (tmp_path / "text.keras").write_text("no")
    bare = tmp_path / "bare.keras"
    saved[0].save(bare)
    card = json.loads(zipfile.ZipFile(path).read(training.CARD))
    wrong = {
        "no such model": tmp_path / "none.keras",
        "not a trained model": tmp_path / "text.keras",
        "write_card": bare,
        "its card cannot be used": with_member(tmp_path / "a.keras", path, training.CARD, "{"),
        "format 'other'": with_member(
            tmp_path / "b.keras", path, training.CARD, json.dumps(card | {"format": "other"})
        ),
        "cannot be loaded": with_member(tmp_path / "c.keras", path, "model.weights.h5", b"no"),
        "its card says": with_member(
            tmp_path / "d.keras", path, training.CARD, json.dumps(card | {"inputs": "rgb"})
        ),
    }
    for match, given in wrong.items():
        with pytest.raises(sik.InputError, match=match):
            training.load_model(given)
    with pytest.raises(sik.InputError, match="not a trained model"):
        training.write_card(tmp_path / "none.keras", CARD)
    with pytest.raises(sik.InputError, match=r"must end in \.keras"):
        training.save_model(saved[0], tmp_path / "model.h5", CARD)


def test_code_in_a_model_is_not_run(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Lambda(lambda x: x * 2)])
    training.save_model(model, tmp_path / "lambda.keras", training.Card())
    with pytest.raises(sik.InputError, match="cannot be loaded"):
        training.load_model(tmp_path / "lambda.keras")
