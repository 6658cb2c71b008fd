import numpy as np
import pandas as pd
import pytest
import rasterio.warp
from conftest import write_tiff
from hypothesis import given, settings
from hypothesis import strategies as st

import seaicekit as sik
from seaicekit.tiles import splits

SIDE = 100_000.0  # metres, some 0.9 degrees of latitude


def table(paths, tiles=4):
    rows = [
        {"scene": name, "path": str(path), "cloud": 0.0} for name, path in paths.items() for _ in range(tiles)
    ]
    return pd.DataFrame(rows)


def choose(tiles, split, test_fraction, seed, dates=None):
    options = splits.SplitOptions(split=split, test_fraction=test_fraction, seed=seed)
    return splits.choose_split(tiles, options, dates)


def place(folder, name, lon, lat, crs="EPSG:3031"):
    """A scene of 100 km a side whose centre is at a longitude and latitude."""
    [x], [y] = rasterio.warp.transform("EPSG:4326", crs, [lon], [lat])
    grid = rasterio.transform.from_origin(x - SIDE / 2, y + SIDE / 2, SIDE / 8, SIDE / 8)
    return write_tiff(folder / f"{name}.tif", np.ones((3, 8, 8), np.uint8), crs=crs, transform=grid)


def test_by_tile_is_scikit_learns_split(tmp_path):
    from sklearn.model_selection import train_test_split

    rows = table(dict.fromkeys("abcde", "none"), 20)
    chosen = choose(rows, "tile", 0.2, 0)
    assert list(np.flatnonzero(chosen == "test")) == sorted(
        train_test_split(range(100), test_size=0.2, random_state=0)[1]
    )
    assert (rows.assign(side=chosen).groupby("scene").side.nunique() == 2).any()  # which is how it leaks


def test_by_place_takes_one_end_of_the_region_also_across_the_antimeridian(tmp_path):
    spots = {
        "a": 170,
        "b": 174,
        "twin": 174.1,
        "c": 178,
        "d": -178,
        "e": -174,
    }  # 174.1 is next to 174, not apart
    rows = table({name: place(tmp_path, name, lon, -75) for name, lon in spots.items()})
    for share, expected in [(0.3, [{"d", "e"}, {"a"}]), (0.5, [{"c", "d", "e"}, {"a", "b", "twin"}])]:
        sides = rows.assign(side=choose(rows, "place", share, 0)).groupby("scene").side.agg(set)
        test = {name for name, side in sides.items() if side == {"test"}}
        assert test in expected and sides.map(len).max() == 1  # which end is not promised
    inside = place(tmp_path, "inside", 174.05, -75.1)  # a chip within others
    chips = pd.concat([rows, table({"inside": inside})], ignore_index=True)
    sides = chips.assign(side=choose(chips, "place", 0.5, 0)).groupby("scene").side.first()
    assert sides["inside"] == sides["b"] == sides["twin"]
    twins = rows[rows.scene.isin(["b", "twin"])]
    with pytest.raises(sik.InputError, match="two places"):
        choose(twins, "place", 0.5, 0)
    bare = table(
        {
            "a": tmp_path / "a.tif",
            "bare": write_tiff(tmp_path / "bare.tif", np.ones((3, 8, 8), "u1"), crs=None),
        }
    )
    with pytest.raises(sik.InputError, match="bare has no CRS"):
        choose(bare, "place", 0.5, 0)


def test_by_season_goes_round_the_turn_of_the_year():
    dates = {"nov": "2019-11-03T00:00:00Z", "dec": "2018-12-10T00:00:00Z", "jan": "2020-01-05T00:00:00Z"}
    dates |= {"feb": "2017-02-01T00:00:00Z", "also_feb": "2021-02-01T00:00:00+00:00"}
    rows = table(dict.fromkeys(dates, "none"))
    chosen = rows.assign(side=choose(rows, "season", 0.3, 7, pd.Series(dates)))  # as the catalogue has them
    assert set(chosen[chosen.side == "test"].scene) == {
        "feb",
        "also_feb",
    }  # February is the end of a southern season
    with pytest.raises(sik.InputError, match="nov has no date"):
        choose(rows, "season", 0.3, 0, dates | {"nov": None})
    with pytest.raises(sik.InputError, match="two seasons"):
        choose(rows, "season", 0.3, 0, dict.fromkeys(dates, "2019-11-03T00:00:00Z"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 364 * 24), min_size=2, max_size=10), st.floats(0.05, 0.95))
def test_at_least_a_week_lies_between_the_sides_of_a_season(hours, share):
    start = pd.Timestamp("2019-01-01", tz="UTC")
    dates = {str(n): (start + pd.Timedelta(hours=hour)).isoformat() for n, hour in enumerate(hours)}
    rows = table(dict.fromkeys(dates, "none"), 2)
    try:
        side = rows.assign(side=choose(rows, "season", share, 0, dates)).groupby("scene").side.first()
    except sik.InputError:
        known = np.unique(hours)
        assert (np.diff(known) < 7 * 24).sum() >= len(
            known
        ) - 2  # but for the turn of the year, no week without any
        return
    near = [abs(hours[int(a)] - hours[int(b)]) for a in side.index for b in side.index if side[a] != side[b]]
    assert min(near) >= 7 * 24 - 1e-6 and side.nunique() == 2


def test_the_index_keeps_truth_and_refuses_an_unknown_split(small, tmp_path):
    folder, labelled, _ = small
    truth = {row.scene: str(folder / "truth" / f"{row.scene}.tif") for row in labelled.itertuples()}
    index = sik.tiles.index_tiles(labelled, tmp_path / "t.parquet", 64, split="tile", truth=truth)
    assert (index.truth == index.scene.map(truth)).all() and set(index.split) == {"train", "test"}
    for wrong, match in [({"split": "random"}, "split: must be"), ({"split": "season"}, "no date")]:
        with pytest.raises(sik.InputError, match=match):
            sik.tiles.index_tiles(labelled, tmp_path / "u.parquet", 64, **wrong)
    assert not (tmp_path / "u.parquet").exists()
