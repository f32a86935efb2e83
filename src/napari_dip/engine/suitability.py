"""Whether the deep image prior is the right tool for an image: told before the fit, from the image alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from napari_dip.engine.blocks import Axes, Missing, measure_scale, name_axes
from napari_dip.engine.correlation import reach
from napari_dip.engine.estimation import estimate_noise
from napari_dip.engine.exposures import noise_of_series
from napari_dip.engine.noise import NoiseModel
from napari_dip.engine.problem import Array

SIDE = 1024  # px: of a larger plane the middle is looked at
CLEAN = 100.0  # spread of nine tenths of the values over noise: more leaves little to gain
FAINT = 1.05  # deviation of all values over that of the noise: less shows hardly any structure
PILED = 0.001  # of the values at the largest one: more are saturated
MANY = 20  # images of one kind: enough to train a network on


@dataclass(frozen=True)
class Suitability:
    """What speaks for and against a fit.

    Attributes
    ----------
    against : tuple of str
        What speaks against it, each in a sentence; empty where it is suitable.
    hints : tuple of str
        What to do before or instead, for a better result.
    sigma : tuple of float
        Standard deviation of each channel's noise, in the image's units; empty where it cannot be told.
    signal_to_noise : float or None
        Range of the image, from its 0.1 to its 99.9 percentile, in units of the noise; of channels the median.
    """

    against: tuple[str, ...]
    hints: tuple[str, ...]
    sigma: tuple[float, ...]
    signal_to_noise: float | None

    def __str__(self) -> str:
        """Return a word and the numbers: "suitable (noise 12.1, range 18 times that)"."""
        word = "think twice" if self.against else "suitable"
        if self.signal_to_noise is None:
            return word
        sigma = ", ".join(f"{value:.3g}" for value in self.sigma)
        return f"{word} (noise {sigma}; the range is {self.signal_to_noise:.0f} times that)"


def check(image: Any, axes: str | None = None, *, missing: Any = None, saturation: float | None = None) -> Suitability:
    """Return what speaks for and against restoring an image; takes a second at most.

    Parameters
    ----------
    image, axes, missing, saturation
        As for `restore`. Of a stack, the middle plane is looked at, and of frames of one
        scene a few, for the noise.

    Raises
    ------
    ValueError
        When image and axes do not go together, or no pixel is known.
    """
    image = image if hasattr(image, "shape") and hasattr(image, "dtype") else np.asarray(image)
    named = name_axes(axes, tuple(image.shape), "Z")
    masks = () if missing is None else (named.broadcast(missing),)
    gaps = Missing(named, masks, saturation)
    frames = list(named.frames())
    frame = frames[len(frames) // 2]
    values = _middle(named.take(image, frame))  # (C, Y, X)
    known = ~_middle(gaps.find(named.take(image, frame), frame))
    if not known.any():
        raise ValueError("No pixel is known: the mask, NaN, infinity or saturation cover the whole plane")
    scale = measure_scale(values, Axes("CYX", values.shape), Missing(Axes("CYX", values.shape), (~known,)))
    y = torch.from_numpy(scale.apply(values, known))
    series = noise_of_series(image, named, gaps, scale)
    sure = torch.from_numpy(known)
    noise = (series.of(named, frame, y, sure) if series else None) or estimate_noise(y, sure)
    sigma = () if noise is None else tuple(float(s) for s in scale.gain * noise.mean.sqrt().double().numpy())
    ratios = [1 / s for s in ([] if noise is None else noise.mean.sqrt().tolist()) if s > 0]
    ratio = float(np.median(ratios)) if ratios else None
    against = _against(noise, y.numpy()[known])
    hints = (*_of_the_correlation(noise), *_of_the_range(values, known), *_of_the_number(named))
    return Suitability(against, hints, sigma, ratio)


def _against(noise: NoiseModel | None, values: Array) -> tuple[str, ...]:
    if values.min() == values.max():
        return ("All values are the same: there is nothing to restore.",)
    if noise is None:
        return ("The noise cannot be told: fewer than 24 blocks of 8 x 8 px are wholly known. There is no pilot.",)
    low, high = np.percentile(values, [5, 95])  # without the brightest: faint structure counts too
    sigma = float(noise.mean.clamp(min=0).sqrt().median())
    if high - low > CLEAN * sigma:
        return (f"There is hardly any noise: most values are spread over more than {CLEAN:.0f} times it.",)
    if values.std() < FAINT * sigma:
        return ("There is hardly any structure above the noise: average several exposures, or bin, first.",)
    return ()


def _of_the_correlation(noise: NoiseModel | None) -> list[str]:
    near = reach(noise.correlation if noise else None)
    if not any(near):
        return []
    return [
        f"The noise is correlated, up to {near[0]} px along y and {near[1]} px along x: restore the image before it is "
        "interpolated, demosaiced or registered, if you can."
    ]


def _of_the_range(values: Array, known: Array) -> list[str]:
    largest = values[known].max()
    share = float((values[known] == largest).mean())
    if share <= PILED or values[known].min() == largest:
        return []
    return [
        f"{100 * share:.1f} % of the values are at the largest one, {largest:g}: if they are saturated, say so "
        f"(saturation {largest:g}), and they influence nothing."
    ]


def _of_the_number(axes: Axes) -> list[str]:
    said = []
    exposures = axes.size("T") if "T" in axes.letters else 1
    if exposures > 1:
        said.append(
            f"There are {exposures} exposures along T: where nothing moves, restore them together, as frames of one "
            f"scene, which makes the noise {exposures**0.5:.1f} times weaker."
        )
    count = int(np.prod([axes.shape[axis] for axis in axes.repeated if axes.letters[axis] != "Z"], initial=1))
    if count >= MANY:
        said.append(f"There are {count} images: a network trained on them all will do better, and sooner.")
    return said


def _middle(values: Array) -> Array:
    cut = [slice(max(0, (n - SIDE) // 2), max(0, (n - SIDE) // 2) + SIDE) for n in values.shape[-2:]]
    return values[..., cut[0], cut[1]]
