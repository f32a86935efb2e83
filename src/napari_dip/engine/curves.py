"""When values are stretched before a fit: where noise is much stronger in bright places than in dark ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from napari_dip.engine.blocks import Axes, Missing, Scale
from napari_dip.engine.correlation import HIGH_PASS, block_means
from napari_dip.engine.estimation import estimate_noise
from napari_dip.engine.exposures import SeriesNoise
from napari_dip.engine.noise import NoiseLaw, NoiseRecord, VarianceMap, record_of
from napari_dip.engine.problem import Array
from napari_dip.engine.stabilising import Curve

WIDE = 6.0  # times the variance in dark places: where it is more in bright ones, values are stretched
SIDE = 8  # px, of the blocks whose means say how dark and bright
DARK, BRIGHT = 0.01, 0.99  # quantiles of the blocks
FEWEST = 50  # blocks
SURE = 0.25  # of the variance in dark places: what the law says of the darkest block is believed down to that
MOST = 8  # frames that are looked at

Marks = npt.NDArray[np.bool_]


class _Light(NamedTuple):
    """How dark and how bright a channel is in places, its darkest block, and its largest value."""

    dark: float
    bright: float
    darkest: float
    largest: float


def curves_of(
    image: Any, axes: Axes, missing: Missing, scale: Scale, law: NoiseLaw | None, series: SeriesNoise | None
) -> tuple[Curve, ...]:
    """Return a curve for each channel where one of them has a wide range of noise; else none.

    Parameters
    ----------
    image, axes, missing, scale
        The source, with all channels of a frame together, and its linear scale.
    law : NoiseLaw, optional
        In the image's units; None: told from frames, `series`, or else from the frame of which most is known.
    """
    if isinstance(law, VarianceMap) or (law is not None and not law.slope > 0):
        return ()
    looked = _look(image, axes, missing)
    laws = None if looked is None else _laws(looked, scale, law, series)
    if looked is None or laws is None:
        return ()
    lights = looked.lights
    if axes.is_colour:  # one curve, as one scale
        laws = [tuple(np.mean(laws, 0).tolist())] * len(laws)
        parts = zip(*lights, strict=True)
        lights = [_Light(*(pick(part) for pick, part in zip((min, max, min, max), parts, strict=True)))] * len(lights)
    curves, is_wide = [], False
    for (slope, at_zero), light in zip(laws, lights, strict=True):
        if not slope > 0:
            return ()
        start = light.dark if law is None else max(light.dark, -at_zero / slope)  # where a given law begins
        dark, bright = slope * start + at_zero, slope * light.bright + at_zero
        if not bright > 0 or (law is None and not dark > 0):
            return ()
        is_wide |= bright > WIDE * dark
        is_sure = slope * light.darkest + at_zero > SURE * dark > 0  # the law is less so towards the dark
        curves.append(Curve(float(slope), float(at_zero), light.darkest if is_sure else start, light.largest))
    return tuple(curves) if is_wide else ()


def unstretched(record: NoiseRecord, curves: tuple[Curve, ...], light: Array, known: Marks) -> NoiseRecord:
    """Return a record of stretched values' noise, whose variance should be 1, as one of the image's.

    Parameters
    ----------
    light, known : array
        (C, *spatial): the image without its noise, in its units, and which of its elements count.
    """
    slope = tuple(sigma**2 * curve.slope for sigma, curve in zip(record.sigma, curves, strict=True))
    at_zero = tuple(sigma**2 * curve.at_zero for sigma, curve in zip(record.sigma, curves, strict=True))
    variances = [
        np.clip(a * values[sure] + b, 0, None) for a, b, values, sure in zip(slope, at_zero, light, known, strict=True)
    ]
    sigma = tuple(float(np.sqrt(variance.mean())) if variance.size else 0.0 for variance in variances)
    return NoiseRecord(slope, at_zero, sigma, record.source)


class _Look(NamedTuple):
    """What some frames show: the light of each channel, and the frame of which most is known."""

    lights: list[_Light]
    values: Array
    known: Marks


def _look(image: Any, axes: Axes, missing: Missing) -> _Look | None:
    """Return what up to `MOST` frames show, one after the other; None where too little is known."""
    frames = list(axes.frames())
    chosen = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, MOST).astype(int))]
    means: list[list[Array]] = [[] for _ in range(axes.channels)]
    largest, most, best = [-np.inf] * axes.channels, -1, None
    for frame in chosen:
        values = axes.take(image, frame)
        known = ~missing.find(values, frame)
        for channel, (plane, sure) in enumerate(zip(values.astype(np.float32), known, strict=True)):
            filled = torch.from_numpy(np.where(sure, plane, 0))
            means[channel].append(block_means(filled, torch.from_numpy(sure), SIDE, len(HIGH_PASS)).double().numpy())
            largest[channel] = max(largest[channel], float(plane.max(initial=-np.inf, where=sure)))
        if int(known.sum()) > most:
            most, best = int(known.sum()), (values, known)
    lights = []
    for parts, top in zip(means, largest, strict=True):
        levels = np.concatenate(parts)
        if len(levels) < FEWEST:
            return None
        dark, bright = np.quantile(levels, (DARK, BRIGHT)).tolist()
        lights.append(_Light(dark, bright, float(levels.min()), top))
    return None if best is None else _Look(lights, *best)


def _laws(
    looked: _Look, scale: Scale, law: NoiseLaw | None, series: SeriesNoise | None
) -> list[tuple[float, float]] | None:
    """Return slope and variance at zero of each channel's noise; None where it cannot be told, or is correlated."""
    if law is not None:
        return [(law.slope, law.at_zero)] * len(looked.values)
    told = series.noise if series else None
    if told is None:
        y = torch.from_numpy(scale.apply(looked.values, looked.known))
        told = estimate_noise(y, torch.from_numpy(looked.known))
    if told is None or told.correlation is not None:
        return None
    record = record_of(told, offset=scale.offset, gain=scale.gain, source="")
    return list(zip(record.slope, record.at_zero, strict=True))
