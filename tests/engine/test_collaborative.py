"""Collaborative filtering: nearer to the truth, by the noise's strength, at any size; what the pilot takes of it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from skimage import data
from test_ridge import mse, noisy_version, stripes, white

import napari_dip as dip
from napari_dip.engine import patches
from napari_dip.engine.collaborative import collaborative_in_strips, cosines, haar, wavelets
from napari_dip.engine.noise import NoiseModel
from napari_dip.engine.pilot import EQUAL, TRUST, make_pilot
from napari_dip.engine.ridge import nl_ridge
from napari_dip.engine.work import finished


def denoised(y, noise):
    return finished(collaborative_in_strips(y, noise))


@pytest.mark.parametrize("channels", [1, 3, 2])
def test_structure_that_repeats_comes_out_of_the_noise(channels):
    clean = stripes(channels=channels)
    noisy = noisy_version(clean)
    assert mse(denoised(noisy, white(0.1, channels)), clean) < 0.15 * mse(noisy, clean)


def test_noise_that_is_stronger_on_one_side_is_taken_off_there():
    clean = stripes()
    deviation = torch.full_like(clean, 0.02)
    deviation[..., 48:] = 0.2
    noisy = clean + deviation * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    law = dataclasses.replace(white(0.14), map=deviation.square())
    wrong = (denoised(noisy, law) - clean).square()
    assert float(wrong[..., :48].mean()) < 0.02**2
    assert float(wrong[..., 48:].mean()) < 0.2 * 0.2**2


@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 17, 40), (2, 33, 19), (1, 3, 24, 26)])
def test_any_size_keeps_its_size_and_stays_finite(shape):
    y = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    x = denoised(y, white(0.2, shape[0]))
    assert x.shape == y.shape
    assert bool(x.isfinite().all())


def test_strips_join_without_a_trace(monkeypatch):
    noisy = noisy_version(stripes())
    whole = denoised(noisy, white(0.1))
    monkeypatch.setattr(patches, "STRIP", (36, 36))
    apart = (denoised(noisy, white(0.1)) - whole).abs()
    assert float(apart.max()) < 1e-3, "a hundredth of the noise: rounding may take a coefficient over the threshold"
    assert float((apart > 1e-4).float().mean()) < 1e-3


def test_a_channel_without_noise_stays_as_it_is():
    clean = stripes(channels=2)
    noisy = torch.stack([noisy_version(clean)[0], clean[1]])
    variance = torch.tensor([0.01, 0.0])
    law = NoiseModel(torch.zeros(2), variance, variance)
    x = denoised(noisy, law)
    assert torch.equal(x[1], clean[1])
    assert mse(x[0], clean[0]) < 0.2 * mse(noisy[0], clean[0])


@pytest.mark.parametrize("basis", [cosines(8), cosines(3), haar(1), haar(32)])
def test_the_transforms_are_orthonormal(basis):
    assert torch.allclose(basis @ basis.T, torch.eye(len(basis)), atol=1e-5)
    assert torch.allclose(basis[0], torch.full((len(basis),), len(basis) ** -0.5)), "the mean comes first"


@pytest.mark.parametrize("count", [2, 8, 16])
def test_wavelets_keep_what_noise_is_and_part_means_from_steps(count):
    transform = wavelets(count)
    assert torch.allclose(transform.norm(dim=1), torch.ones(count), atol=1e-6)
    assert torch.linalg.matrix_rank(transform) == count
    assert torch.allclose(transform @ torch.ones(count), count**0.5 * torch.eye(count)[0], atol=1e-5)
    assert torch.allclose(transform[-1, -2:], torch.tensor([2**-0.5, -(2**-0.5)]))


def test_the_pilot_of_both_is_nearer_than_that_of_one():
    """And it takes more of the one of which Stein's estimate of the risk says so, and never less than a quarter."""
    clean = torch.from_numpy(data.camera()[100:228, 180:308])[None] / 255
    noisy = noisy_version(clean)
    problem = dip.Denoise().problem(noisy)
    hidden, _ = dip.HeldOut().start(problem, 0)
    one, both = (finished(make_pilot(problem, hidden, 0, 1, is_joined=joined)) for joined in (False, True))
    assert one.collaborative == 0
    assert EQUAL * (1 - TRUST) <= both.collaborative <= EQUAL * (1 + TRUST)
    assert mse(both.estimate, clean) < 0.99 * mse(one.estimate, clean)
    ridge, shrunk = nl_ridge(noisy, one.noise, 1), denoised(noisy, one.noise)
    assert torch.allclose(both.estimate, torch.lerp(ridge, shrunk, both.collaborative), atol=1e-4)
