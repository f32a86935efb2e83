"""The closed-form denoiser: nearer to the truth, at any size, and with the noise's strength taken into account."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_dip.engine.noise import NoiseModel
from napari_dip.engine.patches import REACH, Pass, similar_patches
from napari_dip.engine.ridge import nl_ridge


def white(sigma, channels=1):
    zeros = torch.zeros(channels)
    return NoiseModel(zeros, zeros + sigma**2, zeros + sigma**2)


def stripes(size=96, channels=1):
    y, x = np.mgrid[:size, :size]
    image = 0.5 + 0.3 * np.sin(x / 3) * (y > size / 2) + 0.2 * (x > size / 3)
    return torch.from_numpy(np.stack([image * (1 - 0.2 * c) for c in range(channels)]).astype(np.float32))


def noisy_version(clean, sigma=0.1):
    return clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))


def mse(a, b):
    return float((a - b).square().mean())


@pytest.mark.parametrize("channels", [1, 3, 2])
def test_structure_that_repeats_comes_out_of_the_noise(channels):
    clean = stripes(channels=channels)
    noisy = noisy_version(clean)
    restored = nl_ridge(noisy, white(0.1, channels))
    assert mse(restored, clean) < 0.15 * mse(noisy, clean)


def test_a_second_pass_is_better_than_the_first():
    clean = stripes()
    noisy = noisy_version(clean)
    assert mse(nl_ridge(noisy, white(0.1), 1), clean) < mse(nl_ridge(noisy, white(0.1), 0), clean)


def test_the_result_moves_with_the_image():
    clean = stripes()
    noisy = noisy_version(clean)
    moved = nl_ridge(10 * noisy + 300, white(1.0))
    assert torch.allclose((moved - 300) / 10, nl_ridge(noisy, white(0.1)), atol=2e-3)


def test_where_the_noise_is_weak_the_image_stays():
    gain = NoiseModel(torch.tensor([0.1]), torch.tensor([-0.02]), torch.tensor([0.02]))
    clean = stripes()
    variance = gain.variance(clean)
    noisy = clean + variance.sqrt() * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    assert mse(nl_ridge(noisy, gain), clean) < 0.75 * mse(nl_ridge(noisy, white(0.02**0.5)), clean)


@pytest.mark.parametrize("shape", [(1, 17, 23), (3, 40, 19), (1, 150, 33), (1, 4, 64)])
def test_any_size_keeps_its_size_and_stays_finite(shape):
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    restored = nl_ridge(image, white(0.2, shape[0]))
    assert restored.shape == image.shape
    assert torch.isfinite(restored).all()


def test_strips_join_without_a_trace(monkeypatch):
    generator = torch.Generator().manual_seed(2)
    scene = (
        3 * F.avg_pool2d(torch.rand(1, 1, 134, 134, generator=generator), 7, 1)[0]
    )  # no two patches are equally near
    noisy = noisy_version(scene)
    whole = nl_ridge(noisy, white(0.1), 1)
    monkeypatch.setattr("napari_dip.engine.patches.STRIP", (32, 48))
    assert torch.allclose(nl_ridge(noisy, white(0.1), 1), whole, atol=1e-5)


def test_a_channel_without_noise_stays_as_it_is():
    image = noisy_version(stripes(64, 3))
    image[1] = 0.25
    variance = torch.tensor([0.01, 0.0, 0.01])
    restored = nl_ridge(image, NoiseModel(torch.zeros(3), variance, variance))
    assert torch.equal(restored[1], image[1])
    assert not torch.equal(restored[0], image[0])


def test_the_patches_found_are_the_nearest_of_all_in_reach():
    guide = torch.rand(1, 60, 48, generator=torch.Generator().manual_seed(3))
    patch, similar = 5, 7
    found = similar_patches(guide, Pass(patch, similar), (0, 0))
    patches = guide[0].unfold(0, patch, 1).unfold(1, patch, 1)  # (rows, columns, patch, patch)
    rows, columns = patches.shape[:2]
    reference = 4 * len(range(0, columns, 4)) + 3  # at row 16, column 12
    distance = (patches - patches[16, 12]).square().sum((2, 3))
    far = torch.zeros(rows, columns, dtype=torch.bool)
    far[16 + REACH + 1 :], far[:, 12 + REACH + 1 :] = True, True
    best = distance.masked_fill(far, torch.inf).flatten().topk(similar, largest=False).indices
    assert set(found[reference].tolist()) == set(best.tolist())


@pytest.mark.parametrize("sigma", [1e-4, 1e-3, 0.01])
def test_with_hardly_any_noise_the_image_hardly_changes(sigma):
    noisy = noisy_version(stripes(64, 3), sigma)
    restored = nl_ridge(noisy, white(sigma, 3))
    assert mse(restored, noisy) < (2 * sigma) ** 2


def test_patches_that_are_all_alike_are_no_trouble():
    image = torch.zeros(1, 64, 64)
    image[:, 40:, 40:] = noisy_version(stripes(24))
    assert torch.isfinite(nl_ridge(image, white(0.1))).all()
