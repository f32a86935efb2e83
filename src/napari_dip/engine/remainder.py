"""What a fit to larger pixels has not explained of them yet, given back to the finer image: no step is wasted on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from napari_dip.engine.bands import blurred
from napari_dip.engine.problem import Problem
from napari_dip.engine.variation import Linear, adjoint_of, conjugate_gradients

WIDTH = 1 / 3  # of a measured pixel: standard deviation of the Gaussian by which neighbours err together
DAMPING = 0.1  # of the mean strength of A C Aᵀ: variance of the noise in units of that of the error
STEPS = 20  # of conjugate gradients


@dataclass(frozen=True, eq=False)
class Remainder:
    """The likeliest error of an image whose prediction leaves a residual, and how far held-out pixels bear it out.

    x + weight · C Aᵀ (A C Aᵀ + λ)⁻¹ (y - A x): the best linear estimate of an error that is Gaussian with covariance C,
    a blur, before it was measured (back-projection, M. Irani and S. Peleg, "Improving resolution by image
    registration", 1991; with C, "kriging"). The weight, 0 to 1, is the one with which it errs least at pixels that
    were held out from the image and from its residual: near 1 while the fit has not learned yet what was measured, 0
    where the residual is noise.

    Attributes
    ----------
    problem : Problem
        With a linear forward operator.
    seen : Tensor
        Which elements of its measurement are not held out, boolean, shaped as y.
    """

    problem: Problem
    seen: Tensor

    @cached_property
    def held(self) -> Tensor:
        """Which elements were held out, boolean, shaped as y."""
        return self.problem.known() & ~self.seen

    @cached_property
    def adjoint(self) -> Linear:
        return adjoint_of(self.problem.forward, self.problem.shape)

    @cached_property
    def strength(self) -> Tensor:
        """What A C Aᵀ makes of a constant, in the mean."""
        return self.spread(torch.ones_like(self.problem.y)).mean()

    def spread(self, u: Tensor) -> Tensor:
        """Return A C Aᵀ u."""
        return self.problem.forward(self.error(u))

    def error(self, u: Tensor) -> Tensor:
        """Return C Aᵀ u, shaped as x."""
        x, shown = self.adjoint(u), self.problem.field(u.new_empty(()).expand(self.problem.shape))
        for axis in range(1, x.ndim):
            if (factor := shown.shape[axis] / self.problem.y.shape[axis]) > 1:
                x = blurred(x, WIDTH * factor, [axis], "constant")
        return x

    def told(self, x: Tensor, known: Tensor) -> Tensor:
        """Return the error that the residual of x at the known elements tells of, shaped as x."""
        sure = known.to(x.dtype)

        def normal(z: Tensor) -> Tensor:
            return sure * self.spread(sure * z) + DAMPING * self.strength * z

        residual = sure * (self.problem.y - self.problem.forward(x))
        return self.error(sure * conjugate_gradients(normal, residual, torch.zeros_like(residual), STEPS))

    def weight(self, unseen: Tensor) -> float:
        """Return how much of what is told is true, 0 to 1, by an image that has not seen the held-out elements."""
        if not bool(self.held.any()):
            return 0.0
        with torch.no_grad():
            change = self.problem.forward(self.told(unseen, self.seen))[self.held]
            missing = (self.problem.y - self.problem.forward(unseen))[self.held]
        power = float(change.square().sum())
        return min(1.0, max(0.0, float((change * missing).sum()) / power)) if power > 0 else 0.0

    def given_back(self, x: Tensor, unseen: Tensor) -> tuple[Tensor, float]:
        """Return x and what it lacks by all known elements, and the weight by what had not seen the held-out ones."""
        weight = self.weight(unseen)
        if not weight:
            return x, 0.0
        with torch.no_grad():
            return x + weight * self.told(x, self.problem.known()), weight
