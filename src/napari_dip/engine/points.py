"""What an estimate lacks of its point sources, told from all of them together, and given back.

A spot as small as a pixel has little to tell it from noise: denoisers keep it, but lower. What a single one lacks is
within its noise; what many of one strength lack in the mean is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 3  # px: half of the window around a source
SIDE = 2 * REACH + 1
CORE, RING = 5, 8  # px²: up to that distance the source, from that one on its surroundings
LEVELS = (4.5, 6.0, 10.0, 16.0, 32.0, float("inf"))  # signal-to-noise ratios of sources that are taken together
CALM = 0.25  # of the source's height, by which nine tenths of its surroundings differ from their median at most
CALMEST = 0.9  # that share
FEWEST = 12  # sources of one strength
SURE = 4.5  # standard errors by which they lack in the mean
MATTERS = 2.0  # standard errors by which a pixel beside the peak does
TOGETHER = 1 << 16  # px that are looked at together: bounds the memory


@dataclass(frozen=True)
class Lost:
    """What the point sources of one strength had lost, and were given back.

    Attributes
    ----------
    sources : int
        How many there are.
    share : float
        Of the height of their peaks in the estimate, in the mean.
    """

    sources: int
    share: float


class _Sources(NamedTuple):
    """Isolated peaks of a plane, (sources, ...)."""

    where: Tensor  # index into the flattened plane
    height: Tensor  # above their surroundings
    ratio: Tensor  # signal to noise, over the core
    missing: Tensor  # residual in the window, (sources, SIDE²)
    variance: Tensor  # of the noise there


def given_back(x: Tensor, y: Tensor, variance: Tensor, known: Tensor) -> tuple[Tensor, list[Lost]]:
    """Return x with what its point sources lack in the mean, and how much that was.

    Peaks above calm surroundings, wholly known, are sorted by their signal-to-noise ratio. The residuals around those
    of one strength are stacked, in units of the peaks' heights. Where the stack's middle is off by more than chance,
    each source gets what sources of its height lack in the mean. Nothing changes where there are fewer than a dozen.

    Parameters
    ----------
    x, y, variance, known : Tensor
        (C, *spatial): the estimate, the measurement, the variance of its noise, white, and which elements count. Planes
        and channels are looked at one by one.
    """
    shape = (-1, *x.shape[-2:])
    planes = zip(*(t.reshape(shape) for t in (x, y, variance, known)), strict=True)
    results = [_of_plane(*plane) for plane in planes]
    lost = [one for _, found in results for one in found]
    return torch.stack([plane for plane, _ in results]).reshape(x.shape), lost


def _of_plane(x: Tensor, y: Tensor, variance: Tensor, known: Tensor) -> tuple[Tensor, list[Lost]]:
    if min(x.shape) < SIDE:
        return x, []
    rows = max(1, TOGETHER // x.shape[1])
    found = [_sources(x, y, variance, known, (top, rows)) for top in range(0, x.shape[0], rows)]
    sources = _Sources(*(torch.cat(parts) for parts in zip(*found, strict=True)))
    distance = _distance(x.device)
    added, lost = torch.zeros(x.numel(), device=x.device), []
    for low, high in pairwise(LEVELS):
        alike = (sources.ratio >= low) & (sources.ratio < high)
        if int(alike.sum()) < FEWEST:
            continue
        where, height, _, missing, spread = (part[alike] for part in sources)
        information = (height[:, None].square() / spread).sum(0)  # (SIDE²,)
        stack, error = (height[:, None] * missing / spread).sum(0) / information, information.rsqrt()
        middle = SIDE**2 // 2
        if float(stack[middle].abs()) < SURE * float(error[middle]):
            continue
        expected = _expected(height, missing, spread)
        for at in ((distance <= CORE) & (stack.abs() >= MATTERS * error)).nonzero()[:, 0].tolist():
            shift = (at // SIDE - REACH) * x.shape[1] + at % SIDE - REACH
            added.index_add_(0, where + shift, expected[:, at])
        lost.append(Lost(len(where), round(float(stack[middle]), 4)))
    return x + added.view(x.shape), lost


def _expected(height: Tensor, missing: Tensor, spread: Tensor) -> Tensor:
    """Return the line in the height that tells best what is missing, (sources, SIDE²).

    A source that noise has raised lacks less than others of its strength, one that noise has lowered lacks more.
    """
    design = torch.stack([torch.ones_like(height), height / height.mean()], 1)  # (sources, 2)
    gram = torch.einsum("na,nb,nk->kab", design, design, 1 / spread)
    target = torch.einsum("na,nk->ka", design, missing / spread)
    ridge = 1e-6 * gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(2, device=height.device)
    lines: Tensor = torch.linalg.solve(gram + ridge, target)  # (SIDE², 2)
    return design @ lines.T


def _sources(x: Tensor, y: Tensor, variance: Tensor, known: Tensor, strip: tuple[int, int]) -> _Sources:
    """Return the sources whose peaks are in a strip: its first row, and how many."""
    top, bottom, size, width = strip[0], min(sum(strip), x.shape[0]), *x.shape
    rows = slice(max(0, top - REACH), min(size, bottom + REACH))
    images = torch.stack([x[rows], y[rows] - x[rows], variance[rows], known[rows].to(x.dtype)])
    margins = (REACH, REACH, REACH - (top - rows.start), REACH - (rows.stop - bottom))
    padded = F.pad(images, margins)[:, None]
    values, missing, spread, sure = F.unfold(padded, SIDE).unbind(0)  # (SIDE², pixels)
    distance = _distance(x.device)
    middle, ring, core = SIDE**2 // 2, values[distance >= RING], distance <= CORE
    ground = ring.median(0).values
    height = values[middle] - ground
    ratio = ((values[core] - ground).clamp(min=0).square() / spread[core].clamp(min=1e-20)).sum(0).sqrt()
    chosen = (
        (sure.amin(0) > 0)
        & (height > 0)
        & (ratio >= LEVELS[0])
        & (values[middle] >= values[core].amax(0))
        & ((ring - ground).abs().quantile(CALMEST, dim=0) < CALM * height)
    ).nonzero()[:, 0]
    return _Sources(chosen + top * width, height[chosen], ratio[chosen], missing[:, chosen].T, spread[:, chosen].T)


def _distance(device: torch.device) -> Tensor:
    """Return the squared distance of a window's elements from its middle, (SIDE²,)."""
    apart = torch.arange(-REACH, REACH + 1, device=device).square()
    return (apart[:, None] + apart).flatten()
