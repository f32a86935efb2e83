"""Degradations: what other programs make of the same image, where pixels lie, what is kept, and the gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import napari_dip as dip
from napari_dip.engine.resample import degrader

EVERY = [*(kind() for kind in dip.DEGRADATIONS), dip.GaussianBlur(1.3)]
each = pytest.mark.parametrize("degradation", EVERY, ids=str)
SIZES = [(64, 16), (37, 9), (50, 33), (41, 20), (24, 3)]  # whole factors and others, odd sizes


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(
    ("degradation", "filter_"),
    [(dip.Lanczos(), Image.Resampling.LANCZOS), (dip.AntialiasedBicubic(), Image.Resampling.BICUBIC)],
)
def test_lanczos_and_bicubic_are_pillows(degradation, filter_, sizes):
    fine, coarse = sizes
    image = np.random.default_rng(0).random((fine, fine), dtype=np.float32)
    ours = degrader(degradation, (fine, fine), (coarse, coarse))(torch.from_numpy(image)[None])[0].numpy()
    theirs = np.asarray(Image.fromarray(image).resize((coarse, coarse), filter_))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_box_is_binning_and_exact_for_broken_factors():
    image = torch.rand(1, 12, 9)
    binned = degrader(dip.Box(), (12, 9), (4, 3))(image)
    torch.testing.assert_close(binned, image.reshape(1, 4, 3, 3, 3).mean((2, 4)))
    torch.testing.assert_close(dip.Box().weights(3, 2), torch.tensor([[2, 1, 0], [0, 1, 2]]).double() / 3)


@each
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_a_constant_stays_what_it_is(degradation, sizes):
    degrade = degrader(degradation, (sizes[0], 20), (sizes[1], 10))
    torch.testing.assert_close(degrade(torch.full((2, sizes[0], 20), 0.7)), torch.full((2, sizes[1], 10), 0.7))


@each
@pytest.mark.parametrize("sizes", SIZES[:4], ids=str)
def test_a_ramp_comes_out_exact_away_from_the_edges(degradation, sizes):
    """Half-pixel alignment: coarse pixel i has its centre at (i + 1/2) fine / coarse - 1/2."""
    fine, coarse = sizes
    ramp = torch.arange(fine, dtype=torch.float64)
    seen = degradation.weights(fine, coarse) @ ramp
    centres = (torch.arange(coarse) + 0.5) * fine / coarse - 0.5
    inside = slice(coarse // 3, -(coarse // 3))
    # fine pixels lie evenly around every coarse centre for whole factors only: else a kernel sees a ramp about
    tolerance = 1e-9 if fine % coarse == 0 else 0.06
    torch.testing.assert_close(seen[inside], centres.double()[inside], atol=tolerance, rtol=0)
    torch.testing.assert_close(seen + seen.flip(0), torch.full_like(seen, fine - 1.0), atol=1e-9, rtol=0)


@each
def test_light_is_kept_away_from_the_edges(degradation):
    image = torch.zeros(1, 48, 48)
    image[0, 16:32, 16:32] = torch.rand(16, 16)
    seen = degrader(degradation, (48, 48), (12, 12))(image)
    assert float(seen.sum()) * 16 == pytest.approx(float(image.sum()), rel=0.03)


@each
def test_the_gradient_is_that_of_finite_differences(degradation):
    degrade = degrader(degradation, (9, 8), (4, 3))
    x, target = torch.rand(1, 9, 8, dtype=torch.float64, requires_grad=True), torch.rand(1, 4, 3, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((degrade(x) - target).square().sum(), x)
    direction = torch.randn(1, 9, 8, dtype=torch.float64)
    losses = [(degrade(x.detach() + sign * 1e-2 * direction) - target).square().sum() for sign in (1, -1)]
    assert float((losses[0] - losses[1]) / 2e-2) == pytest.approx(float((gradient * direction).sum()), rel=1e-3)


@each
def test_axes_of_one_size_are_left_alone(degradation):
    volume = torch.rand(1, 3, 8, 8)
    seen = degrader(degradation, (3, 8, 8), (3, 4, 4))(volume)
    planes = degrader(degradation, (8, 8), (4, 4))
    torch.testing.assert_close(seen[:, 1], planes(volume[:, 1]))


def test_a_wider_spot_than_can_be_is_refused():
    with pytest.raises(ValueError, match=r"GaussianBlur\.sigma is 0: it must be at least 0\.1 and at most 10"):
        dip.GaussianBlur(0)
