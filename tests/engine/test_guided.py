"""A guide: helps where it shows the same scene, prints nothing of its own into the result, and is refused otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import napari_dip as dip
from napari_dip.engine.arrays import crop, scaled
from napari_dip.engine.blocks import Axes

SMALL = dip.Prior(network=dip.Skip(down=(16,) * 4, up=16), source=dip.Guide())
TINY = dip.Prior(network=dip.Skip(down=(8, 8), up=8, skip=2), source=dip.Guide())
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
    ("axes", "shape", "guide", "channels"),
    [
        ("YX", (20, 24), (3, 20, 24), 3),
        ("CYX", (2, 20, 24), (20, 24), 1),
        ("CYX", (2, 20, 24), (2, 20, 24), 1),  # of as many channels each has its own
        ("CYX", (2, 20, 24), (1, 20, 24), 1),
        ("CYX", (2, 20, 24), (5, 20, 24), 5),
        ("CYX", (2, 20, 24), (20, 24, 3), 3),
        ("TCYX", (2, 2, 20, 24), (2, 20, 24), 1),
        ("TCYX", (2, 3, 20, 24), (2, 20, 24), 1),  # a guide for each time
        ("TCYX", (2, 2, 20, 24), (2, 4, 20, 24), 4),
    ],
)
def test_where_channels_are_restored_one_by_one_a_guide_may_have_any_number_of_them(axes, shape, guide, channels):
    image, other = (np.random.default_rng(seed).random(size) for seed, size in enumerate((shape, guide)))
    grid = Axes(axes, shape, "C")
    assert {len(crop(dip.Guided(other), grid, frame).guide) for frame in grid.frames()} == {channels}
    result = dip.restore(image, dip.Guided(other), TINY, dip.FixedSteps(1), axes=axes, each="C")
    assert len(result.fits) == np.prod(shape[:-2])


def test_where_channels_are_restored_one_by_one_each_has_its_own_of_as_many_of_the_guide():
    guide = np.random.default_rng(0).random((2, 3, 20, 24))  # T, C, Y, X
    cut = crop(dip.Guided(guide), Axes("TCYX", guide.shape, "C"), (1, 2)).guide
    np.testing.assert_array_equal(cut, scaled(guide[1, 2:3]))


@pytest.mark.parametrize(
    ("guide", "words"),
    [
        (None, "Guided needs guide=, an array"),
        (np.zeros((20, 48)), r"A guide of shape \(20, 48\) does not fit"),
        (np.zeros(48), r"A guide of shape \(48,\) does not fit"),
        (np.zeros((48, 48), complex), "guide= of Guided must be an array of real numbers"),
    ],
)
def test_no_guide_and_one_of_another_shape_are_refused(scene, guide, words):
    with pytest.raises(ValueError, match=words):
        dip.restore(scene[0], dip.Guided(guide))
