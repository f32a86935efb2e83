"""A picture's values end where the fit finds that they end, between black and white."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from ready import TINY

import napari_dip as dip
from napari_dip.engine.ends import Ends, ends_of

BLACK, WHITE = torch.tensor([-1.0, -2.0]), torch.tensor([3.0, 4.0])
FINE, COARSE = (40, 48), (20, 24)


@pytest.fixture(scope="module")
def picture():
    """Black and white discs, of 8 bits, with grey at their edges."""
    rows, columns = np.mgrid[:40, :48]
    discs = [(rows - y) ** 2 + (columns - x) ** 2 < r**2 for y, x, r in ((12, 12, 8), (26, 32, 11))]
    return np.rint(255.0 * np.any(discs, 0).reshape(20, 2, 24, 2).mean((1, 3))).astype(np.uint8)


@pytest.fixture(scope="module")
def waves():
    """Smooth, 0 to 1."""
    rows, columns = np.mgrid[:20, :24]
    return 0.5 + 0.5 * np.sin(columns / 4) * np.cos(rows / 3)


def posed(y, limits=(BLACK[:1], WHITE[:1])):
    problem = dip.SuperResolve(2).problem(torch.as_tensor(y, dtype=torch.float32))
    return dataclasses.replace(problem, black_and_white=limits)


def test_values_end_there_and_the_middle_of_the_range_is_left_alone():
    low, high = torch.tensor([0.0, -1.0]), torch.tensor([1.0, 3.0])
    x = torch.tensor([-50.0, 0.5, 1.0, 50.0]).expand(2, 1, 4).clone().requires_grad_()
    bent = Ends(low, high, BLACK, WHITE)(x)
    assert torch.allclose(bent[:, 0, [0, 3]], torch.stack([low, high], 1))
    assert bent[0, 0, 1].item() == pytest.approx(0.5)
    assert bent[1, 0, 2].item() == pytest.approx(1.0)
    bent.sum().backward()
    assert x.grad is not None
    assert x.grad[0, 0, 1].item() == pytest.approx(1.0)


def test_ends_are_fitted_and_stay_within_black_and_white():
    ends = Ends(torch.tensor([0.2, 0.2]), torch.tensor([0.8, 0.8]), BLACK, WHITE)
    for wanted, low, high in ((10.0, BLACK, WHITE), (0.1, 0.5 - 0.1, 0.5 + 0.1)):
        optimizer = torch.optim.Adam(ends.parameters(), 0.05)
        x = torch.tensor([-1e3, 1e3]).expand(2, 1, 2)
        for _ in range(400):
            optimizer.zero_grad()
            (ends(x) - torch.tensor([0.5 - wanted, 0.5 + wanted])).square().sum().backward()
            optimizer.step()
        found = ends(x)[:, 0].T
        assert torch.allclose(found[0], torch.as_tensor(low).expand(2), atol=0.02)
        assert torch.allclose(found[1], torch.as_tensor(high).expand(2), atol=0.02)


def test_they_begin_at_the_range_of_what_is_known():
    y = torch.linspace(0, 1, 400).view(1, 20, 20).repeat(2, 1, 1)
    y[1] = 0.3 + 0.2 * y[1]
    weight = torch.ones_like(y)
    y[1, 5, 5], weight[1, 5, 5] = 900.0, 0.0
    ends = ends_of(dataclasses.replace(posed(y, (BLACK, WHITE)), weight=weight))
    assert ends is not None
    assert torch.allclose(ends.low, torch.tensor([0.0, 0.3]), atol=0.01)
    assert torch.allclose(ends.high, torch.tensor([1.0, 0.5]), atol=0.01)


def test_a_picture_of_which_few_pixels_are_most_of_the_range_is_not_bent():
    y = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0))
    assert ends_of(posed(y)) is not None
    y[0, 30, 30] = 2.5
    assert ends_of(posed(y)) is None
    assert ends_of(posed(y, None)) is None


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_constant_picture_stays_constant(value):
    result = dip.restore(np.full(COARSE, value, np.uint8), dip.SuperResolve(2), TINY, stop=dip.FixedSteps(20))
    np.testing.assert_array_equal(result.image, value)


@pytest.mark.parametrize("stop", [dip.FixedSteps(300), dip.HeldOut(floor=60, ceiling=60, reveal=0.0)])
def test_what_is_restored_is_between_black_and_white_even_where_the_fit_lacked_something(picture, stop):
    last = dataclasses.replace(TINY, averaging=0.0)
    result = dip.restore(picture, dip.SuperResolve(2), last, stop=stop, dtype="float32")
    assert result.estimate.min() >= 0
    assert result.estimate.max() <= 255
    if isinstance(stop, dip.HeldOut):
        assert result.fits[0].given_back > 0.5


def test_a_scale_of_what_was_measured_has_no_ends(picture):
    last = dataclasses.replace(TINY, averaging=0.0)
    free = dip.restore(picture.astype(np.float32), dip.SuperResolve(2), last, stop=dip.FixedSteps(300))
    assert free.estimate.min() < -1
    assert free.estimate.max() > 256


@pytest.mark.parametrize("most", [3, 20, 60, 255])
def test_a_dark_picture_is_fitted_as_well_as_the_same_numbers_of_another_type(waves, most):
    dark = np.rint(most * waves).astype(np.uint8)
    bent, free = (
        dip.restore(dark.astype(dtype), dip.SuperResolve(2), TINY, stop=dip.FixedSteps(150), dtype="float32")
        for dtype in (np.uint8, np.float32)
    )
    assert bent.fits[0].misfit[0] < 1.25 * free.fits[0].misfit[0]
    assert bent.image.mean() == pytest.approx(dark.mean(), rel=0.02)


def test_a_fit_with_ends_gives_the_same_bits_again_and_begins_anew_with_its_own(picture):
    rule = dip.HeldOut(floor=30, ceiling=30, reveal=1.0)
    first, again = (dip.restore(picture, dip.SuperResolve(2), TINY, stop=rule) for _ in range(2))
    assert first.fits[0].revealed == 30
    np.testing.assert_array_equal(first.estimate, again.estimate)


def test_a_network_that_bends_its_output_is_not_bent_twice(picture):
    bent = dataclasses.replace(TINY, network=dataclasses.replace(TINY.network, sigmoid=True))
    rule = dip.FixedSteps(3)
    of_picture = dip.restore(picture, dip.SuperResolve(2), bent, stop=rule)
    free = dip.restore(picture.astype(np.float32), dip.SuperResolve(2), bent, stop=rule)
    np.testing.assert_array_equal(of_picture.estimate, free.estimate)


def test_only_super_resolution_keeps_the_range_and_not_of_what_optics_blurred():
    """Before the blur a point is brighter than after it."""
    y = torch.rand(1, 24, 24, generator=torch.Generator().manual_seed(0))
    assert dip.SuperResolve(2).problem(y).keeps_range
    assert not dip.SuperResolve(2, model=dip.GaussianPSF(3.0)).problem(y).keeps_range
    assert not dip.Denoise().problem(y).keeps_range
