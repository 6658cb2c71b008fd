"""Synthetic sea-ice scenes: a map of classes is drawn, and the pixels are made from it.

Physical are: floe diameters follow a power law (exponent as observed for pack ice, Rothrock &
Thorndike 1984, doi:10.1029/JC089iC04p06477); leads cut across floes and some have frozen over; young
ice darkens with thinness; thin cloud adds light and its shadow, displaced away from the sun, takes light
away; the sensor blurs and adds noise; brightness falls off across the scene with the sun's elevation.

Invented are: every number for how bright a class is and how much the classes overlap, the floes'
outlines, the smooth random fields behind thin ice and cloud, and the swath's straight edge. No label rule
is used: brightness follows from the truth.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from seaicekit.classes import NODATA, OPEN_WATER, THICK_ICE, THIN_ICE
from seaicekit.files import InputError, atomic_write

if TYPE_CHECKING:
    import xarray as xr

CRS = "EPSG:3976"  # WGS 84 / NSIDC Sea Ice Polar Stereographic South
PIXEL_SIZE = 50.0  # metres, about that of the paper's exports
ROSS_SEA = (-600_000.0, -1_400_000.0)  # upper left corner of the first scene, metres in CRS: off Cape Colbeck
FLOE_EXPONENT = 2.0  # floes larger than d are proportional to d**-2
# Reflectance times 255 of red, green, blue: means of the classes, and the spread of their brightness.
CLASS_COLOURS = {OPEN_WATER: (9, 14, 19), THIN_ICE: (112, 119, 125), THICK_ICE: (226, 229, 231)}
THIN_ICE_RANGE = 45.0  # half the span from the thinnest to the thickest young ice
TEXTURE = {OPEN_WATER: 2.5, THIN_ICE: 9.0, THICK_ICE: 8.0}
CLOUD_COLOUR = (222.0, 226.0, 231.0)


def synthetic_scene(
    seed: int,
    shape: tuple[int, ...] = (1024, 1024),
    cloud: float | bool = 0.0,
    opaque: float = 0.0,
    light: float = 1.0,
    overlap: float = 1.0,
    thickness: float = 1.0,
) -> tuple[xr.DataArray, xr.DataArray]:
    """Make a scene and its truth.

    Parameters
    ----------
    seed : int
        The same seed and shape give the same ice, and with the same other settings the same pixels.
    shape : (rows, columns)
        At least 16 × 16 pixels of 50 m.
    cloud : float, 0 to 1
        Share of the scene under thin cloud; its shadow darkens about as much beside it. True is 0.4.
    opaque : float, 0 to 1
        Share of the scene under opaque cloud.
    light : float
        Illumination; 1 is what the cuts 30 and 204 fit, less is a lower sun.
    overlap : float, from 0
        How far the classes' brightness spreads, and so overlaps: a factor on each class's texture and on how
        far young ice darkens with thinness.
    thickness : float, 0 to 2
        A factor on the thin cloud's opacity, which is 0.35 to 0.5 where it is thickest; its shadow follows.

    Returns
    -------
    scene : xarray.DataArray
        As from `seaicekit.open_scene`: (band=3, y, x) uint8 in EPSG:3976, in the Ross Sea.
    truth : xarray.DataArray
        (y, x) uint8: 0 open water, 1 thin ice, 2 thick ice, 255 no data; its coordinate ``cloudy``
        (y, x) is True under cloud or shadow, its coordinate ``opaque`` under opaque cloud (the truth there
        is the ice below).

    Raises
    ------
    InputError
        A shape or a share out of range.
    """
    cover = 0.4 if cloud is True else float(cloud)
    if not 0 <= cover <= 1:
        raise InputError(f"cloud: must be a share from 0 to 1, not {cloud}")
    if min(shape) < 16:
        raise InputError(f"shape: must be at least 16 x 16 pixels, not {shape[0]} x {shape[1]}")
    if not overlap >= 0:
        raise InputError(f"overlap: must be a factor from 0 on, not {overlap}")
    if not 0 <= thickness <= 2:
        raise InputError(f"thickness: must be a factor from 0 to 2, not {thickness}")
    ice, sun, sky, swath, deck = (np.random.default_rng([seed, part]) for part in range(5))
    truth, age = _ice(ice, shape)
    radiance = _illuminate(sun, _reflectance(sun, truth, age, overlap))
    radiance, cloudy = _cloud(sky, radiance, cover, thickness)
    radiance, hidden = _overcast(deck, radiance, opaque)
    bands = _sense(sun, light * radiance)
    outside = _swath_edge(swath, shape)
    bands[:, outside] = 0
    truth[outside] = NODATA
    return _georeferenced(
        seed, bands, truth, outside, {"cloudy": cloudy & ~outside, "opaque": hidden & ~outside}
    )


def write_synthetic(
    folder: str | os.PathLike, seed: int, shape: tuple[int, ...], cloud: float = 0.0, **settings: float
) -> tuple[Path, Path]:
    """Write a scene and its truth as ``scenes/NAME.tif`` and ``truth/NAME.tif`` below ``folder``.

    The scene's mask is inside its file, so that black water stays water; both are in EPSG:3976. ``settings``
    are further ones of `synthetic_scene`, such as ``overlap``.

    Returns
    -------
    (scene, truth) : paths
    """
    import rasterio

    pixels, truth = synthetic_scene(seed, shape, cloud, **settings)
    profile = {
        "driver": "GTiff",
        "height": shape[0],
        "width": shape[1],
        "dtype": "uint8",
        "compress": "deflate",
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "crs": pixels.rio.crs,
        "transform": pixels.rio.transform(),
    }
    paths = synthetic_paths(folder, seed, cloud)
    with atomic_write(paths[0]) as place, rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(place, "w", count=3, photometric="RGB", **profile) as target:
            target.write(pixels.values)
            target.write_mask(~pixels.coords["nodata"].values)
    with (
        atomic_write(paths[1]) as place,
        rasterio.open(place, "w", count=1, nodata=NODATA, **profile) as target,
    ):
        target.write(truth.values, 1)
    return paths


def synthetic_paths(folder: str | os.PathLike, seed: int, cloud: float = 0.0) -> tuple[Path, Path]:
    """Return the paths to which `write_synthetic` writes a scene and its truth."""
    name = f"synthetic_{seed:03d}_{'cloudy' if cloud else 'clear'}.tif"
    return Path(folder) / "scenes" / name, Path(folder) / "truth" / name


def write_synthetic_set(folder: str | os.PathLike, count: int = 4, size: int = 1024, seed: int = 0) -> Path:
    """Write ``count`` square scenes and their truths below ``folder``, clear and 40 % cloudy in turn.

    Returns
    -------
    path
        The folder of the scenes; the truths are in ``truth`` beside it.
    """
    if count < 1:
        raise InputError(f"synthetic_count: must be at least 1, not {count}")
    for number in range(1, count + 1):
        write_synthetic(folder, 100 * seed + number, (size, size), 0.0 if number % 2 else 0.4)
    return Path(folder) / "scenes"


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Return a random field of mean 0 and variance 1 whose features are ``scale`` pixels and twice that."""
    field = np.zeros(shape, np.float32)
    for factor, weight in ((1.0, 0.5), (2.0, 1.0)):
        # Two cells beyond the edge on each side, so that the field does not flatten at the border.
        cells = [int(np.ceil(n / (scale * factor))) + 4 for n in shape]
        coarse = rng.standard_normal(cells).astype(np.float32)
        margin = [int(2 * scale * factor)] * 2
        fine = cv2.resize(
            coarse, (shape[1] + 2 * margin[1], shape[0] + 2 * margin[0]), interpolation=cv2.INTER_CUBIC
        )
        field += weight * fine[margin[0] : margin[0] + shape[0], margin[1] : margin[1] + shape[1]]
    return (field - field.mean()) / max(float(field.std()), 1e-6)


def _outline(rng: np.random.Generator, centre: np.ndarray, radius: float) -> np.ndarray:
    """Return an irregular polygon, (corners, 1, 2) int32 in x, y."""
    corners = int(rng.integers(7, 13))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    reach = radius * rng.uniform(0.75, 1.15, corners)
    points = centre + np.stack([reach * np.cos(angles), reach * np.sin(angles)], axis=1)
    return points.round().astype(np.int32)[:, None]


def floe_radii(rng: np.random.Generator, count: int, smallest: float, largest: float) -> np.ndarray:
    """Draw ``count`` floe radii; the number of radii above r is about proportional to r**-2."""
    share = rng.uniform(0, 1, count)
    return smallest * (1 - share * (1 - (smallest / largest) ** FLOE_EXPONENT)) ** (-1 / FLOE_EXPONENT)


def _ice(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the truth without swath edge, and how thick the young ice is, from -1 to 1."""
    young = _smooth(rng, shape, 60)
    truth = np.where(young > rng.uniform(-1.2, 0.2), THIN_ICE, OPEN_WATER).astype(np.uint8)
    # The largest floes are drawn first, and the smaller ones over or between them.
    area = shape[0] * shape[1]
    radii = floe_radii(rng, max(20, area // 160), 4.0, max(5.0, min(shape) / 5))
    for radius in np.sort(radii)[::-1]:
        centre = rng.uniform((0, 0), (shape[1], shape[0]))
        cv2.fillPoly(truth, [_outline(rng, centre, radius)], THICK_ICE)
    for _ in range(int(rng.integers(3, 7))):
        _lead(rng, truth)
    return truth, np.tanh(_smooth(rng, shape, 40))


def _lead(rng: np.random.Generator, truth: np.ndarray) -> None:
    """Crack the ice from one side of the scene to the other, open or refrozen, in place."""
    rows, cols = truth.shape
    steps = np.linspace(-0.1, 1.1, 24)
    sway = np.cumsum(rng.normal(0, 0.03, steps.size))
    start, end = rng.uniform(0, 1, 2)
    across = start + (end - start) * steps + sway
    points = np.stack(
        [steps * cols, across * rows] if rng.random() < 0.5 else [across * cols, steps * rows], axis=1
    )
    kind = THIN_ICE if rng.random() < 0.6 else OPEN_WATER
    widths = rng.integers(2, 9, steps.size)
    for before, after, width in zip(
        points[:-1].round().astype(int), points[1:].round().astype(int), widths, strict=False
    ):
        cv2.line(truth, before.tolist(), after.tolist(), kind, int(width))


def _reflectance(rng: np.random.Generator, truth: np.ndarray, age: np.ndarray, overlap: float) -> np.ndarray:
    """Return (rows, columns, 3) float32: each class's colour, young ice by thickness, and texture."""
    colours = np.array([CLASS_COLOURS[code] for code in sorted(CLASS_COLOURS)], np.float32)[truth]
    texture = np.array([TEXTURE[code] for code in sorted(TEXTURE)], np.float32)[truth]
    relief = 0.7 * _smooth(rng, truth.shape, 5) + 0.7 * rng.standard_normal(truth.shape, np.float32)
    brightness = texture * relief + np.where(truth == THIN_ICE, THIN_ICE_RANGE * age, 0)
    return colours + (overlap * brightness)[..., None].astype(np.float32)


def _illuminate(rng: np.random.Generator, radiance: np.ndarray) -> np.ndarray:
    rows, cols = radiance.shape[:2]
    direction = rng.uniform(0, 2 * np.pi)
    y, x = np.linspace(-1, 1, rows, dtype=np.float32)[:, None], np.linspace(-1, 1, cols, dtype=np.float32)
    return radiance * (1 + 0.04 * (np.cos(direction) * x + np.sin(direction) * y))[..., None]


def _cloud(
    rng: np.random.Generator, radiance: np.ndarray, cover: float, thickness: float
) -> tuple[np.ndarray, np.ndarray]:
    """Lay thin cloud over a share of the scene and its shadow beside it; return also where either is."""
    shape = radiance.shape[:2]
    field, offset = _smooth(rng, shape, 110), rng.integers(25, 60, 2) * rng.choice([-1, 1], 2)
    depth = rng.uniform(0.35, 0.5)
    if not cover:
        return radiance, np.zeros(shape, bool)
    base = np.quantile(field, 1 - cover)
    opacity = thickness * depth * np.clip((field - base) / 1.2, 0, 1)
    shift = np.array([[1, 0, offset[0]], [0, 1, offset[1]]], np.float32)
    shadow = cv2.warpAffine(opacity, shift, shape[::-1], borderMode=cv2.BORDER_REFLECT)
    lit = radiance * (1 - 0.6 * shadow)[..., None]
    veiled = lit * (1 - opacity)[..., None] + np.array(CLOUD_COLOUR, np.float32) * opacity[..., None]
    return veiled, (opacity > 0.02) | (shadow > 0.02)


def _overcast(rng: np.random.Generator, radiance: np.ndarray, cover: float) -> tuple[np.ndarray, np.ndarray]:
    """Lay opaque cloud over a share of the scene; return also where it is."""
    shape = radiance.shape[:2]
    if not cover:
        return radiance, np.zeros(shape, bool)
    field, relief = _smooth(rng, shape, 90), _smooth(rng, shape, 120)
    hidden = field > np.quantile(field, 1 - cover)
    top = np.array(CLOUD_COLOUR, np.float32) + (6 * relief)[..., None]
    return np.where(hidden[..., None], top, radiance), hidden


def _sense(rng: np.random.Generator, radiance: np.ndarray) -> np.ndarray:
    """Blur by the optics, add noise, quantise: (3, rows, columns) uint8, never 0, which means no data."""
    blurred = cv2.GaussianBlur(radiance, (0, 0), 0.6)
    blurred += rng.normal(0, 1.5, radiance.shape).astype(np.float32)
    return np.ascontiguousarray(np.clip(blurred.round(), 1, 255).astype(np.uint8).transpose(2, 0, 1))


def _swath_edge(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return a mask, (rows, columns) bool, that is True beyond a straight line across one corner."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    y, x = (y / shape[0], x / shape[1])
    y, x = (1 - y if rng.random() < 0.5 else y), (1 - x if rng.random() < 0.5 else x)
    return x / rng.uniform(0.15, 0.5) + y / rng.uniform(0.15, 0.5) < 1


def _georeferenced(
    seed: int, bands: np.ndarray, truth: np.ndarray, outside: np.ndarray, covers: dict[str, np.ndarray]
) -> tuple[xr.DataArray, xr.DataArray]:
    import xarray as xr
    from rasterio.transform import from_origin

    from seaicekit.scenes import opening

    # Scenes of neighbouring seeds lie in a row, so that a map of several shows them side by side.
    west = ROSS_SEA[0] + (seed % 16) * (bands.shape[2] + 40) * PIXEL_SIZE
    transform = from_origin(west, ROSS_SEA[1], PIXEL_SIZE, PIXEL_SIZE)
    reference = xr.DataArray(
        truth,
        dims=("y", "x"),
        coords={name: (("y", "x"), where) for name, where in covers.items()},
        name="truth",
    )
    return opening.as_dataarray(bands, outside, CRS, transform), opening.georeference(
        reference, CRS, transform
    )
