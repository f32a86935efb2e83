"""Noise taken out of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from napari_dip.engine.noise import NoiseLaw
from napari_dip.engine.problem import Mask, Problem
from napari_dip.engine.stopping import HeldOut, StoppingRule


@dataclass(frozen=True)
class Denoise:
    """Remove the noise of an image: y = x + noise."""

    done: ClassVar[str] = "denoised"
    align: ClassVar[tuple[int, ...]] = (1,)
    factors: ClassVar[tuple[float, ...]] = ()
    caution: ClassVar[str] = ""
    stop: ClassVar[StoppingRule] = HeldOut()
    mask: ClassVar[Mask | None] = None
    floor: ClassVar[float | None] = None
    fills: ClassVar[bool] = False
    keeps_known: ClassVar[bool] = False

    noise: Annotated[NoiseLaw | None, {"tooltip": "What is known of the noise; auto: told from the image"}] = None

    def problem(self, y: Tensor) -> Problem:
        return Problem(y, shape=tuple(y.shape))
