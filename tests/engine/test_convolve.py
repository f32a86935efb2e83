"""Blur: the sums written out, light from outside the field, the adjoint, and where things land."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve

import napari_dip as dip
from napari_dip.engine.backprojection import DAMPING, BackProjection
from napari_dip.engine.convolve import Convolution, margins_of, sides, smooth
from napari_dip.engine.variation import adjoint_of

SHAPES = [((5, 7), (20, 18)), ((4, 6), (17, 23)), ((1, 8), (16, 16)), ((3, 4, 5), (8, 12, 11))]


def drawn(shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random(shape).astype(np.float32))


def blur_of(kernel, field):
    kernel = kernel / kernel.sum()
    blur = Convolution(kernel, sides(tuple(kernel.shape)))
    shape = (2, *(n + sum(more) for n, more in zip(field, blur.margins, strict=True)))
    return blur, shape


@pytest.mark.parametrize(("taps", "field"), SHAPES)
def test_it_is_the_sum_written_out_and_nothing_wraps_around(taps, field):
    blur, shape = blur_of(drawn(taps), field)
    x = drawn(shape, 1)
    expected = [convolve(one, blur.kernel.numpy(), mode="constant") for one in x.numpy().astype(float)]
    found = blur(x)
    assert found.shape == (2, *field)
    assert np.allclose(found, blur.field(torch.from_numpy(np.stack(expected))), atol=1e-5)


@pytest.mark.parametrize(("taps", "field"), SHAPES)
def test_a_point_lands_where_it_is_with_the_kernel_s_origin_on_it(taps, field):
    blur, shape = blur_of(drawn(taps), field)
    x = torch.zeros(shape)
    place = tuple(n // 2 for n in field)
    blur.field(x)[(0, *place)] = 1
    image = blur(x)[0]
    corner = [at - n // 2 for at, n in zip(place, taps, strict=True)]
    for axis, (start, length) in enumerate(zip(corner, taps, strict=True)):
        image = image.narrow(axis, start, length)
    assert torch.allclose(image, blur.kernel, atol=1e-6)


@pytest.mark.parametrize(("taps", "field"), SHAPES)
def test_autograd_gives_the_adjoint(taps, field):
    blur, shape = blur_of(drawn(taps), field)
    x, u = drawn(shape, 1), drawn((2, *field), 2)
    assert float((blur(x) * u).sum()) == pytest.approx(float((x * adjoint_of(blur, shape)(u)).sum()), rel=1e-4)


def test_the_adjoint_applies_the_operator_once():
    blur, shape = blur_of(drawn((3, 4)), (9, 8))
    calls = []

    def counted(x):
        calls.append(x)
        return blur(x)

    adjoint, (u, v) = adjoint_of(counted, shape), (drawn((2, 9, 8), seed) for seed in (2, 3))
    assert torch.allclose(adjoint(u) + adjoint(v), adjoint(u + v), atol=1e-5)
    with torch.no_grad():
        assert torch.equal(adjoint(u), adjoint_of(blur, shape)(u))
    assert len(calls) == 1


def test_the_transform_of_the_kernel_is_made_once_for_each_size_and_type():
    blur, shape = blur_of(drawn((3, 4)), (9, 8))
    x = drawn(shape)
    first, exact = blur(x), blur(x.double())
    assert torch.equal(blur(x), first)
    assert torch.allclose(exact.float(), first, atol=1e-5)
    assert exact.dtype == torch.float64
    assert len(blur.transforms) == 2
    assert not blur.to(torch.device("cpu")).transforms


def test_autograd_agrees_with_finite_differences():
    blur, shape = blur_of(drawn((3, 4)).double(), (6, 5))
    assert torch.autograd.gradcheck(blur, (drawn(shape).double().requires_grad_(),))


@pytest.mark.parametrize(("taps", "field"), SHAPES)
def test_a_constant_stays_constant_and_no_light_is_lost_inside(taps, field):
    blur, shape = blur_of(drawn(taps), field)
    assert torch.allclose(blur(torch.full(shape, 3.0)), torch.tensor(3.0), atol=1e-5)
    x = torch.zeros(shape)
    inside = blur.field(x)
    inside[(slice(None), *(slice(n, -n) for n in taps))] = 1
    assert float(blur(x).sum()) == pytest.approx(float(x.sum()), rel=1e-5)


def test_light_from_outside_the_field_comes_in():
    blur, shape = blur_of(torch.ones(5, 5), (16, 16))
    x = torch.zeros(shape)
    x[:, 0] = 1  # two pixels above the field
    assert torch.allclose(blur(x)[0, 0], torch.tensor(0.2), atol=1e-6)
    assert torch.allclose(blur(x)[0, 1:], torch.tensor(0.0), atol=1e-6)


def test_where_the_psf_sees_beyond_x_the_border_goes_on():
    kernel = torch.ones(9, 9) / 81
    x = drawn((1, 20, 22))
    found = Convolution(kernel, ((0, 0), (2, 1)))(x)
    assert found.shape == (1, 20, 19)
    assert np.allclose(found[0], convolve(x[0].numpy(), kernel.numpy(), mode="nearest")[:, 2:-1], atol=1e-5)


def test_the_margin_leaves_out_one_percent_of_the_light_on_either_side():
    kernel = torch.zeros(1, 101)
    kernel[0, 50], kernel[0, 0], kernel[0, 95], kernel[0, 100] = 0.9, 0.009, 0.082, 0.009
    assert margins_of(kernel, (16, 200)) == ((0, 0), (45, 0))
    assert margins_of(kernel, (16, 180)) == ((0, 0), (45, 0))


@pytest.mark.parametrize(("length", "most"), [(100, 25), (40, 10), (24, 8), (12, 6)])
def test_the_margin_is_a_quarter_of_the_field_at_most_or_a_few_pixels(length, most):
    kernel = torch.ones(1, 400) / 400
    assert margins_of(kernel, (16, length)) == ((0, 0), (most, most))


def test_lengths_of_transforms_have_small_factors():
    assert [smooth(n) for n in (1, 7, 121, 128, 251)] == [1, 8, 125, 128, 256]


@pytest.mark.parametrize("field", [(12, 15), (11, 14), (6, 8, 9)])
def test_back_projection_is_the_mean_square_after_its_filter(field):
    kernel = torch.from_numpy(dip.GaussianPSF(fwhm=2.0).kernel(field)).float()
    kernel = kernel / kernel.sum()
    predicted, y = torch.rand(2, *field).double(), torch.rand(2, *field).double()
    term = BackProjection.of(kernel, field)
    axes = tuple(range(1, predicted.ndim))
    passed = (torch.fft.fftn(kernel.double(), field).abs().square() + DAMPING).rsqrt()
    filtered = torch.fft.ifftn(torch.fft.fftn(predicted - y, dim=axes) * passed, dim=axes).real
    expected = filtered.square().mean() / passed.square().mean()
    assert torch.allclose(term(predicted, y, None), expected, rtol=1e-5)


def test_back_projection_of_white_noise_is_its_variance_and_of_missing_elements_nothing():
    kernel = torch.full((5, 5), 1 / 25)
    noise = torch.randn(1, 256, 256)
    term = BackProjection.of(kernel, (256, 256))
    assert term(noise, torch.zeros_like(noise), None) == pytest.approx(1, abs=0.05)
    known = (torch.rand(noise.shape) < 0.7).float()
    assert term(noise, torch.zeros_like(noise), known) == pytest.approx(1, abs=0.05)
    changed = torch.where(known > 0, noise, 77.0)
    assert torch.equal(term(noise, 0 * noise, known), term(changed, 0 * noise, known))


def test_back_projection_has_the_gradient_of_its_differences():
    kernel = torch.ones(3, 3) / 9
    term = BackProjection.of(kernel, (5, 6))
    y, weight = torch.rand(1, 5, 6).double(), (torch.rand(1, 5, 6) < 0.8).double()
    assert torch.autograd.gradcheck(lambda x: term(x, y, weight), torch.rand(1, 5, 6).double().requires_grad_())
