"""Blur by a point-spread function, in 2-D and 3-D: light from outside the field is modelled, and none wraps around."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Margins = tuple[tuple[int, int], ...]
"""Pixels of x before and after the measured field, for each spatial axis."""

FARTHEST = 0.01  # of the PSF's light may come from beyond x's margin on either side: that light is a guess


@dataclass(frozen=True, eq=False)
class Convolution:
    """x, which is larger than the measured field, to the field as the PSF blurs it.

    Attributes
    ----------
    kernel : Tensor
        The PSF, (*spatial), of sum 1; its origin is the element `n // 2` of each axis.
    margins : tuple of (int, int)
        How far x goes beyond the field. Where the PSF sees farther, the outermost pixels of x are repeated.
    """

    kernel: Tensor
    margins: Margins

    def to(self, device: torch.device) -> Convolution:
        """Return the same with its kernel on a device."""
        return Convolution(self.kernel.to(device), self.margins)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the blurred field, (C, *spatial), of an image (C, *spatial)."""
        kernel = self.kernel.to(x.device)
        beyond = [
            max(0, reach - margin)
            for reaches, margins in zip(sides(kernel.shape), self.margins, strict=True)
            for reach, margin in zip(reaches, margins, strict=True)
        ]
        seen = self.seen(x)
        if any(beyond):
            seen = F.pad(seen, [width for axis in reversed(range(kernel.ndim)) for width in beyond[2 * axis :][:2]],
                         mode="replicate")  # fmt: skip
        return valid(seen, kernel)

    def seen(self, x: Tensor) -> Tensor:
        """Return the part of x that the PSF brings into the field."""
        for axis, (reaches, margins) in enumerate(zip(sides(self.kernel.shape), self.margins, strict=True), 1):
            cut = [max(0, margin - reach) for reach, margin in zip(reaches, margins, strict=True)]
            x = x.narrow(axis, cut[0], x.shape[axis] - sum(cut))
        return x

    def extent(self, field: tuple[int, ...]) -> tuple[int, ...]:
        """Return the spatial shape of the x that has this field and its margins."""
        return tuple(n + before + after for n, (before, after) in zip(field, self.margins, strict=True))

    def field(self, x: Tensor) -> Tensor:
        """Return the part of x that was measured: without its margins."""
        for axis, (before, after) in enumerate(self.margins, 1):
            x = x.narrow(axis, before, x.shape[axis] - before - after)
        return x


def sides(shape: tuple[int, ...]) -> Margins:
    """Return how far a kernel sees before and after each pixel: its origin is the element `n // 2`."""
    return tuple((n - 1 - n // 2, n // 2) for n in shape)


def valid(x: Tensor, kernel: Tensor) -> Tensor:
    """Return the convolution of each channel of x, (C, *spatial), where the kernel lies wholly within it."""
    axes = tuple(range(-kernel.ndim, 0))
    size = [smooth(n) for n in x.shape[1:]]
    product = torch.fft.rfftn(x, size, axes) * torch.fft.rfftn(kernel.to(x.dtype), size, axes)
    whole: Tensor = torch.fft.irfftn(product, size, axes)
    for axis, (length, taps) in enumerate(zip(x.shape[1:], kernel.shape, strict=True), 1):
        whole = whole.narrow(axis, taps - 1, length - taps + 1)  # before that, the transform has wrapped around
    return whole


def smooth(least: int) -> int:
    """Return the next number that has no prime factor above 5: such lengths transform fast."""
    n = least
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 1


def margins_of(kernel: Tensor, field: tuple[int, ...]) -> Margins:
    """Return how far x has to go beyond the field for all but `FARTHEST` of the light, at most half its size."""
    found = []
    for axis, length in enumerate(field):
        profile = kernel.double().sum([other for other in range(kernel.ndim) if other != axis])
        before, after = sides(kernel.shape)[axis]
        # light that comes from before the field has passed the PSF's far end
        low, high = (_outer(ends) for ends in (profile.flip(0), profile))
        most = math.ceil(length / 2)
        found.append((min(most, max(0, before - low)), min(most, max(0, after - high))))
    return tuple(found)


def _outer(profile: Tensor) -> int:
    """Return how many elements at the start of a profile have no more than `FARTHEST` of the whole."""
    return int((profile.cumsum(0) <= FARTHEST).sum())
