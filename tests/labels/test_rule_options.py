"""What goes beyond the paper's rule: further classes, other windows, tiles, illumination, opaque cloud."""

import colorsys

import cv2
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import published_labels

import seaicekit as sik
from seaicekit import labels
from seaicekit.labels import cloud_filter
from seaicekit.thresholds import Range

POND = Range(3, "melt pond", "#2f7fd1", hue=(90, 125), saturation=(60, 255), value=(60, 255))
GREY_ICE = Range(4, "grey ice", "#8fa3ad", value=(31, 100))


def by_colorsys(rgb, ranges, water_max=30, thin_max=204):
    """The rule pixel by pixel, with another library's HSV, for colours that do not round differently."""
    red, green, blue = (int(v) for v in rgb)
    hue, saturation, _ = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
    value = max(red, green, blue)
    code = 0 if value <= water_max else 1 if value <= thin_max else 2
    for coloured in (False, True):
        for r in ranges:
            full = r.hue == (0, 179) and r.saturation == (0, 255)
            first, last = r.hue
            h, s = hue * 180, saturation * 255
            turned = first - 0.5 <= h < last + 0.5 if first <= last else h >= first - 0.5 or h < last + 0.5
            inside = turned and r.saturation[0] - 0.5 <= s < r.saturation[1] + 0.5
            if coloured != full and (full or inside) and r.value[0] <= value <= r.value[1]:
                code = r.code
    return code


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(*[st.integers(0, 255)] * 3),
    st.tuples(st.integers(0, 179), st.integers(0, 179)),
    st.integers(0, 255),
    st.integers(0, 255),
)
def test_hue_saturation_and_value_ranges_by_another_library(rgb, hue, saturation, value):
    ranges = (Range(5, "odd", "#000000", hue=hue, saturation=(saturation, 255), value=(value, 255)), GREY_ICE)
    cuts = sik.Thresholds(ranges=ranges)
    hsv = cv2.cvtColor(np.uint8([[rgb]]), cv2.COLOR_RGB2HSV)[0, 0]
    exact = colorsys.rgb_to_hsv(*(v / 255 for v in rgb))
    near_an_edge = any(abs(exact[0] * 180 - (end + side)) < 0.6 for end in hue for side in (-0.5, 0.5))
    near_an_edge |= abs(exact[1] * 255 - (saturation - 0.5)) < 0.6 or exact[0] * 180 > 179.4
    if not near_an_edge:
        assert cuts.classify(np.uint8([rgb]))[0] == by_colorsys(rgb, ranges), hsv


def test_hue_goes_round_through_red():
    cuts = sik.Thresholds(ranges=[Range(9, "red algae", "#b03030", hue=(170, 10), saturation=(80, 255))])
    reds = np.uint8([[200, 30, 30], [200, 30, 50], [200, 50, 30], [30, 200, 30], [30, 30, 200]])
    assert cuts.classify(reds).tolist() == [9, 9, 9, 1, 1]


def test_full_ranges_stay_one_table():
    assert not sik.Thresholds(ranges=[GREY_ICE]).coloured and sik.Thresholds(ranges=[GREY_ICE]).table[70] == 4
    turned = Range(4, "grey ice", "#8fa3ad", hue=(40, 39), value=(31, 100))  # a full turn from elsewhere
    assert not sik.Thresholds(ranges=[turned]).coloured
    assert sik.Thresholds(ranges=[POND]).coloured


def test_further_classes_reach_rasters_tables_and_tiles(tmp_path):
    path, _ = sik.scenes.write_synthetic(tmp_path, 3, (300, 300), 0.4)
    with sik.scenes.open_reader(path) as reader:
        bands, nodata = reader.read()
    cuts = sik.Thresholds(ranges=[POND, GREY_ICE])
    cuts.save(tmp_path / "cuts.json")
    assert sik.Thresholds.load(tmp_path / "cuts.json") == cuts
    scene = sik.open_scene(path)
    scene.load()
    scene.values[:, 100:140, 100:140] = np.uint8([40, 110, 190])[:, None, None]  # ponds are blue
    whole = sik.label(scene, cuts)
    ponds = whole.values[105:135, 105:135][~nodata[105:135, 105:135]]
    assert ponds.size > 100 and (ponds == 3).all()
    for block in (64, 128):
        np.testing.assert_array_equal(sik.label(scene, cuts, block=block), whole)
    table = sik.autolabel([path], tmp_path / "labels", cuts, engine="serial", progress=False)
    codes = sik.label(sik.open_scene(path), cuts).values
    assert table.grey_ice[0] == (codes == 4).sum() > 0 and table.melt_pond[0] == (codes == 3).sum()
    tags = sik.scenes.read_tags(table.labels[0])
    assert tags["CLASS_4"] == "grey ice"
    tiles = sik.tiles.index_tiles(table, tmp_path / "tiles.parquet", size=100)
    shares = tiles[["open_water", "thin_ice", "thick_ice", "melt_pond", "grey_ice"]]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert {entry.column for entry in cuts.legend} < {*table.columns} & {*tiles.columns}
    for name in ({*table.columns} | {*tiles.columns}) - {entry.column for entry in cuts.legend}:
        with pytest.raises(sik.InputError, match=f"'{name.replace('_', ' ')}' is a column of the tables"):
            Range(7, name.replace("_", " "), "#123456")
    assert set(np.unique(codes)) <= {entry.code for entry in cuts.legend} | {255}
    assert sik.load_labels(tmp_path / "labels").grey_ice[0] == table.grey_ice[0]


def test_classes_named_as_parts_of_a_result_are_counted(tmp_path):
    path, _ = sik.scenes.write_synthetic(tmp_path, 3, (120, 120))
    names = ("warning", "pixels", "windows", "fatal", "counts", "key")
    ranges = [Range(10 + n, name, "#123456", value=(40 * n, 40 * n + 39)) for n, name in enumerate(names)]
    cuts = sik.Thresholds(ranges=ranges)
    for block in (None, 50):
        out = tmp_path / f"labels_{block}"
        table = sik.autolabel([path], out, cuts, engine="serial", block=block, progress=False)
        codes = sik.scenes.read_codes(table.labels[0])
        assert [table[name][0] for name in names] == [(codes == 10 + n).sum() for n in range(len(names))]


@pytest.mark.parametrize(
    "wrong",
    [
        {"code": 64, "name": "x", "colour": "#123456"},
        {"code": 7},
        {"code": 7, "name": "x", "colour": "red"},
        {"code": 7, "name": "nodata", "colour": "#123456"},
        {"code": 7, "name": "a/b", "colour": "#123456"},
        {"code": 1, "hue": (0, 180)},
        {"code": 1, "value": (9, 3)},
        {"code": 1, "saturation": (1,)},
    ],
)
def test_wrong_ranges(wrong):
    with pytest.raises(sik.InputError):
        Range(**wrong)


def test_two_names_for_one_code(tmp_path):
    with pytest.raises(sik.InputError, match="two names"):
        sik.Thresholds(ranges=[GREY_ICE, Range(4, "other ice", "#000000")])
    with pytest.raises(sik.InputError, match="one name two codes"):
        sik.Thresholds(ranges=[GREY_ICE, Range(5, "grey_ice", "#000000")])  # one column for both
    (tmp_path / "cuts.json").write_text(
        '{"format": "seaicekit-thresholds-1", "water_max": 1, "thin_max": 2, "ranges": [{"code": 1, "hues": 3}]}'
    )
    with pytest.raises(sik.InputError, match=r"cuts\.json: ranges.*hues"):
        sik.Thresholds.load(tmp_path / "cuts.json")


@pytest.fixture(scope="module")
def cloudy():
    scene, truth = sik.scenes.synthetic_scene(7, (530, 610), cloud=0.5)
    return scene, truth


def test_window_in_pixels_and_metres(cloudy):
    scene, _ = cloudy
    np.testing.assert_array_equal(sik.label(scene, window="7.75 km"), sik.label(scene))
    np.testing.assert_array_equal(sik.label(scene, window="1050 m"), sik.label(scene, window=21))
    assert (sik.label(scene, window=21) != sik.label(scene)).any()
    plain = sik.scenes.opening.as_dataarray(scene.values, scene.nodata.values)
    with pytest.raises(sik.InputError, match="projected metres"):
        sik.label(plain, window="7750 m")
    for wrong in (154, 1, "far", -3, True, "1.2.3 m"):
        with pytest.raises(sik.InputError, match="window"):
            sik.label(plain, window=wrong)


def exact_medians(grey, window, places):
    """The background at some places, by sorting what the window holds."""
    dilated = cv2.dilate(grey, np.ones((7, 7), np.uint8))
    padded = np.pad(dilated, window // 2, mode="edge")
    return [np.median(padded[r : r + window, c : c + window]) for r, c in places]


@pytest.mark.parametrize("window", [257, 401])
def test_wide_windows_are_right_where_opencv_is_not(window):
    scene, _ = sik.scenes.synthetic_scene(5, (500, 460), cloud=0.3)
    grey = cv2.cvtColor(np.ascontiguousarray(scene.values.transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY)
    places = np.random.default_rng(0).integers((0, 0), grey.shape, (60, 2))
    factor = labels.thinning(window)
    assert factor == 2
    got = labels.background(grey, window, factor)[tuple(places.T)]
    wanted = exact_medians(grey, window, places)
    assert np.abs(got - wanted).mean() < 1.5 and np.abs(got - wanted).max() < 12
    whole = sik.label(scene, window=window)
    for block in (100, 256):
        np.testing.assert_array_equal(sik.label(scene, window=window, block=block), whole)


def test_tile_scope_is_each_tile_by_itself(cloudy):
    scene, _ = cloudy
    rgb = np.ascontiguousarray(scene.values.transpose(1, 2, 0))
    by_tile = sik.label(scene, scope="tile", nodata="ignore")
    for window in sik.scenes.blocks(rgb.shape[:2], 256):
        np.testing.assert_array_equal(
            by_tile.values[window.slices], published_labels(rgb[window.slices].copy())
        )
    for block in (100, 300, None):
        np.testing.assert_array_equal(sik.label(scene, scope="tile", nodata="ignore", block=block), by_tile)
    scaled = sik.label(scene, scope="tile", tile=128, window=19, nodata="ignore")
    assert (scaled != by_tile).any() and (by_tile != sik.label(scene, nodata="ignore")).any()


def test_scene_classification_as_cloud_mask_only_on_request(real, tmp_path):
    product = next((real / "s2_safe").glob("*T29UNU*.SAFE"))
    with rasterio.open(next(product.rglob("*_SCL_60m.jp2"))) as source:
        scl = source.read(1)
    plain = sik.autolabel([product], tmp_path / "plain", engine="serial", progress=False)
    out = tmp_path / "masked"
    masked = sik.autolabel(
        [f"{product}#scl=1"], out, engine="serial", block=500, opaque="scl", progress=False
    )
    codes, cloud = sik.scenes.read_codes(masked.labels[0]), np.isin(scl, (8, 9))
    seen = sik.scenes.read_codes(plain.labels[0]) != 255
    np.testing.assert_array_equal(codes == 255, cloud | ~seen)
    assert masked.opaque_cloud[0] == (cloud & seen).sum() > 0 and masked.nodata[0] == (~seen).sum()
    assert plain.opaque_cloud[0] == 0
    whole = sik.label(sik.open_scene(f"{product}#scl=1"), opaque="scl")
    np.testing.assert_array_equal(whole, codes)
    with pytest.warns(UserWarning, match="only one scene"):
        tiles = sik.tiles.index_tiles(masked, tmp_path / "tiles.parquet")
    assert (tiles.cloud_from == "scl").all() and tiles.cloud.notna().all()
    for tile in tiles.itertuples():
        part = np.s_[tile.row : tile.row + tile.height, tile.col : tile.col + tile.width]
        valid = codes[part] != 255
        assert tile.cloud == pytest.approx(np.isin(scl[part], (3, 8, 9, 10))[valid].mean())
    with pytest.raises(sik.InputError, match="scl=1"):
        sik.autolabel([product], tmp_path / "no", engine="serial", opaque="scl", progress=False)


@pytest.mark.parametrize("block", [None, 512])
def test_labelling_warns_of_a_saturated_true_colour_image(real, tmp_path, block):
    with pytest.warns(UserWarning, match="true-colour"):
        sik.autolabel([real / "s2_cog/TCI.tif"], tmp_path, engine="serial", block=block, progress=False)


def test_illumination_is_evened_out_by_percentiles():
    bright, truth = sik.scenes.synthetic_scene(4, (400, 400))
    dim, _ = sik.scenes.synthetic_scene(4, (400, 400), light=0.6)
    valid = ~bright.nodata.values

    def score(scene, **rule):
        return (sik.label(scene, **rule).values == truth.values)[valid].mean()

    # The filter compares with the surroundings, so it minds a lower sun little; the cuts alone mind it much.
    assert score(dim, cloud_filter=False) < score(bright, cloud_filter=False) - 0.2
    assert score(dim, cloud_filter=False, normalise=(1, 99)) > score(dim, cloud_filter=False) + 0.2
    assert score(dim) > score(bright) - 0.02
    value = dim.values.max(axis=0)[valid]
    low, high = cloud_filter.stretch_limits(np.bincount(value, minlength=256), 1, 99)
    assert abs(low - np.percentile(value, 1)) <= 1 and abs(high - np.percentile(value, 99)) <= 1
    whole = sik.label(dim, normalise=(1, 99))
    np.testing.assert_array_equal(sik.label(dim, normalise=(1, 99), block=150), whole)
    assert cloud_filter.stretch_limits(np.bincount([50, 100, 200], minlength=256), 0, 100) == (50, 200)
    for wrong in ((1,), (50, 50), (-1, 9), (9, 101)):
        with pytest.raises(sik.InputError, match="normalise"):
            sik.label(dim, normalise=wrong)


def test_filtered_ice_is_not_taken_for_water(cloudy):
    rule = sik.labels.Rule(sik.Thresholds(70, 200))
    scene, _ = cloudy
    seen, label = sik.labels.filter_scene(scene, rule).values, sik.label(scene, rule).values
    assert (seen[label == 0] == 0).all() and seen[(label == 1) | (label == 2)].min() == 71


def test_filtered_is_what_the_labels_come_from(cloudy):
    scene, _ = cloudy
    seen, label = sik.labels.filter_scene(scene).values, sik.label(scene).values
    ice = (label == 1) | (label == 2)
    np.testing.assert_array_equal(np.where(seen > 204, 2, 1)[ice], label[ice])
