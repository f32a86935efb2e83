"""How pixels of a coarse grid see a fine one: degradations, each a weighted mean along every axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

import torch
from torch import Tensor

from napari_dip.engine.fields import Checked

CUT = 4.0  # standard deviations at which a Gaussian ends


class Degradation(Protocol):
    """How a measurement with large pixels comes from an image with small ones."""

    def weights(self, fine: int, coarse: int) -> Tensor:
        """Return what each coarse pixel of a line takes of each fine one, (coarse, fine), float64; rows sum to 1."""
        ...


@dataclass(frozen=True)
class Box:
    """Each pixel is the mean over its area: what the pixels of a camera do, and binning."""

    def weights(self, fine: int, coarse: int) -> Tensor:
        edges = torch.arange(coarse + 1, dtype=torch.float64) * fine / coarse
        left, right = edges[:-1, None], edges[1:, None]
        pixels = torch.arange(fine, dtype=torch.float64)
        return _normalised((torch.minimum(right, pixels + 1) - torch.maximum(left, pixels)).clamp(min=0))


@dataclass(frozen=True)
class AntialiasedBicubic:
    """Keys' cubic, widened by the factor: how most programs scale a picture down.

    Source: R. Keys, "Cubic convolution interpolation for digital image processing", 1981, with a = -1/2; as in Pillow's
    BICUBIC and, but for the border, MATLAB's imresize.
    """

    def weights(self, fine: int, coarse: int) -> Tensor:
        return _sampled(_keys, 2.0, fine, coarse)


@dataclass(frozen=True)
class Lanczos:
    """A windowed sinc of three lobes, widened by the factor: Pillow's LANCZOS, which made the published images."""

    def weights(self, fine: int, coarse: int) -> Tensor:
        return _sampled(lambda x: torch.sinc(x) * torch.sinc(x / 3), 3.0, fine, coarse)


@dataclass(frozen=True)
class GaussianBlur(Checked):
    """A Gaussian around each pixel's centre: optics whose spot is wider than a pixel."""

    sigma: Annotated[float, {"min": 0.1, "max": 10.0, "unit": "px", "tooltip": "In pixels of the measurement"}] = 0.6

    def weights(self, fine: int, coarse: int) -> Tensor:
        reach = CUT * self.sigma
        return _sampled(lambda x: torch.exp(-0.5 * (x / self.sigma) ** 2), reach, fine, coarse)


DEGRADATIONS = (Box, AntialiasedBicubic, Lanczos, GaussianBlur)


@dataclass(frozen=True, eq=False)
class Resampling:
    """An image, (C, *spatial), to one whose values are weighted sums along some axes.

    Attributes
    ----------
    matrices : dict of int to Tensor
        The weights along each of these axes, (new, old).
    """

    matrices: dict[int, Tensor]

    def to(self, device: torch.device) -> Resampling:
        """Return the same with its matrices on a device."""
        return Resampling({axis: matrix.to(device) for axis, matrix in self.matrices.items()})

    def __call__(self, x: Tensor) -> Tensor:
        for axis, matrix in self.matrices.items():
            x = torch.movedim(torch.movedim(x, axis, -1) @ matrix.to(x).T, -1, axis)
        return x


def degrader(degradation: Degradation, fine: tuple[int, ...], coarse: tuple[int, ...]) -> Resampling:
    """Return the operator from images with spatial sizes `fine` to such with `coarse`, the same field: differentiable.

    Pixels lie half-way: the centre of coarse pixel i is at (i + 1/2) · fine / coarse - 1/2 of the fine grid. Beyond the
    edge of the field nothing is assumed: the weights of what is inside sum to 1. Axes of one size are left alone.
    """
    pairs = enumerate(zip(fine, coarse, strict=True), start=-len(fine))
    return Resampling({axis: degradation.weights(*sizes).float() for axis, sizes in pairs if sizes[0] != sizes[1]})


def _sampled(kernel: Callable[[Tensor], Tensor], reach: float, fine: int, coarse: int) -> Tensor:
    """Return the weights of a kernel given in coarse pixels, taken at the centres of fine pixels within its reach."""
    scale = max(fine / coarse, 1.0)
    centres = (torch.arange(coarse, dtype=torch.float64)[:, None] + 0.5) * fine / coarse
    distance = (torch.arange(fine, dtype=torch.float64) + 0.5 - centres) / scale
    first, last = ((centres + sign * reach * scale + 0.5).floor() for sign in (-1, 1))  # as Pillow rounds them
    pixels = torch.arange(fine, dtype=torch.float64)
    return _normalised(torch.where((pixels >= first) & (pixels < last), kernel(distance), 0.0))


def _keys(x: Tensor) -> Tensor:
    a, x = -0.5, x.abs()
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _normalised(weights: Tensor) -> Tensor:
    return weights / weights.sum(1, keepdim=True)
