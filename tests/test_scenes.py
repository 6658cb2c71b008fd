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


def test_palettes_are_refused(tmp_path, small):
    with pytest.raises(sik.InputError, match="palette"):
        sik.open_scene(small[1].labels[0])
