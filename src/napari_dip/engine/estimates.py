"""Which quick estimate behind a linear operator is shown to the network."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from napari_dip.engine.judges import judges
from napari_dip.engine.lucy import richardson_lucy
from napari_dip.engine.problem import Problem
from napari_dip.engine.variation import total_variation

VARIATION = "The network was shown an estimate of least total variation"
LUCY = "The network was shown an estimate of Richardson and Lucy's"
SURE = 2.0  # standard errors


def linear_estimate(problem: Problem, hidden: Problem) -> Generator[None, None, tuple[Tensor, str] | None]:
    """Yield while estimates are made, and return one, (C, *spatial), and what it is, in words; None: there is none.

    That of least total variation; where there is a floor, that of Richardson and Lucy if it is sure to predict held-out
    elements better, by two standard errors, what is below the floor being lifted to it.

    Parameters
    ----------
    problem, hidden : Problem
        With a linear forward operator; the second with some elements held out.
    """
    smooth = yield from total_variation(problem, hidden)
    if smooth is None or problem.floor is None:
        return None if smooth is None else (smooth, VARIATION)
    smooth = torch.maximum(smooth, problem.floor.view(-1, *[1] * (len(problem.shape) - 1)))
    bright = yield from richardson_lucy(problem, hidden)
    if bright is None:
        return smooth, VARIATION
    held = judges(problem, hidden)
    with torch.no_grad():
        errors = [(problem.forward(x) - problem.y)[held].double().square() for x in (smooth, bright)]
    gained = errors[0] - errors[1]
    is_sure = float(gained.mean()) > SURE * float(gained.std()) / len(gained) ** 0.5
    return (bright, LUCY) if is_sure else (smooth, VARIATION)
