"""The channels of an image rotated so that its detail is in as few of them as possible."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_dip.engine.bands import blurred

DETAIL = (0.7, 2.0)  # px: standard deviations of the Gaussians between which detail lies
LEAST = 0.1  # weight of a component that is noise, beside that of the clearest


@dataclass(frozen=True, eq=False)
class Components:
    """A rotation of channels.

    Attributes
    ----------
    rotation : Tensor
        (C, C), orthonormal, a row for each component, the strongest first.
    weights : Tensor
        (C,), of the components where patches are compared: the share of signal in their detail, the clearest having 1.
    """

    rotation: Tensor
    weights: Tensor

    def of(self, x: Tensor) -> Tensor:
        """Return the components of an image, (C, Y, X)."""
        return (self.rotation @ x.flatten(1)).view(x.shape)

    def back(self, x: Tensor) -> Tensor:
        """Return the image of these components."""
        return (self.rotation.T @ x.flatten(1)).view(x.shape)

    def variance(self, variance: Tensor) -> Tensor:
        """Return the variance of the components' noise from that of the channels', (C, Y, X)."""
        return (self.rotation.square() @ variance.flatten(1)).view(variance.shape)

    def weighted(self, x: Tensor) -> Tensor:
        """Return components, (C, Y, X), so that squared differences of them are weighted."""
        return self.weights.sqrt().view(-1, 1, 1) * x


def components(y: Tensor) -> Components:
    """Return the principal components of the detail of y, (C, Y, X), whose noise is white and of variance 1.

    The large steps between things of different colours say little of how channels go together within a patch: only what
    a band-pass lets through counts.
    """
    fine, coarse = (blurred(y, sigma, (1, 2), "replicate") for sigma in DETAIL)
    detail = (fine - coarse).flatten(1).double()
    detail = detail - detail.mean(1, keepdim=True)
    powers, vectors = torch.linalg.eigh(detail @ detail.T / detail.shape[1])
    signal = ((powers - _noise_power()) / powers.clamp(min=1e-20)).clamp(min=0).flip(0)
    weights = (signal / signal.max().clamp(min=1e-20)).clamp(min=LEAST)
    return Components(vectors.T.flip(0).contiguous().to(y), weights.to(y))


def _noise_power() -> float:
    """Return the variance that the band-pass leaves of white noise of variance 1."""
    point = torch.zeros(1, 33, 33)
    point[0, 16, 16] = 1
    fine, coarse = (blurred(point, sigma, (1, 2), "replicate") for sigma in DETAIL)
    return float((fine - coarse).square().sum())
