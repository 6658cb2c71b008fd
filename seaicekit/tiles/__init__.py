"""From label rasters to the tiles that a network learns from."""

from seaicekit.tiles.inputs import Inputs, channels, check_inputs, labelling_rule, prepare_inputs
from seaicekit.tiles.pixels import Tiles, epoch_order, load_tiles, shared_cache, target_rasters
from seaicekit.tiles.splits import SplitOptions
from seaicekit.tiles.table import TILE_SIZE, index_tiles, mask_outside_tiles, read_tiles

__all__ = [
    "TILE_SIZE",
    "Inputs",
    "SplitOptions",
    "Tiles",
    "channels",
    "check_inputs",
    "epoch_order",
    "index_tiles",
    "labelling_rule",
    "load_tiles",
    "mask_outside_tiles",
    "prepare_inputs",
    "read_tiles",
    "shared_cache",
    "target_rasters",
]
