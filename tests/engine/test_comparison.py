from types import SimpleNamespace

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

import napari_dip as dip
from napari_dip.engine.comparison import gains


def case(result_error, guide_error, side=96, sigma=0.2):
    """A pilot over a smooth scene, and a result: each errs by so much; a tenth of the pixels is held out."""
    rng = np.random.default_rng(0)
    truth = gaussian_filter(rng.normal(0, 1, (1, side, side)), (0, 3, 3)) * 5
    held = rng.random(truth.shape) < 0.1
    y = truth + rng.normal(0, sigma, truth.shape)
    filled = np.where(held, truth + rng.normal(0, sigma, truth.shape), y)
    result, guide = (truth + error * rng.normal(size=truth.shape) for error in (result_error, guide_error))
    values = [torch.from_numpy(a.astype(np.float32)) for a in (y, filled, result, guide)]
    noise = SimpleNamespace(mean=torch.tensor([sigma**2]))
    held_out = torch.from_numpy(held)
    pilot = SimpleNamespace(target=values[0], filled=values[1], guide=values[3], held=held_out, noise=noise)
    return pilot, values[2]


def of(found, name):
    return next(one for one in found if one.over == name)


def test_a_result_better_than_all_others_is_surely_so():
    pilot, result = case(0.005, 0.1)
    found = gains(pilot, result, (0.0, 0.0))
    assert {one.over for one in found} == {"non-local means", "total variation", "the pilot alone"}
    assert all(one.is_sure for one in found)
    pilot_gain = of(found, "the pilot alone")
    assert abs(pilot_gain.gain - (0.1**2 - 0.005**2) / 0.2**2) < 3 * pilot_gain.error


def test_a_result_no_better_than_another_is_not_sure():
    pilot, result = case(0.1, 0.1)
    assert not of(gains(pilot, result, (0.0, 0.0)), "the pilot alone").is_sure
    pilot, result = case(0.4, 0.01)
    worse = of(gains(pilot, result, (0.0, 0.0)), "total variation")
    assert worse.gain < 0
    assert worse.words == "At held-out pixels total variation, which takes seconds, is better than this result"


def test_the_pilots_weight_counts():
    pilot, result = case(0.3, 0.01)
    assert of(gains(pilot, result, (1.0, 1.0)), "the pilot alone").gain == 0


def test_a_run_says_so_where_a_cheap_method_does_as_well():
    flat = np.random.default_rng(0).normal(100, 5, (64, 64)).astype(np.float32)
    result = dip.restore(flat, max_steps=40)
    assert result.fits[0].gains
    assert result.report()["fits"][0]["gains"][0]["over"] == "non-local means"
    assert any(note.startswith("Held-out pixels cannot tell") for note in result.notes)


def test_volumes_are_not_compared():
    pilot, result = case(0.1, 0.1)
    assert gains(pilot, result[:, None], (0.0, 0.0)) == ()


def test_of_several_frames_the_least_sure_speaks():
    from napari_dip.engine.comparison import Gain
    from napari_dip.engine.notes import least_sure

    frames = tuple(Gain("x", gain, 0.1) for gain in (0.5, 0.0, -0.9))
    worst, where = least_sure(frames)
    assert worst.gain == -0.9
    assert where == ", in 2 of 3 frames"
