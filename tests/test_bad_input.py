"""What users really give: each bad scene is named with its reason, and nothing is lost or half written."""

import os
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import rasterio
from conftest import SHARED, command, command_here

import seaicekit as sik

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def picture(path, rows=120, cols=130):
    pixels = np.random.default_rng(0).integers(1, 256, (rows, cols, 3)).astype(np.uint8)
    cv2.imwrite(str(path), pixels)
    return path


def raster(path, bands, **profile):
    profile = {
        "driver": "GTiff",
        "count": len(bands),
        "height": bands.shape[1],
        "width": bands.shape[2],
    } | profile
    with rasterio.open(path, "w", dtype=bands.dtype, **profile) as target:
        target.write(bands)
    return path


def cut(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    return path


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """Name → a scene that cannot be used, and a word its reason must hold."""
    folder = tmp_path_factory.mktemp("bad")
    noise = np.random.default_rng(1).integers(1, 255, (3, 200, 200)).astype(np.uint8)
    cases = {
        "cut_png": (cut(picture(folder / "cut.png"), 3000), "cannot be read"),
        "cut_tif": (cut(raster(folder / "cut.tif", noise), 50_000), "cannot be read"),
        "no_bytes": (folder / "none.tif", "cannot be read"),
        "text": (folder / "text.jp2", "cannot be read"),
        "two_bands": (raster(folder / "two.tif", noise[:2]), "2 bands"),
        "absent": (folder / "absent.tif", "no such file"),
        "url": (f"http://127.0.0.1:{unused_port()}/scene.tif", "cannot be r"),
        "scheme": ("ftp://example.org/scene.tif", "ftp"),
    }
    (folder / "none.tif").touch()
    (folder / "text.jp2").write_text("not a picture")
    corrupt = raster(
        folder / "corrupt.tif", noise, compress="deflate", tiled=True, blockxsize=64, blockysize=64
    )
    content = bytearray(corrupt.read_bytes())
    content[20_000:60_000] = bytes(40_000)
    corrupt.write_bytes(content)
    cases["corrupt"] = (corrupt, "cannot be read")
    with rasterio.open(
        folder / "jp2.jp2",
        "w",
        driver="JP2OpenJPEG",
        count=3,
        height=200,
        width=200,
        dtype="uint8",
        quality=100,
        reversible=True,
    ) as target:
        target.write(noise)
    cases["cut_jp2"] = (cut(folder / "jp2.jp2", 40_000), "cannot be read")
    huge = {"width": 10**6, "height": 10**6, "tiled": True, "blockxsize": 8192, "blockysize": 8192}
    with rasterio.open(
        folder / "huge.tif", "w", driver="GTiff", count=3, dtype="uint8", sparse_ok=True, **huge
    ):
        pass
    cases["huge"] = (folder / "huge.tif", "1000000 x 1000000")
    with zipfile.ZipFile(folder / "climbing.zip", "w") as archive:
        archive.writestr("X.SAFE/MTD_MSIL2A.xml", "<a/>")
        archive.writestr("../../outside.txt", "out")
    cases["climbing"] = (folder / "climbing.zip", "climbing.zip")
    if SHARED.is_dir():
        product = folder / "lacking.SAFE"
        shutil.copytree(next(SHARED.glob("s2_safe/*T29UNU*.SAFE")), product)
        next(product.rglob("*_B03_60m.jp2")).unlink()
        cases["lacking"] = (product, "B03 missing")
    return cases


def good_ones(folder):
    """Return scenes that look odd and are fine."""
    (folder / "été au pôle").mkdir(parents=True)
    pixels = np.random.default_rng(3).random((3, 50, 60)).astype(np.float32)
    pixels[:, :5] = np.nan
    return {
        "one": raster(folder / "one pixel.tif", np.full((3, 1, 1), 90, np.uint8)),
        "seven": raster(folder / "seven.tif", np.full((3, 7, 3), 230, np.uint8)),
        "accents": picture(folder / "été au pôle" / "glace 100 % #1.png"),
        "nan": raster(folder / "nan.tif", pixels),
        "void": raster(folder / "void.tif", np.zeros((3, 20, 20), np.uint8), nodata=0),
    }


@pytest.mark.parametrize("engine", ["serial", "processes"])
def test_bad_scenes_are_set_aside_with_a_reason(bad, tmp_path, engine):
    good, out = good_ones(tmp_path), tmp_path / "out"
    paths = good | {name: path for name, (path, _) in bad.items()}
    table = sik.autolabel(paths, out, engine=engine, errors="quarantine", progress=False).set_index("scene")
    for name, (path, word) in bad.items():
        reason = table.error[name]
        assert word in reason and "\n" not in reason and len(reason) < 400, (name, reason)
        assert Path(str(path)).name in reason, (name, reason)
    assert table.error[list(good)].isna().all()
    assert {path.name for path in out.iterdir()} == {f"{name}.tif" for name in good} | {"labels.csv", ".lock"}
    assert table.nodata["nan"] == 5 * 60 and table.nodata["void"] == 400
    assert table.thin_ice["one"] == 1 and table.loc["seven", ["thin_ice", "thick_ice"]].sum() == 21


def test_bad_scenes_raise_on_request(bad, tmp_path):
    for name in ("cut_png", "corrupt", "huge"):
        with pytest.raises(sik.InputError, match=Path(str(bad[name][0])).name):
            sik.autolabel({"a": bad[name][0]}, tmp_path / "out", engine="serial", progress=False)
    with pytest.raises(sik.InputError, match=r"none of the other 1.*labels\.csv"):
        two = {name: bad[name][0] for name in ("cut_png", "huge")}
        sik.autolabel(two, tmp_path / "out", engine="serial", errors="quarantine", progress=False)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"labels.csv", ".lock"}
    assert sik.load_labels(tmp_path / "out").error.notna().all()
    for names in ({"../x": 1}, {".x": 1}, {"a/b": 1}):
        with pytest.raises(sik.InputError, match="no name for a scene"):
            sik.autolabel(names, tmp_path / "out", engine="serial", progress=False)
    with pytest.raises(sik.InputError, match="two scenes"):
        sik.autolabel(pd.Series(["a.png", "b.png"], index=["x", "x"]), tmp_path / "out", engine="serial")


def test_the_same_scene_twice_is_an_error(tmp_path):
    picture(tmp_path / "a.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    items, aside = sik.catalogue(tmp_path)
    assert len(items) == 1 and "a" in aside[0]["reason"] and aside[0]["path"].endswith("b.png")


def test_the_command_line_never_shows_a_traceback(bad, tmp_path):
    for name in ("cut_png", "url", "climbing", "huge"):
        run = command if name == "cut_png" else command_here
        done = run("run", "--scenes", bad[name][0], "--out", tmp_path / "run")
        assert done.returncode == 2 and "Traceback" not in done.stderr, (name, done.stderr)
        assert len(done.stderr.strip().splitlines()) == 1
        assert not (tmp_path / "run").exists()


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 200 kB."""
    place = tmp_path / "tiny"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", place], capture_output=True)
    if done.returncode:
        pytest.skip("only root may mount a small file system")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("block", [None, 128])
def test_a_full_disk_keeps_finished_labels(tiny_disk, tmp_path, block):
    rng = np.random.default_rng(0)
    small = picture(tmp_path / "a.png", 60, 60)
    noise = raster(tmp_path / "b.tif", rng.integers(0, 256, (3, 1500, 1500)).astype(np.uint8))
    for engine in ("serial", "processes"):
        with pytest.raises(sik.InputError, match=r"cannot be written.*free some space") as error:
            sik.autolabel(
                [small, noise],
                tiny_disk / "out",
                engine=engine,
                workers=1,
                block=block,
                progress=False,
                errors="quarantine",
            )
        assert "\n" not in str(error.value)
        assert {path.name for path in (tiny_disk / "out").iterdir()} == {"a.tif", ".lock"}
    assert sik.scenes.read_codes(tiny_disk / "out" / "a.tif").shape == (60, 60)


def test_a_read_only_folder(tmp_path):
    path, place = picture(tmp_path / "a.png"), tmp_path / "ro"
    place.mkdir()
    if os.geteuid() == 0:  # root writes everywhere but on a file system that is read-only
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", place], capture_output=True)
        if done.returncode:
            pytest.skip("no read-only file system can be mounted")
    else:
        place.chmod(0o500)
    try:
        for out in (place, place / "deeper"):
            with pytest.raises(sik.InputError, match="cannot write there"):
                sik.autolabel([path], out, engine="serial", progress=False)
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", place], check=True)


def test_python_shows_the_reason_and_at_most_one_cause(bad, tmp_path):
    code = f"import seaicekit as sik\nsik.open_scene({str(bad['two_bands'][0])!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip().splitlines()[-1].startswith("seaicekit.files.InputError: ")
