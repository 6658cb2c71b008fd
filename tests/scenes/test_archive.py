"""Search and fetch, against a STAC API that runs here."""

import datetime as dt
import functools
import http.server
import json
import math
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import rasterio.warp
import requests
import shapely
from conftest import Ranged
from rasterio.vrt import WarpedVRT

import seaicekit as sik
from seaicekit import scenes
from seaicekit.scenes import archive as stac


def item(name, box, day, cloud, collection="ice", **properties):
    west, south, east, north = box
    taken = dt.datetime(2019, 11, day, 20, 30, tzinfo=dt.UTC)
    properties |= {} if cloud is None else {"eo:cloud_cover": cloud}
    ring = shapely.geometry.mapping(shapely.box(*box))
    return pystac.Item(name, ring, [west, south, east, north], taken, properties, collection=collection)


def describe(name, files, kind, **properties):
    """Turn real files into an item: common name → file."""
    with rasterio.open(next(iter(files.values()))) as source:
        box = rasterio.warp.transform_bounds(source.crs, "EPSG:4326", *source.bounds)
        corners = rasterio.warp.transform_geom(
            source.crs, "EPSG:4326", shapely.geometry.mapping(shapely.box(*source.bounds))
        )
        grid = {
            "proj:code": str(source.crs),
            "proj:shape": list(source.shape),
            "proj:transform": list(source.transform)[:6],
        }
    stac_item = item(name, box, properties.pop("day"), properties.pop("cloud"), "s2", **grid, **properties)
    stac_item.geometry = corners
    for common, path in files.items():
        bands = [{"name": color, "common_name": color} for color in ("red", "green", "blue")]
        fields = {"eo:bands": bands if common == "visual" else [{"name": common, "common_name": common}]}
        stac_item.add_asset(common, pystac.Asset(str(path), roles=["data"], extra_fields=fields | kind))
    return stac_item


@pytest.fixture(scope="session")
def real_items(real):
    safe = {
        name: next((real / "s2_safe").glob(f"*{name}*")).glob("GRANULE/*/IMG_DATA/R60m/*_B0[234]_*")
        for name in ("T01CCV", "T29UNU")
    }
    of = {"B04": "red", "B03": "green", "B02": "blue"}
    files = {
        name: {of[path.stem.split("_")[2]]: path for path in sorted(paths, reverse=True)}
        for name, paths in safe.items()
    }
    numbers = {"raster:bands": [{"nodata": 0, "data_type": "uint16", "scale": 0.0001, "offset": 0}]}
    # The newer baseline's offset stands in the product's metadata alone, as in some catalogues.
    bare = {"raster:bands": [{"nodata": 0, "data_type": "uint16"}]}
    picture = {"raster:bands": [{"nodata": 0, "data_type": "uint8"}] * 3}
    items = [
        describe("S2B_T01CCV_20191228_0_L2A", files["T01CCV"], numbers, day=28, cloud=5.0),
        describe("S2A_T29UNU_20221005_0_L2A", files["T29UNU"], bare, day=5, cloud=40.0),
        describe("S2A_29RKH_20190101", {"visual": real / "s2_cog" / "TCI.tif"}, picture, day=1, cloud=None),
    ]
    metadata = next((real / "s2_safe").glob("*T29UNU*/MTD_MSIL2A.xml"))
    items[1].add_asset("product-metadata", pystac.Asset(str(metadata)))
    return items


def made_up():
    """Boxes along 180° at 75° S, a day and a per cent of cloud apart."""
    row = [item(f"east-{n:02}", (170 + n / 4, -75, 170.5 + n / 4, -74), 1 + n, 3 * n) for n in range(20)]
    row += [item("west", (-178, -75, -177, -74), 4, 50), item("unsaid", (-176, -75, -175, -74), 3, None)]
    across = item("across", (179, -75, 180, -74), 9, 9)  # found from both sides of 180°
    halves = [shapely.box(179, -75, 180, -74), shapely.box(-180, -75, -179, -74)]
    across.geometry = shapely.geometry.mapping(shapely.MultiPolygon(halves))
    across.bbox = [-180, -75, 180, -74]
    return [*row, across]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The address of a STAC API with the made-up items and, where they are, the real ones."""

    def start(items):
        folder = tmp_path_factory.mktemp("stac")
        (folder / "items.json").write_text(json.dumps(pystac.ItemCollection(items).to_dict()))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = "{}:{}".format(*free.getsockname())
        command = [Path(sys.executable).parent / "rustac", "serve", "--create-collections", "--addr", address]
        running.append(subprocess.Popen([*command, "items.json"], cwd=folder, stdout=subprocess.DEVNULL))
        for _ in range(150):
            try:
                requests.get(f"http://{address}/", timeout=5).raise_for_status()
                return f"http://{address}/"
            except requests.ConnectionError:
                assert running[-1].poll() is None
                time.sleep(0.1)
        raise AssertionError("the STAC API did not start")

    running = []
    yield start
    for process in running:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def api(server):
    return server(made_up())


def ids(found):
    return [found_item.id for found_item in found]


def test_search_by_box_dates_and_cloud(api):
    found = sik.search((170, -76, 172, -73), "2019-11", catalog=api)
    assert ids(found) == [f"east-{n:02}" for n in range(9)]  # the last begins on the edge
    assert ids(sik.search((170, -76, 172, -73), "2019-11", max_cloud=6, catalog=api)) == ids(found)[:3]
    for dates in ("2019-11-03/2019-11-04", ("2019-11-03", "2019-11-04")):
        assert ids(sik.search([170, -76, 172, -73], dates, catalog=api)) == ids(found)[2:4]
    assert ids(sik.search((170, -76, 172, -73), "2019-11-04", catalog=api)) == ["east-03"]


def test_items_without_a_cloud_cover_are_kept(api):
    assert ids(sik.search((-179, -76, -170, -73), "2019-11", max_cloud=40, catalog=api)) == [
        "unsaid",
        "across",
    ]


def test_a_box_across_180_finds_each_item_once_by_date(api):
    found = sik.search((173, -76, -170, -73), "2019-11", catalog=api)
    assert ids(found).count("across") == 1 and {"west", "unsaid", "east-19"} <= set(ids(found))
    taken = [(found_item.datetime, found_item.id) for found_item in found]
    assert taken == sorted(taken)
    assert ids(sik.search(" ross sea ", "2019-11", catalog=api)) == ids(
        sik.search("Ross Sea", "2019-11", catalog=api)
    )
    assert len(sik.search("Ross Sea", "2019-11", catalog=api)) == 23


def test_all_pages_are_read(api, monkeypatch):
    whole = sik.search("Ross Sea", "2019-11", catalog=api)
    monkeypatch.setattr(stac, "PAGE", 3)
    assert ids(sik.search("Ross Sea", "2019-11", catalog=api)) == ids(whole)


def test_collections(api):
    assert len(sik.search("Ross Sea", "2019-11", catalog=api, collections=["ice"])) == 23
    with pytest.raises(sik.InputError, match="no scenes"):
        sik.search("Ross Sea", "2019-11", catalog=api, collections=["other"])


def test_search_results_are_saved_as_scenes_json(api, tmp_path):
    found = sik.search("Ross Sea", "2019-11", catalog=api)
    sik.scenes.save_catalogue(tmp_path / "scenes.json", found, [])
    kept = json.loads((tmp_path / "scenes.json").read_text())
    assert [feature["id"] for feature in kept["features"]] == ids(found) and kept[
        "seaicekit:quarantined"
    ] == []


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"where": "Rose Sea"}, "^Rose Sea: unknown sea; did you mean Ross Sea"),
        ({"where": (1, 2, 3)}, "no box on the Earth"),
        ({"where": (170, -70, 175, -75)}, "no box on the Earth"),
        ({"where": None}, "no box on the Earth"),
        ({"dates": "last winter"}, "^last winter: no dates; give '2019-11'"),
        ({"dates": "2019-13"}, "no dates"),
        ({"dates": "2019-11/2019-12/2020-01"}, "no dates"),
        ({"dates": "2019-12/2019-11"}, "no dates"),
        ({"dates": None}, "no dates"),
        ({"dates": "1999-11"}, "no scenes there with at most 100 % cloud; widen"),
        ({"where": (171.1, -76, 171.2, -73), "max_cloud": 1}, "no scenes there with at most 1 % cloud"),
        ({"limit": 5}, "more than 5 scenes; give a smaller box"),
        ({"catalog": "earth-serch"}, "^earth-serch: unknown catalogue; did you mean earth-search"),
        ({"catalog": closed_port()}, r"^http://127.0.0.1:\d+/: no answer from a STAC API there \(.*refused"),
    ],
)
def test_search_errors_are_one_line(api, changed, message):
    start = time.perf_counter()
    with pytest.raises(sik.InputError, match=message) as caught:
        sik.search(**{"where": "Ross Sea", "dates": "2019-11", "catalog": api} | changed)
    assert "\n" not in str(caught.value) and time.perf_counter() - start < 10


@pytest.fixture
def stub():
    """A web server that answers with what it is given, and keeps what it was asked."""
    answers, asked = {}, []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = answers["/"].replace("HERE", f"http://{self.headers['Host']}")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"type": "FeatureCollection", "features": [], "links": []}).encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/", answers, asked
        running.shutdown()


@pytest.mark.parametrize("extension", ["query", "filter", "none"])
def test_cloud_cover_is_filtered_on_the_server(stub, extension):
    url, answers, asked = stub
    core = "https://api.stacspec.org/v1.0.0"
    conformance = [f"{core}/core", f"{core}/item-search"]
    conformance += [f"{core}/item-search#{extension}"] if extension != "none" else []
    links = [{"rel": "search", "href": "HERE/search", "type": "application/geo+json", "method": "POST"}]
    answers["/"] = json.dumps(
        {
            "type": "Catalog",
            "stac_version": "1.0.0",
            "id": "a",
            "description": "b",
            "conformsTo": conformance,
            "links": links,
        }
    )
    with pytest.raises(sik.InputError, match="no scenes"):
        sik.search((1, 2, 3, 4), "2019-11", 60, url)
    cover = {"property": "eo:cloud_cover"}
    either = [{"op": "<=", "args": [cover, 60]}, {"op": "isNull", "args": [cover]}]
    expected = {"query": {"eo:cloud_cover": {"lte": 60}}, "filter": {"op": "or", "args": either}}
    assert asked[0].get(extension) == expected.get(extension)
    assert {"query", "filter"} & asked[0].keys() == {extension} - {"none"}


@pytest.mark.parametrize("page", ["<html>", "{}", '{"type": "Catalog"}', "[1]"])
def test_error_of_a_page_that_is_no_stac_api(stub, page):
    url, answers, _ = stub
    answers["/"] = page
    with pytest.raises(sik.InputError, match="no answer from a STAC API") as caught:
        sik.search((1, 2, 3, 4), "2019-11", catalog=url)
    assert "\n" not in str(caught.value)


def test_footprint_is_whole_across_180_and_around_the_pole():
    split = made_up()[-1].geometry
    jumping = {
        "type": "Polygon",
        "coordinates": [[[179, -75], [-179, -75], [-179, -74], [179, -74], [179, -75]]],
    }
    for geometry in (split, jumping):
        whole = scenes.footprint_on_map(geometry, "EPSG:3031")
        assert whole.geom_type == "Polygon"
        west, south, east, north = whole.bounds
        assert west == pytest.approx(-east, rel=1e-3) and 25e3 < east < 35e3
    around = shapely.geometry.mapping(shapely.box(-180, -90, 180, -80).segmentize(1))
    disc = scenes.footprint_on_map(around, "EPSG:3031")
    assert disc.area == pytest.approx(math.pi * disc.bounds[2] ** 2, rel=1e-3)


def expected(files, fetched, scaling):
    """Warp files to a fetched picture's grid with GDAL alone: (3, rows, columns) bytes as float, valid."""
    bands, valid = [], True
    with rasterio.open(fetched) as target:
        grid = {
            "crs": target.crs,
            "transform": target.transform,
            "height": target.height,
            "width": target.width,
        }
    for path, index in files:
        with (
            rasterio.open(path) as source,
            WarpedVRT(
                source, **grid, resampling=rasterio.enums.Resampling.average, src_nodata=0, nodata=0
            ) as warped,
        ):
            numbers = warped.read(index)
        valid = valid & (numbers != 0)
        bands.append(np.clip(scaling(numbers.astype(float)), 0, 255))
    return np.stack(bands), valid


SCALINGS = [
    lambda n: n * 1e-4 * 255,
    lambda n: (n * 1e-4 - 0.1) * 255,
    lambda n: n,
]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_fetch_equals_gdals_warp(real_items, number, tmp_path):
    chosen = real_items[number]
    resolution = 1000 if number == 0 else 120
    (fetched,) = scenes.fetch([chosen], tmp_path, resolution=resolution)
    assert fetched.stem == chosen.id
    files = [
        (chosen.assets[colour].href, 1) for colour in ("red", "green", "blue") if colour in chosen.assets
    ]
    files = files or [(chosen.assets["visual"].href, index) for index in (1, 2, 3)]
    bands, valid = expected(files, fetched, SCALINGS[number])
    with rasterio.open(fetched) as source:
        assert source.crs == ("EPSG:3031" if number == 0 else "EPSG:3413")
        assert source.res == (resolution, resolution) and source.transform.c % resolution == 0
        assert source.dtypes == ("uint8",) * 3 and source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        west, south, east, north = source.bounds
        footprint = scenes.footprint_on_map(chosen.geometry, str(source.crs)).bounds
    np.testing.assert_allclose([west, south, east, north], footprint, atol=resolution)
    with scenes.open_reader(fetched) as reader:
        pixels, nodata = reader.read()
    assert reader.declares_nodata and (pixels[:, nodata] == 0).all()
    assert (valid == ~nodata).mean() > 0.995
    both = valid & ~nodata
    assert both.any()
    difference = np.abs(pixels.astype(float) - bands)[:, both]
    # Edges of floes and clouds may move by part of a pixel, as warps approximate the projection.
    assert np.median(difference) <= 1 and np.percentile(difference, 95) <= 6, np.percentile(
        difference, [50, 95, 99]
    )


def test_fetch_crops_to_the_box_and_skips_other_items(real_items, tmp_path):
    west, south, east, north = real_items[1].bbox
    box = (west + 0.3, south + 0.3, west + 0.8, south + 0.6)
    (fetched,) = scenes.fetch(real_items, tmp_path, bbox=box, resolution=100)
    assert [path.name for path in tmp_path.iterdir()] == [fetched.name] == ["S2A_T29UNU_20221005_0_L2A.tif"]
    with rasterio.open(fetched) as source:
        inside = scenes.footprint_on_map(shapely.geometry.mapping(shapely.box(*box)), "EPSG:3413").bounds
        np.testing.assert_allclose(source.bounds, inside, atol=100)
    with pytest.raises(sik.InputError, match="no item has a pixel there"):
        scenes.fetch(real_items, tmp_path, bbox="Kara Sea")


def test_fetch_across_180(real_items, tmp_path):
    (fetched,) = scenes.fetch(real_items, tmp_path, bbox="Ross Sea", resolution=1000)
    with rasterio.open(fetched) as source:
        assert source.crs == "EPSG:3031" and max(source.shape) < 160


def test_an_offset_applied_by_the_archive_is_not_applied_again(real_items, tmp_path):
    chosen = real_items[1].clone()
    chosen.properties["earthsearch:boa_offset_applied"] = True
    pixels = []
    for number, each in enumerate((real_items[1], chosen)):
        (fetched,) = scenes.fetch([each], tmp_path / str(number), resolution=1000)
        with scenes.open_reader(fetched) as reader:
            bands, nodata = reader.read()
        pixels.append(bands[:, ~nodata].astype(int))
    assert np.median(pixels[1] - pixels[0]) in (25, 26)  # 1000 / 10000 of 255


def test_fetch_errors_name_the_item(real_items, tmp_path):
    damaged = real_items[0].clone()
    damaged.assets["red"].href = str(tmp_path / "missing.tif")
    with pytest.raises(sik.InputError, match="^S2B_T01CCV_20191228_0_L2A: cannot be read") as caught:
        scenes.fetch([damaged], tmp_path / "out", resolution=1000)
    assert "\n" not in str(caught.value)
    del damaged.assets["red"]
    with pytest.raises(sik.InputError, match="no asset red or B04"):
        scenes.fetch([damaged], tmp_path / "out", resolution=1000)


@pytest.fixture
def files_server(real):
    """The address at which the real files are served, in ranges as from an archive."""
    handler = functools.partial(Ranged, directory=str(real))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_search_fetch_and_catalogue_in_a_row(server, real, files_server, real_items, tmp_path):
    served = [each.clone() for each in real_items]
    for asset in [asset for each in served for asset in each.assets.values()]:
        asset.href = f"{files_server}{asset.href.removeprefix(str(real))}"
    found = sik.search((170, -80, -170, -70), "2019", catalog=server(served))
    paths = scenes.fetch(found, tmp_path, resolution=1000)
    items, quarantined = sik.catalogue(tmp_path)
    assert [entry.id for entry in items] == [path.stem for path in paths] == [
        real_items[0].id
    ] and not quarantined
    assert items[0].datetime.date() == dt.date(2019, 12, 28)
    scenes.fetch([real_items[0]], tmp_path / "local", resolution=1000)
    assert paths[0].read_bytes() == (tmp_path / "local" / paths[0].name).read_bytes()
    # The list of what was found can be worked on in place, too.
    sik.scenes.save_catalogue(tmp_path / "scenes.json", found, [])
    listed = sik.scenes.load_catalogue(tmp_path / "scenes.json")
    assert sik.open_scene(listed.path[real_items[0].id]).shape == (3, 100, 100)
