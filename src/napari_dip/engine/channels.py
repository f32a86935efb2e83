"""Whether channels help each other, or print their structure into one another: told before they are fitted together."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from napari_dip.engine.estimation import estimate_noise
from napari_dip.engine.noise import LEAST_NOISE
from napari_dip.engine.pilot import without
from napari_dip.engine.problem import Problem, identity, unseen_of
from napari_dip.engine.ridge import nl_ridge_in_strips

SURE = 2.0  # standard errors by which every channel must gain


def joint_gains(problem: Problem, hidden: Problem, seed: int) -> Generator[None, None, tuple[float, ...]]:
    """Yield while estimates are made; return by how many standard errors each channel gains from the others.

    The closed-form denoiser of the pilot gets all channels at once, and each one alone; the squared errors of both at
    the held-out elements are compared. Empty where it cannot be told.
    """
    unseen = unseen_of(problem, hidden)
    held = unseen.where
    if not bool(held.any()):
        return ()
    noise = problem.noise or estimate_noise(problem.y, problem.known())
    if (
        not problem.is_judged_by_pixels
        or problem.forward is not identity
        or noise is None
        or not bool((noise.mean > LEAST_NOISE).all())
    ):
        return ()
    noise = noise.times(unseen.shown)
    filled = without(hidden, noise, torch.Generator().manual_seed(seed))
    joint = yield from nl_ridge_in_strips(filled, noise, 1)
    gains = []
    for index in range(len(filled)):
        own = slice(index, index + 1)
        alone = yield from nl_ridge_in_strips(filled[own], noise.of_channels(own), 1)
        gains.append(_gain(unseen.values[own], joint[own], alone, held[own]))
    return tuple(gains)


def _gain(y: Tensor, joint: Tensor, alone: Tensor, held: Tensor) -> float:
    if int(held.sum()) < 2:
        return 0.0
    differences = (y - alone)[held].square() - (y - joint)[held].square()
    error = differences.std() / len(differences) ** 0.5
    return float(differences.mean() / error.clamp(min=1e-20))
