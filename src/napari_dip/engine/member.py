"""One fit of a frame, from its start to its stop."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from napari_dip.engine.fit import Iterate, State, fit
from napari_dip.engine.outcome import Fit, Phase
from napari_dip.engine.prior import Prior
from napari_dip.engine.problem import Array, Problem
from napari_dip.engine.spectral import RECORD_EVERY
from napari_dip.engine.stopping import Criterion

if TYPE_CHECKING:
    from napari_dip.engine.frame import FrameFit


@dataclass(frozen=True, eq=False)
class _Best:
    """The iterate with the best score so far."""

    average: Tensor  # (C, *spatial), scaled
    step: int
    score: float
    state: State | None


class Step(NamedTuple):
    """A step that a member has taken."""

    member: Member
    phase: Phase
    steps: int  # of this member so far
    score: float | None


class Member:
    """One fit of a frame, from its start to its stop; it shares nothing that changes with the others."""

    def __init__(self, frame: FrameFit, prior: Prior, problem: Problem, index: int, *, seed: int):
        self.frame, self.run, self.prior, self.problem, self.seed = frame, frame.run, prior, problem, seed
        self.fit: Fit = Fit(frame.frame, index, _words(prior), tile=frame.tile)
        self.best: _Best | None = None
        self.newest: Tensor | None = None  # averaged output; no iterate is kept, for it holds its whole fit
        self.forward: Callable[[Tensor], Tensor] = problem.forward  # with what was fitted of it
        self.revealed: Tensor | None = None
        self.snapshots: dict[int, Array] = {}  # of the first member
        self.started = 0.0
        self.is_over = False  # but for the last phase
        self.is_done = False

    def progress(self, hidden: Problem, criterion: Criterion) -> Iterator[Step]:
        run = self.run
        self.started = time.perf_counter()
        yield from self.fitted(hidden, criterion)
        self.is_done = not run.control.is_stopped and not run.is_late
        if self.is_done:
            yield from self.reveal()
        if self.best is not None:
            self.best = dataclasses.replace(self.best, state=None)
        self.fit.seconds = time.perf_counter() - self.started

    def fitted(self, hidden: Problem, criterion: Criterion) -> Iterator[Step]:
        """Yield the steps of the fit to its stop, its last phase left out."""
        for iterate in self.iterates(hidden):
            score = self.scored(iterate, criterion) if iterate.step % self.run.rule.every == 0 else None
            self.keep(iterate, score)
            yield Step(self, "fitting", iterate.step, score)
            if reason := self.reason(iterate.step):
                self.fit.ended, self.is_over = reason, True
                return

    @staticmethod
    def scored(iterate: Iterate, criterion: Criterion) -> float:
        with torch.no_grad():  # a fitted operator has parameters
            return float(criterion(iterate))

    def iterates(self, problem: Problem, start: State | None = None) -> Iterator[Iterate]:
        run = self.run
        return fit(
            problem, self.prior, run.device, precision=run.precision, seed=self.seed, tile=self.frame.tile, start=start,
            whole=self.problem,
        )  # fmt: skip

    def keep(self, iterate: Iterate, score: float | None) -> None:
        """Remember an iterate that scored best, and the outputs that were asked for."""
        self.newest, self.forward = iterate.average, iterate.forward
        self.fit.last_step, self.fit.seconds = iterate.step, time.perf_counter() - self.started
        if score is not None:
            self.fit.steps.append(iterate.step)
            self.fit.scores.append(score)
            self.measure(iterate)
            if score < (self.best.score if self.best else math.inf):
                state = iterate.snapshot() if self.run.rule.reveal else None
                average = iterate.average.clone() if state is None else state.average
                self.best = _Best(average, iterate.step, score, state)
        self.fit.best_step = self.best.step if self.best else iterate.step
        if self.run.keep_every and iterate.step % self.run.keep_every == 0 and self.fit.member == 0:
            self.snapshots[iterate.step] = self.problem.field(iterate.average).cpu().numpy().copy()

    def measure(self, iterate: Iterate) -> None:
        """Record the frequency bands of the averaged output, now and then: it must cost next to nothing."""
        meter, last = self.frame.meter, self.fit.band_steps[-1] if self.fit.band_steps else 0
        if meter is None or iterate.step < last + RECORD_EVERY:
            return
        with torch.no_grad():
            self.fit.bands.append(meter.row(iterate.forward(iterate.average)))
        self.fit.band_steps.append(iterate.step)

    @property
    def unseen(self) -> Tensor:
        """The best averaged output of those that have not seen the held-out pixels; before a score, the newest."""
        assert self.newest is not None  # noqa: S101  only asked for after a step
        return self.best.average if self.best else self.newest

    @property
    def output(self) -> Tensor:
        return self.unseen if self.revealed is None else self.revealed

    def reason(self, step: int) -> str | None:
        """Return why the fit ends at this step, in words; None: it goes on."""
        rule, limits = self.run.rule, self.run.limits
        since = step - (self.best.step if self.best else step)
        if self.run.control.is_stopped:
            return "stopped by the user"
        if step >= (ceiling := self.ceiling):
            return f"reached {ceiling} steps"
        if self.run.is_late:
            return f"reached {limits.seconds:g} seconds"
        if step >= rule.floor and since >= rule.patience:
            return f"no better score for {since} steps"
        return None

    @property
    def ceiling(self) -> int:
        limits = (self.run.limits.steps, self.frame.most(self.prior))
        return min([self.run.rule.ceiling, *(limit for limit in limits if limit is not None)])

    def reveals(self, last: int) -> int:
        """Return the length of the last phase of a fit that ends at a step."""
        wanted = math.ceil(min(1.0, self.run.rule.reveal) * (self.best.step if self.best else 0))
        most = self.run.limits.steps
        return wanted if most is None else max(0, min(wanted, most - last))

    def reveal(self) -> Iterator[Step]:
        """Go on from the best iterate, or begin anew, with nothing hidden, so that held-out pixels are used too.

        A fit that began anew counts when it has come as far as the best one, not before; it does not begin where there
        are not as many steps left.
        """
        best, most = self.best, self.reveals(self.fit.last_step)
        if best is None or best.state is None or not most:
            return
        is_anew = self.run.rule.reveal >= 1 and most >= best.step
        before = 0 if is_anew else best.step
        for iterate in self.iterates(self.problem, None if is_anew else best.state):
            taken = iterate.step - before
            if not is_anew or taken >= most:
                self.forward, self.revealed, self.fit.revealed = iterate.forward, iterate.average, taken
            self.fit.seconds = time.perf_counter() - self.started
            yield Step(self, "revealing", self.fit.last_step + taken, None)
            if self.run.control.is_stopped or self.run.is_late or taken >= most:
                return

    @property
    def expected(self) -> int:
        """The last step, if no better score comes."""
        rule, last = self.run.rule, self.fit.last_step
        since = self.best.step if self.best else last
        end = last if self.is_over else min(self.ceiling, max(rule.floor, since + rule.patience))
        return end + self.reveals(end)


def _words(prior: Prior) -> str:
    fed = f"{type(prior.network).__name__} fed with {type(prior.source).__name__.lower()}"
    return f"{fed}, Adam at {prior.learning_rate:g}"
