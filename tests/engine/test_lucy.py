"""The estimate of Richardson and Lucy, and which estimate shows the network the way."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve
from skimage.restoration import richardson_lucy as reference

import napari_dip as dip
from napari_dip.engine import lucy
from napari_dip.engine.estimates import LUCY, VARIATION, linear_estimate
from napari_dip.engine.lucy import richardson_lucy
from napari_dip.engine.work import finished

PSF = dip.GaussianPSF(3.0).kernel((49, 49))


def rms(a, b):
    return float(np.sqrt(np.mean((np.asarray(a, float) - b) ** 2)))


def points(seed=0, dark=0.0):
    """Return discs on dark ground, and what is counted of them through a Gaussian."""
    rng = np.random.default_rng(seed)
    scene = np.zeros((64, 64))
    rows, columns = np.indices(scene.shape)
    for _ in range(20):
        row, column = rng.uniform(8, 56, 2)
        scene[(rows - row) ** 2 + (columns - column) ** 2 <= 3] = rng.uniform(50, 200)
    return scene + dark, rng.poisson(fftconvolve(scene, PSF / PSF.sum(), mode="same").clip(0) + dark).astype(float)


def posed(y, floor=0.0, psf=PSF, scale=1.0):
    problem = dip.Deconvolve(psf).problem(torch.from_numpy((y / scale).astype(np.float32))[None])
    floor = None if floor is None else torch.tensor([floor / scale])
    problem = dataclasses.replace(problem, floor=floor)
    hidden, _ = dip.HeldOut().start(problem, 0)
    return problem, hidden


def shown(problem, x):
    return problem.field(x)[0].numpy().astype(float)


def test_the_first_iteration_is_the_formula_s(monkeypatch):
    monkeypatch.setattr(lucy, "MOST", 1)
    rng = np.random.default_rng(0)
    a, y = rng.uniform(0, 1, (12, 9)).astype(np.float32), rng.uniform(1, 2, 12).astype(np.float32)
    problem = dip.Problem(torch.from_numpy(y)[None], (1, 9), forward=lambda x: x @ torch.from_numpy(a).T,
                          floor=torch.zeros(1), is_image=False, is_linear=True)  # fmt: skip
    sure = np.array([1] * 10 + [0] * 2, np.float32)
    hidden = dataclasses.replace(problem, weight=torch.from_numpy(sure)[None])
    x = np.full(9, y[:10].mean() / (a @ np.ones(9)).mean())
    expected = x * (a.T @ (sure * y / (a @ x))) / (a.T @ sure)
    assert finished(richardson_lucy(problem, hidden))[0].numpy() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_it_ends_near_the_best_iteration_of_the_field_s_own(seed):
    truth, y = points(seed)
    problem, hidden = posed(y, scale=y.max())
    ours = y.max() * shown(problem, finished(richardson_lucy(problem, hidden)))
    wide = np.pad(y.clip(1e-3), 24, mode="edge")
    best = min(rms(reference(wide, PSF, n, clip=False)[24:-24, 24:-24], truth) for n in (5, 10, 20, 40, 80, 160))
    assert rms(ours, truth) < 1.1 * best < best + rms(y, truth)
    assert ours.min() >= 0


def test_a_floor_is_taken_off_before_and_added_after():
    truth, y = points(dark=100.0)
    problem, hidden = posed(y, floor=100.0, scale=y.max())
    x = finished(richardson_lucy(problem, hidden))
    assert x.min() >= problem.floor.min()
    above_nothing = finished(richardson_lucy(*posed(y, scale=y.max())))
    errors = [rms(y.max() * shown(problem, one), truth) for one in (x, above_nothing)]
    assert errors[0] < 0.9 * errors[1], "what is known of the dark helps"


def test_pixels_whose_light_does_not_reach_the_field_stay_finite():
    _, y = points()
    problem, hidden = posed(y, scale=y.max())
    unknown = hidden.known().clone()
    unknown[:, :30] = False
    hidden = dataclasses.replace(hidden, weight=unknown.float())
    x = finished(richardson_lucy(problem, hidden))
    assert bool(torch.isfinite(x).all())
    assert float(x.max()) < 100


def test_without_a_floor_held_out_pixels_or_light_that_adds_up_there_is_none():
    _, y = points()
    problem, hidden = posed(y, scale=y.max())
    assert finished(richardson_lucy(*posed(y, floor=None, scale=y.max()))) is None
    assert finished(richardson_lucy(problem, problem)) is None
    turned = [dataclasses.replace(one, forward=lambda x: -problem.forward(x)) for one in (problem, hidden)]
    assert finished(richardson_lucy(*turned)) is None


def test_what_predicts_held_out_pixels_better_shows_the_way():
    _, y = points()
    x, words = finished(linear_estimate(*posed(y, scale=y.max())))
    assert words == LUCY
    assert float(x.min()) >= 0
    rng = np.random.default_rng(0)
    even = np.kron(rng.uniform(0.3, 1, (8, 8)), np.ones((8, 8)))
    soft = fftconvolve(np.pad(even, 24, mode="edge"), PSF / PSF.sum(), mode="same")[24:-24, 24:-24]
    problem, hidden = posed(soft + rng.normal(0, 0.01, soft.shape))
    assert finished(linear_estimate(problem, hidden))[1] == VARIATION
    assert finished(linear_estimate(*posed(y, floor=None, scale=y.max())))[1] == VARIATION
    assert finished(linear_estimate(problem, problem)) is None


def test_the_notes_say_which_it_was():
    _, y = points()
    guided = dip.Prior(network=dip.Skip(down=(8,) * 3, up=8), source=dip.Guide())
    preset = dip.Preset("one", members=(guided,), stop=dip.HeldOut(floor=20, ceiling=20))
    result = dip.restore(y, dip.Deconvolve(PSF, floor=0), preset=preset)
    assert LUCY in result.notes
    assert VARIATION in dip.restore(y, dip.Deconvolve(PSF), preset=preset).notes


def test_who_waits_for_it_goes_on_with_gradients():
    y = np.random.default_rng(0).poisson(20 + 20 * np.eye(24)).astype(float)
    seen = [torch.is_grad_enabled() for _, _ in zip(richardson_lucy(*posed(y, scale=y.max())), range(3), strict=False)]
    assert seen == [True] * 3
