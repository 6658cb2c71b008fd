"""Any image becomes one array with its CRS and its no-data mask."""

from typing import TYPE_CHECKING

from seaicekit.scenes.archive import fetch, search
from seaicekit.scenes.folders import (
    catalogue,
    check_scene,
    describe_scene,
    find_scenes,
    has_crs,
    load_catalogue,
    save_catalogue,
)
from seaicekit.scenes.opening import (
    check_outputs,
    georeference,
    name_scenes,
    nodata_mask,
    open_scene,
    saturation_warning,
)
from seaicekit.scenes.options import SceneOptions
from seaicekit.scenes.polar import footprint_on_map, is_north, polar_crs, projector
from seaicekit.scenes.rasters import (
    common_legend,
    open_raster,
    read_codes,
    read_tags,
    write_classes,
    write_confidence,
)
from seaicekit.scenes.reading import SceneReader, border_black, open_reader, to_8bit
from seaicekit.scenes.remote import quick_checksum, signed_url
from seaicekit.scenes.sources import Source, fingerprint, split_source
from seaicekit.scenes.synthetic import (
    CLASS_COLOURS,
    CLOUD_COLOUR,
    synthetic_paths,
    synthetic_scene,
    write_synthetic,
    write_synthetic_set,
)
from seaicekit.scenes.windows import Window, blocks

if TYPE_CHECKING:
    from seaicekit.scenes.opening import Paths as Paths
    from seaicekit.scenes.rasters import Raster as Raster

__all__ = [
    "CLASS_COLOURS",
    "CLOUD_COLOUR",
    "SceneOptions",
    "SceneReader",
    "Source",
    "Window",
    "blocks",
    "border_black",
    "catalogue",
    "check_outputs",
    "check_scene",
    "common_legend",
    "describe_scene",
    "fetch",
    "find_scenes",
    "fingerprint",
    "footprint_on_map",
    "georeference",
    "has_crs",
    "is_north",
    "load_catalogue",
    "name_scenes",
    "nodata_mask",
    "open_raster",
    "open_reader",
    "open_scene",
    "polar_crs",
    "projector",
    "quick_checksum",
    "read_codes",
    "read_tags",
    "saturation_warning",
    "save_catalogue",
    "search",
    "signed_url",
    "split_source",
    "synthetic_paths",
    "synthetic_scene",
    "to_8bit",
    "write_classes",
    "write_confidence",
    "write_synthetic",
    "write_synthetic_set",
]
