"""Planes of a volume: those that are alike help each other, and nothing else changes."""

from __future__ import annotations

import math

import pytest
import torch

from napari_dip.engine.collaborative import collaborative_in_strips
from napari_dip.engine.correlation import LAGS
from napari_dip.engine.noise import NoiseModel
from napari_dip.engine.planes import likeness
from napari_dip.engine.ridge import nl_ridge, nl_ridge_in_strips
from napari_dip.engine.work import finished


def ball(planes=8, side=48, rise=0.1):
    """A textured ball, (1, Z, Y, X), whose texture moves by `rise` of its period from plane to plane."""
    z, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in (planes, side, side)), indexing="ij")
    far = ((y - side / 2) ** 2 + (x - side / 2) ** 2 + (z - planes / 2) ** 2).sqrt()
    texture = 0.2 * torch.sin(2 * math.pi * (x / 7 + y / 11 + rise * z))
    return ((0.5 + texture) * torch.sigmoid(side / 3 - far))[None]


def white(sigma, channels=1):
    return NoiseModel(torch.zeros(channels), *(2 * [torch.full((channels,), sigma**2)]))


def noisy(clean, sigma=0.1, seed=0):
    return clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))


def error(x, clean):
    return float((x - clean).square().mean())


@pytest.mark.parametrize("denoiser", [nl_ridge_in_strips, collaborative_in_strips])
def test_planes_that_are_alike_help_each_other(denoiser):
    clean = ball()
    y = noisy(clean)
    together = finished(denoiser(y, white(0.1)))
    apart = torch.stack([finished(denoiser(plane, white(0.1))) for plane in y.unbind(1)], 1)
    assert error(together, clean) < 0.8 * error(apart, clean)


def test_planes_that_are_not_alike_are_done_one_by_one():
    volume = torch.stack([noisy(ball()[:, 4]), noisy(ball()[:, 4].mT.flip(1), seed=1)], 1)
    assert abs(likeness(volume, white(0.1))) < 0.2
    restored = nl_ridge(volume, white(0.1), 1)
    assert torch.equal(restored[:, 1], nl_ridge(volume[:, 1], white(0.1), 1))


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.2])
def test_likeness_does_not_depend_on_the_noise(sigma):
    clean = ball()
    assert likeness(noisy(clean, sigma), white(sigma)) == pytest.approx(likeness(clean, white(1e-6)), abs=0.1)


def test_noise_that_is_correlated_within_planes_makes_them_no_less_alike():
    kernel = torch.zeros(2 * LAGS + 1, 2 * LAGS + 1)
    kernel[LAGS, LAGS - 1 : LAGS + 2] = torch.tensor([0.5, 1, 0.5])
    law = NoiseModel(torch.zeros(1), torch.full((1,), 0.01), torch.full((1,), 0.01), kernel)
    clean = ball()
    y = clean + law.draw(clean, torch.randn(clean.shape, generator=torch.Generator().manual_seed(2)))
    assert likeness(y, law) == pytest.approx(likeness(clean, white(1e-6)), abs=0.15)


def test_channels_stay_apart_and_one_without_noise_stays_as_it_is():
    clean = torch.cat([ball(), 1 - ball()])
    y = noisy(clean)
    y[1] = clean[1]
    variance = torch.tensor([0.01, 0.0])
    restored = nl_ridge(y, NoiseModel(torch.zeros(2), variance, variance))
    assert torch.equal(restored[1], clean[1])
    assert torch.equal(restored[:1], nl_ridge(y[:1], white(0.1)))


def test_a_map_of_the_variance_goes_with_the_planes():
    clean = ball()
    sigma = torch.linspace(0.02, 0.3, 8)[:, None, None].expand(1, 8, 48, 48)
    y = clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))
    mean = sigma.square().mean()[None]
    mapped, flat = NoiseModel(mean * 0, mean, mean, map=sigma.square()), white(float(mean.sqrt()))
    assert error(nl_ridge(y, mapped), clean) < 0.8 * error(nl_ridge(y, flat), clean)


def test_a_volume_of_one_plane_is_that_plane():
    y = noisy(ball())[:, :1]
    assert torch.equal(nl_ridge(y, white(0.1), 1)[:, 0], nl_ridge(y[:, 0], white(0.1), 1))
