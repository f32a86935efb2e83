"""Any operator: images from data that are none, their scale told, and clear words for what does not go together."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import napari_dip as dip

RULE = dip.HeldOut(floor=60, ceiling=60, reveal=0.0)
SMALL = dip.Preset("small", members=(dip.Prior(network=dip.Skip(down=(16,) * 3, up=16), source=dip.Guide()),))
KEPT = torch.rand(32, 17, generator=torch.Generator().manual_seed(0)) < 0.5
KEPT[:3, :3] = True


def sampled(image):
    return torch.fft.rfft2(image, norm="ortho")[KEPT.to(image.device)]


@pytest.fixture(scope="module")
def truth():
    image = torch.full((32, 32), 100.0)
    image[8:24, 6:20] = 400
    image[12:16, 10:14] = 200
    return image


def rms(a, b):
    return float(np.sqrt(np.mean((np.asarray(a, float) - np.asarray(b)) ** 2)))


def test_half_of_the_fourier_coefficients_give_the_image_in_its_own_units(truth):
    y = sampled(truth)
    noise = 5 * torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(1))
    result = dip.reconstruct(y + noise, sampled, (32, 32), preset=SMALL, stop=RULE)
    zero_filled = torch.zeros(32, 17, dtype=y.dtype)
    zero_filled[KEPT] = y + noise
    assert rms(result.image, truth) < 0.5 * rms(torch.fft.irfft2(zero_filled, (32, 32), norm="ortho"), truth)
    assert result.residual.shape == tuple(y.shape)
    assert np.iscomplexobj(result.residual)
    predicted = sampled(torch.from_numpy(result.estimate.astype(np.float32)))
    assert np.allclose(result.residual, (y + noise - predicted).numpy(), atol=0.05)
    json.dumps(result.report())


def test_missing_data_have_no_influence(truth):
    y = sampled(truth).numpy()
    first, second = y.copy(), y.copy()
    first[5], second[5] = np.nan, np.inf
    images = [
        dip.reconstruct(one, sampled, (32, 32), stop=dip.FixedSteps(5), preset="plain").image for one in (first, second)
    ]
    assert np.array_equal(*images)
    assert np.isfinite(images[0]).all()


def test_the_same_seed_gives_the_same_bits_and_units_only_scale(truth):
    y = sampled(truth)
    one, again, larger = (
        dip.reconstruct(factor * y, sampled, (32, 32), stop=dip.FixedSteps(5), preset="plain").image
        for factor in (1, 1, 1024)
    )
    assert np.array_equal(one, again)
    assert np.allclose(larger, 1024 * one, rtol=1e-3)


def test_parameters_that_are_not_frozen_are_fitted_too(truth):
    class Gain(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(0.5))

        def forward(self, image):
            return self.gain * image

    operator, frozen = Gain(), Gain().requires_grad_(False)
    settings = {"span": (0.0, 500.0), "is_linear": False, "stop": dip.FixedSteps(30)}
    free = dip.reconstruct(truth, operator, (32, 32), **settings)
    held = dip.reconstruct(truth, frozen, (32, 32), **settings)
    assert operator.gain.item() == 0.5, "a copy is fitted"
    assert not np.allclose(free.image, held.image)


def test_volumes_colours_and_a_floor(truth):
    volume = torch.stack([truth[:16, :16]] * 8)
    result = dip.reconstruct(volume.sum(0), lambda x: x.sum(0), (8, 16, 16), axes="ZYX", stop=dip.FixedSteps(3))
    assert result.image.shape == (8, 16, 16)
    colours = dip.reconstruct(
        truth, lambda x: x.mean(-1), (32, 32, 3), axes="YXS", floor=150.0, stop=dip.FixedSteps(20)
    )
    assert colours.image.shape == (32, 32, 3)
    assert colours.image.min() >= 150


WRONG = {
    "shape": (lambda x: x[:10], (32, 32), {}, r"real \(10, 32\).*the data are real \(32, 32\)"),
    "complex": (lambda x: x + 0j, (32, 32), {}, r"gives complex"),
    "no gradient": (lambda x: x.detach(), (32, 32), {}, "cannot be differentiated"),
    "dark": (lambda x: x - x.mean(), (32, 32), {}, r"say its range, as span=\(0, 1\)"),
    "span": (lambda x: x, (32, 32), {"span": (1.0, 1.0)}, "the lower one first"),
    "axes": (lambda x: x[0], (4, 32, 32), {"axes": "TYX"}, "call once for each other index"),
    "not told": (lambda x: x[0], (4, 32, 32), {}, "Cannot tell what the axes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_go_together_is_refused_at_once(truth, name):
    forward, shape, settings, words = WRONG[name]
    with pytest.raises(ValueError, match=words):
        dip.reconstruct(truth, forward, shape, **settings)


def test_data_that_are_no_numbers_are_refused(truth):
    with pytest.raises(TypeError, match="must be numbers"):
        dip.reconstruct(np.array(["a"]), lambda x: x, (32, 32))
    with pytest.raises(TypeError, match="forward gives list"):
        dip.reconstruct(truth, lambda x: [x], (32, 32))
    with pytest.raises(ValueError, match="No element of the data is finite"):
        dip.reconstruct(truth * torch.nan, lambda x: x, (32, 32))


def test_a_run_can_be_followed_and_stopped(truth):
    control = dip.Control()
    for progress in dip.iter_reconstruct(sampled(truth), sampled, (32, 32), preset=SMALL, stop=RULE, control=control):
        if progress.phase == "preparing":
            assert progress.image().shape == (32, 32)
        if progress.step == 3:
            control.stop()
    assert progress.restoration().ended == "stopped by the user"
    assert progress.restoration().residual.shape == tuple(sampled(truth).shape)
