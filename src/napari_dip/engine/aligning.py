"""Frames of one scene laid upon each other: by how much each is displaced, and how it is moved back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import fourier_shift, gaussian_filter, shift
from scipy.signal.windows import tukey
from skimage.registration import phase_cross_correlation

from napari_dip.engine.problem import Array

Doubles = npt.NDArray[np.float64]
Marks = npt.NDArray[np.bool_]

ROUNDS = 3  # of registration, each with the mean of the others as it is by then
PARTS = 50  # of a pixel that displacements are told in
SOFT = 0.7  # px: standard deviation of a Gaussian that spares the registration the finest noise
FLAT = 0.1  # of the slopes that noise makes: where the scene adds less, there is nothing to register by
LEAST = 0.1  # px: smaller displacements are none
SURE = 6.0  # standard errors: smaller ones may be chance


def displacements(frames: Doubles, known: Marks) -> Doubles:
    """Return by how much each frame has to be moved to lie on the first, (frames, axes), in px; 0 where none is moved.

    Each is registered with the mean of the others, as they lie by then, faded out at the borders, by the maximum of the
    cross-correlation (M. Guizar-Sicairos et al., "Efficient subpixel image registration algorithms", Optics Letters 33,
    156, 2008). All are 0 where all are so small that noise may have made them.

    Parameters
    ----------
    frames, known : array
        (frames, C, *spatial); the channels are averaged.
    """
    planes = np.where(known, frames, 0).sum(1) / np.maximum(known.sum(1), 1)  # (frames, *spatial)
    window = _window(planes.shape[1:])
    raw, planes = planes, np.stack([gaussian_filter(plane, SOFT) for plane in planes])
    found = np.zeros((len(planes), planes.ndim - 1))
    for _ in range(ROUNDS):
        lying = np.stack([moved(plane, by) for plane, by in zip(planes, found, strict=True)])
        total = lying.sum(0)
        for index, one in enumerate(lying):
            pair = ((image - image.mean()) * window for image in ((total - one) / (len(planes) - 1), one))
            step, *_ = phase_cross_correlation(*pair, upsample_factor=PARTS, normalization=None)
            found[index] += step * (1 - 1 / len(planes))  # the others move too
        found -= found[0]
    is_sure = np.abs(found).max() > max(LEAST, SURE * _error(raw, found, window))
    return found if is_sure else np.zeros_like(found)


def _error(planes: Doubles, found: Doubles, window: Doubles) -> float:
    """Return the standard error that the displacement of two frames is told with, along the worse axis."""
    lying = np.stack([moved(plane, by) for plane, by in zip(planes, found, strict=True)])
    noise = float(lying.var(0, ddof=1).mean())
    slopes = [float(np.square(np.gradient(lying.mean(0), axis=axis)).mean()) for axis in range(window.ndim)]
    by_noise = noise / len(planes) / 2
    least = min(slopes) - by_noise
    if least <= FLAT * by_noise:
        return np.inf
    faded = float((window**4).sum() / (window**2).sum() ** 2)
    return float(np.sqrt(2 * noise / least * faded))


def _window(shape: tuple[int, ...]) -> Doubles:
    """Return a window that fades out over an eighth of each side."""
    window = np.ones(shape)
    for axis, size in enumerate(shape):
        window *= tukey(size + 2, 0.25)[1:-1].reshape([-1 if at == axis else 1 for at in range(len(shape))])
    return window


def moved(image: Doubles, by: Doubles) -> Doubles:
    """Return an image, (*spatial), moved by so many px along each axis: exact where it is band-limited.

    It is mirrored at its borders, so that nothing wraps around. A movement in Fourier space is a rotation: white noise
    stays white, and as strong as it was.
    """
    if not np.any(by):
        return image
    mirrored = np.pad(image, [(0, n) for n in image.shape], mode="symmetric")
    there = np.fft.ifftn(fourier_shift(np.fft.fftn(mirrored), by)).real
    return np.asarray(there[tuple(slice(0, n) for n in image.shape)])


def moved_known(known: Marks, by: Doubles) -> Marks:
    """Return what is known of an image, (*spatial), that was moved: not what came from outside, nor beside a gap."""
    if not np.any(by):
        return known
    return np.asarray(shift((~known).astype(float), by, order=1, mode="constant", cval=1.0) < 0.01)


def likeness(frames: Doubles, known: Marks, smooth: float) -> Doubles:
    """Return how each frame correlates with the mean of the others, (frames,), once both are smoothed.

    Parameters
    ----------
    frames, known : array
        (frames, C, *spatial), lying upon each other.
    smooth : float
        Standard deviation of a Gaussian, in px, so that noise does not decide.
    """
    values = np.where(known, frames, 0).sum(1) / np.maximum(known.sum(1), 1)
    values = np.stack([gaussian_filter(value, smooth) for value in values])
    values -= values.mean(tuple(range(1, values.ndim)), keepdims=True)
    found = []
    for value in values:
        others = values.sum(0) - value
        norm = np.sqrt(np.square(value).sum() * np.square(others).sum())
        found.append(float((value * others).sum() / norm) if norm > 0 else 1.0)
    return np.array(found)


def structure(frame: Array, noise: float, smooth: float) -> float:
    """Return the variance of a smoothed frame, (*spatial), in units of what smoothing leaves of white noise."""
    left = noise / (2 * smooth * np.sqrt(np.pi)) ** frame.ndim
    return float(gaussian_filter(frame, smooth).var() / max(left, 1e-20))
