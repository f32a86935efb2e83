"""A data term for blurred images, through which fine detail is fitted about as soon as coarse."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

DAMPING = 0.2  # of the light's power: frequencies of which the blur passes less hardly count more than in least squares


@dataclass(frozen=True, eq=False)
class BackProjection:
    """The mean square of A x - y after a filter by 1 / sqrt(|H|² + damping), H being the transform of the PSF.

    In least squares a frequency is fitted |H|² times as slowly as the others, and coarse noise is fitted before fine
    detail is. The filter makes the noise coloured, to which the stop listens. Without damping it is the distance of the
    projections back to the image's space: T. Tirer and R. Giryes, "Back-projection based fidelity term for ill-posed
    linear inverse problems", IEEE Trans. Image Process. 29, 6164 (2020); for deep image priors J. Zukerman, T. Tirer,
    R. Giryes, "BP-DIP", EUSIPCO 2020. Its mean over white noise is that of least squares. At the ends of the field the
    filter wraps around, which changes no image that the data fit.

    Attributes
    ----------
    weights : Tensor
        Of the squares of the real transform's elements, as `torch.fft.rfftn` gives them.
    """

    weights: Tensor

    @classmethod
    def of(cls, kernel: Tensor, field: tuple[int, ...], damping: float = DAMPING) -> BackProjection:
        """Return the term for a PSF of sum 1, (*spatial), no larger than the measured field."""
        power = torch.fft.rfftn(kernel.double(), field).abs().square()
        counted = torch.full_like(power, 2.0)  # each stands for its mirror image too
        counted[..., 0] = 1
        if field[-1] % 2 == 0:
            counted[..., -1] = 1
        weights = counted / (power + damping)
        return cls((weights * counted.sum() / weights.sum()).float())

    def to(self, device: torch.device) -> BackProjection:
        """Return the same with its tensor on a device."""
        return BackProjection(self.weights.to(device))

    def __call__(self, predicted: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        difference = predicted - y if weight is None else weight * (predicted - y)
        axes = tuple(range(1, y.ndim))
        transform = torch.view_as_real(torch.fft.rfftn(difference, dim=axes, norm="ortho"))
        squares = (self.weights * transform.square().sum(-1)).sum()
        return squares / (y.numel() if weight is None else weight.sum())
