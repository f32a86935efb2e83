import numpy as np
import pytest
import torch
from ready import SMALL
from scipy.ndimage import gaussian_filter

import napari_dip as dip
from napari_dip.engine.blocks import Axes, Scale
from napari_dip.engine.noise import NoiseModel

SIDE = 64
FAST = dip.Preset("fast", members=next(one for one in dip.PRESETS if one.name == "quick").members, passes=1)


def threads(seed):
    """Thin bright threads on a dark ground, 0 to 1."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(SIDE, SIDE)), 3)
    return gaussian_filter((np.abs(field / field.std()) < 0.3).astype(float), 0.7)


def noisy(first, second):
    """A bright channel and one a hundred times dimmer, both with noise of a fifth of their height."""
    clean = np.stack([1000 * first, 10 * second])
    noise = np.random.default_rng(9).normal(size=clean.shape) * np.array([200, 2]).reshape(2, 1, 1)
    return (clean + noise).astype(np.float32)


def test_channels_of_one_structure_are_fitted_together():
    result = dip.restore(noisy(threads(0), threads(0)), axes="CYX", preset=FAST, max_steps=10)
    assert "C" not in result.report()["settings"]["each"]
    assert {fit.frame for fit in result.fits} == {()}


def test_channels_of_unrelated_structures_are_fitted_one_by_one():
    image = noisy(threads(0), threads(1))
    result = dip.restore(image, axes="CYX", preset=FAST, max_steps=10)
    assert result.report()["settings"]["each"] == "C"
    assert {fit.frame for fit in result.fits} == {(0,), (1,)}
    assert any("Channels were restored one by one" in note for note in result.notes)
    for channel in (0, 1):
        alone = dip.restore(image[channel], preset=FAST, max_steps=10)
        np.testing.assert_allclose(result.image[channel], alone.image, rtol=1e-4, atol=1e-4 * np.ptp(image[channel]))


def test_each_channel_alone_can_be_asked_for():
    image = noisy(threads(0), threads(0))
    result = dip.restore(image, None, SMALL, dip.FixedSteps(40), axes="CYX", each="C")
    assert result.image.shape == image.shape
    assert [fit.frame for fit in result.fits] == [(0,), (1,)]
    for channel in (0, 1):  # the dim one has a scale of its own
        assert np.corrcoef(result.image[channel].ravel(), gaussian_filter(image[channel], 1).ravel())[0, 1] > 0.5


def test_colours_are_never_parted():
    image = np.moveaxis(noisy(threads(0), threads(1)), 0, -1)[..., [0, 1, 0]]
    result = dip.restore(image, axes="YXS", preset=FAST, max_steps=5)
    assert {fit.frame for fit in result.fits} == {()}


def test_a_stack_of_channels_is_put_together_as_it_was():
    image = np.stack([noisy(threads(0), threads(1))] * 2, axis=1)  # C, T, Y, X
    progress = list(dip.iter_restore(image, axes="CTYX", each="C", stop=dip.FixedSteps(2)))
    assert len({one.where for one in map(freeze, progress)}) == 4
    canvas = np.zeros_like(image)
    for one in progress:
        canvas[one.where] = 1
    assert canvas.all()
    assert progress[-1].restoration().image.shape == image.shape


class freeze:  # noqa: N801  slices have no hash before Python 3.12
    def __init__(self, progress):
        self.where = str(progress.where)


def test_masks_fit_channels_one_by_one_too():
    image = noisy(threads(0), threads(1))
    missing = np.zeros((SIDE, SIDE), bool)
    missing[10:14, 20:24] = True
    result = dip.restore(image, axes="CYX", each="C", missing=missing, fill=True, stop=dip.FixedSteps(2))
    np.testing.assert_array_equal(result.filled, np.stack([missing, missing]))


def test_a_scale_knows_its_channel():
    axes = Axes("TCYX", (2, 3, 16, 16), "C")
    scale = Scale(np.array([0.0, 10.0, 20.0]), np.array([1.0, 2.0, 3.0]))
    own = scale.of(axes, (1, 2))
    assert (own.offset.tolist(), own.gain.tolist()) == ([20.0], [3.0])
    assert scale.of(axes.together, (1,)) is scale


@pytest.mark.parametrize("own", [slice(0, 1), slice(1, 2)])
def test_the_noise_of_a_channel_is_its_own(own):
    model = NoiseModel(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]), torch.tensor([5.0, 6.0]))
    assert model.of_channels(own).mean.tolist() == model.mean[own].tolist()


@pytest.mark.parametrize("stop", [dip.FixedSteps(2), dip.WindowedVariance()])
def test_without_held_out_pixels_nothing_is_told_and_nothing_parted(stop):
    result = dip.restore(noisy(threads(0), threads(1)), axes="CYX", stop=stop, max_steps=2)
    assert result.report()["settings"]["each"] == ""


def test_what_a_task_takes_for_all_channels_keeps_them_together():
    result = dip.restore(noisy(threads(0), threads(1)), dip.Guided(threads(0)), axes="CYX", preset=FAST, max_steps=2)
    assert result.report()["settings"]["each"] == ""
