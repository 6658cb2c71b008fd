import cv2
import numpy as np
import pytest
import shapely
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import seaicekit as sik
from seaicekit import maps


def images(figure):
    """Return the pixels of all images in a figure, axis by axis."""
    return [image.get_array() for axis in figure.axes for image in axis.images]


def test_gallery_shows_each_scene_below_its_name(small):
    labelled = small[1].set_index("scene")
    figure = maps.gallery(labelled.path)
    assert [axis.get_title() for axis in figure.axes] == list(labelled.index)
    for pixels, path in zip(images(figure), labelled.path, strict=True):
        np.testing.assert_array_equal(pixels, maps.read_picture(path))


def test_labelled_shows_scenes_beside_their_labels(small):
    labelled = small[1].set_index("scene").iloc[:2]
    cuts = sik.Thresholds()
    figure = maps.labelled(labelled.path, cuts, labelled.labels)
    axes = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in axes[:3]] == ["scene", "cuts alone", "filter and cuts"]
    assert [axis.get_ylabel() for axis in axes[::3]] == list(labelled.index)
    shown = iter(images(figure))
    for path, raster in zip(labelled.path, labelled.labels, strict=True):
        scene = sik.open_scene(path)
        alone = sik.labels.label_raw(scene.values, scene.coords["nodata"].values, cuts)
        expected = [
            maps.read_picture(path),
            maps.coloured(alone),
            maps.coloured(sik.scenes.read_codes(raster)),
        ]
        for pixels in expected:
            np.testing.assert_array_equal(next(shown), pixels)
    assert next(shown, None) is None
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [*(entry.name for entry in sik.classes.LEGEND), "no data"]


def test_histogram_counts_the_pixels_of_each_brightness(small):
    paths = list(small[1].path)
    axis = maps.histogram(paths, sik.Thresholds(40, 190)).axes[0]
    counts = sum(sik.thresholds.scene_histogram(path) for path in paths)
    heights = np.array([bar.get_height() for bar in axis.patches])
    np.testing.assert_allclose(heights / heights.sum(), counts / counts.sum())
    assert {40, 190} <= {round(float(line.get_xdata()[0])) for line in axis.lines}


def test_curves_follow_the_history():
    history = [
        {"epoch": 1, "loss": 1, "val_loss": 2, "accuracy": 0.5, "val_accuracy": 0.4},
        {"epoch": 2, "loss": 0.5, "val_loss": 1.5, "accuracy": 0.7, "val_accuracy": 0.6},
    ]
    axes = maps.curves(history).axes
    for axis, name in zip(axes, ("loss", "accuracy"), strict=True):
        for line, column in zip(axis.lines, (name, f"val_{name}"), strict=True):
            assert list(line.get_xdata()) == [1, 2]
            assert list(line.get_ydata()) == [row[column] for row in history]
    assert [text.get_text() for text in axes[1].get_legend().get_texts()] == ["training tiles", "test tiles"]


def test_save_writes_the_figure_as_png_and_returns_it(tmp_path):
    figure = Figure(figsize=(2, 1), facecolor="#3465a4")
    assert maps.save(figure, tmp_path / "a.png") is figure
    pixels = cv2.imread(str(tmp_path / "a.png"))[..., ::-1]
    assert pixels.shape[1] > pixels.shape[0] > 100 and (pixels == (0x34, 0x65, 0xA4)).all()


def feature(number, *boxes, day=None):
    shape = shapely.MultiPolygon([shapely.box(*box) for box in boxes])
    properties = {"datetime": day and f"2019-11-{day:02}T20:00:00Z"}
    return {
        "type": "Feature",
        "id": f"s{number}",
        "geometry": shapely.geometry.mapping(shape),
        "properties": properties,
    }


def drawn(figure):
    """Return the footprints in a figure, as (polygon in metres, colour), and all its texts."""
    axis = figure.axes[0]
    shapes = [
        (shapely.Polygon(patch.get_path().vertices), to_hex(patch.get_edgecolor()))
        for patch in axis.patches
        if patch.get_zorder() == 5
    ]
    return shapes, [text.get_text() for text in [*axis.texts, *figure.texts]]


def test_footprints_lie_where_the_scenes_are(small):
    items, _ = sik.catalogue(small[0] / "scenes")
    shapes, texts = drawn(maps.footprints(items))
    for (shape, _), item in zip(shapes, items, strict=True):
        scene = sik.open_scene(item.assets["image"].href)
        assert shape.area == pytest.approx(scene.size / 3 * 50**2, rel=0.05)
    assert any(text.endswith("° S") or text.endswith("° N") for text in texts)


def test_footprints_across_180_are_whole_and_coloured_by_day():
    halves = (179, -75, 180, -74), (-180, -75, -179, -74)
    nowhere = feature(5) | {"geometry": None}
    arctic = feature(6, (10, 80, 12, 81))
    items = [feature(1, *halves, day=3), feature(2, (170, -75, 172, -74), day=20), nowhere, arctic]
    items += [feature(3, (170, -77, 172, -76), day=20), feature(4, (-170, -77, -168, -76))]
    shapes, texts = drawn(maps.footprints(items))
    west, south, east, north = shapes[0][0].bounds
    assert len(shapes) == 4 and west == pytest.approx(-east, rel=1e-2) and 25e3 < east < 35e3 and north < -1e6
    colours = [colour for _, colour in shapes]
    assert colours[0] != colours[1] == colours[2] and colours[3] == "#595959"
    assert {"1", "2", "5", "6", "180°", "74° S", "Not on this map: s5, s6"} <= set(texts)


def test_footprints_around_the_pole_have_a_whole_graticule():
    items = [feature(n, (lon, 70, lon + 5, 72), day=n) for n, lon in enumerate((-170, -80, 10, 100), 1)]
    _, texts = drawn(maps.footprints(items))
    assert {"80° N", "90° E", "90° W", "0°", "180°"} <= set(texts)


def test_footprints_without_a_place_are_refused():
    with pytest.raises(sik.InputError, match="no scene has a place"):
        maps.footprints([feature(1) | {"geometry": None}])


def test_histogram_of_cuts_with_a_class_by_brightness(small):
    glint = sik.thresholds.Range(3, "glint", "#ff00ff", value=(250, 255))
    figure = maps.histogram(list(small[1].path), sik.Thresholds(ranges=[glint]))
    colours = [to_hex(bar.get_facecolor()) for bar in figure.axes[0].patches]
    assert colours[252] == "#ff00ff" and colours[100] == sik.classes.LEGEND[1].colour
