"""The noise told from one image: within a few per cent of what was put in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_dip.engine.correlation import blocks_of
from napari_dip.engine.noise import BLOCK, QUANTILE, QUANTILE_OF_WHITE, NoiseModel, estimate_noise


def smooth(size=160):
    y, x = np.mgrid[:size, :size] / size
    return 0.2 + 0.6 * np.exp(-((x - 0.5) ** 2 + (y - 0.4) ** 2) / 0.05)


def test_the_quantile_of_white_noise_is_what_the_code_says():
    noise = torch.randn(1600, 1600, generator=torch.Generator().manual_seed(1))
    power = blocks_of(noise, torch.ones_like(noise, dtype=torch.bool), BLOCK).power
    assert float(power.quantile(QUANTILE)) == pytest.approx(QUANTILE_OF_WHITE, rel=0.005)


@pytest.mark.parametrize("sigma", [0.01, 0.1, 0.4])
def test_white_noise_is_found_within_five_per_cent(sigma):
    noisy = smooth() + np.random.default_rng(0).normal(0, sigma, (160, 160))
    model = estimate_noise(torch.from_numpy(noisy.astype(np.float32))[None])
    assert float(model.mean.sqrt()) == pytest.approx(sigma, rel=0.05)


def test_shot_noise_grows_with_the_light_as_it_was_made_to():
    clean, gain, read = smooth(256), 0.02, 0.01
    rng = np.random.default_rng(1)
    noisy = gain * rng.poisson(clean / gain) + rng.normal(0, read, clean.shape)
    model = estimate_noise(torch.from_numpy(noisy.astype(np.float32))[None])
    levels = torch.tensor([[[0.25, 0.5, 0.75]]])
    assert np.allclose(model.variance(levels), gain * levels + read**2, rtol=0.12)


def test_each_channel_has_its_own_noise():
    rng = np.random.default_rng(0)
    noisy = np.stack([smooth() + rng.normal(0, sigma, (160, 160)) for sigma in (0.02, 0.2)])
    model = estimate_noise(torch.from_numpy(noisy.astype(np.float32)))
    assert np.allclose(model.mean.sqrt(), [0.02, 0.2], rtol=0.05)


def test_unknown_pixels_have_no_say():
    noisy = torch.from_numpy((smooth() + np.random.default_rng(0).normal(0, 0.1, (160, 160))).astype(np.float32))[None]
    known = torch.ones_like(noisy, dtype=torch.bool)
    known[:, 40:70, 40:90] = False
    other = torch.where(known, noisy, 1e5)
    one, two = (estimate_noise(y, known) for y in (noisy, other))
    assert torch.equal(one.gain, two.gain)
    assert torch.equal(one.mean, two.mean)


@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 8, 300), (1, 33, 40)])
def test_of_too_little_nothing_is_told(shape):
    assert estimate_noise(torch.rand(shape)) is None


def test_where_most_blocks_have_a_hole_nothing_is_told():
    known = torch.rand(1, 128, 128, generator=torch.Generator().manual_seed(0)) > 0.3
    assert estimate_noise(torch.rand(1, 128, 128), known) is None


def test_a_constant_image_has_no_noise():
    model = estimate_noise(torch.full((2, 128, 128), 0.5))
    assert float(model.mean.abs().max()) < 1e-10


def test_the_variance_is_never_far_under_its_mean():
    model = NoiseModel(torch.tensor([1.0]), torch.tensor([-0.5]), torch.tensor([0.2]))
    assert float(model.variance(torch.zeros(1, 1, 1))) == pytest.approx(0.01)


def test_a_volume_is_measured_plane_by_plane():
    noisy = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.1
    assert float(estimate_noise(noisy).mean.sqrt()) == pytest.approx(0.1, rel=0.06)
