"""What a fit has not explained yet of larger pixels, or of a blurred image, given back: no step is wasted on it."""

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
    were held out from the image and from its residual, less what of it may be chance: near 1 while the fit has not
    learned yet what was measured, 0 where the residual is noise.

    Attributes
    ----------
    problem : Problem
        With a linear forward operator that is not fitted. How sure its elements are does not count, but for unknown
        ones.
    seen, held : Tensor
        Which elements of its measurement the image has seen, and which judge it, see `judges`; boolean, shaped as y.
    is_pooled : bool
        Whether all channels have one weight, as the colours of a picture, whose noise is of one kind; else each its
        own.
    """

    problem: Problem
    seen: Tensor
    held: Tensor
    is_pooled: bool = True

    @cached_property
    def adjoint(self) -> Linear:
        """Aᵀ: (C, *spatial) shaped as y to the same shaped as x."""
        return adjoint_of(self.problem.forward, self.problem.shape)

    @cached_property
    def strength(self) -> Tensor:
        """What A C Aᵀ makes of a constant, in the mean."""
        return self.spread(torch.ones_like(self.problem.y)).mean()

    def spread(self, u: Tensor) -> Tensor:
        """Return A C Aᵀ u, shaped as y, as u is."""
        return self.problem.forward(self.error(u))

    def error(self, u: Tensor) -> Tensor:
        """Return C Aᵀ u, shaped as x, of u, shaped as y."""
        x = self.adjoint(u)
        for axis in range(1, x.ndim):
            if (factor := self.problem.shown[axis] / self.problem.y.shape[axis]) > 1:
                x = blurred(x, WIDTH * factor, [axis], "constant")
        return x

    def told(self, x: Tensor, known: Tensor) -> Tensor:
        """Return the error that the residual of x at some elements, boolean, shaped as y, tells of, shaped as x."""
        sure = known.to(x.dtype)

        def normal(z: Tensor) -> Tensor:
            return sure * self.spread(sure * z) + DAMPING * self.strength * z

        residual = sure * (self.problem.y - self.problem.forward(x))
        return self.error(sure * conjugate_gradients(normal, residual, torch.zeros_like(residual), STEPS))

    def weights(self, unseen: Tensor) -> Tensor:
        """Return how much of what is told is true, 0 to 1, (C, 1, …), by an image that has not seen what is held out.

        The weights of least squares, shrunk by the share that chance has in their squares (positive-part estimator of
        W. James and C. Stein, 1961).
        """
        with torch.no_grad():
            change = self.held * self.problem.forward(self.told(unseen, self.seen))
            missing = self.held * (self.problem.y - self.problem.forward(unseen))
        axes = list(range(0 if self.is_pooled else 1, change.ndim))
        power = change.square().sum(axes, keepdim=True)
        weights = (change * missing).sum(axes, keepdim=True) / power
        variance = (change * (missing - weights * change)).square().sum(axes, keepdim=True) / power.square()
        shrunk = weights * (1 - variance / weights.square()).clamp(min=0)
        return shrunk.nan_to_num(0, 0, 0).clamp(0, 1).expand(len(change), *power.shape[1:])

    def given_back(self, x: Tensor, unseen: Tensor) -> tuple[Tensor, float]:
        """Return x, scaled, with what it lacks by all known elements, and the mean weight of that.

        Parameters
        ----------
        x, unseen : Tensor
            (C, *spatial): what is to be made better, and the like of it that has not seen the held-out elements, which
            decides the weight.
        """
        weights = self.weights(unseen)
        if not bool(weights.any()):
            return x, 0.0
        with torch.no_grad():
            better = x + weights * self.told(x, self.problem.known())
        return self.kept_within(better), float(weights.mean())

    def kept_within(self, x: Tensor) -> Tensor:
        """Return x where it is not lower than its floor, nor beyond black and white."""
        problem, across = self.problem, [1] * (x.ndim - 1)
        if problem.black_and_white is not None:
            black, white = (end.view(-1, *across) for end in problem.black_and_white)
            x = x.clamp(black, white)
        return x if problem.floor is None else x.clamp(min=problem.floor.view(-1, *across))
