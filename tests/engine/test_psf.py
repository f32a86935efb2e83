"""Point-spread functions: widths and light of the models, and clear words for arrays that are none."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import j1

import napari_dip as dip
from napari_dip.engine.psf import checked


def width(profile):
    """Return the full width at half maximum of a sampled peak, interpolated."""
    profile = profile / profile.max()
    peak = int(profile.argmax())
    right = next(i for i in range(peak, len(profile)) if profile[i] < 0.5)
    return 2 * (right - 1 - peak + (profile[right - 1] - 0.5) / (profile[right - 1] - profile[right]))


@pytest.mark.parametrize("model", [kind() for kind in dip.PSFS], ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("field", [(64, 61), (16, 200)])
def test_every_model_fits_in_the_image_with_its_brightest_element_in_the_middle(model, field):
    kernel = model.kernel(field)
    assert all(n % 2 == 1 and n <= most for n, most in zip(kernel.shape, field, strict=True))
    assert np.unravel_index(kernel.argmax(), kernel.shape) == tuple(n // 2 for n in kernel.shape)
    assert kernel.min() >= 0
    assert np.allclose(kernel, kernel[::-1, ::-1])


def test_a_gaussian_and_a_moffat_profile_have_the_width_asked_for():
    assert width(dip.GaussianPSF(5.0).kernel((99, 99))[19 // 2]) == pytest.approx(5.0, rel=0.02)
    volume = dip.GaussianPSF(4.0, fwhm_z=8.0).kernel((60, 60, 60))
    assert width(volume[:, volume.shape[1] // 2, volume.shape[2] // 2]) == pytest.approx(8.0, rel=0.02)
    seeing = dip.MoffatPSF(6.0, beta=2.5).kernel((301, 301))
    assert width(seeing[len(seeing) // 2]) == pytest.approx(6.0, rel=0.02)


def test_a_moffat_profile_keeps_all_but_a_thousandth_of_its_light():
    model = dip.MoffatPSF(3.0, beta=3.0)
    scale = 1.5 / math.sqrt(2 ** (1 / 3) - 1)
    assert model.kernel((999, 999)).sum() == pytest.approx(math.pi * scale**2 / 2, rel=2e-3)


def test_in_focus_a_microscope_gives_the_airy_pattern():
    model = dip.MicroscopePSF(numerical_aperture=0.75, wavelength=600, pixel=0.05, immersion=1.0)
    kernel = model.kernel((101, 101))
    v = 2 * np.pi / 0.6 * 0.75 * 0.05 * np.arange(1, 20)
    airy = np.concatenate([[1.0], (2 * j1(v) / v) ** 2])
    middle = len(kernel) // 2
    assert np.allclose(kernel[middle, middle : middle + 20] / kernel.max(), airy, atol=2e-3)


def test_along_the_axis_a_microscope_of_small_aperture_gives_a_sinc_squared():
    model = dip.MicroscopePSF(numerical_aperture=0.3, wavelength=500, pixel=0.2, step=1.0, immersion=1.0)
    kernel = model.kernel((21, 31, 31))
    centre = tuple(n // 2 for n in kernel.shape)
    phase = 1.0 * np.arange(-10, 11) * (1 - math.sqrt(1 - 0.3**2)) / 0.5  # waves between axis and rim
    assert np.allclose(kernel[:, centre[1], centre[2]] / kernel.max(), np.sinc(phase) ** 2, atol=0.02)


def test_every_plane_of_a_widefield_microscope_has_the_same_light():
    model = dip.MicroscopePSF(numerical_aperture=0.8, wavelength=500, pixel=0.1, step=0.3, immersion=1.0)
    planes = model.kernel((9, 161, 161)).sum((1, 2))
    assert np.allclose(planes / planes.max(), 1, atol=0.03)


def test_confocal_is_narrower_and_a_mismatch_of_indices_blurs_along_z():
    wide, confocal = (
        dip.MicroscopePSF(excitation=excitation, pixel=0.05, step=0.1).kernel((41, 41, 41))
        for excitation in (None, 488.0)
    )
    middle = 41 // 2
    assert width(confocal[:, middle, middle]) < 0.8 * width(wide[:, middle, middle])
    deep = dip.MicroscopePSF(depth=10.0, pixel=0.05, step=0.1).kernel((41, 41, 41))
    assert np.allclose(deep.argmax(0)[middle, middle], middle, atol=1), "the origin is the best focus"
    assert not np.allclose(deep[:middle], deep[:middle:-1], atol=0.05 * deep.max()), "and the blur is one-sided"
    assert deep.max() / deep.sum() < 0.7 * wide.max() / wide.sum()


WRONG = {
    "no point": (np.ones(5), r"\(5,\).*\(32, 32\).*same axes"),
    "large": (np.ones((33, 5)), "larger than the image"),
    "not finite": (np.full((3, 3), np.nan), "9 values of the PSF are NaN"),
    "negative": (np.array([[1.0, -0.5]]), r"negative values, down to -0\.5"),
    "dark": (np.zeros((3, 3)), "zero everywhere"),
    "complex": (np.ones((3, 3), complex), "must be real"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_psf_is_refused_in_words(name):
    psf, words = WRONG[name]
    with pytest.raises(ValueError, match=words):
        checked(psf, (32, 32))


def test_a_psf_is_divided_by_its_sum_and_that_is_said():
    kernel, notes = checked(np.full((3, 3), 2), (32, 32))
    assert float(kernel.sum()) == pytest.approx(1)
    assert notes == ("The PSF was divided by its sum, 18: the result has the light of the measurement",)
    assert checked(np.full((3, 3), 1 / 9), (32, 32))[1] == ()


def test_a_psf_off_its_middle_is_taken_as_it_is_and_that_is_said():
    psf = np.zeros((5, 5))
    psf[2, 4] = 1
    _, (note,) = checked(psf, (32, 32))
    assert "(+0.0, +2.0) px from its middle" in note
    even = np.zeros((4, 4))
    even[2, 2] = 1
    assert checked(even, (32, 32))[1] == ()


def test_skirts_that_are_cut_off_on_one_side_are_no_reason_to_say_that_a_psf_is_off_its_middle():
    psf = 0.05 * np.ones((21, 21))
    psf[:5] = 0
    psf[9:12, 9:12] = 1
    grid = np.arange(21)[:, None] - 10
    assert (grid * psf).sum() / psf.sum() > 1
    assert checked(psf / psf.sum(), (32, 32))[1] == ()


@pytest.mark.parametrize("size", [12, 13])
@pytest.mark.parametrize("off", [(0.3, -1.7), (2.0, 0.0)])
def test_a_psf_is_centred_on_request_by_parts_of_pixels_and_that_is_said(size, off):
    rows, columns = (np.arange(size) - size // 2 - by for by in off)
    spot = np.exp(-0.5 * (rows[:, None] ** 2 + columns**2) / 1.3**2)
    kernel, notes = checked(spot / spot.sum(), (32, 32), centres=True)
    middle = np.arange(size) - size // 2
    wanted = np.exp(-0.5 * (middle[:, None] ** 2 + middle**2) / 1.3**2)
    assert np.abs(kernel.numpy() - wanted / wanted.sum()).max() < 0.01 * float(kernel.max())
    assert float(kernel.sum()) == pytest.approx(1)
    assert notes == (
        f"The PSF's bright part was ({off[0]:+.1f}, {off[1]:+.1f}) px from its middle: it was moved there",
    )


@pytest.mark.parametrize(("task", "at", "lands"), [(dip.Deconvolve, 16, 18), (partial(dip.SuperResolve, 2), 32, 17)])
def test_tasks_with_a_measured_psf_centre_it_where_they_are_asked_to(task, at, lands):
    psf = np.zeros((9, 9))
    psf[3:6, 5:8] = 1 / 9
    given, centred = (task(psf=psf, centre=centre).problem(torch.zeros(1, 32, 32)) for centre in (False, True))
    assert "(+0.0, +2.0) px from its middle, which is taken for its origin" in given.notes[0]
    assert centred.notes == ("The PSF's bright part was (+0.0, +2.0) px from its middle: it was moved there",)
    for problem, column in ((given, lands), (centred, 16)):
        x = torch.zeros(problem.shape)
        problem.field(x)[0, at : at + 2, at : at + 2] = 1  # field is a view of x
        light = problem.forward(x)[0].sum(0)
        assert float((light * torch.arange(32)).sum() / light.sum()) == pytest.approx(column, abs=0.51)


@pytest.mark.parametrize("task", [dip.Deconvolve, partial(dip.SuperResolve, 2)], ids=["Deconvolve", "SuperResolve"])
@pytest.mark.parametrize("shape", [(1, 40, 44), (1, 9, 40, 44)], ids=["plane", "volume"])
def test_a_resolution_that_is_asked_for_makes_a_point_as_wide_and_keeps_its_light(task, shape):
    if len(shape) == 4 and task is not dip.Deconvolve:
        task = partial(dip.SuperResolve, (1, 2, 2))
    model = dip.GaussianPSF(fwhm=3.0)
    sharp, soft = (task(model=model, resolution=fwhm).problem(torch.zeros(shape)) for fwhm in (None, 4.0))
    x = torch.zeros(sharp.shown)
    middle = tuple(n // 2 for n in x.shape)
    x[middle] = 1000.0
    assert torch.equal(sharp.finish(x), x)
    shown = soft.finish(x)
    assert shown.shape == x.shape
    assert float(shown.sum()) == pytest.approx(1000, rel=1e-3)
    for axis in range(1, x.ndim):
        profile = shown[tuple(slice(None) if other == axis else at for other, at in enumerate(middle))]
        assert width(profile.numpy()) == pytest.approx(4.0, abs=0.1)
    assert torch.allclose(soft.finish(torch.full_like(x, 7.0)), torch.tensor(7.0), atol=1e-4), "up to the border"


def test_at_a_resolution_of_two_pixels_a_star_between_pixels_has_hardly_any_rings():
    """Its band-limited image is a sinc; of the finest wave the Gaussian passes exp(-(π 2 / 2.355)² / 2), 2.8 %."""
    far = np.arange(32) - 15.5
    star = 1e4 * np.outer(np.sinc(far), np.sinc(far))
    shown = dip.Deconvolve(resolution=2.0).problem(torch.zeros(1, 32, 32)).finish(torch.from_numpy(star)[None].float())
    assert star.min() < -0.2 * star.max()
    assert float(shown.min()) > -0.03 * float(shown.max())


def test_the_result_has_the_resolution_and_what_was_fitted_is_kept_beside_it():
    image = np.random.default_rng(0).normal(100, 5, (32, 32)).astype(np.float32)
    result = dip.restore(image, dip.Deconvolve(resolution=3.0), stop=dip.FixedSteps(3), preset="plain")
    finish = dip.Deconvolve(resolution=3.0).problem(torch.zeros(1, 32, 32)).finish
    assert np.allclose(result.image, finish(torch.from_numpy(result.estimate)[None])[0].numpy(), rtol=1e-4)
    assert not np.allclose(result.image, result.estimate, rtol=1e-3)
    assert result.report()["settings"]["task"]["resolution"] == 3.0


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        (dip.GaussianPSF, {"fwhm": 0.0}, "fwhm is 0.0: it must be at least 0.1"),
        (dip.GaussianPSF, {"fwhm_z": math.nan}, "fwhm_z is nan"),
        (dip.MoffatPSF, {"beta": 1.0}, "beta is 1.0: it must be at least 1.1: below, the wings"),
        (dip.MicroscopePSF, {"numerical_aperture": 1.6}, "below the refractive index"),
        (dip.MicroscopePSF, {"pixel": -1.0}, "pixel is -1.0"),
    ],
)
def test_settings_that_no_instrument_has_are_refused(kind, settings, words):
    with pytest.raises(ValueError, match=words):
        kind(**settings)


def test_a_moffat_profile_is_for_planes():
    with pytest.raises(ValueError, match="for a volume take another model"):
        dip.MoffatPSF().kernel((16, 32, 32))
