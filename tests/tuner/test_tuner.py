"""The tuner without a browser: what its controls do, and what is left in its folder."""

import base64
import io

import cv2
import ipywidgets
import numpy as np
import pytest
from PIL import Image

import seaicekit as sik
from seaicekit import classes, labels, scenes
from seaicekit.files import read_json
from seaicekit.labels import Rule
from seaicekit.thresholds import Range


def walk(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk(child)


def control(tuner, description, kind=ipywidgets.Widget):
    """Find a control by what is written on it."""
    widgets = (widget for widget in walk(tuner) if isinstance(widget, kind))
    controls = [widget for widget in widgets if getattr(widget, "description", None) == description]
    assert len(controls) == 1, (description, controls)
    return controls[0]


def press(tuner, description):
    control(tuner, description, ipywidgets.Button).click()


def texts(tuner):
    return " ".join(w.value for w in walk(tuner) if isinstance(w, ipywidgets.HTML))


def canvas(tuner):
    return next(w for w in walk(tuner) if type(w).__name__ == "SceneCanvas")


def overlay(tuner):
    """Return the class overlay as the browser gets it, (rows, columns, 4)."""
    url = canvas(tuner).layers[1].url
    assert url.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGBA"))


def painted(codes, legend=classes.LEGEND):
    """Paint codes as the overlay ought to be."""
    rgba = np.zeros((*codes.shape, 4), np.uint8)
    for entry in legend:
        rgba[codes == entry.code] = (*entry.rgb, 255)
    return rgba


def click(tuner, row, col):
    """Click as the browser tells it: latitude is minus the row."""
    canvas(tuner)._handle_leaflet_event(
        None, {"event": "interaction", "type": "click", "coordinates": [-row - 0.5, col + 0.5]}, None
    )


def key(tuner, name):
    """Press a key as the page tells it."""
    keys = next(w for w in walk(tuner) if type(w).__name__ == "KeyListener")
    keys._handle_custom_msg({"key": name}, [])


@pytest.fixture
def paths(small):
    return dict(zip(small[1].scene, small[1].path, strict=True))


@pytest.fixture
def tuner(paths, tmp_path):
    return sik.ThresholdTuner(paths, folder=tmp_path / "cal")


@pytest.fixture
def truth(small):
    return [scenes.read_codes(path) for path in sorted((small[0] / "truth").iterdir())]


def clicked(tuner, truth, scene=0, each=6):
    """Click some points of each class where the truth has it, and return how many."""
    for entry in classes.LEGEND:
        key(tuner, str(entry.code + 1))
        rows, cols = np.nonzero(truth[scene] == entry.code)
        for at in np.linspace(0, len(rows) - 1, each).astype(int):
            click(tuner, rows[at], cols[at])
    return len(tuner.points)


def test_overlay_equals_the_labels(tuner, paths):
    scene = sik.open_scene(next(iter(paths.values())))
    for name, value in (("water to", 60), ("thin ice to", 150)):
        control(tuner, name).value = value
    assert tuner.thresholds == sik.Thresholds(60, 150)
    expected = labels.label_raw(scene.values, scene.coords["nodata"].values, tuner.thresholds)
    np.testing.assert_array_equal(overlay(tuner), painted(expected))
    control(tuner, "filter thin cloud and shadow").value = True
    np.testing.assert_array_equal(overlay(tuner), painted(sik.label(scene, tuner.thresholds).values))
    control(tuner, "window").value = "31"
    np.testing.assert_array_equal(
        overlay(tuner), painted(sik.label(scene, tuner.thresholds, window=31).values)
    )
    assert tuner.rule == Rule(sik.Thresholds(60, 150), window=31)


def test_shares_are_those_of_the_labels_and_change_is_since_the_last_save(tuner, paths):
    scene = sik.open_scene(next(iter(paths.values())))

    def shares(cuts):
        codes = sik.label(scene, cuts, cloud_filter=False).values
        return [100 * (codes == code).sum() / (codes != classes.NODATA).sum() for code in range(3)]

    control(tuner, "water to").value = 90
    before, after = shares(sik.Thresholds()), shares(sik.Thresholds(90, 204))
    for share, old in zip(after, before, strict=True):
        assert f"{share:.1f} %" in texts(tuner)
        assert f"{share - old:+.1f}" in texts(tuner) or abs(share - old) < 0.05
    assert f"{after[1] + after[2]:.1f} %" in texts(tuner)
    press(tuner, "save")
    assert f"{after[0] - before[0]:+.1f}" not in texts(tuner)


def test_one_cut_pushes_the_other(tuner):
    control(tuner, "water to").value = 230
    assert tuner.thresholds == sik.Thresholds(230, 230)
    control(tuner, "thin ice to").value = 10
    assert tuner.thresholds == sik.Thresholds(10, 10)
    histogram = next(w for w in walk(tuner) if type(w).__name__ == "BrightnessHistogram")
    grip = histogram.marks[-1]
    grip.x = [180.5]  # dragged
    assert tuner.thresholds == sik.Thresholds(10, 180)
    assert control(tuner, "thin ice to").value == 180
    number = next(w for w in walk(tuner) if isinstance(w, ipywidgets.BoundedIntText))
    number.value = 44  # typed
    assert tuner.thresholds == sik.Thresholds(44, 180)


def test_clicked_points_are_scored_saved_undone_and_fitted(tuner, truth, paths, tmp_path):
    count = clicked(tuner, truth)
    assert count >= 15
    saved = read_json(tmp_path / "cal" / "points.geojson")
    assert len(saved["features"]) == count
    rgb, codes = tuner.points.pixels()
    score = tuner.thresholds.score(rgb, codes)
    assert f"{100 * score.accuracy:.0f} %" in texts(tuner)
    key(tuner, "z")
    assert len(tuner.points) == count - 1
    key(tuner, "y")
    assert len(tuner.points) == count
    marks = canvas(tuner).layers[2].data["features"]
    first = next(iter(tuner.points))
    assert len(marks) == count and marks[0]["geometry"]["coordinates"] == [first.col + 0.5, -first.row - 0.5]
    control(tuner, "water to").value = 2
    press(tuner, "fit to points")
    fitted = tuner.thresholds
    assert fitted.score(rgb, codes).accuracy >= sik.Thresholds(2, 204).score(rgb, codes).accuracy
    assert "95 % interval" in texts(tuner) and f"water_max {fitted.water_max}" in texts(tuner)
    control(tuner, "filter thin cloud and shadow").value = True
    press(tuner, "fit to points")
    assert "right with the filter" in texts(tuner)
    press(tuner, "clear")
    assert len(tuner.points) == 0
    key(tuner, "z")
    assert len(tuner.points) == count


def test_a_fit_uses_the_scenes_pixels(tuner, truth, paths):
    """What is fitted is what the API makes of the points and the scene's pixels, not of the points alone."""
    clicked(tuner, truth, each=10)
    press(tuner, "fit to points")
    pixels = sik.open_scene(next(iter(paths.values())))
    population = pixels.values[:, ~pixels.coords["nodata"].values].T
    rgb, codes = tuner.points.pixels()
    alone, known = (sik.Thresholds.fit(rgb, codes, each) for each in (None, population))
    assert tuner.thresholds == known != alone
    scene = sik.open_scene(next(iter(paths.values()))).values.transpose(1, 2, 0)
    inside = truth[0] != classes.NODATA
    accuracy = tuner.thresholds.score(scene[inside], truth[0][inside]).accuracy
    best = max(
        sik.Thresholds(a, b).score(scene[inside], truth[0][inside]).accuracy
        for a in range(20, 120, 10)
        for b in range(150, 240, 10)
    )
    assert accuracy >= 0.95 * best


def test_water_max_is_fitted_to_plain_brightness_with_the_filter_too(tuner, truth):
    """The filter corrects only pixels above water_max, so no fit to its result could raise that cut."""
    clicked(tuner, truth)
    press(tuner, "fit to points")
    plain = tuner.thresholds.water_max
    control(tuner, "filter thin cloud and shadow").value = True
    control(tuner, "water to").value = plain // 2
    press(tuner, "fit to points")
    assert tuner.thresholds.water_max == plain > 1


def test_new_tuner_restores_the_last_state(tuner, truth, paths, tmp_path):
    clicked(tuner, truth)
    control(tuner, "filter thin cloud and shadow").value = True
    control(tuner, "thin ice to").value = 190
    key(tuner, "n")
    again = sik.ThresholdTuner(paths, folder=tmp_path / "cal")
    assert again.rule == tuner.rule and list(again.points) == list(tuner.points)
    assert texts(again).count("points right") == 1 and again._now == list(paths)[1]
    np.testing.assert_array_equal(overlay(again), overlay(tuner))
    press(tuner, "save")
    control(tuner, "thin ice to").value = 180  # moved again, and not saved
    third = sik.ThresholdTuner(paths, folder=tmp_path / "cal")
    assert third.rule == tuner.rule
    np.testing.assert_array_equal(overlay(third), overlay(tuner))
    other = sik.ThresholdTuner(paths, sik.Thresholds(50, 180), folder=tmp_path / "cal")  # what is given wins
    assert other.thresholds == sik.Thresholds(50, 180) and len(other.points) == len(tuner.points)


def test_saved_file_holds_the_provenance_of_its_cuts(tuner, truth, paths, tmp_path):
    count = clicked(tuner, truth)
    control(tuner, "who").value = "A. Scientist"
    press(tuner, "save")
    file = tmp_path / "cal" / "thresholds.json"
    assert sik.Thresholds.load(file) == tuner.thresholds
    saved = sik.thresholds.cuts_provenance(file)
    assert (
        saved["who"] == "A. Scientist"
        and saved["points"]["count"] == count
        and list(saved["scenes"]) == list(paths)
    )
    accuracy = tuner.thresholds.score(*tuner.points.pixels()).accuracy
    assert saved["score"]["accuracy"] == pytest.approx(accuracy)
    assert saved["rule"]["cloud_filter"] is False and saved["when"].startswith("20")
    assert "-p cloud_filter false" in texts(tuner)


def test_presets_are_offered_and_kept(tuner, paths, tmp_path):
    offered = control(tuner, "preset")
    paper = dict(offered.options)["paper"]
    control(tuner, "water to").value = 99
    next(w for w in walk(tuner) if getattr(w, "placeholder", "").startswith("a name")).value = "spring: ../x"
    press(tuner, "keep")
    assert [path.name for path in (tmp_path / "cal" / "presets").iterdir()] == ["spring x.json"]
    offered.value = paper
    assert tuner.thresholds == sik.Thresholds()
    offered.value = dict(offered.options)["spring x"]
    assert tuner.thresholds == sik.Thresholds(99, 204)
    (tmp_path / "cal" / "presets" / "spring x.json").write_text(
        '{"format": "seaicekit-thresholds-1", "water_max": 99, "thin_max": 3}'
    )
    offered.value = paper
    offered.value = dict(offered.options)["spring x"]
    assert "let them not cross" in texts(tuner) and tuner.thresholds == sik.Thresholds()


def test_suggested_cuts_are_shown_with_their_areas_before_they_are_accepted(tuner):
    before = tuner.thresholds
    offered = tuner.suggest()
    assert len(offered) == 2 and tuner.thresholds == before
    assert all(name in texts(tuner) for name in offered) and "thick ice" in texts(tuner)
    accept = [w for w in walk(tuner) if getattr(w, "description", "") == "accept"]
    accept[0].click()
    assert tuner.thresholds == next(iter(offered.values()))
    assert not [w for w in walk(tuner) if getattr(w, "description", "") == "accept"]


def test_a_class_by_colour_is_labelled_and_can_be_clicked(tuner, paths):
    press(tuner, "add")
    control(tuner, "name").value = "melt pond"
    control(tuner, "hue").value = (0, 179)
    control(tuner, "saturation").value = (20, 255)
    scene = sik.open_scene(next(iter(paths.values())))
    pond = Range(3, "melt pond", control(tuner, "colour").value, hue=(0, 179), saturation=(20, 255))
    expected = sik.Thresholds(ranges=[pond])
    assert tuner.thresholds == expected
    codes = sik.label(scene, expected, cloud_filter=False).values
    np.testing.assert_array_equal(overlay(tuner), painted(codes, expected.legend))
    key(tuner, "4")
    valid = np.argwhere(codes != classes.NODATA)[0]
    click(tuner, *valid)
    assert next(iter(tuner.points)).code == 3
    buttons = [w for w in walk(tuner) if getattr(w, "tooltip", "") == "take this range away"]
    buttons[0].click()
    assert tuner.thresholds == sik.Thresholds() and len(tuner.points) == 1
    listed = next(w for w in walk(tuner) if isinstance(w, ipywidgets.Select) and w.rows == 7)
    assert "melt pond" in listed.options[0][0] and "melt pond" in texts(tuner)
    press(tuner, "clear")
    control(tuner, "water to").value = 20
    key(tuner, "z")  # back comes a point of a class that is no longer there
    assert [point.code for point in tuner.points] == [3]
    press(tuner, "add")  # and its code is not given to another class
    assert tuner.thresholds.ranges[0].code == 4
    tuner._settle()
    again = sik.ThresholdTuner(paths, folder=tuner._folder)
    assert list(again.points) == list(tuner.points) and "melt pond" in texts(again)


def test_invalid_clicks_show_a_message(tuner, truth):
    for row, col in ((-5, 3), (10, 900)):
        click(tuner, row, col)
        assert "outside" in texts(tuner)
    row, col = np.argwhere(truth[0] == classes.NODATA)[0]
    click(tuner, row, col)
    assert "no data" in texts(tuner)
    assert len(tuner.points) == 0


def test_a_scene_that_cannot_be_opened_is_passed_over(paths, tmp_path):
    (tmp_path / "broken.tif").write_text("no image")
    listed = (
        dict(list(paths.items())[:1]) | {"broken": tmp_path / "broken.tif"} | dict(list(paths.items())[1:])
    )
    tuner = sik.ThresholdTuner(listed, folder=tmp_path / "cal")
    first, _, third, *_ = listed
    key(tuner, "n")
    assert tuner._now == third and "broken is passed over" in texts(tuner)
    picker = next(w for w in walk(tuner) if isinstance(w, ipywidgets.Dropdown) and "broken" in w.options)
    picker.value = "broken"
    assert picker.value == third
    with pytest.raises(sik.InputError, match=r"none can be opened.*broken\.tif"):
        sik.ThresholdTuner([tmp_path / "broken.tif"], folder=tmp_path / "other")


def test_points_are_loaded_and_broken_files_lose_nothing(tuner, truth, tmp_path, paths):
    count = clicked(tuner, truth)
    content = (tmp_path / "cal" / "points.geojson").read_bytes()
    upload = next(w for w in walk(tuner) if isinstance(w, ipywidgets.FileUpload))
    fresh = sik.ThresholdTuner(paths, folder=tmp_path / "fresh")
    file = {
        "name": "mine.geojson",
        "type": "",
        "size": len(content),
        "content": content,
        "last_modified": None,
    }
    tuner._load((file | {"content": b"{ broken"},))
    assert "not JSON" in texts(tuner) and len(tuner.points) == count
    fresh._load((file,))
    assert list(fresh.points) == list(tuner.points) and f"loaded {count} points" in texts(fresh)
    assert upload.accept == ".geojson,.json"


def test_a_click_that_cannot_be_written_is_rescued(tuner, truth, tmp_path):
    count = clicked(tuner, truth)
    (tmp_path / "cal" / "points.geojson").write_text("{}")  # by another program
    key(tuner, "1")
    row, col = np.argwhere(truth[0] == 0)[1]
    click(tuner, row, col)
    assert len(tuner.points) == count + 1 and "points.rescued.geojson" in texts(tuner)
    row, col = np.argwhere(truth[0] == 0)[40]
    click(tuner, row, col)
    assert len(read_json(tmp_path / "cal" / "points.rescued.geojson")["features"]) == count + 2


def test_points_of_another_program_are_merged(tuner, truth, paths, tmp_path):
    count = clicked(tuner, truth)
    other = sik.ThresholdTuner(paths, folder=tmp_path / "cal")
    free = [tuple(place) for place in np.argwhere(truth[0] == 2)[5:400:50]]
    click(other, *free[0])
    click(tuner, *free[1])
    assert "changed elsewhere" in texts(tuner) and len(tuner.points) == count + 2
    click(tuner, *free[2])
    assert len(read_json(tmp_path / "cal" / "points.geojson")["features"]) == count + 3


def test_suggesting_over_many_scenes_keeps_the_picture(small, tmp_path):
    many = {f"scene {number}": small[1].path[number % 4] for number in range(9)}
    tuner = sik.ThresholdTuner(many, folder=tmp_path / "cal")
    tuner.suggest()
    before = overlay(tuner)
    control(tuner, "water to").value = 120
    assert (overlay(tuner) != before).any()


def test_a_window_in_metres_does_not_stop_a_scene_that_has_none(small, tmp_path):
    cv2.imwrite(
        str(tmp_path / "plain.png"), np.random.default_rng(0).integers(1, 255, (90, 80, 3)).astype(np.uint8)
    )
    tuner = sik.ThresholdTuner([small[1].path[0], tmp_path / "plain.png"], folder=tmp_path / "cal")
    control(tuner, "filter thin cloud and shadow").value = True
    control(tuner, "window").value = "1550 m"
    key(tuner, "n")
    assert "window" in texts(tuner) and tuner.rule.window == 155 and tuner._now == "plain"


def test_failed_save_shows_a_message(tuner, tmp_path):
    (tmp_path / "cal").write_text("a file where the folder should be")
    press(tuner, "save")
    assert "cannot write there" in texts(tuner)


def test_memory_is_flat_over_many_moves(tuner):
    """500 moves leave no pictures behind; `python -m benchmarks tuner` weighs the whole process."""
    import tracemalloc

    slider = control(tuner, "water to")
    for value in range(80):
        slider.value = 20 + value % 60
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for value in range(500):
        slider.value = 20 + value % 60
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 1e6


def test_wrong_windows_are_refused(tuner):
    control(tuner, "filter thin cloud and shadow").value = True
    control(tuner, "window").value = "many"
    assert "window: must be" in texts(tuner) and tuner.rule.window == 155


def test_fitting_without_widgets():
    """Fitting without widgets is the same object."""
    rgb = np.repeat(np.array([5, 10, 12, 90, 95, 100, 230, 240, 250], np.uint8)[:, None], 3, axis=1)
    codes = np.repeat([0, 1, 2], 3)
    cuts = sik.Thresholds.fit(rgb, codes)
    np.testing.assert_array_equal(cuts.classify(rgb), codes)
    assert cuts.score(rgb, codes).accuracy == 1
