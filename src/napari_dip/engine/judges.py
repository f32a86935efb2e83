"""Which held-out elements judge: those whose noise nothing that is seen tells of."""

from __future__ import annotations

from torch import Tensor

from napari_dip.engine.correlation import autocorrelation, reach, shrunk
from napari_dip.engine.problem import Problem


def reach_of_noise(problem: Problem) -> tuple[int, int]:
    """Return how far along y and x the elements of a measurement tell of each other's noise, in px."""
    if problem.noise is not None:
        return reach(problem.noise.correlation)
    return reach(autocorrelation(problem.y.detach().cpu(), problem.known().cpu()))


def judges(problem: Problem, hidden: Problem) -> Tensor:
    """Return which elements of a measurement are held out with all that share noise with them, boolean, shaped as y.

    Parameters
    ----------
    problem, hidden : Problem
        The second is the first with some elements held out.
    """
    held = problem.known() & ~hidden.known()
    return held & shrunk(~hidden.known(), reach_of_noise(problem)) if bool(held.any()) else held
