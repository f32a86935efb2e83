"""Several frames of one scene: laid upon each other, compared, and restored together to one image."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ready import LITTLE, TINY
from scipy.ndimage import gaussian_filter

import napari_dip as dip
from napari_dip.engine.aligning import displacements, moved
from napari_dip.engine.blocks import Missing, measure_scale, name_axes
from napari_dip.engine.merging import law_of_mean, merge
from napari_dip.engine.pilot import make_pilot
from napari_dip.engine.problem import Exposures, Problem
from napari_dip.engine.work import finished

FEW = dip.FixedSteps(3)
TOGETHER = dip.Denoise(frames="T")
BY = np.array([(0, 0), (0.4, -1.3), (-1.6, 0.7), (1.2, 1.5)])


def scene(side, seed=3):
    """Return smooth structure of several sizes, (side, side), 0 to about 200."""
    rng = np.random.default_rng(seed)
    layers = [gaussian_filter(rng.normal(size=(side, side)), size) * size for size in (1.5, 4, 9)]
    whole = sum(layers)
    return 100 + 40 * whole / whole.std()


@pytest.fixture(scope="module")
def wide():
    return scene(80)


@pytest.fixture(scope="module")
def truth(wide):
    return wide[8:-8, 8:-8]


def noisy(frames, sigma, seed=0):
    frames = np.asarray(frames)
    return (frames + np.random.default_rng(seed).normal(0, sigma, frames.shape)).astype(np.float32)


def displaced(wide, sigma, seed=0):
    return noisy([moved(wide, -by)[8:-8, 8:-8] for by in BY], sigma, seed)


def merged(stack, axes="TYX", **missing):
    named = name_axes(axes, stack.shape, "T")
    return merge(stack, named, "T", Missing(named, **missing))


def rms(a, b):
    return float(np.sqrt(np.nanmean(np.square(np.asarray(a, float) - b))))


# ---------------------------------------------------------------------- laid upon each other


def test_a_movement_is_exact_where_the_image_is_smooth_and_leaves_noise_as_it_was():
    y, x = np.mgrid[:64, :64]
    waves = np.cos(2 * np.pi * (x + 0.5) / 16) + np.cos(2 * np.pi * (y + 0.5) / 32)
    there = np.cos(2 * np.pi * (x - 0.7 + 0.5) / 16) + np.cos(2 * np.pi * (y + 1.4 + 0.5) / 32)
    by = np.array([-1.4, 0.7])
    assert np.abs(moved(waves, by) - there)[8:-8, 8:-8].max() < 0.02
    noise = moved(np.random.default_rng(0).normal(size=(128, 128)), by)[4:-4, 4:-4]
    assert noise.std() == pytest.approx(1, abs=0.03)
    assert np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1] == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize(("sigma", "error"), [(2, 0.03), (20, 0.18)])
def test_displacements_are_found_to_parts_of_a_pixel(wide, sigma, error):
    frames = displaced(wide, sigma)[:, None].astype(float)
    assert displacements(frames, np.ones(frames.shape, bool)) == pytest.approx(BY, abs=error)
    two = frames[:2]
    assert displacements(two, np.ones(two.shape, bool)) == pytest.approx(BY[:2], abs=2 * error)


@pytest.mark.parametrize("sigma", [2, 20])
def test_frames_that_stand_still_are_averaged_as_they_are(truth, sigma):
    stack = noisy([truth] * 4, sigma)
    found = merged(stack)
    assert found.record["moved"] == [[[0.0, 0.0]] * 4]
    np.testing.assert_allclose(found.image, stack.mean(0), atol=1e-4)


def test_displaced_frames_are_sharp_together_and_it_is_told(wide, truth):
    stack = displaced(wide, 5)
    found = merged(stack)
    inner = (slice(4, -4),) * 2
    assert rms(found.image[inner], truth[inner]) == pytest.approx(2.5, rel=0.1)
    assert rms(stack.mean(0)[inner], truth[inner]) > 2 * rms(found.image[inner], truth[inner])
    assert found.counts.max() == 4 > found.counts.min() >= 1, "at the border some frames see nothing"
    assert any("displaced, by 1.6" in note for note in found.notes)
    assert np.array(found.record["moved"][0]) == pytest.approx(BY, abs=0.06)


def test_what_one_frame_alone_has_is_left_out(wide, truth):
    for stack in (noisy([truth] * 4, 5), displaced(wide, 5)):
        clean = merged(stack).image
        stack[2, 30:33, 40], stack[1, 10, 20] = 900, -400
        found = merged(stack)
        assert found.record["outlying"] >= 4
        assert rms(found.image, clean) < 0.3
        assert any("one frame alone has" in note for note in found.notes)


def test_of_two_rays_on_one_pixel_both_are_left_out(truth):
    stack = noisy([truth] * 4, 5)
    stack[[0, 2], 20, 30] += 3000
    found = merged(stack)
    assert found.counts[20, 30] == 2
    assert found.image[20, 30] == pytest.approx(truth[20, 30], abs=20)


# ---------------------------------------------------------------------- what they tell beside their mean


def test_the_noise_of_the_mean_is_told_by_the_frames(truth):
    for count in (2, 5):
        found = merged(noisy([truth] * count, 20))
        scale = measure_scale(found.image, found.axes, Missing(found.axes))
        noise = found.noise(scale)
        assert noise is not None
        assert noise.frames == count
        assert float(noise.noise.mean.sqrt()[0]) * scale.gain[0] == pytest.approx(20 / count**0.5, rel=0.05)


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_the_contrast_is_noise_as_strong_as_that_of_the_mean_and_apart_from_it(truth, count):
    found = merged(noisy([truth] * count, 10))
    errors = (found.image - truth).ravel()
    assert found.contrast.std() == pytest.approx(10 / count**0.5, rel=0.05)
    assert np.corrcoef(found.contrast.ravel(), errors)[0, 1] == pytest.approx(0, abs=0.05)
    assert np.corrcoef(found.contrast.ravel(), truth.ravel())[0, 1] == pytest.approx(0, abs=0.05)


def problem_of(truth, stack):
    y, apart = merged(stack), torch.from_numpy(merged(stack).contrast)[None]
    exposures = Exposures(apart, torch.ones_like(apart, dtype=torch.bool))
    return Problem(torch.from_numpy(y.image)[None], shape=(1, *truth.shape), exposures=exposures)


@pytest.mark.parametrize("smooth", [0.0, 1.0], ids=["white", "correlated"])
def test_no_pixel_is_hidden_and_the_score_knows_the_best_of_many_estimates(truth, smooth):
    """The score of estimates that were made of what the fit sees is their true error, and a constant."""
    noise = np.random.default_rng(1).normal(0, 1, (4, *truth.shape))
    noise = gaussian_filter(noise, (0, smooth, smooth)) if smooth else noise
    stack = (truth + 30 * noise / noise.std()).astype(np.float32)
    problem = problem_of(truth, stack)
    hidden, score = dip.HeldOut(fraction=0.2).start(problem, seed=0)
    assert bool(hidden.known().all())
    assert hidden.unseen is not None
    estimates = [gaussian_filter(hidden.y[0].numpy(), width) for width in (0.0, 0.5, 0.8, 1.2, 2, 4)]
    scores = [float(score(_Iterate(torch.from_numpy(one)[None]))) for one in estimates]
    errors = [rms(one, truth) ** 2 for one in estimates]
    assert np.argmin(scores) == np.argmin(errors)
    assert np.subtract(scores, scores[0]) == pytest.approx(np.subtract(errors, errors[0]), abs=0.15 * errors[0])


class _Iterate:
    def __init__(self, average):
        self.average, self.forward = average, lambda x: x


def test_a_split_gives_two_measurements_with_noise_of_their_own(truth):
    problem = problem_of(truth, noisy([truth] * 4, 10))
    assert problem.exposures is not None
    shown, unseen = problem.exposures.split(problem.y, problem.known(), 0.25)
    first, second = ((one[0].numpy() - truth).ravel() for one in (shown, unseen.values))
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(0, abs=0.05)
    assert first.var() == pytest.approx(25 * unseen.shown, rel=0.1)
    assert second.var() == pytest.approx(25 * unseen.noise, rel=0.1)


def pilot_of(problem):
    hidden, _ = dip.HeldOut().start(problem, 0)
    return finished(make_pilot(problem, hidden, seed=0, passes=1))


@pytest.mark.parametrize(("grain", "contrast", "gain"), [(1.0, 30, 1.04), (4.0, 10, 0.995)], ids=["fine", "smooth"])
def test_the_pilot_is_made_as_smooth_as_the_frames_say(grain, contrast, gain):
    """On fine texture it gains by that; on smooth structure nothing is lost by asking."""
    grains = gaussian_filter(np.random.default_rng(5).normal(size=(96, 96)), grain)
    texture = (100 + contrast * grains / grains.std()) / 255
    problem = problem_of(texture, noisy([texture] * 4, 20 / 255))
    variance = torch.tensor([(10 / 255) ** 2])
    known = dataclasses.replace(problem, noise=dip.NoiseModel(0 * variance, variance, variance))
    told, single = (pilot_of(one).estimate[0] for one in (known, dataclasses.replace(known, exposures=None)))
    assert rms(single, texture) > gain * rms(told, texture)


# ---------------------------------------------------------------------- restored


def test_frames_come_back_as_one_image_with_a_report(wide, truth):
    stack = displaced(wide, 20).clip(0).astype(np.uint16)
    result = dip.restore(stack, TOGETHER, axes="TYX", preset=LITTLE, max_steps=120)
    assert result.image.shape == result.residual.shape == truth.shape
    assert result.image.dtype == np.uint16
    assert rms(result.image, truth) < 0.9 * rms(merged(stack).image, truth)
    alone = dip.restore(stack.mean(0), preset=LITTLE, max_steps=120)
    assert rms(result.image, truth) < 0.9 * rms(alone.image, truth), "a mean of displaced frames is blurred"
    report = result.report()
    assert report["frames"]["count"] == 4
    assert len(report["frames"]["moved"][0]) == 4
    assert report["settings"]["task"]["frames"] == "T"
    assert result.fits[0].noise is not None
    assert result.fits[0].noise.source == "told from 4 frames"
    assert any("restored together" in note for note in result.notes)
    assert "4 exposures of a scene were restored together, after they were laid upon the first, by up to 1." in (
        dip.methods_text(report)
    )
    assert len(result.fits[0].pilot) == 2


def test_the_same_frames_give_the_same_bits(truth):
    stack = noisy([truth] * 3, 10)
    one, two = (dip.restore(stack, TOGETHER, axes="TYX", preset=LITTLE, max_steps=10) for _ in range(2))
    assert np.array_equal(one.image, two.image)


def test_a_pixel_is_missing_where_no_frame_knows_it(truth):
    stack = noisy([truth] * 3, 5)
    stack[0, 10:20, 10:20], stack[:, 30, 40] = np.nan, np.nan
    result = dip.restore(stack, TOGETHER, TINY, FEW, axes="TYX")
    assert np.isnan(result.image).sum() == 1
    assert np.isnan(result.image[30, 40])
    mask = np.zeros(stack.shape, bool)
    mask[1, 5:9] = True
    first, second = (
        dip.restore(np.where(mask, value, noisy([truth] * 3, 5)), TOGETHER, TINY, FEW, axes="TYX", missing=mask).image
        for value in (0.0, 9999.0)
    )
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("axes", "shape", "each"),
    [("PTYX", (2, 3, 64, 64), ""), ("TYXS", (3, 64, 64, 3), ""), ("CTYX", (2, 3, 64, 64), "C"),
     ("TZYX", (2, 8, 64, 64), ""), ("ZYX", (3, 64, 64), "")],
)  # fmt: skip
def test_the_other_axes_stay(truth, axes, shape, each):
    letter = "T" if "T" in axes else "Z"
    order = [letter, *[axis for axis in axes if axis not in f"{letter}YXS"], "Y", "X", *("S" if "S" in axes else "")]
    sizes = dict(zip(axes, shape, strict=True))
    like = truth[..., None] if "S" in axes else truth
    whole = noisy(np.broadcast_to(like, [sizes[axis] for axis in order]), 10)
    stack = whole.transpose([order.index(axis) for axis in axes])
    result = dip.restore(stack, dip.Denoise(frames=letter.lower()), TINY, FEW, axes=axes, each=each)
    assert result.image.shape == tuple(size for axis, size in sizes.items() if axis != letter)


def test_of_three_axes_the_first_need_not_be_named(truth):
    stack = noisy([truth] * 3, 10)
    assert dip.restore(list(stack), TOGETHER, TINY, FEW).image.shape == truth.shape
    assert dip.memory_plan(stack, TOGETHER).tile is None


@dataclasses.dataclass(frozen=True)
class Steep:
    """A law of one's own, which no law of the package can stand in for: brighter pixels have less noise."""

    slope: float = -1.0
    at_zero: float = 500.0


class Doubled(dip.Gaussian):
    """A law that changes one of the package: twice the variance."""

    @property
    def at_zero(self):
        return 2 * super().at_zero


@pytest.mark.parametrize(
    "law",
    [
        dip.Gaussian(20),
        dip.PoissonGaussian(0.0, 20),
        dip.Poisson(4.0),
        dip.VarianceMap(np.full((4, 64, 64), 400.0)),
        dip.VarianceMap(np.full((64, 64), 400.0)),
        Doubled(200**0.5),
        Steep(),
    ],
    ids=lambda law: type(law).__name__,
)
def test_a_law_of_the_noise_is_that_of_one_frame(truth, law):
    stack = noisy([truth] * 4, 20)
    result = dip.restore(stack, dip.Denoise(law, frames="T"), TINY, FEW, axes="TYX")
    assert result.fits[0].noise is not None
    expected = (law.slope * stack.mean() + law.at_zero) / 4
    assert result.fits[0].noise.sigma[0] == pytest.approx(expected**0.5, rel=1e-3)


@pytest.mark.parametrize("shape", [(3, 3, 16, 16), (3, 16, 16), (16, 16)])
def test_a_map_for_each_frame_is_averaged_and_one_for_all_is_not(shape):
    each = np.arange(3.0).reshape(3, *[1] * (len(shape) - 1)) if len(shape) > 2 else 1.0
    law = law_of_mean(dip.VarianceMap(np.broadcast_to(3 * each, shape)), name_axes("TCYX", (3, 3, 16, 16), "T"), "T")
    assert law.values.shape == (3, 16, 16)
    np.testing.assert_allclose(law.values, 1.0)


def test_a_map_that_fits_no_frame_is_refused_before_they_are_merged(truth):
    law = dip.VarianceMap(np.ones((3, 64, 64)))
    with pytest.raises(ValueError, match=r"of shape \(3, 64, 64\) does not fit an image of shape \(4, 64, 64\)"):
        dip.iter_restore(noisy([truth] * 4, 5), dip.Denoise(law, frames="T"), axes="TYX")


@pytest.mark.parametrize(
    "law", [15, dip.Gaussian, object(), SimpleNamespace(slope=1.0)], ids=lambda it: type(it).__name__
)
@pytest.mark.parametrize("task", [dip.Denoise, dip.Guided, dip.Deconvolve])
def test_what_has_no_slope_and_no_variance_at_zero_is_no_law(task, law):
    with pytest.raises(TypeError, match=r"is no law of noise: give one such as Gaussian\(1[05]\)"):
        task(noise=law)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda stack: np.stack([*stack, noisy(scene(64, 9), 5)]), "Frame 4 .from 0. along T shows another scene"),
        (lambda stack: np.stack([stack[0], noisy(scene(64, 9), 5)]), "frames along T do not show one scene"),
        (lambda stack: np.stack([*stack, np.full((64, 64), np.nan)]), "Frame 4 .from 0. along T has no value"),
        (lambda stack: [*stack, stack[0][:50]], r"Frame 4 .from 0. has shape .50, 64., the first one .64, 64."),
        (lambda stack: stack[:1], "one frame along T only"),
    ],
    ids=["another scene", "two scenes", "nothing finite", "another shape", "one frame"],
)
def test_frames_that_are_no_exposures_of_one_scene_are_refused_and_named(truth, change, words):
    with pytest.raises(ValueError, match=words):
        dip.iter_restore(change(noisy([truth] * 4, 5)), TOGETHER, axes="TYX")


def test_noise_without_a_scene_is_no_other_scene():
    assert merged(noisy(np.full((4, 64, 64), 100.0), 10)).count == 4


@pytest.mark.parametrize(
    ("frames", "words"), [("Y", "axis of their own"), ("P", "no axis of an image"), ("TP", "no letter")]
)
def test_an_axis_that_is_none_is_refused(truth, frames, words):
    with pytest.raises(ValueError, match=words):
        dip.iter_restore(noisy([truth] * 4, 5), dip.Denoise(frames=frames), axes="TYX")
