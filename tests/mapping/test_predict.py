import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio
from conftest import write_tiff

import seaicekit as sik
from seaicekit import mapping, training
from seaicekit.mapping import blend
from seaicekit.training import plan

SIZE = 128


def test_training_needs_tiles_that_maps_can_be_made_of():
    assert plan.LEAST == 2 * blend.MARGIN + blend.FADE


@pytest.fixture(scope="module")
def sharp():
    """An untrained but sharp network of four classes whose codes are no row of numbers: (model, card)."""
    import keras

    keras.utils.set_random_seed(3)
    network = training.build(3, 4, width=4, depth=3)
    network.set_weights([4 * weight for weight in network.get_weights()])
    pond = sik.classes.SeaIceClass(7, "melt pond", "#2f7fd1")
    return network, training.Card((*sik.classes.LEGEND, pond), cell=4, training={"epochs": 0})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network that has really learned, and a scene that it has not seen.

    (path of the model, bands, no data).
    """
    folder = tmp_path_factory.mktemp("trained")
    sik.scenes.write_synthetic_set(folder, count=4, size=384, seed=9)
    labelled = sik.autolabel(sorted((folder / "scenes").iterdir()), folder / "labels", engine="serial")
    sik.tiles.index_tiles(labelled, folder / "tiles.parquet", size=128)
    settings = {"epochs": 12, "batch": 2, "width": 6, "depth": 4, "learning_rate": 0.004}
    sik.train(
        folder / "tiles.parquet", folder / "model", ranks=1, launcher="inprocess", progress=False, **settings
    )
    scene, _ = sik.scenes.synthetic_scene(77, (1000, 900), cloud=0.4)
    return folder / "model" / "model.keras", scene.values, scene.coords["nodata"].values


def test_maps_lie_on_the_scenes_grid_with_all_classes_of_the_model(sharp, small, tmp_path):
    _, labelled, _ = small
    training.save_model(sharp[0], tmp_path / "model.keras", sharp[1])
    table = sik.predict(tmp_path / "model.keras", labelled.path[:2], tmp_path / "maps", size=SIZE)
    for row in table.itertuples():
        scene = sik.open_scene(row.path)
        with rasterio.open(row.map) as source, rasterio.open(row.confidence) as sure:
            codes, percent = source.read(1), sure.read(1)
            assert source.crs == scene.rio.crs and source.transform == scene.rio.transform()
            assert (
                source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and source.nodata == sure.nodata == 255
            )
            assert source.colormap(1)[2][:3] == sik.classes.LEGEND[2].rgb
            assert source.colormap(1)[7][:3] == (0x2F, 0x7F, 0xD1) and source.tags()["CLASS_7"] == "melt pond"
        outside = scene.coords["nodata"].values
        assert (codes[outside] == 255).all() and (percent[outside] == 255).all()
        assert set(np.unique(codes[~outside])) <= {0, 1, 2, 7} and percent[~outside].min() >= 25
        assert row.thin_ice == pytest.approx((codes[~outside] == 1).mean())
        assert row.melt_pond == pytest.approx((codes[~outside] == 7).mean())
        square = {
            name: getattr(row, f"{name}_km2") for name in ("open_water", "thin_ice", "thick_ice", "melt_pond")
        }
        # 50 m pixels of EPSG:3976, which is true at 70° S; the scenes lie at 80° and some
        assert sum(square.values()) == pytest.approx((~outside).sum() * 0.0025, rel=0.05)
        assert row.ice_concentration == pytest.approx(1 - square["open_water"] / sum(square.values()))
        assert row.mean_confidence == pytest.approx(percent[~outside].mean() / 100, abs=0.005)


def test_items_name_the_classes(sharp, small, tmp_path):
    sik.predict(sharp, {"one": small[1].path[0]}, tmp_path)
    items = json.loads((tmp_path / "maps.json").read_text())
    [item] = pystac.ItemCollection.from_dict(items)
    told = item.assets["map"].extra_fields["classification:classes"]
    assert [(each["value"], each["name"], each["description"]) for each in told] == [
        (0, "open-water", "open water"),
        (1, "thin-ice", "thin ice"),
        (2, "thick-ice", "thick ice"),
        (7, "melt-pond", "melt pond"),
    ]
    assert told[3]["color_hint"] == "2F7FD1"
    assert any("classification" in each for each in item.stac_extensions)
    assert (
        item.assets["map"].media_type == pystac.MediaType.COG and item.properties["proj:code"] == "EPSG:3976"
    )
    assert [link.target for link in item.get_links("derived_from")] == [small[1].path[0]]
    assert item.bbox[1] < -70 and item.assets["confidence"].href == str(tmp_path / "one_confidence.tif")


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (64, 200), (96, 96), (129, 300)])
def test_any_size_is_covered_and_probabilities_add_up(sharp, shape):
    bands = np.random.default_rng(1).integers(0, 256, (3, *shape)).astype(np.uint8)
    probabilities = mapping.classify(*sharp, bands, np.zeros(shape, bool), SIZE)
    assert probabilities.shape == (*shape, 4)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-4)


def test_a_small_scene_is_the_network_itself_with_mirrored_edges(sharp):
    bands = np.random.default_rng(2).integers(0, 256, (3, 60, 44)).astype(np.uint8)
    around = np.pad(bands.transpose(1, 2, 0), ((32, 32), (32, 32), (0, 0)), "symmetric")[None]
    expected = sharp[0](around).numpy()[0, 32:92, 32:76]
    np.testing.assert_allclose(
        mapping.classify(*sharp, bands, np.zeros((60, 44), bool), SIZE), expected, atol=1e-5
    )


def test_a_constant_network_is_blended_to_itself(small, tmp_path):
    """Whatever the weights of the tiles are, they add up to one: an independent check of the blending."""
    import keras

    image = keras.Input((None, None, 3), dtype="uint8")
    shares = keras.layers.Lambda(lambda x: x)(keras.layers.Rescaling(1 / 255)(image))
    network = keras.Model(image, shares)
    bands = np.random.default_rng(3).integers(0, 256, (3, 333, 471)).astype(np.uint8)
    seen = mapping.classify(network, training.Card(cell=8), bands, np.zeros((333, 471), bool), SIZE)
    np.testing.assert_allclose(seen, bands.transpose(1, 2, 0) / 255, atol=1e-6)


def test_neither_the_tiles_size_nor_where_a_scene_begins_changes_a_trained_networks_map(trained):
    path, bands, nodata = trained
    model, card = training.load_model(path)
    whole = mapping.classify(model, card, bands, nodata, 256).argmax(-1)
    other = mapping.classify(model, card, bands, nodata, 512).argmax(-1)
    assert len(np.unique(whole[~nodata])) == 3 and (whole != other)[~nodata].mean() < 0.001
    off = {}
    for move in (card.cell, 5 * card.cell, 3):
        part = np.s_[move:, move:]
        moved = mapping.classify(model, card, bands[:, *part], nodata[part], 256).argmax(-1)
        off[move] = (moved != whole[part])[~nodata[part]].mean()
    assert off[8] < 0.001 and off[40] < 0.001 < off[3]  # 3 is no multiple of the poolings' 8


def test_spark_writes_the_same_bytes(trained, small, tmp_path):
    rows = {
        name: sik.predict(trained[0], small[1].path, tmp_path / name, engine=name)
        for name in ("serial", "spark")
    }
    files = {name: sorted((tmp_path / name).glob("*.tif")) for name in rows}
    assert len(files["serial"]) == 8
    for one, other in zip(*files.values(), strict=True):
        assert one.name == other.name and one.read_bytes() == other.read_bytes()
    paths = ["map", "confidence"]
    pd.testing.assert_frame_equal(
        rows["serial"].drop(columns=paths), rows["spark"].drop(columns=paths), rtol=1e-6
    )


def test_filtered_inputs_are_the_labels_filter_or_refused(small, tmp_path):
    rule = sik.labels.Rule(window="1500 m")
    network, card = training.build(1, width=2, depth=2), training.Card(inputs="filtered", rule=rule, cell=2)
    table = sik.predict((network, card), small[1].path[0], tmp_path / "a")
    scene = sik.open_scene(small[1].path[0]).load()
    grey = np.repeat(sik.labels.filter_scene(scene, rule).values[None], 3, axis=0)
    by_hand = mapping.classify(
        network, training.Card(inputs="grey", cell=2), grey, np.zeros(grey.shape[1:], bool)
    )
    made = sik.scenes.read_codes(table["map"][0])
    valid = made != 255
    assert valid.mean() > 0.9
    np.testing.assert_array_equal(made[valid], by_hand.argmax(axis=-1)[valid])
    bare = tmp_path / "bare.png"
    with rasterio.open(bare, "w", driver="PNG", width=40, height=40, count=3, dtype="uint8") as target:
        target.write(np.full((3, 40, 40), 90, np.uint8))
    with pytest.raises(sik.InputError, match="no CRS in metres"):
        sik.predict((network, card), bare, tmp_path / "c")
    by_layer = training.Card(inputs="filtered", rule=sik.labels.Rule(opaque="scl"), cell=2)
    with pytest.raises(sik.InputError, match="#scl=1"):
        sik.predict((network, by_layer), bare, tmp_path / "c")


def test_a_bad_scene_is_left_out_or_ends_the_work(sharp, small, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    paths = {"bad": tmp_path / "bad.png", "good": small[1].path[0]}
    table = sik.predict(sharp, paths, tmp_path / "maps", errors="quarantine").set_index("scene")
    assert "cannot be read" in table.error["bad"] and not isinstance(table.error["good"], str)
    assert len(json.loads((tmp_path / "maps" / "maps.json").read_text())["features"]) == 1
    with pytest.raises(sik.InputError, match=r"bad\.png"):
        sik.predict(sharp, paths, tmp_path / "other")


def test_no_scene_is_written_over(sharp, small, tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(Path(small[1].path[0]).read_bytes())
    for call in (
        lambda: sik.predict(sharp, path, tmp_path),
        lambda: sik.autolabel([path], tmp_path, engine="serial"),
    ):
        with pytest.raises(sik.InputError, match="would be written over"):
            call()
    assert path.read_bytes() == Path(small[1].path[0]).read_bytes()


def test_predicting_hashes_no_scene(sharp, small, tmp_path, monkeypatch):
    monkeypatch.setattr("hashlib.file_digest", lambda file, _: pytest.fail(f"{file.name} is hashed"))
    assert len(sik.predict(sharp, small[1].path[0], tmp_path)) == 1


def test_maps_of_a_scene_that_now_fails_are_removed(sharp, small, tmp_path):
    paths = {name: tmp_path / f"{name}.tif" for name in "ab"}
    for path in paths.values():
        path.write_bytes(Path(small[1].path[0]).read_bytes())
    sik.predict(sharp, paths, tmp_path / "maps")
    paths["b"].write_text("no picture")
    sik.predict(sharp, paths, tmp_path / "maps", errors="quarantine")
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [
        ".a.json",
        "a.tif",
        "a_confidence.tif",
        "maps.json",
    ]


def test_opaque_cloud_is_no_data_in_the_map_as_in_the_labels(real, tmp_path):
    path = f"{next((real / 's2_safe').glob('*T29UNU*.SAFE'))}#scl=1"
    rule = sik.labels.Rule(opaque="scl")
    labels = sik.label(sik.open_scene(path).load(), rule).values
    without = sik.label(sik.open_scene(path).load()).values
    assert ((labels == 255) & (without != 255)).any()
    model = training.build(1, width=2, depth=2), training.Card(inputs="filtered", rule=rule, cell=2)
    made = sik.scenes.read_codes(sik.predict(model, path, tmp_path / "maps")["map"][0])
    np.testing.assert_array_equal(made == 255, labels == 255)


def test_a_scene_without_data_has_no_shares(sharp, tmp_path):
    path = write_tiff(tmp_path / "void.tif", np.zeros((3, 40, 40), np.uint8), nodata=0)
    row = sik.predict(sharp, path, tmp_path / "maps").iloc[0]
    assert np.isnan(row.open_water) and np.isnan(row.mean_confidence) and row.open_water_km2 == 0


def test_a_model_that_normalises_by_tile_takes_no_other_tiles(small, tmp_path):
    network = training.build(3, width=2, depth=2, normalisation="l2")
    card = training.Card(normalisation="l2", size=128, cell=2)
    assert len(sik.predict((network, card), small[1].path[0], tmp_path)) == 1
    with pytest.raises(sik.InputError, match="tiles of 128"):
        sik.predict((network, card), small[1].path[0], tmp_path, size=256)
    with pytest.raises(sik.InputError, match="above 96"):
        sik.predict((network, training.Card(normalisation="l2", size=64, cell=2)), small[1].path[0], tmp_path)


def test_wrong_models_and_options_are_named(sharp, tmp_path, small):
    (tmp_path / "model.keras").write_text("not one")
    with pytest.raises(sik.InputError, match=r"model\.keras"):
        sik.predict(tmp_path / "model.keras", small[1].path, tmp_path / "maps")
    for wrong, match in [({"size": 98}, "size"), ({"size": 96}, "above 96"), ({"engine": "dask"}, "engine")]:
        with pytest.raises(sik.InputError, match=match):
            sik.predict(sharp, small[1].path, tmp_path / "maps", **wrong)
    with pytest.raises(sik.InputError, match="a_confidence"):
        sik.predict(sharp, ["a.tif", "a_confidence.tif"], tmp_path / "maps")
    with pytest.raises(sik.InputError, match="no scenes"):
        sik.predict(sharp, [], tmp_path / "maps")
    assert not (tmp_path / "maps").exists()


def written(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.tif")}


def test_current_maps_are_left_as_they_are(sharp, small, tmp_path):
    paths = {name: tmp_path / f"{name}.tif" for name in "ab"}
    for path in paths.values():
        path.write_bytes(Path(small[1].path[0]).read_bytes())
    maps = tmp_path / "maps"
    first = sik.predict(sharp, paths, maps, size=SIZE)
    before = written(maps)
    again = sik.predict(sharp, paths, maps, size=SIZE)
    assert written(maps) == before and again.current.all() and not first.current.any()
    pd.testing.assert_frame_equal(first.drop(columns="current"), again.drop(columns="current"))
    assert len(json.loads((maps / "maps.json").read_text())["features"]) == 2
    # A scene that has changed, and a map or its confidence that is cut off or gone.
    for change in (
        lambda: paths["a"].write_bytes(Path(small[1].path[1]).read_bytes()),
        lambda: (maps / "a.tif").write_bytes((maps / "a.tif").read_bytes()[:-100]),
        lambda: (maps / "a_confidence.tif").write_bytes((maps / "a_confidence.tif").read_bytes()[:-50]),
        lambda: (maps / "a_confidence.tif").unlink(),
    ):
        change()
        table = sik.predict(sharp, paths, maps, size=SIZE).set_index("scene")
        assert table.current.to_dict() == {"a": False, "b": True}
        after = written(maps)
        assert after["b.tif"] == before["b.tif"] and after["a.tif"] > before["a.tif"]
        sik.scenes.read_codes(maps / "a.tif"), sik.scenes.read_codes(maps / "a_confidence.tif")
    assert not sik.predict(sharp, paths, maps, size=2 * SIZE).current.any()


def test_a_map_is_made_anew_for_another_model_but_not_for_its_scores(sharp, small, tmp_path):
    path = tmp_path / "model.keras"
    training.save_model(sharp[0], path, sharp[1])

    def current():
        return sik.predict(path, {"a": small[1].path[0]}, tmp_path / "maps", size=SIZE).current.tolist()

    assert current() == [False] and current() == [True]
    training.write_card(path, replace(sharp[1], scores={"accuracy": 0.9}))
    assert current() == [True]
    training.save_model(sharp[0], path, sharp[1])  # the same model, saved at another time
    assert current() == [True]
    network = training.build(3, 4, width=4, depth=3)
    training.save_model(network, path, sharp[1])
    assert current() == [False]
    training.write_card(path, replace(sharp[1], legend=sharp[1].legend[::-1]))
    assert current() == [False]


def test_a_scene_is_opened_once(sharp, small, tmp_path, monkeypatch):
    opened, open_reader = [], sik.scenes.open_reader
    monkeypatch.setattr(sik.scenes, "open_reader", lambda path: opened.append(path) or open_reader(path))
    for _ in range(2):
        sik.predict(sharp, small[1].path[:2], tmp_path, size=SIZE)
        assert opened == list(small[1].path[:2])
        opened.clear()
