"""Bounds that follow the noise: wide while structure is missing, narrower as soon as noise is learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_dip.engine.controlled import Cap
from napari_dip.engine.estimation import estimate_noise
from napari_dip.engine.noise import NoiseModel
from napari_dip.engine.problem import FEW_HIDDEN, LeastSquares, Problem

PACE = 0.004  # per step: how fast λ follows the noise
NARROWEST, WIDEST = 0.25, 1.5  # in units of the bound given: how far
SHARE, MOST, ENOUGH = 0.05, 0.2, 1000  # of the pixels that are held out: the least and the largest; how many suffice
SMOOTHING = 0.02  # per step, of the residual's power
SETTLED, EVERY = 200, 10  # steps before the averaged output is looked at, and between looks
LEAST = 1e-12  # variance, of an image scaled to 0 to 1
ALLOWANCE = 0.02  # of the noise's power: how far the residual may rise above what it was at the best step
STRONGEST = 1.05  # times the noise's power: what the residual may be at most, since noise is never told exactly
SURE = 2.0  # standard errors by which the error of held-out pixels must fall for a step to be the best


class Follower(nn.Module):
    """Narrows the caps of a fit where its residual is weaker than it should be, and widens them where it is stronger.

    It should be as strong as the noise (the discrepancy principle). Pixels that are held out correct that: it should be
    as strong as it was when their error had last fallen by more than chance, which may be less, or a little more, since
    noise is never told exactly and structure may be weaker than it. Where there is no noise to be told, they alone
    decide.

    Parameters
    ----------
    caps : list of Cap
    problem : Problem
        What is fitted.
    law : NoiseModel, optional
        Of its measurement.
    held : Tensor
        Which elements of y are held out, boolean; none where their neighbours tell their noise.
    """

    known: Tensor  # what squared residuals are multiplied by before their sum is the power, shaped as y
    held: Tensor  # the same for the error of what is held out
    before: Tensor  # squared residuals at the best step so far, shaped as y
    best: Tensor  # least error of held-out pixels so far, 0-d; as the rest in units of the noise's variance
    wanted: Tensor  # power of the residual where bounds stay
    power: Tensor  # running mean of the residual's power; negative: there is none yet
    improves: Tensor  # 1 where there is no noise to be told and the last look was the best: bounds widen

    def __init__(self, caps: list[Cap], problem: Problem, law: NoiseModel | None, held: Tensor):
        super().__init__()
        self.caps, self.y, self.judges, self.knows_noise = caps, problem.y, bool(held.any()), law is not None
        is_even = law is not None and (law.map is not None or not bool(law.gain.any()))
        self.law = None if is_even else law
        shown = problem.unseen.shown if problem.unseen is not None else 1.0  # of several frames a part is fitted
        unit = law.variance(problem.y).clamp(min=LEAST) if law is not None and is_even else 1.0
        for name, of in (("known", problem.known() & ~held), ("held", held)):
            self.register_buffer(name, of / (of.sum().clamp(min=1) * shown * unit), persistent=False)
        self.register_buffer("before", torch.full_like(problem.y, torch.inf))
        start = {"best": torch.inf, "wanted": 1.0, "power": -1.0, "improves": float(law is None)}
        for name, value in start.items():
            self.register_buffer(name, torch.tensor(value, device=held.device))

    def hidden(self, problem: Problem) -> Tensor:
        """Return the weights of a problem's elements with those held out at 0."""
        weight = torch.ones_like(problem.y) if problem.weight is None else problem.weight
        return torch.where(self.held > 0, 0, weight)

    @torch.no_grad()
    def follow(self, predicted: Tensor) -> None:
        """Take in the prediction of a step, and narrow or widen the bounds by a little."""
        power = self.error(predicted, self.known)
        self.power.copy_(torch.where(self.power < 0, power, self.power.lerp(power, SMOOTHING)))
        excess = (power / self.wanted).clamp(min=1e-6).log().clamp(-1, 1)
        if not self.knows_noise:  # held-out pixels alone decide; once they are shown, what they said before
            excess = torch.where(self.improves > 0, 1.0, excess) if self.judges else excess * self.best.isfinite()
        change = (PACE * excess).exp()
        for cap in self.caps:
            cap.slack.mul_(change).clamp_(NARROWEST, WIDEST)

    def is_due(self, step: int) -> bool:
        """Return whether `judge` wants to see the averaged output after a step."""
        return self.judges and step >= SETTLED and step % EVERY == 0

    @torch.no_grad()
    def judge(self, predicted: Tensor) -> None:
        """Take in what the averaged output predicts: at the best of these, the residual's power is what is wanted."""
        squares = self.squares(predicted)
        error = (squares * self.held).sum().float()
        fallen = torch.where(self.held > 0, (self.before - squares) * self.held, 0)
        is_best = fallen.sum() >= SURE * fallen.norm() if self.knows_noise else error < self.best
        self.before.copy_(torch.where(is_best, squares, self.before))
        self.best.copy_(torch.minimum(error, self.best))
        power = (self.power + ALLOWANCE).clamp(max=STRONGEST) if self.knows_noise else (1 + ALLOWANCE) * self.power
        self.wanted.copy_(torch.where(is_best, power, self.wanted))
        if not self.knows_noise:
            self.improves.copy_(is_best)

    def error(self, predicted: Tensor, weights: Tensor) -> Tensor:
        """Return the mean squared residual over some elements in units of the noise's variance, if it is known, 0-d."""
        return (self.squares(predicted) * weights).sum().float()

    def squares(self, predicted: Tensor) -> Tensor:
        """Return squared residuals, shaped as y; in units of the noise's variance where that follows the intensity."""
        squares = (predicted - self.y).square()
        return squares if self.law is None else squares / self.law.variance(predicted).clamp(min=LEAST)


def follower(
    caps: list[Cap], problem: Problem, *, whole: Problem | None, seed: int, starts: bool = True
) -> Follower | None:
    """Return what lets the bounds of a fit follow; None where nothing is told of noise nor held out: they stay.

    Parameters
    ----------
    caps : list of Cap
    problem, whole : Problem
        What is fitted; the same before a stopping rule hid pixels, where there is a rule. These judge bounds too, and
        where it hid none, others are held out.
    seed : int
        Decides which.
    starts : bool
        Whether the fit begins; what goes on with a rule's pixels shown holds nothing out.
    """
    law = _law(whole or problem)
    held = torch.zeros_like(problem.known())
    if problem.is_judged_by_pixels and (law is None or law.correlation is None):  # else neighbours tell, noise and all
        held = _held_out(problem, whole, seed) if starts or whole is None else held
    if law is None and not bool(held.any()) and (starts or not problem.is_judged_by_pixels):
        return None
    return Follower(caps, problem, law.to(held.device) if law else None, held)


def _law(problem: Problem) -> NoiseModel | None:
    """Return the noise that the residual should be as strong as; None where it cannot be told."""
    if not (problem.is_judged_by_pixels or isinstance(problem.likelihood, LeastSquares)):
        return None  # such as that of intervals, within which a residual costs nothing
    if problem.noise is None and not problem.is_image:
        return None
    return problem.noise or estimate_noise(problem.y.detach().cpu(), problem.known().cpu())


def _held_out(problem: Problem, whole: Problem | None, seed: int) -> Tensor:
    """Return which elements are held out."""
    known = problem.known()
    hidden = torch.zeros_like(known) if whole is None else whole.known().to(known.device) & ~known
    if bool(hidden.any()):
        return hidden
    enough = FEW_HIDDEN if problem.is_finer else ENOUGH
    share = min(MOST, max(SHARE, enough / max(1, int(known.any(0).sum()))))
    draws = torch.rand(known.shape[1:], generator=torch.Generator().manual_seed(seed))
    return known & (draws < share).to(known.device)
