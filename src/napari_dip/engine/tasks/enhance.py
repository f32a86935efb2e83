"""Fine detail made stronger."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dip.engine.blocks import Axes, Scale, convert
from napari_dip.engine.fields import Checked
from napari_dip.engine.noise import NoiseLaw
from napari_dip.engine.outcome import Restoration
from napari_dip.engine.problem import Array, LeastSquares, Likelihood, Mask, Problem
from napari_dip.engine.stopping import FixedSteps, StoppingRule

BESIDE = 2  # px: so far beside an edge the base may be wrong
SMOOTH = 0.01  # of the range: differences below it count by their squares, so that there is a gradient at 0


@dataclass(frozen=True)
class Cartoon:
    """A data term for an image without its fine detail: absolute differences, and the length of all edges.

    Its minimum has the edges of y at their full height, whatever that is, and lacks what is narrower than a width
    (T. F. Chan, S. Esedoglu, "Aspects of total variation regularized L1 function approximation", SIAM Journal on
    Applied Mathematics 65, 2005).

    Parameters
    ----------
    width : float
        In px: a bar costs its width where it is left out, and half of `width` at each side where it is kept.
    """

    width: float

    def __call__(self, predicted: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        apart = _length((predicted - y) if weight is None else weight * (predicted - y))
        edges = _length(torch.cat([_difference(predicted, axis) for axis in range(1, predicted.ndim)]))
        return apart.mean() + self.width / 2 * edges.mean()


def _difference(x: Tensor, axis: int) -> Tensor:
    """Return each element's next one along an axis less itself, 0 at the end."""
    return torch.diff(x, dim=axis, append=x.narrow(axis, x.shape[axis] - 1, 1))


def _length(vectors: Tensor) -> Tensor:
    """Return the length of each pixel's vector, (*spatial), smooth at 0."""
    return (vectors.square().sum(0) + SMOOTH**2).sqrt() - SMOOTH


@dataclass(frozen=True)
class Enhance(Checked):
    """Strengthen fine detail: base + amount x (y - base), the base being the image without it.

    For looking at, not for measuring. The noise of the image becomes stronger with the detail: denoise it before.
    """

    done: ClassVar[str] = "enhanced"
    align: ClassVar[tuple[int, ...]] = (1,)
    stop: ClassVar[StoppingRule] = FixedSteps(600)
    noise: ClassVar[NoiseLaw | None] = None
    mask: ClassVar[Mask | None] = None
    fills: ClassVar[bool] = False
    keeps_known: ClassVar[bool] = False
    denoises: ClassVar[bool] = False
    stabilises: ClassVar[bool] = False
    floor: ClassVar[float | None] = None
    factors: ClassVar[tuple[float, ...]] = ()
    caution: ClassVar[str] = "Detail is made stronger for the eye: not for quantification"

    amount: Annotated[float, {"min": 0.0, "max": 20.0, "tooltip": "1: as it was; 2: twice as strong; 0: the base"}] = (
        2.0
    )
    size: Annotated[float, {"min": 1.0, "max": 100.0, "unit": "px", "tooltip": "What is narrower counts as detail"}] = (
        4.0
    )
    keeps_edges: Annotated[
        bool,
        {
            "label": "edges are no detail",
            "tooltip": "The base has sharp edges; else it is a fit of least squares that ends early, as published",
        },
    ] = True

    def problem(self, y: Tensor) -> Problem:
        one = torch.ones(len(y))
        return self.problem_in_units(y, torch.ones_like(y, dtype=torch.bool), offset=0 * one, gain=one)

    def problem_in_units(self, y: Tensor, known: Tensor, *, offset: Tensor, gain: Tensor) -> Problem:
        likelihood: Likelihood = Cartoon(self.size) if self.keeps_edges else LeastSquares()
        finish = partial(_finished, y=y, known=known, amount=self.amount)
        return Problem(y, shape=tuple(y.shape), likelihood=likelihood, finish=finish, pilot_share=0.0)

    def applied(self, result: Restoration) -> Array:
        """Return the image of a result of `Enhance`, as this one's amount makes it, without another fit.

        Parameters
        ----------
        result : Restoration
            Of any amount; its estimate is the base, and its residual the detail. Missing pixels stay as they are.
        """
        axes = Axes(result.settings["axes"], tuple(result.settings["shape"]), result.settings["each"])
        scaled = result.settings["scale"]
        whole = Scale(np.array(scaled["offset"]), np.array(scaled["gain"]))
        image = np.array(result.image)
        for frame in {fit.frame for fit in result.fits}:
            base, detail, shown = (axes.take(array, frame) for array in (result.estimate, result.residual, image))
            scale, missing = whole.of(axes, frame), np.isnan(detail)
            told, more = (
                torch.from_numpy(scale.apply_difference(values)) for values in (base, np.where(missing, 0, detail))
            )
            sure = torch.from_numpy(~missing)
            values = convert(scale.undo_difference(boosted(told, more, sure, self.amount).numpy()), image.dtype)
            image[axes.where(frame)] = axes.arrange(np.where(missing, shown, values))
        return image


def boosted(base: Tensor, detail: Tensor, known: Tensor, amount: float) -> Tensor:
    """Return base + amount x detail, (C, *spatial), but on strong edges base + detail: there a boost would be a halo.

    An edge is strong where the base changes by more from pixel to pixel than the detail is high. A base has not quite
    the mean of its image: what is added has the mean 0 over the known elements of each channel.
    """
    height = detail.square().mean()
    slope = torch.cat([_difference(base, axis) for axis in range(1, base.ndim)]).square().sum(0)
    near: Tensor = F.max_pool2d(slope.reshape(-1, 1, *slope.shape[-2:]), 2 * BESIDE + 1, 1, BESIDE).reshape(slope.shape)
    share = height / (height + near).clamp(min=torch.finfo(base.dtype).tiny)
    boost = (amount - 1) * share * detail * known
    axes = tuple(range(1, base.ndim))
    mean = boost.sum(axes, keepdim=True) / known.sum(axes, keepdim=True).clamp(min=1)
    return base + detail + (boost - mean)


def _finished(base: Tensor, y: Tensor, known: Tensor, amount: float) -> Tensor:
    detail = torch.where(known.to(base.device), y.to(base) - base, 0.0)
    return boosted(base, detail, known.to(base.device), amount)
