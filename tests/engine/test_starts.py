"""Several fits of one prior where there is no pilot: their mean is the result, and only where a mean makes sense."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from ready import TINY

import napari_dip as dip
from napari_dip.engine import run

TWICE = dip.Preset("twice", TINY, starts=2, wide=TINY)
FEW = {"stop": dip.HeldOut(floor=10, ceiling=10, reveal=0.0), "preset": TWICE}


@pytest.fixture(scope="module")
def small():
    rows, columns = np.mgrid[:32, :36]
    return 110 + 60 * np.sin(columns / 3) * np.cos(rows / 4) + 30.0 * (rows > 15)


def gaps(shape):
    return np.random.default_rng(0).random(shape) < 0.3


def test_the_result_is_the_mean_of_two_fits(small):
    both = dip.restore(small, dip.SuperResolve(), **FEW)
    assert [(fit.member, fit.share) for fit in both.fits] == [(0, 0.5), (1, 0.5)]
    one = dip.restore(small, dip.SuperResolve(), max_steps=10, stop=FEW["stop"], preset=dip.Preset("once", TINY))
    other = 2 * both.estimate - one.estimate  # the first fit has the run's seed
    assert np.std(other - one.estimate) > 0.5
    assert np.abs(other - other.mean()).max() < 4 * np.ptp(small)


@pytest.mark.parametrize("task", [dip.SuperResolve(), dip.Inpaint()])
def test_the_mean_of_two_is_nearer_to_the_truth_than_they_are(small, task):
    """Not for one pair by chance: the sum of squared errors over four seeds."""
    truth = np.kron(small, np.ones((2, 2))) if isinstance(task, dip.SuperResolve) else small
    given = small if isinstance(task, dip.SuperResolve) else np.where(gaps(small.shape), np.nan, small)
    rule = dip.HeldOut(floor=150, ceiling=150, reveal=0.0)

    def error(preset):
        results = (dip.restore(given, task, preset=preset, stop=rule, seed=seed).estimate for seed in range(4))
        return sum(float(np.mean((result - truth) ** 2)) for result in results)

    assert error(TWICE) < error(dip.Preset("once", TINY))


def test_a_rule_that_hides_nothing_ends_one_fit(small):
    assert len(dip.restore(small, dip.SuperResolve(), preset=TWICE, stop=dip.FixedSteps(2)).fits) == 1


def test_a_prior_of_ones_own_is_fitted_once(small):
    assert len(dip.restore(small, dip.SuperResolve(), prior=TINY, **FEW).fits) == 1


def test_what_is_invented_in_a_wide_hole_is_not_averaged(small):
    hole = np.zeros((48, 48), bool)
    hole[10:34, 12:36] = True
    result = dip.restore(np.pad(small, ((8, 8), (6, 6)), "edge"), dip.Inpaint(hole), **FEW)
    assert len(result.fits) == 1


@dataclasses.dataclass(frozen=True)
class Squared(dip.Denoise):
    """A task of one's own, of whose operator nothing is known."""

    def problem(self, y):
        return dataclasses.replace(super().problem(y), forward=torch.square)


def test_of_a_task_of_ones_own_there_is_one_fit(small):
    own = dip.Preset("own", TINY, starts=2)
    assert len(dip.restore(small, Squared(), preset=own, stop=FEW["stop"]).fits) == 1


def test_what_is_invented_in_a_wide_hole_of_another_task_is_not_averaged_either(small):
    hole = np.pad(small, ((8, 8), (6, 6)), "edge")
    hole[10:34, 12:36] = np.nan
    assert len(dip.restore(hole, dip.SuperResolve(), fill=True, **FEW).fits) == 1
    assert len(dip.restore(hole, dip.SuperResolve(), **FEW).fits) == 2


def test_a_preset_without_a_fit_is_refused():
    with pytest.raises(ValueError, match="starts"):
        dip.Preset("none", TINY, starts=0)


def test_of_an_operator_that_anybody_wrote_there_is_one_fit():
    """Here both x and -x explain the data: their mean would not."""
    image = torch.linspace(-1, 1, 400).view(20, 20)
    result = dip.reconstruct(image.square(), lambda x: x.square(), (20, 20), span=(-1, 1), **FEW)
    assert len(result.fits) == 1


@pytest.mark.parametrize("task", [dip.SuperResolve(), dip.SuperResolve(model=dip.GaussianPSF(2.0)), dip.Inpaint()])
def test_memory_is_told_for_as_many_fits_as_are_made(small, task, monkeypatch):

    plan, plans = run.plan, []
    monkeypatch.setattr(run, "plan", lambda *args, **kwargs: plans.append(plan(*args, **kwargs)) or plans[-1])
    given = np.where(gaps(small.shape), np.nan, small) if isinstance(task, dip.Inpaint) else small
    preset = dip.Preset("twice", TINY, starts=2, wide=TINY, members=(TINY, dip.Prior(TINY.network, dip.Guide())))
    told = dip.memory_plan(given, task, preset=preset, max_memory=64)
    dip.restore(given, task, preset=preset, max_memory=64, max_steps=1)
    (done,) = plans
    assert told.needed == pytest.approx(done.needed, rel=0.03)  # a little more, where light comes from outside
    assert told.abreast == done.abreast
