from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import rasterio
from conftest import SHARED
from reference import published_labels

import seaicekit as sik
from seaicekit import engines


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob("*.tif")}


@pytest.fixture(scope="module")
def spark():
    """A Spark session, which labelling joins."""
    with engines.spark_session("local[2]") as session:
        yield session


@pytest.mark.parametrize(
    ("options", "keywords", "expected"),
    [
        (None, {"workers": 4}, ("processes", 4)),
        (sik.labels.EngineOptions(workers=4), {}, ("processes", 4)),
        (sik.labels.EngineOptions(workers=4), {"engine": "dask"}, ("dask", 4)),
        (sik.labels.EngineOptions(engine="spark"), {"workers": 4}, ("spark", 4)),
    ],
)
def test_processes_label_where_no_engine_is_set(tmp_path, monkeypatch, options, keywords, expected):
    def mapper(engine, workers, master):
        raise sik.InputError(f"{engine} {workers}")

    monkeypatch.setattr(engines, "mapper", mapper)
    with pytest.raises(sik.InputError, match="^{} {}$".format(*expected)):
        sik.autolabel(["a.tif"], tmp_path, None, options, progress=False, **keywords)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A cloudy synthetic scene with a declared swath edge, one without CRS or declaration, and real ones."""
    folder = tmp_path_factory.mktemp("mixed")
    path, _ = sik.scenes.write_synthetic(folder, 9, (333, 270), 0.4)
    cv2.imwrite(
        str(folder / "20191105.png"),
        sik.scenes.synthetic_scene(8, (200, 310), 0.3)[0].values.transpose(1, 2, 0),
    )
    real = sorted(SHARED.glob("modis_dev/*okhostk*/*truecolor*"))  # none where the real imagery is absent
    return [path, folder / "20191105.png", *real]


def check_labels(table):
    """Compare rasters and counts of a table with those of `sik.label`."""
    for row in table.itertuples():
        label = sik.label(sik.open_scene(row.path))
        np.testing.assert_array_equal(sik.scenes.read_codes(row.labels), label)
        counts = np.bincount(label.values.ravel(), minlength=256)
        assert [row.open_water, row.thin_ice, row.thick_ice, row.nodata] == [*counts[:3], counts[255]]
        raw = sik.label(sik.open_scene(row.path), cloud_filter=False)
        assert row.changed == (raw.values != label.values).sum()


def test_engines_and_blocks_give_identical_bytes(mixed, spark, tmp_path):
    first = sik.autolabel(mixed, tmp_path / "first", engine="serial", workers=1)
    check_labels(first)
    expected = contents(tmp_path / "first")
    for engine, block, workers in (
        ("serial", 100, 1),
        ("processes", 128, 2),
        ("processes", None, 3),
        ("dask", 90, 2),
        ("spark", 150, 2),
    ):
        out = tmp_path / f"{engine}_{block}"
        table = sik.autolabel(mixed, out, engine=engine, block=block, workers=workers)
        assert contents(out) == expected, (engine, block)
        assert sorted(p.name for p in out.iterdir()) == sorted([*expected, "labels.csv", ".lock"])
        pd.testing.assert_frame_equal(table.drop(columns="labels"), first.drop(columns="labels"))


@pytest.fixture(scope="module")
def every_real_scene(real):
    """All that lies there and is a scene, by a name of its own."""
    single = sorted(real.glob("l8_greenland/*B4*"))[0]
    landsat = f"{single}#green={single.name.replace('B4', 'B3')}&blue={single.name.replace('B4', 'B2')}"
    scenes = [
        *sik.scenes.find_scenes(f"{real}/modis_dev/**/*truecolor*"),
        *sik.scenes.find_scenes(f"{real}/ross_sea_peer/*input*"),
        *sik.scenes.find_scenes(f"{real}/ross_sea_peer/filtered*"),
        real / "s2_cog/TCI.tif",
        *sik.scenes.find_scenes(f"{real}/s2_greenland_22WEV/*.png"),
        landsat,
        *sorted(real.glob("s2_safe/*.SAFE")),
    ]
    return {f"scene_{number:02}": scene for number, scene in enumerate(scenes)}


@pytest.fixture(scope="module")
def one_of_each_kind(every_real_scene):
    """A real scene of each format, the smallest."""
    kinds = ("okhostk", "tile_0_input", "TCI.tif", "22WEV", "#green=", "T29UNU")
    found = [next(path for path in every_real_scene.values() if kind in str(path)) for kind in kinds]
    return {f"scene_{number:02}": scene for number, scene in enumerate(found)}


@pytest.mark.parametrize(
    "scenes", ["one_of_each_kind", pytest.param("every_real_scene", marks=pytest.mark.exhaustive)]
)
def test_real_scenes_are_labelled_alike_by_all_engines(scenes, spark, tmp_path, request):
    scenes, expected = request.getfixturevalue(scenes), None
    assert len(scenes) >= 6
    for engine, block in (("serial", None), ("processes", 256), ("dask", 500), ("spark", 1024)):
        out = tmp_path / engine
        sik.autolabel(scenes, out, engine=engine, block=block, progress=False)
        expected = expected or contents(out)
        assert len(expected) == len(scenes) and contents(out) == expected, (engine, block)


def test_every_real_scene_by_the_published_form(every_real_scene):
    rule = sik.labels.Rule(nodata="ignore").for_scene(None)
    assert len(every_real_scene) > 25
    for name, path in every_real_scene.items():
        with sik.scenes.open_reader(path) as reader:
            bands, nodata = reader.read()
        expected = published_labels(np.ascontiguousarray(bands.transpose(1, 2, 0)))
        for block in (256, 500, 1024, None):
            got, _ = sik.labels.label_array(bands, nodata, rule, block)
            np.testing.assert_array_equal(got, expected, err_msg=f"{name} {path} {block}")


def test_rasters_are_cogs_with_the_legend(small):
    _, labelled, _ = small
    with rasterio.open(labelled.labels[0]) as source, rasterio.open(labelled.path[0]) as scene:
        assert source.crs == scene.crs and source.transform == scene.transform and source.nodata == 255
        assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert source.colormap(1)[0][:3] == sik.classes.LEGEND[0].rgb and source.colormap(1)[255][3] == 0
        assert source.tags()["CLASS_1"] == "thin ice"
    pd.testing.assert_frame_equal(
        sik.load_labels(Path(labelled.labels[0]).parent), labelled, check_dtype=False
    )


def test_scene_without_crs(tmp_path, real):
    table = sik.autolabel({"007": real / "ross_sea_peer/tile_0_input_256.png"}, tmp_path, engine="serial")
    assert sik.load_labels(tmp_path).scene.tolist() == ["007"] and table.labels[0].endswith("007.tif")
    with rasterio.open(table.labels[0]) as source:
        assert source.crs is None and source.shape == (256, 256)


@pytest.mark.parametrize("engine", ["serial", "processes"])
def test_a_bad_scene_is_set_aside_or_ends_the_work(tmp_path, small, engine):
    good = small[1].path[0]
    bad = tmp_path / "bad.tif"
    bad.write_bytes(Path(good).read_bytes()[:-9000])
    with pytest.raises(sik.InputError, match=r"bad\.tif"):
        sik.autolabel([good, bad], tmp_path / "out", engine=engine)
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {
        ".lock",
        f"{Path(good).stem}.tif",
    }  # whole, or not there
    table = sik.autolabel(
        [good, bad, tmp_path / "none.tif"], tmp_path / "out", engine=engine, errors="quarantine"
    )
    assert table.error.notna().tolist() == [False, True, True] and table.labels.notna().tolist() == [
        True,
        False,
        False,
    ]
    assert not list((tmp_path / "out").glob(".partial*"))


def test_wrong_arguments(tmp_path, small):
    path = small[1].path[0]
    for wrong in ({"engine": "abacus"}, {"workers": 0}, {"nodata": "no"}, {"errors": "hide"}, {"block": 0}):
        with pytest.raises(sik.InputError, match=next(iter(wrong))):
            sik.autolabel([path], tmp_path / "out", **({"engine": "serial"} | wrong))
    with pytest.raises(sik.InputError, match="no scenes"):
        sik.autolabel([], tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(sik.InputError, match="cannot write"):
        sik.autolabel([path], tmp_path / "file" / "out", engine="serial")


def test_spark_is_a_real_session_on_loopback(spark):
    assert spark.range(10).selectExpr("sum(id)").first()[0] == 45
    assert spark.sparkContext.uiWebUrl.startswith("http://127.0.0.1:")
    with engines.spark_session() as same:
        assert same is spark
    assert spark.range(3).count() == 3  # the inner block left it running
