import numpy as np
import pytest
import rasterio

import seaicekit as sik
from seaicekit import mapping, unet


@pytest.fixture(scope="module")
def model():
    """An untrained but sharp network: what it says does not matter, only that it says it everywhere."""
    import keras

    keras.utils.set_random_seed(3)
    network = unet.build(3, width=4, depth=3)
    network.set_weights([4 * weight for weight in network.get_weights()])
    return network


def test_maps_lie_on_the_scenes_grid(model, small, tmp_path):
    _, labelled, _ = small
    model.save(tmp_path / "model.keras")
    table = sik.predict(tmp_path / "model.keras", labelled.path[:2], tmp_path / "maps", size=128)
    for row in table.itertuples():
        scene = sik.open_scene(row.path)
        with rasterio.open(row.map) as source, rasterio.open(row.confidence) as sure:
            codes, percent = source.read(1), sure.read(1)
            assert source.crs == scene.rio.crs and source.transform == scene.rio.transform()
            assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and source.nodata == sure.nodata == 255
            assert source.colormap(1)[2][:3] == sik.classes.LEGEND[2].rgb
        outside = scene.coords["nodata"].values
        assert (codes[outside] == 255).all() and (percent[outside] == 255).all()
        assert codes[~outside].max() <= 2 and 33 <= percent[~outside].min() <= percent[~outside].max() <= 100
        assert row.thin_ice == pytest.approx((codes[~outside] == 1).mean())
        assert row.open_water + row.thin_ice + row.thick_ice == pytest.approx(1)


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (64, 200), (128, 128), (129, 300)])
def test_any_size_is_covered_and_probabilities_add_up(model, shape):
    bands = np.random.default_rng(1).integers(0, 256, (3, *shape)).astype(np.uint8)
    probabilities = mapping.classify(model, bands, np.zeros(shape, bool), 128)
    assert probabilities.shape == (*shape, 3)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-4)


def test_a_scene_that_fits_one_tile_is_the_network_itself(model):
    bands = np.random.default_rng(2).integers(0, 256, (3, 128, 128)).astype(np.uint8)
    expected = model(bands.transpose(1, 2, 0)[None]).numpy()[0]
    np.testing.assert_allclose(mapping.classify(model, bands, np.zeros((128, 128), bool), 128), expected, atol=1e-5)


def test_wrong_models_are_named(tmp_path, small):
    (tmp_path / "model.keras").write_text("not one")
    with pytest.raises(sik.InputError, match=r"model\.keras"):
        sik.predict(tmp_path / "model.keras", small[1].path, tmp_path / "maps")
    with pytest.raises(sik.InputError, match="size"):
        sik.predict(tmp_path / "model.keras", small[1].path, tmp_path / "maps", size=100)
    with pytest.raises(sik.InputError, match="a_confidence"):
        sik.predict(tmp_path / "model.keras", ["a.tif", "a_confidence.tif"], tmp_path / "maps")
    assert not (tmp_path / "maps").exists()
