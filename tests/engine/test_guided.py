"""A guide: helps where it shows the same scene, prints nothing of its own into the result, and is refused otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import napari_dip as dip

SMALL = dip.Prior(network=dip.Skip(down=(16,) * 4, up=16), source=dip.Guide())
RULE = dip.HeldOut(floor=100, ceiling=400, patience=100)


@pytest.fixture(scope="module")
def scene():
    """Squares under one light (target) and under another (guide), (48, 48), both 0 to 1."""
    rng = np.random.default_rng(3)
    patches = rng.random((2, 8, 8))
    patches[1] = 1 - 0.8 * patches[0]  # what is bright in one is dark in the other
    target, guide = patches.repeat(6, 1).repeat(6, 2)
    return target, guide


def rms(a, b):
    return float(np.sqrt(np.mean((a - b) ** 2)))


def test_a_guide_of_the_scene_helps(scene):
    target, guide = scene
    noisy = target + np.random.default_rng(0).normal(0, 0.2, target.shape)
    alone = dip.restore(noisy, dip.Denoise(), SMALL, RULE)
    guided = dip.restore(noisy, dip.Guided(guide), SMALL, RULE)
    assert rms(guided.image, target) < 0.8 * rms(alone.image, target)


def test_what_is_only_in_the_guide_is_not_printed_into_the_result(scene):
    target, guide = scene
    only = np.zeros_like(guide)
    only[10:38:4, 8:40] = 0.5  # stripes
    stripes = only - gaussian_filter(only, 2)
    transferred = []
    for seed in (0, 1):  # one fit has 4 to 7 % of them, by the seed and the number of threads
        noisy = target + np.random.default_rng(seed).normal(0, 0.1, target.shape)
        error = dip.restore(noisy, dip.Guided(guide + only), SMALL, RULE, seed=seed).image - target
        transferred.append(np.sum((error - gaussian_filter(error, 2)) * stripes) / np.sum(stripes**2))
    assert np.abs(transferred).mean() < 0.1


@pytest.mark.parametrize("preset", ["quick", "plain"])
def test_every_preset_lets_the_network_see_the_guide(scene, preset):
    target, guide = scene
    noisy = target + np.random.default_rng(0).normal(0, 0.1, target.shape)
    first, second = (
        dip.restore(noisy, dip.Guided(one), preset=preset, max_steps=3).estimate for one in (guide, guide[::-1])
    )
    assert not np.array_equal(first, second)


def test_the_units_of_a_guide_do_not_matter(scene):
    target, guide = scene
    first, second = (
        dip.restore(target, dip.Guided(one), SMALL, dip.FixedSteps(3)).estimate for one in (guide, 1e4 + 5e3 * guide)
    )
    np.testing.assert_allclose(first, second, atol=1e-3)


@pytest.mark.parametrize(
    ("guide", "words"),
    [(None, "Guided needs guide=, an array"), (np.zeros((20, 48)), r"A guide of shape \(20, 48\) does not fit")],
)
def test_no_guide_and_one_of_another_shape_are_refused(scene, guide, words):
    with pytest.raises(ValueError, match=words):
        dip.restore(scene[0], dip.Guided(guide))
