import cv2
import numpy as np
import pytest

import seaicekit as sik
from seaicekit import labels, maps


def decoded(image):
    return cv2.imdecode(np.frombuffer(image.value, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_tuner_shows_what_its_cuts_say(small, tmp_path):
    _, labelled, _ = small
    tuner = sik.ThresholdTuner(labelled.path)
    assert tuner.thresholds == sik.Thresholds()
    tuner._opacity.value = 1
    scene = sik.open_scene(labelled.path[0])
    for cuts in ((30, 204), (60, 150)):
        tuner._cuts.value = cuts
        assert tuner.thresholds == sik.Thresholds(*cuts)
        expected = labels.raw(scene.values, scene.coords["nodata"].values, sik.Thresholds(*cuts))
        np.testing.assert_array_equal(decoded(tuner._view), maps.coloured(expected))
    tuner._filter.value = True
    np.testing.assert_array_equal(decoded(tuner._view), maps.coloured(sik.label(scene, tuner.thresholds).values))
    before = tuner._view.value
    tuner._picker.value = tuner._picker.options[1]
    assert tuner._view.value != before
    tuner.save(tmp_path / "thresholds.json")
    assert sik.Thresholds.load(tmp_path / "thresholds.json") == sik.Thresholds(60, 150)


def test_figures_are_drawn(small, tmp_path):
    _, labelled, _ = small
    figures = [
        maps.gallery(labelled.path),
        maps.labelled(labelled.path, sik.Thresholds(), labelled.labels),
        maps.histogram(list(labelled.path), sik.Thresholds()),
        maps.confusion([[3, 1, 0], [0, 0, 0], [1, 0, 9]], "title"),
        maps.curves([{"epoch": 1, "loss": 1, "val_loss": 2, "accuracy": 0.5, "val_accuracy": 0.4}]),
    ]
    for number, figure in enumerate(figures):
        maps.save(figure, tmp_path / f"{number}.png")
        assert cv2.imread(str(tmp_path / f"{number}.png")).std() > 5


def test_interactive_map_has_layers_legend_and_tiles(small):
    import requests

    _, labelled, _ = small
    view = maps.interactive({"scene": labelled.path[0], "label": labelled.labels[0]})
    named = {layer.name: layer for layer in view.layers}
    assert {"scene", "label"} <= named.keys()
    west, south, east, north = sik.open_scene(labelled.path[0]).rio.transform_bounds("EPSG:4326")
    bounds = f"{named['label'].url}".split("?")
    zoom = 8
    x = int(((west + east) / 2 + 180) / 360 * 2**zoom)
    latitude = np.radians((south + north) / 2)
    y = int((1 - np.arcsinh(np.tan(latitude)) / np.pi) / 2 * 2**zoom)
    answer = requests.get("?".join(bounds).format(z=zoom, x=x, y=y), timeout=30)
    tile = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
    painted = {tuple(colour) for colour in tile[tile[..., 3] == 255][:, 2::-1]}
    assert {entry.rgb for entry in sik.classes.LEGEND} & painted


def test_a_scene_without_crs_has_no_place_on_a_map(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((20, 20, 3), 90, np.uint8))
    with pytest.raises(sik.InputError, match="no CRS"):
        maps.interactive({"scene": tmp_path / "a.png"})
