import numpy as np
import pandas as pd
import pytest
import rasterio

import seaicekit as sik
from seaicekit import scenes, tiles


def test_tiles_cover_each_scene_and_shares_add_up(small):
    _, labelled, index = small
    for scene in labelled.itertuples():
        codes = scenes.read_codes(scene.labels)
        seen = np.zeros(codes.shape, int)
        for tile in index[index.scene == scene.scene].itertuples():
            window = np.s_[tile.row : tile.row + tile.height, tile.col : tile.col + tile.width]
            seen[window] += 1
            part = codes[window]
            assert tile.nodata == pytest.approx((part == 255).mean())
            assert tile.thin_ice == pytest.approx((part == 1).sum() / (part != 255).sum())
        assert seen.max() == 1 and (seen[codes != 255] == 1).all()
    np.testing.assert_allclose(index[["open_water", "thin_ice", "thick_ice"]].sum(axis=1), 1)


def test_scenes_never_straddle_the_split(small):
    _, _, index = small
    assert (index.groupby("scene").split.nunique() == 1).all()
    assert index.groupby("split").scene.nunique().to_dict() == {"test": 2, "train": 2}
    sides = index[index.scene.str.contains("cloudy")].split.unique()
    assert set(sides) == {"train", "test"}  # chosen evenly along cloudiness


def test_without_filter_the_cloud_share_is_zero(small, tmp_path):
    _, labelled, _ = small
    for rule in ("ignore", "mask"):
        plain = sik.autolabel(labelled.path, tmp_path, engine="serial", cloud_filter=False, nodata=rule)
        index = tiles.index_tiles(plain, tmp_path / "tiles.parquet", size=64)
        assert (index.cloud == 0).all() and index.cloud.notna().all()
    assert len(index) == len(small[2])
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "tiles.parquet"), index)


def test_edge_tiles_are_padded_with_no_data_not_with_a_class(small):
    _, _, index = small
    edge = index[(index.height < 64) & (index.width < 64)]
    assert len(edge)
    images, codes = tiles.load_tiles(edge)
    for tile, image, code in zip(edge.itertuples(), images, codes, strict=True):
        assert (code[tile.height :] == 255).all() and (code[:, tile.width :] == 255).all()
        assert (image[tile.height :] == 0).all()
        assert set(np.unique(code)) <= {0, 1, 2, 255}
        scene = sik.open_scene(tile.path).values[:, tile.row :, tile.col :]
        np.testing.assert_array_equal(image[: tile.height, : tile.width], scene.transpose(1, 2, 0))


def test_a_single_scene_is_split_by_tile_with_a_warning(small, tmp_path):
    _, labelled, _ = small
    with pytest.warns(UserWarning, match="only one scene"):
        index = tiles.index_tiles(labelled[:1], tmp_path / "t.parquet", size=64, test_fraction=0.3)
    assert set(index.split) == {"train", "test"}


def test_wrong_input(small, tmp_path):
    _, labelled, _ = small
    with pytest.raises(sik.InputError, match="no labelled scene"):
        tiles.index_tiles(labelled[:0], tmp_path / "t.parquet")
    with pytest.raises(sik.InputError, match="test_fraction"):
        tiles.index_tiles(labelled, tmp_path / "t.parquet", test_fraction=1)
    crossed = labelled.assign(labels=labelled.labels[0])
    crossed.loc[0, "path"] = sik.scenes.write_synthetic(tmp_path, 1, (100, 100))[0]
    with pytest.raises(sik.InputError, match="pixels"):
        tiles.index_tiles(crossed, tmp_path / "t.parquet")
    with pytest.raises(sik.InputError, match="cannot be read"):
        tiles.index_tiles(labelled.assign(labels=str(tmp_path / "none.tif")), tmp_path / "t.parquet")
    with rasterio.open(labelled.labels[0]) as source:
        moved, codes = source.profile | {"driver": "GTiff"}, source.read(1)
    moved["transform"] = moved["transform"] @ rasterio.Affine.translation(1, 0)
    with rasterio.open(tmp_path / "moved.tif", "w", **moved) as target:
        target.write(codes, 1)
    with pytest.raises(sik.InputError, match="another grid"):
        tiles.index_tiles(labelled.assign(labels=str(tmp_path / "moved.tif")), tmp_path / "t.parquet")
    assert not (tmp_path / "t.parquet").exists()


def test_codes_outside_the_tiles_are_no_data():
    codes = np.ones((10, 10), np.uint8)
    table = pd.DataFrame([{"row": 0, "col": 5, "height": 5, "width": 5}])
    assert (tiles.mask_outside_tiles(codes, table) == 1).sum() == 25
