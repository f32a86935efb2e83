"""What a residual says of a result: noise alone, structure that was removed, or noise that was left."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dip.engine.noise import NoiseModel
from napari_dip.engine.sampling import part_of

SIDE = 16  # px, of the blocks whose flux is compared
LEVELS = 10  # intensities: each has as many pixels, or blocks
STEEP = 0.9  # quantile of the gradient from which on a pixel is at an edge
SURE = 4.0  # standard errors: less is chance
SMALL = 0.05  # of a correlation: less does not matter
LESS_SURE = 2.0  # times as much is let pass where the noise is correlated: that is told less exactly
TOO_STRONG, TOO_WEAK = 1.3, 0.7  # of the residual's power in units of the noise's: at one intensity, and in all

NOISE, REMOVED, LEFT = "looks like noise", "structure was removed", "noise was left"


@dataclass(frozen=True)
class ResidualCheck:
    """The residual, measurement minus prediction, in units of the noise model's standard deviation.

    Attributes
    ----------
    verdict : str
        In words, with what speaks for it.
    chi2 : float
        Mean square: 1 for noise alone, a little less because every estimate keeps some.
    chi2_by_intensity : tuple of float
        The same for tenths of the pixels, the darkest first.
    neighbours : tuple of float
        Autocorrelation at one pixel along y and x, that of the noise itself subtracted.
    edges : float
        Mean square in the steepest tenth of the result, relative to that of the rest: above 1 where edges were blurred.
    flux : tuple of float
        Output minus input of blocks of 16 x 16 px, in standard errors, as means of tenths of the blocks, the darkest
        first: near 0 where no light was lost or invented.
    """

    verdict: str
    chi2: float
    chi2_by_intensity: tuple[float, ...]
    neighbours: tuple[float, float]
    edges: float
    flux: tuple[float, ...]


def check_residual(y: Tensor, predicted: Tensor, known: Tensor, noise: NoiseModel) -> ResidualCheck:
    """Return what the residual says; of a large image, what a part of it does.

    Parameters
    ----------
    y, predicted, known : Tensor
        (C, *spatial): the measurement, what the result would have given, and which elements count.
    noise : NoiseModel
        Of y.
    """
    if noise.map is None:
        y, predicted, known = (part_of(t) for t in (y, predicted, known))
    y, predicted, known = (t.detach().cpu() for t in (y, predicted, known))
    variance = noise.variance(predicted).clamp(min=1e-20)
    weight = known.float()
    z = (y - predicted) / variance.sqrt() * weight
    count = int(known.sum())
    chi2 = float(z.square().sum() / count)
    by_intensity = _in_levels(predicted[known], z[known].square())
    own = (0.0, 0.0) if noise.correlation is None else _beside(noise.correlation)
    neighbours = tuple(
        _lagged(z, weight, axis) / max(chi2, 1e-12) - expected for axis, expected in zip((-2, -1), own, strict=True)
    )
    edges = _edges(z, predicted, known)
    slack = 1.0 if noise.correlation is None else LESS_SURE
    most = 1 + slack * (TOO_STRONG - 1)
    tests = {
        "is similar from pixel to pixel": max(neighbours) > max(slack * SMALL, SURE / count**0.5),
        "is stronger at edges": edges > most,
        "is stronger than noise at some intensities": max(by_intensity) > most,
    }
    reasons = [words for words, holds in tests.items() if holds]
    if chi2 < TOO_WEAK:
        verdict = f"{LEFT}: the residual is weaker than noise"
    elif reasons:
        verdict = f"{REMOVED}: the residual {', '.join(reasons)}"
    else:
        verdict = NOISE
    return ResidualCheck(
        verdict,
        round(chi2, 4),
        _rounded(by_intensity),
        (round(neighbours[0], 4), round(neighbours[1], 4)),
        round(edges, 4),
        _rounded(_flux(y, predicted, variance, known, noise)),
    )


def _in_levels(intensity: Tensor, values: Tensor) -> list[float]:
    """Return the mean of the values of each tenth, by intensity."""
    order = intensity.argsort()
    return [float(values[part].mean()) for part in order.tensor_split(min(LEVELS, len(order))) if len(part)]


def _lagged(z: Tensor, weight: Tensor, axis: int) -> float:
    """Return the mean product of neighbours."""
    size = z.shape[axis] - 1
    one, other = (t.narrow(axis, at, size) for t in (z,) for at in (0, 1))
    both = weight.narrow(axis, 0, size) * weight.narrow(axis, 1, size)
    return float((one * other).sum() / both.sum().clamp(min=1))


def _beside(correlation: Tensor) -> tuple[float, float]:
    middle = correlation.shape[0] // 2
    return float(correlation[middle + 1, middle]), float(correlation[middle, middle + 1])


def _edges(z: Tensor, predicted: Tensor, known: Tensor) -> float:
    steps = [F.pad(predicted.diff(dim=axis).square(), pad) for axis, pad in ((-2, (0, 0, 0, 1)), (-1, (0, 1)))]
    gradient = F.avg_pool2d(sum(steps).reshape(-1, 1, *z.shape[-2:]), 3, 1, 1).reshape(z.shape)[known]  # type: ignore[union-attr]
    order = gradient.argsort()
    power = z[known].square()[order]
    steep = power[int(STEEP * len(power)) :].mean() / power[: int(STEEP * len(power))].mean().clamp(min=1e-20)
    return float(steep)


def _flux(y: Tensor, predicted: Tensor, variance: Tensor, known: Tensor, noise: NoiseModel) -> list[float]:
    """Return the mean of the blocks' z by intensity."""
    if min(y.shape[-2:]) < SIDE:
        return []
    weight = known.float()

    def summed(t: Tensor) -> Tensor:
        return F.avg_pool2d((t * weight).reshape(-1, 1, *t.shape[-2:]), SIDE).flatten() * SIDE**2

    count = summed(torch.ones_like(y))
    enough = count >= SIDE**2 / 2
    if not bool(enough.any()):
        return []
    shared = 1.0 if noise.correlation is None else float(noise.correlation.sum().clamp(min=0.1))
    z = (summed(predicted - y) / (shared * summed(variance)).clamp(min=1e-20).sqrt())[enough]
    return _in_levels((summed(predicted) / count.clamp(min=1))[enough], z)


def _rounded(values: list[float]) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values)
