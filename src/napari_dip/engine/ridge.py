"""A closed-form denoiser: similar patches of one image, each replaced by the best linear mixture of them.

NL-Ridge: S. Herbreteau, C. Kervrann, "Towards a unified view of unsupervised non-local methods for image denoising:
the NL-Ridge approach", ICIP 2022. Written from the paper's equations, for noise whose variance differs from pixel to
pixel. It takes seconds and is the network's pilot: what it sees well (repeated structure), a network learns late.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dip.engine.abreast import in_order
from napari_dip.engine.components import Components, components
from napari_dip.engine.correlation import LAGS
from napari_dip.engine.noise import NoiseModel
from napari_dip.engine.patches import Pass, Where, Work, at_a_time, extended, folded, over_strips, patches
from napari_dip.engine.planes import by_planes
from napari_dip.engine.work import finished

GROUPS = 128  # groups solved at once
OFFSET = 5.0  # standard deviations of the image


FIRST = {1: Pass(9, 18), 3: Pass(7, 18)}
LATER = {1: Pass(7, 90), 3: Pass(5, 90)}
AGAIN = Pass(7, 40)


def nl_ridge(y: Tensor, noise: NoiseModel, passes: int = 2) -> Tensor:
    """Return the denoised image, shaped as y.

    Parameters
    ----------
    y : Tensor
        (C, *spatial), spatial (Y, X) or (Z, Y, X), finite everywhere; planes of a volume that are alike go together.
    noise : NoiseModel
        Of y.
    passes : int
        How often the mixtures are found anew from the last estimate, after a first pass without one.
    """
    return finished(nl_ridge_in_strips(y, noise, passes))


def nl_ridge_in_strips(y: Tensor, noise: NoiseModel, passes: int = 2) -> Work:
    """Yield after each strip of rows, for a caller that wants to live meanwhile; return what `nl_ridge` does."""
    return by_planes(y, noise, lambda plane, law: ridge_of_plane(plane, law, passes))


def nl_ridge_again(x: Tensor, variance: Tensor) -> Work:
    """Yield after each strip, and return x, (C, Y, X), denoised once more, itself being the estimate.

    Parameters
    ----------
    x, variance : Tensor
        An image and the variance of what is wrong at each of its elements, above zero, (C, Y, X); 16 px a side or more.
    """
    deviation = variance.mean((1, 2), keepdim=True).sqrt()
    centre = x.mean((1, 2), keepdim=True) - OFFSET * x.std((1, 2), keepdim=True)
    scaled = (x - centre) / deviation
    parts = components(scaled)
    found = yield from _pass(scaled, scaled, variance / deviation.square(), parts, None, AGAIN)
    return found * deviation + centre


def ridge_of_plane(y: Tensor, noise: NoiseModel, passes: int) -> Work:
    """Yield while y, (C, Y, X), is denoised, and return it: patches span the channels, each in units of its noise."""
    deviation = noise.mean.to(y.device).sqrt().view(-1, 1, 1)
    kind = 1 if len(y) == 1 else 3
    # far above zero, since mixtures that keep a large common offset have weights that sum to one
    centre = y.mean((1, 2), keepdim=True) - OFFSET * y.std((1, 2), keepdim=True)
    scaled = (y - centre) / deviation

    def variance(x: Tensor) -> Tensor:
        return noise.variance(x * deviation + centre) / deviation.square()

    # without an estimate the variance is told from the neighbourhood's mean
    near = F.avg_pool2d(scaled[None], 9, 1, 4, count_include_pad=False)[0]
    correlation = None if noise.correlation is None else noise.correlation.to(y.device)
    parts = components(scaled)
    x = yield from _pass(scaled, None, variance(near), parts, correlation, FIRST[kind])
    for _ in range(passes):
        x = yield from _pass(scaled, x, variance(x), parts, correlation, LATER[kind])
    return x * deviation + centre


def _pass(
    y: Tensor,
    estimate: Tensor | None,
    variance: Tensor,
    parts: Components,
    correlation: Tensor | None,
    settings: Pass,
) -> Work:
    """Return the mean of all patches' estimates, (C, Y, X), each weighted by how little noise it kept."""
    size = y.shape[1:]
    guide = y if estimate is None else estimate
    y, guide, variance = (extended(t, settings) for t in (y, guide, variance))

    def strip(where: Where) -> _Strip:
        like = None if estimate is None else guide[where]
        return _Strip(y[where], like, variance[where], correlation, settings.patch)

    found = yield from over_strips(parts.weighted(parts.of(guide)), settings, strip)
    return found[:, : size[0], : size[1]]


class _Strip:
    """The patches of some rows, and what their groups make of them."""

    def __init__(self, y: Tensor, estimate: Tensor | None, variance: Tensor, correlation: Tensor | None, patch: int):
        self.shape, self.patch, self.correlation = y.shape, patch, correlation
        self.y = patches(y, patch)  # (L, n)
        self.estimate = None if estimate is None else patches(estimate, patch)
        self.variance = patches(variance, patch).sum(1)  # (L,)

    def mixed(self, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of the patches' estimates, (C, Y, X), and of the weights, (1, Y, X)."""
        total, weight = torch.zeros_like(self.y), self.y.new_zeros(len(self.y))
        parts = torch.split(groups, GROUPS)

        def estimated(index: int) -> tuple[Tensor, Tensor, Tensor]:
            group = parts[index]
            mixture = self.first(group) if self.estimate is None else self.later(group)  # (B, k, k)
            trust = 1 / mixture.square().sum(1).clamp(1 / group.shape[1], 1)
            return group, mixture.mT @ self.y[group] * trust[..., None], trust

        def added(made: tuple[Tensor, Tensor, Tensor]) -> None:
            group, estimates, trust = made
            total.index_add_(0, group.flatten(), estimates.flatten(0, 1))
            weight.index_add_(0, group.flatten(), trust.flatten())

        in_order(estimated, added, len(parts), at_a_time(self.y))
        counts = weight[:, None].expand(-1, self.patch**2)
        size = self.shape[1:]
        return folded(total, size, self.patch), folded(counts, size, self.patch)

    def first(self, group: Tensor) -> Tensor:
        """Return the mixtures of least unbiased risk estimate, from the noisy patches: I - (YᵀY)⁻¹ D."""
        noisy = self.y[group].double()  # (B, k, n); nearly singular where patches are alike
        gram = noisy @ noisy.mT
        eye = torch.eye(gram.shape[1], device=gram.device, dtype=gram.dtype)
        gram = gram + (1e-6 * gram.diagonal(dim1=1, dim2=2).mean(1) + 1e-9)[:, None, None] * eye
        factor = torch.linalg.cholesky(gram)
        if self.correlation is None:
            removed = torch.cholesky_inverse(factor) * self.variance[group][:, None, :]
        else:
            removed = torch.cholesky_solve(self.covariance(group), factor)
        return (eye - removed).float()

    def later(self, group: Tensor) -> Tensor:
        """Return the mixtures of least risk if the estimate were the truth: (XᵀX + D)⁻¹ XᵀX.

        For white noise D is diagonal, and the n x n dual is cheaper unless there are many channels.
        """
        assert self.estimate is not None  # noqa: S101  `mixed` chose
        clean = self.estimate[group].double()  # (B, k, n); large where there is hardly any noise
        variance = self.variance[group].double()
        if self.correlation is None and clean.shape[2] <= clean.shape[1]:
            weighted = clean / variance[..., None]
            dual = clean.mT @ weighted
            dual = dual + torch.eye(clean.shape[2], device=clean.device, dtype=dual.dtype)
            return (weighted @ torch.cholesky_solve(clean.mT, torch.linalg.cholesky(dual))).float()
        gram = clean @ clean.mT
        if self.correlation is None:
            noise = torch.diag_embed(variance)
        else:
            noise = self.covariance(group)
            floor = 1e-3 * noise.diagonal(dim1=1, dim2=2).mean(1)  # a cut-off autocorrelation is none quite
            noise = noise + floor[:, None, None] * torch.eye(gram.shape[1], device=gram.device, dtype=gram.dtype)
        return torch.cholesky_solve(gram, torch.linalg.cholesky(gram + noise)).float()

    def covariance(self, group: Tensor) -> Tensor:
        """Return D, the expected products of the noise of patches, (B, k, k): neighbours overlap."""
        assert self.correlation is not None  # noqa: S101  the callers looked
        columns = self.shape[2] - self.patch + 1
        shifts = [at[:, :, None] - at[:, None, :] for at in (group // columns, group % columns)]
        near = (shifts[0].abs() <= LAGS) & (shifts[1].abs() <= LAGS)
        down, right = (shift.clamp(-LAGS, LAGS) + LAGS for shift in shifts)
        deviation = self.variance[group].double().sqrt()
        return deviation[:, :, None] * deviation[:, None, :] * self.correlation.double()[down, right] * near
