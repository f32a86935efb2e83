"""What is fitted: a measurement, how the image gave it, and what is known of its errors."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from types import MethodType
from typing import Annotated, Any, Protocol

import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from napari_dip.engine.noise import NoiseModel

Array = npt.NDArray[Any]


FEW_HIDDEN = 100  # px that a rule hides at least where each leaves a gap of many finer ones


class Role(Enum):
    """What a field of a task is that no form shows, told by its annotation: how an array is cut into frames."""

    MASK = "mask"  # cut, on the measurement's grid
    IMAGE = "image"  # cut, on the grid of the restored image
    KERNEL = "kernel"  # the same for all frames: not cut
    FILE = "file"  # no array: what the file of the image says of it
    AXIS = "axis"  # no array: the letter of one of the image's axes


Mask = Annotated[Array, Role.MASK]
"""Non-zero marks a pixel of the measurement's grid: cut with it."""

Image = Annotated[Array, Role.IMAGE]
"""Another image of the scene, on the grid of the restored image: cut with it and scaled, (G, *spatial)."""

Kernel = Annotated[Array, Role.KERNEL]
"""A point-spread function or filter, on its own small grid: the same for all frames."""


def finer(shape: tuple[int, ...], factors: tuple[float, ...]) -> tuple[int, ...]:
    """Return the shape of the same field with smaller pixels: the last sizes times their factors, rounded half up.

    The field keeps its edges, so that the true factor is the ratio of the sizes.
    """
    every = (1.0,) * (len(shape) - len(factors)) + tuple(factors)
    return tuple(math.floor(size * factor + 0.5) for size, factor in zip(shape, every, strict=True))


class TooLittleKnownError(ValueError):
    """A frame of which too little is known to fit anything to."""


class RestorationError(Exception):
    """A fit that failed, in words for the person who started it.

    Not a RuntimeError: thread workers of the Qt world swallow those.
    """


class Likelihood(Protocol):
    """How far a prediction is from the measurement."""

    def __call__(self, predicted: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        """Return the data term, 0-d; lower is likelier. Elements of weight 0 have no influence."""
        ...


@dataclass(frozen=True)
class LeastSquares:
    """White noise of one strength: the mean squared difference over the elements that count."""

    def __call__(self, predicted: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        if weight is None:
            return F.mse_loss(predicted, y).clone()  # keeps no difference, and of its own storage one number
        if y.requires_grad or weight.requires_grad:
            return (weight * (predicted - y).square()).sum() / weight.sum()
        return _WeightedSquares.apply(predicted, y, weight)  # type: ignore[no-any-return,no-untyped-call]


class _WeightedSquares(torch.autograd.Function):
    """The mean of weighted squares; it keeps one image for its gradient, where operators by themselves keep three.

    That gradient is of what is predicted alone.
    """

    @staticmethod
    def forward(ctx: Any, predicted: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        difference = predicted - y
        weighted, ctx.total = weight * difference, weight.sum()
        ctx.save_for_backward(weighted)
        loss: Tensor = difference.mul_(weighted).sum() / ctx.total
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (weighted,) = ctx.saved_tensors
        return (2 * gradients[0] / ctx.total) * weighted, None, None


@dataclass(frozen=True, eq=False)
class NoiseWeighted:
    """Shot and read noise: squared differences in units of the variance that the prediction has, where it is known.

    The variance is held fixed in the gradient, so that no prediction pays for its noise, and the mean is not biased.
    """

    noise: NoiseModel | None = None

    def to(self, device: torch.device) -> NoiseWeighted:
        """Return the same with its tensors on a device."""
        return NoiseWeighted(None if self.noise is None else self.noise.to(device))

    def __call__(self, predicted: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        if self.noise is None:
            return LeastSquares()(predicted, y, weight)
        sure = self.noise.mean.mean().to(y.device) / self.noise.variance(predicted.detach())
        return LeastSquares()(predicted, y, sure if weight is None else sure * weight)


@dataclass(frozen=True, eq=False)
class Unseen:
    """Data that a fit has not seen, for judging it.

    Attributes
    ----------
    where : Tensor
        Which elements they are, boolean, shaped as y.
    values : Tensor
        Shaped as y: other measurements of the same, whose noise is independent of what the fit has seen.
    noise, shown : float
        Variance of their noise, and of that of the data that the fit sees instead, in units of that of y.
    """

    where: Tensor
    values: Tensor
    noise: float = 1.0
    shown: float = 1.0

    def to(self, device: torch.device) -> Unseen:
        """Return the same with its tensors on a device."""
        return dataclasses.replace(self, where=self.where.to(device), values=self.values.to(device))


@dataclass(frozen=True, eq=False)
class Exposures:
    """What several frames of one scene tell beside their mean, which is the measurement y.

    Attributes
    ----------
    contrast : Tensor
        Shaped as y, scaled: a sum of frames in which the scene cancels. Its noise is as strong as that of y, and
        uncorrelated with it.
    told : Tensor
        Boolean, shaped as y: where two frames are known at least, so that there is one.
    """

    contrast: Tensor
    told: Tensor

    def to(self, device: torch.device) -> Exposures:
        """Return the same with its tensors on a device."""
        return Exposures(self.contrast.to(device), self.told.to(device))

    def split(self, y: Tensor, known: Tensor, share: float) -> tuple[Tensor, Unseen]:
        """Return two measurements of the scene with independent noise, the second with a share of the information.

        Their noise is that of y plus and minus so much of the contrast that it is uncorrelated: for Gaussian noise
        independent. With a share of 1 / frames it is as if one frame was left out, but that all have a part in both
        (N. L. Oliveira, J. Lei, R. J. Tibshirani, "Unbiased risk estimation in the normal means problem via coupled
        bootstrap techniques", 2021, with noise that was measured instead of drawn).
        """
        part = (share / (1 - share)) ** 0.5
        unseen = Unseen(known & self.told, y - self.contrast / part, noise=1 / share, shown=1 / (1 - share))
        return y + part * self.contrast, unseen


def identity(x: Tensor) -> Tensor:
    """Return x: the forward operator of denoising, and the finish of most tasks."""
    return x


@dataclass(frozen=True, eq=False)
class Problem:
    """y ≈ A(x): what was measured, and how the restored image would have given it.

    Parameters
    ----------
    y : Tensor
        The measurement, (C, *spatial), scaled so that most values lie in 0 to 1. Finite everywhere.
    forward : callable
        A: maps x, (C, *spatial), to what would have been measured; differentiable. The parameters of an
        ``nn.Module`` are fitted too.
    shape : tuple of int
        Of x, (C, *spatial).
    field : callable
        x to the part of it that is shown, where x goes beyond what was measured.
    is_image : bool
        Whether y is what the run was given, on its grid and in its scale; else it is data of another kind.
    is_linear : bool
        Whether A is linear: then an estimate of least total variation, or of Richardson and Lucy's, shows the network
        the way.
    gives_back : bool
        Whether what the result does not explain of y is given back to it, as far as held-out elements bear that out,
        where the stopping rule holds some out: A must be linear, without parameters that are fitted. Weights and noise
        do not count, but for what is unknown.
    refines : bool
        Whether the width of the PSF, if A is a `Convolution`, is told from y before the fit, and changed.
    floor : Tensor, optional
        x is nowhere lower, (C,), scaled.
    keeps_range : bool
        Whether x has no values that the data type of what was measured could not have, where that has 8 bits: a
        picture, which ends at black and white.
    black_and_white : tuple of Tensor, optional
        These, (C,) each, scaled: x stays between.
    likelihood : Likelihood
        The data term.
    weight : Tensor, optional
        Shaped as y; 0 marks what is unknown: missing, saturated or held out. None: all is known.
    noise : NoiseModel, optional
        Of y, where it is known; None: told from y where it is needed.
    guide : Tensor, optional
        Another image of the scene, (G, *spatial), on the grid of x, scaled.
    finish : callable
        x to what is shown: detail boosted, for example.
    spacing : tuple of float
        Size of a pixel of x along each spatial axis, in one unit; empty: alike along all.
    notes : tuple of str
        What the user is to be told with the result.
    removed : Tensor, optional
        What was taken off the measurement before, shaped as y, scaled: offsets of a detector.
    exposures : Exposures, optional
        Where y is the mean of several frames of one scene: what these tell beside it.
    unseen : Unseen, optional
        Of the problem that a fit sees: what it does not, where that is more than elements of weight 0.
    pilot_share : float, optional
        The pilot's weight in the result where held-out pixels and the residual say nothing: the errors of y go together
        from pixel to pixel, or x is not what y measures. 0: no pilot. None: they tell it.
    """

    y: Tensor
    shape: tuple[int, ...]
    forward: Callable[[Tensor], Tensor] = identity
    field: Callable[[Tensor], Tensor] = identity
    is_image: bool = True
    is_linear: bool = False
    gives_back: bool = False
    refines: bool = False
    floor: Tensor | None = None
    keeps_range: bool = False
    black_and_white: tuple[Tensor, Tensor] | None = None
    likelihood: Likelihood = LeastSquares()
    weight: Tensor | None = None
    noise: NoiseModel | None = None
    guide: Tensor | None = None
    finish: Callable[[Tensor], Tensor] = identity
    spacing: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    removed: Tensor | None = None
    exposures: Exposures | None = None
    unseen: Unseen | None = None
    pilot_share: float | None = None

    @property
    def is_judged_by_pixels(self) -> bool:
        """Whether held-out pixels and the residual tell how good x is: y is x and noise of its own at each pixel."""
        return self.pilot_share is None

    @property
    def is_finer(self) -> bool:
        """Whether x has smaller pixels than y."""
        return self.is_image and math.prod(self.shown[1:]) > self.y[0].numel()

    @property
    def shown(self) -> tuple[int, ...]:
        """Shape of the part of x that is shown, (C, *spatial)."""
        return tuple(self.field(self.y.new_empty(()).expand(self.shape)).shape)

    def known(self) -> Tensor:
        """Return which elements of y count, a boolean tensor shaped as y."""
        return torch.ones_like(self.y, dtype=torch.bool) if self.weight is None else self.weight > 0

    def to(self, device: torch.device) -> Problem:
        """Return the problem with all its tensors on a device, so that no step of a fit has to wait for a copy.

        Those of operator, field, data term and finish are moved where these are modules, have a method `to`, or are
        partial functions or methods of such. Modules are copies.
        """
        move = _Mover(device)
        names = ("y", "floor", "black_and_white", "weight", "noise", "guide", "exposures", "unseen", "forward",
                 "field", "likelihood", "finish")  # fmt: skip
        return dataclasses.replace(self, **{name: move(getattr(self, name)) for name in names})


def unseen_of(problem: Problem, hidden: Problem) -> Unseen:
    """Return what of a problem's data a fit of `hidden`, the same with some held out, has not seen."""
    if hidden.unseen is not None:
        return hidden.unseen
    return Unseen(problem.known() & ~hidden.known(), problem.y)


class _Mover:
    """Moves things to a device, each of them once."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.moved: dict[int, Any] = {}

    def __call__(self, part: Any) -> Any:
        if id(part) not in self.moved:
            self.moved[id(part)] = self.made(part)
        return self.moved[id(part)]

    def made(self, part: Any) -> Any:
        if isinstance(part, nn.Module):
            return copy.deepcopy(part).to(self.device)
        if isinstance(part, partial):
            named = {name: self(value) for name, value in part.keywords.items()}
            return partial(self(part.func), *map(self, part.args), **named)
        if type(part) is tuple:  # a named one may have a method `to`
            return tuple(map(self, part))
        if isinstance(part, MethodType):
            return getattr(self(part.__self__), part.__name__)
        return part.to(self.device) if hasattr(part, "to") else part
