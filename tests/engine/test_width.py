"""The width of a PSF: told from the image, said where it is wrong, corrected where that is asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

import napari_dip as dip
from napari_dip.engine.width import Width, resized, told_width, words_of
from napari_dip.engine.work import finished

SEEING = dip.Prior(network=dip.Skip(down=(16,) * 4, up=16), source=dip.Guide(), averaging=0.97)
BRIEF = dip.Preset("brief", members=(SEEING,), stop=dip.HeldOut(floor=2, ceiling=2, reveal=0.0))


def scene(side, seed=7):
    """Return rectangles and bars of several grey levels."""
    rng = np.random.default_rng(seed)
    made = np.full((side, side), 0.2)
    for _ in range(30):
        y, x = rng.integers(0, side - 6, 2)
        made[y : y + rng.integers(2, 14), x : x + rng.integers(2, 14)] = rng.uniform(0.0, 1.0)
    return made


@pytest.fixture(scope="module")
def motion():
    """A soft open curve, as of a shaking hand and a lens."""
    psf = np.zeros((17, 17))
    for t in np.linspace(0, 1, 200):
        psf[round(4 + 8 * t), round(5 + 5 * t + 2 * np.sin(5 * t))] += 1
    psf = gaussian_filter(psf, 0.8)
    return psf / psf.sum()


def blurred(psf, side=64, sigma=0.01):
    whole = scene(side + 32)
    y = fftconvolve(whole, psf, mode="same")[16:-16, 16:-16]
    return y + np.random.default_rng(0).normal(0, sigma, y.shape), whole[16:-16, 16:-16]


def told(y, psf, seed=0):
    problem = dip.Deconvolve(psf).problem(torch.from_numpy(y.astype(np.float32))[None])
    return finished(told_width(problem, seed))


def wide(psf, factor):
    return resized(torch.from_numpy(psf), factor).numpy()


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_a_psf_is_made_wider_about_its_origin(factor):
    psf = dip.GaussianPSF(5.0).kernel((99, 99))
    expected = dip.GaussianPSF(5.0 * factor).kernel((99, 99))
    made = wide(psf, factor)
    both = min(len(made), len(expected)) // 2
    middle = [slice(len(one) // 2 - both, len(one) // 2 + both + 1) for one in (made, expected)]
    assert (
        np.abs(made[middle[0], middle[0]] - (expected / expected.sum())[middle[1], middle[1]]).max() < 0.02 * made.max()
    )
    assert made.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("factor", [0.6, 0.9, 1.0, 1.1, 1.6])
def test_the_width_of_a_wrong_psf_is_told_from_the_image(motion, factor):
    width = told(blurred(motion)[0], wide(motion, factor))
    assert width.factor * factor == pytest.approx(1, abs=0.03)
    assert width.is_told
    assert width.is_suspect is (factor != 1.0)


def test_an_image_of_noise_tells_no_width(motion):
    assert told(np.random.default_rng(0).normal(0.5, 0.16, (64, 64)), motion) is None


def test_a_small_image_tells_no_width(motion):
    assert told(blurred(motion, side=32)[0], motion) is None


def test_a_psf_that_is_too_wide_is_said(motion):
    result = dip.restore(blurred(motion)[0], dip.Deconvolve(wide(motion, 1.12)), preset=BRIEF)
    assert any("it seems too wide, which makes rings beside edges; one 0." in note for note in result.notes)
    assert result.report()["fits"][0]["psf"]["is_used"] is False


def test_a_psf_is_refined_where_that_is_asked_for_and_the_first_frame_tells_it_for_all(motion):
    y, _ = blurred(motion)
    series = np.stack([y, np.full_like(y, 0.5)])
    wrong = wide(motion, 1.12)
    result = dip.restore(series, dip.Deconvolve(wrong, refine=True), axes="TYX", preset=BRIEF)
    assert sum("The PSF was refined: made 0." in note for note in result.notes) == 1
    assert not any("does not explain" in note for note in result.notes)
    assert "The point-spread function was made 0." in dip.methods_text(result.report())
    first, second = (fit["psf"] for fit in result.report()["fits"])
    assert first == second
    assert first["is_used"]
    made = wide(wrong, first["factor"])
    middle = slice(len(made) // 2 - 8, len(made) // 2 + 9)
    assert np.abs(made[middle, middle] - motion).max() < 0.1 * motion.max()


def test_a_psf_is_not_refined_by_an_image_that_does_not_tell_its_width(motion):
    y = np.random.default_rng(0).normal(100, 1, (64, 64))
    result = dip.restore(y, dip.Deconvolve(motion, refine=True), stop=dip.FixedSteps(1))
    assert "The PSF was not refined: the image does not tell its width" in result.notes
    assert result.fits[0].psf is None


def test_a_prior_of_ones_own_is_fitted_without_a_look_at_the_psf(motion):
    result = dip.restore(blurred(motion)[0], dip.Deconvolve(motion), prior=SEEING, stop=dip.FixedSteps(1))
    assert result.fits[0].psf is None


def test_a_width_beyond_those_that_are_tried_is_said_to_be_so():
    psf = dip.GaussianPSF(4.0).kernel((65, 65))
    width = told(blurred(psf, side=96)[0], wide(psf, 0.35))
    assert width.is_at_end
    assert not width.is_told
    assert "it seems too narrow" in words_of(width)[0]
    assert "one 1.98 times as wide (± 0.00) or farther off" in words_of(width)[0]


def test_what_is_within_its_error_is_not_said():
    assert words_of(Width(1.02, 0.001, 9)) == words_of(Width(1.2, 0.2, 1)) == words_of(None) == []
    assert "it seems too narrow, which makes blur that is left" in words_of(Width(1.12, 0.01, 9))[0]
