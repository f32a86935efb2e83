"""What the presets do: a pilot where the noise can be told, several fits, one result that says what it is made of."""

from __future__ import annotations

import gc
import json

import numpy as np
import pytest
from ready import LITTLE

import napari_dip as dip
from napari_dip.engine.adam import Adam

FEW = {"stop": dip.HeldOut(floor=20, ceiling=20)}
SMALLER = {**FEW, "preset": LITTLE}  # where it is a pilot and two fits that matter, and not how good they are


@pytest.fixture(scope="module")
def clean():
    rows, columns = np.mgrid[:72, :64]
    return 110 + 60 * np.sin(columns / 5) * np.cos(rows / 7) + 30.0 * (rows > 30)


@pytest.fixture(scope="module")
def grainy(clean):
    return clean + np.random.default_rng(1).normal(0, 15, clean.shape)


def rms(a, b):
    return float(np.sqrt(np.mean((np.asarray(a, float) - b) ** 2)))


@pytest.mark.parametrize(("preset", "fits"), [("quick", 1), ("standard", 2), ("best", 4)])
def test_presets_average_their_fits_and_say_the_pilots_weight(grainy, clean, preset, fits):
    result = dip.restore(grainy, preset=preset, **FEW)
    assert [fit.member for fit in result.fits] == list(range(fits))
    assert len(result.fits[0].pilot) == 2
    assert all(0 <= weight <= 1 for weight in result.fits[0].pilot)
    assert "closed-form pilot" in result.notes[0]
    assert f"{result.fits[0].pilot[1]:.2f} in the rest" in result.notes[0]
    assert json.loads(json.dumps(result.report()))["fits"][0]["pilot"] == list(result.fits[0].pilot)
    assert rms(result.image, clean) < 0.5 * rms(grainy, clean)


def test_even_quick_is_better_than_the_plain_prior_on_white_noise(grainy, clean):
    plain = dip.restore(grainy, preset="plain", max_steps=300)
    quick = dip.restore(grainy, preset="quick")
    assert rms(quick.image, clean) < rms(plain.image, clean)
    assert rms(quick.image, clean) < 0.3 * rms(grainy, clean)
    assert quick.report()["steps"] < 200


@pytest.mark.parametrize("given", [{"prior": dip.Prior()}, {"preset": "plain"}, {"stop": dip.FixedSteps(20)}])
def test_a_prior_of_ones_own_a_rule_that_hides_nothing_and_plain_have_no_pilot(grainy, given):
    result = dip.restore(grainy, **{**FEW, **given})
    assert len(result.fits) == 1
    assert result.fits[0].pilot == ()
    assert not any("pilot" in note for note in result.notes)


def test_known_pixels_that_must_stay_need_no_pilot(grainy):
    mask = np.zeros(grainy.shape, bool)
    mask[20:24, 20:24] = True
    result = dip.restore(grainy, dip.Inpaint(mask), **FEW)
    assert result.fits[0].pilot == ()


def test_the_same_seed_gives_the_same_bits_and_another_one_other_members(grainy):
    one, two, three = (dip.restore(grainy, seed=seed, **SMALLER).estimate for seed in (3, 3, 4))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, three)


def test_missing_pixels_influence_nothing_of_a_result_with_a_pilot(grainy):
    missing = np.zeros(grainy.shape, bool)
    missing[10:14, 40:47] = True
    results = [dip.restore(np.where(missing, value, grainy), missing=missing, **SMALLER) for value in (0.0, 1e6)]
    assert results[0].fits[0].pilot != ()
    assert np.array_equal(results[0].estimate, results[1].estimate)


def test_the_steps_of_all_members_are_counted_together(grainy):
    seen = list(dip.iter_restore(grainy, **SMALLER))
    fitted = [progress for progress in seen if progress.phase != "preparing"]
    assert [progress.step for progress in fitted] == list(range(1, len(fitted) + 1))
    assert all(progress.step <= progress.expected for progress in seen)
    assert seen[0].phase == "preparing"
    assert {progress.phase for progress in seen} == {"preparing", "fitting", "revealing"}
    prepared = [progress.prepared for progress in seen]
    assert prepared == sorted(prepared), "the bar of the pilot only grows"
    assert sorted(set(prepared)) == pytest.approx([0, 1 / 3, 2 / 3, 1]), "three turns of one denoiser"
    assert {progress.prepared for progress in fitted} == {1.0}


def optimisers() -> int:
    gc.collect()
    return sum(type(one) is Adam for one in gc.get_objects())


def test_of_a_fit_that_is_over_no_weights_and_no_optimiser_stay(grainy, threads):
    threads(1)
    before, seen = optimisers(), {}
    for progress in dip.iter_restore(grainy, **SMALLER):
        if (at := (progress.phase, progress.fit.member)) not in seen:
            seen[at] = optimisers() - before
    one_at_a_time = {(phase, member): 1 for phase in ("fitting", "revealing") for member in (0, 1)}
    assert seen == {("preparing", 0): 0, **one_at_a_time}


def test_a_stop_while_the_pilot_is_made_still_gives_a_result(grainy):
    control = dip.Control()
    last = None
    for last in dip.iter_restore(grainy, control=control):
        if last.phase == "preparing":
            assert last.restoration().ended == "under way, preparing"
        assert last.image().shape == grainy.shape
        control.stop()
    result = last.restoration()
    assert result.ended == "stopped by the user"
    assert result.image.shape == grainy.shape


def test_a_preview_shows_the_pilots_share_from_the_first_step_on(grainy, clean):
    for progress in dip.iter_restore(grainy, max_steps=30):
        if progress.phase == "fitting" and progress.step == 30:
            assert rms(progress.image(), clean) < 0.5 * rms(grainy, clean)
            assert rms(progress.restoration().image, clean) < 0.5 * rms(grainy, clean)
            return
    raise AssertionError("there was no such step")


def test_colours_and_stacks_have_pilots_frame_by_frame(grainy):
    colours = np.stack([grainy, grainy / 2, grainy + 5], -1)
    assert dip.restore(colours, **SMALLER).fits[0].pilot != ()
    stack = dip.restore(np.stack([grainy, grainy[::-1]]), axes="TYX", **SMALLER)
    assert [(fit.frame, fit.member) for fit in stack.fits] == [((0,), 0), ((0,), 1), ((1,), 0), ((1,), 1)]
    assert not any("Ended after" in note for note in stack.notes)
