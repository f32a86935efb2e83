"""Values that were clipped: the mean that clipping took is given back, and nothing is where none was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import napari_dip as dip
from napari_dip.engine.clipping import Clipping, find_clipping
from napari_dip.engine.noise import NoiseModel

SIGMA = 0.1
NONE = torch.tensor([torch.inf])


def white(sigma=SIGMA, channels=1):
    zeros = torch.zeros(channels)
    return NoiseModel(zeros, zeros + sigma**2, zeros + sigma**2)


def ramp(size=192):
    y, x = np.mgrid[:size, :size] / (size - 1)
    return torch.from_numpy((0.05 + 0.9 * x + 0.03 * np.sin(20 * y)).astype(np.float32))[None]


def noisy_version(clean, sigma=SIGMA, seed=0):
    return clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("level", [-0.05, 0.0, 0.08, 0.5, 0.9, 1.0, 1.1])
def test_the_expected_mean_is_that_of_many_clipped_values(level):
    many = noisy_version(torch.full((1, 1000, 1000), level)).clamp(0, 1)
    clipping = Clipping(torch.zeros(1), torch.ones(1), white())
    assert float(clipping.expected(torch.tensor([[[level]]]))) == pytest.approx(float(many.mean()), abs=4e-4)


@pytest.mark.parametrize("ends", [(0.0, 1.0), (-np.inf, 1.0), (0.0, np.inf)])
def test_undoing_is_the_inverse(ends):
    clipping = Clipping(*(torch.tensor([end]) for end in ends), white())
    clean = torch.linspace(0, 1, 301).view(1, 1, -1)
    assert torch.allclose(clipping.undone(clipping.expected(clean)), clean, atol=2e-3)


def test_beyond_what_is_possible_the_end_of_the_range_is_given():
    clipping = Clipping(torch.zeros(1), torch.ones(1), white())
    assert clipping.undone(torch.tensor([[[-0.2, 1.3]]])).flatten().tolist() == pytest.approx([0.0, 1.0])


def test_clipping_is_found_at_the_end_where_it_is():
    clean = torch.cat([ramp(), ramp() - 0.3, ramp() + 0.3])
    y = noisy_version(clean).clamp(0, 1)
    found = find_clipping(y, torch.ones_like(y, dtype=torch.bool), clean.clamp(0, 1), white(channels=3))
    assert found.low.tolist() == [0, 0, -torch.inf]
    assert found.high.tolist() == [1, torch.inf, 1]


def test_a_dark_background_without_noise_is_no_clipping_and_nor_are_a_few_bright_values():
    stars = torch.zeros(1, 128, 128)
    stars[:, ::16, ::16] = 1
    shot = NoiseModel(torch.tensor([0.01]), torch.tensor([1e-5]), torch.tensor([1e-4]))
    assert find_clipping(stars, torch.ones_like(stars, dtype=torch.bool), stars, shot) is None
    counts = torch.poisson(torch.full((1, 128, 128), 0.7), torch.Generator().manual_seed(0)) * 0.1
    shot = NoiseModel(torch.tensor([0.1]), torch.tensor([1e-5]), torch.tensor([0.007]))
    assert find_clipping(counts, torch.ones_like(counts, dtype=torch.bool), torch.full_like(counts, 0.07), shot) is None
    y = noisy_version(ramp())
    assert find_clipping(y, torch.ones_like(y, dtype=torch.bool), ramp(), white()) is None


def test_a_restored_image_has_its_bright_values_back_and_a_residual_without_them():
    clean = 255 * ramp(160)[0].numpy()
    rng = np.random.default_rng(0)
    y = np.clip(np.round(clean + 25 * rng.normal(size=clean.shape)), 0, 255).astype(np.uint8)
    result = dip.restore(y, preset="quick", max_steps=120)
    bright = clean > 235
    assert y[bright].mean() < clean[bright].mean() - 3
    assert abs(result.image[bright].mean() - clean[bright].mean()) < 0.5 * (clean[bright].mean() - y[bright].mean())
    assert abs(result.residual[bright].mean()) < 1
    assert result.fits[-1].clipped
    assert any("clipped" in note for note in result.notes)


def test_a_channel_of_which_nothing_is_known_is_no_hindrance():
    y = torch.cat([noisy_version(ramp()).clamp(0, 1)] * 2)
    known = torch.ones_like(y, dtype=torch.bool)
    known[1] = False
    found = find_clipping(y, known, torch.cat([ramp()] * 2), white(channels=2))
    assert found.high.tolist() == [1, torch.inf]
