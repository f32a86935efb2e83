"""The parts that networks are made of: each computes in its input's precision and keeps its order in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_dip.engine.controlled import Cap, OperatorCap

THIN = 8  # channels: maps that have no more are normalised faster one channel after the other, on a processor

Factors = tuple[int, ...]
"""By what each axis is divided on the way down: 2, or 1 where it stays."""


def memory_format(maps: Tensor) -> torch.memory_format:
    """Return the order in memory in which convolutions of maps, (N, C, *spatial), are fast."""
    return {4: torch.channels_last, 5: torch.channels_last_3d}[maps.ndim]


class Conv(nn.Module):
    """A convolution with float32 weights that computes in its input's precision, output size ceil(n / stride).

    A `bound` caps its norm: that of the reshaped matrix, or if `exact` its own.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        ndim: int,
        stride: int | Factors = 1,
        padding: str = "zeros",
        bound: float | None = None,
        exact: bool = False,
        adapts: bool = False,
        gain: float = 1.0,
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *[kernel] * ndim))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.stride, self.reflect, self.margin = stride, padding == "reflect", kernel // 2
        self.convolve = F.conv2d if ndim == 2 else F.conv3d
        self.gain = gain  # of the weights at the start
        self.cap: Cap | None = None
        if bound is not None:
            is_operator = exact and kernel > 1  # of a 1 x 1 kernel both norms are the same
            shape = self.weight.shape
            self.cap = OperatorCap(bound, shape, adapts=adapts) if is_operator else Cap(bound, adapts=adapts)

    def forward(self, x: Tensor) -> Tensor:
        margin, weight = self.margin, self.weight if self.cap is None else self.cap(self.weight)
        if self.reflect and margin:
            x, margin = F.pad(x, [margin] * (2 * (x.ndim - 2)), mode="reflect"), 0
        return self.convolve(x, weight.to(x.dtype), self.bias.to(x.dtype), self.stride, margin)


class Norm(nn.Module):
    """Each sample's channels at mean 0 and variance 1, then a learned scale and offset; no running statistics.

    For one image this is batch normalisation in training mode; for several, each is normalised by itself, so
    that a batch of tiles gives what single tiles give.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))

    def forward(self, *maps: Tensor) -> Tensor:
        """Return maps normalised; several are joined, the channels of one after those of the other.

        Each is normalised by itself: where the number of channels is no multiple of 16, the floats of a cache line,
        PyTorch's threads are in each other's way.
        """
        channels = [one.shape[1] for one in maps]
        parts = zip(maps, torch.split(self.weight, channels), torch.split(self.bias, channels), strict=True)
        return joined(*(_normalised(*part) for part in parts))


def _normalised(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if len(x) > 1:
        return F.instance_norm(x, weight=weight, bias=bias).contiguous(memory_format=_order(x))
    if x.shape[1] <= THIN and x.device.type == "cpu":
        x = x.contiguous()
    # the same numbers as those of instance_norm, and several times faster on channels-last tensors
    return F.batch_norm(x, None, None, weight, bias, training=True)


def joined(*maps: Tensor) -> Tensor:
    """Return the channels of some maps, one after the other, in the order in memory that the last of them has."""
    return maps[0] if len(maps) == 1 else _Joined.apply(*maps)  # type: ignore[no-untyped-call]


class _Joined(torch.autograd.Function):
    """Of `torch.cat` the gradients are views with gaps, on which that of an interpolation is eight times as slow."""

    @staticmethod
    def forward(ctx: Any, *maps: Tensor) -> Tensor:
        ctx.channels, ctx.orders = [one.shape[1] for one in maps], [_order(one) for one in maps]
        return torch.cat([one.contiguous(memory_format=ctx.orders[-1]) for one in maps], 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        parts = torch.split(gradients[0], ctx.channels, 1)
        return tuple(part.contiguous(memory_format=order) for part, order in zip(parts, ctx.orders, strict=True))


def _order(maps: Tensor) -> torch.memory_format:
    fast = memory_format(maps)
    return fast if maps.is_contiguous(memory_format=fast) else torch.contiguous_format


class Double(nn.Module):
    """Doubles maps by interpolation, along the axes that were halved."""

    def __init__(self, mode: str, factors: Factors):
        super().__init__()
        self.mode, self.factors = mode, tuple(map(float, factors))

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=self.factors, mode=self.mode)


def cut(x: Tensor, size: Iterable[int]) -> Tensor:
    """Return maps cut to a size at their ends; as they are where nothing is to be cut, as nearly everywhere.

    Not by `narrow`, whose gradient loses the order in memory.
    """
    surplus = [length - wanted for length, wanted in zip(x.shape[2:], size, strict=True)]
    ends = [end for length in reversed(surplus) for end in (0, -length)]
    return F.pad(x, ends) if any(surplus) else x
