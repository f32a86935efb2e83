"""What a limited range takes from the mean of noisy values, and how it is given back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_dip.engine.noise import NoiseModel

LEAST = 0.01  # of the values at an end of the range: fewer say little
LIKELY = 1.7  # times as many, or as few, as the noise model predicts: still taken for clipped noise
STEADY = 0.5  # of the mean variance: where there is less at the low end, zeros are few photons, not clipped noise
POINTS = 4096  # of the table that is inverted


@dataclass(frozen=True, eq=False)
class Clipping:
    """Noisy values that were clipped to a range: bright ones are too dark in the mean, and dark ones too bright.

    A. Foi, "Clipped noisy images: heteroskedastic modeling and practical denoising", Signal Processing 2009.

    Attributes
    ----------
    low, high : Tensor
        Ends of the range, (C,); infinite where nothing is clipped.
    noise : NoiseModel
        Before the values were clipped.
    """

    low: Tensor
    high: Tensor
    noise: NoiseModel

    def expected(self, x: Tensor) -> Tensor:
        """Return the mean of a clean image x, (C, *spatial), with noise and clipped."""
        low, high = (end.to(x.device).view(-1, *[1] * (x.ndim - 1)) for end in (self.low, self.high))
        deviation = self.noise.variance(x).sqrt()
        return x + deviation * (_excess((low - x) / deviation) - _excess((x - high) / deviation))

    def undone(self, mean: Tensor) -> Tensor:
        """Return the clean image, within the range, whose `expected` is the given one."""
        low = torch.where(self.low.isfinite(), self.low, mean.flatten(1).amin(1).to(self.low))
        high = torch.where(self.high.isfinite(), self.high, mean.flatten(1).amax(1).to(self.high))
        steps = torch.linspace(0, 1, POINTS, device=mean.device)
        x = low.to(mean.device)[:, None] + (high - low).to(mean.device)[:, None] * steps  # (C, POINTS)
        expected = self.expected(x).cummax(1).values
        values = mean.flatten(1).contiguous()
        after = torch.searchsorted(expected.contiguous(), values).clamp(1, POINTS - 1)
        left, right = (expected.gather(1, index) for index in (after - 1, after))
        share = ((values - left) / (right - left).clamp(min=1e-12)).clamp(0, 1)
        return torch.lerp(x.gather(1, after - 1), x.gather(1, after), share).reshape(mean.shape)


def find_clipping(y: Tensor, known: Tensor, estimate: Tensor, noise: NoiseModel) -> Clipping | None:
    """Return how a measurement is clipped, or None.

    As many values must be at an end as noise is expected to bring there.

    Parameters
    ----------
    y, known, estimate : Tensor
        (C, *spatial); the measurement, which of its elements are known, and what it is without noise.
    noise : NoiseModel
        Of y.
    """
    deviation = noise.variance(estimate).sqrt().clamp(min=1e-12)
    ends = []
    for sign in (-1, 1):
        values, centre = sign * y, sign * estimate
        end = torch.where(known, values, -torch.inf).flatten(1).amax(1)
        shaped = end.view(-1, *[1] * (y.ndim - 1))
        at_end, beyond = (values == shaped).float(), torch.special.ndtr((centre - shaped) / deviation)
        there, predicted = (
            (share * known).flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1) for share in (at_end, beyond)
        )
        is_clipped = (there >= LEAST) & (predicted * LIKELY >= there) & (predicted <= LIKELY * there)
        ends.append(sign * torch.where(is_clipped, end, torch.inf))
    low, high = ends
    at_low = noise.variance(torch.where(low.isfinite(), low, 0.0)[:, None])[:, 0]
    low = torch.where(at_low >= STEADY * noise.mean.to(y.device), low, -torch.inf)
    return Clipping(low, high, noise) if bool((low.isfinite() | high.isfinite()).any()) else None


def _excess(t: Tensor) -> Tensor:
    """Return the mean of a standard normal value beyond -t, t + value where that is positive: 0 at -infinity."""
    density = torch.exp(-0.5 * t.square()) / math.sqrt(2 * math.pi)
    return torch.where(t.isinf(), 0.0, t * torch.special.ndtr(t) + density)
