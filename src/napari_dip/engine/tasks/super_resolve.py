"""Smaller pixels than were measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated, ClassVar

from torch import Tensor

from napari_dip.engine.noise import NoiseLaw
from napari_dip.engine.problem import Mask, Problem, finer
from napari_dip.engine.resample import Box, Degradation, degrader
from napari_dip.engine.stopping import HeldOut, StoppingRule

LEAST, MOST = 1.5, 8.0


@dataclass(frozen=True)
class SuperResolve:
    """Make the pixels smaller: y = A(x) + noise, A the degradation that made the large ones."""

    done: ClassVar[str] = "super-resolved"
    # a hidden pixel leaves a gap of many fine ones: it takes longer to close than where the grids are the same
    stop: ClassVar[StoppingRule] = HeldOut(reveal=0.5)
    noise: ClassVar[NoiseLaw | None] = None
    mask: ClassVar[Mask | None] = None
    floor: ClassVar[float | None] = None
    fills: ClassVar[bool] = False
    keeps_known: ClassVar[bool] = False
    caution: ClassVar[str] = (
        "Detail finer than the measurement is invented by the prior: not for quantification, and no evidence of what "
        "is there"
    )

    factor: Annotated[
        float | tuple[float, ...],
        {"tooltip": "Pixels per measured pixel, 1.5 to 8, along Y and X; several: of each of the last axes"},
    ] = 2.0
    degradation: Annotated[Degradation, {"tooltip": "What made the large pixels"}] = field(default_factory=Box)

    def __post_init__(self) -> None:
        if not self.factors or any(not LEAST <= factor <= MOST and factor != 1 for factor in self.factors):
            raise ValueError(
                f"factor={self.factor} is not between {LEAST:g} and {MOST:g}: give one number, or one for each axis"
            )
        if all(factor == 1 for factor in self.factors):
            raise ValueError(f"factor={self.factor} leaves the pixels as they are: Denoise does that")

    @property
    def factors(self) -> tuple[float, ...]:
        return self.factor if isinstance(self.factor, tuple) else (self.factor,) * 2

    @property
    def align(self) -> tuple[int, ...]:
        """Where the edges of measured pixels and of the finer ones meet."""
        return tuple(Fraction(factor).limit_denominator(64).denominator for factor in self.factors)

    def problem(self, y: Tensor) -> Problem:
        shape = finer(tuple(y.shape), self.factors)
        return Problem(y, shape, forward=degrader(self.degradation, shape[1:], tuple(y.shape[1:])))
