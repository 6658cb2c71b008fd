import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from conftest import picture, write_tiff

import seaicekit as sik
from seaicekit import files, scenes
from seaicekit.scenes import folders, sources


def bad_files(folder):
    picture(folder / "cut.png", 200, 200)
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:2000])
    picture(folder / "cut.jpg", 200, 200)
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:2000])
    (folder / "text.png").write_text("not a picture")
    (folder / "empty.tif").write_bytes(b"")
    profile = {"driver": "GTiff", "height": 20, "width": 20}
    for name, count, dtype in (("two.tif", 2, "uint8"), ("deep.tif", 3, "complex64")):
        with rasterio.open(folder / name, "w", count=count, dtype=dtype, **profile) as target:
            target.write(np.ones((count, 20, 20), dtype))
    with rasterio.open(folder / "void.tif", "w", count=3, dtype="uint8", nodata=0, **profile) as target:
        target.write(np.zeros((3, 20, 20), "uint8"))
    return ["cut.jpg", "cut.png", "deep.tif", "empty.tif", "text.png", "two.tif", "void.tif"]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_bad_files_are_named_and_set_aside(tmp_path):
    names = bad_files(tmp_path)
    for name in names:
        with (
            pytest.raises(sik.InputError, match=name) as error,
            scenes.open_reader(tmp_path / name) as reader,
        ):
            scenes.check_scene(reader)
        assert "\n" not in str(error.value)
    with pytest.raises(sik.InputError, match=r"cut\.jpg.*6 more files"):
        sik.catalogue(tmp_path)
    picture(tmp_path / "good_20191105.png")
    items, quarantined = sik.catalogue(tmp_path)
    assert [item.id for item in items] == ["good_20191105"]
    assert [row["path"].rsplit("/", 1)[1] for row in quarantined] == names
    assert all(row["reason"] for row in quarantined)


def test_catalogue_is_stac(tmp_path, real):
    items, _ = sik.catalogue(f"{real}/modis_dev/**/*truecolor*")
    scenes.save_catalogue(tmp_path / "scenes.json", items, [{"path": "x", "reason": "y"}])
    saved = json.loads((tmp_path / "scenes.json").read_text())
    assert saved["type"] == "FeatureCollection" and len({item["id"] for item in saved["features"]}) == len(
        items
    )
    for item in items:
        assert 55 < item.bbox[1] < item.bbox[3] < 90 and item.datetime.year in range(2005, 2026)
    table = scenes.load_catalogue(tmp_path / "scenes.json")
    assert len(table) == len(items) and table.truth.isna().all()


def test_scenes_across_the_antimeridian(tmp_path):
    transform = rasterio.Affine(50, 0, -25_000, 0, -50, -1_150_000)
    profile = {
        "driver": "GTiff",
        "height": 60,
        "width": 1000,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:3976",
    }
    with rasterio.open(tmp_path / "a.tif", "w", transform=transform, **profile) as target:
        target.write(np.full((3, 60, 1000), 99, np.uint8))
    west, south, east, north = next(iter(sik.catalogue(tmp_path)[0])).bbox
    assert 178 < west < 180 and -180 < east < -178 and -80 < south < north < -70


def test_names_with_brackets_are_found_and_earlier_runs_are_not(tmp_path):
    folder = tmp_path / "my [2019] scenes"
    (folder / "runs" / "old" / "maps").mkdir(parents=True)
    (folder / "runs" / "old" / files.RUN_MARKER).touch()
    for name in ("a[1].png", "runs/old/maps/b.tif"):
        (folder / name).touch()
    assert (
        [path.name for path in scenes.find_scenes(folder)]
        == ["a[1].png"]
        == [p.name for p in scenes.find_scenes(folder / "a[1].png")]
    )
    assert [path.name for path in scenes.find_scenes(folder / "runs" / "old")] == ["b.tif"]


def test_names_are_unique_and_plain():
    paths = [Path(p) for p in ("a/x.png", "b/x.tif", "b/x.png", "c/y.png", "b_x.png")]
    named = scenes.name_scenes(paths)
    assert list(named.values()) == paths and list(named)[3] == "y" and len(set(named)) == 5


def test_find_scenes(tmp_path):
    with pytest.raises(sik.InputError, match="no scenes"):
        scenes.find_scenes(tmp_path)
    with pytest.raises(sik.InputError, match="nowhere"):
        scenes.find_scenes(tmp_path / "nowhere")
    (tmp_path / "deep er/ö").mkdir(parents=True)
    for name in ("deep er/ö/a.PNG", "b.tiff", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in scenes.find_scenes(tmp_path)] == ["b.tiff", "a.PNG"]
    assert [p.name for p in scenes.find_scenes(tmp_path / "**" / "*.PNG")] == ["a.PNG"]


def test_names_of_other_sources():
    named = scenes.name_scenes(
        [
            "s3://b/k/one.tif#bands=4,3,2",
            "d/two.SAFE",
            "d/two.SAFE#bands=TCI",
            "three.SAFE.zip",
            "four.SAFE/MTD_MSIL2A.xml",
            "https://x.org/five.tif?a=/b.c",
        ]
    )
    assert list(named) == ["one", "d_two", "d_two_2", "three", "four", "five"]
    assert named["one"] == "s3://b/k/one.tif#bands=4,3,2"
    assert scenes.name_scenes({"a": "s3://b/c.tif"}) == {"a": "s3://b/c.tif"}


@pytest.fixture
def products(tmp_path, real):
    """A folder with a SAFE, its zip, another zip, an image, and a torn zip."""
    folder = next((real / "s2_safe").glob("S2B*"))
    copy = shutil.copytree(folder, tmp_path / "in" / folder.name, copy_function=shutil.copyfile)
    with zipfile.ZipFile(tmp_path / "in/z.SAFE.zip", "w") as archive:
        for file in copy.rglob("*.*"):
            archive.write(file, f"{folder.name}/{file.relative_to(copy)}")
    with zipfile.ZipFile(tmp_path / "in/letters.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    (tmp_path / "in/torn.zip").write_bytes((tmp_path / "in/z.SAFE.zip").read_bytes()[:999])
    picture(tmp_path / "in/a.png")
    return tmp_path / "in"


def test_a_product_is_one_scene(products):
    safe = next(products.glob("S2B*"))
    assert scenes.find_scenes(products) == [
        safe,
        *(products / name for name in ("a.png", "torn.zip", "z.SAFE.zip")),
    ]
    assert scenes.find_scenes(f"{products}/**/*") == scenes.find_scenes(products)
    assert scenes.find_scenes(safe) == [safe] and scenes.find_scenes(safe / "MTD_MSIL2A.xml") == [
        safe / "MTD_MSIL2A.xml"
    ]
    inner = next(safe.glob("GRANULE/*/IMG_DATA/R10m/*TCI*"))
    assert scenes.find_scenes(inner) == [inner]
    with pytest.raises(sik.InputError, match="no scenes"):
        scenes.find_scenes(f"{products}/**/*TCI*")
    assert scenes.find_scenes(f"{products}/S2B*#bands=TCI") == [f"{safe}#bands=TCI"]


def test_options_go_to_each_scene_found(tmp_path):
    for name in ("a.tif", "b#1.tif"):
        write_tiff(tmp_path / name, np.full((4, 5, 5), 9, np.uint8))
    expected = [f"{tmp_path}/a.tif#bands=4,3,2", f"{tmp_path}/b#1.tif#bands=4,3,2"]
    for where in (tmp_path, f"{tmp_path}/*.tif"):
        assert scenes.find_scenes(f"{where}#bands=4,3,2") == expected
    for one in (
        f"{tmp_path}/a.tif#green=b.tif&blue=c.tif",
        "s3://b/*.tif",
        "https://x.org/a.tif#bands=1,1,1",
    ):
        assert scenes.find_scenes(one) == [one]
    with pytest.raises(sik.InputError, match="'bands'"):
        scenes.find_scenes(f"{tmp_path}#band=4,3,2&white=1")


def test_products_are_catalogued_by_their_metadata(products, tmp_path):
    items, quarantined = scenes.catalogue(products)
    scenes.save_catalogue(tmp_path / "scenes.json", items, quarantined)
    assert [row["path"].rsplit("/")[-1] for row in quarantined] == ["torn.zip"]
    safe = next(products.glob("S2B*"))
    one = next(item for item in items if item.id == safe.stem)
    assert one.datetime.isoformat() == "2019-12-28T21:05:19.024000+00:00"
    assert one.assets["image"].extra_fields["file:checksum"] == "1220" + scenes.fingerprint(safe)
    assert one.properties["proj:code"] == "EPSG:32701" and "seaicekit:source" not in one.properties
    west, south, east, north = one.bbox
    # The tile lies across the antimeridian.
    assert 176 < west < 178 and -180 < east < -179 and -73.1 < south < north < -71
    assert one.properties["seaicekit:valid_fraction"] == pytest.approx(0.2132)
    assert scenes.load_catalogue(tmp_path / "scenes.json").path[safe.stem] == str(safe)


def test_scenes_of_equal_content_are_set_aside(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "c.png", seed=1)
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    items, quarantined = scenes.catalogue(tmp_path)
    assert [item.id for item in items] == ["a", "c"]
    assert quarantined == [
        {"path": f"{tmp_path}/b.png", "reason": f"has the same content as {tmp_path}/a.png; leave one out"}
    ]


def test_source_strings_survive_the_catalogue(tmp_path, monkeypatch, served):
    for number, name in enumerate("rgb"):
        write_tiff(tmp_path / f"{name} #.tif", np.full((1, 40, 40), 1000 * number + 1000, np.uint16))
    monkeypatch.chdir(tmp_path)
    text = "r #.tif#green=g%20%23.tif&blue=b%20%23.tif"
    items, _ = scenes.catalogue(sources.resolve_source(text))
    scenes.save_catalogue("scenes.json", items, [])
    path = scenes.load_catalogue("scenes.json").path["r #"]
    assert path == f"{tmp_path}/{text}" == items[0].properties["seaicekit:source"]
    assert sik.open_scene(path).values[:, 0, 0].tolist() == [26, 51, 76]
    assert items[0].assets["image"].extra_fields == {"file:checksum": "1220" + scenes.fingerprint(text)}
    url = f"{served}/r%20%23.tif"
    items, _ = scenes.catalogue(url)
    assert items[0].assets["image"].extra_fields == {"seaicekit:etag": scenes.fingerprint(url)}
    scenes.save_catalogue("scenes.json", items, [])
    assert list(scenes.load_catalogue("scenes.json").path) == [url]


def test_items_of_a_search_are_scenes(tmp_path):
    item = pystac.Item("found", None, None, folders.datetime(2022, 1, 2), {})
    scaling = {"raster:bands": [{"scale": 0.0001, "offset": -0.1}]}
    for name in ("red", "green", "blue"):
        item.add_asset(name, pystac.Asset(f"s3://b/{name}.tif", extra_fields=scaling))
    scenes.save_catalogue(tmp_path / "found.json", pystac.ItemCollection([item]), [])
    path = scenes.load_catalogue(tmp_path / "found.json").path["found"]
    assert path == "s3://b/red.tif#green=s3://b/green.tif&blue=s3://b/blue.tif&offset=-1000,-1000,-1000" + (
        "&quantification=10000"
    )
    assert sources.resolve_source(path).offsets == (-1000,) * 3


def test_outputs_of_a_run_below_a_pattern_are_no_scenes(tmp_path):
    for name in ("a.png", "runs/1/maps/a_confidence.png", "runs/1/scenes/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "runs" / "1" / files.RUN_MARKER).touch()
    for where in (tmp_path, f"{tmp_path}/**/*", f"{tmp_path}/**/*a*.png", f"{tmp_path}/*.png"):
        assert scenes.find_scenes(where) == [tmp_path / "a.png"]
    inside = tmp_path / "runs" / "1" / "scenes"  # asked for by name
    assert scenes.find_scenes(inside) == scenes.find_scenes(f"{inside}/*.png") == [inside / "b.png"]


def test_paths_in_a_run_are_relative_also_through_a_link(tmp_path):
    (tmp_path / "real" / "run" / "labels").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "run" / files.RUN_MARKER).touch()
    scene = str(tmp_path / "real" / "run" / "scenes" / "a.tif")
    for way in ("real", "link"):
        table = tmp_path / way / "run" / "labels" / "labels.csv"
        assert files.relative_path(scene, table) == "../scenes/a.tif"
        assert files.resolve_path("../scenes/a.tif", table) == str(
            tmp_path / way / "run" / "scenes" / "a.tif"
        )
    assert (
        files.relative_path("/elsewhere/a.tif", table)
        == files.resolve_path("/elsewhere/a.tif", table)
        == "/elsewhere/a.tif"
    )
