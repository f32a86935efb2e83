"""What a person gets out of `Deconvolve`: nearer to the truth, in place, with its light, and clear words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve
from skimage.restoration import richardson_lucy

import napari_dip as dip
from napari_dip.engine.fit import above
from napari_dip.engine.variation import total_variation
from napari_dip.engine.work import finished

RULE = dip.HeldOut(floor=100, ceiling=150, patience=50)
SEEING = dip.Prior(network=dip.Skip(down=(24,) * 4, up=24), source=dip.Guide(), averaging=0.97)


def rms(a, b):
    return float(np.sqrt(np.mean((np.asarray(a, float) - b) ** 2)))


def blurred(scene, psf, sigma, seed=0):
    """Return the middle of a blurred scene, noisy, and of the scene: light from outside has come in."""
    margin = tuple(slice(n // 2, -(n // 2)) for n in psf.shape)
    whole = fftconvolve(scene, psf, mode="same")[margin]
    return whole + np.random.default_rng(seed).normal(0, sigma, whole.shape), scene[margin]


def blocks(shape, seed=3):
    """Return rectangles of several grey levels."""
    rng = np.random.default_rng(seed)
    scene = np.full(shape, 0.2)
    for _ in range(12):
        corner = [int(rng.integers(0, n - 6)) for n in shape]
        scene[tuple(slice(at, at + int(rng.integers(5, 12))) for at in corner)] = rng.uniform(0.1, 1)
    return scene


def guide_of(problem, hidden):
    return finished(total_variation(problem, hidden))


@pytest.fixture(scope="module")
def motion():
    psf = np.zeros((9, 9))
    psf[4, 1:8] = 1 / 7
    return psf


def test_a_known_blur_is_undone_better_than_richardson_and_lucy_s_best_iteration(motion):
    y, x = blurred(blocks((56, 56)), motion, 0.01)
    preset = dip.Preset("two", members=(SEEING, SEEING), stop=dip.HeldOut(floor=200, ceiling=200))
    result = dip.restore(y, dip.Deconvolve(motion), preset=preset)
    best = min(
        rms(richardson_lucy(np.pad(y.clip(1e-3), 9, mode="edge"), motion, n, clip=False)[9:-9, 9:-9], x)
        for n in (5, 10, 20, 40)
    )
    assert result.image.shape == y.shape
    assert rms(result.image, x) < 0.85 * best < best < rms(y, x)
    assert len(result.fits) == 2, "with a guide, members are fitted"


def test_a_volume_is_deconvolved_with_its_anisotropic_psf():
    psf = dip.GaussianPSF(2.0, fwhm_z=4.0)
    kernel = psf.kernel((99, 99, 99))
    y, x = blurred(blocks((26, 38, 38)), kernel / kernel.sum(), 0.01)
    problem = dip.Deconvolve(model=psf).problem(torch.from_numpy(y.astype(np.float32))[None])
    hidden, _ = dip.HeldOut().start(problem, 0)
    assert rms(problem.field(guide_of(problem, hidden))[0], x) < 0.7 * rms(y, x)
    preset = dip.Preset("one", members=(SEEING,), stop=dip.HeldOut(floor=20, ceiling=20))
    result = dip.restore(y, dip.Deconvolve(model=psf), axes="ZYX", preset=preset)
    assert result.image.shape == y.shape
    assert rms(result.image, x) < rms(np.full(x.shape, y.mean()), x)


def test_the_result_keeps_place_and_light_of_a_star():
    y, x = np.mgrid[:40, :40]
    star = np.exp(-((y - 20.3) ** 2 + (x - 17.6) ** 2) / 2 / 1.2**2)
    psf = dip.MoffatPSF(4.0, beta=3.0)
    kernel = psf.kernel((39, 39))
    measured = fftconvolve(star, kernel / kernel.sum(), mode="same") + np.random.default_rng(0).normal(0, 1e-3, y.shape)
    preset = dip.Preset("one", members=(SEEING,), stop=RULE)
    result = dip.restore(measured, dip.Deconvolve(model=psf), preset=preset).image
    near = np.hypot(y - 20.3, x - 17.6) < 8
    assert (result * near).sum() == pytest.approx(star.sum(), rel=0.05)
    assert (y * result * near).sum() / (result * near).sum() == pytest.approx(20.3, abs=0.1)
    assert (x * result * near).sum() / (result * near).sum() == pytest.approx(17.6, abs=0.1)
    assert result.max() > 1.3 * measured.max()


def test_a_floor_holds_and_does_not_bend_what_is_above(motion):
    scene = np.zeros((48, 48))
    scene[12:36:6, 12:36:6] = 100
    y, _ = blurred(gaussian_filter(scene, 1.0) + 5, motion, 0.2)
    low = dip.restore(y, dip.Deconvolve(motion, floor=5.0), stop=dip.FixedSteps(40))
    assert low.estimate.min() >= 5.0 - 1e-4
    values = torch.linspace(0.05, 1, 20)[None]
    assert torch.allclose(above(values, torch.zeros(1)), values, atol=1e-4)
    assert float(above(torch.full((1, 3), -2.0), torch.zeros(1)).min()) >= 0


def test_missing_pixels_have_no_influence_on_a_deconvolution(motion):
    y, _ = blurred(blocks((40, 40)), motion, 0.01)
    hole = np.zeros(y.shape, bool)
    hole[10:13, 15:20] = True
    first, second = (
        dip.restore(np.where(hole, value, y), dip.Deconvolve(motion), missing=hole, fill=True, stop=dip.FixedSteps(15))
        for value in (0.0, 77.0)
    )
    assert np.array_equal(first.image, second.image)


def test_the_guide_is_near_the_truth_and_has_not_seen_the_held_out_pixels(motion):
    y, x = blurred(blocks((48, 48)), motion, 0.01)
    problem = dip.Deconvolve(motion).problem(torch.from_numpy(y.astype(np.float32))[None])
    hidden, _ = dip.HeldOut().start(problem, 0)
    assert rms(problem.field(guide_of(problem, hidden))[0], x) < 0.7 * rms(y, x)
    assert next(iter(total_variation(problem, problem)), "nothing is held out") == "nothing is held out"


def test_the_variance_that_the_prediction_has_weighs_the_squares():
    model = dip.NoiseModel(gain=torch.tensor([2.0]), floor=torch.tensor([1.0]), mean=torch.tensor([2.0]))
    predicted, y = torch.tensor([[0.0, 4.0]], requires_grad=True), torch.tensor([[1.0, 1.0]])
    loss = dip.NoiseWeighted(model)(predicted, y, None)
    assert loss.detach().item() == pytest.approx((1 / 1 + 9 / 9) / (1 / 1 + 1 / 9))
    loss.backward()
    assert predicted.grad is not None
    assert predicted.grad[0].tolist() == pytest.approx([-2 / (10 / 9), 6 / 9 / (10 / 9)])
    assert dip.NoiseWeighted()(predicted.detach(), y, None).item() == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("psf", "words"),
    [
        (np.ones((3, 3, 3)), "same axes"),
        (np.ones((30, 30)), "larger than the image"),
        (np.array([[-1.0, 2.0]]), "negative"),
    ],
)
def test_a_psf_that_is_none_is_refused_at_once(psf, words):
    with pytest.raises(ValueError, match=words):
        dip.restore(np.eye(20), dip.Deconvolve(psf), max_steps=1)


def test_a_psf_that_was_normalised_is_told_with_the_result(motion):
    result = dip.restore(np.eye(20), dip.Deconvolve(7 * motion), stop=dip.FixedSteps(1))
    assert "The PSF was divided by its sum, 7: the result has the light of the measurement" in result.notes
