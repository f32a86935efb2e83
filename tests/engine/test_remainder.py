"""What a fit has not explained of larger pixels is given back to finer ones, as far as held-out pixels bear it out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from ready import TINY

import napari_dip as dip
from napari_dip.engine.bands import blurred
from napari_dip.engine.remainder import DAMPING, WIDTH, Remainder

FINE, COARSE = (36, 40), (12, 20)  # by 3 and by 2
TASK = dip.SuperResolve((3.0, 2.0))


@pytest.fixture(scope="module")
def scene():
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in FINE), indexing="ij")
    return (0.5 + 0.3 * torch.sin(columns / 6) * torch.cos(rows / 5) + 0.2 * (rows > 17))[None]


def posed(scene, noise=0.0, held=0.1):
    low = TASK.problem(torch.zeros(1, *COARSE)).forward(scene)
    draws = torch.Generator().manual_seed(3)
    y = low + noise * torch.randn(low.shape, generator=draws)
    return Remainder(TASK.problem(y), torch.rand(COARSE, generator=draws)[None] > held)


def smooth(scene):
    return blurred(scene, 6.0, [1, 2], "replicate")


def error(x, scene):
    return float((x - scene).square().mean())


def test_it_is_the_best_linear_estimate(scene):
    """Against the same in dense matrices."""
    remainder = posed(scene, noise=0.01)
    units = torch.eye(FINE[0] * FINE[1]).view(-1, 1, *FINE)
    down = torch.stack([remainder.problem.forward(unit).flatten() for unit in units]).T  # A
    spread = torch.stack([remainder.error(row).flatten() for row in torch.eye(240).view(-1, 1, *COARSE)]).T  # C Aᵀ
    sure = remainder.seen.flatten().nonzero()[:, 0]
    system = (down @ spread)[sure][:, sure] + DAMPING * float((down @ spread).sum(1).mean()) * torch.eye(len(sure))
    x = smooth(scene)
    residual = (remainder.problem.y - remainder.problem.forward(x)).flatten()[sure]
    expected = spread[:, sure] @ torch.linalg.solve(system, residual)
    told = remainder.told(x, remainder.seen).flatten()
    assert torch.allclose(told, expected, atol=1e-4 * float(expected.abs().max()))


def test_the_covariance_is_symmetric_and_positive(scene):
    remainder = posed(scene)
    rows = torch.stack([remainder.spread(row).flatten() for row in torch.eye(240).view(-1, 1, *COARSE)])
    assert torch.allclose(rows, rows.T, atol=1e-6)
    assert float(torch.linalg.eigvalsh(rows.double()).min()) > -1e-7


def test_only_axes_with_finer_pixels_err_together():
    problem = dip.SuperResolve((1.0, 4.0)).problem(torch.zeros(1, 12, 10))
    point = torch.zeros(1, 12, 10)
    point[0, 6, 5] = 1
    spot = Remainder(problem, problem.known()).error(point)
    assert bool((spot[0, [5, 7]] == 0).all())
    assert int((spot[0, 6] > 0).sum()) > 4  # beyond the pixel
    assert pytest.approx(1 / 3) == WIDTH


def test_an_image_that_is_too_smooth_gets_its_detail(scene):
    remainder = posed(scene)
    x, weight = remainder.given_back(smooth(scene), smooth(scene))
    assert weight == pytest.approx(1, abs=0.1)
    assert error(x, scene) < 0.35 * error(smooth(scene), scene)


def test_noise_is_not_given_back(scene):
    """The truth leaves a residual too: the noise."""
    weights = []
    for held in (0.1, 0.2, 0.3):
        remainder = posed(scene, noise=0.05, held=held)
        x, weight = remainder.given_back(scene, scene)
        weights.append(weight)
        assert error(x, scene) < 0.01 * 0.05**2 + (weight * 0.05) ** 2
    assert np.median(weights) < 0.05


def test_of_unknown_elements_nothing_is_told(scene):
    remainder = posed(scene)
    weight = (torch.rand(1, *COARSE, generator=torch.Generator().manual_seed(1)) > 0.3).float()
    y = torch.where(weight > 0, remainder.problem.y, 1e6)
    problem = dataclasses.replace(remainder.problem, y=y, weight=weight)
    x, _ = Remainder(problem, remainder.seen & (weight > 0)).given_back(smooth(scene), smooth(scene))
    assert error(x, scene) < error(smooth(scene), scene)


def test_where_nothing_is_held_out_nothing_is_given_back(scene):
    problem = TASK.problem(torch.full((1, *COARSE), 0.5))
    assert Remainder(problem, problem.known()).given_back(scene, scene) == (scene, 0.0)


def coarse(scene, by=2):
    pixels = scene[0].numpy()
    return 1000 * pixels.reshape(FINE[0] // by, by, FINE[1] // by, by).mean((1, 3))


def test_a_run_gives_back_and_says_so(scene):
    low = coarse(scene)
    rule = dip.HeldOut(floor=40, ceiling=40, reveal=0.0)
    run = {"preset": dip.Preset("once", TINY), "stop": rule}
    result = dip.restore(low, dip.SuperResolve(), **run)
    (fit,) = result.fits
    assert 0.5 < fit.given_back <= 1
    assert result.report()["fits"][0]["given_back"] == fit.given_back
    assert any("given back" in note for note in result.notes)
    left = np.sqrt(np.mean(result.residual**2))
    assert fit.misfit == pytest.approx((left,), rel=1e-3)
    plain = dip.restore(low, dip.SuperResolve(), **run, keep_every=40).at(40)
    assert plain.fits[0].given_back == 0
    truth = 1000 * scene[0].numpy()
    assert np.mean((result.image - truth) ** 2) < 0.8 * np.mean((plain.image - truth) ** 2)


def test_rules_that_hold_nothing_out_give_nothing_back(scene):
    result = dip.restore(coarse(scene), dip.SuperResolve(), preset=dip.Preset("once", TINY), stop=dip.FixedSteps(20))
    assert result.fits[0].given_back == 0
    assert not any("given back" in note for note in result.notes)


def test_the_operator_may_blur_first(scene):
    """Then x goes beyond the field, and so does what is given back."""
    y = torch.from_numpy(coarse(scene) / 1000).float()[None]
    problem = dip.SuperResolve(2.0, model=dip.GaussianPSF(1.5)).problem(y)
    x = torch.full(problem.shape, 0.5)
    held = torch.rand(y.shape, generator=torch.Generator().manual_seed(0)) < 0.1
    better, weight = Remainder(problem, ~held).given_back(x, x)
    assert problem.gives_back
    assert weight > 0.8
    assert better.shape == problem.shape
    assert error(problem.field(better), scene) < 0.2 * error(problem.field(x), scene)
