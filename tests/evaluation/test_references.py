"""References that people have: other grids, other codes, points."""

import json

import cv2
import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
import rasterio.warp
import rioxarray  # noqa: F401  registers .rio
import xarray as xr
from conftest import write_tiff

import seaicekit as sik
from seaicekit import evaluation, scenes
from seaicekit.classes import LEGEND, SeaIceClass

FOUR = (*LEGEND, SeaIceClass(7, "melt pond", "#3a7bd5"))
UTM, POLAR = "EPSG:32758", "EPSG:3031"
GRID = rasterio.Affine(10, 0, 500_000, 0, -10, 1_600_000)


def random(seed, shape=(40, 50), codes=(0, 1, 2)):
    return np.random.default_rng(seed).choice(np.array(codes, np.uint8), shape)


def written(path, codes, transform=GRID, crs=UTM, legend=LEGEND):
    scenes.write_classes(path, codes, crs, transform, legend)
    return path


def by_hand(codes, transform, crs, shape):
    """Take the nearest reference pixel for each pixel of GRID, by pyproj alone.

    And how near a border it is.
    """
    rows, cols = np.mgrid[: shape[0], : shape[1]] + 0.5
    x, y = GRID.c + GRID.a * cols, GRID.f + GRID.e * rows
    x, y = pyproj.Transformer.from_crs(UTM, crs, always_xy=True).transform(x, y)
    inverse = ~transform
    col, row = inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f
    at = np.floor(row).astype(int), np.floor(col).astype(int)
    inside = (at[0] >= 0) & (at[0] < codes.shape[0]) & (at[1] >= 0) & (at[1] < codes.shape[1])
    found = np.full(shape, 255, np.uint8)
    found[inside] = codes[at[0][inside], at[1][inside]]
    return found, np.minimum(np.abs(row - row.round()), np.abs(col - col.round()))


def test_a_shifted_coarser_grid(tmp_path):
    prediction, reference = random(0), random(1, (12, 12))
    moved = rasterio.Affine(30, 0, 500_103, 0, -30, 1_600_052)  # 30 m, neither aligned nor of the same extent
    truth, _ = by_hand(reference, moved, UTM, prediction.shape)
    assert (truth == 255).any() and (truth != 255).any()
    paths = written(tmp_path / "p.tif", prediction), written(tmp_path / "r.tif", reference, moved)
    assert sik.evaluate(*paths) == sik.evaluate(prediction, truth)
    # The same shape is no proof of the same place.
    shifted = written(tmp_path / "s.tif", prediction, GRID * rasterio.Affine.translation(3, 2))
    assert sik.evaluate(paths[0], shifted) == sik.evaluate(prediction[2:, 3:], prediction[:-2, :-3])


def test_another_projection(tmp_path):
    prediction, reference = random(0, (200, 220)), random(1, (80, 80))
    middle = pyproj.Transformer.from_crs(UTM, POLAR, always_xy=True).transform(501_100, 1_599_000)
    south = rasterio.Affine(2e2, 3, middle[0] - 8e3, -5, -2e2, middle[1] + 8e3)
    truth, border = by_hand(reference, south, POLAR, prediction.shape)
    layer = evaluation.inputs.read(written(tmp_path / "p.tif", prediction))
    south_path = written(tmp_path / "r.tif", reference, south, POLAR)
    codes = evaluation.inputs.read_onto(layer, south_path, "reference").positions(LEGEND)
    assert (codes == truth)[border > 0.13].all() and (
        border > 0.13
    ).mean() > 0.4  # GDAL: to an eighth of a pixel
    assert (truth != 255).mean() > 0.5
    # And an xarray with its CRS is as good as a file.
    array = xr.DataArray(prediction, dims=("y", "x")).rio.write_crs(UTM).rio.write_transform(GRID)
    assert sik.evaluate(array, tmp_path / "r.tif") == sik.evaluate(tmp_path / "p.tif", tmp_path / "r.tif")


def test_codes_of_an_ice_chart_are_mapped_and_the_rest_counted(tmp_path):
    truth = random(3)
    chart = np.choose(truth, [[[-5]], [[81]], [[95]]]).astype(np.int16)
    chart[:4], chart[4:6], chart[6, :7] = -9999, 99, 42
    path = write_tiff(tmp_path / "chart.tif", chart[None], nodata=-9999)
    prediction = written(tmp_path / "p.tif", random(4))
    found = sik.evaluate(prediction, path, classes={-5: 0, 81: 1, 95: 2, 99: None})
    hidden = truth.copy()
    hidden[:6], hidden[6, :7] = 255, 255
    assert found.pop("unmapped") == {42: 7}
    assert found == sik.evaluate(random(4), hidden)
    assert sik.evaluate(random(4), truth, classes={0: 0, 1: 1, 2: 2})["unmapped"] == {}
    with pytest.raises(sik.InputError, match=r"chart.tif: code -5 is not in the legend"):
        sik.evaluate(prediction, path)
    with pytest.raises(sik.InputError, match="95 → 3, but the legend has 0, 1, 2"):
        sik.evaluate(prediction, path, classes={-5: 0, 81: 1, 95: 3})
    # What is counted lies where there is a prediction, on its grid.
    fine = written(tmp_path / "fine.tif", random(4, (4, 4)), rasterio.Affine(5, 0, 500_000, 0, -5, 1_599_940))
    found = sik.evaluate(fine, path, classes={-5: 0, 81: 1, 95: 2, 99: None})
    assert found["unmapped"] == {42: 8} and found["pixels"] == 8


def test_a_picture_of_labels_and_floats(tmp_path):
    truth = random(3)
    painted = np.choose(truth, [[[0]], [[128]], [[255]]]).astype(np.uint8)  # white is thick ice, not no data
    cv2.imwrite(str(tmp_path / "a.png"), painted)
    found = sik.evaluate(truth, tmp_path / "a.png", classes={0: 0, 128: 1, 255: 2})
    assert found["accuracy"] == 1 and found["pixels"] == truth.size
    gaps = truth.astype(np.float32)
    gaps[0] = np.nan
    found = sik.evaluate(truth, gaps)
    assert found["accuracy"] == 1 and found["pixels"] == truth.size - 50
    for odd, message in ((gaps + 0.5, "not in the legend"), (truth.astype("U1"), "must be numbers")):
        with pytest.raises(sik.InputError, match=message):
            sik.evaluate(truth, odd)
    with pytest.raises(sik.InputError, match="are no classes"):
        sik.evaluate(np.zeros((200, 200), np.uint8), np.arange(4e4).reshape(200, 200), classes={0: 0})


def test_the_legend_is_read_from_the_files(tmp_path):
    codes, other = random(0, codes=(0, 1, 2, 7)), random(1, codes=(0, 1, 2, 7))
    paths = [written(tmp_path / f"{n}.tif", each, legend=FOUR) for n, each in enumerate((codes, other))]
    found = sik.evaluate(*paths)
    assert found == sik.evaluate(codes, other, legend=FOUR) and "melt pond" in found["classes"]
    assert scenes.common_legend(paths) == FOUR
    assert sik.evaluate(paths[0], random(2)) == sik.evaluate(codes, random(2), legend=FOUR)
    with pytest.raises(sik.InputError, match="code 7 is not in the legend"):
        sik.evaluate(codes, other)
    renamed = (LEGEND[0], SeaIceClass(1, "nilas", "#000000"), LEGEND[2])
    clash = written(tmp_path / "clash.tif", random(1), legend=renamed)
    with pytest.raises(sik.InputError, match="calls 1 'nilas', another raster 'thin ice'"):
        sik.evaluate(paths[0], clash)
    assert sik.evaluate(random(0), clash, classes={0: 0, 1: 1, 2: 2})["pixels"] == 2000
    two = (SeaIceClass(0, "water", "#000000"), SeaIceClass(1, "ice", "#ffffff"))
    pair = [written(tmp_path / f"two{n}.tif", random(n, codes=(0, 1)), legend=two) for n in range(2)]
    assert set(sik.evaluate(*pair)["classes"]) == {"water", "ice"}


def test_rasters_that_do_not_belong_together(tmp_path):
    codes = random(0)
    path = written(tmp_path / "a.tif", codes)
    far = written(tmp_path / "far.tif", codes, rasterio.Affine(10, 0, 900_000, 0, -10, 1_600_000))
    south = written(
        tmp_path / "south.tif", codes, rasterio.Affine(10, 0, 500_000, 0, -10, 1_600_000), "EPSG:32618"
    )
    plain = written(tmp_path / "plain.tif", codes[:9], rasterio.Affine.identity(), None)
    calls = {
        "far.tif: nothing of it lies on": (path, far),
        r"south.tif: (nothing of it lies on|cannot be brought)": (path, south),
        r"plain.tif has no CRS": (path, plain),
        r"\(40, 50\) pixels, the reference \(9, 50\)": (codes, codes[:9]),
        "and some": (codes[:0], codes[:0]),
        r"\(rows, columns\)": (codes[None], codes[None]),
        "no raster was given": ([], []),
        "1 predictions but 2 references": ([codes], [codes, codes]),
        "in one way": ({"a": codes}, codes),
        "scene b is missing in references": ({"a": codes, "b": codes}, {"a": codes}),
        "scene b is missing in predictions": ({"a": codes}, {"a": codes, "b": codes}),
        "cannot be read": (tmp_path / "none.tif", codes),
        "has 3 bands": (write_tiff(tmp_path / "rgb.tif", np.zeros((3, 40, 50), np.uint8)), codes),
        "no pixel has data": (codes, np.full_like(codes, 255)),
    }
    for message, pair in calls.items():
        with pytest.raises(sik.InputError, match=message):
            sik.evaluate(*pair)
    assert sik.evaluate({"a": codes}, {"a": path}) == sik.evaluate(path, codes)
    series = pd.Series({"a": str(path)})
    assert sik.evaluate(series, {"a": codes}) == sik.evaluate(path, codes)


@pytest.fixture
def clicked(tmp_path):
    """Two scenes, points saved on them, and maps of these: (folder, the points' table, codes by scene)."""
    scenes, codes = {}, {}
    for number, name in enumerate("ab"):
        pixels = np.random.default_rng(number).integers(1, 255, (3, 40, 50)).astype(np.uint8)
        place = GRID * rasterio.Affine.translation(20 * number, 10)  # they overlap, on other days
        scenes[name] = write_tiff(tmp_path / f"{name}_image.tif", pixels, transform=place)
        codes[name] = random(number + 5)
        codes[name][30:] = 255
        written(tmp_path / f"{name}.tif", codes[name], place)
    points = sik.thresholds.ReferencePoints(scenes, tmp_path / "points.geojson")
    rng = np.random.default_rng(3)
    for name, many in (("a", 60), ("b", 40)):
        for row, col in {(int(rng.integers(40)), int(rng.integers(50))) for _ in range(many)}:
            points.add(name, row, col, int(rng.integers(3)))
    return tmp_path, points.table, codes


def test_points_are_where_they_were_clicked(clicked):
    folder, table, codes = clicked
    paths = {name: folder / f"{name}.tif" for name in "ab"}
    said = np.array([codes[point.scene][point.row, point.col] for point in table.itertuples()])
    expected = sik.evaluate(said[None], table.code.to_numpy(np.uint8)[None])
    found = sik.evaluate(paths, folder / "points.geojson")
    assert found.pop("left_out") == {"outside": 0, "no_data": (said == 255).sum(), "other_scene": 0}
    assert found == expected
    # By the file's name, or as arrays, which are on no map, by row and column.
    for given in (list(paths.values()), codes):
        assert sik.evaluate(given, folder / "points.geojson")["confusion"] == expected["confusion"]
    # One of two scenes: never the points of the other, though they lie in it.
    alone = sik.evaluate(paths["b"], folder / "points.geojson")
    mine = (table.scene == "b") & (said != 255)
    assert alone["pixels"] == mine.sum() and alone["left_out"]["other_scene"] == (table.scene == "a").sum()
    # On another grid the coordinates count: from a corner of the scene, in another projection.
    window = codes["a"][5:35, 10:]
    place = GRID * rasterio.Affine.translation(10, 15)
    part = sik.evaluate({"a": written(folder / "part.tif", window, place)}, folder / "points.geojson")
    inside = (table.scene == "a") & (table.row >= 5) & (table.row < 35) & (table.col >= 10)
    assert part["pixels"] == (inside & (said != 255)).sum()
    assert part["left_out"]["outside"] == ((table.scene == "a") & ~inside).sum()


def test_points_with_classes_of_their_own_and_broken_ones(clicked):
    folder, table, codes = clicked
    content = json.loads((folder / "points.geojson").read_text())
    for feature in content["features"]:
        del feature["properties"]["code"]
    path = folder / "named.json"

    def scored(**more):
        path.write_text(json.dumps(content))
        return sik.evaluate({name: folder / f"{name}.tif" for name in "ab"}, path, **more)

    expected = sik.evaluate(codes, folder / "points.geojson")
    assert scored() == expected
    seen = scored(classes={"open water": 0, "thin ice": 2})
    said = np.array([codes[point.scene][point.row, point.col] for point in table.itertuples()])
    assert seen["unmapped"] == {"thick ice": ((table.code == 2) & (said != 255)).sum()}
    assert seen["confusion"][1] == [0, 0, 0] and seen["confusion"][2] == expected["confusion"][1]
    first = content["features"][0]
    for change, message in (
        ({"properties": {**first["properties"], "class": "slush"}}, "'slush' is not in the legend"),
        ({"properties": {"scene": "a", "row": 1, "col": 1}}, "feature 0 has neither code nor class"),
        ({"properties": {"scene": "a", "class": "thin ice"}, "geometry": None}, "feature 0 has no place"),
        (
            {"geometry": {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}},
            "feature 0 is not a single point",
        ),
    ):
        content["features"][0] = first | change
        with pytest.raises(sik.InputError, match=message):
            scored()
    content["features"] = []
    with pytest.raises(sik.InputError, match="their scenes are none"):
        scored()
    with pytest.raises(sik.InputError, match="no prediction has such a name"):
        sik.evaluate({"x": codes["a"], "y": codes["b"]}, folder / "points.geojson")
    with pytest.raises(sik.InputError, match="no names for the points"):
        sik.evaluate([codes["a"], codes["b"]], folder / "points.geojson")
