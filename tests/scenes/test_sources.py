import datetime
import json
import os
import shutil
import socket
import time
import zipfile
from fractions import Fraction

import numpy as np
import pystac
import pytest
import rasterio
from conftest import write_tiff
from hypothesis import given, settings
from hypothesis import strategies as st

import seaicekit as sik
from seaicekit import scenes
from seaicekit.scenes import reading, remote, safe, sources

TEXT = st.text(st.sampled_from("abz AZ09äñ海#&%=+,;.-_?!'()[]{}~"), min_size=1, max_size=20).filter(
    lambda name: name.strip(".") and "://" not in name
)


@pytest.fixture(scope="module")
def irish(real):
    return next((real / "s2_safe").glob("S2A*N0400*"))


@pytest.fixture(scope="module")
def ross(real):
    return next((real / "s2_safe").glob("S2B*N0212*"))


@settings(max_examples=300, deadline=None)
@given(TEXT, st.dictionaries(st.sampled_from(sources.KEYS), TEXT, min_size=1))
def test_source_strings_round_trip(path, options):
    assert scenes.split_source(sources.join_source(path, options)) == (
        path,
        {key: options[key] for key in options},
    )


@settings(max_examples=200, deadline=None)
@given(
    TEXT,
    TEXT,
    TEXT,
    st.lists(st.integers(-9999, 9999), min_size=3, max_size=3),
    st.floats(0.1, 5),
    st.sampled_from(["", "s3://bucket/a b/", "/data/ö #1/"]),
)
def test_resolving_the_string_gives_the_same_source(red, green, blue, offsets, white, folder):
    options = {"green": f"{green}.tif", "blue": f"{folder}{blue}.tif", "white": repr(white)}
    first = sources.resolve_source(
        sources.join_source(f"{folder}{red}.tif", options | {"offset": ",".join(map(str, offsets))})
    )
    assert sources.resolve_source(str(first)) == first and sources.resolve_source(first) is first
    assert first.offsets == tuple(offsets) and first.white == white
    assert [file for file, _ in first.bands][1:] == [f"{folder}{green}.tif", f"{folder}{blue}.tif"]


def test_names_with_a_hash_are_files(tmp_path):
    for name in ("a#1.tif", "a#b=2&c.tif", "a#bands=1,2.tif"):
        write_tiff(tmp_path / name, np.full((3, 5, 5), 9, np.uint8))
        assert scenes.split_source(tmp_path / name) == (str(tmp_path / name), {})
        for text in (f"{tmp_path / name}", f"{tmp_path / name}#bands=3,2,1"):
            assert (sik.open_scene(text) == 9).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.tif#white=1&ofset=3", "'offset'"),
        ("a.tif#bands=1,2,3&band=2", "'bands'"),
        ("a.tif#white=1&white=2", "twice"),
        ("a.tif#white=0", "white=0"),
        ("a.tif#white=nan", "white=nan"),
        ("a.tif#offset=1,2", "three"),
        ("a.tif#quantification=-1", "positive"),
        ("a.tif#nodata=none", "nodata=none"),
        ("a.tif#bands=4,3", "bands=4,3,2"),
        ("a.tif#bands=0,1,2", "bands=0,1,2"),
        ("a.tif#bands=TCI", "bands=TCI"),
        ("a.tif#green=b.tif", "go together"),
        ("a.tif#green=b.tif&blue=c.tif&bands=1,2,3", "without bands"),
        ("a.tif#scl=1", "SAFE"),
        ("ftp://x/a.tif", "s3://"),
        ("https://x/a.SAFE", "from disk"),
        ("none.SAFE", "no such"),
        ("none.zip", "no such"),
        ("none.json", "No such file"),
    ],
)
def test_errors_of_source_strings_are_one_line(text, message):
    with pytest.raises(sik.InputError, match=message) as error:
        sources.resolve_source(text)
    assert "\n" not in str(error.value) and str(error.value).startswith(text.split("#")[0])


@settings(max_examples=300)
@given(st.integers(-(2**31), 2**32 - 1), st.integers(-2000, 2000), st.integers(1, 60000))
def test_to_8bit_is_the_rounded_fraction(number, offset, quantification):
    exact = Fraction(255 * (number + offset), quantification)
    expected = min(255, max(0, round(exact)))  # Python rounds fractions half to even too
    assert scenes.to_8bit(np.array([number]), offset, quantification)[0] == expected


def test_to_8bit_edges():
    values = np.array([0, 1, 0.5, -0.1, 1.7, np.nan, np.inf, -np.inf])
    np.testing.assert_array_equal(scenes.to_8bit(values, 0, 1), [0, 255, 128, 0, 255, 0, 255, 0])
    assert scenes.to_8bit(np.array([9000]), white=0.9)[0] == 255
    assert scenes.to_8bit(np.array([4500]), white=0.9)[0] == scenes.to_8bit(np.array([5000]))[0] == 128


def raw(folder, band, metres):
    path = next(folder.glob(f"GRANULE/*/IMG_DATA/R{metres}m/*_{band}_{metres}m.*"))
    with rasterio.open(path) as source:
        return source.read(1).astype(np.float64), path


@pytest.mark.parametrize(("name", "metres", "offset"), [("irish", 60, -1000), ("ross", 10, 0)])
def test_real_products(name, metres, offset, request):
    folder = request.getfixturevalue(name)
    source = sources.resolve_source(folder)
    assert source.quantification == 10000 and source.offsets == (offset,) * 3 and source.nodata == 0
    numbers, paths = zip(*(raw(folder, band, metres) for band in ("B04", "B03", "B02")), strict=True)
    assert [file for file, _ in source.bands] == list(map(str, paths))
    assert source.files == (str(folder / "MTD_MSIL2A.xml"), *map(str, paths))
    scene = sik.open_scene(folder)
    expected = np.round(np.clip((np.stack(numbers) + offset) / 10000, 0, 1) * 255)
    np.testing.assert_allclose(scene.values, expected, atol=0)
    np.testing.assert_array_equal(scene.coords["nodata"], (np.stack(numbers) == 0).all(axis=0))
    assert sources.resolve_source(folder / "MTD_MSIL2A.xml").bands == source.bands
    assert source.taken.startswith("2022-10-05" if offset else "2019-12-28")


def test_each_band_of_a_product_has_its_offset(tmp_path, ross):
    """Offsets go to colours by the metadata's own numbering, and each colour to its own file."""
    copy = shutil.copytree(ross, tmp_path / "X.SAFE", copy_function=shutil.copyfile)
    main = copy / "MTD_MSIL2A.xml"
    tag = "<BOA_ADD_OFFSET band_id='{}'>{}</BOA_ADD_OFFSET>"
    added = "".join(tag.format(number, -100 * number) for number in range(13))
    text = main.read_text().replace("</QUANTIFICATION_VALUES_LIST>", f"</QUANTIFICATION_VALUES_LIST>{added}")
    main.write_text(text)
    assert sources.resolve_source(copy).offsets == (-300, -200, -100)
    main.write_text(text.replace('bandId="3" physicalBand="B4"', 'bandId="7" physicalBand="B4"'))
    assert sources.resolve_source(copy).offsets == (-700, -200, -100)
    assert sources.resolve_source(f"{copy}#offset=5,6,7").offsets == (5, 6, 7)


def zipped(folder, path, names=None):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.suffix in (".xml", ".tif", ".jp2"):
                archive.write(file, f"{folder.name}/{file.relative_to(folder)}")
        for name in names or ():
            archive.writestr(name, "x")
    return path


def test_a_zip_is_read_where_it_is(tmp_path, ross):
    path = zipped(ross, tmp_path / "ö #1.zip")
    before = sorted(tmp_path.iterdir())
    for options in ("", "#scl=1", "#bands=TCI"):
        one, other = sources.resolve_source(f"{ross}{options}"), sources.resolve_source(f"{path}{options}")
        assert other.files == (str(path),)
        with scenes.open_reader(one) as here, scenes.open_reader(other) as there:
            for a, b in zip(here.read(), there.read(), strict=True):
                np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(here.scl(), there.scl())
            assert (here.scl() is None) == (options != "#scl=1")
    assert sorted(tmp_path.iterdir()) == before
    assert scenes.fingerprint(path) != scenes.fingerprint(ross)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../up.tif", "X.SAFE/../../up.tif", "..\\up.tif", "C:\\up.tif"]
)
def test_hostile_archives_are_refused(tmp_path, ross, name):
    path = zipped(ross, tmp_path / "x.zip", [name])
    with pytest.raises(sik.InputError, match=r"x\.zip.*leads out"):
        sources.resolve_source(path)


def test_errors_of_damaged_archives(tmp_path, ross):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a/b.tif", "x")
    (tmp_path / "cut.zip").write_bytes(zipped(ross, tmp_path / "b.zip").read_bytes()[:5000])
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X.SAFE/MTD_MSIL2A.xml", "<a>" + " " * (remote.MAX_METADATA_BYTES + 10) + "</a>")
    for name, message in (
        ("a.zip", "no Sentinel-2"),
        ("cut.zip", "cannot be read"),
        ("bomb.zip", "no metadata"),
    ):
        with pytest.raises(sik.InputError, match=f"{name}.*{message}"):
            sources.resolve_source(tmp_path / name)


def test_missing_bands_are_named(tmp_path, irish, ross):
    copy = shutil.copytree(ross, tmp_path / "X.SAFE", copy_function=shutil.copyfile)
    next(copy.glob("GRANULE/*/IMG_DATA/R10m/*B03*")).unlink()
    assert all(
        "R20m" in file for file, _ in sources.resolve_source(copy).bands
    )  # the finest at which all three are
    for path in copy.glob("GRANULE/*/IMG_DATA/*/*_SCL_*"):
        path.unlink()
    with pytest.raises(sik.InputError, match=r"X\.SAFE: SCL missing"):
        sources.resolve_source(f"{copy}#scl=1")
    for path in copy.glob("GRANULE/*/IMG_DATA/*/*_B0[23]_*"):
        path.unlink()
    with pytest.raises(sik.InputError, match=r"X\.SAFE: B02, B03 missing in GRANULE"):
        sources.resolve_source(copy)
    with pytest.raises(sik.InputError, match="own bands"):
        sources.resolve_source(f"{irish}#bands=4,3,2")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<a>",
        b"<a/>",
        b"not xml",
        b"<a><BOA_QUANTIFICATION_VALUE>x</BOA_QUANTIFICATION_VALUE></a>",
        b"<a><BOA_QUANTIFICATION_VALUE>0</BOA_QUANTIFICATION_VALUE></a>",
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    ],
)
def test_errors_of_metadata_are_one_line(tmp_path, content):
    (tmp_path / "MTD_MSIL2A.xml").write_bytes(content)
    with pytest.raises(sik.InputError, match=r"MTD_MSIL2A\.xml") as error:
        sources.resolve_source(tmp_path)
    assert "\n" not in str(error.value)


def test_level_1c(tmp_path):
    granule = tmp_path / "X.SAFE/GRANULE/L1C_T1"
    (granule / "IMG_DATA").mkdir(parents=True)
    images = "".join(
        f"<IMAGE_FILE>GRANULE/L1C_T1/IMG_DATA/T1_2020_{b}</IMAGE_FILE>" for b in ("B02", "B03", "B04")
    )
    offsets = "".join(f'<RADIO_ADD_OFFSET band_id="{n}">{-n}</RADIO_ADD_OFFSET>' for n in range(13))
    (tmp_path / "X.SAFE/MTD_MSIL1C.xml").write_text(
        f"<n1:a xmlns:n1='u'><b>{images}</b><QUANTIFICATION_VALUE>5000</QUANTIFICATION_VALUE>{offsets}</n1:a>"
    )
    for number, band in enumerate(("B02", "B03", "B04")):
        write_tiff(
            granule / f"IMG_DATA/T1_2020_{band}.tif", np.full((1, 4, 4), 1000 * number + 1000, np.uint16)
        )
    scene = sik.open_scene(tmp_path / "X.SAFE")
    numbers = (3000 - 3, 2000 - 2, 1000 - 1)
    assert scene.values[:, 0, 0].tolist() == [round(255 * number / 5000) for number in numbers]
    assert sources.resolve_source(tmp_path / "X.SAFE").nodata is None
    assert safe.is_safe(tmp_path / "X.SAFE") and not safe.is_safe(tmp_path)


def item(folder, names=("red", "green", "blue"), extra=None, **properties):
    stac_item = pystac.Item("one", None, None, datetime.datetime(2022, 1, 2), properties)
    for number, (name, band) in enumerate(zip(names, ("B04", "B03", "B02"), strict=True)):
        file = folder / f"{band} ä.tif"
        write_tiff(file, np.full((1, 6, 6), 2000 + 1000 * number, np.uint16), nodata=0)
        stac_item.add_asset(name, pystac.Asset(f"./{file.name}", extra_fields=(extra or [{}] * 3)[number]))
    (folder / "item.json").write_text(json.dumps(stac_item.to_dict(include_self_link=False)))
    return folder / "item.json"


def first_values(text):
    return sik.open_scene(text).values[:, 0, 0].tolist()


def scaled(*reflectances):
    return [round(255 * value) for value in reflectances]


def test_scaling_of_items_under_all_keys(tmp_path, irish):
    older = {"raster:bands": [{"scale": 0.0001, "offset": -0.1, "nodata": 0}]}
    newer = {"raster:scale": 0.0001, "raster:offset": -0.1}
    within = {"bands": [{"raster:scale": 0.0001, "raster:offset": -0.1}]}
    for extra in (older, newer, within):
        path = item(tmp_path, extra=[extra] * 3)
        assert first_values(path) == scaled(0.1, 0.2, 0.3)
    one = sources.resolve_source(item(tmp_path, extra=[older] * 3))
    assert one.quantification == 10000 and one.offsets == (-1000,) * 3 and one.nodata == 0
    other = sources.resolve_source(str(one))
    assert str(one).startswith(str(tmp_path / "B04")) and (other.bands, other.offsets) == (
        one.bands,
        one.offsets,
    )
    applied = item(tmp_path, extra=[older] * 3, **{"earthsearch:boa_offset_applied": True})
    assert first_values(applied) == scaled(0.2, 0.3, 0.4)
    assert first_values(item(tmp_path)) == scaled(0.2, 0.3, 0.4)
    assert first_values(f"{item(tmp_path)}#offset=-2000&white=0.5") == scaled(0, 0.2, 0.4)
    # As the Planetary Computer has it: keys of bands, no scale, the product's own metadata beside them.
    path = item(tmp_path, names=("B04", "B03", "B02"))
    stac_item = pystac.Item.from_file(path)
    stac_item.add_asset("product-metadata", pystac.Asset(str(irish / "MTD_MSIL2A.xml")))
    assert scenes.Source.of_item(stac_item).offsets == (-1000,) * 3
    assert first_values(scenes.Source.of_item(stac_item)) == scaled(0.1, 0.2, 0.3)


def test_items_of_other_kinds(tmp_path):
    named = [{"eo:bands": [{"common_name": name}]} for name in ("red", "green", "blue")]
    path = item(tmp_path, names=("SR_B4", "SR_B3", "SR_B2"), extra=named)
    assert first_values(path) == scaled(0.2, 0.3, 0.4)
    for options, message in (
        ("#scl=1", "no asset scl or SCL"),
        ("#bands=TCI", "no asset visual"),
        ("#bands=1,2,3", "own"),
    ):
        with pytest.raises(sik.InputError, match=rf"item\.json.*{message}"):
            sources.resolve_source(f"{path}{options}")
    stac_item = pystac.Item.from_file(path)
    stac_item.add_asset(
        "visual", pystac.Asset(str(write_tiff(tmp_path / "TCI.tif", np.full((3, 6, 6), 255, np.uint8))))
    )
    stac_item.add_asset(
        "scl", pystac.Asset(str(write_tiff(tmp_path / "SCL.tif", np.full((1, 6, 6), 9, np.uint8))))
    )
    visual = scenes.Source.of_item(stac_item, bands="visual", scl="1")
    assert str(visual) == f"{tmp_path}/TCI.tif#scl={tmp_path}/SCL.tif" and visual.true_colour
    with scenes.open_reader(visual) as reader:
        assert (reader.scl() == 9).all() and (reader.pixels() == 255).all()
    for content in ("[]", "{}", "x", '{"type": "FeatureCollection", "features": []}'):
        path.write_text(content)
        with pytest.raises(sik.InputError, match=r"item\.json: no STAC item"):
            sources.resolve_source(path)


def test_urls(tmp_path, served):
    rng = np.random.default_rng(0)
    bands = rng.integers(1, 12000, (4, 70, 90)).astype(np.uint16)
    write_tiff(tmp_path / "four.tif", bands)
    for name, band in zip(("r", "g", "b"), bands, strict=False):
        write_tiff(tmp_path / f"{name}.tif", band[None])
    local = sik.open_scene(f"{tmp_path}/four.tif#bands=1,2,3")
    for text in (f"{served}/four.tif#bands=1,2,3", f"{served}/r.tif#green=g.tif&blue={served}/b.tif"):
        np.testing.assert_array_equal(sik.open_scene(text), local)
    path = item(tmp_path)
    assert first_values(f"{served}/{path.name}") == scaled(0.2, 0.3, 0.4)
    assert str(sources.resolve_source(f"{served}/{path.name}")).startswith(f"{served}/B04")
    marks = {scenes.fingerprint(f"{served}/{name}") for name in ("four.tif", "r.tif", "r.tif#bands=1,1,1")}
    assert len(marks) == 2


def test_unreachable_urls(tmp_path, served):
    for text in (
        "http://127.0.0.1:9/a.tif",
        f"{served}/none.tif",
        f"{served}/none.json",
        "http://127.0.0.1:9/a.json",
    ):
        for step in (sik.open_scene, scenes.fingerprint):
            with pytest.raises(sik.InputError, match=r"127\.0\.0\.1.*check the address") as error:
                step(text)
            assert "\n" not in str(error.value)


def test_buckets(tmp_path, monkeypatch):
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    address = "{}:{}".format(*server.get_host_and_port())
    settings = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    settings |= {"AWS_ENDPOINT_URL": f"http://{address}", "AWS_S3_ENDPOINT": address}
    for name, value in (settings | {"AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE"}).items():
        monkeypatch.setenv(name, value)
    try:
        bucket = boto3.resource("s3").create_bucket(Bucket="ice")
        path = item(tmp_path)
        for file in tmp_path.iterdir():
            bucket.upload_file(str(file), f"a b/{file.name}")
        assert first_values(f"s3://ice/a b/{path.name}") == scaled(0.2, 0.3, 0.4)
        one = sources.resolve_source(f"s3://ice/a b/{path.name}")
        assert one.bands[0][0] == "s3://ice/a b/B04 ä.tif" and len(scenes.fingerprint(one)) == 64
        for name in ("none.tif", "none.json"):
            with pytest.raises(sik.InputError, match=f"s3://ice/{name}.*check the address") as error:
                sik.open_scene(f"s3://ice/{name}")
            assert "\n" not in str(error.value)
    finally:
        server.stop()


def test_a_server_that_never_answers_times_out(monkeypatch):
    monkeypatch.setitem(reading.GDAL, "GDAL_HTTP_TIMEOUT", 1)
    monkeypatch.setattr(remote, "TIMEOUT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        for name in ("a.tif", "a.json"):
            start = time.monotonic()
            with pytest.raises(sik.InputError, match=f"{name}.*check the address"):
                sik.open_scene(f"{address}/{name}")
            print(name, time.monotonic() - start)
            assert time.monotonic() - start < 20


def test_microsofts_blobs_are_signed_on_opening(monkeypatch):
    import planetary_computer

    monkeypatch.setattr(planetary_computer, "sign", lambda url: f"{url}?token")
    blob = "https://sentinel2l2a01.blob.core.windows.net/a/B04.tif"
    assert (
        scenes.signed_url(blob) == f"{blob}?token"
        and scenes.signed_url("https://x.org/ä%20 b") == "https://x.org/%C3%A4%20%20b"
    )
    source = sources.resolve_source(f"{blob}#green=B03.tif&blue=B02.tif")
    assert "token" not in repr(source) and source.bands[1][0] == blob.replace("B04", "B03")


def test_fingerprints(tmp_path):
    import hashlib

    paths = [write_tiff(tmp_path / f"{name}.tif", np.full((1, 3, 3), ord(name), np.uint8)) for name in "abc"]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    assert scenes.fingerprint(paths[0]) == digests[0] == scenes.fingerprint(f"{paths[0]}#bands=1,1,1")
    several = hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()
    assert scenes.fingerprint(f"{paths[2]}#green=b.tif&blue=a.tif") == several
    with pytest.raises(sik.InputError, match=r"none\.tif"):
        scenes.fingerprint(tmp_path / "none.tif")


def test_a_quick_checksum_reads_size_time_and_both_ends(tmp_path):
    path, content = tmp_path / "a.tif", bytearray(3 << 20)

    def checksum(place=None, seconds=1):
        changed = content.copy()
        if place is not None:
            changed[place] = 1
        path.write_bytes(changed)
        os.utime(path, (seconds, seconds))
        return remote.digest(str(path), quick=True)

    assert checksum() == checksum(3 << 19)  # the middle is not read
    content += b"0"
    marks = [checksum(), checksum(0), checksum(-1), checksum(seconds=2), remote.digest(str(path))]
    assert len(set(marks)) == 5
