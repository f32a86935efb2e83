"""The noise told from one image: within a few per cent of what was put in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import napari_dip as dip
from napari_dip.engine.correlation import HIGH_PASS, blocks_of
from napari_dip.engine.estimation import BLOCK, FINEST, QUANTILE, WHITE, estimate_noise
from napari_dip.engine.noise import NoiseModel, model_of
from napari_dip.engine.ridge import nl_ridge


def smooth(size=160):
    y, x = np.mgrid[:size, :size] / size
    return 0.2 + 0.6 * np.exp(-((x - 0.5) ** 2 + (y - 0.4) ** 2) / 0.05)


@pytest.mark.parametrize("row", [HIGH_PASS, FINEST], ids=len)
def test_the_quantile_of_white_noise_is_what_the_code_says(row):
    noise = torch.randn(1600, 1600, generator=torch.Generator().manual_seed(1))
    power = blocks_of(noise, torch.ones_like(noise, dtype=torch.bool), BLOCK, row).power
    assert float(power.quantile(QUANTILE)) == pytest.approx(WHITE[len(row)], rel=0.005)


@pytest.mark.parametrize("sigma", [0.01, 0.1, 0.4])
def test_white_noise_is_found_within_five_per_cent(sigma):
    noisy = smooth() + np.random.default_rng(0).normal(0, sigma, (160, 160))
    model = estimate_noise(torch.from_numpy(noisy.astype(np.float32))[None])
    assert float(model.mean.sqrt()) == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize(("sigma", "error"), [(0.03, 0.2), (0.1, 0.03)])
def test_fine_texture_in_two_thirds_of_an_image_is_not_taken_for_noise(sigma, error):
    rng = np.random.default_rng(0)
    texture = gaussian_filter(rng.normal(0, 1, (192, 192)), 0.7)
    clean = smooth(192) + 0.3 * texture / texture.std() * (np.arange(192) > 64)
    model = estimate_noise(torch.from_numpy((clean + rng.normal(0, sigma, clean.shape)).astype(np.float32))[None])
    assert float(model.mean.sqrt()) == pytest.approx(sigma, rel=error)


def test_what_is_clipped_does_not_pass_for_calm():
    rng = np.random.default_rng(0)
    noisy = 1.5 * smooth(192) + rng.normal(0, 0.05, (192, 192))
    model = estimate_noise(torch.from_numpy(noisy.clip(0, 0.9).astype(np.float32))[None])
    assert (noisy > 0.9).mean() > 0.05
    assert float(model.variance(torch.tensor([[[0.4]]])).sqrt()) == pytest.approx(0.05, rel=0.08)


def test_shot_noise_grows_with_the_light_as_it_was_made_to():
    clean, gain, read = smooth(256), 0.02, 0.01
    rng = np.random.default_rng(1)
    noisy = gain * rng.poisson(clean / gain) + rng.normal(0, read, clean.shape)
    model = estimate_noise(torch.from_numpy(noisy.astype(np.float32))[None])
    levels = torch.tensor([[[0.25, 0.5, 0.75]]])
    assert np.allclose(model.variance(levels), gain * levels + read**2, rtol=0.12)


@pytest.mark.parametrize("decades", [1.0, 2.0])
def test_shot_noise_of_a_small_image_is_told_too(decades):
    found = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        field = gaussian_filter(rng.normal(size=(64, 64)), 5)
        clean = 10 ** (1 + decades * (field - field.min()) / np.ptp(field))
        noisy = rng.poisson(clean) + rng.normal(0, 3, clean.shape)
        model = estimate_noise(torch.from_numpy(noisy.astype(np.float32))[None])
        found.append(float(model.mean / (clean + 9).mean()) ** 0.5)
    assert np.mean(found) == pytest.approx(1, abs=0.12)


def test_each_channel_has_its_own_noise():
    rng = np.random.default_rng(0)
    noisy = np.stack([smooth() + rng.normal(0, sigma, (160, 160)) for sigma in (0.02, 0.2)])
    model = estimate_noise(torch.from_numpy(noisy.astype(np.float32)))
    assert np.allclose(model.mean.sqrt(), [0.02, 0.2], rtol=0.05)


def test_unknown_pixels_have_no_say():
    noisy = torch.from_numpy((smooth() + np.random.default_rng(0).normal(0, 0.1, (160, 160))).astype(np.float32))[None]
    known = torch.ones_like(noisy, dtype=torch.bool)
    known[:, 40:70, 40:90] = False
    other = torch.where(known, noisy, 1e5)
    one, two = (estimate_noise(y, known) for y in (noisy, other))
    assert torch.equal(one.gain, two.gain)
    assert torch.equal(one.mean, two.mean)


@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 8, 300), (1, 33, 40)])
def test_of_too_little_nothing_is_told(shape):
    assert estimate_noise(torch.rand(shape)) is None


def test_where_most_blocks_have_a_hole_nothing_is_told():
    known = torch.rand(1, 128, 128, generator=torch.Generator().manual_seed(0)) > 0.3
    assert estimate_noise(torch.rand(1, 128, 128), known) is None


def test_a_constant_image_has_no_noise():
    model = estimate_noise(torch.full((2, 128, 128), 0.5))
    assert float(model.mean.abs().max()) < 1e-10


def test_the_variance_is_never_far_under_its_mean():
    model = NoiseModel(torch.tensor([1.0]), torch.tensor([-0.5]), torch.tensor([0.2]))
    assert float(model.variance(torch.zeros(1, 1, 1))) == pytest.approx(0.01)


def test_a_volume_is_measured_plane_by_plane():
    noisy = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.1
    assert float(estimate_noise(noisy).mean.sqrt()) == pytest.approx(0.1, rel=0.06)


LAWS = [dip.Gaussian(3.0), dip.Poisson(0.5, offset=10.0), dip.PoissonGaussian(0.5, 3.0, offset=10.0)]


def noisy_by(law, clean, seed=0):
    """Return what a detector with such noise would give, in its units."""
    rng = np.random.default_rng(seed)
    read = getattr(law, "read_noise", getattr(law, "sigma", 0.0))
    counted = law.offset + law.gain * rng.poisson((clean - law.offset) / law.gain) if law.slope else clean
    return counted + rng.normal(0, read, clean.shape)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
def test_a_law_says_the_variance_in_the_images_units(law):
    clean = np.full((400, 400), 60.0)
    assert noisy_by(law, clean).var() == pytest.approx(law.slope * 60 + law.at_zero, rel=0.02)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
def test_a_given_law_is_scaled_as_the_image_is(law):
    clean = 20 + 100 * smooth(200)
    offset, gain = np.array([7.0]), np.array([40.0])
    y = torch.from_numpy(((noisy_by(law, clean) - offset) / gain).astype(np.float32))[None]
    model = model_of(law, y, torch.ones_like(y, dtype=torch.bool), offset=offset, gain=gain)
    x = torch.from_numpy(((clean - offset) / gain).astype(np.float32))[None]
    assert np.allclose(model.variance(x)[0].numpy() * gain**2, law.slope * clean + law.at_zero, rtol=1e-3)
    assert float(model.mean) == pytest.approx(float(estimate_noise(y).mean), rel=0.1)


def test_an_image_agrees_with_its_own_law_and_not_with_another():
    clean = 20 + 100 * smooth(256)
    law = LAWS[2]
    plane = noisy_by(law, clean)
    plane[5:9, 7:9] = np.nan
    assert dip.agreement(law, plane) == pytest.approx(1, abs=0.1)
    assert dip.agreement(law, 2 * plane) > 1.8
    assert dip.agreement(law, plane[:20, :20]) is None


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf])
@pytest.mark.parametrize("kind", dip.NOISES)
def test_no_noise_is_negative_or_infinite(kind, wrong):
    with pytest.raises(ValueError, match=r"must be .*at least 0"):
        kind(wrong)


def test_noise_that_is_given_serves_the_closed_form_denoiser_as_well_as_noise_that_is_told():
    clean = (20 + 100 * smooth(96)).astype(np.float32)
    y = torch.from_numpy(noisy_by(LAWS[0], clean).astype(np.float32) / 100)[None]
    known = torch.ones_like(y, dtype=torch.bool)
    models = estimate_noise(y), model_of(LAWS[0], y, known, offset=np.zeros(1), gain=np.full(1, 100.0))
    told, given = (float(np.square(100 * nl_ridge(y, model)[0].numpy() - clean).mean()) for model in models)
    assert given < 1.05 * told


def test_what_is_given_is_what_the_run_uses():
    clean = (20 + 100 * smooth(96)).astype(np.float32)
    noisy = noisy_by(LAWS[0], clean).astype(np.float32)
    settings = {"preset": "quick", "max_steps": 30}
    told, given, wrong = (
        dip.restore(noisy, dip.Denoise(noise=law), **settings) for law in (None, LAWS[0], dip.Gaussian(30.0))
    )
    error = [float(np.square(result.image - clean).mean()) for result in (told, given, wrong)]
    assert given.fits[0].noise.source == "given"
    assert given.fits[0].noise.sigma == pytest.approx((3.0,))
    assert told.fits[0].noise.sigma == pytest.approx((3.0,), rel=0.05)
    assert error[1] < error[0] + 0.01 * 3.0**2, "no worse by a hundredth of the noise"
    assert error[2] > 1.5 * error[1], "ten times the noise smooths structure away"
    assert given.report()["settings"]["task"]["noise"]["sigma"] == 3.0
