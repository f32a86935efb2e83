"""The deep image prior: a network, what feeds it, and how it is fitted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Protocol

import torch
from torch import Tensor

from napari_dip.engine.fields import Checked
from napari_dip.engine.networks import Network, Skip
from napari_dip.engine.problem import Problem


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
class Noise(Checked):
    """Uniform noise, fixed for the run: the input of Ulyanov et al. 2018."""

    channels: Annotated[int, {"min": 1}] = 32
    amplitude: Annotated[float, {"min": 0.0, "tooltip": "z is uniform between 0 and this"}] = 0.1
    jitter: Annotated[float, {"min": 0.0, "tooltip": "Noise added to z at every step: regularises"}] = 1 / 30

    def draw(self, problem: Problem, generator: torch.Generator) -> Tensor:
        return self.amplitude * torch.rand(self.channels, *problem.shape[1:], generator=generator)


@dataclass(frozen=True)
class Coordinates(Checked):
    """The position of every pixel, from 0 to 1 along each axis: favours large smooth regions (inpainting)."""

    jitter: Annotated[float, {"min": 0.0, "tooltip": "Noise added to z at every step: regularises"}] = 0.03

    def draw(self, problem: Problem, generator: torch.Generator) -> Tensor:
        axes = [torch.linspace(0, 1, n) for n in problem.shape[1:]]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"))


@dataclass(frozen=True)
class Guide(Checked):
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
class Fourier(Checked):
    """Sines and cosines of random phases, fixed for the run: the input of Shi et al. 2022, for `Decoder`."""

    channels: Annotated[int, {"min": 1, "tooltip": "Of phases: the network's input has twice as many"}] = 16
    jitter: Annotated[float, {"min": 0.0, "tooltip": "Noise added to z at every step; published: none"}] = 0.0

    def draw(self, problem: Problem, generator: torch.Generator) -> Tensor:
        phase = 2 * torch.pi * torch.rand(self.channels, *problem.shape[1:], generator=generator)
        return torch.cat([phase.sin(), phase.cos()])


SOURCES = (Noise, Coordinates, Guide, Fourier)


@dataclass(frozen=True)
class Prior(Checked):
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
