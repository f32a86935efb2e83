"""A denoiser that shrinks stacks of similar patches in a transform domain.

Collaborative filtering: K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, "Image denoising by sparse 3-D transform-domain
collaborative filtering", IEEE Transactions on Image Processing 16, 2007. Written from the paper's equations, with a
cosine transform in both steps and over the channels too, and for noise whose variance differs from patch to patch.
It errs otherwise than NL-Ridge does: both together are nearer than either.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dip.engine.noise import NoiseModel
from napari_dip.engine.patches import Pass, Where, Work, extended, folded, over_strips, patches
from napari_dip.engine.ridge import by_planes

HARD = Pass(8, 16)
WIENER = Pass(8, 32)
THRESHOLD = 2.8  # standard deviations of the noise
WINDOW = 2.0  # of Kaiser: the middle of a patch counts more
LEAST = 1e-6  # variance of a patch, in units of the mean noise: what is known exactly is not lost
GROUPS = 256  # stacks shrunk at once


def collaborative_in_strips(y: Tensor, noise: NoiseModel) -> Work:
    """Yield after each strip of rows, and return y, (C, *spatial), denoised: of a volume each plane by itself.

    Parameters
    ----------
    y : Tensor
        (C, *spatial), spatial (Y, X) or (Z, Y, X), finite everywhere.
    noise : NoiseModel
        Of y; that it may be correlated is not looked at.
    """
    return by_planes(y, noise, collaborative_of_plane)


def collaborative_of_plane(y: Tensor, noise: NoiseModel) -> Work:
    """Yield while y, (C, Y, X), is denoised, and return it: patches span the channels, each in units of its noise."""
    deviation = noise.mean.to(y.device).sqrt().view(-1, 1, 1)
    scaled = y / deviation

    def variance(x: Tensor) -> Tensor:
        return noise.variance(x * deviation) / deviation.square()

    near = F.avg_pool2d(scaled[None], 9, 1, 4, count_include_pad=False)[0]
    first = yield from _pass(scaled, None, variance(near), HARD)
    found = yield from _pass(scaled, first, variance(first), WIENER)
    return found * deviation


def _pass(y: Tensor, estimate: Tensor | None, variance: Tensor, settings: Pass) -> Work:
    """Return the mean of all stacks' estimates, (C, Y, X), each weighted by how little noise it kept."""
    size = y.shape[1:]
    guide = y if estimate is None else estimate
    y, guide, variance = (extended(t, settings.patch) for t in (y, guide, variance))
    transform = _Transform(len(y), settings.patch, y)

    def strip(where: Where) -> _Strip:
        return _Strip(y[where], None if estimate is None else guide[where], variance[where], transform)

    found = yield from over_strips(guide, settings, strip, is_sorted=True)
    return found[:, : size[0], : size[1]]


class _Transform:
    """The cosine transform of patches, each a row, (L, C·patch²), within the plane and over the channels."""

    def __init__(self, channels: int, patch: int, like: Tensor):
        self.patch = patch
        self.plane = torch.kron(cosines(patch), cosines(patch)).to(like)
        self.channels = cosines(channels).to(like)
        line = torch.kaiser_window(patch, periodic=False, beta=WINDOW).to(like)
        self.window = (line[:, None] * line).flatten()  # of the plane

    def of(self, rows: Tensor) -> Tensor:
        return (self.channels @ (self.parted(rows) @ self.plane.T)).flatten(1)

    def windowed(self, rows: Tensor) -> Tensor:
        """Return patches from their transform, the middle of each counting more."""
        return (self.channels.T @ self.parted(rows) @ self.plane * self.window).flatten(1)

    def parted(self, rows: Tensor) -> Tensor:
        return rows.view(len(rows), len(self.channels), -1)


class _Strip:
    """The patches of some rows in the transform domain, and what their stacks make of them."""

    def __init__(self, y: Tensor, estimate: Tensor | None, variance: Tensor, transform: _Transform):
        self.size, self.transform = tuple(y.shape[1:]), transform
        self.y = transform.of(patches(y, transform.patch))  # (L, n)
        self.estimate = None if estimate is None else transform.of(patches(estimate, transform.patch))
        self.variance = patches(variance, transform.patch).mean(1).clamp(min=LEAST)  # (L,)

    def mixed(self, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of the stacks' estimates, (C, Y, X), and of the weights, (1, Y, X)."""
        count = 2 ** int(math.log2(groups.shape[1]))  # that a Haar transform takes
        along = haar(count).to(self.y)
        total, weight = torch.zeros_like(self.y), self.y.new_zeros(len(self.y))
        for group in torch.split(groups[:, :count], GROUPS):
            noisy, variance = along @ self.y[group], self.variance[group].mean(1)[:, None, None]  # (B, k, n)
            if self.estimate is None:
                kept = (noisy.square() > THRESHOLD**2 * variance).to(noisy)
            else:
                power = (along @ self.estimate[group]).square()
                kept = power / (power + variance)
            trust = 1 / (kept.square().sum((1, 2), keepdim=True).clamp(min=1) * variance)  # (B, 1, 1)
            total.index_add_(0, group.flatten(), (along.T @ (kept * noisy) * trust).flatten(0, 1))
            weight.index_add_(0, group.flatten(), trust[:, 0].expand(-1, count).flatten())
        window, patch = self.transform.window, self.transform.patch
        return (
            folded(self.transform.windowed(total), self.size, patch),
            folded(weight[:, None] * window, self.size, patch),
        )


def cosines(count: int) -> Tensor:
    """Return the orthonormal discrete cosine transform of so many values, a row for each frequency."""
    at = torch.arange(count, dtype=torch.float64)
    rows = torch.cos(math.pi * at[:, None] * (at + 0.5) / count) * math.sqrt(2 / count)
    rows[0] /= math.sqrt(2)
    return rows.float()


def haar(count: int) -> Tensor:
    """Return the orthonormal Haar transform of so many values, a power of 2: the mean's row first."""
    rows = torch.ones(1, 1)
    while len(rows) < count:
        means = torch.kron(rows, torch.tensor([[1.0, 1.0]]))
        differences = torch.kron(torch.eye(len(rows)), torch.tensor([[1.0, -1.0]]))
        rows = torch.cat([means, differences]) / math.sqrt(2)
    return rows
