import hashlib

import numpy as np
import pytest
import rasterio

import seaicekit as sik
from seaicekit import scenes
from seaicekit.scenes import synthetic


def test_a_seed_gives_the_same_scene_in_any_order():
    first = sik.scenes.synthetic_scene(11, (128, 150), cloud=0.3)
    sik.scenes.synthetic_scene(12, (128, 150))
    for one, other in zip(first, sik.scenes.synthetic_scene(11, (128, 150), cloud=0.3), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (first[0].values != sik.scenes.synthetic_scene(12, (128, 150), cloud=0.3)[0].values).any()


# Scenes of this size and seed as they were before a setting was added: new settings leave them be.
KNOWN = {
    "c4f83c43c1c972220539c483d96ea8dae0540388bf75337c2091a89787c658dd": {},
    "86b3bd9054a8109b7ded88101ca55d61e6ebc6d2c1b52376b97e8bac9c17e832": {"cloud": 0.4},
    "3f833176e42a013d7e99a0bed458eb449d1d1dc6ad3f269dd8df88f8ec5ca14d": {
        "cloud": 0.3,
        "opaque": 0.1,
        "light": 0.8,
    },
}


@pytest.mark.parametrize("known", KNOWN)
def test_pixels_have_known_hashes(known):
    scene, truth = scenes.synthetic_scene(7, (96, 112), **KNOWN[known])
    made = b"".join(each.tobytes() for each in (scene.values, truth.values, truth.coords["cloudy"].values))
    assert hashlib.sha256(made).hexdigest() == known


def test_a_harder_scene_has_the_same_ice():
    scene, truth = scenes.synthetic_scene(4, (256, 256), cloud=0.5)
    for harder in ({"overlap": 1.5}, {"thickness": 1.5}):
        other, same = scenes.synthetic_scene(4, (256, 256), cloud=0.5, **harder)
        np.testing.assert_array_equal(truth, same)
        assert (scene.values != other.values).mean() > 0.2
    spread = [
        scenes.synthetic_scene(4, (256, 256), overlap=overlap)[0].values.max(axis=0)[truth.values == 1].std()
        for overlap in (1.0, 1.5)
    ]
    assert spread[1] > 1.3 * spread[0]


def test_cloud_changes_pixels_not_truth():
    clear, truth = scenes.synthetic_scene(4, (256, 256))
    cloudy, same = scenes.synthetic_scene(4, (256, 256), cloud=0.5)
    np.testing.assert_array_equal(truth, same)
    under = same.coords["cloudy"].values
    assert 0.3 < under.mean() < 0.9 and not truth.coords["cloudy"].any()
    change = cloudy.values.astype(int) - clear.values
    outside = ~under & ~clear.coords["nodata"].values
    assert np.abs(change[:, outside]).max() <= 8  # the faintest veil that still counts as clear
    assert change[:, under].max() > 20 and change[:, under].min() < -20  # cloud brightens, shadow darkens


def test_classes_overlap_in_brightness_and_none_is_missing():
    seen = {0: [], 1: [], 2: []}
    for seed in range(4):
        scene, truth = scenes.synthetic_scene(seed, (512, 512))
        value = scene.values.max(axis=0)
        for code, values in seen.items():
            values.append(value[truth.values == code])
    low, middle, high = (np.concatenate(values) for values in seen.values())
    assert min(low.size, middle.size, high.size) > 0.01 * 4 * 512**2
    assert np.median(low) < np.median(middle) < np.median(high)
    assert np.quantile(low, 0.99) > np.quantile(middle, 0.01) and np.quantile(middle, 0.99) > np.quantile(
        high, 0.01
    )


def test_floes_follow_a_power_law():
    rng = np.random.default_rng(0)
    radii = synthetic.floe_radii(rng, 200_000, 4.0, 100.0)
    larger = [(radii > d).sum() for d in (5, 10, 20)]
    slopes = np.diff(np.log(larger)) / np.log(2)
    assert radii.min() >= 4 and radii.max() <= 100
    assert slopes == pytest.approx([-2, -2], abs=0.15)


def test_scene_is_in_the_ross_sea(tmp_path):
    path, truth = scenes.write_synthetic(tmp_path, 3, (100, 120), 0.2)
    scene = sik.open_scene(path)
    made, expected = scenes.synthetic_scene(3, (100, 120), 0.2)
    np.testing.assert_array_equal(scene, made)
    np.testing.assert_array_equal(scene.coords["nodata"], made.coords["nodata"])
    assert scene.rio.crs.to_epsg() == 3976 and scene.rio.resolution() == (50, -50)
    west, south, east, north = scene.rio.transform_bounds("EPSG:4326")
    assert -80 < south < north < -65 and (west > 150 or west < -140)
    with rasterio.open(truth) as source:
        np.testing.assert_array_equal(source.read(1), expected)


@pytest.mark.parametrize(
    "wrong", [{"cloud": 1.5}, {"cloud": -1}, {"shape": (4, 100)}, {"overlap": -1}, {"thickness": 3}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(sik.InputError, match=next(iter(wrong))):
        scenes.synthetic_scene(1, **({"shape": (64, 64)} | wrong))
