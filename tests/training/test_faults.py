"""Ranks that die, hang or cannot go on; and trainings that are taken up again."""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import ALONE, SMALL, distance

import seaicekit as sik
from seaicekit import training
from seaicekit.training import checkpoints, ranks


def index(small):
    return small[0] / "tiles.parquet"


def strike(folder, rank, number, after=1):
    """Return an on_epoch that sends a rank a signal, once, after so many epochs, and the list of when."""
    struck = []

    def on_epoch(epochs):
        if not struck and len(epochs) >= after:
            struck.append(time.monotonic())
            os.kill(json.loads((folder / ".partial-ranks" / f"{rank}.json").read_text())["pid"], number)

    return on_epoch, struck


def end_of(run):
    """Run what must fail with a TrainingError; return its text and when it came."""
    with pytest.raises(sik.training.TrainingError) as caught:
        run()
    return str(caught.value), time.monotonic()


def done_epochs(folder):
    return int(max(path.stem for path in (folder / "checkpoints").iterdir())[6:])


def losses(folder):
    return pd.read_csv(folder / "history.csv")[["loss", "val_loss"]].to_numpy()


def test_horovodrun_follows_one_rank_and_names_a_killed_one_which_one_rank_replaces(small, tmp_path):
    # 18 tiles: two steps an epoch, the second not full. Dropout draws anew on each rank.
    settings = SMALL | {"dropout": False, "learning_rate": 0.01, "batch": 8, "progress": False}
    kill, struck = strike(tmp_path, 1, signal.SIGKILL, after=9)
    text, ended = end_of(
        lambda: sik.train(
            index(small), tmp_path, None, kill, ranks=2, launcher="horovodrun", **settings | {"epochs": 10**6}
        )
    )
    assert "rank 1 was killed" in text and ended - struck[0] < 60
    assert not (tmp_path / "model.keras").exists() and not (tmp_path / ".partial-ranks").exists()
    two, done = losses(tmp_path), done_epochs(tmp_path)
    print(f"from kill to error: {ended - struck[0]:.1f} s, after {done} epochs")
    alone = ALONE | settings | {"batch": 16, "epochs": done + 3}  # the work of two ranks
    sik.train(index(small), tmp_path, resume=True, **alone)
    sik.train(index(small), tmp_path / "whole", **alone)
    np.testing.assert_allclose(two, losses(tmp_path / "whole")[: len(two)], rtol=1e-4)
    assert distance(tmp_path, tmp_path / "whole") < 1e-3
    sik.train(index(small), tmp_path / "half", **alone | {"batch": 8})  # half the batch is another training
    assert distance(tmp_path / "half", tmp_path / "whole") > 0.01


@pytest.mark.exhaustive
@pytest.mark.parametrize("launcher", ["ipyparallel", "horovodrun"])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_stopped_rank_is_named(small, tmp_path, launcher, rank):
    stop, struck = strike(tmp_path, rank, signal.SIGSTOP)
    text, ended = end_of(
        lambda: sik.train(
            index(small), tmp_path, None, stop, ranks=2, launcher=launcher, **SMALL | {"epochs": 10**6}
        )
    )
    assert f"rank {rank} no longer answers" in text and ended - struck[0] < 90
    print(f"{launcher}: from stop to error: {ended - struck[0]:.1f} s")


@pytest.mark.exhaustive
def test_a_rank_that_does_not_come_to_the_common_step_ends_the_run(small, tmp_path, monkeypatch):
    """Its process answers, so Gloo is content."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time\n"
        "if os.environ.get('HOROVOD_RANK') == '1':\n    os.pwrite = lambda *_: time.sleep(10**6)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("HOROVOD_STALL_CHECK_TIME_SECONDS", "5")
    monkeypatch.setenv("HOROVOD_STALL_SHUTDOWN_TIME_SECONDS", "10")
    start = time.monotonic()
    text, ended = end_of(
        lambda: sik.train(index(small), tmp_path / "out", ranks=2, launcher="horovodrun", **SMALL)
    )
    assert "no step for 10 s" in text and ended - start < 120


@pytest.mark.exhaustive
def test_two_resumed_ranks_end_where_two_uninterrupted_ones_do(small, tmp_path):
    settings = SMALL | {"learning_rate": 0.01, "launcher": "horovodrun", "ranks": 2}
    sik.train(index(small), tmp_path / "whole", **settings | {"epochs": 4})
    sik.train(index(small), tmp_path / "half", **settings | {"epochs": 2})
    sik.train(index(small), tmp_path / "half", resume=True, **settings | {"epochs": 4})
    assert distance(tmp_path / "half", tmp_path / "whole") < 1e-5


@pytest.mark.parametrize(
    ("launcher", "number"),
    [
        pytest.param("ipyparallel", signal.SIGKILL, marks=pytest.mark.exhaustive),
        pytest.param("horovodrun", signal.SIGINT, marks=pytest.mark.exhaustive),
        pytest.param("ipyparallel", signal.SIGINT, marks=pytest.mark.exhaustive),
        pytest.param("horovodrun", signal.SIGKILL, marks=pytest.mark.exhaustive),
    ],
)
def test_ranks_end_with_their_launcher(small, tmp_path, launcher, number):
    code = (
        "import seaicekit as sik\n"
        f"sik.train({str(index(small))!r}, {str(tmp_path)!r}, ranks=1, launcher={launcher!r}, "
        "epochs=10**6, width=2, depth=2)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    for _ in range(240):
        if (tmp_path / "history.csv").exists():
            break
        time.sleep(0.5)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2
    process.send_signal(number)
    process.wait(60)
    assert not psutil.wait_procs(family, timeout=30)[1]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("launcher", "count"), [("horovodrun", 1), ("horovodrun", 2), ("ipyparallel", 2)])
def test_what_a_rank_cannot_use_is_the_users_error(small, tmp_path, launcher, count):
    broken = pd.read_parquet(index(small)).assign(path=str(tmp_path / "gone.tif"))
    broken.to_parquet(tmp_path / "tiles.parquet")
    with pytest.raises(sik.InputError, match=r"gone\.tif"):
        sik.train(
            tmp_path / "tiles.parquet",
            tmp_path / "out",
            ranks=count,
            launcher=launcher,
            progress=False,
            **SMALL,
        )
    assert not list((tmp_path / "out").iterdir())


GONE = {"host": platform.node(), "created": 0.0, "pid": 0, "state": "running"}  # a process that has ended


def failed(kind, text=""):
    return GONE | {"state": "failed", "kind": kind, "text": text}


HOROVOD = failed("HorovodInternalError", "Connection closed by peer")


@pytest.mark.parametrize(
    ("states", "kind", "match"),
    [
        ([HOROVOD, failed("InputError", "a.tif")], sik.InputError, "^a.tif"),
        ([failed("Terminated"), GONE], training.TrainingError, "rank 1 was killed"),
        ([failed("ValueError", "x"), GONE], training.TrainingError, "rank 0 failed: ValueError: x"),
        ([HOROVOD, GONE | {"host": "far"}], training.TrainingError, "rank 1 no longer answers"),
        ([HOROVOD, GONE | {"state": "done"}], training.TrainingError, "rank 0 failed: Connection"),
    ],
)
def test_the_first_cause_is_raised_and_not_what_followed(tmp_path, monkeypatch, states, kind, match):
    monkeypatch.setattr(ranks, "GRACE_SECONDS", 0)
    watch = ranks.Watch(tmp_path)
    watch.check()
    for number, state in enumerate(states):
        (tmp_path / ranks.FOLDER / f"{number}.json").write_text(json.dumps(state))
    with pytest.raises(kind, match=match):
        watch.check()
    watch.kill()
    watch.close()
    assert not list(tmp_path.iterdir())


def weights(folder):
    return json.loads((folder / "training.json").read_text())["weights_sha256"]


def test_interrupted_and_uninterrupted_end_with_the_same_bits_also_over_a_damaged_checkpoint(small, tmp_path):
    ours = ALONE | {"learning_rate": 0.01, "seed": 3}
    sik.train(index(small), tmp_path / "whole", **ours | {"epochs": 5})

    def interrupt(epochs):
        if len(epochs) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sik.train(index(small), tmp_path / "half", on_epoch=interrupt, **ours | {"epochs": 5})
    newest = tmp_path / "half" / "checkpoints" / "epoch_00003.npz"
    content = newest.read_bytes()
    assert len(list(newest.parent.iterdir())) == 2
    for damage in (content, content[:300] + bytes(40) + content[340:]):
        for path in newest.parent.iterdir():
            path.unlink()
        with pytest.raises(KeyboardInterrupt):
            sik.train(index(small), tmp_path / "half", on_epoch=interrupt, **ours | {"epochs": 5})
        newest.write_bytes(damage)
        told = (
            nullcontext()
            if damage is content
            else pytest.warns(UserWarning, match="epoch_00003.npz: is damaged")
        )
        with told:
            sik.train(index(small), tmp_path / "half", resume=True, **ours | {"epochs": 5})
        assert weights(tmp_path / "half") == weights(tmp_path / "whole")
    for path in newest.parent.iterdir():
        path.write_bytes(b"PK")
    with pytest.raises(sik.InputError, match="resume=False"):
        sik.train(index(small), tmp_path / "half", resume=True, **ours | {"epochs": 5})


def test_resumption_of_something_else_is_refused(small, tmp_path):
    done = sik.train(index(small), tmp_path, resume=True, **ALONE)  # nothing there yet: from the start
    again = sik.train(index(small), tmp_path, resume=True, **ALONE)  # nothing left to do
    assert again["weights_sha256"] == done["weights_sha256"] and again["epochs"] == done["epochs"]
    for change, match in (
        ({"width": 3}, "width"),
        ({"batch": 4}, "global batch"),
        ({"epochs": 1}, "2 are done"),
    ):
        with pytest.raises(sik.InputError, match=match):
            sik.train(index(small), tmp_path, resume=True, **ALONE | change)
    other = {row.scene: row.labels for row in small[1].itertuples()}
    (tmp_path / "mine").mkdir()
    for name, raster in other.items():
        (tmp_path / "mine" / f"{name}.tif").write_bytes(Path(raster).read_bytes())
    mine = {"targets": str(tmp_path / "mine")}
    sik.train(index(small), tmp_path / "by hand", **ALONE | mine)
    (tmp_path / "mine" / f"{name}.tif").write_bytes(Path(raster.replace("/labels/", "/truth/")).read_bytes())
    with pytest.raises(sik.InputError, match="targets"):
        sik.train(index(small), tmp_path / "by hand", resume=True, **ALONE | mine)
    small[2].iloc[1:].to_parquet(tmp_path / "fewer.parquet")
    with pytest.raises(sik.InputError, match="tiles"):
        sik.train(tmp_path / "fewer.parquet", tmp_path, resume=True, **ALONE)
    assert (tmp_path / "model.keras").exists()


def test_full_disk_says_what_to_do_and_keeps_the_checkpoint_before(small, tmp_path):
    place = tmp_path / "full"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True)
    if done.returncode:
        pytest.skip("only root may mount a small file system")

    def fill(_):
        with pytest.raises(OSError), open(place / "filler", "wb", 0) as file:
            while True:
                file.write(bytes(1 << 12))

    try:
        out = place / "out"
        with pytest.raises(sik.InputError, match="epoch_00002.npz: cannot be written.*resume=True"):
            sik.train(index(small), out, on_epoch=fill, **ALONE)
        assert [path.name for path in (out / "checkpoints").iterdir()] == ["epoch_00001.npz"]
        assert checkpoints.newest(out)[1]["epoch"] == 1
        (place / "filler").unlink()
        sik.train(index(small), out, resume=True, **ALONE)
        fill(None)
        with pytest.raises(sik.InputError, match="tiles: cannot be kept on disk"):
            sik.train(index(small), out, resume=True, **ALONE)
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_loss_that_diverges_ends_the_training_and_is_not_saved(small, tmp_path):
    with pytest.raises(sik.InputError, match="lower learning_rate"):
        sik.train(index(small), tmp_path, **ALONE | {"learning_rate": 1e30, "epochs": 4})
    assert checkpoints.newest(tmp_path) is None and not (tmp_path / "model.keras").exists()


@pytest.mark.exhaustive
def test_horovodrun_with_hosts_and_slots(small, tmp_path):
    """Two names of this machine are two hosts to Horovod."""
    done = sik.train(
        index(small), tmp_path, ranks=2, launcher="horovodrun", hosts="localhost:1,127.0.0.1:1", **SMALL
    )
    assert done["ranks"] == 2 and len(set(done["weights_sha256"])) == 1
