"""What a fit has not explained of larger pixels is given back to finer ones, as far as held-out pixels bear it out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ready import TINY

import napari_dip as dip
from napari_dip.engine.bands import blurred
from napari_dip.engine.judges import judges
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
    return judged(TASK.problem(y), torch.rand(COARSE, generator=draws)[None] < held)


def judged(problem, held, **options):
    """As if these elements had been held out."""
    return Remainder(problem, problem.known() & ~held, problem.known() & held, **options)


def smooth(scene):
    return blurred(scene, 6.0, [1, 2], "replicate")


def error(x, scene):
    return float((x - scene).square().mean())


def test_what_is_told_solves_the_equations_of_the_best_linear_estimate(scene):
    """In dense matrices."""
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
    spot = judged(problem, torch.zeros_like(problem.known())).error(point)
    assert bool((spot[0, [5, 7]] == 0).all())
    assert int((spot[0, 6] > 0).sum()) > 4  # beyond the pixel
    places = torch.arange(40) - 4 * 5.5 + 0.5
    variance = float((spot[0, 6] * places.square()).sum() / spot[0, 6].sum())
    assert variance == pytest.approx((4**2 - 1) / 12 + (4 * WIDTH) ** 2, rel=0.02)  # of the pixel, and of the blur


def test_an_image_that_is_too_smooth_gets_its_detail(scene):
    remainder = posed(scene)
    x, weight = remainder.given_back(smooth(scene), smooth(scene))
    assert weight == pytest.approx(1, abs=0.1)
    assert error(x, scene) < 0.35 * error(smooth(scene), scene)


def test_noise_is_not_given_back():
    """The truth leaves a residual too: the noise. What few held-out pixels bear out by chance is little."""
    draws, noise = torch.Generator().manual_seed(1), 0.05
    rows, columns = torch.meshgrid(*(torch.arange(64, dtype=torch.float32),) * 2, indexing="ij")
    scene = (0.5 + 0.3 * torch.sin(columns / 6) * torch.cos(rows / 5))[None]
    low, brought = dip.SuperResolve().problem(torch.zeros(1, 32, 32)).forward(scene), []
    for _ in range(60):
        problem = dip.SuperResolve().problem(low + noise * torch.randn(low.shape, generator=draws))
        x, _ = judged(problem, torch.rand(low.shape, generator=draws) < 0.1).given_back(scene, scene)
        brought.append(error(x, scene) / noise**2)
    assert np.median(brought) == 0
    assert np.mean(brought) < 0.04  # of its variance; with weights of least squares twice as much


def test_of_noise_that_goes_on_from_pixel_to_pixel_nothing_is_given_back():
    """A held-out pixel tells of the residual of its neighbours even where it is noise: only its whole block judges."""
    draws = torch.Generator().manual_seed(0)
    truth = torch.full((1, 256, 256), 0.5)
    low = truth[:, ::2, ::2]
    weights: dict[str, list[float]] = {"all": [], "judges": []}
    for seed in range(4):
        white = torch.randn(1, 1, 130, 130, generator=draws)
        problem = dip.SuperResolve().problem(low + 0.05 * F.avg_pool2d(white, 3, 1)[0])
        hidden, _ = dip.HeldOut().start(problem, seed)
        held, chosen = problem.known() & ~hidden.known(), judges(problem, hidden)
        assert 0 < int(chosen.sum()) < 0.2 * int(held.sum())
        for name, which in (("all", held), ("judges", chosen)):
            weights[name].append(Remainder(problem, hidden.known(), which).given_back(truth, truth)[1])
    assert min(weights["all"]) > 0.9
    assert max(weights["judges"]) < 0.2


def test_a_channel_has_its_own_weight_where_channels_are_no_colours(scene):
    """One is too smooth, the other one leaves nothing but its noise."""
    draws = torch.Generator().manual_seed(2)
    low = TASK.problem(torch.zeros(1, *COARSE)).forward(scene).repeat(2, 1, 1)
    low[1] += 0.3 * torch.randn(COARSE, generator=draws)
    x = torch.cat([smooth(scene), scene])
    remainder = judged(TASK.problem(low), torch.rand(COARSE, generator=draws).expand(2, -1, -1) < 0.2, is_pooled=False)
    weights = remainder.weights(x)
    assert weights.shape == (2, 1, 1)
    assert weights[0].item() > 0.8
    assert weights[1].item() < 0.2
    together = dataclasses.replace(remainder, is_pooled=True).weights(x)
    assert together.shape == (2, 1, 1)
    assert together[0] == together[1] < 0.8


def test_a_volume_gets_its_detail_too():
    planes, rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in (12, 24, 24)), indexing="ij")
    volume = (0.5 + 0.4 * torch.sin(columns / 4) * torch.cos(rows / 3) * torch.cos(planes / 3))[None]
    task = dip.SuperResolve((1.0, 2.0, 2.0))
    low = task.problem(torch.zeros(1, 12, 12, 12)).forward(volume)
    held = torch.rand(low.shape, generator=torch.Generator().manual_seed(0)) < 0.1
    flat = torch.full_like(volume, 0.5)
    x, weight = judged(task.problem(low), held).given_back(flat, flat)
    assert weight > 0.9
    assert error(x, volume) < 0.1 * error(flat, volume)


def test_what_is_given_back_goes_below_no_floor(scene):
    remainder = posed(scene)
    problem = dataclasses.replace(remainder.problem, floor=torch.tensor([0.3]))
    bounded, weight = dataclasses.replace(remainder, problem=problem).given_back(smooth(scene), smooth(scene))
    free, _ = remainder.given_back(smooth(scene), smooth(scene))
    assert weight > 0.8
    assert torch.equal(bounded, free.clamp(min=0.3))
    assert float(free.min()) < 0.3


def test_of_unknown_elements_nothing_is_told(scene):
    remainder = posed(scene)
    weight = (torch.rand(1, *COARSE, generator=torch.Generator().manual_seed(1)) > 0.3).float()
    y = torch.where(weight > 0, remainder.problem.y, 1e6)
    problem = dataclasses.replace(remainder.problem, y=y, weight=weight)
    x, _ = judged(problem, remainder.held).given_back(smooth(scene), smooth(scene))
    assert error(x, scene) < error(smooth(scene), scene)


def test_where_nothing_is_held_out_nothing_is_given_back(scene):
    problem = TASK.problem(torch.full((1, *COARSE), 0.5))
    assert judged(problem, torch.zeros_like(problem.known())).given_back(scene, scene) == (scene, 0.0)


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


def test_of_several_frames_the_note_tells_the_mean_weight(scene):
    """The second has nothing but noise."""
    low = coarse(scene)
    stack = np.stack([low, np.random.default_rng(0).normal(500, 100, low.shape).astype(low.dtype)])
    rule = dip.HeldOut(floor=40, ceiling=40, reveal=0.0)
    result = dip.restore(stack, dip.SuperResolve(), axes="TYX", preset=dip.Preset("once", TINY), stop=rule)
    first, second = (fit.given_back for fit in result.fits)
    assert first > 0.5 > second
    assert any(f"with a weight of {(first + second) / 2:.2f} by" in note for note in result.notes)


def test_a_record_of_a_run_under_way_tells_of_what_its_image_has(scene):
    rule = dip.HeldOut(floor=40, ceiling=40, reveal=0.0)
    run = dip.iter_restore(coarse(scene), dip.SuperResolve(), preset=dip.Preset("once", TINY), stop=rule)
    early = next(now for now in run if now.step == 20).restoration()
    assert early.fits[0].given_back > 0.5
    assert any("given back" in note for note in early.notes)


def test_rules_that_hold_nothing_out_give_nothing_back(scene, monkeypatch):
    monkeypatch.delattr(Remainder, "given_back")  # nor is any work done for it
    result = dip.restore(coarse(scene), dip.SuperResolve(), preset=dip.Preset("once", TINY), stop=dip.FixedSteps(20))
    assert result.fits[0].given_back == 0
    assert not any("given back" in note for note in result.notes)


def test_the_operator_may_blur_first(scene):
    """Then x goes beyond the field, and so does what is given back."""
    y = torch.from_numpy(coarse(scene) / 1000).float()[None]
    problem = dip.SuperResolve(2.0, model=dip.GaussianPSF(1.5)).problem(y)
    x = torch.full(problem.shape, 0.5)
    held = torch.rand(y.shape, generator=torch.Generator().manual_seed(0)) < 0.1
    better, weight = judged(problem, held).given_back(x, x)
    assert problem.gives_back
    assert weight > 0.8
    assert better.shape == problem.shape
    assert error(problem.field(better), scene) < 0.2 * error(problem.field(x), scene)
