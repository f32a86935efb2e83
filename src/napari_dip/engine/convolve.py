"""Blur by a point-spread function, in 2-D and 3-D: light from outside the field is modelled, and none wraps around."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

Margins = tuple[tuple[int, int], ...]
"""Pixels of x before and after the measured field, for each spatial axis."""

Transformed = tuple[tuple[int, ...], torch.dtype, torch.device]
"""Size, type and device of what is blurred."""

FARTHEST = 0.01  # of the PSF's light may come from beyond x's margin on either side: that light is a guess
MOST, LEAST = 0.25, 8  # of the field, and px: so far x goes beyond it at most, since each voxel there is fitted too


@dataclass(frozen=True, eq=False)
class Convolution:
    """x, which is larger than the measured field, to the field as the PSF blurs it.

    Attributes
    ----------
    kernel : Tensor
        The PSF, (*spatial), of sum 1; its origin is the element `n // 2` of each axis.
    margins : tuple of (int, int)
        How far x goes beyond the field. Where the PSF sees farther, the outermost pixels of x are repeated.
    transforms : dict
        The PSF's transforms so far, by size, type and device of what is blurred: each is made once.
    """

    kernel: Tensor
    margins: Margins
    transforms: dict[Transformed, Tensor] = field(default_factory=dict, repr=False)

    def to(self, device: torch.device) -> Convolution:
        """Return the same with its kernel on a device."""
        return Convolution(self.kernel.to(device), self.margins)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the blurred field, (C, *spatial), of an image (C, *spatial)."""
        taps = tuple(self.kernel.shape)
        beyond = [
            max(0, reach - margin)
            for reaches, margins in zip(sides(taps), self.margins, strict=True)
            for reach, margin in zip(reaches, margins, strict=True)
        ]
        seen = self.seen(x)
        if any(beyond):
            seen = F.pad(seen, [width for axis in reversed(range(len(taps))) for width in beyond[2 * axis :][:2]],
                         mode="replicate")  # fmt: skip
        size = tuple(smooth(n) for n in seen.shape[1:])
        if (key := (size, x.dtype, x.device)) not in self.transforms:
            self.transforms[key] = torch.fft.rfftn(self.kernel.to(x.device, x.dtype), size)
        return valid(seen, self.transforms[key], taps)

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


def valid(x: Tensor, transform: Tensor, taps: tuple[int, ...]) -> Tensor:
    """Return the convolution of each channel of x, (C, *spatial), where the kernel lies wholly within it.

    Parameters
    ----------
    x : Tensor
        What is blurred.
    transform : Tensor
        The kernel's, as `torch.fft.rfftn` gives it of the next `smooth` sizes from those of x on.
    taps : tuple of int
        Size of the kernel.
    """
    axes, size = tuple(range(-len(taps), 0)), [smooth(n) for n in x.shape[1:]]
    whole: Tensor = torch.fft.irfftn(torch.fft.rfftn(x, size, axes) * transform, size, axes)
    for axis, (length, width) in enumerate(zip(x.shape[1:], taps, strict=True), 1):
        whole = whole.narrow(axis, width - 1, length - width + 1)  # before that, the transform has wrapped around
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
    """Return how far x has to go beyond the field for all but `FARTHEST` of the light, within `MOST` of its size."""
    found = []
    for axis, length in enumerate(field):
        profile = kernel.double().sum([other for other in range(kernel.ndim) if other != axis])
        before, after = sides(kernel.shape)[axis]
        # light that comes from before the field has passed the PSF's far end
        low, high = (_outer(ends) for ends in (profile.flip(0), profile))
        most = min(math.ceil(length / 2), max(LEAST, math.ceil(MOST * length)))
        found.append((min(most, max(0, before - low)), min(most, max(0, after - high))))
    return tuple(found)


def _outer(profile: Tensor) -> int:
    """Return how many elements at the start of a profile have no more than `FARTHEST` of the whole."""
    return int((profile.cumsum(0) <= FARTHEST).sum())
