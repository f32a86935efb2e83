"""Volumes: fitted in 3-D by networks that follow the size of the voxels."""

from __future__ import annotations

import numpy as np
import pytest
from ready import LITTLE, TINY

import napari_dip as dip


def volume(shape=(10, 24, 24), coarse=3.0):
    """Return balls in world units, noisy, and without noise; planes are so many times as far apart as pixels."""
    z, y, x = np.indices(shape)
    truth = np.zeros(shape)
    rng = np.random.default_rng(5)
    for _ in range(8):
        at = [rng.uniform(0, n) for n in shape]
        far = np.sqrt((coarse * (z - at[0])) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2)
        truth += 100 / (1 + np.exp(far - rng.uniform(3, 7)))
    return truth + rng.normal(0, 15, shape), truth


def test_the_size_of_the_voxels_reaches_the_network_the_report_and_the_plan():
    noisy, _ = volume()
    results = [
        dip.restore(noisy, prior=TINY, stop=dip.FixedSteps(3), axes="ZYX", spacing=spacing)
        for spacing in (None, (1, 1, 1), (3, 1, 1))
    ]
    assert np.array_equal(results[0].image, results[1].image)
    assert not np.array_equal(results[0].image, results[2].image)
    assert [one.report()["settings"]["spacing"] for one in results] == [[], [1, 1, 1], [3, 1, 1]]
    large = np.broadcast_to(np.float32(0), (64, 256, 256))
    like, coarse = (
        dip.memory_plan(large, preset="plain", axes="ZYX", spacing=spacing, tile=512).needed
        for spacing in (None, (3, 1, 1))
    )
    assert coarse > like, "less halving means larger maps"


def test_a_thin_volume_is_restored_in_three_dimensions():
    noisy, truth = volume((8, 32, 32))
    result = dip.restore(noisy, preset=LITTLE, stop=dip.HeldOut(floor=60, ceiling=60), axes="ZYX", spacing=(3, 1, 1))
    assert result.image.shape == truth.shape
    assert np.std(result.image - truth) < 0.6 * np.std(noisy - truth)


def test_smaller_pixels_have_their_own_size():
    noisy, _ = volume()
    result = dip.restore(
        noisy, dip.SuperResolve((2, 1, 1)), prior=TINY, stop=dip.FixedSteps(1), axes="ZYX", spacing=(3, 1, 1)
    )
    assert result.report()["settings"]["spacing"] == [1.5, 1, 1]


def test_planes_that_are_fitted_one_by_one_have_two_sizes():
    noisy, _ = volume()
    with pytest.raises(ValueError, match=r"must be 2 finite numbers above 0, one for each of YX"):
        dip.restore(noisy, axes="ZYX", each="Z", spacing=(3, 1, 1))


@pytest.mark.parametrize("spacing", [(1, 1), (0, 1, 1), (float("nan"), 1, 1)])
def test_sizes_that_no_voxel_has_are_refused(spacing):
    with pytest.raises(ValueError, match="3 finite numbers above 0, one for each of ZYX"):
        dip.restore(volume()[0], axes="ZYX", spacing=spacing)


@pytest.mark.parametrize(
    ("network", "in_planes", "in_volumes"),
    [
        (dip.Skip(down=(6, 8), up=(4, 1)), {"down": [6, 8], "up": [4, 1]}, {"down": [3, 4], "up": [2, 1]}),
        (dip.Skip(down=(6, 6), up=6), {"down": [6, 6], "up": 6}, {"down": [3, 3], "up": 3}),
        (dip.Decoder(width=6, depth=1), {"width": 6}, {"width": 3}),
    ],
)
def test_networks_of_a_preset_are_half_as_wide_in_a_volume(network, in_planes, in_volumes):
    preset = dip.Preset("some", prior=dip.Prior(network))
    noisy, _ = volume()
    for axes, each, wanted in (("ZYX", "", in_volumes), ("ZYX", "Z", in_planes)):
        result = dip.restore(noisy, preset=preset, stop=dip.FixedSteps(1), axes=axes, each=each)
        used = result.report()["settings"]["prior"]["network"]
        assert {name: used[name] for name in wanted} == wanted


def test_a_preset_may_want_other_networks_in_volumes_and_a_prior_of_ones_own_stays():
    noisy, _ = volume()
    prior = dip.Prior(dip.Skip(down=(6,), up=6))
    asked = {"stop": dip.FixedSteps(1), "axes": "ZYX"}
    found = [
        dip.restore(noisy, preset=dip.Preset("some", prior, narrower=3), **asked),
        dip.restore(noisy, preset=dip.Preset("some", prior, narrower=1), **asked),
        dip.restore(noisy, prior=prior, **asked),
    ]
    assert [one.report()["settings"]["prior"]["network"]["up"] for one in found] == [2, 6, 6]
    plans = [
        dip.memory_plan(np.broadcast_to(np.float32(0), (64, 128, 128)), preset=preset, axes="ZYX").needed
        for preset in (dip.Preset("some", prior, narrower=3), dip.Preset("some", prior, narrower=1))
    ]
    assert plans[0] < plans[1]
