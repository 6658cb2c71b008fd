import subprocess
import sys

import cv2
import numpy as np
import pytest
import rasterio
from conftest import picture, write_tiff
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

import seaicekit as sik
from seaicekit import scenes
from seaicekit.scenes import reading, sources


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
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30)), elements=st.sampled_from([0, 0, 9]))
)
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


def test_windows_have_the_whole_scenes_no_data(tmp_path):
    pixels = picture(tmp_path / "wedge.png", 100, 100)
    pixels[np.add.outer(np.arange(100), np.arange(100)) < 60] = 0
    cv2.imwrite(str(tmp_path / "wedge.png"), pixels)
    whole = scenes.nodata_mask(sik.open_scene(tmp_path / "wedge.png"))
    with scenes.open_reader(tmp_path / "wedge.png") as reader:
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


def test_palettes_are_refused(tmp_path, small):
    with pytest.raises(sik.InputError, match="palette"):
        sik.open_scene(small[1].labels[0])


def same_by_windows(text, size):
    with scenes.open_reader(text) as reader:
        bands, nodata = reader.read()
        layer = reader.scl()
        for window in scenes.blocks(reader.shape, size):
            part = reader.read(window)
            np.testing.assert_array_equal(part[0], bands[(slice(None), *window.slices)])
            np.testing.assert_array_equal(part[1], nodata[window.slices])
            if layer is not None:
                np.testing.assert_array_equal(reader.scl(window), layer[window.slices])
    scene = sik.open_scene(text)
    np.testing.assert_array_equal(scene, bands)
    np.testing.assert_array_equal(scene.coords["nodata"], nodata)
    return bands, nodata


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 20),
    st.sampled_from(reading.DTYPES),
    st.integers(0, 99),
    st.sampled_from([None, 0]),
    st.booleans(),
)
def test_windows_equal_the_whole_scene(tmp_path_factory, rows, cols, size, dtype, seed, nodata, grey):
    rng = np.random.default_rng(seed)
    bands = rng.random((1 if grey else 3, rows, cols)) * rng.choice([0, 1, 1], (rows, cols))
    dtype = np.dtype(dtype)
    numbers = (bands * (255 if dtype == np.uint8 else 12000 if dtype.kind in "iu" else 1)).astype(dtype)
    if dtype.kind == "f":
        numbers[:, rng.random((rows, cols)) < 0.1] = np.nan
    path = write_tiff(tmp_path_factory.mktemp("any") / "a.tif", numbers, nodata=nodata)
    got, mask = same_by_windows(path, max(size, max(rows, cols) // 6))
    numbers = np.broadcast_to(numbers, (3, rows, cols))
    scale = 1 if dtype == np.uint8 else 255 / 10000 if dtype.kind in "iu" else 255
    np.testing.assert_allclose(
        got, np.nan_to_num(np.clip(numbers.astype(float) * scale, 0, 255)), atol=0.5001
    )
    expected = (numbers == 0).all(axis=0) if nodata == 0 else by_scipy(numbers)  # as stored
    np.testing.assert_array_equal(mask, expected | np.isnan(numbers).any(axis=0))


def test_real_bands_from_several_files(real):
    folder = real / "l8_greenland"
    files = [folder / f"LC80030172015001LGN00_B{number}.tiff" for number in (4, 3, 2)]
    text = sources.join_source(files[0], {"green": files[1].name, "blue": files[2].name, "white": "2"})
    bands, nodata = same_by_windows(text, 500)
    numbers = np.stack([cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in files]).astype(float)
    np.testing.assert_array_equal(bands, np.round(np.clip(numbers / 20000, 0, 1) * 255))
    np.testing.assert_array_equal(nodata, by_scipy(numbers))
    folder = real / "s2_greenland_22WEV"
    blue = "S2_22WEV_20190723_B02_blue.tif"
    text = f"{folder}/S2_22WEV_20190723_B04_red.tif#green={blue}&blue={blue}"
    bands, nodata = same_by_windows(text, 700)
    for band, name in ((0, "B04_red"), (1, "B02_blue"), (2, "B02_blue")):
        numbers = cv2.imread(f"{folder}/S2_22WEV_20190723_{name}.tif", cv2.IMREAD_UNCHANGED).astype(float)
        np.testing.assert_array_equal(bands[band], np.round(np.clip(numbers / 10000, 0, 1) * 255))


def test_chosen_bands_scales_of_the_file_and_no_data_before_scaling(tmp_path):
    numbers = np.random.default_rng(1).integers(1, 6000, (5, 30, 20)).astype(np.int16)
    numbers[:, :, :4] = -999
    numbers[3, 9, 9] = -999  # one band alone is data
    path = write_tiff(tmp_path / "five.tif", numbers, nodata=-999)
    with pytest.raises(sik.InputError, match=r"five\.tif: has 5 bands.*#bands="):
        sik.open_scene(path)
    with pytest.raises(sik.InputError, match="no band 6"):
        sik.open_scene(f"{path}#bands=4,6,2")
    bands, nodata = same_by_windows(f"{path}#bands=4,3,2", 9)
    np.testing.assert_array_equal(bands, np.round(np.clip(numbers[[3, 2, 1]] / 10000, 0, 1) * 255))
    np.testing.assert_array_equal(nodata, (numbers == -999).all(axis=0))
    nodata = same_by_windows(f"{path}#bands=4,3,2&nodata=-999", 9)[1]
    np.testing.assert_array_equal(nodata, (numbers == -999).all(axis=0))
    with rasterio.open(path, "r+") as target:
        target.scales, target.offsets = (0.0002,) * 5, (-0.1,) * 5
    bands, _ = same_by_windows(f"{path}#bands=4,3,2", 9)
    np.testing.assert_array_equal(bands, np.round(np.clip(numbers[[3, 2, 1]] / 5000 - 0.1, 0, 1) * 255))
    bands, nodata = same_by_windows(f"{path}#bands=1,1,1&quantification=1000&offset=0&nodata=5000", 9)
    np.testing.assert_array_equal(bands[1], np.round(np.clip(numbers[0] / 1000, 0, 1) * 255))
    np.testing.assert_array_equal(nodata, numbers[0] == 5000)


def test_bands_that_do_not_fit_together_are_refused(tmp_path):
    one = write_tiff(tmp_path / "one.tif", np.full((1, 9, 9), 9, np.uint16))
    for name, bands, profile, message in (
        ("size", np.ones((1, 9, 8), np.uint16), {}, "not on the grid"),
        (
            "place",
            np.ones((1, 9, 9), np.uint16),
            {"transform": rasterio.Affine(10, 0, 0, 0, -10, 0)},
            "not on the grid",
        ),
        ("type", np.ones((1, 9, 9), np.uint8), {}, "one type"),
    ):
        write_tiff(tmp_path / f"{name}.tif", bands, **profile)
        with pytest.raises(sik.InputError, match=rf"{name}\.tif.*{message}|one\.tif.*{message}"):
            sik.open_scene(f"{one}#green=one.tif&blue={name}.tif")
    with pytest.raises(sik.InputError, match=r"none\.tif: no such file"):
        sik.open_scene(f"{one}#green=one.tif&blue=none.tif")
    with pytest.raises(sik.InputError, match="taken as they are"):
        sik.open_scene(f"{write_tiff(tmp_path / 'byte.tif', np.ones((3, 9, 9), np.uint8))}#white=0.9")
    with pytest.raises(sik.InputError, match="complex64"):
        sik.open_scene(write_tiff(tmp_path / "c.tif", np.ones((3, 9, 9), np.complex64)))
    (tmp_path / "v.tif").write_text(
        '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{tmp_path}/byte.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(sik.InputError, match=r"v\.tif: is a file of the kind VRT"):
        sik.open_scene(tmp_path / "v.tif")


@pytest.mark.parametrize("shift", [10, 3, 7, -12])
def test_the_classification_layer_lies_on_the_scenes_grid(tmp_path, shift):
    codes = np.random.default_rng(2).integers(1, 12, (20, 30)).astype(np.uint8)
    coarse = rasterio.Affine(20, 0, 500_000 - shift, 0, -20, 1_600_000 + shift)
    write_tiff(tmp_path / "SCL.tif", codes[None], transform=coarse)
    path = write_tiff(tmp_path / "a.tif", np.full((3, 45, 50), 9, np.uint8))
    text = f"{path}#scl=SCL.tif"
    same_by_windows(text, 17)
    expected = np.zeros((45, 50), np.uint8)
    with rasterio.open(path) as scene, rasterio.open(tmp_path / "SCL.tif") as layer:
        for at in np.ndindex(expected.shape):
            row, col = layer.index(*scene.xy(*at))
            expected[at] = codes[row, col] if 0 <= row < 20 and 0 <= col < 30 else 0
    assert (expected == 0).any() and (expected > 0).any()
    with scenes.open_reader(text) as reader:
        np.testing.assert_array_equal(reader.scl(), expected)
        assert (reader.scl(scenes.Window(41, 3, 4, 5)) == 0).all()  # beyond the layer
    with scenes.open_reader(path) as reader:
        assert reader.scl() is None


def test_opening_reads_no_pixels(tmp_path):
    path = write_tiff(
        tmp_path / "a.tif",
        np.full((3, 3000, 2500), 70, np.uint8),
        tiled=True,
        compress="deflate",
        blockxsize=256,
        blockysize=256,
    )
    with rasterio.open(path) as source:
        offset = int(
            source.tags(1, ns="TIFF").get("BLOCK_OFFSET_8_8", 0)
            or source.get_tag_item("BLOCK_OFFSET_8_8", "TIFF", 1)
        )
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 200)
    scene = sik.open_scene(path)
    assert scene.chunks[1:] == ((1024, 1024, 952), (1024, 1024, 452)) == scene.coords["nodata"].chunks
    assert (scene[:, :1024, :1024] == 70).all()
    with pytest.raises(sik.InputError, match=r"a\.tif: cannot be read"):
        scene.load()
    with scenes.open_reader(path) as reader:
        reader.pixels(scenes.Window(0, 0, 100, 100))
        with pytest.raises(sik.InputError, match=r"a\.tif: cannot be read"):
            reader.pixels(scenes.Window(2100, 2100, 10, 10))


def test_a_true_colour_image_warns_of_its_saturated_share(real, tmp_path):
    folder = next((real / "s2_safe").glob("S2B*N0212*"))
    image = next(folder.glob("GRANULE/*/IMG_DATA/R10m/*TCI*"))
    with rasterio.open(image) as source:
        brightest = source.read().max(axis=0)
    share = f"{100 * (brightest == 255).sum() / (brightest > 0).sum():.0f} %"
    assert share == "97 %"
    for text in (f"{folder}#bands=TCI", image):
        with pytest.warns(UserWarning, match=share) as warned:
            scene = sik.open_scene(text)
        assert [str(each.filename) for each in warned if each.category is UserWarning] == [__file__]
        np.testing.assert_array_equal(scene.values.max(axis=0), brightest)
    big = np.full((3, 1200, 900), 100, np.uint8)
    big[:, :600] = 255
    with pytest.warns(UserWarning, match=r"T_TCI_10m\.tif: 50 %"):
        sik.open_scene(write_tiff(tmp_path / "T_TCI_10m.tif", big))


def test_absurd_sizes_and_tiny_scenes(tmp_path):
    profile = {
        "driver": "GTiff",
        "height": 10**6,
        "width": 10**6,
        "count": 3,
        "dtype": "uint8",
        "tiled": True,
    }
    profile |= {
        "blockxsize": 8192,
        "blockysize": 8192,
        "sparse_ok": True,
        "bigtiff": "yes",
        "crs": "EPSG:32758",
    }
    with rasterio.open(tmp_path / "huge.tif", "w", transform=rasterio.Affine(10, 0, 0, 0, -10, 0), **profile):
        pass
    with pytest.raises(sik.InputError, match=r"huge\.tif: claims 1000000 x 1000000"):
        sik.open_scene(tmp_path / "huge.tif")
    for rows, cols in ((1, 1), (7, 3)):
        pixels = np.arange(rows * cols * 3).reshape(3, rows, cols).astype(np.uint8) + 1
        np.testing.assert_array_equal(sik.open_scene(write_tiff(tmp_path / "tiny.tif", pixels)), pixels)


def test_the_border_of_a_large_scene_needs_little_memory(tmp_path):
    size = 10980
    profile = {"driver": "GTiff", "height": size, "width": size, "count": 3, "dtype": "uint8", "tiled": True}
    profile |= {"compress": "deflate", "sparse_ok": True, "transform": rasterio.Affine(10, 0, 0, 0, -10, 0)}
    with rasterio.open(tmp_path / "large.tif", "w", crs="EPSG:32758", **profile) as target:
        land = np.full((3, 4000, 5000), 90, np.uint8)
        land[:, 1000:1100, 1000:1100] = 0  # water inside
        target.write(land, window=rasterio.windows.Window(3000, 2000, 5000, 4000))
    code = (
        "import re, sys; from pathlib import Path; from seaicekit.scenes import reading, sources\n"
        "valid = (~reading.border_of(sources.resolve_source(sys.argv[1]))).sum()\n"
        "print(valid, re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "large.tif"], capture_output=True, text=True
    )
    valid, peak = map(int, done.stdout.split())
    assert valid == 4000 * 5000 and peak < 400_000


def test_a_border_can_be_set_before_reading(tmp_path):
    path = write_tiff(tmp_path / "a.tif", np.full((3, 9, 9), 5, np.uint8))
    with scenes.open_reader(path) as reader:
        reader.border = np.eye(9, dtype=bool)
        np.testing.assert_array_equal(
            reader.read(scenes.Window(2, 3, 4, 5))[1], np.eye(9, dtype=bool)[2:6, 3:8]
        )


@pytest.mark.parametrize("suffix", ["png", "tif", "jp2", "jpg"])
def test_truncated_files_are_named(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    picture(path, 300, 200)
    content = path.read_bytes()
    for share in (0, 0.01, 0.1, 0.5, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(sik.InputError, match=rf"a\.{suffix}") as error:
            sik.open_scene(path).load()
        assert "\n" not in str(error.value)
