import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

import napari_dip as dip
from napari_dip.engine.uncertainty import Spread, spread_of


def scene(side=64, sigma=0.1):
    rng = np.random.default_rng(3)
    clean = gaussian_filter(rng.normal(0, 1, (side, side)), 4) * 5
    clean[:, side // 2 :] += 1
    return clean, (clean + rng.normal(0, sigma, clean.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def result():
    clean, noisy = scene()
    return clean, dip.restore(noisy, members=24, max_steps=250)


def test_the_standard_deviation_is_about_as_large_as_the_error(result):
    clean, restored = result
    z = (restored.image - clean) / restored.std
    assert restored.std.shape == clean.shape
    assert 0.6 < z.std() < 1.6
    assert np.mean(np.abs(z) < 1.96) > 0.85


def test_it_is_larger_where_the_error_is(result):
    clean, restored = result
    error = np.abs(restored.image - clean)
    at_edge = np.abs(np.arange(64) - 31.5) < 2
    assert error[:, at_edge].mean() > error[:, ~at_edge].mean(), "or this scene shows nothing"
    assert restored.std[:, at_edge].mean() > restored.std[:, ~at_edge].mean()


def test_members_differ_by_it_around_the_estimate(result):
    _, restored = result
    assert restored.members.shape == (24, 64, 64)
    apart = restored.members - restored.estimate
    assert np.abs(apart.mean(0) / restored.std).mean() < 0.4
    assert np.median(apart.std(0) / restored.std) == pytest.approx(1, abs=0.25)


def test_sums_over_apertures_have_the_members_error(result):
    clean, restored = result

    def sums(image):
        return image.reshape(*image.shape[:-2], 16, 4, 16, 4).sum((-3, -1))

    z = (sums(restored.image) - sums(clean)) / (sums(restored.members) - sums(restored.estimate)).std(0)
    assert 0.5 < z.std() < 1.8


def test_the_report_says_what_it_is_not(result):
    _, restored = result
    assert restored.report()["std"]["says"] == "noise only, excludes model bias"
    assert restored.report()["std"]["median"] == pytest.approx(np.nanmedian(restored.std))
    assert {fit.no_std for fit in restored.fits} == {""}


def test_it_has_the_units_of_the_image_and_is_unknown_where_nothing_was_measured():
    _, noisy = scene(48)
    noisy[10, 12] = np.nan
    plain = dip.restore(noisy, max_steps=20)
    scaled = dip.restore(noisy * 1024, max_steps=20)  # a power of two: not a bit of the fit is another
    assert np.isnan(plain.std[10, 12])
    assert np.isnan(plain.std).sum() == 1
    np.testing.assert_allclose(scaled.std, 1024 * plain.std, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"preset": "quick"}, "one fit only"),
        ({"preset": "plain"}, "no pilot"),
        ({"prior": dip.Prior()}, "no pilot"),
    ],
)
def test_it_is_refused_with_the_reason_where_nothing_can_be_compared(settings, reason):
    _, noisy = scene(48)
    refused = dip.restore(noisy, members=4, max_steps=20, **settings)
    assert refused.std is None
    assert refused.members is None
    assert reason in refused.fits[-1].no_std
    assert any(reason in note for note in refused.notes)


@pytest.mark.parametrize(
    "task",
    [
        dip.Denoise(),
        dip.Inpaint(),
        dip.Inpaint(denoise_known=True),
        dip.SuperResolve(2),
        dip.Deblock(quality=20),
        dip.Enhance(),
        dip.Guided(scene()[0]),
        dip.Deconvolve(),
    ],
    ids=lambda task: type(task).__name__ + "+" * getattr(task, "denoise_known", False),
)
def test_tasks_say_beforehand_whether_it_can_be_given(task):
    grey = np.clip(128 + 30 * scene()[1], 0, 255).astype(np.uint8)
    image = grey.astype(np.float32)
    if isinstance(task, dip.Deblock):
        stream = io.BytesIO()
        Image.fromarray(grey).save(stream, "JPEG", quality=task.quality)
        image = np.asarray(Image.open(stream))
    elif isinstance(task, dip.Inpaint):
        image[5, 6:9] = np.nan
    result = dip.restore(image, task, max_steps=2)
    assert (result.fits[-1].no_std == "") == task.denoises
    assert (result.std is None) != task.denoises


def test_presets_say_beforehand_what_a_run_with_them_says():
    _, noisy = scene(48)
    by_name = {preset.name: preset for preset in dip.PRESETS}
    assert by_name["standard"].no_std == by_name["best"].no_std == ""
    for name in ("quick", "plain"):
        assert dip.restore(noisy, preset=name, max_steps=2).fits[-1].no_std == by_name[name].no_std != ""


def test_correlated_noise_is_a_reason_too():
    rng = np.random.default_rng(0)
    noisy = gaussian_filter(rng.normal(0, 1, (96, 96)), 1.0) * 3 + np.linspace(0, 1, 96)
    refused = dip.restore(noisy, max_steps=10)
    assert refused.std is None
    assert "correlated" in refused.fits[-1].no_std


def test_draws_have_the_variance_and_the_texture_of_the_fields():
    field = torch.from_numpy(gaussian_filter(np.random.default_rng(0).normal(0, 1, (1, 64, 64)), (0, 2, 2))).float()
    spread = Spread(field[None])
    drawn = spread.draw(64, seed=1)
    assert float((drawn.square().mean(0) / spread.variance).mean()) == pytest.approx(1, abs=0.1)

    def alike(t):
        return float((t[..., 1:] * t[..., :-1]).mean() / t.square().mean())

    assert alike(drawn) == pytest.approx(alike(field), abs=0.05)
    torch.testing.assert_close(spread.draw(3, seed=1), drawn[:3])


class _Pilot:
    """What the spread asks of a pilot: here the noise's variance is 1 and every tenth row is held out."""

    def __init__(self, truth, y, response, error):
        self.response, self.estimate, self.guide = response, truth + error, truth + error
        self.target, self.target_noise = y, 1.0
        self.known = torch.ones_like(y, dtype=torch.bool)
        self.held = torch.zeros_like(y, dtype=torch.bool)
        self.held[:, ::10] = True
        self.noise = self

    def variance(self, x):
        return torch.ones_like(x)


@pytest.mark.parametrize(("hidden_error", "is_raised"), [(0.05, False), (1.5, True)])
def test_held_out_pixels_that_err_by_far_more_raise_it(hidden_error, is_raised):
    draw = torch.Generator().manual_seed(0)
    truth = torch.zeros(1, 100, 100)
    y = truth + torch.randn(truth.shape, generator=draw)
    small = 0.1 * torch.randn((2, *truth.shape), generator=draw)
    common = hidden_error * torch.randn(truth.shape, generator=draw)  # all of them have it: nothing differs by it
    pilot = _Pilot(truth, y, 0.1 * torch.randn(truth.shape, generator=draw), common)
    spread = spread_of(pilot, truth + common + small, truth + common, truth + common, (0.5, 0.5))
    assert (float(spread.variance.mean()) > 1) == is_raised


def test_what_was_measured_is_no_less_certain_than_its_measurement_and_what_is_missing_may_be():
    draw = torch.Generator().manual_seed(0)
    truth = torch.zeros(1, 100, 100)
    y = truth + torch.randn(truth.shape, generator=draw)
    outputs = 20 * torch.randn((2, *truth.shape), generator=draw)  # fits that are far from their end
    pilot = _Pilot(truth, y, 0.1 * torch.randn(truth.shape, generator=draw), 0 * truth)
    pilot.known[..., 50:] = False
    variance = spread_of(pilot, outputs, outputs.mean(0), truth, (1.0, 1.0)).variance
    assert float(variance[..., :40].max()) < 1.3
    assert float(variance[..., 60:].min()) > 10


def test_of_frames_without_one_nothing_is_claimed():
    _, noisy = scene(48)
    stack = np.stack([noisy, np.full_like(noisy, 3.0)])  # what is constant has no noise to tell, and no pilot
    result = dip.restore(stack, axes="TYX", members=2, max_steps=5)
    assert np.isfinite(result.members[:, 0]).all()
    assert np.isnan(result.members[:, 1]).all()
    assert np.isnan(result.std[1]).all()
    assert any("for 1 of 2 frames" in note for note in result.notes)
