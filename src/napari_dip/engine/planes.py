"""A denoiser of planes, given those of a volume: with their neighbours where these show the same things."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from napari_dip.engine.bands import blurred
from napari_dip.engine.components import DETAIL
from napari_dip.engine.noise import LEAST_NOISE, NoiseModel
from napari_dip.engine.patches import Work

SMALLEST = 16  # px a side: smaller images are left alone
ALIKE = (0.2, 0.5)  # how like neighbouring planes must be for two, and for three, of them to go together
DEEPEST = 1 + len(ALIKE)


def by_planes(y: Tensor, noise: NoiseModel, denoise: Callable[[Tensor, NoiseModel], Work]) -> Work:
    """Yield while an image, (C, *spatial), is denoised by what denoises planes, and return it; what has no noise stays.

    Planes of a volume that are alike are given together, as if they were channels: each is in up to three such groups,
    and the mean of what these make of it is taken.
    """
    noisy = noise.mean > LEAST_NOISE * y.flatten(1).var(1).to(noise.mean.device)
    if min(y.shape[-2:]) < SMALLEST or not bool(noisy.any()):
        return y.clone()
    kept = noisy.to(y.device)
    x = y.clone()
    work = denoise if y.ndim == 3 else lambda part, law: _in_groups(part, law, denoise)
    x[kept] = yield from work(y[kept], noise.of_channels(noisy))
    return x


def _in_groups(y: Tensor, noise: NoiseModel, denoise: Callable[[Tensor, NoiseModel], Work]) -> Work:
    """Yield while each group of planes of a volume, (C, Z, Y, X), is denoised, and return the mean for each plane."""
    alike = likeness(y, noise)
    depth = min(y.shape[1], 1 + sum(alike >= least for least in ALIKE))
    total, count = torch.zeros_like(y), y.new_zeros(y.shape[1], 1, 1)
    for first in range(y.shape[1] - depth + 1):
        planes = slice(first, first + depth)
        found = yield from denoise(y[:, planes].flatten(0, 1), noise.of_planes(planes))
        total[:, planes] += found.view(y[:, planes].shape)
        count[planes] += 1
    return total / count


def likeness(y: Tensor, noise: NoiseModel) -> float:
    """Return the correlation between the fine detail of neighbouring planes of y, (C, Z, Y, X), noise apart."""
    generator = torch.Generator().manual_seed(0)
    white = torch.randn(y.shape, generator=generator).to(y.device)
    detail, its_noise = _detail(y), _detail(noise.draw(blurred(y, DETAIL[1], (2, 3), "replicate"), white))
    power = (detail.square() - its_noise.square()).mean(2).clamp(min=0)  # (C, Z)
    together = (detail[:, 1:] * detail[:, :-1]).mean(2).sum()
    return float(together / (power[:, 1:] * power[:, :-1]).sqrt().sum().clamp(min=1e-20))


def _detail(y: Tensor) -> Tensor:
    """Return what a band-pass lets through of each plane, (C, Z, pixels), its mean taken away."""
    fine, coarse = (blurred(y, sigma, (2, 3), "replicate") for sigma in DETAIL)
    detail = (fine - coarse).flatten(2)
    return detail - detail.mean(2, keepdim=True)
