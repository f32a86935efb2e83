"""How strong the noise of an image is, told from the image alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 8  # px a side of the blocks whose variance is measured
FEWEST = 24  # blocks that an estimate takes
MOST_LEVELS = 16  # intensities at which the variance is measured
QUANTILE = 0.3  # of the blocks of one intensity: most of the others have structure
QUANTILE_OF_WHITE = 0.807  # the same quantile for white noise of variance 1, simulated (tests/engine/test_noise.py)
LEAST = 0.05  # of the mean variance: the model's variance is nowhere lower


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """Noise that is independent from pixel to pixel, its variance linear in the intensity: shot and read noise.

    Attributes
    ----------
    gain : Tensor
        Growth of the variance with the intensity, (C,), in the image's units: a photon's worth.
    floor : Tensor
        Variance at intensity zero, (C,), in the image's units squared.
    mean : Tensor
        Variance averaged over the image, (C,).
    """

    gain: Tensor
    floor: Tensor
    mean: Tensor

    def variance(self, x: Tensor) -> Tensor:
        """Return the variance at each element of a clean image x, (C, *spatial)."""
        gain, floor, least = (
            value.to(x.device).view(-1, *[1] * (x.ndim - 1)) for value in (self.gain, self.floor, LEAST * self.mean)
        )
        return torch.maximum(gain * x + floor, least)


def estimate_noise(y: Tensor, known: Tensor | None = None) -> NoiseModel | None:
    """Return the noise model of a measurement, or None where too little of it is known.

    Blocks of a few pixels are high-pass filtered with a mask that removes linear structure (Immerkær, "Fast noise
    variance estimation", 1996). Of all blocks of one intensity the calmer ones tell the variance, and a robust line
    through these is the model. Structure that is as fine as the noise makes it too large: by 1 to 4 % of the
    standard deviation on photographs with σ = 25 of 255, by up to a fifth at σ = 5.

    Parameters
    ----------
    y : Tensor
        (C, *spatial), spatial (Y, X) or (Z, Y, X); of a volume the planes are measured.
    known : Tensor, optional
        Boolean, shaped as y; blocks with an unknown element are left out.
    """
    lines = []
    for index, channel in enumerate(y.detach().float().cpu()):
        mask = torch.ones_like(channel, dtype=torch.bool) if known is None else known[index].cpu()
        intensity, power = _blocks(channel, mask)
        if len(intensity) < FEWEST:
            return None
        lines.append(torch.tensor([*_line(intensity, power)]))
    gain, floor, mean = torch.stack(lines, 1)
    return NoiseModel(gain, floor, mean)


def _blocks(channel: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return each block's mean intensity and mean squared high-pass value, of the wholly known ones."""
    planes = channel.reshape(-1, 1, *channel.shape[-2:])  # (N, 1, Y, X)
    if min(planes.shape[2:]) < BLOCK + 2:
        return torch.empty(0), torch.empty(0)
    row = torch.tensor([1.0, -2.0, 1.0])
    power = F.conv2d(planes, (row[:, None] * row)[None, None] / 6).square()  # white noise keeps its variance
    sure = F.avg_pool2d(known.reshape(planes.shape).float(), 3, 1)
    power, sure, mean = (F.avg_pool2d(t, BLOCK).flatten() for t in (power, sure, F.avg_pool2d(planes, 3, 1)))
    whole = sure > 1 - 1e-4
    return mean[whole], power[whole]


def _line(intensity: Tensor, power: Tensor) -> tuple[float, float, float]:
    """Return gain, floor and mean of the variance as a robust linear function of the intensity."""
    levels = max(1, min(MOST_LEVELS, len(intensity) // FEWEST))
    chunks = intensity.argsort().tensor_split(levels)
    x = torch.stack([intensity[chunk].mean() for chunk in chunks]).double()
    v = torch.stack([power[chunk].quantile(QUANTILE) for chunk in chunks]).double() / QUANTILE_OF_WHITE
    tiny = max(1e-3 * float(v.max()), 1e-20)
    slope, at_zero = 0.0, float(v.mean())
    if float(x.max() - x.min()) > 1e-6:
        weight = 1 / v.clamp(min=tiny)
        for _ in range(20):  # errors are relative, and some levels are all structure
            design = torch.stack([x, torch.ones_like(x)], 1) * weight[:, None]
            slope, at_zero = torch.linalg.lstsq(design, (v * weight)[:, None]).solution[:, 0].tolist()
            fitted = (slope * x + at_zero).clamp(min=tiny)
            weight = ((v - fitted).abs() / (0.2 * fitted)).clamp(min=1).rsqrt() / fitted
    return slope, at_zero, float((slope * intensity + at_zero).clamp(min=0).mean())
