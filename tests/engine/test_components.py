"""Channels rotated to the components of their detail."""

from __future__ import annotations

import pytest
import torch

from napari_dip.engine.bands import blurred
from napari_dip.engine.components import LEAST, components


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("channels", [1, 2, 3, 7])
def test_a_rotation_can_be_undone(channels):
    x = 5 * blurred(noise(channels, 40, 44), 1.0, (1, 2), "replicate") + noise(channels, 40, 44)
    parts = components(x)
    assert torch.allclose(parts.rotation @ parts.rotation.T, torch.eye(channels), atol=1e-5)
    assert torch.allclose(parts.back(parts.of(x)), x, atol=1e-4)
    assert float(parts.weights[0]) == 1


def test_detail_that_channels_share_is_the_first_component():
    shared = 10 * blurred(noise(1, 96, 96), 1.0, (1, 2), "replicate")
    mixture = torch.tensor([0.6, 0.8, 0.0])
    parts = components(mixture[:, None, None] * shared + noise(3, 96, 96).roll(7, 1))
    assert abs(float(parts.rotation[0] @ mixture)) > 0.99
    assert float(parts.weights[1:].max()) < 0.2


def test_large_steps_between_colours_do_not_count():
    shared = 10 * blurred(noise(1, 96, 96), 1.0, (1, 2), "replicate")
    steps = 300 * (torch.arange(96) >= 48)[None, None] * torch.tensor([1.0, -1.0])[:, None, None]
    parts = components(shared + blurred(steps.float().expand(2, 96, 96), 8.0, (1, 2), "replicate"))
    assert abs(float(parts.rotation[0].sum())) > 0.95 * 2**0.5


def test_noise_has_the_variance_that_is_told():
    x = torch.tensor([1.0, 2.0, 0.5])[:, None, None] * noise(3, 200, 200)
    rotation = components(10 * blurred(noise(3, 64, 64), 1.0, (1, 2), "replicate"))
    told = rotation.variance(torch.tensor([1.0, 4.0, 0.25])[:, None, None].expand(3, 200, 200))
    assert torch.allclose(rotation.of(x).var((1, 2)), told[:, 0, 0], rtol=0.05)


def test_noise_alone_has_components_of_equal_weight_or_the_least():
    parts = components(noise(3, 128, 128))
    assert float(parts.weights.min()) >= LEAST
    assert bool(parts.weights.isfinite().all())
    assert bool(components(torch.zeros(2, 32, 32)).weights.isfinite().all())
