"""How strong the noise of an image is, told from the image alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_dip.engine.correlation import (
    HIGH_PASS,
    autocorrelation,
    block_means,
    blocks_of,
    coarse,
    high_pass,
    power_in_means,
    whole_blocks,
)
from napari_dip.engine.noise import NoiseLaw, NoiseModel
from napari_dip.engine.sampling import part_of

BLOCK = 8  # px a side of the blocks whose variance is measured
FEWEST = 24  # blocks that an estimate takes
MOST_LEVELS = 16  # intensities at which the variance is measured
FINEST = high_pass(6)  # passes the corners of the spectrum alone, where there is least structure
MANY = 192  # blocks that the longer filter takes: what it passes of fewer is told less exactly than that of the shorter
ENOUGH = 0.5  # of the blocks that the shorter filter leaves: with fewer, holes leave the longer one too little

QUANTILE = 0.3  # of the blocks of one intensity: most of the others have structure
WHITE = {3: 0.807, 7: 0.698}  # that quantile of white noise of variance 1, by its length, simulated (tests/engine)

SMOOTH = torch.tensor([1.0, 2.0, 1.0]) / 6**0.5  # keeps white noise as strong
CONSTANT, BUSY = 0.05, 1.5  # detail of calm blocks, relative to white noise's: less is clipped, more is structure
CALM, FEWEST_CALM = 0.2, 12  # of the blocks of one intensity: these have a say even where all have structure
ENOUGH_CALM = 40  # blocks of one intensity, of which the calm ones are enough
ROUNDS = 3  # of telling which blocks are calm


class _Blocks(NamedTuple):
    """Blocks of one channel, (blocks,) each; powers are 1 in the mean for white noise of variance 1."""

    light: Tensor  # intensity
    finest: Tensor  # power of the finest detail
    detail: Tensor | None  # power of detail that is nearly as fine, where it is known what noise has
    quantile: float  # that `QUANTILE` of the finest detail's power is of white noise


def estimate_noise(y: Tensor, known: Tensor | None = None) -> NoiseModel | None:
    """Return the noise model of a measurement, or None where too little of it is known.

    Blocks of a few pixels are high-pass filtered with a mask that removes smooth structure (after Immerkær, "Fast noise
    variance estimation", 1996, with differences of the sixth order instead of the second). Of all blocks of one
    intensity those tell the variance that have as little detail of the next coarser kind as noise alone has, or less of
    it than most; a robust line through these is the model. Structure that is as fine as the noise makes it too large:
    by under 1 % of the standard deviation on photographs of 256 x 256 px with σ = 25 of 255, by up to 7 % at σ = 5, and
    by 4 and 50 % on sand and needles that fill the image. Correlated noise is measured in means of 2 x 2 px.

    Parameters
    ----------
    y : Tensor
        (C, *spatial), spatial (Y, X) or (Z, Y, X); of a volume the planes are measured.
    known : Tensor, optional
        Boolean, shaped as y; blocks with an unknown element are left out. Of a large image a part is looked at.
    """
    y = part_of(y.detach()).float().cpu()
    known = torch.ones_like(y, dtype=torch.bool) if known is None else part_of(known).cpu()
    return model_of_levels(y, y, known, autocorrelation(y, known))


def model_of_levels(y: Tensor, light: Tensor, known: Tensor, correlation: Tensor | None) -> NoiseModel | None:
    """Return the noise of y, by the intensity that another image has there; None where too little is known.

    Parameters
    ----------
    y, light, known : Tensor
        (C, *spatial): what has the noise, the intensity, and which elements count.
    correlation : Tensor, optional
        The autocorrelation of the noise.
    """
    lines = []
    for channel, lit, sure in zip(y, light, known, strict=True):
        blocks = (
            _white_blocks(channel, lit, sure)
            if correlation is None
            else _coarse_blocks(channel, lit, sure, power_in_means(correlation))
        )
        if len(blocks.light) < FEWEST:
            return None
        lines.append(torch.tensor([*_line(blocks)]))
    gain, floor, mean = torch.stack(lines, 1)
    return NoiseModel(gain, floor, mean, correlation)


def agreement(law: NoiseLaw, plane: npt.NDArray[Any]) -> float | None:
    """Return how many times the variance of a law the noise of an image has; None where it cannot be told.

    Parameters
    ----------
    law : NoiseLaw
        In the image's units.
    plane : array
        (Y, X); what is not finite is left out.
    """
    known = np.isfinite(plane)
    values = np.where(known, plane, 0).astype(np.float64)
    level = float(values[known].mean()) if known.any() else 0.0
    y = torch.from_numpy(np.where(known, values - level, 0).astype(np.float32))[None]
    model = estimate_noise(y, torch.from_numpy(known)[None])
    expected = float(np.clip(law.slope * values[known] + law.at_zero, 0, None).mean()) if known.any() else 0.0
    return float(model.mean) / expected if model is not None and expected > 0 else None


def _white_blocks(channel: Tensor, light: Tensor, known: Tensor) -> _Blocks:
    row = _high_pass(known)
    taps = len(row)
    margin = [torch.zeros((taps - 3) // 2)] * 2
    fine, smooth = (torch.cat([margin[0], short, margin[1]]) for short in (HIGH_PASS, SMOOTH))  # for the same blocks
    edges = [blocks_of(channel, known, BLOCK, *rows).power for rows in ((fine, smooth), (smooth, fine))]
    finest = blocks_of(channel, known, BLOCK, row).power
    return _Blocks(block_means(light, known, BLOCK, taps), finest, (edges[0] + edges[1]) / 2, WHITE[taps])


def _coarse_blocks(channel: Tensor, light: Tensor, known: Tensor, power: float) -> _Blocks:
    """Return the blocks of means of 2 x 2 px: of correlated noise there is little in the finest detail."""
    finest = blocks_of(*coarse(channel, known), BLOCK).power / power
    return _Blocks(block_means(*coarse(light, known), BLOCK, len(HIGH_PASS)) / 2, finest, None, WHITE[len(HIGH_PASS)])


def _high_pass(known: Tensor) -> Tensor:
    """Return the filter that sees least of the structure and still leaves enough blocks."""
    fine, coarse = (int(whole_blocks(known, BLOCK, len(row)).sum()) for row in (FINEST, HIGH_PASS))
    return FINEST if fine >= max(MANY, ENOUGH * coarse) else HIGH_PASS


def _line(blocks: _Blocks) -> tuple[float, float, float]:
    """Return gain, floor and mean of the variance as a robust linear function of the intensity."""
    light, finest, detail, white = blocks
    are_many = detail is not None and len(light) >= 2 * ENOUGH_CALM
    levels = max(1, min(MOST_LEVELS, len(light) // (ENOUGH_CALM if are_many else FEWEST)))
    chunks = light.argsort().tensor_split(levels)
    x = torch.stack([light[chunk].mean() for chunk in chunks]).double()
    v = torch.stack([finest[chunk].quantile(QUANTILE) / white for chunk in chunks]).double()
    slope, at_zero = _robust_line(x, v, torch.ones_like(v))
    for turn in range(ROUNDS):
        if detail is None or levels == 1:  # calm blocks of all intensities would be dark ones
            break
        relative = detail / (slope * light + at_zero).clamp(min=_tiny(v))
        chosen = [_calm(chunk, relative, BUSY if turn else 0.0) for chunk in chunks]
        for at, few in enumerate(chosen):
            if len(few):
                x[at], v[at] = light[few].mean(), finest[few].mean()
        slope, at_zero = _robust_line(x, v, torch.tensor([max(1, len(few)) for few in chosen]).double())
    return slope, at_zero, float((slope * light + at_zero).clamp(min=0).mean())


def _calm(chunk: Tensor, relative: Tensor, busy: float) -> Tensor:
    """Return which blocks of a chunk have little detail; none where too much of it is constant."""
    candidates = chunk[relative[chunk] > CONSTANT]
    if len(candidates) < FEWEST_CALM:
        return candidates[:0]
    count = max(FEWEST_CALM, int(CALM * len(candidates)), int((relative[candidates] < busy).sum()))
    return candidates[relative[candidates].argsort()[:count]]


def _robust_line(x: Tensor, v: Tensor, counts: Tensor) -> tuple[float, float]:
    """Return slope and value at 0 of a line through variances, (levels,) each: some levels are all structure."""
    tiny = _tiny(v)
    slope, at_zero = 0.0, float(v.mean())
    if float(x.max() - x.min()) > 1e-6:
        weight = counts.sqrt() / v.clamp(min=tiny)
        for _ in range(20):  # errors are relative
            design = torch.stack([x, torch.ones_like(x)], 1) * weight[:, None]
            slope, at_zero = torch.linalg.lstsq(design, (v * weight)[:, None]).solution[:, 0].tolist()
            fitted = (slope * x + at_zero).clamp(min=tiny)
            weight = counts.sqrt() * ((v - fitted).abs() / (0.2 * fitted)).clamp(min=1).rsqrt() / fitted
    return slope, at_zero


def _tiny(v: Tensor) -> float:
    return max(1e-3 * float(v.max()), 1e-20)
