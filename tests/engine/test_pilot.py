"""The pilot beside the network: its weight follows its risk, and it sees nothing that it must not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import napari_dip as dip
from napari_dip.engine.bands import bands
from napari_dip.engine.noise import NoiseModel
from napari_dip.engine.pilot import Pilot, _between_zero_and_one, _least_of_sum_one, make_pilot
from napari_dip.engine.problem import Problem
from napari_dip.engine.work import finished

SIGMA = 0.1


def clean_image(size=72):
    y, x = np.mgrid[:size, :size] / size
    return (0.3 + 0.4 * (np.hypot(x - 0.5, y - 0.5) < 0.3) + 0.1 * np.sin(20 * x)).astype(np.float32)


@pytest.fixture(scope="module")
def measured():
    clean = torch.from_numpy(clean_image())[None]
    return clean + SIGMA * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)), clean


def problems(y, weight=None):
    problem = Problem(y, tuple(y.shape), weight=weight)
    return problem, dip.HeldOut().start(problem, 0)[0]


@pytest.fixture(scope="module")
def pilot(measured):
    return finished(make_pilot(*problems(measured[0]), seed=0, passes=1))


def test_the_mixture_is_hardly_worse_than_the_better_of_both(pilot, measured):
    y, clean = measured
    generator = torch.Generator().manual_seed(5)
    chance = 2 * SIGMA**2 / int(pilot.held.sum())  # two weights, told from so many noisy values
    for error in (0.0, 0.01, 0.03, 0.1):
        x = clean + error * torch.randn(y.shape, generator=generator)
        mixed = pilot.mixed(x, pilot.weights(x))
        better = min(float((one - clean).square().mean()) for one in (x, pilot.estimate))
        assert float((mixed - clean).square().mean()) < 1.02 * better + chance


def test_fits_have_shares_by_how_far_they_err(pilot, measured):
    clean = measured[1]
    generator = torch.Generator().manual_seed(7)
    errors = torch.tensor([0.05, 0.1, 0.3])[:, None, None, None] * torch.randn((3, *clean.shape), generator=generator)
    shares = torch.tensor(pilot.shares([clean + error for error in errors]))
    assert abs(float(shares.sum()) - 1) < 1e-3
    assert float(shares.min()) >= 0
    assert shares[0] > shares[1] > shares[2]
    mixed, equal = ((weights @ errors.flatten(1)).square().mean() for weights in (shares, torch.full((3,), 1 / 3)))
    assert mixed < 0.5 * equal
    assert pilot.shares([clean]) == (1,)
    assert dataclasses.replace(pilot, share=0.5).shares([clean] * 3) == pytest.approx((1 / 3,) * 3)


def test_shares_solve_their_quadratic_problem_on_the_simplex():
    generator = torch.Generator().manual_seed(3)
    for count in (2, 3, 5):
        root = torch.randn((count, count + 2), generator=generator, dtype=torch.float64)
        gram = root @ root.T
        found = torch.tensor(_least_of_sum_one(gram), dtype=torch.float64)
        others = torch.rand((2000, count), generator=generator, dtype=torch.float64) ** 3
        others /= others.sum(1, keepdim=True)
        assert float(found @ gram @ found) <= float(((others @ gram) * others).sum(1).min()) * 1.001
    assert _least_of_sum_one(torch.zeros(3, 3)) == pytest.approx((1 / 3,) * 3, abs=1e-4)


def test_a_blind_network_leaves_all_to_the_pilot(pilot, measured):
    assert pilot.weights(torch.full_like(measured[1], 0.3))[1] > 0.9


def told_by(pilot, best, difference, seed):
    """Weights told by unit noise of a pilot that differs from the network by so much and whose best ones are known."""
    generator = torch.Generator().manual_seed(seed)
    apart, noise = (torch.randn(pilot.y.shape, generator=generator) for _ in range(2))
    target = noise + sum(weight * band for weight, band in zip(best, bands(difference * apart), strict=True))
    blind = torch.zeros_like(target)  # a pilot that has not seen the noise does not follow it
    told = dataclasses.replace(pilot, estimate=difference * apart, y=target, probe=blind, response=blind)
    return told.weights(blind)


def test_what_is_surely_told_of_the_weights_is_believed(pilot):
    assert np.allclose(told_by(pilot, (0.2, 0.9), 10.0, seed=0), (0.2, 0.9), atol=0.03)


def test_what_chance_may_have_told_of_the_weights_is_taken_back_to_the_usual_ones(pilot):
    told = np.array([told_by(pilot, (0.7, 0.7), 0.05, seed) for seed in range(100)])
    assert 0.5 <= (told == 0.7).all(1).mean() <= 0.76  # of a chi square of two degrees 63 % lie below 2
    assert told.min() >= 0
    assert told.max() <= 1


def test_what_is_usual_is_told_and_does_not_move_what_is_sure(pilot):
    other = dataclasses.replace(pilot, usual=0.9)
    weights = np.array([told_by(other, (0.7, 0.7), 0.001, seed) for seed in range(100)])
    assert 0.5 <= (weights == 0.9).all(1).mean() <= 0.76
    assert np.allclose(told_by(other, (0.2, 0.9), 10.0, seed=0), (0.2, 0.9), atol=0.03)


@pytest.mark.parametrize("unseen", [False, True])
def test_where_a_network_failed_and_the_pilot_did_not_the_pilot_is_taken(pilot, measured, unseen):
    _, clean = measured
    x = clean.clone()
    assert torch.equal(pilot.mended(x, unseen=unseen), x)
    x[:, :16, :16] += 1.0
    mended = pilot.mended(x, unseen=unseen)
    own = pilot.guide if unseen else pilot.estimate
    assert torch.equal(mended[:, :14, :14], own[:, :14, :14])
    assert torch.equal(mended[:, 28:, 28:], x[:, 28:, 28:])
    both = dataclasses.replace(pilot, estimate=pilot.estimate + 1.0, guide=pilot.guide + 1.0)
    assert torch.equal(both.mended(x, unseen=unseen), x), "where the pilot is as wrong nothing is gained"


def test_what_a_network_gave_without_the_held_out_pixels_is_judged_without_them(pilot, measured):
    _, clean = measured
    assert torch.equal(pilot.shown, ~pilot.held)
    other = dataclasses.replace(pilot, filled=torch.where(pilot.shown, pilot.filled, 50.0))
    x = clean.clone()
    x[:, :16, :16] += 1.0
    assert torch.equal(other.mended(x, unseen=True), pilot.mended(x, unseen=True))


@pytest.mark.parametrize("unseen", [False, True])
def test_where_more_noise_is_than_was_told_no_fit_is_blamed(measured, unseen):
    y, clean = measured
    told = NoiseModel(torch.zeros(1), *2 * [torch.full((1,), (SIGMA / 2.4) ** 2)])
    problem, hidden = (dataclasses.replace(one, noise=told) for one in problems(y))
    pilot = finished(make_pilot(problem, hidden, seed=0, passes=1))
    assert torch.equal(pilot.mended(clean, unseen=unseen), clean)


def test_the_guide_does_not_know_the_held_out_pixels(pilot, measured):
    y, _ = measured
    problem, hidden = problems(y)
    held = problem.known() & ~hidden.known()
    other = torch.where(held, 7.0, y)
    changed = finished(make_pilot(problem, dataclasses.replace(hidden, y=other), seed=0, passes=1))
    assert torch.equal(changed.guide, pilot.guide)
    assert torch.equal(pilot.held, held)


def test_missing_pixels_change_nothing_of_it(measured):
    y, _ = measured
    weight = torch.ones_like(y)
    weight[:, 30:36, 30:36] = 0
    made = [
        finished(make_pilot(*problems(torch.where(weight > 0, y, fill), weight), seed=0, passes=1))
        for fill in (0.0, 50.0)
    ]
    for field in ("guide", "estimate", "response"):
        assert torch.equal(getattr(made[0], field), getattr(made[1], field))


@pytest.mark.parametrize("case", ["operator", "nothing held out", "holes", "noiseless", "small"])
def test_there_is_none_where_it_would_be_a_guess(measured, case):
    y, _ = measured
    problem, hidden = problems(y)
    if case == "operator":
        problem = dataclasses.replace(problem, forward=lambda x: 2 * x)
    elif case == "nothing held out":
        hidden = problem
    elif case == "holes":
        problem, hidden = problems(y, (torch.rand(y.shape, generator=torch.Generator().manual_seed(0)) > 0.4).float())
    elif case == "noiseless":
        problem, hidden = problems(torch.full_like(y, 0.5))
    else:
        problem, hidden = problems(y[:, :20, :20])
    assert finished(make_pilot(problem, hidden, seed=0, passes=1)) is None


def test_bands_sum_to_the_image_and_part_fine_from_coarse():
    image = torch.rand(2, 20, 31, generator=torch.Generator().manual_seed(0))
    fine, rest = bands(image)
    assert torch.allclose(fine + rest, image, atol=1e-6)
    chess = torch.from_numpy(((np.indices((20, 20)).sum(0) % 2) * 2.0 - 1).astype(np.float32))[None]
    assert float(bands(chess)[1][:, 4:-4, 4:-4].abs().max()) < 0.02


def test_weights_are_the_best_within_zero_and_one():
    gram = torch.tensor([[2.0, 0.3], [0.3, 1.0]], dtype=torch.float64)
    inside = torch.tensor([0.4, 0.7], dtype=torch.float64)
    assert np.allclose(_between_zero_and_one(gram, gram @ inside), inside, atol=1e-3)
    outside = gram @ torch.tensor([1.8, 0.2], dtype=torch.float64)
    found = _between_zero_and_one(gram, outside)
    grid = np.linspace(0, 1, 101)
    w = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1)  # (101, 101, 2)
    values = np.einsum("abi,ij,abj->ab", w, gram.numpy(), w) - 2 * w @ outside.numpy()
    best = divmod(int(np.argmin(values)), 101)
    assert np.allclose(found, np.array(best) / 100, atol=0.011)


def test_a_volume_has_a_pilot_too(measured):
    y = torch.stack([measured[0]] * 3, 1)
    made = finished(make_pilot(*problems(y), seed=0, passes=1))
    assert isinstance(made, Pilot)
    assert made.mixed(y, (0.5, 0.5)).shape == y.shape


def test_over_an_area_no_light_is_lost(pilot, measured):
    y, clean = measured
    rows = torch.arange(y.shape[1])[:, None] / y.shape[1]
    biased = clean + 0.05 * rows  # brighter and brighter
    mended = pilot.balanced(biased)
    middle = (0, slice(12, -12), slice(12, -12))
    assert float((mended - clean)[middle].abs().mean()) < 0.4 * float((biased - clean)[middle].abs().mean())
    assert float((pilot.balanced(clean) - clean).std()) < 0.05 * SIGMA


def test_missing_pixels_are_not_balanced_and_balance_nothing(measured):
    y, clean = measured
    weight = torch.ones_like(y)
    weight[:, 20:26, 30:44] = 0
    results = []
    for filler in (0.0, 50.0):
        one = finished(make_pilot(*problems(torch.where(weight > 0, y, 0.0), weight), seed=0, passes=1))
        one = dataclasses.replace(one, y=torch.where(weight > 0, y, filler))
        results.append(one.balanced(clean))
    assert torch.equal(*results)
    assert torch.equal(results[0][weight == 0], clean[weight == 0])
