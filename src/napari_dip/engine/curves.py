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
        In the image's units; None: told from frames, `series`, or else from the image's middle frame.
    """
    frames = list(axes.frames())
    chosen = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, MOST).astype(int))]
    values = [axes.take(image, frame) for frame in chosen]
    known = [~missing.find(one, frame) for one, frame in zip(values, chosen, strict=True)]
    laws = _laws(values[len(values) // 2], known[len(known) // 2], scale, law, series)
    lights = _lights(values, known, together=axes.is_colour)
    if laws is None or lights is None:
        return ()
    if axes.is_colour:  # one curve, as one scale
        laws = [tuple(np.mean(laws, 0).tolist())] * len(laws)
    curves, is_wide = [], False
    for (slope, at_zero), light in zip(laws, lights, strict=True):
        dark, bright = slope * light.dark + at_zero, slope * light.bright + at_zero
        if not (slope > 0 and dark > 0):
            return ()
        is_wide |= bright > WIDE * dark
        is_sure = slope * light.darkest + at_zero > SURE * dark  # the law is less so towards the dark
        curves.append(Curve(float(slope), float(at_zero), light.darkest if is_sure else light.dark, light.largest))
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


def _laws(
    values: Array, known: Marks, scale: Scale, law: NoiseLaw | None, series: SeriesNoise | None
) -> list[tuple[float, float]] | None:
    """Return slope and variance at zero of each channel's noise; None where it cannot be told, or is correlated."""
    if law is not None:
        return None if isinstance(law, VarianceMap) else [(law.slope, law.at_zero)] * len(values)
    y, sure = torch.from_numpy(scale.apply(values, known)), torch.from_numpy(known)
    told = series.noise if series else estimate_noise(y, sure)
    if told is None or told.correlation is not None:
        return None
    record = record_of(told, offset=scale.offset, gain=scale.gain, source="")
    return list(zip(record.slope, record.at_zero, strict=True))


def _lights(values: list[Array], known: list[Marks], *, together: bool) -> list[_Light] | None:
    """Return how dark and bright each channel is in places, all alike if `together`; None where too little is known."""
    lights = []
    for channel in range(len(values[0])):
        means, largest = [], -np.inf
        for one, sure in zip(values, known, strict=True):
            plane, marks = one[channel].astype(np.float32), sure[channel]
            told = block_means(
                torch.from_numpy(np.where(marks, plane, 0)), torch.from_numpy(marks), SIDE, len(HIGH_PASS)
            )
            means.append(told.double().numpy())
            largest = max(largest, float(plane[marks].max(initial=-np.inf)))
        levels = np.concatenate(means)
        if len(levels) < FEWEST:
            return None
        dark, bright = np.quantile(levels, (DARK, BRIGHT)).tolist()
        lights.append(_Light(dark, bright, float(levels.min()), largest))
    if together:
        of_all = _Light(
            *(pick(part) for pick, part in zip((min, max, min, max), zip(*lights, strict=True), strict=True))
        )
        lights = [of_all] * len(lights)
    return lights
