"""A denoiser that shrinks stacks of similar patches in a transform domain.

Collaborative filtering: K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, "Image denoising by sparse 3-D transform-domain
collaborative filtering", IEEE Transactions on Image Processing 16, 2007. Written from the paper's equations, with
channels rotated to the components of the image's own detail, and for noise whose variance differs from patch to patch.
It errs otherwise than NL-Ridge does: both together are nearer than either.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dip.engine.abreast import in_order
from napari_dip.engine.components import Components, components
from napari_dip.engine.noise import NoiseModel
from napari_dip.engine.patches import Pass, Where, Work, at_a_time, extended, folded, over_strips, patches
from napari_dip.engine.planes import by_planes

HARD = Pass(8, 16, stride=3)
WIENER = Pass(8, 32, stride=3)
THRESHOLD = 2.7  # standard deviations of the noise
WINDOW = 2.0  # of Kaiser: the middle of a patch counts more
LEAST = 1e-6  # variance of a patch, in units of the mean noise: what is known exactly is not lost
GROUPS = 128  # stacks shrunk at once
SPLINE = (3, -3, -22, 22, 128, 128, 22, -22, -3, 3)  # / 256: low-pass filter of the 1.5 biorthogonal wavelet


def collaborative_in_strips(y: Tensor, noise: NoiseModel) -> Work:
    """Yield after each strip of rows, and return y, (C, *spatial), denoised; alike planes of a volume together.

    Parameters
    ----------
    y : Tensor
        (C, *spatial), spatial (Y, X) or (Z, Y, X), finite everywhere.
    noise : NoiseModel
        Of y; that it may be correlated is not looked at.
    """
    return by_planes(y, noise, collaborative_of_plane)


def collaborative_of_plane(y: Tensor, noise: NoiseModel) -> Work:
    """Yield while y, (C, Y, X), is denoised, and return it: each component of its channels, in units of the noise."""
    deviation = noise.mean.to(y.device).sqrt().view(-1, 1, 1)
    parts = components(y / deviation)
    rotated = parts.of(y / deviation)

    def variance(x: Tensor) -> Tensor:
        return parts.variance(noise.variance(parts.back(x) * deviation) / deviation.square())

    near = F.avg_pool2d(rotated[None], 9, 1, 4, count_include_pad=False)[0]
    first = yield from _pass(rotated, None, variance(near), parts, HARD)
    found = yield from _pass(rotated, first, variance(first), parts, WIENER)
    return parts.back(found) * deviation


def _pass(y: Tensor, estimate: Tensor | None, variance: Tensor, parts: Components, settings: Pass) -> Work:
    """Return the mean of all stacks' estimates, (C, Y, X), each weighted by how little noise it kept."""
    size = y.shape[1:]
    guide = y if estimate is None else estimate
    y, guide, variance = (extended(t, settings) for t in (y, guide, variance))
    transform = _Transform(settings.patch, y, is_sparse=estimate is None)

    def strip(where: Where) -> _Strip:
        return _Strip(y[where], None if estimate is None else guide[where], variance[where], transform)

    found = yield from over_strips(parts.weighted(guide), settings, strip, is_sorted=True)
    return found[:, : size[0], : size[1]]


class _Transform:
    """A transform of patches within the plane, and back: of wavelets, sparser, or of cosines, smoother."""

    def __init__(self, patch: int, like: Tensor, *, is_sparse: bool):
        self.patch = patch
        line = wavelets(patch) if is_sparse else cosines(patch)
        self.there = torch.kron(line, line).to(like)
        self.back = torch.linalg.inv(self.there.double()).to(like)
        middle = torch.kaiser_window(patch, periodic=False, beta=WINDOW).to(like)
        self.window = (middle[:, None] * middle).flatten()

    def of(self, image: Tensor) -> Tensor:
        """Return the transforms of all patches of an image, (C, Y, X), as (L, C, patch²)."""
        rows = patches(image, self.patch).view(-1, len(image), self.patch**2)
        return rows @ self.there.T

    def folded(self, rows: Tensor, size: tuple[int, ...]) -> Tensor:
        """Return the sum of patches, (L, C, patch²), from their transform, the middle of each counting more."""
        return folded((rows @ self.back.T * self.window).flatten(1), size, self.patch)

    def folded_weights(self, weights: Tensor, size: tuple[int, ...]) -> Tensor:
        """Return the sum of the weights of patches, (L, C), the middle of each counting more."""
        return folded((weights[..., None] * self.window).flatten(1), size, self.patch)


class _Strip:
    """The patches of some rows in the transform domain, and what their stacks make of them."""

    def __init__(self, y: Tensor, estimate: Tensor | None, variance: Tensor, transform: _Transform):
        self.size, self.transform = tuple(y.shape[1:]), transform
        self.y = transform.of(y)  # (L, C, n)
        self.estimate = None if estimate is None else transform.of(estimate)
        spread = patches(variance, transform.patch).view(-1, len(variance), transform.patch**2)
        self.variance = spread.mean(2).clamp(min=LEAST)  # (L, C)

    def mixed(self, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of the stacks' estimates, (C, Y, X), and of the weights."""
        count = 2 ** int(math.log2(groups.shape[1]))  # that a Haar transform takes
        along = haar(count).to(self.y)
        total, weight = torch.zeros_like(self.y), torch.zeros_like(self.variance)
        parts = torch.split(groups[:, :count], GROUPS)

        def estimated(index: int) -> tuple[Tensor, Tensor, Tensor]:
            group = parts[index]
            noisy = _along(along, self.y[group])  # (B, k, C, n)
            variance = self.variance[group].mean(1)[:, None, :, None]
            if self.estimate is None:
                kept = (noisy.square() > THRESHOLD**2 * variance).to(noisy)
            else:
                power = _along(along, self.estimate[group]).square()
                kept = power / (power + variance)
            trust = 1 / (kept.square().sum((1, 3), keepdim=True).clamp(min=1) * variance)  # (B, 1, C, 1)
            return group, _along(along.T, kept * noisy) * trust, trust

        def added(made: tuple[Tensor, Tensor, Tensor]) -> None:
            group, estimates, trust = made
            total.index_add_(0, group.flatten(), estimates.flatten(0, 1))
            weight.index_add_(0, group.flatten(), trust[..., 0].expand(-1, count, -1).flatten(0, 1))

        in_order(estimated, added, len(parts), at_a_time(self.y))
        return self.transform.folded(total, self.size), self.transform.folded_weights(weight, self.size)


def _along(matrix: Tensor, stacks: Tensor) -> Tensor:
    """Return the transform of stacks, (B, k, C, n), from patch to patch."""
    return (matrix @ stacks.flatten(2)).view(stacks.shape)


def cosines(count: int) -> Tensor:
    """Return the orthonormal discrete cosine transform of so many values, a row for each frequency."""
    at = torch.arange(count, dtype=torch.float64)
    rows = torch.cos(math.pi * at[:, None] * (at + 0.5) / count) * math.sqrt(2 / count)
    rows[0] /= math.sqrt(2)
    return rows.float()


def wavelets(count: int) -> Tensor:
    """Return a biorthogonal spline wavelet transform of a period of values, a power of 2: rows of norm 1, means first.

    The 1.5 wavelet of A. Cohen, I. Daubechies, J.-C. Feauveau, "Biorthogonal bases of compactly supported wavelets",
    Communications on Pure and Applied Mathematics 45, 1992, which the paper thresholds in.
    """
    rows = torch.eye(count, dtype=torch.float64)
    details: list[Tensor] = []
    while (length := len(rows)) > 1:
        even = torch.arange(0, length, 2)
        details.insert(0, rows[even] - rows[even + 1])
        taps = torch.tensor(SPLINE, dtype=torch.float64)
        rows = torch.stack([taps @ rows[(at + torch.arange(len(SPLINE)) - 4) % length] for at in even.tolist()])
    transform = torch.cat([rows, *details])
    scaled: Tensor = transform / transform.norm(dim=1, keepdim=True)
    return scaled.float()


def haar(count: int) -> Tensor:
    """Return the orthonormal Haar transform of so many values, a power of 2: the mean's row first."""
    rows = torch.ones(1, 1)
    while len(rows) < count:
        means = torch.kron(rows, torch.tensor([[1.0, 1.0]]))
        differences = torch.kron(torch.eye(len(rows)), torch.tensor([[1.0, -1.0]]))
        rows = torch.cat([means, differences]) / math.sqrt(2)
    return rows
