"""A quick estimate for a linear operator: least squares and a small total variation, its weight by held-out pixels."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

import torch
from torch import Tensor

from napari_dip.engine.judges import judges
from napari_dip.engine.problem import Problem

Linear = Callable[[Tensor], Tensor]

HEAVIEST = 0.1  # weight of the total variation that is tried first, for an image scaled to 0 to 1
LIGHTEST = 1e-7
WORSE = 1.02  # of the least held-out error: where the search ends, and what a heavier weight may cost
REWEIGHTED = 4  # times per weight
CONJUGATE = 12  # steps of conjugate gradients for each
EDGE = 0.01  # steps in x, scaled to 0 to 1, below which the variation is quadratic


def total_variation(problem: Problem, hidden: Problem) -> Generator[None, None, Tensor | None]:
    """Yield while x is found with least ½ ‖A x - y‖² + weight · TV(x), and return it; None where nothing is held out.

    TV by iteratively reweighted least squares (C. R. Vogel and M. E. Oman, SIAM J. Sci. Comput. 17, 227, 1996), each
    solved by conjugate gradients, the adjoint by automatic differentiation. Weights fall by halves, each from the
    solution before; of those that predict the held-out elements well, the heaviest is taken, for prediction cares
    little for the noise that A damps.

    Parameters
    ----------
    problem, hidden : Problem
        With a linear forward operator; `hidden` is the same with some elements held out, and all that x is made of.
    """
    held = judges(problem, hidden)
    if not bool(held.any()):
        return None
    good: list[tuple[float, Tensor]] = []  # so far, the heaviest first
    least = float("inf")
    for x in variations(hidden, HEAVIEST):
        yield
        error = float((problem.forward(x) - problem.y)[held].square().mean())
        if error > WORSE * least:
            break
        least = min(error, least)
        good = [one for one in [*good, (error, x)] if one[0] <= WORSE * least]
    return good[0][1]


def variations(problem: Problem, weight: float) -> Iterator[Tensor]:
    """Yield x of least variation for each of some weights, from one on by halves, each from the one before."""
    x, adjoint = _constant(problem), adjoint_of(problem.forward, problem.shape)
    while weight >= LIGHTEST:
        for _ in range(REWEIGHTED):
            x = _solved(problem, adjoint, x, weight)
        yield x
        weight /= 2


def _constant(problem: Problem) -> Tensor:
    level = float(problem.y[problem.known()].mean())
    return torch.full(problem.shape, level, device=problem.y.device)


def _solved(problem: Problem, adjoint: Linear, x: Tensor, weight: float) -> Tensor:
    """Return what some steps of conjugate gradients make of x, the variation being quadratic as it is at x."""
    sure = problem.known().float() if problem.weight is None else problem.weight
    steep = sum((_differences(x, axis).square() for axis in range(1, x.ndim)), torch.zeros_like(x))
    stiffness = weight * (steep + EDGE**2).rsqrt()

    def normal(v: Tensor) -> Tensor:
        smooth = sum((_differences_adjoint(stiffness * _differences(v, axis), axis) for axis in range(1, v.ndim)),
                     torch.zeros_like(v))  # fmt: skip
        return adjoint(sure * problem.forward(v)) + smooth

    with torch.no_grad():
        return conjugate_gradients(normal, adjoint(sure * problem.y), x, CONJUGATE)


def adjoint_of(forward: Linear, shape: tuple[int, ...]) -> Linear:
    """Return the adjoint of a linear operator on images of a shape, by automatic differentiation.

    Its gradient is the same everywhere, so the operator itself is applied once, at the first call.
    """
    traced: list[tuple[Tensor, Tensor]] = []

    def adjoint(u: Tensor) -> Tensor:
        if not traced:
            with torch.enable_grad():
                x = torch.zeros(shape, device=u.device, requires_grad=True)
                traced.append((x, forward(x)))
        x, predicted = traced[0]
        (gradient,) = torch.autograd.grad(predicted, x, u, retain_graph=True)
        return gradient

    return adjoint


def conjugate_gradients(normal: Linear, right: Tensor, x: Tensor, steps: int) -> Tensor:
    """Return x nearer to the solution of normal(x) = right, normal being symmetric and positive."""
    residual = right - normal(x)
    direction, power = residual, residual.square().sum()
    floor = 1e-12 * right.square().sum()
    for _ in range(steps):
        if power <= floor:
            break
        image = normal(direction)
        length = power / (direction * image).sum()
        x, residual = x + length * direction, residual - length * image
        before, power = power, residual.square().sum()
        direction = residual + power / before * direction
    return x


def _differences(x: Tensor, axis: int) -> Tensor:
    """Return each element's successor less itself, 0 at the end."""
    return torch.cat([x.diff(dim=axis), torch.zeros_like(x.narrow(axis, 0, 1))], axis)


def _differences_adjoint(d: Tensor, axis: int) -> Tensor:
    """Return the adjoint of `_differences`."""
    inner = d.narrow(axis, 0, d.shape[axis] - 1)
    none = torch.zeros_like(d.narrow(axis, 0, 1))
    return torch.cat([none, inner], axis) - torch.cat([inner, none], axis)
