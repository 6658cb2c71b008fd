import json

import numpy as np
import pytest
from conftest import write_tiff

import seaicekit as sik
from seaicekit import scenes
from seaicekit.classes import LEGEND, Legend, SeaIceClass

FOUR = Legend((*LEGEND, SeaIceClass(7, "melt pond", "#3a7bd5")))
CODES = np.array([[0, 1], [2, 7]], np.uint8)


def of_raster(path, codes=()):
    with scenes.open_raster(path) as source:
        return Legend.of_raster(source, codes)


def test_a_legend_survives_json_and_a_raster(tmp_path):
    assert Legend.from_json(json.loads(json.dumps(FOUR.to_json()))) == FOUR
    scenes.write_classes(tmp_path / "a.tif", CODES, None, None, FOUR)
    assert of_raster(tmp_path / "a.tif") == FOUR and isinstance(FOUR, tuple)
    assert FOUR.palette((1, 2, 3))[[1, 7, 9]].tolist() == [[53, 181, 172], [58, 123, 213], [1, 2, 3]]


def test_a_raster_that_names_no_class(tmp_path):
    path = write_tiff(tmp_path / "a.tif", CODES[None])
    assert of_raster(path) == () and scenes.common_legend([path]) == LEGEND
    legend = of_raster(path, [7, 1])
    assert [(entry.code, entry.name) for entry in legend] == [(1, "thin ice"), (7, "class 7")]
    assert legend[0] == LEGEND[1]


def test_no_data_is_no_class_although_a_raster_names_it(tmp_path):
    """A phantom fourth class, which a public reproduction of the paper once had."""
    tags = {"CLASS_255": "no data", "CLASS_300": "beyond", "CLASS_²": "odd"}
    scenes.write_classes(tmp_path / "a.tif", CODES, None, None, tags=tags)
    assert of_raster(tmp_path / "a.tif") == LEGEND


def test_legends_of_several_rasters_are_joined(tmp_path):
    two = Legend((SeaIceClass(0, "water", "#000000"), SeaIceClass(1, "ice", "#ffffff")))
    for name, legend in (("four", FOUR), ("three", LEGEND), ("two", two)):
        scenes.write_classes(tmp_path / f"{name}.tif", CODES, None, None, legend)
    assert scenes.common_legend([tmp_path / "three.tif", tmp_path / "four.tif", CODES]) == FOUR
    assert scenes.common_legend([tmp_path / "two.tif"]) == two
    assert scenes.common_legend([CODES], FOUR[3:]) == FOUR
    with pytest.raises(sik.InputError, match=r"two\.tif: calls 0 'water', another raster 'open water'"):
        scenes.common_legend([tmp_path / "three.tif", tmp_path / "two.tif"])
