"""Interactive maps, pages and figures against truth from elsewhere.

Pyproj, rasterio's warp, the file itself.
"""

import json
import re
import subprocess
import sys

import cv2
import numpy as np
import pyproj
import pytest
import rasterio
import requests
from conftest import write_tiff

import seaicekit as sik
from seaicekit import maps, scenes
from seaicekit.classes import LEGEND, SeaIceClass
from seaicekit.maps import annotations, layers, polar, server

CODES = np.random.default_rng(1).integers(0, 3, (60, 80)).astype(np.uint8)
CODES[:6] = 255


def write_codes(path, crs="EPSG:3413", x=600_000, y=-900_000, size=500, codes=CODES, **more):
    scenes.write_classes(path, codes, crs, rasterio.Affine(size, 0, x, 0, -size, y), **more)
    return path


def answer(view, name, crs, longitude, latitude, zoom):
    """Fetch the tile a place is on, as a browser would; return it (RGBA) and the place's row and column."""
    x, y = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(longitude, latitude)
    half = 8388608
    pixel = 2 * half / 256 / 2**zoom
    across, down = (x + half) / pixel, (half - y) / pixel
    layer = next(layer for layer in view.layers if layer.name == name)
    address = layer.url.format(z=zoom, x=int(across // 256), y=int(down // 256))
    got = requests.get(address, timeout=30)
    tile = cv2.imdecode(np.frombuffer(got.content, np.uint8), cv2.IMREAD_UNCHANGED)[..., [2, 1, 0, 3]]
    return tile, int(down % 256), int(across % 256), pixel


def test_tiles_show_each_pixel_where_it_lies(tmp_path):
    path = write_codes(tmp_path / "map.tif")
    view = maps.interactive({"map": path}, basemap=False)
    back = pyproj.Transformer.from_crs("EPSG:3413", "EPSG:4326", always_xy=True)
    for row, col in ((10, 3), (30, 41), (55, 77), (2, 40)):
        lon, lat = back.transform(600_000 + 500 * (col + 0.5), -900_000 - 500 * (row + 0.5))
        tile, down, across, _ = answer(view, "map", "EPSG:3413", lon, lat, 13)
        code = CODES[row, col]
        expected = (0, 0, 0, 0) if code == 255 else (*LEGEND[code].rgb, 255)
        assert tuple(tile[down, across]) == expected, (row, col)
    far, *_ = answer(view, "map", "EPSG:3413", 100, 75, 9)
    assert not far.any()


def test_tiles_agree_with_rasterios_warp_across_180(small):
    """The raster is in another projection (EPSG:3976) than the map, and lies on 180°."""
    crs, rng = "EPSG:3031", np.random.default_rng(0)
    codes = cv2.resize(
        rng.integers(0, 3, (8, 8)).astype(np.uint8), (400, 400), interpolation=cv2.INTER_NEAREST
    )
    path = small[0] / "across.tif"
    write_codes(path, "EPSG:3976", -20_000, -1_500_000, 100, codes)
    view = maps.interactive({"map": path}, basemap=False)
    zoom = 11
    for x in (5000, -5000):
        lon, lat = pyproj.Transformer.from_crs("EPSG:3976", "EPSG:4326", always_xy=True).transform(
            x, -1_520_000
        )
        tile, *_, pixel = answer(view, "map", crs, lon, lat, zoom)
        half = 8388608
        x, y = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
        corner = (
            (x + half) // (256 * pixel) * 256 * pixel - half,
            half - (half - y) // (256 * pixel) * 256 * pixel,
        )
        expected = np.full((256, 256), 255, np.uint8)
        with rasterio.open(path) as source:
            rasterio.warp.reproject(
                rasterio.band(source, 1),
                expected,
                dst_crs=crs,
                dst_nodata=255,
                dst_transform=rasterio.Affine(pixel, 0, corner[0], 0, -pixel, corner[1]),
            )
        painted = np.append(view._layers[0].palette[:255], [[0, 0, 0]], axis=0)[expected]
        assert (expected != 255).mean() > 0.1
        assert (tile[..., :3] == painted).all(axis=2).mean() > 0.995  # edges may fall on the other side


def test_areas_are_those_on_the_ellipsoid(tmp_path):
    """Against the areal scale of the projection, and for degrees against the ellipsoid's own formula."""
    whole = np.zeros((100, 100), np.uint8)
    path = write_codes(tmp_path / "low.tif", "EPSG:3413", 2_500_000, 200_000, 5000, whole)
    x = 2_500_000 + 5000 * (np.arange(100) + 0.5)
    lon, lat = pyproj.Transformer.from_crs("EPSG:3413", "EPSG:4326", always_xy=True).transform(
        *np.meshgrid(x, 200_000 - 5000 * (np.arange(100) + 0.5))
    )
    true = (25 / pyproj.Proj("EPSG:3413").get_factors(lon, lat).areal_scale).sum()
    layer = layers.open_layers(path)[0]
    assert (
        annotations.measure([layer])[0].areas[0] == pytest.approx(true, rel=1e-4)
        and abs(true / 250_000 - 1) > 0.03
    )
    path = tmp_path / "degrees.tif"
    scenes.write_classes(path, whole, "EPSG:4326", rasterio.Affine(0.1, 0, 10, 0, -0.1, 85))
    geod = pyproj.Geod(ellps="WGS84")
    edge = np.linspace(10, 20, 2000)  # parallels are no geodesics, so short steps
    ring = np.concatenate([edge, edge[::-1]]), np.repeat([75.0, 85.0], 2000)
    assert annotations.measure(layers.open_layers(path))[0].areas[0] == pytest.approx(
        abs(geod.polygon_area_perimeter(*ring)[0]) / 1e6, rel=1e-4
    )


def test_area_counts_each_class_and_ice_concentration(tmp_path):
    (_, areas, ice), *_ = annotations.measure(layers.open_layers(write_codes(tmp_path / "map.tif")))
    counts = np.bincount(CODES[CODES != 255])
    np.testing.assert_allclose(
        np.array(list(areas.values())) / sum(areas.values()), counts / counts.sum(), rtol=1e-3
    )
    assert ice == pytest.approx(counts[1:].sum() / counts.sum(), rel=1e-3)


def test_a_rasters_own_classes_are_shown(tmp_path):
    legend = [SeaIceClass(code, f"kind {code} <b>", f"#{40 * code:02x}8040") for code in range(5)]
    codes = np.arange(5, dtype=np.uint8).repeat(20).reshape(10, 10)
    path = write_codes(tmp_path / "own.tif", codes=codes, legend=legend)
    view = maps.interactive({"map": path}, basemap=False)
    assert view._layers[0].legend == tuple(legend)
    text = annotations.legend_html(view._layers)
    assert all(f"kind {code} &lt;b&gt;" in text and f"#{40 * code:02x}8040" in text for code in range(5))
    assert "concentration" not in text  # nothing is called water


def test_click_shows_the_values_of_all_layers(tmp_path):
    bands = np.random.default_rng(3).integers(1, 10_000, (4, 60, 80)).astype(np.uint16)
    grid = {"crs": "EPSG:3413", "transform": rasterio.Affine(500, 0, 600_000, 0, -500, -900_000)}
    scene = f"{write_tiff(tmp_path / 'scene.tif', bands, **grid)}#bands=3,2,1&quantification=10000"
    label = write_codes(tmp_path / "label.tif")
    sure = np.random.default_rng(4).integers(33, 101, (60, 80)).astype(np.uint8)
    scenes.write_confidence(tmp_path / "sure.tif", sure, **grid)
    view = maps.interactive(
        {"scene": scene, "label": label, "confidence": tmp_path / "sure.tif"}, basemap=False
    )
    assert [layer.kind for layer in view._layers] == ["scene", "classes", "confidence"]
    back = pyproj.Transformer.from_crs("EPSG:3413", "EPSG:4326", always_xy=True)
    for row, col in ((20, 30), (3, 70), (59, 0)):
        lon, lat = back.transform(600_000 + 500 * (col + 0.5), -900_000 - 500 * (row + 0.5))
        view._handle_event(type="click", coordinates=[lat, lon])
        brightness = sik.scenes.to_8bit(bands[:3, row, col]).max()
        name = "no data" if CODES[row, col] == 255 else LEGEND[CODES[row, col]].name
        for text in (
            f"<b>brightness {brightness}</b>",
            f"<b>{name}</b>",
            f"<b>{sure[row, col]} %</b>",
            f"{lat:.4f}° N",
        ):
            assert text in view._values.value
    utm = layers.open_layers({"scene": write_tiff(tmp_path / "utm.tif", bands[:3].astype(np.uint8))})[0]
    assert utm.describe(-100, -60) == "no data"
    view._handle_event(type="click", coordinates=[70, 10])
    assert view._values.value.count("no data") == 3
    tile, down, across, _ = answer(view, "scene", "EPSG:3413", lon, lat, 13)
    np.testing.assert_allclose(tile[down, across, :3], sik.scenes.to_8bit(bands[[2, 1, 0], 59, 0]), atol=40)


def test_layers_legend_points_and_swipe(small, tmp_path):
    import leafmap

    _, labelled, _ = small
    scene, label = labelled.path[0], labelled.labels[0]
    spot = {
        "type": "Feature",
        "properties": {"class": "thick ice", "by": "<i>me</i>"},
        "geometry": {"type": "Point", "coordinates": [-172.5, -79.2]},
    }
    nowhere = spot | {"geometry": None}
    (tmp_path / "points.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": [spot, nowhere]})
    )
    view = maps.interactive(
        {"scene": scene, "label": label}, points=tmp_path / "points.geojson", basemap=False
    )
    names = [layer.name for layer in view.layers]
    assert isinstance(view, leafmap.Map) and names.index("scene") < names.index("label") < names.index(
        "points"
    )
    assert view.crs["name"] == "EPSG:3031"
    spots = next(layer for layer in view.layers if layer.name == "points")
    assert spots.data["features"][0]["properties"]["style"]["fillColor"] == LEGEND[2].colour
    view._handle_event(type="click", coordinates=[-79.21, -172.5])
    assert "class: thick ice" not in view._values.value
    view._handle_event(type="click", coordinates=[-79.2, -172.5 + 360])
    assert "class: thick ice" in view._values.value and "&lt;i&gt;" in view._values.value
    view.add_marker([-79, -172], name="mine")
    view._left.value, view._right.value = "scene", "label"
    assert {"scene", "label"}.isdisjoint(layer.name for layer in view.layers) and view._swipe in view.controls
    view._left.value = ""
    assert {"scene", "label", "mine"} <= {layer.name for layer in view.layers} and view._swipe is None
    (tmp_path / "point.geojson").write_text('{"type": "Point"}')
    with pytest.raises(sik.InputError, match="GeoJSON"):
        maps.interactive({"scene": scene}, points=tmp_path / "point.geojson", basemap=False)


def test_only_registered_layers_are_served(tmp_path):
    path = write_codes(tmp_path / "map.tif")
    view = maps.interactive({"map": path}, basemap=False)
    base, token = re.match(r"(http://127\.0\.0\.1:\d+/)api/tiles/([^/]+)/", view._tiles["map"].url).groups()
    assert requests.get(f"{base}api/tiles/{token}/EPSG3413/0/0/0.png", timeout=9).status_code == 200
    for wrong in (
        f"x{token}/EPSG3413/0/0/0.png",
        f"{token}/EPSG4326/0/0/0.png",
        f"{token}/EPSG3413/99/0/0.png",
        f"{path}/EPSG3413/0/0/0.png",
        f"%2e%2e{path}",
    ):
        assert requests.get(f"{base}api/tiles/{wrong}", timeout=9).status_code == 404
    assert (
        requests.get(base, timeout=9, headers={"Origin": "http://x"}).headers["access-control-allow-origin"]
        == "*"
    )


def test_tiles_are_below_the_hubs_prefix_or_direct(monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/some one/")
    assert server.address(8765) == "/user/some one/proxy/8765/"
    monkeypatch.delenv("JUPYTERHUB_SERVICE_PREFIX")
    monkeypatch.setattr(server, "parent", lambda: None)
    assert server.address(8765) == "http://127.0.0.1:8765/"
    gone = {"base_url": "/a/", "url": "http://127.0.0.1:9/a/", "token": "t", "pid": 1}
    monkeypatch.setattr(server, "parent", lambda: gone)
    assert server.address(8765) == "/a/proxy/8765/"
    plain = gone | {"url": f"http://127.0.0.1:{server.port()}/"}  # answers, but passes nothing on
    monkeypatch.setattr(server, "parent", lambda: plain)
    assert server.address(8765) == "http://127.0.0.1:8765/"


@pytest.mark.parametrize(("crs", "y"), [("EPSG:3413", -900_000), ("EPSG:3031", 900_000)])
def test_basemap_is_asked_for_in_the_maps_projection(tmp_path, crs, y):
    view = maps.interactive({"map": write_codes(tmp_path / "map.tif", crs, y=y)})
    basemap = next(layer for layer in view.layers if layer.name == "basemap")
    assert f"epsg{crs[-4:]}" in basemap.url and basemap.crs == view.crs and basemap.crs["name"] == crs
    assert "GIBS" in basemap.attribution
    assert "basemap" not in [
        each.name for each in maps.interactive(tmp_path / "map.tif", basemap=False).layers
    ]


def test_undeclared_black_border_is_transparent(tmp_path):
    bands = np.full((3, 50, 50), 90, np.uint8)
    bands[:, :, :20] = 0
    path = write_tiff(tmp_path / "wedge.tif", bands)
    layer = layers.open_layers({"scene": path})[0]
    image = layer.image(layer.bounds, "EPSG:32758", (50, 50))
    assert image[25, 5, 3] == 0 and tuple(image[25, 40]) == (90, 90, 90, 255)
    (lon,), (lat,) = rasterio.warp.transform("EPSG:32758", "EPSG:4326", [500_050], [1_599_750])
    assert layer.describe(lon, lat) == "no data"


def test_larger_scenes_are_decimated_and_stay_in_place(tmp_path, monkeypatch):
    monkeypatch.setattr(layers, "MOST_PIXELS", 64)
    bands = (
        np.random.default_rng(2).integers(1, 255, (3, 20, 20)).astype(np.uint8).repeat(10, 1).repeat(10, 2)
    )
    nodata = np.zeros((200, 200), bool)
    nodata[:, 150:] = True
    bands[:, nodata] = 0
    layer = layers.open_layers({"scene": write_tiff(tmp_path / "large.tif", bands, nodata=0)})[0]
    assert layer.memory is not None
    image = layer.image(layer.bounds, "EPSG:32758", (200, 200))
    assert (image[5::10, 5:150:10, :3].transpose(2, 0, 1) == bands[:, 5::10, 5:150:10]).mean() > 0.6
    np.testing.assert_array_equal(image[5::10, 5::10, 3] == 0, nodata[5::10, 5::10])


def test_rasters_that_no_map_shows_are_refused(small, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((20, 20, 3), 90, np.uint8))
    north, south = write_codes(tmp_path / "n.tif"), small[1].labels[0]
    for make in (
        maps.interactive,
        *(
            (lambda made: lambda *a, **k: made(a[0], tmp_path / "x.out", **k))(m)
            for m in (maps.save_html, maps.save_png)
        ),
    ):
        with pytest.raises(sik.InputError, match=r"no CRS.*maps\.panels"):
            make({"scene": tmp_path / "a.png"})
        with pytest.raises(sik.InputError, match="north of the equator"):
            make({"a": north, "b": south})
        with pytest.raises(sik.InputError, match="no layer"):
            make({})
        with pytest.raises(sik.InputError, match=r"missing\.tif"):
            make({"a": tmp_path / "missing.tif"})
    (tmp_path / "broken.tif").write_bytes(north.read_bytes()[:100])
    with pytest.raises(sik.InputError, match=r"broken\.tif"):
        maps.interactive({"a": tmp_path / "broken.tif"})
    assert not (tmp_path / "x.out").exists()


def test_tiles_reach_the_ice_of_low_latitudes(tmp_path):
    """Of the Bohai Sea, at 39° N."""
    codes = np.ones((60, 80), np.uint8)
    path = write_codes(tmp_path / "low.tif", "EPSG:32650", 700_000, 4_320_000, 500, codes)
    view = maps.interactive({"map": path}, basemap=False)
    (lon,), (lat,) = rasterio.warp.transform("EPSG:32650", "EPSG:4326", [720_000], [4_305_000])
    tile, down, across, _ = answer(view, "map", "EPSG:3413", lon, lat, 11)
    assert tuple(tile[down, across]) == (*LEGEND[1].rgb, 255)


def test_page_loads_nothing_from_other_servers(small, tmp_path):
    _, labelled, _ = small
    made = {"<script>alert(1)</script>": labelled.path[0], "label": labelled.labels[0]}
    maps.save_html(made, tmp_path / "deep" / "map.html", title="<b>T</b>")
    page = (tmp_path / "deep" / "map.html").read_text()
    assert not re.findall(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert "<script>alert(1)" not in page and "<b>T</b>" not in page and str(tmp_path) not in page


def test_figure_shows_each_class_where_it_lies(tmp_path):
    codes = np.zeros((40, 40), np.uint8)
    codes[:20, 20:], codes[20:] = 1, 2
    path = write_codes(tmp_path / "map.tif", size=2000, codes=codes)
    assert (
        maps.save_png({"map": path}, tmp_path / "deep" / "map.png", title="$x_")
        == tmp_path / "deep" / "map.png"
    )
    image = cv2.imread(str(tmp_path / "deep" / "map.png"))[..., ::-1]
    assert min(image.shape[:2]) > 900
    panel = image[:, : int(image.shape[1] * 0.6)].astype(int)
    middles = []
    for entry in LEGEND:
        rows, cols = np.nonzero(np.abs(panel - entry.rgb).max(axis=2) <= 2)
        assert len(rows) > 20_000
        middles.append((rows.mean(), cols.mean()))
    assert middles[0][1] < middles[1][1] and middles[2][0] > max(middles[0][0], middles[1][0])


def test_scale_bar_is_true():
    frame = 2_400_000, -100_000, 2_600_000, 100_000
    length, drawn = polar.scale_bar("EPSG:3413", frame)
    back = pyproj.Transformer.from_crs("EPSG:3413", "EPSG:4326", always_xy=True)
    ends = [back.transform(2_500_000, y) for y in (-drawn / 2, drawn / 2)]
    metres = pyproj.Geod(ellps="WGS84").inv(*ends[0], *ends[1])[2]
    assert metres == pytest.approx(length * 1000, rel=1e-3) and abs(drawn / metres - 1) > 0.005


def test_importing_maps_stays_light():
    heavy = "leafmap", "bokeh", "rio_tiler", "starlette"
    code = f"import sys, seaicekit.maps; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_points_of_a_file_in_another_crs_lie_where_they_are(tmp_path):
    features = [
        {
            "type": "Feature",
            "properties": {"class": ["a"]},
            "geometry": {"type": "Point", "coordinates": [605000, -905000]},
        },
        {"type": "Feature", "properties": {}, "geometry": None},
    ]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3413"}}
    file = tmp_path / "points.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    points = annotations.load_points(file, [])
    expected = pyproj.Transformer.from_crs("EPSG:3413", "EPSG:4326", always_xy=True).transform(
        605000, -905000
    )
    assert [(point.longitude, point.latitude) for point in points] == [pytest.approx(expected)]


def test_a_copy_of_a_scene_has_no_edge_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(layers, "MOST_PIXELS", 64)
    path = write_tiff(tmp_path / "a.tif", np.full((3, 193, 193), 900, np.uint16))
    with sik.scenes.open_reader(path) as reader, layers._copy(reader) as memory, memory.open() as copy:
        assert (copy.read(4) == 255).all()


def test_closed_map_is_not_served(small):
    before = len(server.served)
    view = maps.interactive({"label": small[1].labels[0]}, basemap=False)
    assert len(server.served) == before + 1
    view.close()
    assert len(server.served) == before
