"""Areas by day, each place once, against sums of true areas."""

import numpy as np
import pandas as pd
import pytest
import rasterio
import rasterio.warp

import seaicekit as sik
from seaicekit import mapping
from seaicekit.classes import LEGEND

GRID = rasterio.Affine(20, 0, 500_000, 0, -20, 1_600_000)
NAMES = ["open_water_km2", "thin_ice_km2", "thick_ice_km2"]


def mapped(
    folder, name, codes, move=(0, 0), day="2019-11-03T10:00:00Z", sure=0.9, crs="EPSG:32758", grid=GRID
):
    """Write a map whose corner lies some pixels down and right of GRID's; return its row of the table."""
    path = folder / f"{name}.tif"
    sik.scenes.write_classes(path, codes, crs, grid * rasterio.Affine.translation(move[1], move[0]))
    areas = sik.thresholds.square_kilometres(path, LEGEND)
    row = {"scene": name, "map": str(path), "datetime": day, "mean_confidence": sure}
    return row | {name: areas[code] for code, name in enumerate(NAMES)}


def series(*rows):
    return mapping.time_series(pd.DataFrame(rows), LEGEND)


def random(seed, shape=(90, 120)):
    return np.random.default_rng(seed).choice(np.array([0, 1, 2, 255], np.uint8), shape)


def test_scenes_of_a_day_that_lie_apart_add_up(tmp_path):
    one, other = mapped(tmp_path, "a", random(0)), mapped(tmp_path, "b", random(1), (0, 120))
    found = series(one, other, mapped(tmp_path, "c", random(2), day="2019-11-20T00:00:00Z"))
    assert [str(day) for day in found.index] == ["2019-11-03", "2019-11-20"]
    assert found.scenes.tolist() == [2, 1]
    for name in NAMES:
        assert found[name].iloc[0] == pytest.approx(one[name] + other[name], rel=1e-6)
    ice = found.thin_ice_km2 + found.thick_ice_km2
    assert found.ice_concentration.tolist() == pytest.approx((ice / (ice + found.open_water_km2)).tolist())


def test_half_overlapping_scenes_of_a_day_count_as_their_union(tmp_path):
    """Against one map of both, in which the surer scene lies on top."""
    low, high = random(0), random(1)
    union = np.full((90, 180), 255, np.uint8)
    union[:, :120] = low
    union[:, 60:] = np.where(high != 255, high, union[:, 60:])
    rows = mapped(tmp_path, "low", low, sure=0.8), mapped(tmp_path, "high", high, (0, 60), sure=0.9)
    expected = mapped(tmp_path, "union", union)
    for given in (rows, rows[::-1]):
        found = series(*given)
        for name in NAMES:
            assert found[name].iloc[0] == pytest.approx(expected[name], rel=1e-4)
    assert sum(row["thin_ice_km2"] for row in rows) > 1.2 * expected["thin_ice_km2"]


def test_twins_of_a_day_count_once(tmp_path):
    codes = random(3)
    one, twin = mapped(tmp_path, "a", codes), mapped(tmp_path, "b", codes)
    found = series(one, twin, one | {"scene": "c"})
    assert found.scenes.tolist() == [3] and found[NAMES].iloc[0].tolist() == [one[name] for name in NAMES]
    later = twin | {"datetime": "2019-11-04T10:00:00Z"}
    assert series(one, later)["thin_ice_km2"].tolist() == pytest.approx([one["thin_ice_km2"]] * 2)


def test_scenes_on_other_grids_and_projections_count_once(tmp_path):
    """Water everywhere: the union's area is that of the larger scene, whatever the grids."""
    water = np.zeros((100, 100), np.uint8)
    whole = mapped(tmp_path, "whole", water, grid=rasterio.Affine(60, 0, 499_000, 0, -60, 1_601_000))
    middle = mapped(
        tmp_path, "middle", water, sure=0.5, grid=rasterio.Affine(20, 0, 501_003, 0, -20, 1_599_007)
    )
    found = series(middle, whole)
    assert found.open_water_km2.iloc[0] == pytest.approx(whole["open_water_km2"], rel=1e-9)
    x, y = rasterio.warp.transform("EPSG:32758", "EPSG:3031", [502_000], [1_598_000])
    polar = rasterio.Affine(20, 0, x[0] - 500, 0, -20, y[0] + 500)
    turned = mapped(tmp_path, "polar", water[:50, :50], sure=0.5, crs="EPSG:3031", grid=polar)
    assert series(whole, turned).open_water_km2.iloc[0] == pytest.approx(whole["open_water_km2"], rel=1e-9)
    far = mapped(
        tmp_path, "far", water, sure=0.4, crs="EPSG:3413", grid=rasterio.Affine(60, 0, 0, 0, -60, -2_000_000)
    )
    both = whole["open_water_km2"] + far["open_water_km2"]
    assert series(whole, far).open_water_km2.iloc[0] == pytest.approx(both, rel=1e-9)


def test_scenes_without_date_or_area_are_passed_over_and_columns_must_be_there(tmp_path):
    row = mapped(tmp_path, "a", random(4))
    found = series(row, row | {"datetime": None}, row | {"open_water_km2": np.nan, "map": "none.tif"})
    assert found.scenes.tolist() == [1]
    for name in ("datetime", "map"):
        with pytest.raises(sik.InputError, match=name):
            mapping.time_series(pd.DataFrame([row]).drop(columns=name), LEGEND)
