"""A quick estimate of light above a floor, behind an operator that only adds it up: Richardson and Lucy's."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import islice

import torch
from torch import Tensor

from napari_dip.engine.estimation import estimate_noise
from napari_dip.engine.judges import judges
from napari_dip.engine.problem import Problem
from napari_dip.engine.variation import adjoint_of

MOST = 400  # iterations
WAITED = 20  # iterations without a better prediction: then it ends
DARKEST = 1e-6  # of an image scaled to 0 to 1: nothing is darker, for it would stay so
SEEN = 1e-3  # of the light of what is seen best: what is seen less stays as it began
LARGEST = 1.0  # shift, of an image scaled to 0 to 1: noise that does not grow with the light wants an infinite one
JUDGES = 1 << 14  # held-out elements that judge, at most


def richardson_lucy(problem: Problem, hidden: Problem) -> Generator[None, None, Tensor | None]:
    """Yield while the iterations of Richardson and Lucy are made, and return one of them, shaped as x.

    Each makes x likelier for shot noise (W. H. Richardson, J. Opt. Soc. Am. 62, 55, 1972; L. B. Lucy, Astron. J. 79,
    745, 1974). Returned is the first that predicts held-out elements within one standard error as well as the best: the
    noise comes with the iterations, and prediction cares little for what A damps (rule of L. Breiman et al.,
    "Classification and Regression Trees", 1984).

    None where there is no floor, nothing is held out, or an element of x takes more light away than it gives.

    Parameters
    ----------
    problem, hidden : Problem
        With a linear forward operator and a floor; `hidden` is the same with some elements held out, and all that x is
        made of.
    """
    held = judges(problem, hidden)
    if problem.floor is None or not bool(held.any()) or (reached := _reached(hidden)) is None:
        return None
    shift = _shift(problem)
    judging = held.flatten().nonzero().flatten()
    judging = judging[:: -(-len(judging) // JUDGES)]
    counted = (problem.y - problem.forward(_floor(problem)) + shift).clamp(min=0).flatten()[judging]
    losses: list[Tensor] = []
    least, since = float("inf"), 0
    for x in iterations(hidden, reached, shift):
        yield
        with torch.no_grad():
            predicted = (problem.forward(x) + shift).clamp(min=DARKEST).flatten()[judging]
        losses.append((predicted - counted * predicted.log()).double())
        loss = float(losses[-1].mean())
        least, since = (loss, 0) if loss < least else (least, since + 1)
        if since >= WAITED:
            break
    for x in islice(iterations(hidden, reached, shift), 1 + chosen(torch.stack(losses))):  # noqa: B007  the last counts
        yield
    return x + _floor(problem)


def chosen(losses: Tensor) -> int:
    """Return which of some models, (models, elements), is the first whose loss is within a standard error of the least.

    The standard error is that of the mean difference.
    """
    means = losses.mean(1)
    differences = losses - losses[means.argmin()]
    errors = differences.std(1, correction=0) / losses.shape[1] ** 0.5
    return int((differences.mean(1) <= errors + 1e-15).nonzero()[0])


def iterations(problem: Problem, reached: Tensor, shift: Tensor) -> Iterator[Tensor]:
    """Yield x above the floor after each of `MOST` iterations.

    x <- x Aᵀ((y + s) / (A x + s)) / Aᵀ1, over what is known. Light from beyond the field is a part of x (M. Bertero and
    P. Boccacci, Astron. Astrophys. 437, 369, 2005). The shift s makes noise that does not come with the light into shot
    noise (D. L. Snyder, R. L. White, A. M. Hammoud, J. Opt. Soc. Am. A 10, 1014, 1993). Each goes on from where the two
    before lead (D. S. C. Biggs and M. Andrews, Appl. Opt. 36, 1766, 1997).

    Parameters
    ----------
    problem : Problem
        Whose known elements count.
    reached : Tensor
        Aᵀ1, shaped as x.
    shift : Tensor
        Of each channel, (C, 1, …).
    """
    forward, adjoint = problem.forward, adjoint_of(problem.forward, problem.shape)
    known = problem.known()
    with torch.no_grad():
        light = known * (problem.y - forward(_floor(problem)) + shift).clamp(min=0)
        enough = reached > SEEN * reached.max()
        ones = torch.ones_like(reached)
        level = ((light - known * shift).sum() / (known * forward(ones)).sum()).clamp(min=DARKEST)
        x = before = level * ones
        change, momentum = torch.zeros_like(x), torch.zeros(())

    @torch.no_grad()
    def improved(start: Tensor) -> Tensor:
        ratio = adjoint(light / (forward(start) + shift).clamp(min=DARKEST))
        return torch.where(enough, start * ratio / reached, start).clamp(min=DARKEST)

    for _ in range(MOST):
        start = (x + momentum * (x - before)).clamp(min=DARKEST)
        old, before = change, x
        x = improved(start)
        change = x - start
        momentum = ((change * old).sum() / old.square().sum()).nan_to_num(0, 0, 0).clamp(0, 0.999)
        yield x


def _reached(problem: Problem) -> Tensor | None:
    """Return how much light of each element of x is measured, shaped as x; None where that of some is negative."""
    with torch.no_grad():
        reached = adjoint_of(problem.forward, problem.shape)(problem.known().float())
    return None if float(reached.min()) < -SEEN * float(reached.abs().max()) else reached


def _floor(problem: Problem) -> Tensor:
    assert problem.floor is not None  # noqa: S101
    return problem.floor.view(-1, *[1] * (len(problem.shape) - 1)).expand(problem.shape)


def _shift(problem: Problem) -> Tensor:
    """Return how bright an even light has as much noise as there is where it is dark, of each channel, (C, 1, …)."""
    y = problem.y
    noise = problem.noise or (estimate_noise(y, problem.known()) if problem.is_image else None)
    across = (len(y), *[1] * (y.ndim - 1))
    if noise is None:
        return y.new_zeros(across)
    with torch.no_grad():
        dark = problem.forward(_floor(problem)).flatten(1).mean(1)
    gain, floor = noise.gain.to(y.device), noise.floor.to(y.device)
    shift = (gain * dark + floor).clamp(min=0) / gain.clamp(min=0)
    return shift.nan_to_num(LARGEST, LARGEST).clamp(max=LARGEST).float().view(across)
