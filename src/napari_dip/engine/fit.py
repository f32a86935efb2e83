"""The one loop: a randomly initialised network is fitted to one measurement, one iterate at a time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_dip.engine.adam import Adam, Moments
from napari_dip.engine.controlled import Cap
from napari_dip.engine.ends import ends_of
from napari_dip.engine.following import follower
from napari_dip.engine.prior import Prior
from napari_dip.engine.problem import Problem, RestorationError
from napari_dip.engine.tiles import Mosaic, Whole

CHECK_EVERY = 10  # steps between looks at the loss: each look waits for the device
PATIENCE_WITH_DIVERGENCE = 20  # roll-backs in a row
NEARLY_NOTHING = 1e-5  # of the range squared: a data term that rises from less to three times this has not diverged
FORGETTING = 1.023  # per look, 0.1 dB: how slowly the least loss is forgotten, so that a gradual rise is seen too
BEND = 0.01  # of the range: over how much of it values bend towards a floor


@dataclass(frozen=True, eq=False)
class State:
    """All that a fit needs to go on from a step as if it had not been interrupted; every tensor is a copy."""

    step: int
    weights: dict[str, Tensor]
    moments: Moments
    average: Tensor
    generator: Tensor


@dataclass(frozen=True, eq=False)
class Iterate:
    """One step of a fit. Its tensors are valid until the next one is asked for.

    Attributes
    ----------
    step : int
        Optimiser steps so far.
    x, average : Tensor
        The network's output and the exponential average of all outputs so far, (C, *spatial), float32.
    loss : Tensor
        The data term of `x`, 0-d.
    forward : callable
        A, its fitted parameters included.
    """

    step: int
    x: Tensor
    average: Tensor
    loss: Tensor
    forward: Callable[[Tensor], Tensor]
    _snapshot: Callable[[], State]

    def snapshot(self) -> State:
        """Return a copy of the fit's state, from which `fit` can go on."""
        return self._snapshot()


def fit(
    problem: Problem,
    prior: Prior,
    device: torch.device,
    *,
    precision: torch.dtype = torch.float32,
    seed: int = 0,
    tile: int | None = None,
    start: State | None = None,
    whole: Problem | None = None,
) -> Iterator[Iterate]:
    """Yield the iterates of a fit, one per optimiser step, without end.

    Parameters
    ----------
    problem : Problem
        What is fitted; its tensors are moved to `device`.
    prior : Prior
        Network, source and optimiser settings.
    device, precision
        Where, and in which type activations are computed; weights and outputs are float32.
    seed : int
        Decides the network's start, z and its jitter. Nothing global is seeded.
    tile : int, optional
        Side in px of overlapping tiles with a network each, for images that memory does not suffice for; see `Mosaic`.
    start : State, optional
        Goes on from there, with the same prior and seed and maybe another problem.
    whole : Problem, optional
        The problem before a stopping rule hid pixels, from which bounds that follow the noise learn it: the hidden ones
        judge bounds too. With `start` they are shown, and nothing is held out any more.

    Raises
    ------
    RestorationError
        When the fit keeps diverging.
    """
    run = _Run(problem, prior, device, precision=precision, seed=seed, tile=tile, whole=whole, starts=start is None)
    if start is not None:
        run.restore(start)
    return run.iterates()


class _Run:
    """The mutable side of one fit."""

    def __init__(
        self,
        problem: Problem,
        prior: Prior,
        device: torch.device,
        *,
        precision: torch.dtype,
        seed: int,
        tile: int | None,
        whole: Problem | None,
        starts: bool,
    ):
        draws = torch.Generator().manual_seed(seed)
        self.problem, self.prior = problem.to(device), prior
        self.output: Whole | Mosaic
        if tile is None or tile >= max(problem.shape[1:]):
            self.output = Whole(self.problem, prior, draws, device=device, precision=precision)
        else:
            self.output = Mosaic(self.problem, prior, draws, device=device, precision=precision, side=tile)
        self.modules = nn.ModuleDict({"network": self.output.network})
        self.forward, self.likelihood = self.fitted("forward"), self.fitted("likelihood")
        self.ends = None if getattr(prior.network, "sigmoid", False) else ends_of(self.problem)
        if self.ends is not None:
            self.modules["ends"] = self.ends.to(device)
        self.generator = torch.Generator().manual_seed(seed)
        caps = [part for part in self.modules.modules() if isinstance(part, Cap) and part.adapts]
        self.follower = follower(caps, self.problem, whole=whole, seed=seed, starts=starts) if caps else None
        if self.follower is not None:
            self.modules["follower"] = self.follower
            self.problem = dataclasses.replace(self.problem, weight=self.follower.hidden(self.problem))
        self.parameters = list(self.modules.parameters())
        self.apart = [list(network.parameters()) for network in self.output.networks]
        self.optimizer = Adam(self.parameters, prior.learning_rate)
        self.average = torch.zeros(problem.shape, device=device)
        self.step = 0
        self.newest: State | None = None  # of the snapshots

    def fitted(self, name: str) -> Any:
        """Return the problem's callable; where it has parameters, a copy that is optimised with the network."""
        part = getattr(self.problem, name)
        if isinstance(part, nn.Module):
            self.modules[f"fitted {name}"] = part
        return part

    def iterates(self) -> Iterator[Iterate]:
        good, reference, failures = self.snapshot(), None, 0
        while True:
            x, loss = self.advance()
            if self.step % CHECK_EVERY == 0:
                value = float(loss)
                if _diverged(value, reference, self.prior.tolerance):
                    failures += 1
                    self.roll_back(good, failures)
                    continue
                self.slow_down(0)
                failures = 0
                if not _diverged(value, reference, self.prior.tolerance / 2):  # else it may be on its way
                    good = self.snapshot()
                reference = max(min(value, math.inf if reference is None else FORGETTING * reference), NEARLY_NOTHING)
            yield Iterate(self.step, x, self.average, loss, self.forward, self.snapshot)

    def advance(self) -> tuple[Tensor, Tensor]:
        """Take one optimiser step; return the output before it and its loss."""
        x = self.output(self.generator, self.step)  # (C, *spatial)
        if self.ends is not None:
            x = self.ends(x)
        if self.problem.floor is not None:
            x = above(x, self.problem.floor)
        predicted = self.forward(x)
        loss = self.likelihood(predicted, self.problem.y, self.problem.weight)
        self.optimizer.forget_gradients()
        loss.backward()
        self.clip_gradient()
        self.optimizer.step()
        self.step += 1
        x, loss = x.detach(), loss.detach()
        # the plain mean of the first outputs, until the exponential average has enough of a past
        self.average.lerp_(x, max(1 - self.prior.averaging, 1 / self.step))
        if self.follower is not None:
            self.follower.follow(predicted.detach())
            if self.follower.is_due(self.step):
                with torch.no_grad():
                    self.follower.judge(self.forward(self.average))
        return x, loss

    def clip_gradient(self) -> None:
        """Limit the gradient; of tiles each by itself, as if it were the whole image."""
        if len(self.apart) == 1:
            nn.utils.clip_grad_norm_(self.parameters, self.prior.clip)
            return
        for parameters in self.apart:
            nn.utils.clip_grad_norm_(parameters, self.prior.clip / len(self.apart))

    def roll_back(self, good: State, failures: int) -> None:
        if failures > PATIENCE_WITH_DIVERGENCE:
            raise RestorationError(
                f"The fit diverged {failures} times in a row at step {self.step}: lower the learning rate "
                f"({self.prior.learning_rate:g})"
            )
        step, jitter = self.step, self.generator.get_state()
        self.restore(good)
        self.newest = None
        self.step = step  # the steps were spent, and other noise may lead elsewhere
        self.generator.set_state(jitter)
        self.slow_down(failures)  # without noise the same steps would lead to the same place

    def slow_down(self, times: int) -> None:
        """Halve the learning rate so many times, from what it is by the prior."""
        self.optimizer.rate = self.prior.learning_rate / 2**times

    def snapshot(self) -> State:
        if self.newest is None or self.newest.step != self.step:
            self.newest = self.copied()
        return self.newest

    def copied(self) -> State:
        return State(
            self.step,
            {name: value.detach().clone() for name, value in self.modules.state_dict().items()},
            self.optimizer.moments.copied(),
            self.average.clone(),
            self.generator.get_state(),
        )

    def restore(self, state: State) -> None:
        self.step = state.step
        self.modules.load_state_dict(state.weights)
        self.optimizer.moments = state.moments.copied()
        self.average.copy_(state.average)
        self.generator.set_state(state.generator)


def above(x: Tensor, floor: Tensor) -> Tensor:
    """Return x where it is well above a floor, (C,), and what approaches the floor below: a softplus.

    Its bend is so short that values of linear data are changed by less than 1e-4 of the range from `5 * BEND` on.
    """
    floor = floor.to(x.device).view(-1, *[1] * (x.ndim - 1))
    return floor + BEND * F.softplus((x - floor) / BEND)


def _diverged(loss: float, reference: float | None, tolerance: float) -> bool:
    """Return whether the data term rose by more than `tolerance` dB, or is no number."""
    return not loss < float("inf") or (reference is not None and loss > reference * 10 ** (tolerance / 10))
