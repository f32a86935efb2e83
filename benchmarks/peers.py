"""Other denoisers that need no training data, each by a rule that does not see the truth.

A method whose name ends in "oracle" is tuned with the truth: how good it could be, not what a user gets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bm3d
import numpy as np
import torch
from skimage.restoration import calibrate_denoiser, denoise_nl_means, denoise_tv_chambolle, estimate_sigma
from torch import nn

from napari_dip.engine.problem import Array

WEIGHTS = np.geomspace(0.02, 1.0, 14)  # of total variation
STRENGTHS = (0.6, 0.8, 1.0, 1.2)  # of non-local means, in units of the noise

Peer = Callable[[Array, Array | None, float | None], Array]


def channels(image: Array) -> int | None:
    return -1 if image.ndim == 3 else None


def estimated(image: Array) -> float:
    return float(np.mean(estimate_sigma(image, channel_axis=channels(image))))


def bm3d_blind(noisy: Array, clean: Array | None, sigma: float | None) -> Array:
    """Return BM3D's, or CBM3D's, result with the noise told from the image by scikit-image's wavelet rule."""
    return _bm3d(noisy, estimated(noisy))


def bm3d_known(noisy: Array, clean: Array | None, sigma: float | None) -> Array:
    """Return BM3D's, or CBM3D's, result with the true noise; where that is unknown, with the estimate."""
    return _bm3d(noisy, sigma or estimated(noisy))


def _bm3d(noisy: Array, sigma: float) -> Array:
    return np.asarray((bm3d.bm3d_rgb if noisy.ndim == 3 else bm3d.bm3d)(noisy.astype(float), sigma))


def nlm(noisy: Array, clean: Array | None, sigma: float | None) -> Array:
    """Return the non-local means, as strong as the self-supervised loss likes it (Batson and Royer 2019)."""
    told = estimated(noisy)
    settings = {"h": [strength * told for strength in STRENGTHS], "sigma": [told], "channel_axis": [channels(noisy)]}
    fixed = {"patch_size": [5], "patch_distance": [6], "fast_mode": [True]}
    return np.asarray(calibrate_denoiser(noisy, denoise_nl_means, {**settings, **fixed})(noisy))


def tv(noisy: Array, clean: Array | None, sigma: float | None) -> Array:
    """Return the image of least total variation, as smooth as the self-supervised loss likes it."""
    settings = {"weight": list(WEIGHTS), "channel_axis": [channels(noisy)]}
    return np.asarray(calibrate_denoiser(noisy, denoise_tv_chambolle, settings)(noisy))


def tv_oracle(noisy: Array, clean: Array | None, sigma: float | None) -> Array:
    """Return the image of least total variation, as smooth as the truth likes it after a fit of gain and offset."""
    assert clean is not None

    def error(image: Array) -> float:
        design = np.stack([image.ravel(), np.ones(image.size)], 1)
        return float(np.linalg.lstsq(design, clean.ravel(), rcond=None)[1][0])

    images = [denoise_tv_chambolle(noisy, weight, channel_axis=channels(noisy)) for weight in WEIGHTS]
    return np.asarray(min(images, key=error))


def zs_n2n(noisy: Array, clean: Array | None, sigma: float | None, steps: int = 2000) -> Array:
    """Return what a small network makes of it that learns one half of the pixels from the other.

    Written from Y. Mansour, R. Heckel, "Zero-Shot Noise2Noise", CVPR 2023: two down-samplings by diagonal pairs,
    residual and consistency losses, three convolutions of 48 channels, Adam 0.001 halved every 1,000 steps.
    """
    y = torch.from_numpy(np.ascontiguousarray(np.atleast_3d(noisy).transpose(2, 0, 1), dtype=np.float32))[None]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        count = y.shape[1]
        net = nn.Sequential(
            nn.Conv2d(count, 48, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(48, 48, 3, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(48, count, 1),
        )  # fmt: skip
    y = y[..., : y.shape[2] // 2 * 2, : y.shape[3] // 2 * 2]
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1000, 0.5)
    halves = _halves(y)
    for _ in range(steps):
        clean_halves = [half - net(half) for half in halves]
        of_whole = _halves(y - net(y))
        residual = sum((clean_halves[i] - halves[1 - i]).square().mean() for i in (0, 1)) / 2
        consistency = sum((clean_halves[i] - of_whole[i]).square().mean() for i in (0, 1)) / 2
        optimizer.zero_grad()
        (residual + consistency).backward()
        optimizer.step()
        schedule.step()
    whole: Any = torch.from_numpy(np.ascontiguousarray(np.atleast_3d(noisy).transpose(2, 0, 1), dtype=np.float32))[None]
    with torch.no_grad():
        image = (whole - net(whole))[0].numpy().transpose(1, 2, 0)
    return np.asarray(image.reshape(noisy.shape))


def _halves(y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the means of the two diagonals of each 2 x 2 block."""
    return (y[..., ::2, ::2] + y[..., 1::2, 1::2]) / 2, (y[..., ::2, 1::2] + y[..., 1::2, ::2]) / 2


def deepinv_dip(noisy: Array, clean: Array | None, sigma: float | None, steps: int = 2500) -> Array:
    """Return the deep image prior of the package deepinv, which has no stop: the last of its 2,500 steps.

    Its convolutional decoder has the 64 channels of its own example; with the 256 that are its default a step takes
    sixteen times as long.
    """
    import deepinv  # of no other method's use, and large

    y = torch.from_numpy(np.ascontiguousarray(np.atleast_3d(noisy).transpose(2, 0, 1), dtype=np.float32))[None]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        size = tuple(y.shape[1:])
        decoder = deepinv.models.ConvDecoder(img_size=size, in_size=(4, 4), channels=64)
        prior = deepinv.models.DeepImagePrior(decoder, (64, 4, 4), iterations=steps, learning_rate=1e-2)
        image = prior(y, deepinv.physics.Denoising())
    return np.asarray(image.detach()[0].numpy().transpose(1, 2, 0).reshape(noisy.shape))


PEERS: dict[str, Peer] = {
    "bm3d": bm3d_blind,
    "bm3d known": bm3d_known,
    "nlm": nlm,
    "tv": tv,
    "tv oracle": tv_oracle,
    "zs-n2n": zs_n2n,
    "deepinv": deepinv_dip,
}
