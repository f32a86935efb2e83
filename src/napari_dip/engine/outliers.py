"""Pixels that no light made so: hot and dead ones, and the tracks of cosmic rays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dip.engine.estimation import estimate_noise
from napari_dip.engine.fields import Checked
from napari_dip.engine.noise import NoiseLaw, NoiseModel, model_of
from napari_dip.engine.problem import Array

AREA = 7  # px: the background of a pixel is the median around it
ROUNDS = 5  # a track is taken off pixel by pixel
SURE = 3.0  # standard deviations by which a pixel is sharper than light can be
STANDING = 4.0  # robust standard deviations from the median around: no ground
MEDIAN_OF_NORMAL = 0.6745  # of the absolute values, in standard deviations
SLACK = 0.8  # of that share is asked for: nobody knows a point-spread function exactly
CALM = 2.0  # standard deviations between the quartiles around, at most: of noise alone they are 1.35 apart
STRIP = 256  # rows looked at together
BESIDE = (((0, -1), (0, 1)), ((-1, 0), (1, 0)), ((0, -1), (0, 1), (-1, 0), (1, 0)))  # rows and columns from a pixel


@dataclass(frozen=True)
class Outliers(Checked):
    """Hot pixels, dead pixels and cosmic rays: sharper than anything that came through the optics.

    What light makes is blurred: with a point-spread function of this width, the pixels on either side of one differ
    from their surroundings at least by a known share of what it differs itself, whatever the object. A pixel that
    stands out by `threshold` and breaks this rule is flagged.
    """

    fwhm: Annotated[
        float,
        {
            "min": 0.8,
            "max": 20.0,
            "why": "a sharper spot cannot be told from a hot pixel",
            "unit": "px",
            "tooltip": "Full width at half height of the sharpest real spot",
        },
    ] = 1.5
    threshold: Annotated[
        float, {"min": 1.0, "unit": "σ", "tooltip": "How far a pixel stands out of its surroundings at least"}
    ] = 5.0

    @property
    def least_beside(self) -> float:
        """What the mean of two opposite neighbours has at least of a pixel's own difference from its surroundings."""
        return math.exp(-4 * math.log(2) / self.fwhm**2)

    def find(self, values: Array, known: npt.NDArray[np.bool_], law: NoiseLaw | None) -> npt.NDArray[np.bool_]:
        """Return which elements of a frame are outliers.

        Parameters
        ----------
        values : array
            (C, *spatial), finite where known; of a volume each plane is looked at by itself.
        known : array of bool
            Shaped as values.
        law : NoiseLaw or None
            Of the values; None: told from them.
        """
        y, sure, noise = _scaled(values, known, law)
        if noise is None:
            return np.zeros_like(known)
        planes, sure_planes = (t.reshape(-1, *t.shape[-2:]) for t in (y, sure))
        per_channel = planes.shape[0] // y.shape[0]
        slope = noise.gain.clamp(min=0)  # of an even ground it is chance
        gain, floor = (t.repeat_interleave(per_channel).view(-1, 1, 1) for t in (slope, noise.floor))
        least = 0.05 * noise.mean.repeat_interleave(per_channel).view(-1, 1, 1)
        flagged = torch.zeros_like(sure_planes)
        for _ in range(ROUNDS):
            below, middle, above = _around(planes, sure_planes & ~flagged)
            own, ground = (torch.maximum(gain * at + floor, least) for at in (planes, middle))
            if noise.map is not None:
                own = ground = noise.map.reshape(planes.shape)
            own, sure_ones = torch.maximum(own, ground), sure_planes & ~flagged
            is_calm = above - below < CALM * ground.sqrt()
            base = torch.where(is_calm, middle, below)  # beside structure the median is no ground
            new = self._sharp(planes, base, sure_ones, own, ground)
            new |= is_calm & self._sharp(-planes, -middle, sure_ones, own, ground)
            flagged |= new
            if not bool(new.any()):
                break
        beside = F.max_pool2d(flagged.float(), 3, 1, 1) > 0
        standing = (planes - middle).abs() > self.threshold * ground.sqrt()
        flagged |= beside & standing & sure_planes  # the rest of a track
        found: npt.NDArray[np.bool_] = flagged.reshape(y.shape).numpy()
        return found

    def _sharp(self, planes: Tensor, base: Tensor, known: Tensor, variance: Tensor, ground: Tensor) -> Tensor:
        """Return which elements stand out of the ground's noise, above the base, and are too sharp, (planes, Y, X)."""
        flagged = torch.zeros_like(known)
        share = SLACK * self.least_beside
        excess = planes - base
        for offsets in BESIDE:
            total, count, spread = (
                torch.stack([_shifted(t, offset) for offset in offsets]).sum(0)
                for t in (planes * known, known.float(), variance * known)
            )
            beside, error = total / len(offsets) - base, spread.sqrt() / len(offsets)
            lacking = share * excess - beside > SURE * (share**2 * variance + error**2).sqrt()
            is_ground = beside > -SURE * error  # else a fine pattern, and no spot on a ground
            flagged |= known & lacking & is_ground & (count == len(offsets))
        return flagged & (excess > self.threshold * ground.sqrt())


def _scaled(
    values: Array, known: npt.NDArray[np.bool_], law: NoiseLaw | None
) -> tuple[Tensor, Tensor, NoiseModel | None]:
    """Return the values around 0, which of them are known, and their noise in these units."""
    chosen = [v[k].astype(np.float64) if k.any() else np.zeros(1) for v, k in zip(values, known, strict=True)]
    ends = [np.percentile(one, (25, 50, 99)) for one in chosen]
    low, middle, high = np.array(ends, np.float64).T
    gain = np.maximum(high - low, np.finfo(np.float32).tiny)
    shape = (-1,) + (1,) * (values.ndim - 1)
    clean = np.where(known, values, 0).astype(np.float64)
    y = torch.from_numpy(np.where(known, (clean - middle.reshape(shape)) / gain.reshape(shape), 0).astype(np.float32))
    sure = torch.from_numpy(np.ascontiguousarray(known))
    noise = _told(y, sure) if law is None else model_of(law, y, sure, offset=middle, gain=gain)
    if noise is None or not bool((noise.mean > 0).any()):
        return y, sure, None
    return y, sure, noise


def _told(y: Tensor, known: Tensor) -> NoiseModel | None:
    """Return the noise of the ground: whatever stands out of it, spots and outliers alike, would be taken for noise."""
    planes, sure = (t.reshape(-1, *t.shape[-2:]) for t in (y, known))
    excess = (planes - _around(planes, sure)[1]).abs().masked_fill(~sure, torch.nan)
    usual = excess.flatten(1).nanmedian(1).values.view(-1, 1, 1) / MEDIAN_OF_NORMAL
    standing = F.max_pool2d((excess > STANDING * usual).float(), 3, 1, 1) > 0
    told = estimate_noise(y, known & ~standing.reshape(known.shape))
    if told is not None:
        return told
    flat = usual.reshape(y.shape[0], -1).nanmedian(1).values.square()  # no ground is large enough for more
    return NoiseModel(torch.zeros_like(flat), flat, flat) if bool(flat.isfinite().all()) else None


def _around(planes: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the quartiles of the known elements in `AREA` x `AREA` px around each, (planes, Y, X); 0 where none is."""
    reach = AREA // 2
    padded = F.pad(planes.masked_fill(~known, torch.inf), [reach] * 4, value=torch.inf)
    strips = []
    for top in range(0, planes.shape[-2], STRIP):
        strip = padded[:, top : min(top + STRIP, planes.shape[-2]) + 2 * reach]
        around = strip.unfold(1, AREA, 1).unfold(2, AREA, 1).flatten(-2).sort(-1).values  # the unknown come last
        count = around.isfinite().sum(-1, keepdim=True)
        chosen = torch.cat([(count - 1).clamp(min=0) * quarter // 4 for quarter in (1, 2, 3)], -1)
        strips.append(around.gather(-1, chosen))
    below, middle, above = torch.cat(strips, 1).nan_to_num(posinf=0.0).unbind(-1)
    return below, middle, above


def _shifted(planes: Tensor, offset: tuple[int, int]) -> Tensor:
    """Return planes whose element (y, x) is the one at (y, x) + offset; 0 outside."""
    down, right = offset
    padded = F.pad(planes, (1, 1, 1, 1))
    height, width = planes.shape[-2:]
    return padded[..., 1 + down : 1 + down + height, 1 + right : 1 + right + width]
