"""How blurred and how sharp an image is, and whether the ratio of both has settled over the steps of a fit."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)  # of R, G and B
BOX = 9  # px, of the blur that an image is compared with
DECAY, COUNTED = 0.01, 1000  # of the largest local variations: weights fall by this, and so many are looked at
SHARPEST = 0.01  # share of the pixels that make an image sharp


def planes(x: Tensor) -> Tensor:
    """Return the grey planes of an image, (C, *spatial) to (planes, Y, X)."""
    if len(x) == len(LUMA):
        x = (x * torch.tensor(LUMA, device=x.device).view(-1, *[1] * (x.ndim - 1))).sum(0, keepdim=True)
    return x.mean(0).reshape(-1, *x.shape[-2:])


def blur(images: Tensor) -> Tensor:
    """Return how blurred planes are, 0-d, from 0 to 1 for no detail at all.

    Detail that a further blur takes away was there: the share of the differences between neighbours that it leaves,
    along the axis that keeps more. Whatever the scale and the offset of the values.

    Source: Crete et al., "The blur effect", SPIE 2007.
    """
    images = images[:, None]
    shares = []
    for kernel, axis in (((BOX, 1), 2), ((1, BOX), 3)):
        blurred = F.avg_pool2d(images, kernel, 1)
        margin = BOX // 2
        inside = images.narrow(axis, margin, blurred.shape[axis])
        own, left = (t.diff(dim=axis).abs()[..., 1:-1, 1:-1] for t in (inside, blurred))
        total = own.sum()
        shares.append((total - (own - left).clamp(min=0).sum()) / total.clamp(min=1e-20))
    return torch.stack(shares).max()


def local_variation(images: Tensor) -> Tensor:
    """Return the largest difference of a neighbour to each pixel, of all planes in one row."""
    patches = F.unfold(images[:, None], 3)  # (planes, 9, pixels)
    return (patches.amax(1) - patches[:, 4]).flatten()


def sharpness(images: Tensor) -> Tensor:
    """Return how sharp planes are as published, 0-d: the largest thousand local variations but the first, weighted.

    Source: Shi et al., IJCV 2022, after Bahrami and Kot, "A fast approach for no-reference image sharpness assessment
    based on maximum local variation", IEEE Signal Processing Letters 2014.
    """
    variation = local_variation(images)
    largest = variation.topk(min(COUNTED, len(variation))).values
    weights = (-DECAY * torch.arange(1, len(largest) + 1, device=images.device)).exp()
    return (largest * weights)[1:].square().mean().sqrt()


def relative_sharpness(images: Tensor) -> Tensor:
    """Return the RMS of the largest hundredth of the local variations, in units of the planes' deviation, 0-d."""
    variation = local_variation(images)
    largest = variation.topk(max(1, round(SHARPEST * len(variation)))).values
    return largest.square().mean().sqrt() / images.std().clamp(min=1e-20)


def is_settled(ratios: Tensor, window: int, threshold: float) -> Tensor:
    """Return whether ratios, the last 2 n + 1 steps', have settled as published: a boolean, 0-d.

    The mean of the first n is compared with that of the n - 1 before the newest: the published windows.
    """
    before, now = ratios[:window], ratios[window + 1 : 2 * window]
    return (before.mean() - now.mean()).abs() < threshold


def is_steady(ratios: Tensor, window: int, threshold: float) -> Tensor:
    """Return whether the last 2 n ratios have settled relative to their size: a boolean, 0-d."""
    before, now = ratios[-2 * window : -window].mean(), ratios[-window:].mean()
    return (before - now).abs() < threshold * now.abs()
