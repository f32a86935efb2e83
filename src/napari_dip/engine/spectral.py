"""What frequencies an image has, and how many of another image's: radial spectra and band correspondence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_dip.engine.blocks import Axes, name_axes
from napari_dip.engine.problem import Array

BANDS = 8  # of a run's record
RECORD_EVERY = 50  # steps, at least, between two rows of the record
NYQUIST = 0.5  # cycles per pixel
LUMA = (0.2989, 0.587, 0.114)  # of R, G and B, in the published measure
TINY = 1e-8  # in its denominator


@dataclass(frozen=True, eq=False)
class FrequencyBands:
    """How much of a reference an image has, band by band, from coarse to fine.

    Attributes
    ----------
    edges : array
        (bands + 1,), cycles per pixel. The last band reaches into the corners, beyond 0.5.
    magnitude : array
        (channels, bands): amplitude in units of the reference's; 0: not there yet, 1: as strong, more: stronger.
        NaN where the reference has nothing.
    correlation : array
        (channels, bands): the Fourier ring correlation, 1 for the same structure in the same place.
    """

    edges: Array
    magnitude: Array
    correlation: Array


@dataclass(frozen=True, eq=False)
class RadialSpectrum:
    """The mean power of each ring of frequencies.

    Attributes
    ----------
    frequency : array
        (rings,), the rings' middles in cycles per pixel.
    power : array
        (channels, rings): per pixel, so that white noise of variance v has v everywhere. NaN in empty rings.
    """

    frequency: Array
    power: Array


def fbc(image: Any, reference: Any, *, bands: int = BANDS, axes: str | None = None) -> FrequencyBands:
    """Return how much of each frequency band of a reference an image has.

    The rings are in cycles per pixel, whatever the shape; both images are windowed, so that their borders do not leak
    into all frequencies. Amplitudes are compared ring by ring, and not clipped: an overshoot shows.

    Parameters
    ----------
    image, reference : array-like
        Of one shape; a pixel that is not finite in one of them counts in neither. Repeated axes are compared together.
    bands : int
        Rings of equal width up to 0.5 cycles per pixel; the last one has the corners too.
    axes : str, optional
        A letter per axis, as for `restore`; None: YX or YXS.

    Raises
    ------
    ValueError
        When the shapes differ, nothing is known, or there are fewer than 1 or more bands than pixels tell apart.

    Notes
    -----
    After Shi et al., "On Measuring and Controlling the Spectral Bias of the Deep Image Prior", IJCV 2022, whose own
    measure is `published_fbc`.
    """
    values, target, known, layout = _pair(image, reference, axes)
    rings = Rings(tuple(values.shape[-len(layout.spatial) :]), check_bands(bands, values.shape[1:], layout))
    window = known * rings.window(values.device)
    one, other = rings.transform(values, window), rings.transform(target, window)
    own, theirs, shared = (
        _by_channel(rings.sums(t), layout)
        for t in (one.abs().square(), other.abs().square(), (one * other.conj()).real)
    )
    return FrequencyBands(
        np.array(rings.edges), _ratio(own, theirs).sqrt().numpy(), _ratio(shared, (own * theirs).sqrt()).numpy()
    )


def published_fbc(image: Any, reference: Any, *, bands: int = 5) -> Array:
    """Return the frequency-band correspondence as published, (bands,).

    The magnitudes' ratio, at most 1, is averaged over rings around the zero frequency, whose radii follow the width
    alone; the corners count in none of them. Colours are made grey first.

    Parameters
    ----------
    image, reference : array-like
        (Y, X) or (Y, X, 3), 0 to 1. The paper's reference is the degraded measurement.

    Notes
    -----
    Shi et al., IJCV 2022, section 3. For comparison only; `fbc` is the measure to use.
    """
    one, other = (_grey(np.asarray(values, np.float64)) for values in (image, reference))
    if one.shape != other.shape:
        raise ValueError(f"The image has shape {one.shape}, the reference {other.shape}: they must be the same")
    ratio = np.abs(np.fft.fft2(one)) / (np.abs(np.fft.fft2(other)) + TINY)
    ratio = np.fft.fftshift(np.clip(ratio, 0, 1))
    height, width = ratio.shape
    rows, columns = np.ogrid[:height, :width]
    distance = np.hypot(rows - height // 2, columns - width // 2)
    radii = width / 2 * np.arange(1, bands + 1) / bands
    inner = np.concatenate([[-1.0], radii[:-1]])  # the first ring has the zero frequency
    return np.array(
        [ratio[(low < distance) & (distance <= high)].mean() for low, high in zip(inner, radii, strict=True)]
    )


def radial_spectrum(image: Any, *, rings: int = 64, axes: str | None = None) -> RadialSpectrum:
    """Return the power of an image by frequency, windowed; its mean is taken out first.

    Parameters
    ----------
    image : array-like
        Pixels that are not finite are left out. Repeated axes are averaged.
    rings : int
        Of equal width up to 0.5 cycles per pixel; the last one has the corners too.
    axes : str, optional
        A letter per axis, as for `restore`; None: YX or YXS.
    """
    values, _, known, layout = _pair(image, image, axes)
    found = Rings(tuple(values.shape[-len(layout.spatial) :]), check_bands(rings, values.shape[1:], layout))
    window = known * found.window(values.device)
    power = found.transform(values, window).abs().square()
    power = power / window.square().sum(found.axes, keepdim=True).clamp(min=TINY)
    counts = found.counts().double()
    mean = _by_channel(found.sums(power), layout, mean=True) / counts
    frequency = (np.array(found.edges[1:]) + np.array(found.edges[:-1])) / 2
    frequency[-1] = (found.edges[-2] + NYQUIST) / 2
    return RadialSpectrum(frequency, torch.where(counts > 0, mean, torch.nan).numpy())


class Rings:
    """Rings of frequencies of images of one size; the last one reaches into the corners.

    Parameters
    ----------
    spatial : tuple of int
        (Y, X) or (Z, Y, X).
    bands : int
        How many.
    """

    def __init__(self, spatial: tuple[int, ...], bands: int):
        self.spatial, self.bands = spatial, bands
        self.axes = tuple(range(-len(spatial), 0))
        self.edges = [NYQUIST * band / bands for band in range(bands)] + [NYQUIST * math.sqrt(len(spatial))]
        squares = torch.zeros(())
        for axis, n in enumerate(spatial):
            steps = torch.fft.rfftfreq(n) if axis == len(spatial) - 1 else torch.fft.fftfreq(n)
            squares = squares + steps.square().view(-1, *[1] * (len(spatial) - axis - 1))
        ring = (squares.sqrt() * (bands / NYQUIST) + 1e-6).long().clamp(max=bands - 1).flatten()
        twice = torch.full((spatial[-1] // 2 + 1,), 2.0)  # the half that a real image's transform leaves out
        twice[0] = 1.0
        if spatial[-1] % 2 == 0:
            twice[-1] = 1.0
        self.weight = twice
        self.order = ring.argsort(stable=True)  # sorted sums: the same bits on every run, which scattered ones are not
        self.sizes = torch.bincount(ring, minlength=bands).tolist()

    def window(self, device: torch.device | None = None) -> Tensor:
        """Return a Hann window, (*spatial), nowhere zero."""
        window = torch.ones((), device=device)
        for n in self.spatial:
            taps = torch.sin(math.pi * (torch.arange(n, device=device) + 0.5) / n).square()
            window = window[..., None] * taps
        return window

    def transform(self, values: Tensor, window: Tensor) -> Tensor:
        """Return the transform of images less their mean, (..., *half): `sums` knows what the half leaves out."""
        mean = (values * window).sum(self.axes, keepdim=True) / window.sum(self.axes, keepdim=True).clamp(min=TINY)
        transformed: Tensor = torch.fft.rfftn((values - mean) * window, dim=self.axes)
        return transformed

    def sums(self, power: Tensor) -> Tensor:
        """Return the sums over the rings of a real, symmetric quantity, (..., *half) to (..., bands)."""
        weighted = (power * self.weight.to(power)).flatten(-len(self.spatial))
        parts = torch.split(weighted[..., self.order.to(power.device)], self.sizes, -1)
        return torch.stack([part.sum(-1) for part in parts], -1)

    def counts(self) -> Tensor:
        """Return how many frequencies each ring has, (bands,)."""
        half = (*self.spatial[:-1], self.spatial[-1] // 2 + 1)
        return self.sums(torch.ones(half))


class BandMeter:
    """How much of each band of a measurement a prediction has: a row of a run's record.

    Parameters
    ----------
    y, known : Tensor
        (C, *spatial): the measurement, and which elements count.
    """

    def __init__(self, y: Tensor, known: Tensor, bands: int = BANDS):
        self.rings = Rings(tuple(y.shape[1:]), bands)
        self.y, self.known = y, known
        self.window = self.power = torch.empty(0)

    def row(self, predicted: Tensor) -> list[float]:
        """Return each band's amplitude in units of the measurement's, all channels together; nan: it has none there."""
        if not self.power.numel():
            self.window = self.known.to(predicted.device) * self.rings.window(predicted.device)
            self.power = self._power(self.y.to(predicted.device))
        return [round(value, 4) for value in _ratio(self._power(predicted), self.power).sqrt().tolist()]

    def _power(self, values: Tensor) -> Tensor:
        return self.rings.sums(self.rings.transform(values, self.window).abs().square()).sum(0)


def check_bands(bands: int, shape: torch.Size, layout: Axes) -> int:
    """Return the number of bands if an image of this shape tells them apart."""
    most = max(shape[-len(layout.spatial) :]) // 2
    if not 1 <= bands <= most:
        raise ValueError(f"{bands} bands of an image of shape {layout.shape}: it has 1 to {most}")
    return bands


def _pair(image: Any, reference: Any, axes: str | None) -> tuple[Tensor, Tensor, Tensor, Axes]:
    """Return both images and which of their elements are known, (frames · channels, *spatial), in float64."""
    one, other = np.asarray(image), np.asarray(reference)
    if one.shape != other.shape:
        raise ValueError(f"The image has shape {one.shape}, the reference {other.shape}: they must be the same")
    layout = name_axes(axes, one.shape)
    stacked = [torch.from_numpy(_frames(values, layout).astype(np.float64)) for values in (one, other)]
    known = torch.isfinite(stacked[0]) & torch.isfinite(stacked[1])
    if not bool(known.any()):
        raise ValueError("No pixel is finite in both images: there is nothing to compare")
    values, target = (torch.where(known, t, 0.0) for t in stacked)
    return values, target, known.double(), layout


def _frames(values: Array, layout: Axes) -> Array:
    return np.concatenate([layout.take(values, frame) for frame in layout.frames()])


def _by_channel(sums: Tensor, layout: Axes, *, mean: bool = False) -> Tensor:
    """Return what the frames have together, (channels, bands)."""
    stacked = sums.view(-1, layout.channels, sums.shape[-1])
    return stacked.mean(0) if mean else stacked.sum(0)


def _ratio(one: Tensor, other: Tensor) -> Tensor:
    """Return the ratio of each channel's rings; nan where there is no more than what rounding leaves."""
    least = torch.finfo(other.dtype).eps ** 1.5 * other.sum(-1, keepdim=True)
    return torch.where(other > least, one / other, torch.nan)


def _grey(values: Array) -> Array:
    grey: Array = values @ np.array(LUMA) if values.ndim == 3 else values
    return np.clip(grey, 0, 1)
