"""What goes into the network: inputs, targets, classes, and the file of tiles they are read from."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
from conftest import ALONE

import seaicekit as sik
from seaicekit import tiles
from seaicekit.thresholds import Range, Thresholds

POND = Range(7, "melt pond", "#3a7bd5", value=(60, 110))


@pytest.fixture
def kept(tmp_path):
    """Return what fills a `tiles.Tiles` of a tile index."""
    files = []

    def fill(table, variant="rgb", targets="labels", where=tmp_path / "tiles.parquet"):
        wanted = tiles.target_rasters(table, targets, where)
        classes = sik.scenes.common_legend([*table["labels"].unique(), *filter(None, wanted.values())])
        files.append(os.open(tmp_path / f"{len(files)}", os.O_RDWR | os.O_CREAT))
        made = tiles.Tiles(table, variant, classes, wanted, files[-1])
        return made, made.fill()

    yield fill
    for file in files:
        os.close(file)


def test_tiles_are_parts_of_scenes_and_labels_padded_with_no_data(small, kept):
    made, counts = kept(small[2])
    images, codes = tiles.load_tiles(small[2])
    for number, tile in enumerate(small[2].itertuples()):
        part = np.s_[tile.row : tile.row + tile.height, tile.col : tile.col + tile.width]
        scene = sik.open_scene(tile.path)
        image = np.where(scene.coords["nodata"].values, 0, scene.values).transpose(1, 2, 0)[part]
        code = sik.scenes.read_codes(tile.labels)[part]
        padding = (0, 64 - tile.height), (0, 64 - tile.width)
        for pair in (made.read(number), (images[number], codes[number])):
            np.testing.assert_array_equal(pair[0], np.pad(image, (*padding, (0, 0))))
            np.testing.assert_array_equal(pair[1], np.pad(code, padding, constant_values=255))
    np.testing.assert_array_equal(counts, np.bincount(codes.ravel(), minlength=256))


def test_two_parts_fill_the_same_file(small, tmp_path, kept):
    whole, counts = kept(small[2], "filtered")
    wanted = tiles.target_rasters(small[2], "labels", "")
    file = os.open(tmp_path / "parts", os.O_RDWR | os.O_CREAT)
    parts = tiles.Tiles(small[2], "filtered", sik.classes.LEGEND, wanted, file)
    assert (sum(parts.fill(part, 3) for part in (2, 0, 1)) == counts).all()
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "0").read_bytes()
    os.close(file)


def test_filtered_inputs_are_the_filters_brightness_of_the_whole_scene(small, kept):
    folder, labelled, index = small
    made, _ = kept(index, "filtered")
    for scene in labelled.itertuples():
        expected = sik.labels.filter_scene(sik.open_scene(scene.path)).values
        for number, tile in index[index["scene"] == scene.scene].iterrows():
            inside = expected[tile.row : tile.row + tile.height, tile.col : tile.col + tile.width]
            np.testing.assert_array_equal(made.read(number)[0][: tile.height, : tile.width, 0], inside)


def test_inputs_follow_the_labels_rule_and_are_0_without_data(tmp_path):
    scene, _ = sik.scenes.synthetic_scene(2, (160, 160), cloud=0.4)
    path, _ = sik.scenes.write_synthetic(tmp_path, 2, (160, 160), 0.4)
    rule = sik.labels.Rule(Thresholds(40, 190), window=31, normalise=(1, 99))
    labelled = sik.autolabel([path], tmp_path / "labels", rule, engine="serial", progress=False)
    found, _ends = tiles.labelling_rule(labelled["labels"][0])
    assert found == rule and tiles.labelling_rule(path)[0] == sik.labels.Rule()
    bands, nodata = scene.values, scene.coords["nodata"].values
    seen = tiles.prepare_inputs(bands, nodata, "filtered", found)
    np.testing.assert_array_equal(seen[..., 0], sik.labels.filter_scene(scene, rule).values)
    assert (seen != tiles.prepare_inputs(bands, nodata, "filtered")).any()
    for variant, channels in (("rgb", 3), ("grey", 1), ("filtered", 1)):
        made = tiles.prepare_inputs(bands, nodata, variant, rule)
        assert (
            made.shape == (160, 160, channels)
            and made.dtype == np.uint8
            and tiles.channels(variant) == channels
        )
        assert not made[nodata].any()
    with pytest.raises(sik.InputError, match="inputs"):
        tiles.prepare_inputs(bands, nodata, "blue")
    with pytest.raises(sik.InputError, match="scl"):
        tiles.prepare_inputs(bands, nodata, "filtered", sik.labels.Rule(opaque="scl"))


def test_targets_are_labels_cuts_truth_or_a_persons(small, tmp_path, kept):
    folder, labelled, index = small
    first = index.iloc[:1]
    scene = sik.open_scene(first["path"].iloc[0])
    truth = folder / "truth" / f"{first['scene'].iloc[0]}.tif"
    expected = {
        "labels": sik.scenes.read_codes(first["labels"].iloc[0]),
        "raw": sik.label(scene, cloud_filter=False).values,
        "truth": sik.scenes.read_codes(truth),
        str(folder / "truth"): sik.scenes.read_codes(truth),
    }
    row, col = first["row"].iloc[0], first["col"].iloc[0]
    for targets, codes in expected.items():
        made, _ = kept(first, targets=targets, where=folder / "tiles.parquet")
        np.testing.assert_array_equal(made.read(0)[1], codes[row : row + 64, col : col + 64])
    made, _ = kept(first.assign(truth=str(truth)), targets="truth", where=tmp_path / "elsewhere")
    np.testing.assert_array_equal(made.read(0)[1], expected["truth"][row : row + 64, col : col + 64])
    for wrong in ("truth", str(tmp_path)):
        with pytest.raises(sik.InputError, match="has no raster for"):
            tiles.target_rasters(first, wrong, tmp_path / "tiles.parquet")
    with pytest.raises(sik.InputError, match="has no raster for"):
        tiles.target_rasters(first.assign(truth=None), "truth", tmp_path / "tiles.parquet")


def with_ponds(folder):
    sik.scenes.write_synthetic_set(folder, count=2, size=128)
    cuts = Thresholds(ranges=(POND,))
    paths = sorted((folder / "scenes").iterdir())
    labelled = sik.autolabel(
        paths, folder / "labels", cuts, engine="serial", progress=False, cloud_filter=False
    )
    return sik.tiles.index_tiles(labelled, folder / "tiles.parquet", size=64, test_fraction=0.5)


def test_four_classes_come_from_the_rasters_legend(tmp_path, kept):
    index = with_ponds(tmp_path)
    made, counts = kept(index)
    assert counts[3] and not counts[4:255].any()
    assert set(np.unique(made.read(0)[1])) <= {0, 1, 2, 3, 255}
    done = sik.train(tmp_path / "tiles.parquet", tmp_path / "out", **ALONE)
    assert done["legend"] == ["open water", "thin ice", "thick ice", "melt pond"]
    model, card = sik.training.load_model(tmp_path / "out" / "model.keras")
    assert model.output_shape[-1] == 4
    assert card.legend == (*sik.classes.LEGEND, sik.classes.SeaIceClass(7, "melt pond", "#3a7bd5"))


def test_codes_of_no_class_and_two_names_for_one_are_refused(small, tmp_path):
    _, labelled, index = small
    codes = sik.scenes.read_codes(labelled["labels"][0])
    for name in index["scene"].unique():
        sik.scenes.write_classes(tmp_path / f"{name}.tif", np.where(codes == 1, 9, codes), None, None)
    with pytest.raises(sik.InputError, match="codes that are in no legend"):
        sik.train(small[0] / "tiles.parquet", tmp_path / "out", targets=str(tmp_path), **ALONE)
    other = sik.classes.SeaIceClass(1, "nilas", "#112233")
    sik.scenes.write_classes(tmp_path / "other.tif", codes, None, None, (other,))
    with pytest.raises(sik.InputError, match="'nilas'.*'thin ice'"):
        sik.scenes.common_legend([labelled["labels"][0], tmp_path / "other.tif"])


def test_one_class_only_is_a_warning_and_none_an_error(small, tmp_path):
    index = pd.read_parquet(small[0] / "tiles.parquet")
    for name, path in index.drop_duplicates("scene").set_index("scene")["labels"].items():
        shape = sik.scenes.read_codes(path).shape
        sik.scenes.write_classes(tmp_path / "one" / f"{name}.tif", np.zeros(shape, np.uint8), None, None)
        sik.scenes.write_classes(tmp_path / "none" / f"{name}.tif", np.full(shape, 255, np.uint8), None, None)
    with pytest.warns(UserWarning, match="all pixels are open water"):
        done = sik.train(small[0] / "tiles.parquet", tmp_path / "out", targets=str(tmp_path / "one"), **ALONE)
    assert len(done["messages"]) == 1
    with pytest.raises(sik.InputError, match="not one pixel has a class"):
        sik.train(small[0] / "tiles.parquet", tmp_path / "out", targets=str(tmp_path / "none"), **ALONE)


def test_missing_samples_are_all_no_data_and_turns_keep_pixels_together(small, kept):
    made, _ = kept(small[2], "grey")
    seen = []
    for x, y in made.batches(np.array([[0, 2], [1, -1]]), turn=[1, 2]):
        seen += list(zip(x.numpy(), y.numpy(), strict=True))
    assert (seen[3][1] == 255).all() and not seen[3][0].any()
    for (x, y), number in zip(seen, (0, 2, 1), strict=False):
        image, codes = made.read(number)
        turns = [np.rot90(codes, n) for n in range(4)]
        turns += [turn[::-1] for turn in turns]
        same = [n for n, turn in enumerate(turns) if np.array_equal(turn, y)]
        assert same
        images = [np.rot90(image, n) for n in range(4)]
        images += [turn[::-1] for turn in images]
        assert any(np.array_equal(images[n], x) for n in same)
    again = [y.numpy() for _, y in made.batches(np.array([[2]]), turn=[1, 2])]
    np.testing.assert_array_equal(again[0][0], seen[1][1])  # whoever has the tile, and with which others


def test_nothing_is_left_of_the_shared_file(tmp_path):
    with pytest.raises(KeyError), tiles.shared_cache(tmp_path / "new", "host", True, lambda: None) as file:
        os.pwrite(file, b"tile", 0)
        assert os.pread(file, 4, 0) == b"tile" and not list((tmp_path / "new").iterdir())
        raise KeyError


def test_pixels_without_data_weigh_nothing(small, tmp_path):
    """The loss of tiles with a no-data corner is that of their valid pixels alone."""
    import keras

    done = sik.train(small[0] / "tiles.parquet", tmp_path, **ALONE | {"dropout": False, "epochs": 1})
    model, _ = sik.training.load_model(tmp_path / "model.keras")
    images, codes = tiles.load_tiles(small[2][small[2]["split"] == "test"])
    assert (codes == 255).any()
    losses = keras.losses.sparse_categorical_crossentropy(
        np.where(codes == 255, 0, codes), model(images)
    ).numpy()
    assert done["epochs"][0]["val_loss"] == pytest.approx(losses[codes != 255].mean(), rel=1e-4)


@pytest.mark.exhaustive
def test_memory_for_the_papers_tiles(tmp_path):
    """4,224 tiles of 256 pixels: at most 1 GB above what the libraries and the model take."""
    path, _ = sik.scenes.write_synthetic(tmp_path, 0, (2048, 2048))
    labelled = sik.autolabel([path], tmp_path / "labels", engine="serial", progress=False)
    rows = [
        {
            "scene": f"s{n}",
            "path": str(path),
            "labels": labelled["labels"][0],
            "row": row,
            "col": col,
            "height": 256,
            "width": 256,
            "size": 256,
            "split": "train",
        }
        for n in range(66)
        for row in range(0, 2048, 256)
        for col in range(0, 2048, 256)
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "tiles.parquet")
    code = f"""
        import json, os, resource, tempfile
        import numpy as np, pandas as pd, psutil, tensorflow as tf
        from seaicekit import classes, tiles

        table = pd.read_parquet({str(tmp_path / "tiles.parquet")!r})
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        before = psutil.Process().memory_info().rss
        with tempfile.TemporaryFile(dir={str(tmp_path)!r}) as file:
            wanted = tiles.target_rasters(table, "labels", "")
            made = tiles.Tiles(table, "rgb", classes.LEGEND, wanted, file.fileno())
            made.fill()
            filled = peak()
            share = tiles.epoch_order(len(table), 0, 0, 16, 0, 1)
            seen = sum(len(x) for x, _ in made.batches(share, [0, 0]))
        print(json.dumps([len(table), seen, filled - before, peak() - before]))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, seen, filled, total = json.loads(done.stdout.splitlines()[-1])
    print(f"above the libraries: {filled / 1e9:.2f} GB filled, {total / 1e9:.2f} GB after an epoch")
    assert count == seen == 4224 and total < 1e9
