"""Tiles for the network: read once into one file a host, from there in batches by `tf.data`.

A rank keeps no tiles in memory. The ranks of a host share a file of prepared tiles, 8 bits a value. Each rank
reads its share of the scenes into it. The file's pages are in the system's cache, once for all ranks.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seaicekit import labels, scenes
from seaicekit.classes import NODATA, Legend
from seaicekit.files import FREE_SPACE, PARTIAL, InputError
from seaicekit.tiles import inputs

if TYPE_CHECKING:
    import pandas as pd
    import tensorflow as tf

UNKNOWN = 254  # stands for a code of no class while codes become the network's


def load_tiles(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Read tiles into memory, as a training on their labels reads them.

    Returns
    -------
    images : (N, size, size, 3) uint8
        Red, green, blue; black where a tile is smaller than ``size`` and where there is no data.
    codes : (N, size, size) uint8
        Positions in the labels' legend; 255 in the same places, so that nothing is learned or scored there.
    """
    legend = scenes.common_legend(table["labels"].unique())
    with tempfile.TemporaryFile() as file:
        tiles = Tiles(table, "rgb", legend, target_rasters(table, "labels", ""), file.fileno())
        tiles.fill()
        images, codes = zip(*map(tiles.read, range(len(table))), strict=True)
    return np.stack(images), np.stack(codes)


def target_rasters(table: pd.DataFrame, targets: str, index: str | os.PathLike) -> dict[str, str | None]:
    """Return the raster that the network learns of each scene.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of a tile index.
    targets : str
        "labels": those of the index. "raw": none, the scene is labelled by the cuts alone. "truth": those of
        the index' column ``truth`` or else of the folder ``truth`` beside it. Anything else is a folder of
        rasters that are named ``SCENE.tif``, such as a person's.
    index : path
        Where the table is from.

    Raises
    ------
    InputError
        A scene without such a raster.
    """
    scene_rows = table.drop_duplicates("scene").set_index("scene")
    if targets == "raw":
        return dict.fromkeys(scene_rows.index)
    if targets == "labels":
        return scene_rows["labels"].to_dict()
    if targets == "truth" and "truth" in scene_rows:
        rasters = scene_rows["truth"].fillna("").to_dict()
    else:
        folder = Path(index).parent / "truth" if targets == "truth" else Path(targets)
        rasters = {name: str(folder / f"{name}.tif") for name in scene_rows.index}
    missing = [name for name, raster in rasters.items() if not Path(raster).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise InputError(
            f"targets: {targets} has no raster for {missing[0]}{more}; "
            "name them SCENE.tif, or leave the scenes out"
        )
    return rasters


class Tiles:
    """All tiles of a training, prepared, in one file; see `shared_cache`.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of a tile index. A tile's number is its place in the table.
    variant : "rgb", "grey" or "filtered"
    classes : Legend
    targets : dict
        Scene → raster to learn, None for the cuts alone; as from `target_rasters`.
    file : int
        Descriptor of an open file.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        variant: inputs.Inputs,
        classes: Legend,
        targets: dict[str, str | None],
        file: int,
    ):
        self.size, self.channels = int(table["size"].iloc[0]), inputs.channels(variant)
        self._table, self._targets = table.reset_index(drop=True), targets
        self._variant, self._file = variant, file
        self._record = self.size**2 * (self.channels + 1)  # bytes of a tile
        self._positions = np.full(256, UNKNOWN, np.uint8)
        self._positions[[entry.code for entry in classes]] = np.arange(len(classes))
        self._positions[NODATA] = NODATA

    def fill(self, part: int = 0, parts: int = 1, beat: Callable[[], None] | None = None) -> np.ndarray:
        """Read one part of the scenes and write their tiles; return pixels a class, (256,) int64.

        ``beat`` is called after each tile.

        Raises
        ------
        InputError
            A scene or a raster that cannot be used, a code of no class, a full disk.
        """
        counts = np.zeros(256, np.int64)
        groups = [group for _, group in self._table.groupby("scene", sort=False)]
        try:
            if part == 0 and len(self._table):
                os.posix_fallocate(self._file, 0, len(self._table) * self._record)
            for group in groups[part::parts]:
                for number, image, codes in self._read_scene(group):
                    counts += np.bincount(codes.ravel(), minlength=256)
                    record = np.concatenate([image.ravel(), codes.ravel()])
                    os.pwrite(self._file, record.data, number * self._record)
                    if beat:
                        beat()
        except OSError as error:
            raise InputError(f"tiles: cannot be kept on disk ({error.strerror}); {FREE_SPACE}") from error
        return counts

    def _read_scene(self, group: pd.DataFrame) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield the number, image and codes of each tile of a scene, smaller ones padded with no data."""
        image, codes = self._read_whole(group.iloc[0])
        for number, tile in zip(group.index, group.itertuples(), strict=True):
            inside = scenes.Window(tile.row, tile.col, tile.height, tile.width).slices
            padded = np.zeros((self.size, self.size, self.channels), np.uint8)
            padded_codes = np.full((self.size, self.size), NODATA, np.uint8)
            padded[: tile.height, : tile.width] = image(inside)
            padded_codes[: tile.height, : tile.width] = codes[inside]
            yield number, padded, padded_codes

    def _read_whole(self, row: pd.Series) -> tuple[Callable[[tuple], np.ndarray], np.ndarray]:
        """Return what gives a part of a scene as the network sees it, and the scene's codes."""
        raster, filtered = self._targets[row["scene"]], self._variant == "filtered"
        rule, ends = inputs.labelling_rule(row["labels"])
        with scenes.open_reader(row["path"]) as reader:
            bands, nodata = reader.read()
            metres = labels.pixel_size(reader.crs, reader.transform)
            scl = reader.scl() if rule.opaque == "scl" and (raster is None or filtered) else None
            shape, grid = reader.shape, (reader.crs, reader.transform)
        if raster is None:
            plain = labels.Rule.of(rule, cloud_filter=False)
            targets = labels.label_array(bands, nodata, plain.for_scene(metres, ends), None, scl)[0]
        else:
            targets = scenes.read_codes(raster, shape, grid)
        codes = self._positions[targets]
        if (codes == UNKNOWN).any():
            raise InputError(
                f"{raster or row['path']}: has codes that are in no legend; name them, or map them first"
            )
        if filtered:
            image = inputs.prepare_inputs(bands, nodata, "filtered", rule, metres, scl)
            return image.__getitem__, codes
        return lambda part: inputs.prepare_inputs(bands[:, *part], nodata[part], self._variant), codes

    def read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a tile: (size, size, channels) and (size, size) uint8, the place in the legend or 255."""
        record, pixels = np.empty(self._record, np.uint8), self.size**2
        # Not mapped: mapped pages would count as this rank's memory.
        if os.preadv(self._file, [record.data], number * self._record) != self._record:
            raise OSError(f"tile {number} was never written")
        image = record[:-pixels].reshape(self.size, self.size, self.channels)
        return image, record[-pixels:].reshape(self.size, self.size)

    def batches(self, share: np.ndarray, turn: list[int] | None = None) -> tf.data.Dataset:
        """Return a dataset of (images, codes) batches, uint8, for each row of ``share``, tiles' numbers.

        A number -1 is all no data. With ``turn``, a seed, each tile is flipped and turned by a draw of its
        own, which does not depend on the number of ranks.
        """
        import tensorflow as tf

        shape = (self.size, self.size)

        def gather(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            x = np.zeros((len(numbers), *shape, self.channels), np.uint8)
            y = np.full((len(numbers), *shape), NODATA, np.uint8)
            for place, number in enumerate(numbers):
                if number < 0:
                    continue
                draw = np.random.default_rng([*turn, number]).integers(8) if turn else 0
                for target, source in zip((x, y), self.read(number), strict=True):
                    turned = np.rot90(source, draw % 4)
                    target[place] = turned[::-1] if draw >= 4 else turned
            return x, y

        def shaped(numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            x, y = tf.numpy_function(gather, [numbers], (tf.uint8, tf.uint8), stateful=False)
            return tf.ensure_shape(x, (None, *shape, self.channels)), tf.ensure_shape(y, (None, *shape))

        return tf.data.Dataset.from_tensor_slices(share).map(shaped).prefetch(2)


@contextmanager
def shared_cache(
    folder: str | os.PathLike, name: str, first: bool, meet: Callable[[], None]
) -> Iterator[int]:
    """Open one new file for all ranks of a host; nothing of it is left, however they end.

    Parameters
    ----------
    folder : path
        Where it lies.
    name : str
        The host's name.
    first : bool
        Whether this rank makes the file.
    meet : callable
        Returns when all ranks have called it.

    Yields
    ------
    int
        The file's descriptor.
    """
    path = Path(folder) / f"{PARTIAL}tiles-{name}"
    if first:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.touch()
    meet()
    file = os.open(path, os.O_RDWR)
    meet()
    if first:
        path.unlink()  # the file lives on without a name until the last rank has closed it
    try:
        yield file
    finally:
        os.close(file)


def epoch_order(count: int, epoch: int, seed: int, batch: int, rank: int, ranks: int) -> np.ndarray:
    """Return which samples a rank sees in an epoch, (steps, batch) int, -1 for none.

    Over all ranks each sample comes once; step by step the ranks together see what one rank with a batch
    ``ranks`` times as large would see.
    """
    steps = -(-count // (batch * ranks))
    samples = np.full(steps * ranks * batch, -1)
    samples[:count] = np.random.default_rng([seed, epoch]).permutation(count)
    return samples.reshape(steps, ranks, batch)[:, rank]
