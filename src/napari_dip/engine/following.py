"""Bounds that follow the noise: wide while structure is missing, narrower as soon as noise is learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_dip.engine.controlled import Cap
from napari_dip.engine.noise import NoiseModel
from napari_dip.engine.problem import Problem

PACE = 0.004  # per step: how fast λ follows the noise
NARROWEST, WIDEST = 0.25, 1.5  # in units of the bound given: how far
SHARE, MOST, ENOUGH = 0.05, 0.2, 1000  # of the pixels that are held out: the least and the largest; how many suffice
SMOOTHING = 0.02  # per step, of the residual's power
SETTLED, EVERY = 200, 10  # steps before the averaged output is looked at, and between looks
ALLOWANCE = 0.02  # of the noise's power: how far the residual may rise above what it was at the best step


class Follower(nn.Module):
    """Narrows the caps of a fit where its residual is weaker than it should be, and widens them where it is stronger.

    It should be as strong as the noise (the discrepancy principle). Where the noise is white, pixels that are held out
    for this alone correct that: once their error has been least, the residual should be as strong as it was then,
    which may be less, since noise is never told exactly and structure may be weaker than it.

    Parameters
    ----------
    caps : list of Cap
    problem : Problem
        What is fitted.
    law : NoiseModel
        Of its measurement.
    seed : int
        Decides what is held out.
    """

    known: Tensor  # what the residual's power is taken of, shaped as y
    held: Tensor
    best: Tensor  # least error of held-out pixels so far, 0-d; as the rest in units of the noise's variance
    wanted: Tensor  # power of the residual where bounds stay
    power: Tensor  # running mean of the residual's power

    def __init__(self, caps: list[Cap], problem: Problem, law: NoiseModel, seed: int):
        super().__init__()
        self.caps, self.y, self.law = caps, problem.y, law
        self.shown = problem.unseen.shown if problem.unseen is not None else 1.0  # of several frames a part is fitted
        known = problem.known()
        held = torch.zeros_like(known)
        if law.correlation is None:  # else what is held out can be told from its neighbours, noise and all
            held = known & _drawn(known, seed)
        self.register_buffer("known", known & ~held, persistent=False)
        self.register_buffer("held", held, persistent=False)
        for name, value in (("best", torch.inf), ("wanted", 1.0), ("power", 1.0)):
            self.register_buffer(name, torch.tensor(value, device=known.device))

    def hidden(self, problem: Problem) -> Tensor:
        """Return the weights of a problem's elements with those held out at 0."""
        weight = torch.ones_like(problem.y) if problem.weight is None else problem.weight
        return torch.where(self.held, 0, weight)

    @torch.no_grad()
    def follow(self, predicted: Tensor) -> None:
        """Take in the prediction of a step, and narrow or widen the bounds by a little."""
        power = self.error(predicted, self.known)
        self.power.lerp_(power, SMOOTHING)
        change = (PACE * (power / self.wanted).clamp(min=1e-6).log().clamp(-1, 1)).exp()
        for cap in self.caps:
            cap.slack.mul_(change).clamp_(NARROWEST, WIDEST)

    def is_due(self, step: int) -> bool:
        """Return whether `judge` wants to see the averaged output after a step."""
        return self.law.correlation is None and step >= SETTLED and step % EVERY == 0

    @torch.no_grad()
    def judge(self, predicted: Tensor) -> None:
        """Take in what the averaged output predicts: at the best of these, the residual's power is what is wanted."""
        error = self.error(predicted, self.held)
        is_best = error < self.best
        self.best.copy_(torch.minimum(error, self.best))
        self.wanted.copy_(torch.where(is_best, (self.power + ALLOWANCE).clamp(max=1), self.wanted))

    def error(self, predicted: Tensor, of: Tensor) -> Tensor:
        """Return the mean squared residual over some elements in units of the noise's variance, 0-d."""
        relative = (predicted - self.y).square() / self.law.variance(predicted).clamp(min=1e-12)
        return ((relative * of).sum() / of.sum() / self.shown).float()


def _drawn(known: Tensor, seed: int) -> Tensor:
    """Return a random share of the pixels, the same in every channel."""
    share = min(MOST, max(SHARE, ENOUGH / max(1, int(known.any(0).sum()))))
    draws = torch.rand(known.shape[1:], generator=torch.Generator().manual_seed(seed))
    return (draws < share).to(known.device)
