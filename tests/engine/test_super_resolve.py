"""Super-resolution: nearer to the truth than interpolation, on the right grid, honest about it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve
from skimage.transform import resize

import napari_dip as dip
from napari_dip.engine.remainder import Remainder
from napari_dip.engine.resample import degrader
from napari_dip.engine.variation import adjoint_of

TINY = dip.Prior(network=dip.Skip(down=(8, 8), up=8, skip=2), source=dip.Noise(channels=4))
FEW = dip.FixedSteps(3)


@pytest.fixture(scope="module")
def truth():
    """Discs with sharp edges, (64, 64), 40 to 200."""
    rows, columns = np.mgrid[:64, :64]
    discs = [(rows - y) ** 2 + (columns - x) ** 2 < r**2 for y, x, r in ((20, 22, 12), (45, 40, 9), (18, 50, 6))]
    return 40 + 160.0 * np.any(discs, 0)


def degraded(truth, degradation, shape):
    return degrader(degradation, truth.shape, shape)(torch.from_numpy(truth[None]).float())[0].numpy()


def rms(a, b):
    return float(np.sqrt(np.mean((a - b) ** 2)))


def test_edges_are_sharper_than_interpolation_makes_them(truth):
    low = degraded(truth, dip.Box(), (32, 32))
    prior = dip.Prior(network=dip.Skip(down=(16,) * 4, up=16))
    result = dip.restore(low, dip.SuperResolve(2), prior, dip.FixedSteps(400))
    cubic = resize(low, truth.shape, order=3, mode="edge")
    assert rms(result.image, truth) < 0.75 * rms(cubic, truth)
    misfit = rms(degraded(result.estimate, dip.Box(), (32, 32)), low)
    assert result.fits[0].misfit == pytest.approx((misfit,), rel=1e-3)


def test_results_lie_half_way_between_the_measured_pixels(truth):
    """A fit that reproduces the measurement has its centre of light where that has its own."""
    low = degraded(truth, dip.Box(), (32, 32))
    result = dip.restore(low, dip.SuperResolve(2), TINY, dip.FixedSteps(300))
    for axis in (0, 1):
        where = [(np.arange(n) + 0.5) / n for n in (64, 32)]
        light = [np.sum((image - 40).sum(1 - axis) * at) / (image - 40).sum()
                 for image, at in zip((result.estimate, low), where, strict=True)]  # fmt: skip
        assert light[0] == pytest.approx(light[1], abs=0.01)


@pytest.mark.parametrize(
    ("factor", "shape"),
    [(1.5, (26, 29)), (2, (34, 38)), (2.7, (46, 51)), (8, (136, 152)), ((1, 3), (17, 57)), ((4.0, 1.5), (68, 29))],
    ids=str,
)
@pytest.mark.parametrize("degradation", [dip.Box(), dip.Lanczos()], ids=str)
def test_any_factor_gives_the_whole_field(factor, shape, degradation):
    image = np.random.default_rng(0).normal(100, 9, (17, 19)).astype(np.float32)
    result = dip.restore(image, dip.SuperResolve(factor, degradation), TINY, FEW)
    assert result.image.shape == shape
    assert np.isfinite(result.image).all()


def test_planes_and_volumes_keep_their_depth():
    stack = np.random.default_rng(0).normal(100, 9, (8, 16, 16)).astype(np.float32)
    assert dip.restore(stack, dip.SuperResolve(2), TINY, FEW, axes="ZYX").image.shape == (8, 32, 32)
    planes = dip.restore(stack[:2], dip.SuperResolve(2), TINY, FEW, axes="ZYX", each="Z")
    assert planes.image.shape == (2, 32, 32)
    assert dip.restore(stack, dip.SuperResolve((2, 1, 1)), TINY, FEW, axes="ZYX").image.shape == (16, 16, 16)
    with pytest.raises(ValueError, match="3 factors for the 2 spatial axes of YX"):
        dip.restore(stack[0], dip.SuperResolve((2, 1, 1)))


@pytest.mark.parametrize("factor", [0.5, 1, 1.2, 9, (), (1, 1), (2, 20), float("nan")], ids=str)
def test_other_factors_are_refused(factor):
    with pytest.raises(ValueError, match=r"factor(=| is nan)"):
        dip.SuperResolve(factor)


def test_the_result_says_that_its_detail_was_not_measured():
    image = np.random.default_rng(0).normal(100, 9, (16, 16))
    report = dip.restore(image, dip.SuperResolve(2), TINY, FEW).report()
    assert any("not for quantification" in note for note in report["notes"])
    assert any("degraded again" in note for note in report["notes"])
    assert report["settings"]["task"]["degradation"] == {"name": "Box"}
    assert "not for quantification" in dip.methods_text(report)


def test_tiles_would_meet_at_whole_measured_pixels():
    assert dip.SuperResolve(4).align == (1, 1)
    assert dip.SuperResolve((1.5, 2.25)).align == (2, 4)


LOPSIDED = np.array([[0, 1, 0], [2, 4, 0], [0, 3, 6], [0, 0, 1]], float)  # its origin is the 3
SPOT = dip.GaussianPSF(3.0).kernel((41, 41))


def blurred_problem(factor, psf, shape=(12, 14)):
    return dip.SuperResolve(factor, psf=psf).problem(torch.zeros(1, *shape))


def inside(problem, values):
    """Return x, whose field has these values, and 0 beyond."""
    x = torch.zeros(problem.shape)
    problem.field(x)[0] = torch.from_numpy(np.asarray(values, np.float32))
    return x


def test_a_psf_blurs_the_small_pixels_and_large_ones_see_their_means():
    problem = blurred_problem(2, LOPSIDED)
    scene = np.zeros((24, 28))
    scene[6:-6, 6:-6] = np.random.default_rng(0).random((12, 16))
    expected = convolve(scene, LOPSIDED / LOPSIDED.sum(), mode="constant").reshape(12, 2, 14, 2).mean((1, 3))
    found = problem.forward(inside(problem, scene))[0]
    assert np.allclose(found, expected, atol=1e-6)
    assert float(4 * found.sum()) == pytest.approx(scene.sum(), rel=1e-5), "no light is lost"
    assert torch.allclose(problem.forward(torch.full(problem.shape, 3.0)), torch.tensor(3.0), atol=1e-5)


@pytest.mark.parametrize("factor", [2, 3], ids=str)
def test_behind_a_psf_pixels_still_lie_half_way(factor):
    """A ramp comes out as the same ramp, at the centres of the large pixels, up to the borders of the field."""
    problem = blurred_problem(factor, np.ones((5, 5)))
    x = torch.zeros(problem.shape)
    rows = torch.arange(x.shape[1]) - (x.shape[1] - problem.field(x).shape[1]) // 2  # 0: the field's first
    found = problem.forward(x + rows[:, None])[0]
    fine = problem.field(x).shape[1]
    assert torch.allclose(found, ((torch.arange(12) + 0.5) * fine / 12 - 0.5)[:, None].expand(12, 14), atol=1e-4)


def test_a_point_behind_a_psf_lands_where_its_origin_says():
    up_and_right = np.zeros((5, 5))
    up_and_right[0, 4] = 1  # by two small pixels: one large one
    problem = blurred_problem(2, up_and_right)
    scene = np.zeros((24, 28))
    scene[10:12, 12:14] = 1  # all of the large pixel (5, 6)
    found = problem.forward(inside(problem, scene))[0]
    assert float(found[4, 7]) == pytest.approx(1)
    assert float(found.sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("factor", [2, (1.5, 3.0)], ids=str)
def test_autograd_gives_the_adjoint_of_blur_and_sampling(factor):
    problem = blurred_problem(factor, LOPSIDED)
    x, u = (torch.rand(shape, generator=torch.Generator().manual_seed(1)) for shape in (problem.shape, (1, 12, 14)))
    back = adjoint_of(problem.forward, problem.shape)(u)
    assert float((problem.forward(x) * u).sum()) == pytest.approx(float((x * back).sum()), rel=1e-5)
    small = blurred_problem(1.5, LOPSIDED, (4, 4))
    exact = dataclasses.replace(small.forward, pixels=_in_double(small.forward.pixels))
    start = torch.rand(small.shape, dtype=torch.double, generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(exact, (start.requires_grad_(),))


def _in_double(pixels):
    return dataclasses.replace(pixels, matrices={axis: m.double() for axis, m in pixels.matrices.items()})


def test_light_from_outside_the_field_comes_in_and_none_wraps_around():
    problem = blurred_problem(2, np.ones((9, 9)))
    x = torch.zeros(problem.shape)
    x[:, :4] = 1  # all that lies above the field
    found = problem.forward(x)[0]
    assert float(found[0, 0]) == pytest.approx((4 + 3) / 9 / 2)
    assert float(found[2:].abs().max()) < 1e-6


def test_a_psf_brings_the_result_nearer_to_the_truth(truth):
    whole = convolve(truth, SPOT / SPOT.sum(), mode="nearest")
    low = degraded(whole, dip.Box(), (32, 32)) + np.random.default_rng(0).normal(0, 0.5, (32, 32))
    prior = dip.Prior(network=dip.Skip(down=(16,) * 4, up=16))
    plain, known = (
        dip.restore(low, dip.SuperResolve(2, model=model), prior, dip.FixedSteps(600)).image
        for model in (None, dip.GaussianPSF(3.0))
    )
    assert known.shape == plain.shape == truth.shape
    assert rms(known, truth) < 0.85 * rms(plain, truth)


def test_missing_pixels_have_no_influence_behind_a_psf(truth):
    low = degraded(truth, dip.Box(), (32, 32))
    hole = np.zeros(low.shape, bool)
    hole[10:13, 15:20] = True
    first, second = (
        dip.restore(np.where(hole, value, low), dip.SuperResolve(2, psf=SPOT), TINY, FEW, missing=hole,
                    fill=True)
        for value in (0.0, 777.0)
    )  # fmt: skip
    assert np.array_equal(first.image, second.image)


def test_a_volume_is_blurred_in_all_directions_and_sampled_in_some():
    stack = np.random.default_rng(0).normal(100, 9, (8, 16, 16)).astype(np.float32)
    task = dip.SuperResolve(2, model=dip.GaussianPSF(2.0, fwhm_z=3.0))
    assert dip.restore(stack, task, TINY, FEW, axes="ZYX").image.shape == (8, 32, 32)


@pytest.mark.parametrize(
    ("psf", "words"),
    [
        (np.ones((3, 3, 3)), "restored image's spatial shape is .40, 40.: both need the same axes"),
        (np.ones((41, 3)), "larger than the restored image, .40, 40."),
        (np.array([[-1.0, 2.0]]), "negative"),
        (np.zeros((3, 3)), "zero everywhere"),
        (np.array([[np.nan, 2.0]]), "finite real numbers"),
    ],
)
def test_a_psf_that_is_none_is_refused_by_super_resolution(psf, words):
    with pytest.raises(ValueError, match=words):
        dip.restore(np.eye(20), dip.SuperResolve(2, psf=psf), max_steps=1)


def test_a_psf_that_was_normalised_is_told_with_the_fine_image():
    result = dip.restore(np.eye(20), dip.SuperResolve(2, psf=7 * np.ones((1, 1))), TINY, FEW)
    assert "The PSF was divided by its sum, 7: the result has the light of the measurement" in result.notes


def test_few_pixels_are_hidden_where_each_leaves_a_gap_of_many():
    y = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))
    hidden = {}
    for name, problem in {"fine": dip.SuperResolve(4).problem(y), "alike": dip.Denoise().problem(y)}.items():
        shown, _ = dip.HeldOut().start(problem, 0)
        hidden[name] = int((~shown.known()).sum())
    assert 70 < hidden["fine"] < 140
    assert hidden["alike"] > 150


def test_the_last_phase_begins_anew_with_all_pixels(truth, monkeypatch):
    """After as many steps as were best without some, it is the fit that never hid any."""
    monkeypatch.setattr(Remainder, "given_back", lambda _, x, unseen: (x, 0.0))
    small = degraded(truth, dip.Box(), (20, 24))
    once = dip.Preset("once", TINY)
    rule = dip.HeldOut(floor=60, ceiling=60, reveal=1.0)
    found = dip.restore(small, dip.SuperResolve(2), preset=once, stop=rule)
    assert found.fits[0].revealed == found.best_step
    told = dip.restore(small, dip.SuperResolve(2), preset=once, stop=dip.FixedSteps(found.best_step))
    np.testing.assert_array_equal(found.estimate, told.estimate)


@pytest.fixture(scope="module")
def anew():
    return {"preset": dip.Preset("once", TINY), "stop": dip.HeldOut(floor=60, ceiling=60, reveal=1.0)}


def test_a_last_phase_that_was_stopped_does_not_count(truth, anew):
    small, control = degraded(truth, dip.Box(), (20, 24)), dip.Control()
    hidden = {**anew, "stop": dip.HeldOut(floor=60, ceiling=60, reveal=0.0)}
    without = dip.restore(small, dip.SuperResolve(2), **hidden)
    for progress in dip.iter_restore(small, dip.SuperResolve(2), **anew, control=control):
        if progress.phase == "revealing":
            control.stop()
    np.testing.assert_array_equal(progress.restoration().estimate, without.estimate)


def test_where_few_steps_are_left_the_last_phase_goes_on_from_the_best(truth, anew):
    small = degraded(truth, dip.Box(), (20, 24))
    limited = dip.restore(small, dip.SuperResolve(2), **anew, max_steps=70)
    going_on = {**anew, "stop": dip.HeldOut(floor=60, ceiling=60, reveal=10 / limited.best_step)}
    assert limited.fits[0].revealed == 10
    np.testing.assert_array_equal(limited.estimate, dip.restore(small, dip.SuperResolve(2), **going_on).estimate)


def test_pixels_are_finer_whatever_lies_around_the_field():
    y = torch.rand(1, 24, 24, generator=torch.Generator().manual_seed(0))
    spot = dip.GaussianPSF(3.0)
    assert dip.SuperResolve(1.5).problem(y).is_finer
    assert dip.SuperResolve(2, model=spot).problem(y).is_finer
    assert not dip.Deconvolve(model=spot).problem(y).is_finer
    assert not dip.Denoise().problem(y).is_finer
