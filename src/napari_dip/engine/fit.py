"""The one loop: a randomly initialised network is fitted to one measurement, one iterate at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_dip.engine.controlled import Cap, follow
from napari_dip.engine.networks import Network, Skip, initialise
from napari_dip.engine.noise import NoiseModel, estimate_noise
from napari_dip.engine.problem import Problem, RestorationError

CHECK_EVERY = 10  # steps between looks at the loss: each look waits for the device
PATIENCE_WITH_DIVERGENCE = 20  # roll-backs in a row
BEND = 0.01  # of the range: over how much of it values bend towards a floor


class Source(Protocol):
    """What feeds the network."""

    @property
    def jitter(self) -> float:
        """Standard deviation of the normal noise added to z anew at every step."""
        ...

    def draw(self, problem: Problem, generator: torch.Generator) -> Tensor:
        """Return the fixed input z, (channels, *spatial), on the CPU."""
        ...


@dataclass(frozen=True)
class Noise:
    """Uniform noise, fixed for the run: the input of Ulyanov et al. 2018."""

    channels: Annotated[int, {"min": 1}] = 32
    amplitude: Annotated[float, {"min": 0.0, "tooltip": "z is uniform between 0 and this"}] = 0.1
    jitter: Annotated[float, {"min": 0.0, "tooltip": "Noise added to z at every step: regularises"}] = 1 / 30

    def draw(self, problem: Problem, generator: torch.Generator) -> Tensor:
        return self.amplitude * torch.rand(self.channels, *problem.shape[1:], generator=generator)


@dataclass(frozen=True)
class Coordinates:
    """The position of every pixel, from 0 to 1 along each axis: favours large smooth regions (inpainting)."""

    jitter: Annotated[float, {"min": 0.0, "tooltip": "Noise added to z at every step: regularises"}] = 0.03

    def draw(self, problem: Problem, generator: torch.Generator) -> Tensor:
        axes = [torch.linspace(0, 1, n) for n in problem.shape[1:]]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"))


@dataclass(frozen=True)
class Guide:
    """The problem's guide, another image of the scene, beside uniform noise; without a guide 32 channels of noise."""

    channels: Annotated[int, {"min": 1, "tooltip": "Of noise, beside the guide"}] = 8
    amplitude: Annotated[float, {"min": 0.0, "tooltip": "The noise is uniform between 0 and this"}] = 0.1
    jitter: Annotated[float, {"min": 0.0, "tooltip": "Noise added to z at every step: regularises"}] = 1 / 30

    def draw(self, problem: Problem, generator: torch.Generator) -> Tensor:
        if problem.guide is None:
            return Noise(amplitude=self.amplitude).draw(problem, generator)
        noise = Noise(self.channels, self.amplitude).draw(problem, generator)
        return torch.cat([problem.guide.cpu(), noise])


@dataclass(frozen=True)
class Fourier:
    """Sines and cosines of random phases, fixed for the run: the input of Shi et al. 2022, for `Decoder`."""

    channels: Annotated[int, {"min": 1, "tooltip": "Of phases: the network's input has twice as many"}] = 16
    jitter: Annotated[float, {"min": 0.0, "tooltip": "Noise added to z at every step; published: none"}] = 0.0

    def draw(self, problem: Problem, generator: torch.Generator) -> Tensor:
        phase = 2 * torch.pi * torch.rand(self.channels, *problem.shape[1:], generator=generator)
        return torch.cat([phase.sin(), phase.cos()])


SOURCES = (Noise, Coordinates, Guide, Fourier)


@dataclass(frozen=True)
class Prior:
    """The deep image prior: a network, what feeds it, and how it is fitted.

    Ulyanov et al. 2018: the restored image is the output of a network whose weights, started at random, are
    fitted to the one measurement; what the network learns late is the noise.
    """

    network: Network = field(default_factory=Skip)
    source: Source = field(default_factory=Noise)
    learning_rate: Annotated[float, {"min": 0.0, "max": 1.0}] = 0.01
    averaging: Annotated[float, {"min": 0.0, "max": 0.9999, "tooltip": "Share of the past in the average"}] = 0.99
    clip: Annotated[float, {"min": 0.0, "tooltip": "Largest norm of the gradient"}] = 1.0
    tolerance: Annotated[float, {"min": 0.0, "unit": "dB", "tooltip": "A fall of the fit that is rolled back"}] = 5.0

    @classmethod
    def published(cls) -> Prior:
        """Return the recipe of the denoising experiment of Ulyanov et al. 2018 (σ = 25)."""
        return cls(network=Skip.published(), source=Noise(channels=32, amplitude=0.1, jitter=1 / 30))


@dataclass(frozen=True, eq=False)
class State:
    """All that a fit needs to go on from a step as if it had not been interrupted; every tensor is a copy."""

    step: int
    weights: dict[str, Tensor]
    optimizer: dict[str, Any]
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
    start: State | None = None,
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
    start : State, optional
        Goes on from there, with the same prior and seed and maybe another problem.

    Raises
    ------
    RestorationError
        When the fit keeps diverging.
    """
    run = _Run(problem, prior, device, precision=precision, seed=seed)
    if start is not None:
        run.restore(start)
    return run.iterates()


class _Run:
    """The mutable side of one fit."""

    def __init__(self, problem: Problem, prior: Prior, device: torch.device, *, precision: torch.dtype, seed: int):
        draws = torch.Generator().manual_seed(seed)
        self.problem, self.prior, self.precision = problem.to(device), prior, precision
        z = prior.source.draw(problem, draws)[None]
        layout = {4: torch.channels_last, 5: torch.channels_last_3d}[z.ndim]
        network = prior.network.build(z.shape[1], problem.shape[0], problem.shape[1:])
        network = initialise(network, draws, device).to(memory_format=layout)  # type: ignore[call-overload]
        self.modules = nn.ModuleDict({"network": network})
        self.forward, self.likelihood = self.fitted("forward"), self.fitted("likelihood")
        self.network = network
        self.z = z.to(device, memory_format=layout)
        self.noise = torch.empty_like(self.z)
        self.noise_in_memory = self.noise.as_strided((self.noise.numel(),), (1,))
        self.generator = torch.Generator(device).manual_seed(seed)
        self.caps = [part for part in network.modules() if isinstance(part, Cap) and part.adapts]
        law = _noise(problem) if self.caps else None
        self.law = None if law is None else law.to(device)
        self.known = self.problem.known() if self.caps else torch.empty(0)
        self.parameters = list(self.modules.parameters())
        self.optimizer = torch.optim.Adam(self.parameters, lr=prior.learning_rate, fused=device.type != "mps")
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
                good, reference, failures = self.snapshot(), value, 0
            yield Iterate(self.step, x, self.average, loss, self.forward, self.snapshot)

    def advance(self) -> tuple[Tensor, Tensor]:
        """Take one optimiser step; return the output before it and its loss."""
        self.noise_in_memory.normal_(generator=self.generator)  # six times as fast as through channels-last strides
        z = torch.add(self.z, self.noise, alpha=self.prior.source.jitter).to(self.precision)
        x = self.network(z)[0].float()  # (C, *spatial)
        if self.problem.floor is not None:
            x = above(x, self.problem.floor)
        predicted = self.forward(x)
        loss = self.likelihood(predicted, self.problem.y, self.problem.weight)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, self.prior.clip)
        self.optimizer.step()
        if self.law is not None:
            follow(self.caps, self.chi2(predicted.detach(), self.law))
        self.step += 1
        x, loss = x.detach(), loss.detach()
        # the plain mean of the first outputs, until the exponential average has enough of a past
        self.average.lerp_(x, max(1 - self.prior.averaging, 1 / self.step))
        return x, loss

    def chi2(self, predicted: Tensor, law: NoiseModel) -> Tensor:
        """Return the residual's mean square in units of the noise's variance, 0-d."""
        relative = (predicted - self.problem.y).square() / law.variance(predicted).clamp(min=1e-12)
        return (relative * self.known).sum() / self.known.sum()

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

    def snapshot(self) -> State:
        if self.newest is None or self.newest.step != self.step:
            self.newest = self.copied()
        return self.newest

    def copied(self) -> State:
        return State(
            self.step,
            {name: value.detach().clone() for name, value in self.modules.state_dict().items()},
            copy.deepcopy(self.optimizer.state_dict()),
            self.average.clone(),
            self.generator.get_state(),
        )

    def restore(self, state: State) -> None:
        self.step = state.step
        self.modules.load_state_dict(state.weights)
        self.optimizer.load_state_dict(copy.deepcopy(state.optimizer))
        self.average.copy_(state.average)
        self.generator.set_state(state.generator)


def above(x: Tensor, floor: Tensor) -> Tensor:
    """Return x where it is well above a floor, (C,), and what approaches the floor below: a softplus.

    Its bend is so short that values of linear data are changed by less than 1e-4 of the range from `5 * BEND` on.
    """
    floor = floor.to(x.device).view(-1, *[1] * (x.ndim - 1))
    return floor + BEND * F.softplus((x - floor) / BEND)


def _noise(problem: Problem) -> NoiseModel | None:
    """Return the noise of a problem; None where it cannot be told: a bound that would follow it then stays."""
    if problem.noise is None and not problem.is_image:
        return None
    return problem.noise or estimate_noise(problem.y.detach().cpu(), problem.known().cpu())


def _diverged(loss: float, reference: float | None, tolerance: float) -> bool:
    """Return whether the data term rose by more than `tolerance` dB, or is no number."""
    return not loss < float("inf") or (reference is not None and loss > reference * 10 ** (tolerance / 10))
