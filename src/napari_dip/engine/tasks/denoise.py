"""Noise taken out of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, get_args

import torch
from torch import Tensor

from napari_dip.engine.noise import NoiseLaw, check_law
from napari_dip.engine.problem import Mask, Problem, Role
from napari_dip.engine.stopping import HeldOut, StoppingRule
from napari_dip.engine.stripes import Stripes, stripes_of


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
    denoises: ClassVar[bool] = True

    noise: Annotated[NoiseLaw | None, {"tooltip": "What is known of the noise; auto: told from the image"}] = None
    stripes: Annotated[
        Stripes,
        {"tooltip": "Lines with offsets of their own, as of a scanner or an sCMOS camera: taken off first"},
    ] = "none"
    frames: Annotated[
        str | None,
        Role.AXIS,
        {"tooltip": "Axis along which exposures of one scene lie, as T: they are restored together, to one image"},
    ] = None

    def __post_init__(self) -> None:
        check_law(self.noise)
        if self.frames is not None and (len(self.frames) != 1 or not self.frames.isalpha()):
            raise ValueError(f"frames = {self.frames!r} is no letter of an axis, such as 'T'")
        if self.stripes not in get_args(Stripes):
            raise ValueError(f"stripes = {self.stripes!r} is none of {', '.join(get_args(Stripes))}")

    @property
    def stabilises(self) -> bool:
        return self.stripes == "none" and self.frames is None

    def problem(self, y: Tensor) -> Problem:
        return self._problem(y, torch.ones_like(y, dtype=torch.bool))

    def problem_in_units(self, y: Tensor, known: Tensor, *, offset: Tensor, gain: Tensor) -> Problem:
        return self._problem(y, known)

    def _problem(self, y: Tensor, known: Tensor) -> Problem:
        if self.stripes == "none":
            return Problem(y, shape=tuple(y.shape))
        removed = stripes_of(y, known, self.stripes)
        return Problem(torch.where(known, y - removed, y), shape=tuple(y.shape), removed=removed)
