"""How far noise reaches, told from the image: found where it is correlated, and not where the image has structure."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter, uniform_filter

import napari_dip as dip
from napari_dip.engine.correlation import (
    CALM,
    CALMER,
    LAGS,
    WHITE,
    autocorrelation,
    blocks_of,
    coarse,
    grown,
    in_common,
    is_even_and_correlated,
    power_in_means,
    reach,
    shrunk,
)
from napari_dip.engine.estimation import estimate_noise
from napari_dip.engine.pilot import make_pilot
from napari_dip.engine.problem import Problem
from napari_dip.engine.ridge import nl_ridge
from napari_dip.engine.work import finished

SIGMAS = {"both axes": (0.6, 0.6), "along lines": (0.0, 0.6)}


def scene(size=256):
    y, x = np.mgrid[:size, :size] / size
    return 0.2 + 0.5 * np.exp(-((x - 0.5) ** 2 + (y - 0.4) ** 2) / 0.05) + 0.1 * np.sin(9 * x * y)


def correlated(sigma, blur, size=256, seed=0):
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), blur, mode="wrap")
    return sigma * noise / noise.std()


def tensor(image):
    return torch.from_numpy(np.asarray(image, np.float32))[None]


def told(y):
    return autocorrelation(y, torch.ones_like(y, dtype=torch.bool))


def truth(noise):
    spectrum = np.abs(np.fft.fft2(noise)) ** 2
    found = np.roll(np.fft.ifft2(spectrum).real, (LAGS, LAGS), (0, 1))[: 2 * LAGS + 1, : 2 * LAGS + 1]
    return found / found[LAGS, LAGS]


@pytest.mark.parametrize("side", WHITE)
def test_the_quantiles_of_white_noise_are_what_the_code_says(side):
    noise = torch.randn(side * 200, side * 200, generator=torch.Generator().manual_seed(2))
    power = blocks_of(noise, torch.ones_like(noise, dtype=torch.bool), side).power
    for quantile, value in zip((CALM, CALMER), WHITE[side], strict=True):
        assert float(power.quantile(quantile)) == pytest.approx(value, rel=0.01)


@pytest.mark.parametrize("blur", SIGMAS.values(), ids=SIGMAS)
def test_correlated_noise_is_found_as_it_is(blur):
    noise = correlated(0.1, blur)
    found = told(tensor(scene() + noise))
    assert np.abs(found.numpy() - truth(noise)).max() < 0.1
    assert reach(found) == tuple(int(b > 0) for b in blur)


def test_its_strength_too_where_the_finest_detail_shows_little_of_it():
    noise = correlated(0.1, 0.7)
    model = estimate_noise(tensor(scene() + noise))
    assert float(model.mean.sqrt()) == pytest.approx(0.1, rel=0.1)
    ones = torch.ones(256, 256)
    power = blocks_of(*coarse(tensor(noise / 0.1)[0], ones), 8).power.mean()
    assert power_in_means(torch.from_numpy(truth(noise))) == pytest.approx(float(power), rel=0.05)


@pytest.mark.parametrize("sigma", [0, 2, 5, 10, 25])
@pytest.mark.parametrize("name", ["camera", "astronaut", "coins", "brick", "grass", "gravel", "coffee", "rocket"])
def test_structure_is_not_taken_for_noise(name, sigma):
    image = getattr(skimage.data, name)()[:256, :256]
    image = image.reshape(*image.shape[:2], -1).transpose(2, 0, 1)
    noisy = image + np.random.default_rng(1).normal(0, sigma, image.shape)
    assert told(torch.from_numpy(noisy.astype(np.float32)) / 255) is None


def test_what_all_channels_show_is_texture_and_what_each_shows_alone_is_noise():
    texture, rng = correlated(20 / 255, 0.5), np.random.default_rng(3)
    white = [rng.normal(0, 6 / 255, texture.shape) for _ in range(3)]
    alone = [correlated(20 / 255, 0.5, seed=seed) for seed in range(3)]
    assert told(tensor(scene() + texture + white[0])) is not None, "of one channel nobody can tell"
    in_all, in_each = (
        np.stack([scene() + part + more for part, more in zip(parts, white, strict=True)])
        for parts in ([texture] * 3, alone)
    )
    assert told(tensor(in_all)[0]) is None
    assert told(tensor(in_each)[0]) is not None
    assert in_common(tensor(in_all)[0], torch.ones(3, 256, 256, dtype=torch.bool)) > 0.8
    assert abs(in_common(tensor(in_each)[0], torch.ones(3, 256, 256, dtype=torch.bool))) < 0.1


def test_noise_of_a_compressed_image_is_in_all_channels_and_still_found():
    luminance, rng = correlated(20 / 255, 1.0), np.random.default_rng(3)
    image = np.stack([scene() + luminance + rng.normal(0, 1 / 255, luminance.shape) for _ in range(3)])
    assert told(tensor(image)[0]) is not None


@pytest.mark.parametrize("shape", [(1, 300, 20), (3, 16, 16), (1, 40, 40)])
def test_of_a_small_image_nothing_is_told(shape):
    assert told(torch.rand(shape)) is None


def test_constant_and_clipped_channels_have_no_say():
    noisy = scene() + correlated(0.1, 0.7)
    channels = np.stack([np.zeros_like(noisy), noisy]).astype(np.float32)
    assert torch.equal(told(torch.from_numpy(channels)), told(tensor(noisy)))
    assert told(torch.zeros(1, 256, 256)) is None


def test_unknown_pixels_have_no_say():
    noisy = tensor(scene() + correlated(0.1, 0.7))
    known = torch.ones_like(noisy, dtype=torch.bool)
    known[:, 32:48, 64:160] = False
    one, two = (autocorrelation(torch.where(known, noisy, filler), known) for filler in (0.0, 1e4))
    assert torch.equal(one, two)


def test_an_autocorrelation_has_no_negative_power():
    found = told(tensor(scene() + correlated(0.1, 0.7)))
    power = torch.fft.fft2(F.pad(found, (0, 25, 0, 25)).roll((-LAGS, -LAGS), (0, 1))).real
    assert float(power.min()) > -1e-3 * float(power.max())


def test_masks_grow_and_shrink_along_each_axis():
    mask = torch.zeros(1, 7, 7, dtype=torch.bool)
    mask[0, 3, 3] = True
    wide = grown(mask, (0, 2))
    assert wide[0].nonzero().tolist() == [[3, x] for x in (1, 2, 3, 4, 5)]
    assert torch.equal(shrunk(wide, (0, 2)), mask)
    assert grown(mask, (0, 0)) is not mask
    assert torch.equal(grown(mask, (0, 0)), mask)
    assert shrunk(torch.ones_like(mask), (2, 2)).all(), "beyond the borders there is nothing to tell"


@pytest.mark.parametrize("blur", SIGMAS.values(), ids=SIGMAS)
def test_who_tells_of_a_hidden_pixels_noise_is_hidden_too(blur):
    y = tensor(scene() + correlated(0.1, blur))
    problem = Problem(y, tuple(y.shape))
    hidden, criterion = dip.HeldOut().start(problem, seed=0)
    unseen = hidden.weight == 0
    scored = shrunk(unseen, tuple(int(b > 0) for b in blur))
    assert float(scored.float().mean()) > 0.02
    assert float(unseen.float().mean()) < 0.3
    x = torch.where(scored, y, 9.0)
    assert float(criterion(dip.Iterate(1, x, x, torch.zeros(()), lambda image: image, lambda: None))) == 0


def test_the_closed_form_denoiser_gains_from_knowing_it():
    clean = scene()
    y = tensor(clean + correlated(0.1, 0.7))
    model = estimate_noise(y)
    as_if_white = type(model)(model.gain, model.floor, model.mean)
    part, truth = y[:, 64:192, 64:192], tensor(clean)[:, 64:192, 64:192]
    error, other = (float((nl_ridge(part, m) - truth).square().mean()) for m in (model, as_if_white))
    assert error < 0.7 * other
    assert error < 0.2 * 0.1**2


def test_drawn_noise_has_it():
    model = estimate_noise(tensor(scene() + correlated(0.1, (0, 0.6))))
    drawn = model.draw(tensor(np.full((256, 256), 0.4)), torch.randn(1, 256, 256))[0]
    assert np.abs(truth(drawn.numpy()) - model.correlation.numpy()).max() < 0.03


def test_the_pilot_is_weighed_where_the_network_has_seen_nothing():
    y = tensor(scene(96) + correlated(0.1, 0.7, 96))
    y = F.pad(y[None], (32, 32, 32, 32), mode="reflect")[0]
    problem = Problem(y, tuple(y.shape))
    hidden, _ = dip.HeldOut().start(problem, seed=0)
    pilot = finished(make_pilot(problem, hidden, seed=0, passes=1))
    assert reach(pilot.noise.correlation) == (1, 1)
    assert pilot.held.any()
    assert not (grown(pilot.held, (1, 1)) & hidden.known()).any()


def even(blur, size, seed):
    """Return an even field of 100 electrons with read noise, smoothed by something."""
    rng = np.random.default_rng([seed, size])
    return tensor(blur(rng.poisson(100.0, (size, size)) + rng.normal(0, 3, (size, size))) / 100)


BLURS = {"white": np.asarray, "3 x 3 mean": lambda a: uniform_filter(a, 3), "Gaussian": lambda a: gaussian_filter(a, 1)}


@pytest.mark.parametrize("size", [96, 128, 256])
@pytest.mark.parametrize("kind", BLURS)
def test_in_an_even_field_correlated_noise_is_always_found_and_white_noise_never_taken_for_it(kind, size):
    found = [told(even(BLURS[kind], size, seed)) for seed in range(12)]
    assert all((one is None) == (kind == "white") for one in found)


def test_an_even_field_may_be_curved_and_have_holes_whose_values_have_no_say():
    y = even(BLURS["3 x 3 mean"], 128, 1)
    ground = torch.linspace(-1, 1, 128).square()
    holes = torch.rand(y.shape, generator=torch.Generator().manual_seed(0)) > 1e-3
    curved = y + 3 * ground
    assert is_even_and_correlated(curved[0], holes[0])
    assert is_even_and_correlated(torch.where(holes, curved, 1e4)[0], holes[0])
    assert not is_even_and_correlated((y + 0.3 * torch.sin(30 * ground))[0], holes[0])
