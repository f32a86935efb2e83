"""The traces of JPEG taken out of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dip.engine import jpeg
from napari_dip.engine.fields import Checked
from napari_dip.engine.intervals import Intervals
from napari_dip.engine.jpeg import JpegTables
from napari_dip.engine.noise import NoiseLaw, NoiseModel
from napari_dip.engine.problem import LeastSquares, Likelihood, Mask, Problem, Role, finer, identity
from napari_dip.engine.resample import AntialiasedBicubic, degrader
from napari_dip.engine.stopping import FixedSteps, StoppingRule

LARGEST = 8.0  # factor
PILOT_SHARE = 0.5  # measured: at 400 to 1000 steps the mean of both is better than either, or as good


@dataclass(frozen=True)
class Deblock(Checked):
    """Remove the blocks and ringing of JPEG: the coefficients of x, rounded, are those of y.

    The blocks' grid begins at the image's first pixel. How it was compressed is told by the file that it comes from,
    or else by its values. Channels along C are grey images, each by itself; only samples of a colour, S, are RGB.
    """

    done: ClassVar[str] = "deblocked"
    stop: ClassVar[StoppingRule] = FixedSteps(600)
    align: ClassVar[tuple[int, ...]] = (16,)  # blocks of 8, of colours that are subsampled 16
    noise: ClassVar[NoiseLaw | None] = None
    mask: ClassVar[Mask | None] = None
    fills: ClassVar[bool] = False
    keeps_known: ClassVar[bool] = False
    denoises: ClassVar[bool] = False
    stabilises: ClassVar[bool] = False
    floor: ClassVar[float | None] = None

    quality: Annotated[
        int | None,
        {"min": 1, "max": 100, "tooltip": "1 to 100, as programs ask for it; auto: from the file, or from the values"},
    ] = None
    intervals: Annotated[
        bool, {"tooltip": "Values that the file allows cost little; else plain differences of pixels, as published"}
    ] = True
    factor: Annotated[
        float,
        {"min": 1.0, "max": LARGEST, "tooltip": "Pixels per pixel of the file, 1 to 8: enlarges the image"},
    ] = 1.0
    tables: Annotated[JpegTables | None, Role.FILE] = None

    @property
    def factors(self) -> tuple[float, ...]:
        return () if self.factor == 1 else (self.factor,) * 2

    @property
    def caution(self) -> str:
        return "" if self.factor == 1 else "Detail finer than the file's pixels is invented by the prior"

    def problem(self, y: Tensor) -> Problem:
        """Return the problem of an image in grey levels, (1, Y, X) or (3, Y, X), of which all is known."""
        one = torch.ones(y.shape[0])
        return self.problem_in_units(y, torch.ones_like(y, dtype=torch.bool), offset=0 * one, gain=one)

    def problem_in_units(self, y: Tensor, known: Tensor, *, offset: Tensor, gain: Tensor) -> Problem:
        offset, gain = (value.to(y).view(-1, 1, 1) for value in (offset, gain))
        _check_shape(y)
        tables = self._told(torch.where(known, y * gain + offset, jpeg.MIDDLE), known)
        intervals = Intervals(y, known, tables, offset=offset, gain=gain)
        likelihood: Likelihood = intervals if self.intervals else LeastSquares()
        if self.factors:
            shape = finer(tuple(y.shape), self.factors)
            pixels = degrader(AntialiasedBicubic(), shape[1:], tuple(y.shape[1:]))
            cubic = F.interpolate(y[None], shape[1:], mode="bicubic")[0]
            return Problem(y, shape=shape, forward=pixels, likelihood=likelihood, pilot_share=0.0, guide=cubic)
        variance = jpeg.error_variance(y * gain + offset, known, tables) / gain.flatten().square()
        return Problem(
            y,
            shape=tuple(y.shape),
            likelihood=likelihood,
            noise=NoiseModel(torch.zeros_like(variance), variance, variance),
            pilot_share=PILOT_SHARE,
            finish=intervals.nearest if self.intervals else identity,
        )

    def _told(self, image: Tensor, known: Tensor) -> JpegTables:
        """Return how an image in grey levels was compressed.

        Raises
        ------
        ValueError
            When it cannot be told, or is not as was said.
        """
        levels = image[known]
        if float(levels.min()) < -0.5 or float(levels.max()) > 255.5 or 0 < float(levels.max() - levels.min()) < 2:
            raise ValueError(
                f"Deblock needs grey levels from 0 to 255, as JPEG has them, not {levels.min():g} to {levels.max():g}"
            )
        tables = self.tables
        if self.quality is not None:
            tables = JpegTables.of_quality(self.quality)
            tables = jpeg.with_subsampling(tables, image, known) if len(image) == 3 else tables
        if tables is None:
            tables = jpeg.find_tables(image, known)
        if tables is None:
            raise ValueError(
                "This is not a JPEG, as far as its values tell: they lie on no steps of 8 x 8 px blocks that begin at "
                "its corner. It may have been cropped, resized or edited since, or hardly been compressed"
            )
        if not jpeg.fits(image, known, tables):
            raise ValueError(
                f"The image was not compressed like that (quality {tables.quality}): it is another one, or has been "
                "cropped, resized or edited since"
            )
        return tables


def _check_shape(y: Tensor) -> None:
    if y.ndim != 3 or y.shape[0] not in (1, 3):
        raise ValueError(f"JPEG holds a grey or an RGB plane, not {y.shape[0]} channels of shape {tuple(y.shape[1:])}")
