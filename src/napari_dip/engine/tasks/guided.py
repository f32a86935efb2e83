"""An image restored with the help of another one of the same scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from napari_dip.engine.noise import NoiseLaw, check_law
from napari_dip.engine.problem import Image, Mask, Problem
from napari_dip.engine.stopping import HeldOut, StoppingRule


@dataclass(frozen=True, eq=False)
class Guided:
    """Remove the noise of an image with the help of another image of the scene, which shows the network the way.

    Ulyanov et al. 2018 restore a photograph without flash so, with the one with flash as the network's input.
    """

    done: ClassVar[str] = "guided"
    align: ClassVar[tuple[int, ...]] = (1,)
    factors: ClassVar[tuple[float, ...]] = ()
    caution: ClassVar[str] = ""
    stop: ClassVar[StoppingRule] = HeldOut()
    mask: ClassVar[Mask | None] = None
    floor: ClassVar[float | None] = None
    fills: ClassVar[bool] = False
    keeps_known: ClassVar[bool] = False
    denoises: ClassVar[bool] = True
    stabilises: ClassVar[bool] = True

    guide: Annotated[
        Image | None, {"tooltip": "Another image of the scene, with the same pixels: brighter or sharper"}
    ] = None
    noise: Annotated[NoiseLaw | None, {"tooltip": "What is known of the noise; auto: told from the image"}] = None

    def __post_init__(self) -> None:
        check_law(self.noise)

    def problem(self, y: Tensor) -> Problem:
        guide = None if self.guide is None else torch.from_numpy(self.guide)
        return Problem(y, shape=tuple(y.shape), guide=guide)
