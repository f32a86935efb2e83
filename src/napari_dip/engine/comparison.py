"""Whether a fit was worth its time: cheap denoisers judged by the same held-out pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle
from torch import Tensor

from napari_dip.engine.bands import bands
from napari_dip.engine.pilot import Pilot
from napari_dip.engine.problem import Array

LARGEST = 512  # px a side: of a larger plane, the middle tells
STRENGTHS = (0.1, 0.2, 0.35, 0.6)  # weights of total variation tried, in multiples of the noise times ten
SURE = 2.0  # standard errors: a smaller gain may be chance


@dataclass(frozen=True)
class Gain:
    """By how much a result is better than another, at pixels that neither has seen.

    Attributes
    ----------
    over : str
        The other method.
    gain, error : float
        Its mean squared error minus the result's, and the standard error of that: both in units of the noise's
        variance.
    """

    over: str
    gain: float
    error: float

    @property
    def is_sure(self) -> bool:
        return self.gain > SURE * self.error

    @property
    def words(self) -> str:
        """What is to be said where it is not sure."""
        if self.gain < -SURE * self.error:
            return f"At held-out pixels {self.over}, which takes seconds, is better than this result"
        return f"Held-out pixels cannot tell this result from that of {self.over}, which takes seconds"


def gains(pilot: Pilot, unseen: Tensor, weights: tuple[float, ...]) -> tuple[Gain, ...]:
    """Return the gains over non-local means, total variation and the pilot; none for volumes.

    Parameters
    ----------
    pilot : Pilot
        Its `filled` is what the others are given.
    unseen : Tensor
        What the fits gave before they saw the held-out elements, (C, Y, X).
    weights : tuple of float
        Of the pilot's `guide`, which has not seen them either.
    """
    if unseen.ndim != 3:
        return ()
    parts = zip(weights, bands(pilot.guide - unseen), strict=True)
    mixture = unseen + torch.stack([weight * part for weight, part in parts]).sum(0)
    y, held, filled, result, guide = (
        _middle(t) for t in (pilot.target, pilot.held, pilot.filled, mixture, pilot.guide)
    )
    if not held.any():
        return ()
    sigma = float(pilot.noise.mean.mean()) ** 0.5
    others = {
        "non-local means": _nlm(filled, sigma),
        "total variation": _tv(filled, y, held, sigma),
        "the pilot alone": guide,
    }
    return tuple(_gain(name, image, result, y, held, sigma) for name, image in others.items())


def _gain(name: str, other: Array, result: Array, y: Array, held: Array, sigma: float) -> Gain:
    differences = ((y - other)[held] ** 2 - (y - result)[held] ** 2) / sigma**2
    error = float(differences.std()) / len(differences) ** 0.5
    return Gain(name, round(float(differences.mean()), 5), round(error, 5))


def _middle(image: Tensor) -> Array:
    """Return the middle of a plane, (Y, X, C), on the CPU."""
    top, left = (max(0, (n - LARGEST) // 2) for n in image.shape[1:])
    cut = image[:, top : top + LARGEST, left : left + LARGEST]
    return np.ascontiguousarray(cut.cpu().numpy().transpose(1, 2, 0))


def _nlm(y: Array, sigma: float) -> Array:
    smooth = denoise_nl_means(y, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, channel_axis=-1)
    return np.asarray(smooth).reshape(y.shape)  # of a single channel it is lost


def _tv(filled: Array, y: Array, held: Array, sigma: float) -> Array:
    """Return the one of the strengths that errs least at the held-out elements: rather too good than too bad."""
    tried = [denoise_tv_chambolle(filled, weight=10 * sigma * strength, channel_axis=-1) for strength in STRENGTHS]
    errors = [float(((y - image)[held] ** 2).mean()) for image in tried]
    return np.asarray(tried[int(np.argmin(errors))])
