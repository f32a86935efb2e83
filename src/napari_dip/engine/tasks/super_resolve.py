"""Smaller pixels than were measured."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from napari_dip.engine.convolve import Convolution, margins_of
from napari_dip.engine.fields import Checked
from napari_dip.engine.noise import NoiseLaw
from napari_dip.engine.problem import Kernel, Mask, Problem, finer
from napari_dip.engine.psf import PSF, checked, seen_through
from napari_dip.engine.resample import Box, Degradation, Resampling, degrader
from napari_dip.engine.stopping import HeldOut, StoppingRule

LEAST, MOST = 1.5, 8.0
WHOSE = "restored image"  # that a PSF's pixels are of


@dataclass(frozen=True, eq=False)
class BlurThenSample:
    """An image with small pixels to what large ones see of it through optics that blur: first these, then the pixels.

    Attributes
    ----------
    blur : Convolution
        On the fine grid, whose image goes beyond the field.
    pixels : Resampling
        Of the blurred field.
    """

    blur: Convolution
    pixels: Resampling

    def to(self, device: torch.device) -> BlurThenSample:
        """Return the same with its tensors on a device."""
        return BlurThenSample(self.blur.to(device), self.pixels.to(device))

    def __call__(self, x: Tensor) -> Tensor:
        return self.pixels(self.blur(x))


@dataclass(frozen=True, eq=False)
class SuperResolve(Checked):
    """Make the pixels smaller: y = A(x) + noise, A the degradation that made the large ones, after a blur if any."""

    done: ClassVar[str] = "super-resolved"
    # a hidden pixel leaves a gap of many fine ones, which does not close again
    stop: ClassVar[StoppingRule] = HeldOut(reveal=1.0)
    noise: ClassVar[NoiseLaw | None] = None
    mask: ClassVar[Mask | None] = None
    floor: ClassVar[float | None] = None
    fills: ClassVar[bool] = False
    keeps_known: ClassVar[bool] = False
    denoises: ClassVar[bool] = False
    stabilises: ClassVar[bool] = False
    caution: ClassVar[str] = (
        "Detail finer than the measurement is invented by the prior: not for quantification, and no evidence of what "
        "is there"
    )

    factor: Annotated[
        float | tuple[float, ...],
        {"tooltip": "Pixels per measured pixel, 1.5 to 8, along Y and X; several: of each of the last axes"},
    ] = 2.0
    degradation: Annotated[Degradation, {"tooltip": "What made the large pixels"}] = field(default_factory=Box)
    psf: Annotated[
        Kernel | None,
        {
            "label": "measured PSF",
            "optional": True,
            "tooltip": "How the optics image a point, in the small pixels, its origin in the middle: undone too",
        },
    ] = None
    model: Annotated[
        PSF | None,
        {
            "label": "PSF model",
            "none": "no blur",
            "tooltip": "Of the optics, in the small pixels, where none was measured",
        },
    ] = None

    centre: Annotated[
        bool, {"label": "centre the PSF", "tooltip": "The bright part of a measured PSF is moved to its middle"}
    ] = False

    resolution: Annotated[
        float | None,
        {
            "min": 0.5,
            "unit": "small px",
            "tooltip": "How wide a point is in the result, at half its height: from 2 on, stars have hardly any rings; "
            "auto: as narrow as can be",
        },
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
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

    @property
    def is_blurred(self) -> bool:
        """Whether optics blurred what the large pixels saw."""
        return self.psf is not None or self.model is not None

    def problem(self, y: Tensor) -> Problem:
        """Return the problem; with a PSF, x goes beyond the field as far as its light reaches into it.

        Raises
        ------
        ValueError
            When the PSF does not fit the fine image, or is none.
        """
        shape = finer(tuple(y.shape), self.factors)
        pixels = degrader(self.degradation, shape[1:], tuple(y.shape[1:]))
        if self.psf is not None:
            sharp = _blurred(y, *checked(self.psf, shape[1:], WHOSE, centres=self.centre), shape[1:], pixels)
        elif self.model is not None:
            sharp = _blurred(y, checked(self.model.kernel(shape[1:]), shape[1:], WHOSE)[0], (), shape[1:], pixels)
        else:
            sharp = Problem(y, shape, forward=pixels, gives_back=True, keeps_range=True)
        if self.resolution is None:
            return sharp
        return dataclasses.replace(sharp, finish=seen_through(self.resolution, shape[1:]))


def _blurred(
    y: Tensor, kernel: Tensor, notes: tuple[str, ...], spatial: tuple[int, ...], pixels: Resampling
) -> Problem:
    """Return the problem of large pixels behind optics with a PSF on the fine grid, whose field is `spatial`."""
    blur = Convolution(kernel, margins_of(kernel, spatial))
    return Problem(
        y,
        shape=(len(y), *blur.extent(spatial)),
        forward=BlurThenSample(blur, pixels),
        field=blur.field,
        is_linear=True,
        gives_back=True,
        notes=notes,
    )
