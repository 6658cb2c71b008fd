import json

import cv2
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

import seaicekit as sik
from seaicekit import catalogues, scenes


def picture(path, rows=40, cols=60, channels=3, seed=0):
    pixels = np.random.default_rng(seed).integers(1, 256, (rows, cols, channels)).astype(np.uint8)
    if path.suffix == ".jpg":  # decoders may blow up a JPEG's coarse colours each in its own way
        pixels[:] = pixels[..., :1]
    cv2.imwrite(str(path), pixels)
    return pixels


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
def test_open_scene_reads_what_another_library_reads(tmp_path, name):
    picture(tmp_path / name)
    scene = sik.open_scene(tmp_path / name)
    assert (
        scene.dims == ("band", "y", "x")
        and scene.dtype == np.uint8
        and scene.band.values.tolist() == ["red", "green", "blue"]
    )
    expected = cv2.imread(str(tmp_path / name))[..., ::-1]
    np.testing.assert_array_equal(scene.values.transpose(1, 2, 0), expected)
    assert scene.rio.crs is None and not scene.coords["nodata"].any()


def test_crs_transform_and_alpha(real):
    path = real / "modis_dev/barents_kara_seas-100km-20250507/20250507.250m.aqua.truecolor.tiff"
    scene = sik.open_scene(path)
    with rasterio.open(path) as source:
        assert scene.rio.crs.to_epsg() == 3413 and scene.rio.transform() == source.transform
        np.testing.assert_array_equal(scene.values, source.read([1, 2, 3]))
    assert scene.x.values[1] - scene.x.values[0] == pytest.approx(source.transform.a)
    landmask = real / "modis_dev/bering_chukchi_seas-200km-20210314/20210314.250m.aqua.landmask.tiff"
    mask = scenes.nodata_mask(sik.open_scene(landmask))
    np.testing.assert_array_equal(mask, cv2.imread(str(landmask), cv2.IMREAD_UNCHANGED)[..., 3] == 0)


def test_declared_no_data_value(real):
    scene = sik.open_scene(real / "s2_cog/TCI.tif")
    np.testing.assert_array_equal(scene.coords["nodata"], (scene.values == 0).all(axis=0))


def by_scipy(bands):
    """The rule for undeclared no data, by labelling: components of black that touch the border."""
    components, _ = ndimage.label((bands == 0).all(axis=0))
    edge = np.unique(np.concatenate([components[0], components[-1], components[:, 0], components[:, -1]]))
    mask = np.isin(components, edge[edge > 0])
    return mask if mask.mean() >= 0.001 else np.zeros_like(mask)


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30)), elements=st.sampled_from([0, 0, 9])))
def test_undeclared_no_data(black):
    bands = np.stack([black, black // 9, np.zeros_like(black)])
    np.testing.assert_array_equal(scenes.border_black(bands), by_scipy(bands))


def test_swath_edge_is_no_data_and_dark_water_is_not(real):
    for path in sorted((real / "ross_sea_peer").glob("filtered*.png")):
        scene = sik.open_scene(path)
        np.testing.assert_array_equal(scene.coords["nodata"], by_scipy(scene.values))
    pixels = np.full((3, 100, 100), 80, np.uint8)
    pixels[:, 40:60, 40:60] = 0  # black, but inside
    pixels[:, 0, :5] = 0  # black at the border, but under 0.1 %
    assert not scenes.border_black(pixels).any()
    pixels[:, :, :3] = 0
    assert scenes.border_black(pixels).mean() == pytest.approx(0.0302)  # the five pixels now hang on to it


def test_windows_see_the_whole_scenes_no_data(tmp_path):
    pixels = picture(tmp_path / "wedge.png", 100, 100)
    pixels[np.add.outer(np.arange(100), np.arange(100)) < 60] = 0
    cv2.imwrite(str(tmp_path / "wedge.png"), pixels)
    whole = scenes.nodata_mask(sik.open_scene(tmp_path / "wedge.png"))
    with scenes.reading(tmp_path / "wedge.png") as reader:
        for window in scenes.blocks(reader.shape, 32):
            np.testing.assert_array_equal(reader.read(window)[1], whole[window.slices])


@settings(max_examples=50)
@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 600), st.integers(0, 90))
def test_blocks_cover_each_pixel_once_and_halos_stay_inside(rows, cols, block, halo):
    block = max(block, max(rows, cols) // 8)
    seen = np.zeros((rows, cols), int)
    for window in scenes.blocks((rows, cols), block):
        seen[window.slices] += 1
        outer = window.padded(halo, (rows, cols))
        inside = np.zeros((rows, cols), bool)[outer.slices]
        inside[window.within(outer)] = True
        assert inside.sum() == window.height * window.width
    assert (seen == 1).all()


def bad_files(folder):
    picture(folder / "cut.png", 200, 200)
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:2000])
    picture(folder / "cut.jpg", 200, 200)
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:2000])
    (folder / "text.png").write_text("not a picture")
    (folder / "empty.tif").write_bytes(b"")
    profile = {"driver": "GTiff", "height": 20, "width": 20}
    for name, count, dtype in (("two.tif", 2, "uint8"), ("deep.tif", 3, "uint16")):
        with rasterio.open(folder / name, "w", count=count, dtype=dtype, **profile) as target:
            target.write(np.ones((count, 20, 20), dtype))
    with rasterio.open(folder / "void.tif", "w", count=3, dtype="uint8", nodata=0, **profile) as target:
        target.write(np.zeros((3, 20, 20), "uint8"))
    return ["cut.jpg", "cut.png", "deep.tif", "empty.tif", "text.png", "two.tif", "void.tif"]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_bad_files_are_named_and_set_aside(tmp_path):
    names = bad_files(tmp_path)
    for name in names:
        with pytest.raises(sik.InputError, match=name) as error:
            catalogues.check(tmp_path / name)
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
    catalogues.save_catalogue(tmp_path / "scenes.json", items, [{"path": "x", "reason": "y"}])
    saved = json.loads((tmp_path / "scenes.json").read_text())
    assert saved["type"] == "FeatureCollection" and len({item["id"] for item in saved["features"]}) == len(items)
    for item in items:
        assert 55 < item.bbox[1] < item.bbox[3] < 90 and item.datetime.year in range(2005, 2026)
    table = catalogues.load_catalogue(tmp_path / "scenes.json")
    assert len(table) == len(items) and table.truth.isna().all()


def test_scenes_across_the_antimeridian(tmp_path):
    transform = rasterio.Affine(50, 0, -25_000, 0, -50, -1_150_000)
    profile = {"driver": "GTiff", "height": 60, "width": 1000, "count": 3, "dtype": "uint8", "crs": "EPSG:3976"}
    with rasterio.open(tmp_path / "a.tif", "w", transform=transform, **profile) as target:
        target.write(np.full((3, 60, 1000), 99, np.uint8))
    west, south, east, north = next(iter(sik.catalogue(tmp_path)[0])).bbox
    assert 178 < west < 180 and -180 < east < -178 and -80 < south < north < -70


def test_palettes_are_refused(tmp_path, small):
    with pytest.raises(sik.InputError, match="palette"):
        sik.open_scene(small[1].labels[0])


def test_brackets_in_names_and_earlier_runs(tmp_path):
    folder = tmp_path / "my [2019] scenes"
    (folder / "runs" / "old" / "maps").mkdir(parents=True)
    (folder / "runs" / "old" / catalogues.RUN_MARK).touch()
    for name in ("a[1].png", "runs/old/maps/b.tif"):
        (folder / name).touch()
    assert (
        [path.name for path in catalogues.find(folder)]
        == ["a[1].png"]
        == [p.name for p in catalogues.find(folder / "a[1].png")]
    )
    assert [path.name for path in catalogues.find(folder / "runs" / "old")] == ["b.tif"]


def test_names_are_unique_and_plain():
    paths = [scenes.Path(p) for p in ("a/x.png", "b/x.tif", "b/x.png", "c/y.png", "b_x.png")]
    named = scenes.names(paths)
    assert list(named.values()) == paths and list(named)[3] == "y" and len(set(named)) == 5


def test_find(tmp_path):
    with pytest.raises(sik.InputError, match="no scenes"):
        catalogues.find(tmp_path)
    with pytest.raises(sik.InputError, match="nowhere"):
        catalogues.find(tmp_path / "nowhere")
    (tmp_path / "deep er/ö").mkdir(parents=True)
    for name in ("deep er/ö/a.PNG", "b.tiff", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in catalogues.find(tmp_path)] == ["b.tiff", "a.PNG"]
    assert [p.name for p in catalogues.find(tmp_path / "**" / "*.PNG")] == ["a.PNG"]
