"""How strong the noise is, told from the differences of frames of one scene: what stands still cancels in them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dip.engine.blocks import Axes, Frame, Missing, Scale
from napari_dip.engine.correlation import LAGS, autocorrelation
from napari_dip.engine.estimation import BLOCK, FEWEST, model_of_levels
from napari_dip.engine.noise import NoiseModel, linear_model
from napari_dip.engine.sampling import part_of

PLACES = 3  # of a series that are looked at: two or three neighbouring frames each
SIDE = 512  # px: of a larger plane the middle is looked at
NO_SERIES = "ZC"  # planes and channels show other things than their neighbours
GROWTH = 1.1  # of the power of the differences from next frames to those after: more, and the scene moves
MOST = 1.1  # times the variance told from frames one by one, which structure only adds to: more, and the scene moves
LEAST = 0.01  # times that: less, and the frames are copies of each other
ALIKE = 0.65  # of the common variance that every frame has at least by itself: else its noise is another
STILL = 2.0  # times the variance of a first model, in a block: more, and something moves there; of noise it is 5 σ
ROUNDS = 5  # of the weighted line through the blocks


@dataclass(frozen=True, eq=False)
class SeriesNoise:
    """The noise of all frames of a series.

    Attributes
    ----------
    noise : NoiseModel
        Of all channels, scaled as the run's.
    frames : int
        How many of them told it.
    """

    noise: NoiseModel
    frames: int

    def of(self, axes: Axes, frame: Frame, y: Tensor, known: Tensor) -> NoiseModel | None:
        """Return the noise of one frame, y, (C, *spatial): of its channel, where each channel is one.

        None where the frame has less: it is no frame of that series, or was made otherwise.
        """
        noise = self.noise
        for axis, position in zip(axes.repeated, frame, strict=True):
            if axes.letters[axis] == "C":
                noise = noise.of_channels(slice(position, position + 1))
        part = part_of(y.detach()).float().cpu()
        common, own = (
            linear_model(noise.gain, noise.floor, y, known, noise.correlation),
            model_of_levels(part, part, part_of(known).cpu(), noise.correlation),
        )
        return common if own is not None and bool((own.mean >= ALIKE * common.mean).all()) else None


def noise_of_series(image: Any, axes: Axes, missing: Missing, scale: Scale) -> SeriesNoise | None:
    """Return the noise of an image that has several frames of one scene; None where it has none that agree.

    Of the difference of two frames over √2, blocks tell the variance as those of one image do (`model_of_levels`), at
    the intensity of the frames' mean. Where something moves, the calmer blocks of an intensity tell. Frames agree where
    differences grow no larger from next frames to those after, and are no larger than a single frame's own noise.

    Parameters
    ----------
    image, axes, missing, scale
        As in a run, channels together. A few frames are read, of large ones the middle, of volumes one plane.
    """
    along = _series(axes)
    if along is None:
        return None
    groups = [_read(image, axes, dataclasses.replace(missing, outliers=None), scale, f) for f in _places(axes, along)]
    groups = [group for group in groups if bool(group[1].flatten(1).any(1).all())]
    if not groups:
        return None
    y, known = (torch.stack(parts, 2) for parts in zip(*groups, strict=True))  # (frames, C, places, Y, X)
    told = _agreed(y, known)
    return None if told is None else SeriesNoise(told, len(y) * len(groups))


def noise_of_frames(y: Tensor, known: Tensor, *, is_checked: bool = True) -> NoiseModel | None:
    """Return the noise of each of several frames that show one scene; None where too little of them is known.

    Parameters
    ----------
    y, known : Tensor
        (frames, C, Y, X).
    is_checked : bool
        None too where the frames do not agree, as in `noise_of_series`.
    """
    y, known = y[:, :, None], known[:, :, None]
    return _agreed(y, known) if is_checked else _difference(y, known, 1)


def _agreed(y: Tensor, known: Tensor) -> NoiseModel | None:
    """Return the noise of frames, (frames, C, places, Y, X), that agree; None: they do not."""
    told = None if torch.equal(y[0], y[1]) else _difference(y, known, 1)
    single = None if told is None else _one_by_one(y, known, told.correlation)
    if told is None or single is None or bool((told.mean < LEAST * single.mean(0)).any()):
        return None
    is_still = bool((told.mean <= MOST * single.mean(0)).all() and (single >= ALIKE * told.mean).all())
    if len(y) > 2 and (later := _difference(y, known, 2)) is not None:
        is_still = is_still and bool((later.mean <= GROWTH * told.mean).all())
    return told if is_still else None


def _series(axes: Axes) -> int | None:
    """Return the axis along which frames may show one scene: time, or the last other one."""
    found = [i for i in axes.repeated if axes.letters[i] not in NO_SERIES and axes.shape[i] > 1]
    times = [i for i in found if axes.letters[i] == "T"]
    return next(iter(times or reversed(found)), None)


def _places(axes: Axes, along: int) -> list[list[Frame]]:
    """Return groups of neighbouring frames, spread over the series, none in two; the other axes' in the middle."""
    size = axes.shape[along]
    count = min(3, size)
    starts = np.unique(np.linspace(0, size - count, min(PLACES, size // count)).astype(int))
    return [
        [
            tuple(int(start) + step if axis == along else axes.shape[axis] // 2 for axis in axes.repeated)
            for step in range(count)
        ]
        for start in starts
    ]


def _read(image: Any, axes: Axes, missing: Missing, scale: Scale, frames: list[Frame]) -> tuple[Tensor, Tensor]:
    """Return frames and what is known of them, (frames, C, Y, X), scaled."""
    values, known = [], []
    for frame in frames:
        taken = axes.take(image, frame)
        sure = ~missing.find(taken, frame)
        cut = tuple(slice(max(0, (n - SIDE) // 2), max(0, (n - SIDE) // 2) + SIDE) for n in taken.shape[-2:])
        plane = (slice(None), *([taken.shape[1] // 2] if taken.ndim == 4 else []), *cut)
        values.append(torch.from_numpy(scale.apply(taken[plane], sure[plane])))
        known.append(torch.from_numpy(np.ascontiguousarray(sure[plane])))
    return torch.stack(values), torch.stack(known)


def _one_by_one(y: Tensor, known: Tensor, correlation: Tensor | None) -> Tensor | None:
    """Return the mean variance that each frame's noise seems to have by itself, (frames, C)."""
    each = [(one, sure) for at in range(len(y)) for one, sure in zip(y[at].unbind(1), known[at].unbind(1), strict=True)]
    found = [model_of_levels(one, one, sure, correlation) for one, sure in each]
    means = [model.mean for model in found if model is not None]
    return torch.stack(means) if len(means) == len(found) else None


def _difference(y: Tensor, known: Tensor, step: int) -> NoiseModel | None:
    """Return the noise told from frames and those so many later, y, (frames, C, places, Y, X)."""
    pairs = [(y[at], y[at + step], known[at] & known[at + step]) for at in range(len(y) - step)]
    difference, light, sure = (
        torch.cat(parts, 1)
        for parts in zip(*[((a - b) / 2**0.5, (a + b) / 2, both) for a, b, both in pairs], strict=True)
    )
    model = model_of_levels(difference, light, sure, None)
    if model is None:
        return None
    deviation = model.variance(light).clamp(min=1e-20).sqrt()
    correlation = autocorrelation(difference / deviation, sure)
    if correlation is not None:
        model = model_of_levels(difference, light, sure, correlation)
    return None if model is None else _refined(model, difference, light, sure)


def _refined(model: NoiseModel, difference: Tensor, light: Tensor, known: Tensor) -> NoiseModel:
    """Return a model told from all blocks that stand still by a first one: what is left of structure is not quantiled.

    Quantiles of high-passed blocks make little of the data, and are off where counts are few.
    """
    lost = _in_block_means(model.correlation)
    lines = []
    for channel, (d, lit, sure) in enumerate(zip(difference, light, known, strict=True)):
        planes, lights, sures = (t.reshape(-1, 1, *t.shape[-2:]).float() for t in (d, lit, sure))
        mean, square, x, share = (F.avg_pool2d(t, BLOCK) for t in (planes, planes.square(), lights, sures))
        gain, floor, least = (float(t[channel]) for t in (model.gain, model.floor, LEAST * model.mean))
        power = (square - mean.square()) / (1 - lost)
        still = (share > 1 - 1e-4) & (power < STILL * (gain * x + floor).clamp(min=least))
        if int(still.sum()) < FEWEST:
            lines.append([gain, floor, float(model.mean[channel])])
            continue
        x, power = x[still].double(), power[still].double()
        for _ in range(ROUNDS):
            weight = 1 / (gain * x + floor).clamp(min=least)
            design = torch.stack([x, torch.ones_like(x)], 1) * weight[:, None]
            gain, floor = torch.linalg.lstsq(design, (power * weight)[:, None]).solution[:, 0].tolist()
        lines.append([gain, floor, float((gain * x + floor).clamp(min=0).mean())])
    gain_, floor_, mean_ = torch.tensor(lines).unbind(1)
    return NoiseModel(gain_, floor_, mean_, model.correlation)


def _in_block_means(correlation: Tensor | None) -> float:
    """Return the share of the noise's variance that the means of blocks have."""
    if correlation is None:
        return 1 / BLOCK**2
    pairs = (BLOCK - torch.arange(-LAGS, LAGS + 1).abs()).float()
    return float((correlation * pairs[:, None] * pairs).sum()) / BLOCK**4
