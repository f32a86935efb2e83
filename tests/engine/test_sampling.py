"""Statistics of large images are told from a part of them that lies all over it."""

from __future__ import annotations

import pytest
import torch

from napari_dip.engine import sampling
from napari_dip.engine.estimation import estimate_noise
from napari_dip.engine.sampling import part_of


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(sampling, "ENOUGH", 1 << 14)


def test_a_small_image_is_its_own_part():
    image = torch.rand(2, 100, 100)
    assert part_of(image) is image


def test_bands_lie_evenly_over_a_large_one():
    rows = torch.arange(1000.0)[None, :, None].expand(2, 1000, 64)
    bands = part_of(rows)
    assert bands.shape == (2, 4, 64, 64)
    assert (bands[0, :, 1:, 0] - bands[0, :, :-1, 0] == 1).all()
    assert abs(float(bands.mean()) - 480) < 32


def test_planes_lie_evenly_in_a_volume():
    volume = torch.arange(40.0)[None, :, None, None].expand(1, 40, 64, 64)
    assert part_of(volume)[0, :, 0, 0].tolist() == [5, 15, 25, 35]


def test_the_noise_told_from_a_part_is_that_of_the_whole(monkeypatch):
    y = 0.1 * torch.randn(1, 600, 200, generator=torch.Generator().manual_seed(0))
    part = estimate_noise(y)
    monkeypatch.setattr(sampling, "ENOUGH", 1 << 30)
    assert float(part.mean) == pytest.approx(float(estimate_noise(y).mean), rel=0.05)
