import errno
import json
import os

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from conftest import picture, write_tiff
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import seaicekit as sik
from seaicekit import scenes, thresholds
from seaicekit.thresholds import ReferencePoints
from seaicekit.thresholds.points import Point

# (CRS, x and y of the upper left corner, pixel size): one of them straddles 180 degrees.
PLACES = (
    ("EPSG:32758", 500_000, 1_600_000, 10),
    ("EPSG:32701", 210_000, 1_900_000, 10),
    ("EPSG:3413", -400_000, -900_000, 250),
    ("EPSG:3413", -2_000, 2_000, 250),  # the pole
    ("EPSG:3031", -350_000, -1_300_000, 10),
    ("EPSG:4326", 179.999, 71.0, 0.0001),
    ("EPSG:4326", -180.001, -70.0, 0.0001),
    ("EPSG:3832", -3_000_000, 8_000_000, 10),
)
FLAT = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def pair(tmp_path):
    """Two scenes side by side, 20 x 30 pixels, the first with two columns of no data: name -> path."""
    noise = np.random.default_rng(3).integers(1, 256, (2, 3, 20, 30)).astype(np.uint8)
    noise[0, :, :, :2] = 0
    noise[1, :, 5, 5] = 0  # dark water, not no data
    grids = [Affine(10, 0, 500_000 + shift, 0, -10, 1_600_000) for shift in (0, 300)]
    return {
        name: write_tiff(tmp_path / f"{name}.tif", bands, transform=grid)
        for name, bands, grid in zip("ab", noise, grids, strict=True)
    }


def collection(*features, **members):
    return json.dumps({"type": "FeatureCollection", "features": features, **members})


def feature(lon, lat, **properties):
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [lon, lat]},
        "properties": properties,
    }


def lonlat(path, row, col):
    """Longitude and latitude of a pixel's centre, by rasterio and pyproj alone."""
    with rasterio.open(path) as source:
        return pyproj.Transformer.from_crs(source.crs, "EPSG:4326", always_xy=True).transform(
            *source.xy(row, col)
        )


@FLAT
@given(st.data())
def test_points_come_back_and_lie_in_their_pixels_for_another_library(tmp_path, data):
    crs, x, y, size = data.draw(st.sampled_from(PLACES))
    turn, skew = data.draw(st.sampled_from([0, 0, 33, -170])), data.draw(st.sampled_from([0, 0, 21]))
    grid = Affine.translation(x, y) @ Affine.rotation(turn) @ Affine.shear(skew) @ Affine.scale(size, -size)
    rows, cols = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    path = write_tiff(tmp_path / "a.tif", np.full((3, rows, cols), 9, np.uint8), crs=crs, transform=grid)
    clicks = st.tuples(st.integers(0, rows - 1), st.integers(0, cols - 1), st.integers(0, 2))
    clicked = {(row, col): code for row, col, code in data.draw(st.lists(clicks, min_size=1, max_size=12))}
    made = ReferencePoints(path)
    for (row, col), code in clicked.items():
        assert made.add("a", row, col, code) == Point("a", row, col, code)
    made.save(tmp_path / "p.geojson")
    again = ReferencePoints({"a": path})
    assert again.load(tmp_path / "p.geojson").startswith(f"loaded {len(clicked)} point")
    assert list(again) == list(made) == [Point("a", *at, code) for at, code in clicked.items()]
    frame = geopandas.read_file(tmp_path / "p.geojson")
    assert frame.crs.to_epsg() == 4326 and frame.geometry.x.abs().max() <= 180
    there = frame.to_crs(crs).geometry
    for (row, col), found in zip(clicked, there, strict=True):
        turns = (0, 360, -360) if crs == "EPSG:4326" else (0,)
        near = [np.subtract(~grid @ (found.x + each, found.y), (col + 0.5, row + 0.5)) for each in turns]
        assert min(np.abs(each).max() for each in near) < 0.01
    # The coordinates alone, in this CRS or in longitude and latitude, say the same.
    for bare in (frame[["class", "geometry"]], frame[["code", "geometry"]].to_crs(crs)):
        (tmp_path / "bare.geojson").unlink(missing_ok=True)
        bare.to_file(tmp_path / "bare.geojson", driver="GeoJSON")
        foreign = ReferencePoints(path)
        foreign.load(tmp_path / "bare.geojson")
        assert not foreign.unplaced and list(foreign) == list(made)


STEPS = st.one_of(
    st.tuples(st.just("add"), st.sampled_from("ab"), st.integers(0, 2), st.integers(2, 4), st.integers(0, 2)),
    st.tuples(st.just("remove"), st.integers(0, 9)),
    st.tuples(st.sampled_from(["undo", "undo", "redo", "clear", "load", "replace", "restart"])),
)


@FLAT
@given(st.lists(STEPS, max_size=25))
def test_changes_undo_redo_and_restarts_are_those_of_a_list_of_states(pair, tmp_path, steps):
    path, other = tmp_path / "auto.geojson", tmp_path / "other.geojson"
    path.unlink(missing_ok=True)
    other.write_text(collection(feature(*lonlat(pair["b"], 7, 7), code=2), feature(0, 0, code=1)))
    made, states, now, away = ReferencePoints(pair, path), [{}], 0, [0]
    for what, *how in steps:
        after, lost = dict(states[now]), away[now]
        if what == "add":
            scene, row, col, code = how
            made.add(scene, row, col, code)
            after[scene, row, col] = code
        elif what == "remove":
            keys = [*after, ("a", 19, 29)]
            key = keys[how[0] % len(keys)]
            assert made.remove(Point(*key, 0)) == (key in after)
            after.pop(key, None)
        elif what == "clear":
            assert made.clear() == bool(after)
            after = {}
        elif what in ("load", "replace"):
            assert made.load(other, what == "replace") == made.message
            assert made.message.startswith("loaded 1 point; 1 not used: 1 outside the scenes")
            after, lost = ({} if what == "replace" else after) | {("b", 7, 7): 2}, 1
        elif what == "restart":
            made, states, now, away = ReferencePoints(pair, path), [after], 0, [lost]
        else:
            ahead = now + (1 if what == "redo" else -1)
            possible = 0 <= ahead < len(states)
            assert getattr(made, what)() == possible
            now = ahead if possible else now
            after, lost = states[now], away[now]
        if (after, lost) != (states[now], away[now]):
            states, away, now = [*states[: now + 1], after], [*away[: now + 1], lost], now + 1
        assert list(made) == [Point(*key, code) for key, code in after.items()] and len(made) == len(after)
        assert len(made.unplaced) == lost
        if path.exists():
            saved = json.loads(path.read_text())["features"]
            found = [each["properties"] for each in saved if "scene" in each["properties"]]
            assert {(each["scene"], each["row"], each["col"]): each["code"] for each in found} == after
            assert len(saved) == len(after) + lost
        else:
            assert not after


def test_pixels_and_table_are_those_of_the_scenes(pair, tmp_path, monkeypatch):
    made = ReferencePoints(pair)
    empty = made.pixels()
    assert (empty[0].shape, empty[0].dtype, empty[1].dtype) == (
        (0, 3),
        np.uint8,
        np.uint8,
    ) and made.table.empty
    for scene, row, col, code in (("a", 0, 2, 0), ("b", 5, 5, 1), ("a", np.int64(19), 29, 2), ("a", 0, 2, 1)):
        made.add(scene, row, col, code)
    assert len(made) == 3 and not list(tmp_path.glob("*json"))
    monkeypatch.setattr(
        "seaicekit.thresholds.pixels.open_reader", None
    )  # what was once read is not read again
    made.undo(), made.redo()
    rgb, codes = made.pixels()
    expected = {name: rasterio.open(path).read() for name, path in pair.items()}
    assert codes.tolist() == [1, 1, 2] == made.table["code"].tolist()
    np.testing.assert_array_equal(rgb, [expected[each.scene][:, each.row, each.col] for each in made])
    assert made.pixels("b")[0].tolist() == [[0, 0, 0]] and len(made.pixels(["a", "b"])[1]) == 3
    table = made.table
    assert table.columns.tolist() == ["scene", "row", "col", "code", "class", "lon", "lat"]
    assert table["class"].tolist() == ["thin ice", "thin ice", "thick ice"]
    for each in table.itertuples():
        assert (each.lon, each.lat) == pytest.approx(lonlat(pair[each.scene], each.row, each.col), abs=1e-8)
    assert made.add("b", 1, 1, 0, rgb=np.array([7, 8, 9], np.uint8)) and made.pixels("b")[0][-1].tolist() == [
        7,
        8,
        9,
    ]
    with pytest.raises(sik.InputError, match="rgb"):
        made.add("b", 1, 2, 0, rgb=[7, 8, 900])


def test_clicks_that_cannot_be_points(pair, tmp_path):
    pair["torn"] = tmp_path / "none.tif"
    made = ReferencePoints(pair, tmp_path / "p.geojson")
    for click, told in (
        (("a", 20, 5, 1), r"a: row 20, column 5 is outside its 20 x 30"),
        (("a", 5, -1, 1), "outside"),
        (("a", 5, 1, 1), "on no data"),
        (("a", 5, 5, 3), r"no class 3.*thin ice"),
        (("a", 5, 5, 255), "no class 255"),
        (("c", 5, 5, 1), "'c'.*not among the scenes a, b"),
        (("a", 5.5, 5, 1), "whole numbers"),
        (("torn", 5, 5, 1), r"none\.tif: no such file"),
    ):
        with pytest.raises(sik.InputError, match=told):
            made.add(*click)
    assert not len(made) and not made.undo() and not (tmp_path / "p.geojson").exists()
    with pytest.raises(sik.InputError, match="path"):
        ReferencePoints(pair).save()
    ponds = thresholds.Thresholds(ranges=(thresholds.Range(7, "melt pond", "#3a7bd5"),)).legend
    assert ReferencePoints(pair, legend=ponds).add("a", 5, 5, 7).code == 7


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not JSON"),
        ('{"type": "FeatureColl', "not JSON"),
        ("[" * 100_000, "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        ("[]", "not a GeoJSON FeatureCollection"),
        ('{"features": {}}', "not a GeoJSON FeatureCollection"),
        (json.dumps(feature(1, 2)), "not a GeoJSON FeatureCollection"),
        (collection(3), "not a GeoJSON FeatureCollection"),
        (collection(crs={"type": "name", "properties": {"name": "EPSG:999999"}}), "CRS is unknown.*999999"),
        (collection(crs={"type": "link"}), "CRS is unknown"),
        (collection(crs=[1]), "CRS is unknown"),
        (collection(format="seaicekit-points-9"), "another version"),
    ],
)
def test_broken_files_are_named_and_left_as_they_are(pair, tmp_path, text, told):
    path = tmp_path / "p.geojson"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = path.read_bytes()
    with pytest.raises(sik.InputError, match=rf"p\.geojson: .*{told}.*rename"):
        ReferencePoints(pair, path)
    made = ReferencePoints(pair, tmp_path / "mine.geojson")
    made.add("a", 3, 3, 1)
    with pytest.raises(sik.InputError, match=rf"p\.geojson: .*{told}.*stay as they were") as error:
        made.load(path, replace=True)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before and list(made) == [Point("a", 3, 3, 1)]
    with pytest.raises(sik.InputError, match=r"none\.geojson: cannot be read"):
        made.load(tmp_path / "none.geojson")
    with pytest.raises(sik.InputError, match="cannot be read"):
        ReferencePoints(pair, tmp_path)


def test_what_cannot_be_used_is_told_and_kept(pair, tmp_path):
    pair["torn"] = tmp_path / "none.tif"
    here = lonlat(pair["a"], 4, 4)
    odd = [
        (feature(*lonlat(pair["a"], -3, 4), code=1), "outside the scenes"),
        (feature(*here, code=1, scene="b"), "outside the scenes"),
        (feature(*lonlat(pair["a"], 4, 0), code=1), "on no data"),
        (feature(*here, code=1, scene="elsewhere", row=1, col=1), "not among the scenes"),
        (feature(*here, code=1, scene=["a"]), "not among the scenes"),
        (feature(*here, code=1, scene="torn"), "no such file"),
        (feature(*here, code=9), "class 9"),
        (feature(*here, **{"class": "lead"}), "class 'lead'"),
        (feature(*here, code=True), "class True"),
        (feature(*here, code=1, **{"class": "thick ice"}), "disagree"),
        (feature(*here, note="\ud800"), "without a class"),
        ({"type": "Feature", "geometry": None, "properties": {"class": 1}}, "not a single point"),
        (feature(*here, code=1) | {"properties": None}, "without a class"),
        (feature(here[1] + 200, 95, code=1), "longitude and latitude"),
        (feature(None, 5, code=1), "longitude and latitude"),
        (feature("5", 5, code=1), "longitude and latitude"),
        (feature(10**400, 5, code=1), "longitude and latitude"),
        (
            feature([here], [here], code=1)
            | {"geometry": {"type": "LineString", "coordinates": [here, here]}},
            "point",
        ),
        (
            {"type": "Feature", "geometry": {"type": "Point"}, "properties": {"code": 0}},
            "longitude and latitude",
        ),
        ({}, "not a single point"),
    ]
    path = tmp_path / "p.geojson"
    path.write_text(collection(*(each for each, _ in odd), feature(*here, code=2, scene="a")))
    made = ReferencePoints(pair, path)
    assert list(made) == [Point("a", 4, 4, 2)]
    told = [reason for _, reason in made.unplaced]
    assert sorted(json.dumps(each) for each, _ in made.unplaced) == sorted(
        json.dumps(each) for each, _ in odd
    )
    for each, expected in odd:
        reason = next(reason for kept, reason in made.unplaced if json.dumps(kept) == json.dumps(each))
        assert expected in reason, (each, reason)
    assert made.message.startswith("loaded 1 point; 20 not used: ") and "1 on no data" in made.message, told
    made.add("b", 1, 1, 0)
    assert made.load(path) == made.message and len(made.unplaced) == len(
        odd
    )  # once, however often it is read
    kept = [json.dumps(each) for each in json.loads(path.read_text())["features"]]
    assert {json.dumps(json.loads(json.dumps(each))) for each, _ in odd} < set(kept) and len(kept) == len(
        odd
    ) + 2
    made.clear()
    write_tiff(pair["torn"], np.full((3, 20, 30), 9, np.uint8))
    made.load(path)
    assert list(made) == [Point("torn", 4, 4, 1)] and len(made.unplaced) == len(odd) - 1
    assert made.undo() and not len(made)
    again = ReferencePoints(pair, path)  # the scene is back, and so is its point
    assert list(again) == [Point("torn", 4, 4, 1)] and len(again.unplaced) == len(odd) - 1


def test_foreign_files(pair, tmp_path):
    path = tmp_path / "p.geojson"
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32758"}}
    far = {
        "type": "Polygon",
        "coordinates": [[[500_000, 1_700_000], [500_100, 1_700_000], [500_000, 1_700_100]]],
    }
    one = feature(500_045, 1_599_955, **{"class": "Thick_Ice", "who": "Ann"}) | {
        "id": 7,
        "bbox": [1, 2, 3, 4],
    }
    many = feature(0, 0, **{"class": "1"}) | {
        "geometry": {"type": "MultiPoint", "coordinates": [[500_300, 1_600_000]]}
    }
    features = [one, many, feature(500_049, 1_599_951, code=1.0), {"type": "Feature", "geometry": far}]
    for member in (crs, "EPSG:32758", {"type": "name", "properties": {"name": "EPSG:32758"}}):
        path.write_bytes(b"\xef\xbb\xbf" + collection(*features, crs=member).encode())
        made = ReferencePoints(pair, path)
        assert list(made) == [Point("a", 4, 4, 1), Point("b", 0, 0, 1)]
        assert made.message.endswith(
            "1 not used: 1 not a single point; 1 had another class before, the later one counts"
        )
    corner = made.unplaced[0][0]["geometry"]["coordinates"][0][
        0
    ]  # saved in degrees like all else in the file
    inverse = pyproj.Transformer.from_crs("EPSG:32758", "EPSG:4326", always_xy=True).transform(
        500_000, 1_700_000
    )
    assert corner == pytest.approx(inverse)
    path.write_text(collection(one, crs=crs)[:-1] + ', "extent": [NaN, 1e999]}')
    made = ReferencePoints(pair, path)
    made.add("a", 4, 4, 0)
    saved = json.loads(path.read_text())["features"][0]
    assert (
        saved["id"] == 7
        and saved["properties"]["who"] == "Ann"
        and saved["properties"]["class"] == "open water"
    )
    assert "bbox" not in saved and not made.load(path).endswith("counts") and made.undo() and not made.undo()


def test_a_changed_grid_and_scenes_without_a_place(pair, tmp_path):
    path = tmp_path / "p.geojson"
    made = ReferencePoints(pair["a"], path)
    made.add("a", 10, 12, 1)
    made.add("a", 0, 29, 2)
    # Cut and resampled, the same name: the coordinates say the pixel.
    write_tiff(
        pair["a"], np.full((3, 10, 20), 9, np.uint8), transform=Affine(5, 0, 500_100, 0, -5, 1_599_920)
    )
    again = ReferencePoints(pair["a"], path)
    assert list(again) == [Point("a", 5, 5, 1)] and again.unplaced[0][1] == "outside the scenes"
    text = collection(feature(*lonlat(pair["a"], 3, 3), code=1, scene="a", row=3.0, col="4"))
    path.write_text(text)  # within a pixel
    assert list(ReferencePoints(pair["a"], path)) == [Point("a", 3, 4, 1)]
    path.write_text(text.replace('"4"', '"7"'))
    assert list(ReferencePoints(pair["a"], path)) == [Point("a", 3, 3, 1)]
    picture(tmp_path / "plain.png")
    grey = np.full((3, 9, 9), 9, np.uint8)
    for name, scene in (
        ("plain", tmp_path / "plain.png"),
        ("local", write_tiff(tmp_path / "local.tif", grey, crs='LOCAL_CS["hall"]')),
        (
            "flat",
            write_tiff(tmp_path / "flat.tif", grey, transform=Affine(0, 0, 5, 0, 0, 5)),
        ),
    ):
        path.unlink(missing_ok=True)
        made = ReferencePoints(scene, path)
        made.add(name, 3, 8, 2)
        assert json.loads(path.read_text())["features"][0]["geometry"] is None
        assert list(ReferencePoints(scene, path)) == [Point(name, 3, 8, 2)] and made.table["lon"].isna().all()
        assert ReferencePoints(pair["b"], path).unplaced
        path.write_text(path.read_text().replace('"row": 3', '"row": 300'))
        assert ReferencePoints(scene, path).unplaced[0][1] == "outside the scenes"
        path.write_text(collection(feature(1, 2, scene=name, code=1)))
        assert ReferencePoints(scene, path).unplaced[0][1] == "in a scene without CRS"


def test_a_full_disk_loses_nothing(pair, tmp_path, monkeypatch):
    path = tmp_path / "p.geojson"
    made = ReferencePoints(pair, path)
    made.add("a", 3, 3, 1)
    before = path.read_bytes()
    for number in (errno.ENOSPC, errno.EACCES):

        def fail(*_, number=number):
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", fail)
            with pytest.raises(
                thresholds.UnsavedError, match=r"p\.geojson: cannot be written .*kept in memory"
            ):
                made.add("b", 4, 4, 2)
            with pytest.raises(thresholds.UnsavedError):
                made.undo()
            assert len(made) == 1
            with pytest.raises(thresholds.UnsavedError):
                made.redo()
            with pytest.raises(sik.InputError, match="cannot be written"):
                made.save()
        assert list(made) == [Point("a", 3, 3, 1), Point("b", 4, 4, 2)]
        assert path.read_bytes() == before and not list(tmp_path.glob(".partial*"))
        assert list(ReferencePoints(pair, path)) == [Point("a", 3, 3, 1)]
        assert made.undo() and list(ReferencePoints(pair, path)) == list(made)
        before = path.read_bytes()
    (tmp_path / "file").write_text("")
    made = ReferencePoints(pair, tmp_path / "new" / "p.geojson")
    (tmp_path / "new").write_text("")  # a file where the folder should be
    with pytest.raises(thresholds.UnsavedError, match="kept in memory"):
        made.add("a", 3, 3, 1)
    made.save(tmp_path / "other.geojson")
    assert list(ReferencePoints(pair, tmp_path / "other.geojson")) == list(made)


def test_two_notebooks_do_not_overwrite_each_other(pair, tmp_path, monkeypatch):
    path = tmp_path / "p.geojson"
    one, two = ReferencePoints(pair, path), ReferencePoints(pair, path)
    one.add("a", 3, 3, 1)
    with pytest.raises(thresholds.UnsavedError, match="changed by another program"):
        two.add("b", 4, 4, 2)
    assert len(ReferencePoints(pair, path)) == 1
    monkeypatch.chdir(tmp_path)
    two.load("p.geojson")
    assert len(two) == 2 and list(ReferencePoints(pair, path)) == list(two)
    path.unlink()
    two.add("b", 4, 5, 2)
    assert len(ReferencePoints(pair, path)) == 3


def test_real_scenes_by_coordinates(modis, tmp_path):
    paths, rng, features, wanted = scenes.name_scenes(modis), np.random.default_rng(8), [], {}
    for name, path in paths.items():
        with scenes.open_reader(path) as reader:
            bands, nodata = reader.read()
        rows, cols = np.nonzero(~nodata)
        for at in rng.integers(0, len(rows), 6):
            row, col = int(rows[at]), int(cols[at])
            wanted[name, row, col] = bands[:, row, col].tolist()
            features.append(feature(*lonlat(path, row, col), code=at % 3, scene=name))
        features.append(feature(0, 0, code=1, scene=name))
    path = tmp_path / "p.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}, default=int))
    made = ReferencePoints(modis, path)
    colours = zip(made, made.pixels()[0].tolist(), strict=True)
    assert {(each.scene, each.row, each.col): rgb for each, rgb in colours} == wanted
    assert (
        made.message == f"loaded {len(wanted)} points; {len(paths)} not used: {len(paths)} outside the scenes"
    )
    for each in features:
        del each["properties"]["scene"]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}, default=int))
    made = ReferencePoints(modis, path)
    assert len(made) > 0
    for each in made:  # in the first scene that holds the place
        place = lonlat(paths[each.scene], each.row, each.col)
        for name in list(paths)[: list(paths).index(each.scene)]:
            with rasterio.open(paths[name]) as source:
                inverse = pyproj.Transformer.from_crs("EPSG:4326", source.crs, always_xy=True).transform(
                    *place
                )
                row, col = source.index(*inverse)
                assert not (0 <= row < source.height and 0 <= col < source.width)
