import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ALONE, SMALL

import seaicekit as sik
from seaicekit import tiles, training
from seaicekit.training.settings import learning_rate_at


@pytest.mark.parametrize(("channels", "expected"), [(1, 7_775_347), (3, 7_775_635)])
def test_the_papers_number_of_parameters(channels, expected):
    assert training.build(channels).count_params() == expected


def test_unet_gives_probabilities_at_any_size_and_width():
    model = training.build(3, classes=4, width=3, depth=3)
    out = model(np.zeros((2, 16, 24, 3), np.uint8)).numpy()
    assert out.shape == (2, 16, 24, 4)
    np.testing.assert_allclose(out.sum(-1), 1, rtol=1e-5)
    for wrong in ({"depth": 0}, {"depth": 7}, {"width": 0}, {"normalisation": "l1"}):
        with pytest.raises(sik.InputError):
            training.build(**wrong)


def test_l2_is_what_keras_utils_normalize_gives():
    import keras

    image = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1)).astype(np.uint8)
    image[:, :, 3] = 0  # a column of no data stays 0
    model = training.build(1, width=2, depth=1, normalisation="l2")
    layer = next(each for each in model.layers if isinstance(each, keras.layers.UnitNormalization))
    seen = keras.Model(model.input, layer.output)(image).numpy()
    np.testing.assert_allclose(seen, keras.utils.normalize(image.astype(np.float32), axis=1), rtol=1e-5)


@pytest.mark.parametrize(("count", "batch", "ranks"), [(10, 2, 2), (11, 4, 3), (1, 2, 2), (12, 3, 2)])
def test_each_sample_once_per_epoch_over_all_ranks(count, batch, ranks):
    shares = [tiles.epoch_order(count, 3, 0, batch, rank, ranks) for rank in range(ranks)]
    seen = np.concatenate([share.ravel() for share in shares])
    assert sorted(seen[seen >= 0]) == list(range(count))
    assert len({share.shape for share in shares}) == 1
    whole = tiles.epoch_order(count, 3, 0, batch * ranks, 0, 1)
    for step, row in enumerate(whole):
        assert sorted(np.concatenate([share[step] for share in shares])) == sorted(row)


def test_the_rate_grows_to_ranks_times_and_only_when_asked():
    plain, scaled = (
        training.Settings(learning_rate=0.1, scale_rate=on, warmup_epochs=2) for on in (False, True)
    )
    assert [learning_rate_at(plain, 4, step, 5) for step in (0, 100)] == [0.1, 0.1]
    assert [learning_rate_at(scaled, 4, step, 5) for step in (0, 5, 10, 100)] == pytest.approx(
        [0.1, 0.25, 0.4, 0.4]
    )
    assert (
        learning_rate_at(training.Settings(learning_rate=0.001, scale_rate=True, warmup_epochs=0), 2, 0, 5)
        == 0.002
    )


def run_in_a_process(code):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ipyparallel_names_a_killed_rank_and_horovodrun_goes_on(small, tmp_path):
    """Two ranks that resume after a kill end with equal weights; the watcher loads nothing heavy."""
    index = str(small[0] / "tiles.parquet")
    printed = run_in_a_process(f"""
        import json, os, signal, sys, time
        import seaicekit as sik

        seen, killed = [], []
        out = {str(tmp_path)!r}

        def kill(epochs):
            if not killed:
                killed.append(time.monotonic())
                os.kill(json.load(open(out + "/.partial-ranks/1.json"))["pid"], signal.SIGKILL)

        settings = {SMALL} | {{"epochs": 10**6, "augment": False}}
        try:
            sik.train({index!r}, out, None, kill, ranks=2, launcher="ipyparallel", **settings)
        except sik.training.TrainingError as error:
            reason, took = str(error), time.monotonic() - killed[0]
        done = int(max(os.listdir(out + "/checkpoints"))[6:11])
        more = settings | {{"epochs": done + 2, "resume": True, "launcher": "horovodrun"}}
        result = sik.train({index!r}, out, ranks=2, on_epoch=seen.append, **more)
        sik.maps.curves(result["epochs"])
        heavy = {{"tensorflow", "keras", "leafmap", "localtileserver", "pyspark"}} & sys.modules.keys()
        print(json.dumps([reason, took, done, len(seen[-1]), sorted(heavy)]))
    """)
    reason, took, done, last, heavy = json.loads(printed.splitlines()[-1])
    assert "rank 1 was killed" in reason and "resume=True" in reason
    assert took < 60
    assert last == done + 2 and heavy == []
    check_training(tmp_path, ranks=2, epochs=done + 2)


def check_training(folder, ranks, epochs):
    result = json.loads((folder / "training.json").read_text())
    assert result["ranks"] == ranks and len(result["weights_sha256"]) == ranks
    assert len(set(result["weights_sha256"])) == 1
    assert len(pd.read_csv(folder / "history.csv")) == len(result["epochs"]) == epochs
    assert result["epochs"][-1]["loss"] < result["epochs"][0]["loss"]
    assert result["epochs"][-1]["seconds_left"] == 0 < result["epochs"][0]["images_per_second"]
    names = ["checkpoints", "history.csv", "model.keras", "training.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert len(list((folder / "checkpoints").iterdir())) <= 2
    return result


def test_progress_reaches_the_user_in_process_too(small, tmp_path, capsys):
    seen = []
    ours = ALONE | {"progress": True}
    sik.train(small[0] / "tiles.parquet", tmp_path, on_epoch=seen.append, **ours)
    assert [len(epochs) for epochs in seen] == [1, 2]
    assert seen[0][0]["seconds_left"] > 0
    said = capsys.readouterr().err
    assert "36/36" in said and "images/s" in said


@pytest.mark.parametrize("option", [{"mixed_precision": True}, {"scale_rate": True}])
def test_options_train_and_are_off_otherwise(small, tmp_path, option):
    assert not getattr(training.Settings(), next(iter(option)))
    done = sik.train(
        small[0] / "tiles.parquet", tmp_path, **ALONE | option | {"learning_rate": 0.01, "epochs": 3}
    )
    assert done["epochs"][-1]["loss"] < done["epochs"][0]["loss"]
    model, _ = sik.training.load_model(tmp_path / "model.keras")
    assert model(np.zeros((1, 8, 8, 3), np.uint8)).dtype == "float32"


def test_wrong_settings(small, tmp_path):
    index = small[0] / "tiles.parquet"
    wrong = {
        "ranks: must be": {"ranks": 0},
        "machine's": {"ranks": 1000, "launcher": "ipyparallel"},
        "4 slots": {"ranks": 5, "launcher": "horovodrun", "hosts": "a:2,b:2"},
        "hosts: must be": {"ranks": 2, "launcher": "horovodrun", "hosts": "a,b"},
        "only the launcher horovodrun": {"ranks": 2, "launcher": "ipyparallel", "hosts": "a:2"},
        "launcher": {"ranks": 2, "launcher": "mpirun"},
        "epoch: .* mean epochs": {"epoch": 3},
        "epochs": {"epochs": 0},
        "inputs": {"inputs": "blue"},
        "normalisation": {"normalisation": "l1"},
        "threads": {"threads": -1},
        "targets: .*nowhere has no raster": {"targets": "nowhere"},
        "depth: at 6": {"depth": 6, "tiles": small[2].assign(size=48)},
        "no tiles to train": {"tiles": small[2].assign(split="test")},
        "not a tile index": {"tiles": small[2].drop(columns="split")},
    }
    for number, (match, change) in enumerate(wrong.items()):
        given = index
        if "tiles" in change:
            given = tmp_path / f"{number}.parquet"
            change.pop("tiles").to_parquet(given)
        with pytest.raises(sik.InputError, match=match):
            sik.train(given, tmp_path / "out", **ALONE | change)
    with pytest.raises(sik.InputError, match="none.parquet"):
        sik.train(tmp_path / "none.parquet", tmp_path / "out", **ALONE)
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(sik.InputError, match="not a tile index"):
        sik.train(tmp_path / "text.parquet", tmp_path / "out", **ALONE)


def test_presets_give_only_what_is_known():
    import yaml

    from seaicekit import pipeline

    new = {
        "split",
        "inputs",
        "targets",
        "normalisation",
        "scale_rate",
        "dropout",
        "mixed_precision",
        "resume",
    }
    known = pipeline.RunParameters.model_fields.keys() | new
    for name in ("paper", "demo"):
        preset = yaml.safe_load(
            (Path(sik.__file__).parent / "pipeline" / "presets" / f"{name}.yaml").read_text()
        )
        assert preset.keys() <= known
        fields = training.Settings.model_fields.keys() & preset.keys()
        settings = training.Settings(**{field: preset[field] for field in fields})
        if name == "paper":
            assert (
                settings.inputs == "filtered" and settings.normalisation == "l2" and not settings.scale_rate
            )
            assert (settings.epochs, settings.batch, settings.width, settings.depth) == (50, 16, 16, 6)
