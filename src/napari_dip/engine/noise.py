"""How strong the noise of an image is: laws, and models of one image's noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_dip.engine.correlation import LAGS, autocorrelation
from napari_dip.engine.fields import Checked

Doubles = npt.NDArray[np.float64]

LEAST_MAPPED = 1e-3  # of the mean of a map: nothing is known without an error
LEAST_NOISE = 1e-8  # variance, of an image scaled to 0 to 1: less is rounding
LEAST = 0.05  # of the mean variance: the model's variance is nowhere lower


class NoiseLaw(Protocol):
    """How the variance of the noise follows from the intensity, in the image's units: gain · intensity + floor.

    Attributes
    ----------
    slope : float
        Growth of the variance with the intensity.
    at_zero : float
        Variance at intensity zero; negative where zero intensity is below the detector's offset.
    """

    @property
    def slope(self) -> float: ...
    @property
    def at_zero(self) -> float: ...


@dataclass(frozen=True)
class Gaussian(Checked):
    """Noise of one strength everywhere: read noise, thermal noise."""

    sigma: Annotated[float, {"min": 0.0, "tooltip": "Standard deviation, in the image's units"}] = 1.0

    @property
    def slope(self) -> float:
        return 0.0

    @property
    def at_zero(self) -> float:
        return self.sigma**2


@dataclass(frozen=True)
class Poisson(Checked):
    """Shot noise: the image counts photons or electrons, `gain` of its units each, from `offset` on."""

    gain: Annotated[float, {"min": 0.0, "tooltip": "Image units per electron"}] = 1.0
    offset: Annotated[float, {"tooltip": "The value without light, in the image's units"}] = 0.0

    @property
    def slope(self) -> float:
        return self.gain

    @property
    def at_zero(self) -> float:
        return -self.gain * self.offset


@dataclass(frozen=True)
class PoissonGaussian(Checked):
    """Shot noise and read noise: what a camera has."""

    gain: Annotated[float, {"min": 0.0, "tooltip": "Image units per electron"}] = 1.0
    read_noise: Annotated[float, {"min": 0.0, "tooltip": "Standard deviation, in the image's units"}] = 0.0
    offset: Annotated[float, {"tooltip": "The value without light, in the image's units"}] = 0.0

    @property
    def slope(self) -> float:
        return self.gain

    @property
    def at_zero(self) -> float:
        return self.read_noise**2 - self.gain * self.offset


@dataclass(frozen=True, eq=False)
class VarianceMap:
    """Noise whose variance is known for every value, as pipelines give it beside the image.

    Parameters
    ----------
    values : array
        Variance in the image's units squared, shaped as the image, with or without its channels, or as its plane.
    """

    values: npt.NDArray[Any]

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if values.dtype.kind not in "biuf" or not values.size or bool((values[np.isfinite(values)] < 0).any()):
            raise ValueError("A map of the variance must be an array of real numbers, none of them negative")

    @property
    def slope(self) -> float:
        return 0.0

    @property
    def at_zero(self) -> float:
        return float(np.nanmedian(np.where(np.isfinite(self.values), self.values, np.nan)))


NOISES = (Gaussian, Poisson, PoissonGaussian)


def check_law(value: object) -> None:
    """Refuse what is neither a law of noise nor None.

    Raises
    ------
    TypeError
        When it has not what a law has.
    """
    if value is None or isinstance(value, VarianceMap):  # the median of a large map takes long
        return
    if isinstance(value, type) or not (hasattr(value, "slope") and hasattr(value, "at_zero")):  # a class is no law yet
        like = value if isinstance(value, float | int) else 10
        raise TypeError(f"noise={value!r} is no law of noise: give one such as Gaussian({like!r})")


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """Shot and read noise: its variance is linear in the intensity.

    Attributes
    ----------
    gain : Tensor
        Growth of the variance with the intensity, (C,), in the image's units: a photon's worth.
    floor : Tensor
        Variance at intensity zero, (C,), in the image's units squared.
    mean : Tensor
        Variance averaged over the image, (C,).
    correlation : Tensor, optional
        Autocorrelation in the plane, (2 LAGS + 1, 2 LAGS + 1), 1 in the middle; None: white, each pixel's noise is its
        own. Channels are independent of each other.
    map : Tensor, optional
        Variance of every element, (C, *spatial), where it is known so exactly: then the intensity does not matter.
    """

    gain: Tensor
    floor: Tensor
    mean: Tensor
    correlation: Tensor | None = None
    map: Tensor | None = None

    def to(self, device: torch.device) -> NoiseModel:
        """Return the same with its tensors on a device."""
        gain, floor, mean = (value.to(device) for value in (self.gain, self.floor, self.mean))
        correlation, map = (None if value is None else value.to(device) for value in (self.correlation, self.map))
        return NoiseModel(gain, floor, mean, correlation, map)

    def times(self, factor: float) -> NoiseModel:
        """Return noise of so many times the variance."""
        map = None if self.map is None else factor * self.map
        return NoiseModel(factor * self.gain, factor * self.floor, factor * self.mean, self.correlation, map)

    def of_channels(self, chosen: Tensor | slice) -> NoiseModel:
        """Return the noise of some of the channels."""
        map = None if self.map is None else self.map[chosen]
        return NoiseModel(self.gain[chosen], self.floor[chosen], self.mean[chosen], self.correlation, map)

    def of_planes(self, planes: slice) -> NoiseModel:
        """Return the noise of some planes of a volume, (C, Z, Y, X), each of which is a channel then."""
        depth = planes.stop - planes.start
        gain, floor, mean = (value.repeat_interleave(depth) for value in (self.gain, self.floor, self.mean))
        map = None if self.map is None else self.map[:, planes].flatten(0, 1)
        return NoiseModel(gain, floor, mean, self.correlation, map)

    def variance(self, x: Tensor) -> Tensor:
        """Return the variance at each element of a clean image x, (C, *spatial)."""
        if self.map is not None:
            return self.map.to(x.device)
        gain, floor, least = (
            value.to(x.device).view(-1, *[1] * (x.ndim - 1)) for value in (self.gain, self.floor, LEAST * self.mean)
        )
        return torch.maximum(gain * x + floor, least)

    def draw(self, x: Tensor, white: Tensor) -> Tensor:
        """Return noise for a clean image x, (C, *spatial), made from white noise of variance 1 shaped as it."""
        return self.variance(x).sqrt() * self.coloured(white)

    def coloured(self, white: Tensor) -> Tensor:
        """Return white noise, (..., Y, X), with the autocorrelation of this one; it wraps around the borders."""
        if self.correlation is None or min(white.shape[-2:]) <= 2 * LAGS:
            return white
        kernel = torch.zeros(white.shape[-2:], device=white.device)
        kernel[: 2 * LAGS + 1, : 2 * LAGS + 1] = self.correlation
        power = torch.fft.fft2(kernel.roll((-LAGS, -LAGS), (0, 1))).real.clamp(min=0)
        coloured: Tensor = torch.fft.ifft2(torch.fft.fft2(white) * (power / power.mean()).sqrt()).real
        return coloured


def model_of(law: NoiseLaw, y: Tensor, known: Tensor, *, offset: Doubles, gain: Doubles) -> NoiseModel:
    """Return the model of a measurement whose noise follows a law; its autocorrelation is told from the image.

    Parameters
    ----------
    law : NoiseLaw
        In the image's units.
    y, known : Tensor
        (C, *spatial); scaled, and which of its elements are known.
    offset, gain : array
        (C,): scaled values times gain plus offset are in the image's units.
    """
    if isinstance(law, VarianceMap):
        return _mapped(law, y, known, _units(offset, gain))
    unit = _units(offset, gain)
    slope = torch.from_numpy(law.slope / unit).float()
    floor = torch.from_numpy((law.slope * offset + law.at_zero) / unit**2).float()
    y, known = y.detach().float().cpu(), known.cpu()
    return linear_model(slope, floor, y, known, autocorrelation(y, known))


def _units(offset: Doubles, gain: Doubles) -> Doubles:
    """Return the gains of a scale; infinite for constant channels, which have no noise whatever the law says."""
    return np.where(gain > 4 * np.spacing(np.abs(offset)), gain, np.inf)


def linear_model(gain: Tensor, floor: Tensor, y: Tensor, known: Tensor, correlation: Tensor | None) -> NoiseModel:
    """Return the model of a measurement, (C, *spatial), whose variance is gain · intensity + floor, (C,) each."""
    mean = torch.stack(
        [
            (a * v[k] + b).clamp(min=0).sum() / max(1, int(k.sum()))
            for a, b, v, k in zip(gain, floor, y.detach().float().cpu(), known.cpu(), strict=True)
        ]
    )
    return NoiseModel(gain, floor, mean, correlation)


def _mapped(law: VarianceMap, y: Tensor, known: Tensor, gain: Doubles) -> NoiseModel:
    """Return the model whose variance is a map, shaped as y; what is no number there is as the mean of the channel."""
    values = torch.from_numpy(np.asarray(law.values, np.float64) / gain.reshape(-1, *[1] * (y.ndim - 1)) ** 2).float()
    known = known.cpu() & values.isfinite()
    mean = torch.stack(
        [v[k].mean() if bool(k.any()) else torch.tensor(0.0) for v, k in zip(values, known, strict=True)]
    )
    level = mean.view(-1, *[1] * (y.ndim - 1))
    values = torch.where(values.isfinite(), values, level).maximum(LEAST_MAPPED * level)
    return NoiseModel(torch.zeros_like(mean), mean, mean, autocorrelation(y.detach().float().cpu(), known), values)


@dataclass(frozen=True)
class NoiseRecord:
    """The noise that a run reckoned with, in the image's units.

    Attributes
    ----------
    slope, at_zero : tuple of float
        Of each channel: the variance is slope · intensity + at_zero, and nowhere under a twentieth of its mean.
    sigma : tuple of float
        Standard deviation of each channel, in the mean over the image.
    source : str
        How it is known: "given", "told from the image", or "told from N frames".
    """

    slope: tuple[float, ...]
    at_zero: tuple[float, ...]
    sigma: tuple[float, ...]
    source: str


def record_of(model: NoiseModel, *, offset: Doubles, gain: Doubles, source: str) -> NoiseRecord:
    """Return a scaled model in the image's units: the inverse of `model_of`."""
    slope, floor, mean = (t.cpu().double().numpy() for t in (model.gain, model.floor, model.mean))
    at_zero = gain**2 * floor - gain * slope * offset
    return NoiseRecord(
        tuple(map(float, slope * gain)), tuple(map(float, at_zero)), tuple(map(float, gain * mean**0.5)), source
    )
