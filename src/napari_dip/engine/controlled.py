"""What keeps a network from fine detail: capped convolutions, norms that leave the variance, Gaussian up-sampling."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from napari_dip.engine.fields import Checked

SQUARINGS = 10  # of the Gram matrix: its 1024th power has next to nothing but its largest eigenvalue
SETTLING = 100  # power iterations before the first step
ITERATIONS = 2  # of them in every step
GRID = {2: 16, 3: 8}  # frequencies per axis at which a convolution's operator norm is looked for
KAIMING = math.sqrt(6)  # keeps the variance through convolutions and ReLUs, where no norm does

T = TypeVar("T")


@dataclass(frozen=True)
class SpectralControl(Checked):
    """Bounds on how fast a network's output can change from place to place, and so on the frequencies that it learns.

    With it, norms take away the mean alone: a variance of 1 would undo every bound. A value per level: a tuple with
    the finest level first, whose last value holds for all deeper ones.

    Source: Shi et al., "On Measuring and Controlling the Spectral Bias of the Deep Image Prior", IJCV 2022.
    """

    bound: Annotated[
        float | tuple[float, ...] | None, {"min": 0.01, "tooltip": "λ: largest singular value of a convolution"}
    ] = 1.4
    head: Annotated[float | None, {"min": 0.01, "tooltip": "λ of the last layer; published: none"}] = None
    adapt: Annotated[bool, {"tooltip": "λ follows the noise: less while the residual is weaker than noise"}] = False
    exact: Annotated[bool, {"tooltip": "Bound the convolution's operator norm, not the reshaped matrix's"}] = False
    sigma: Annotated[
        float | tuple[float, ...] | None,
        {"min": 0.01, "unit": "px", "tooltip": "Width of Gaussian up-sampling, in pixels before it"},
    ] = None


class Cap(nn.Module):
    """Divides a weight, (outputs, inputs, *kernel), by what its norm exceeds a bound by; no gradient through the norm.

    The norm is the largest singular value of the weight reshaped to (outputs, inputs · kernel), as published: of the
    convolution's own norm that is at least the kernel's size to the power of -ndim / 2, and at most all.
    """

    slack: Tensor  # 0-d: what the bound is multiplied by

    def __init__(self, bound: float, *, adapts: bool = False):
        super().__init__()
        self.bound, self.adapts = bound, adapts
        self.told: Tensor | None = None  # the norm for the next pass, where it is told of all caps together
        self.register_buffer("slack", torch.ones(()))

    def forward(self, weight: Tensor) -> Tensor:
        norm, self.told = self.norm(weight.detach()) if self.told is None else self.told, None
        return weight / (norm / (self.bound * self.slack)).clamp(min=1)

    @torch.no_grad()
    def start(self, weight: Tensor, generator: torch.Generator) -> None:
        """Set the buffers to what they are before the first step."""
        self.slack.fill_(1)

    def norm(self, weight: Tensor) -> Tensor:
        """Return the largest singular value, 0-d; never less than it is, and at most 0.3 % more."""
        return largest_singular_values(gram(weight)[None])[0]


class OperatorCap(Cap):
    """The same with the norm of the convolution itself, as it acts on images without a border.

    That is the largest singular value over all frequencies of the transfer matrix. Power iterations at a grid of
    frequencies go on from step to step; their vectors are buffers, so that a snapshot has them.
    """

    vectors: Tensor  # (frequencies, inputs, 2): real and imaginary parts

    def __init__(self, bound: float, shape: torch.Size, *, adapts: bool = False):
        super().__init__(bound, adapts=adapts)
        self.side, self.ndim = GRID[len(shape) - 2], len(shape) - 2
        half = self.side // 2 + 1
        self.register_buffer("vectors", torch.empty(self.side ** (self.ndim - 1) * half, shape[1], 2))

    def norm(self, weight: Tensor) -> Tensor:
        return self.iterated(weight, ITERATIONS)

    @torch.no_grad()
    def start(self, weight: Tensor, generator: torch.Generator) -> None:
        super().start(weight, generator)
        self.vectors.normal_(generator=generator)
        self.iterated(weight, SETTLING)

    @torch.no_grad()
    def iterated(self, weight: Tensor, count: int) -> Tensor:
        matrix = transfer(weight, self.side)  # (frequencies, outputs, inputs)
        v = torch.view_as_complex(self.vectors)[..., None]
        for _ in range(count):
            v = matrix.mH @ (matrix @ v)
            v = v / v.norm(dim=1, keepdim=True).clamp(min=1e-20)
        self.vectors.copy_(torch.view_as_real(v[..., 0]))
        largest: Tensor = (matrix @ v).norm(dim=1).max()
        return largest


def transfer(weight: Tensor, side: int) -> Tensor:
    """Return a convolution's transfer matrices on a periodic grid, (frequencies, outputs, inputs), half of them."""
    axes = tuple(range(2, weight.ndim))
    spectrum: Tensor = torch.fft.rfftn(weight, s=[side] * len(axes), dim=axes)
    return spectrum.flatten(2).permute(2, 0, 1)


@torch.no_grad()
def tell_norms(capped: Iterable[tuple[Cap, Tensor]]) -> None:
    """Tell caps the norms of their weights for the next pass, those of one size together: a tenth of the time."""
    sizes: dict[int, list[tuple[Cap, Tensor]]] = {}
    for cap, weight in capped:
        if type(cap) is Cap:
            product = gram(weight)
            sizes.setdefault(len(product), []).append((cap, product))
    for each in sizes.values():
        caps, products = zip(*each, strict=True)
        for cap, norm in zip(caps, largest_singular_values(torch.stack(products)), strict=True):
            cap.told = norm


def gram(weight: Tensor) -> Tensor:
    """Return the products of the rows, or of the columns where these are fewer, of a weight as a matrix."""
    matrix = weight.flatten(1)
    return matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix


def largest_singular_values(grams: Tensor) -> Tensor:
    """Return the largest singular value of each of some matrices, (matrices,), from above.

    With the Gram matrix G of n rows, trace(G^p)^(1/2p) is at least that, and at most n^(1/2p) times it; the power
    p = 2^SQUARINGS takes that many products. No iteration that could be stuck, nothing kept from step to step.

    Parameters
    ----------
    grams : Tensor
        Their Gram matrices, (matrices, n, n).
    """
    scale = _trace(grams).clamp(min=1e-30)
    grams, logarithm = grams / scale, scale.log()
    for squaring in range(1, SQUARINGS + 1):
        grams = grams @ grams
        if squaring % 2 == 0:
            scale = _trace(grams)
            grams, logarithm = grams / scale, logarithm + scale.log() / 2**squaring
    return (logarithm / 2).exp().flatten()


def _trace(matrices: Tensor) -> Tensor:
    """Return the trace of each, (matrices, 1, 1)."""
    return matrices.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]


class Centre(nn.Module):
    """Each sample's channels less their mean, then a learned offset: the variance, which a bound is about, stays."""

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        centred: Tensor = _Centred.apply(x, self.bias)  # type: ignore[no-untyped-call]
        return centred


class _Centred(torch.autograd.Function):
    """The gradient is centred as the maps are; put together of PyTorch's own, it takes three times as long."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor) -> Tensor:
        ctx.axes = tuple(range(2, x.ndim))
        offset = bias.view(-1, *[1] * (x.ndim - 2)) - x.mean(ctx.axes, keepdim=True, dtype=bias.dtype)
        return x + offset.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        total = gradient.sum(ctx.axes, keepdim=True, dtype=torch.float32)
        mean = total / gradient[0, 0].numel()
        return gradient - mean.to(gradient.dtype), total.sum(0).flatten()


class GaussianUp(nn.Module):
    """Up-sampling by a factor with a Gaussian, (N, C, *spatial) to (N, C, *factor · spatial): constants stay.

    An axis whose factor is 1 stays as it is.

    Centres of pixels are aligned as in linear interpolation. Towards a width of 0 it becomes nearest-neighbour.

    Parameters
    ----------
    sigma : float
        Width, in pixels before up-sampling: a frequency f, in cycles per such pixel, keeps exp(-2 π² σ² f²).
    factor : int or tuple of int
        For all spatial axes, or one for each.
    """

    def __init__(self, sigma: float, factor: int | tuple[int, ...] = 2):
        super().__init__()
        self.sigma, self.factor = sigma, factor

    def forward(self, x: Tensor) -> Tensor:
        factors = self.factor if isinstance(self.factor, tuple) else (self.factor,) * (x.ndim - 2)
        x = x.movedim(1, -1)  # as channels-last tensors lie in memory: each axis is one product
        for axis, factor in enumerate(factors, 1):
            if factor == 1:
                continue
            before, n, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
            rows = self.matrix(n, factor, x) @ x.reshape(math.prod(before), n, math.prod(after))
            x = rows.reshape(*before, factor * n, *after)
        return x.movedim(-1, 1)

    def matrix(self, n: int, factor: int, like: Tensor) -> Tensor:
        """Return what up-samples a row of n pixels, (factor · n, n): rows of sum 1, at the border too."""
        places = (torch.arange(factor * n, device=like.device) + 0.5) / factor - 0.5
        exponent = -0.5 * ((torch.arange(n, device=like.device) - places[:, None]) / self.sigma).square()
        weights = (exponent - exponent.amax(1, keepdim=True)).exp()
        return (weights / weights.sum(1, keepdim=True)).to(like.dtype)


def at_level(value: T | tuple[T, ...], level: int) -> T:
    """Return a level's value, the finest's index being 0; the last one holds for all deeper levels."""
    return value[min(level, len(value) - 1)] if isinstance(value, tuple) else value
