"""The noise told from frames of one scene: right where a single image is not, and left alone where the scene moves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import napari_dip as dip
from napari_dip.engine.blocks import Missing, measure_scale, name_axes
from napari_dip.engine.exposures import noise_of_series

GAIN, READ = 2.0, 12.0


def texture(size=160, grain=0.6):
    """Return fine texture everywhere, in electrons, some parts bright and some dark."""
    rng = np.random.default_rng(5)
    fine, coarse = (gaussian_filter(rng.normal(size=(size, size)), s) for s in (grain, 20))
    return 250 + 60 * fine / fine.std() + 70 * coarse / coarse.std()


def exposures(scenes, seed=0):
    rng = np.random.default_rng(seed)
    frames = [GAIN * rng.poisson(np.clip(one, 0, None)) + rng.normal(0, READ, one.shape) for one in scenes]
    return np.stack(frames).astype(np.float32)


def told(stack, axes="TYX", **missing):
    """Return gain and read noise of the first channel, in the image's units, or None."""
    named = name_axes(axes, stack.shape)
    gaps = Missing(named, **missing)
    scale = measure_scale(stack, named, gaps)
    found = noise_of_series(stack, named, gaps, scale)
    if found is None:
        return None
    unit, offset = scale.gain[0], scale.offset[0]
    gain = float(found.noise.gain[0]) * unit
    return gain, np.sqrt(max(0.0, float(found.noise.floor[0]) * unit**2 - gain * offset))


@pytest.mark.parametrize("count", [2, 3, 8])
def test_of_a_textured_scene_the_gain_is_told_within_five_per_cent(count):
    stack = exposures([texture()] * count)
    gain, read = told(stack)
    assert gain == pytest.approx(GAIN, rel=0.05)
    assert read == pytest.approx(READ, rel=0.15)
    assert dip.check(stack[0]).sigma[0] > 1.5 * dip.check(stack, "TYX").sigma[0], "one frame alone is misled"


def test_where_something_moves_through_the_scene_the_rest_tells():
    def at(step):
        scene = texture()
        scene[40:100, 10 * step : 10 * step + 50] = texture()[100:160, 90:140]
        return scene

    gain, _ = told(exposures(map(at, range(9))))
    assert gain == pytest.approx(GAIN, rel=0.12)


@pytest.mark.parametrize(
    "stack",
    [
        exposures([np.roll(texture(grain=2), step, 1) for step in range(6)]),
        np.repeat(exposures([texture()]), 4, 0),
        np.stack([exposures([texture()])[0], np.full((160, 160), 500.0, np.float32)]),
        exposures([texture(24)] * 3),
    ],
    ids=["a moving scene", "copies of one frame", "noise of two kinds", "too small"],
)
def test_frames_that_do_not_agree_tell_nothing(stack):
    assert told(stack) is None


def test_planes_and_channels_are_no_frames_of_one_scene():
    stack = exposures([texture()] * 4)
    assert told(np.repeat(stack[:, None], 8, 1), "TZYX") is not None
    assert told(stack[:, None], "TCYX") is not None
    assert told(stack, "CYX") is None
    finer = exposures([texture(grain=0.5)] * 4)
    assert dip.check(finer, "CYX").sigma[0] > 1.5 * dip.check(finer, "TYX").sigma[0], "texture makes it too large"
    each = name_axes("ZYX", stack.shape, "Z")
    assert noise_of_series(stack, each, Missing(each), measure_scale(stack, each, Missing(each))) is None


def test_missing_values_have_no_say():
    stack = exposures([texture()] * 3)
    mask = np.zeros(stack.shape, bool)
    mask[:, 50:70, 60:80] = True
    assert told(np.where(mask, 1e6, stack), masks=(mask,)) == told(np.where(mask, np.nan, stack), masks=(mask,))


def test_every_channel_has_its_own_noise():
    stack = exposures([texture()] * 3)
    both = np.stack([stack, 10 * stack], 1)
    named = name_axes("TCYX", both.shape)
    scale = measure_scale(both, named, Missing(named))
    found = noise_of_series(both, named, Missing(named), scale)
    assert found.frames == 3
    sigma = scale.gain * found.noise.mean.sqrt().numpy()
    assert sigma[1] == pytest.approx(10 * sigma[0], rel=1e-3)
    apart = dataclasses.replace(named, each="C")
    y = both[0, 1] / scale.gain[1]
    one = found.of(apart, (0, 1), torch.from_numpy(y)[None], torch.ones(1, *y.shape, dtype=torch.bool))
    assert one.gain.tolist() == [found.noise.gain[1]]


def test_correlated_noise_is_measured_as_strong_as_it_is():
    rng = np.random.default_rng(0)
    noise = gaussian_filter(rng.normal(size=(4, 192, 192)), (0, 0.8, 0.8))
    stack = texture(192) + 20 * noise / noise.std()
    assert dip.check(stack, "TYX").sigma[0] == pytest.approx(20, rel=0.07)
    assert "correlated" in dip.check(stack, "TYX").hints[0]


def test_a_run_says_from_how_many_frames_it_knows():
    stack = exposures([texture(64)] * 3)
    result = dip.restore(stack, axes="TYX", preset="quick", max_steps=3)
    assert result.fits[0].noise.source == "told from 3 frames"
    assert "told from 3 frames" in dip.methods_text(result.report())
    alone = dip.restore(stack[0], preset="quick", max_steps=3)
    assert alone.fits[0].noise.source == "told from the image"
    given = dip.restore(stack, dip.Denoise(noise=dip.Gaussian(30.0)), axes="TYX", preset="quick", max_steps=3)
    assert given.fits[0].noise.source == "given"
