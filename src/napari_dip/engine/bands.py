"""Gaussian blurs, and the two bands into which they part an image."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

FINE = 1.0  # px: standard deviation of the Gaussian that parts fine detail from the rest


def bands(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return fine detail and the rest, (C, *spatial) each, which sum to the image."""
    smooth = blurred(image, FINE, range(1, image.ndim), "replicate")
    return image - smooth, smooth


def blurred(image: Tensor, sigma: float, axes: Iterable[int], border: str) -> Tensor:
    """Return a Gaussian blur along some axes, cut off at three standard deviations."""
    reach = math.ceil(3 * sigma)
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=image.device) / sigma) ** 2)
    taps = taps / taps.sum()
    for axis in axes:
        lines = image.movedim(axis, -1)
        kept = lines.shape
        lines = F.pad(lines.reshape(-1, 1, kept[-1]), (reach, reach), mode=border)
        image = F.conv1d(lines, taps[None, None]).reshape(kept).movedim(-1, axis)
    return image
