"""Ends between which a picture's values lie: fitted with the network, from the measurement's own range on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_dip.engine.problem import Problem

RANGE = 0.001, 0.999  # quantiles of what was measured, between which the ends begin
BEYOND = 0.5  # of that range: farther out no value may lie, else it is not the picture's range but that of most of it
MOST = 1 << 20  # elements of a channel that tell it
LEAST = 1e-3  # between the two ends, of an image scaled to 0 to 1


class Ends(nn.Module):
    """Bends values by a sigmoid between two ends of each channel, whose slope is 1 in their middle.

    Both ends are fitted. They begin where most of what was measured ends, so that the network begins in its middle
    however small a part of black to white it is; they move where what was measured needs it, and stay within black and
    white.

    Parameters
    ----------
    low, high, black, white : Tensor
        Where the ends begin and how far they may go, (C,) each, scaled.
    """

    black: Tensor
    white: Tensor

    def __init__(self, low: Tensor, high: Tensor, black: Tensor, white: Tensor):
        super().__init__()
        self.low, self.high = nn.Parameter(low.to(black)), nn.Parameter(high.to(black))
        self.register_buffer("black", black, persistent=False)
        self.register_buffer("white", white, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, (C, *spatial), bent."""
        with torch.no_grad():
            self.low.copy_(torch.minimum(self.low, self.white - LEAST).maximum(self.black))
            self.high.copy_(torch.maximum(self.high, self.low + LEAST).minimum(self.white))
        low, high = (end.view(-1, *[1] * (x.ndim - 1)) for end in (self.low, self.high))
        return low + (high - low) * torch.sigmoid(4 * (x - (low + high) / 2) / (high - low))


def ends_of(problem: Problem) -> Ends | None:
    """Return what bends the x of a problem; None where it has no black and white, or few values are most of its range.

    Those would be ends that lie far from all else, where a network hardly gets.
    """
    if problem.black_and_white is None:
        return None
    told, known = problem.y.detach(), problem.known()
    ends = torch.stack([_range(channel[sure]) for channel, sure in zip(told, known, strict=True)], 1)  # (4, C)
    least, low, high, most = ends
    beyond = torch.maximum(low - least, most - high) > BEYOND * (high - low).clamp(min=LEAST)
    return None if bool(beyond.any()) else Ends(low, high, *problem.black_and_white)


def _range(values: Tensor) -> Tensor:
    """Return the least of some values, the ends of most of them, and the largest, (4,); 0 to 1 of none."""
    if not len(values):
        return values.new_tensor((0.0, 0.0, 1.0, 1.0))
    most = values[:: 1 + len(values) // MOST].quantile(values.new_tensor(RANGE))
    return torch.stack([values.min(), *most, values.max()])
