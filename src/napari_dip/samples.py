"""Offline samples, degraded here, so that the truth is known: scikit-image's pictures through simulated cameras."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.signal import fftconvolve
from skimage import data
from skimage.draw import line
from skimage.filters import gaussian

import napari_dip as dip

Array = npt.NDArray[Any]
LayerDataTuple = tuple[Array, dict[str, Any], str]

CROP = 256  # px: a fit of a few minutes on two processor cores


@dataclass(frozen=True, eq=False)
class Sample:
    """A degraded image and the one it came from.

    Attributes
    ----------
    name : str
        What it shows.
    image, truth : array
        Degraded and clean, in the same units; (Y, X) or (Y, X, 3). The truth may have smaller pixels.
    missing : boolean array or None
        Which pixels are lost, (Y, X).
    guide : array or None
        Another image of the scene, shaped as the truth.
    """

    name: str
    image: Array
    truth: Array
    missing: Array | None = None
    guide: Array | None = None


def micrograph(seed: int = 0) -> Sample:
    """Return a cell under a camera: 60 photoelectrons at the brightest, 3 e⁻ read noise, offset 100, uint16."""
    rng = np.random.default_rng(seed)
    cell = data.cell()[246 : 246 + CROP, 294 : 294 + CROP].astype(float)  # all of the cell
    electrons = 60 * (cell - cell.min()) / np.ptp(cell)
    counts = 100 + 2 * (rng.poisson(electrons) + rng.normal(0, 3, electrons.shape))  # 2 counts per electron
    return Sample("cell, dim light", _as(counts, np.uint16), 100 + 2 * electrons)


def deep_field(seed: int = 0) -> Sample:
    """Return a part of the Hubble deep field with the photon noise of a short exposure, RGB, uint8."""
    rng = np.random.default_rng(seed)
    sky = _centre(data.hubble_deep_field(), rows=CROP, columns=CROP).astype(float)
    photons = 0.4  # per grey level
    noisy = rng.poisson(photons * sky) / photons
    return Sample("deep field, short exposure", _as(noisy, np.uint8), sky)


def scratched_moon(seed: int = 0) -> Sample:
    """Return the moon with scratches whose pixels are lost, uint8, and which ones those are."""
    rng = np.random.default_rng(seed)
    moon = _centre(data.moon(), rows=CROP, columns=CROP)
    missing = np.zeros(moon.shape, bool)
    for _ in range(12):
        (row, column), (row_to, column_to) = rng.integers(0, CROP - 3, (2, 2))
        rows, columns = line(int(row), int(column), int(row_to), int(column_to))
        for width in range(3):
            missing[rows + width, columns] = True
    return Sample("moon, scratched", np.where(missing, 255, moon).astype(np.uint8), moon, missing)


def coarse_coins(seed: int = 0) -> Sample:
    """Return coins by a camera with pixels four times as large, each the mean over its area, read noise 1, uint8."""
    coins = data.coins()[24 : 24 + CROP, 60 : 60 + CROP].astype(float)
    small = coins.reshape(CROP // 4, 4, CROP // 4, 4).mean((1, 3))
    noise = np.random.default_rng(seed).normal(0, 1, small.shape)
    return Sample("coins, large pixels", _as(small + noise, np.uint8), coins)


def without_flash(seed: int = 0) -> Sample:
    """Return a portrait in warm, dim light, 30 photons at the brightest, RGB, uint8; its guide is one with a flash.

    The flash is white and falls off, and it throws a shadow that the dim light does not.
    """
    rng = np.random.default_rng(seed)
    scene = data.astronaut()[:CROP, 96 : 96 + CROP].astype(float) / 255
    rows, columns = np.mgrid[:CROP, :CROP] / CROP
    dim = scene * np.array([0.9, 0.7, 0.5]) * (0.5 + 0.5 * columns)[..., None]
    photons = 30
    noisy = rng.poisson(photons * dim) / photons
    shadow = np.where((columns > 0.7) & (rows > 0.15) & (rows < 0.6), 0.5, 1.0)
    flash = scene * (shadow * (1.1 - 0.8 * np.hypot(rows - 0.4, columns - 0.5)))[..., None]
    bright = flash + rng.normal(0, 0.005, flash.shape)
    return Sample("portrait, no flash", _as(255 * noisy, np.uint8), 255 * dim, guide=_as(255 * bright, np.uint8))


def blurred_stars(seed: int = 0) -> Sample:
    """Return a part of the Hubble deep field through the air, with photon noise, uint16: Moffat seeing, 5 px, β 3."""
    rng = np.random.default_rng(seed)
    psf = dip.MoffatPSF(5.0, beta=3.0).kernel((61, 61))
    margin = len(psf) // 2
    size = CROP + 2 * margin  # light comes in from outside the field too
    sky = _centre(data.hubble_deep_field(), rows=size, columns=size).mean(2)
    seen = fftconvolve(sky, psf / psf.sum(), mode="valid")
    photons = 20  # per grey level
    truth = 100 + photons * sky[margin:-margin, margin:-margin]
    return Sample("deep field, through the air", _as(100 + rng.poisson(photons * seen), np.uint16), truth)


def compressed_cat(seed: int = 0) -> Sample:
    """Return a cat after JPEG of quality 10 with subsampled colours, RGB, uint8; the seed chooses the part."""
    top, left = (int(place) for place in np.random.default_rng(seed).integers(0, 40, 2))
    cat = data.chelsea()[top : top + CROP, left + 60 : left + 60 + CROP]
    file = io.BytesIO()
    Image.fromarray(cat).save(file, "JPEG", quality=10)
    with Image.open(file) as compressed:
        return Sample("cat, JPEG quality 10", np.array(compressed), cat)


def hazy_moon(seed: int = 0) -> Sample:
    """Return the moon with its fine detail at half its strength, uint8; the seed chooses the part."""
    top, left = (int(place) for place in np.random.default_rng(seed).integers(0, 256, 2))
    moon = data.moon()[top : top + CROP, left : left + CROP].astype(float)
    smooth = gaussian(moon, 3, preserve_range=True)
    return Sample("moon, hazy", _as(smooth + (moon - smooth) / 2, np.uint8), moon)


def micrograph_layers() -> list[LayerDataTuple]:
    """Return the micrograph as napari layers."""
    return _layers(micrograph())


def deep_field_layers() -> list[LayerDataTuple]:
    """Return the deep field as napari layers."""
    return _layers(deep_field())


def scratched_moon_layers() -> list[LayerDataTuple]:
    """Return the moon and its scratches as napari layers: an image and labels."""
    return _layers(scratched_moon())


def coarse_coins_layers() -> list[LayerDataTuple]:
    """Return the coarse coins as a napari layer, its pixels 4 long, as those of the truth are 1."""
    ((image, about, kind),) = _layers(coarse_coins())
    return [(image, {**about, "scale": (4, 4)}, kind)]


def without_flash_layers() -> list[LayerDataTuple]:
    """Return the portrait as napari layers: the one with flash below the one without."""
    return _layers(without_flash())


def blurred_stars_layers() -> list[LayerDataTuple]:
    """Return the blurred field and its PSF as napari layers."""
    psf = dip.MoffatPSF(5.0, beta=3.0).kernel((61, 61))
    return [(psf / psf.sum(), {"name": "PSF", "visible": False}, "image"), *_layers(blurred_stars())]


def compressed_cat_layers() -> list[LayerDataTuple]:
    """Return the cat as napari layers."""
    return _layers(compressed_cat())


def hazy_moon_layers() -> list[LayerDataTuple]:
    """Return the hazy moon as napari layers."""
    return _layers(hazy_moon())


SAMPLES: tuple[Callable[[int], Sample], ...] = (
    micrograph,
    deep_field,
    scratched_moon,
    coarse_coins,
    without_flash,
    blurred_stars,
    compressed_cat,
    hazy_moon,
)


@dataclass(frozen=True)
class Trial:
    """A sample and the task that it is for.

    Attributes
    ----------
    title : str
    layers : callable
        Gives its layers; the last image is the one to restore.
    task : Task
        Without what layers supply.
    """

    title: str
    layers: Callable[[], list[LayerDataTuple]]
    task: dip.Task


TRIALS = (
    Trial("Cell in dim light", micrograph_layers, dip.Denoise()),
    Trial("Hubble deep field", deep_field_layers, dip.Denoise()),
    Trial("Scratched moon", scratched_moon_layers, dip.Inpaint()),
    Trial("Coins with large pixels", coarse_coins_layers, dip.SuperResolve(4.0)),
    Trial("Portrait without flash", without_flash_layers, dip.Guided()),
    Trial("Deep field through the air", blurred_stars_layers, dip.Deconvolve(model=dip.MoffatPSF(5.0, beta=3.0))),
    Trial("Cat after JPEG", compressed_cat_layers, dip.Deblock()),
    Trial("Hazy moon", hazy_moon_layers, dip.Enhance(amount=2.0, size=12.0)),
)


def _layers(sample: Sample) -> list[LayerDataTuple]:
    layers: list[LayerDataTuple] = [(sample.image, {"name": sample.name, "rgb": sample.image.ndim == 3}, "image")]
    if sample.guide is not None:
        layers.insert(0, (sample.guide, {"name": "with flash", "rgb": True}, "image"))
    if sample.missing is not None:
        layers.append((sample.missing.astype(np.uint8), {"name": "scratches", "opacity": 0.5}, "labels"))
    return layers


def _centre(image: Array, *, rows: int, columns: int) -> Array:
    top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
    return image[top : top + rows, left : left + columns]


def _as(values: Array, dtype: npt.DTypeLike) -> Array:
    return np.clip(np.rint(values), 0, np.iinfo(np.dtype(dtype)).max).astype(dtype)
