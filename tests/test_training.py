import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import seaicekit as sik
from seaicekit import training, unet

SMALL = {"epochs": 2, "batch": 2, "width": 2, "depth": 2}


@pytest.mark.parametrize(("channels", "expected"), [(1, 7_775_347), (3, 7_775_635)])
def test_the_papers_number_of_parameters(channels, expected):
    assert unet.build(channels).count_params() == expected


def test_unet_gives_probabilities_at_any_size_and_width():
    model = unet.build(3, classes=4, width=3, depth=3)
    out = model(np.zeros((2, 16, 24, 3), np.uint8)).numpy()
    assert out.shape == (2, 16, 24, 4)
    np.testing.assert_allclose(out.sum(-1), 1, rtol=1e-5)
    for wrong in ({"depth": 0}, {"depth": 7}, {"width": 0}):
        with pytest.raises(sik.InputError):
            unet.build(**wrong)


@pytest.mark.parametrize(("count", "batch", "ranks"), [(10, 2, 2), (11, 4, 3), (1, 2, 2), (12, 3, 2)])
def test_each_sample_once_per_epoch_over_all_ranks(count, batch, ranks):
    shares = [training.order(count, 3, 0, batch, rank, ranks) for rank in range(ranks)]
    seen = np.concatenate([share.ravel() for share in shares])
    assert sorted(seen[seen >= 0]) == list(range(count))
    assert len({share.shape for share in shares}) == 1
    whole = training.order(count, 3, 0, batch * ranks, 0, 1)
    for step, row in enumerate(whole):
        assert sorted(np.concatenate([share[step] for share in shares])) == sorted(row)


def test_missing_samples_are_all_no_data_and_turns_keep_pixels_together():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, (3, 8, 8)).astype(np.uint8)
    images = np.stack([codes * 10] * 3, axis=-1)
    for x, y in training.batches(images, codes, np.array([[0, 2], [1, -1]]), turn=[1, 2]):
        valid = y.numpy() != 255
        np.testing.assert_array_equal(x.numpy()[..., 0][valid], 10 * y.numpy()[valid])
    assert (y.numpy()[1] == 255).all() and (x.numpy()[1] == 0).all()


def run_in_a_process(code):
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ipyparallel_two_ranks_end_equal_and_the_watcher_stays_light(small, tmp_path):
    folder, _, _ = small
    printed = run_in_a_process(f"""
        import json, sys
        import seaicekit as sik
        seen = []
        index, out = {str(folder / "tiles.parquet")!r}, {str(tmp_path)!r}
        done = sik.train(index, out, 2, "ipyparallel", lambda epochs: seen.append(len(epochs)), **{SMALL})
        sik.maps.curves(done["epochs"])
        heavy = {{"tensorflow", "keras", "leafmap", "rio_tiler", "pyspark"}} & sys.modules.keys()
        heavy = sorted(heavy)
        print(json.dumps([seen, heavy]))
    """)
    seen, heavy = json.loads(printed.splitlines()[-1])
    assert seen[-1] == 2 and heavy == []
    check_training(tmp_path, ranks=2)


def test_horovodrun_two_ranks_follow_one_rank_with_twice_the_batch(small, tmp_path):
    import keras

    index = small[0] / "tiles.parquet"
    settings = SMALL | {"dropout": False, "learning_rate": 0.01}  # dropout draws anew on each rank
    sik.train(index, tmp_path / "two", 2, "horovodrun", **settings)
    two = check_training(tmp_path / "two", ranks=2)
    sik.train(index, tmp_path / "one", 1, "inprocess", **settings | {"batch": 4})
    one = check_training(tmp_path / "one", ranks=1)
    sik.train(index, tmp_path / "half", 1, "inprocess", **settings)
    for name in ("loss", "val_loss"):
        assert [e[name] for e in two["epochs"]] == pytest.approx([e[name] for e in one["epochs"]], rel=1e-4)

    def distance(name):
        models = [keras.models.load_model(tmp_path / n / "model.keras", compile=False) for n in ("one", name)]
        return max(np.abs(a - b).max() for a, b in zip(*(model.get_weights() for model in models), strict=True))

    assert distance("two") < 1e-3 < 0.01 < distance("half")  # and half the batch is another training


def check_training(folder, ranks):
    result = json.loads((folder / "training.json").read_text())
    assert result["ranks"] == ranks and len(result["weights_sha256"]) == ranks
    assert len(set(result["weights_sha256"])) == 1
    assert len(pd.read_csv(folder / "history.csv")) == 2
    assert result["epochs"][1]["loss"] < result["epochs"][0]["loss"]
    assert sorted(p.name for p in Path(folder).iterdir()) == ["history.csv", "model.keras", "training.json"]
    return result


def test_engines_end_with_their_launcher(small, tmp_path):
    import psutil

    index = small[0] / "tiles.parquet"
    code = f"import seaicekit as sik; sik.train({str(index)!r}, {str(tmp_path)!r}, 1, epochs=10**6, width=2, depth=2)"
    launcher = subprocess.Popen([sys.executable, "-c", code])
    for _ in range(240):
        if (tmp_path / "history.csv").exists():
            break
        time.sleep(0.5)
    family = psutil.Process(launcher.pid).children(recursive=True)
    assert len(family) >= 2
    launcher.kill()
    launcher.wait()
    assert not psutil.wait_procs(family, timeout=30)[1]


def test_wrong_settings(small, tmp_path):
    index = small[0] / "tiles.parquet"
    with pytest.raises(sik.InputError, match="ranks"):
        sik.train(index, tmp_path, 0)
    with pytest.raises(sik.InputError, match="launcher"):
        sik.train(index, tmp_path, 2, "mpirun")
    with pytest.raises(sik.InputError, match="none.parquet"):
        sik.train(tmp_path / "none.parquet", tmp_path)
    with pytest.raises(sik.InputError, match="epoch"):
        sik.train(index, tmp_path, 1, "inprocess", epoch=3)
    with pytest.raises(sik.InputError, match="epochs"):
        sik.train(index, tmp_path, 1, "inprocess", epochs=0)


def test_a_failing_rank_ends_the_training_with_its_reason(small, tmp_path):
    broken = pd.read_parquet(small[0] / "tiles.parquet").assign(path=str(tmp_path / "gone.tif"))
    broken.to_parquet(tmp_path / "tiles.parquet")
    for launcher in ("ipyparallel", "horovodrun"):
        with pytest.raises(sik.launch.TrainingError, match=r"gone\.tif"):
            sik.train(tmp_path / "tiles.parquet", tmp_path / "out", 2, launcher, **SMALL)
