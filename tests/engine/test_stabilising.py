"""Curves that make shot noise even: values come back without bias, and images of a wide range are better for it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import napari_dip as dip
from napari_dip.engine.blocks import Axes, Missing, Scale, measure_scale
from napari_dip.engine.curves import curves_of
from napari_dip.engine.stabilising import Curve


def measured(mean, gain, read, rng, count=200_000):
    return gain * rng.poisson(mean / gain, count) + rng.normal(0, read, count)


@pytest.mark.parametrize(("gain", "read", "dark"), [(1, 3, 30), (1, 3, 0), (0.5, 8, 0), (4, 2, 0)])
def test_the_noise_is_even_and_its_mean_comes_back(gain, read, dark):
    curve, rng = Curve(gain, read**2, dark, 1e5 * gain), np.random.default_rng(0)
    for mean in dark + gain * np.array([0, 1, 5, 30, 300, 1e4]):
        stretched = curve.stretch(measured(mean, gain, read, rng))
        sigma = (gain * mean + read**2) ** 0.5
        assert float(curve.unstretch(stretched.mean())) == pytest.approx(mean, abs=0.04 * sigma)
        if mean >= dark + 5 * gain:
            assert stretched.std() == pytest.approx(1, abs=0.02)


def test_the_curve_rises_everywhere_and_is_straight_in_the_dark():
    curve = Curve(1.0, 9.0, 20.0, 1e4)
    values = np.linspace(-200, 2e4, 5000)
    stretched = curve.stretch(values)
    assert (np.diff(stretched) > 0).all()
    assert (np.diff(curve.unstretch(np.linspace(-40, 300, 5000))) > 0).all()
    dark = np.diff(curve.stretch(np.array([-200.0, -100.0, 0.0])))
    assert dark[0] == pytest.approx(dark[1])
    assert curve.stretch(np.array(20.0)) == 0


def test_the_steepness_is_the_derivative():
    curve, at = Curve(2.0, 9.0, 5.0, 1e4), np.array([-3.0, 0.5, 10.0, 100.0])
    numeric = (curve._inverse(at + 1e-5) - curve._inverse(at - 1e-5)) / 2e-5
    assert np.allclose(curve.steepness(at), numeric, rtol=1e-6)


def test_a_scale_with_a_curve_undoes_values_differences_and_residuals():
    curve = Curve(1.0, 9.0, 10.0, 1e4)
    scale = Scale(np.array([3.0]), np.array([50.0]), (curve,))
    values = np.array([[[12.0, 100.0, 5000.0]]])
    scaled = scale.apply(values, np.ones(values.shape, bool))
    assert np.allclose(scaled, (curve.stretch(values) - 3) / 50)
    back = scale.undo(scaled)
    assert np.allclose(back, values, atol=0.5), "the unbiased way back adds about a quarter of the gain"
    little = scale.undo(scaled + 1e-4) - back
    assert np.allclose(scale.undo_deviation(np.full_like(scaled, 1e-4), scaled), little, rtol=0.03)
    assert np.allclose(scale.residual(values, scaled, scaled), values - back)


def wide(side=96):
    """A scene of four decades, in electrons, and a measurement with shot and read noise."""
    rng = np.random.default_rng(7)
    field = gaussian_filter(rng.normal(size=(side, side)), 5)
    clean = 10 ** (1 + 4 * (field - field.min()) / np.ptp(field))
    return clean, (rng.poisson(clean) + rng.normal(0, 3, clean.shape)).astype(np.float32)


def curves(image, law=None, letters="YX"):
    axes = Axes(letters, image.shape)
    missing = Missing(axes)
    return curves_of(image, axes, missing, measure_scale(image, axes, missing), law, None)


def test_a_wide_range_of_shot_noise_is_found_and_its_law_told():
    _, noisy = wide(192)
    (curve,) = curves(noisy)
    assert curve.slope == pytest.approx(1, rel=0.15)
    assert curves(noisy, dip.PoissonGaussian(1.0, 3.0))[0].slope == 1


@pytest.mark.parametrize(
    "law", [dip.Gaussian(30.0), dip.VarianceMap(np.full((96, 96), 900.0)), dip.Poisson(1.0, offset=1e9)]
)
def test_where_noise_is_even_or_its_law_impossible_there_is_no_curve(law):
    assert curves(wide()[1], law) == ()


def test_white_noise_gets_no_curve():
    image = np.random.default_rng(0).normal(100, 10, (128, 128)) + np.linspace(0, 100, 128)
    assert curves(image.astype(np.float32)) == ()


def test_colours_have_one_curve_and_channels_their_own():
    _, noisy = wide()
    both = np.stack([noisy, 3 * noisy])
    one, other = curves(both, letters="CYX")
    assert other.slope == pytest.approx(3 * one.slope, rel=0.05)
    axes = Axes("YXS", (*noisy.shape, 3), "")
    colour = np.stack([noisy, noisy, noisy], -1)
    scale = measure_scale(colour, axes, Missing(axes))
    found = curves_of(colour, axes, Missing(axes), scale, None, None)
    assert len(found) == 3
    assert len(set(found)) == 1


def test_dark_places_of_a_wide_range_are_restored_too():
    clean, noisy = wide()
    law = dip.PoissonGaussian(1.0, 3.0)
    result = dip.restore(noisy, dip.Denoise(noise=law), preset="quick")
    dark, bright = clean < 100, clean > 3000
    for where, share in ((dark, 0.6), (bright, 0.8)):
        raw, error = (np.square((image - clean)[where] / clean[where]).mean() ** 0.5 for image in (noisy, result.image))
        assert error < share * raw
    assert any("generalised Anscombe" in note for note in result.notes)
    assert np.allclose(result.residual, noisy - result.estimate, atol=1e-3 * noisy.max())
    record = result.fits[0].noise
    assert record.source == "given"
    assert record.slope == pytest.approx((1.0,), rel=0.01)
    assert record.sigma[0] == pytest.approx(float((clean + 9).mean()) ** 0.5, rel=0.05)
    assert "variance-stabilising" in dip.methods_text(result.report())


def test_its_standard_deviation_is_small_where_the_light_is_faint():
    clean, noisy = wide()
    result = dip.restore(noisy, max_steps=60)
    faint, bright = (float(np.median(result.std[where])) for where in (clean < 100, clean > 3000))
    assert faint < 0.3 * bright
    error = np.abs(result.image - clean)
    assert 0.5 < float((error < 1.96 * result.std).mean()) < 1


def test_one_wild_value_costs_no_memory():
    _, noisy = wide()
    noisy[5, 5] = 1e20
    (curve,) = curves(noisy, dip.PoissonGaussian(1.0, 3.0))
    nodes, corrections = curve._table
    assert len(nodes) < 10_000
    assert corrections[-1] == pytest.approx(0.25, abs=0.01)
    assert curve.unstretch(curve.stretch(np.array(1e9))) == pytest.approx(1e9, rel=1e-6)


def test_a_blank_frame_in_the_middle_does_not_keep_the_others_from_it():
    _, noisy = wide(128)
    stack = np.stack([noisy] * 5)
    stack[2] = np.nan
    assert len(curves(stack, letters="TYX")) == 1


def test_counts_on_a_black_ground_are_stretched():
    rng = np.random.default_rng(0)
    clean = np.zeros((96, 96))
    clean[30:60, 30:60] = 400
    noisy = rng.poisson(clean).astype(np.float32)
    (curve,) = curves(noisy, dip.Poisson(1.0))
    assert curve.dark == 0
    result = dip.restore(noisy, dip.Denoise(noise=dip.Poisson(1.0)), preset="quick")
    assert np.abs(result.image[:20]).max() < 0.5
    assert result.image[35:55, 35:55].mean() == pytest.approx(400, abs=2)


def test_a_series_that_has_white_noise_has_it_when_stretched():
    rng = np.random.default_rng(0)
    field = gaussian_filter(rng.normal(size=(128, 128)), 6)
    clean = 10 ** (2 + 2 * (field - field.min()) / np.ptp(field))
    texture = gaussian_filter(rng.normal(size=clean.shape), 0.7)
    clean *= np.exp(0.2 * texture / texture.std())
    stack = rng.poisson(np.stack([clean] * 3)) + rng.normal(0, 3, (3, *clean.shape))
    result = dip.restore(stack.astype(np.float32), dip.Denoise(), axes="TYX", max_steps=3)
    assert result.settings["stretched"]
    assert {fit.reach for fit in result.fits} == {(0, 0)}
    assert result.fits[0].noise.source == "told from 3 frames"
