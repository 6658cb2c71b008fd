"""Any image becomes one array with its CRS and its no-data mask."""

from typing import TYPE_CHECKING

from seaicekit.scenes.archive import fetch, parse_dates, parse_region, search
from seaicekit.scenes.folders import (
    SOURCE_PROPERTY,
    absolute_source,
    catalogue,
    check_scene,
    describe_scene,
    find_scenes,
    has_crs,
    load_catalogue,
    save_catalogue,
    write_items,
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
from seaicekit.scenes.polar import (
    footprint_on_map,
    is_north,
    polar_crs,
    projector,
)
from seaicekit.scenes.rasters import (
    as_codes,
    common_legend,
    open_raster,
    read_codes,
    read_tags,
    write_classes,
    write_confidence,
)
from seaicekit.scenes.reading import SceneReader, Window, blocks, border_black, open_reader
from seaicekit.scenes.remote import quick_checksum, remote_errors, signed_url, without_query
from seaicekit.scenes.sources import Source, fingerprint, resolve_source, split_source, to_8bit
from seaicekit.scenes.synthetic import (
    CLASS_COLOURS,
    CLOUD_COLOUR,
    synthetic_paths,
    synthetic_scene,
    write_synthetic,
    write_synthetic_set,
)

if TYPE_CHECKING:
    from seaicekit.scenes.opening import Paths as Paths
    from seaicekit.scenes.rasters import Raster as Raster

__all__ = [
    "CLASS_COLOURS",
    "CLOUD_COLOUR",
    "SOURCE_PROPERTY",
    "SceneOptions",
    "SceneReader",
    "Source",
    "Window",
    "absolute_source",
    "as_codes",
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
    "parse_dates",
    "parse_region",
    "polar_crs",
    "projector",
    "quick_checksum",
    "read_codes",
    "read_tags",
    "remote_errors",
    "resolve_source",
    "saturation_warning",
    "save_catalogue",
    "search",
    "signed_url",
    "split_source",
    "synthetic_paths",
    "synthetic_scene",
    "to_8bit",
    "without_query",
    "write_classes",
    "write_confidence",
    "write_items",
    "write_synthetic",
    "write_synthetic_set",
]
