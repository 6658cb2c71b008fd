"""Parameter files and imagery come from anywhere.

They run nothing, write nowhere else, and give nothing away.
"""

import json
import zipfile
from pathlib import Path

import pytest
from conftest import command_here

import seaicekit as sik
from seaicekit import files, pipeline

SECRET = "3cReT"
SIGNED = (
    f"https://store.blob.core.windows.net/c/a.tif?sv=2021&sig={SECRET}&se=2030",
    f"https://bucket.s3.amazonaws.com/a.tif?X-Amz-Credential={SECRET}&X-Amz-Signature={SECRET}",
    f"https://host/a.tif?access_token={SECRET}#bands=4,3,2",
    f"https://user:{SECRET}@host/a.tif",
    f"https://host/a.tif?key={SECRET}",
    f"https://host/a.tif?api_key={SECRET}",
    f"https://host/a.tif?x=1&subscription-key={SECRET}",
    f"https://user:p@{SECRET}@host/a.tif",
    f"https://host/r.tif#green=https://host/g.tif%3Fsv%3D1%26sig%3D{SECRET}"
    f"&blue=https://host/b.tif%3Fauth%3D{SECRET}",
)


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    "text",
    [
        "epochs: !!python/object/apply:os.system ['touch owned']",
        "!!python/object/new:os.system ['touch owned']: 1",
    ],
)
def test_a_parameter_file_runs_no_code(text, tmp_path):
    (tmp_path / "params.yaml").write_text(f"synthetic_count: 2\n{text}\n")
    done = command_here("run", "params.yaml", cwd=tmp_path)
    assert done.returncode == 2 and "not YAML" in done.stderr and tree(tmp_path) == ["params.yaml"]


@pytest.mark.parametrize("value", ["../../up", "/etc/up", "a/../../up", "..", ".hidden", "a\\b"])
def test_a_scenes_name_cannot_lead_out_of_the_folder(value, tmp_path):
    sik.scenes.write_synthetic(tmp_path / "in", 1, (64, 64))
    item = sik.scenes.catalogue(tmp_path / "in" / "scenes")[0].items[0].to_dict() | {"id": value}
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
    before = tree(tmp_path)
    table = sik.scenes.load_catalogue(tmp_path / "items.json")
    for write in (sik.autolabel, lambda paths, out, **_: sik.predict("model.keras", paths, out)):
        with pytest.raises(sik.InputError):
            write(table["path"], tmp_path / "out", engine="serial", progress=False)
        assert [name for name in tree(tmp_path) if name != "out" and not name.startswith("out/.")] == before


def test_parameters_cannot_name_output_paths(tmp_path):
    """Of all parameters only ``run_dir`` is written to, and that is no parameter of a batch."""
    for name in ("run_dir", "out_dir", "folder"):
        with pytest.raises(sik.InputError, match="unknown parameter"):
            pipeline.read_parameters({name: "/etc"})


def test_an_archive_is_read_where_it_is_and_never_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        for name in ("../../out.txt", "/tmp/out.txt", "X.SAFE/../../../out.jp2", "X.SAFE/MTD_MSIL1C.xml"):
            archive.writestr(name, "<x/>")
    with pytest.raises(sik.InputError, match=r"evil\.zip"):
        sik.open_scene(tmp_path / "evil.zip")
    assert tree(tmp_path) == ["evil.zip"] and not Path("/tmp/out.txt").exists()


@pytest.mark.parametrize(
    "scheme", ["file", "ftp", "memory", "github", "simplecache::https", "javascript", "gopher"]
)
def test_urls_of_other_schemes_are_refused(scheme, tmp_path):
    address = f"{scheme}://host/a.json"
    for use in (
        sik.open_scene,
        sik.Thresholds.load,
        files.read_json,
        lambda path: files.write_text(path, ""),
        lambda path: sik.autolabel(path, tmp_path, engine="serial"),
        lambda path: sik.search("Ross Sea", "2019", catalog=path),
    ):
        with pytest.raises(sik.InputError):
            use(address)


@pytest.mark.parametrize(
    "path", ["/vsicurl/http://127.0.0.1:9/a.tif", "/vsizip/a.zip/b.tif", "NETCDF:a.nc:b", "/vsimem/a"]
)
def test_gdals_virtual_paths_are_refused(path):
    with pytest.raises(sik.InputError):
        sik.open_scene(path)


def test_files_that_refer_to_other_files_are_no_scenes(tmp_path):
    """A VRT reads whatever file or server it names."""
    vrt = tmp_path / "scene.tif"
    vrt.write_text(
        "<VRTDataset rasterXSize='1' rasterYSize='1'><VRTRasterBand dataType='Byte' band='1'>"
        "<SimpleSource><SourceFilename>/etc/passwd</SourceFilename></SimpleSource></VRTRasterBand>"
        "</VRTDataset>"
    )
    with pytest.raises(sik.InputError):
        sik.open_scene(vrt)


@pytest.mark.parametrize("address", SIGNED)
def test_keys_are_not_written_to_any_file(address, tmp_path):
    assert SECRET not in files.without_credentials(address) and "https://" in files.without_credentials(
        address
    )
    assert SECRET not in files.relative_path(address, tmp_path / "labels.csv")
    for name in ("scenes", "thresholds", "catalog", "master"):
        with pytest.raises(sik.InputError, match="carries a key") as error:
            pipeline.read_parameters({name: address})
        assert SECRET not in str(error.value)
    with pytest.raises(sik.InputError) as error:
        sik.scenes.catalogue(address)
    assert SECRET not in str(error.value)


def test_urls_without_keys_are_unchanged():
    for address in (
        "https://host/a.tif?versionId=3&download=1",
        "s3://bucket/monkey=1/a.tif#bands=4,3,2",
        "a?.tif",
        "https://host/a@2x.tif",
        "/data/key=1/a.tif",
    ):
        assert files.without_credentials(address) == address


def test_a_model_runs_no_code_of_its_own(tmp_path):
    """Keras' safe mode refuses a layer that holds a function."""
    import keras

    from seaicekit import training

    network = keras.Sequential([keras.layers.Input((64, 64, 3)), keras.layers.Lambda(lambda x: x)])
    card = training.Card(legend=sik.classes.LEGEND, inputs="rgb", normalisation="scale", size=64, cell=2)
    training.save_model(network, tmp_path / "model.keras", card)
    with pytest.raises(sik.InputError, match="cannot be loaded"):
        training.load_model(tmp_path / "model.keras")
