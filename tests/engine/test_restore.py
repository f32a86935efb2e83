"""What a person gets out of `restore`: better images, their own values back, the same bits, a result always."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest
import torch
from ready import LITTLE, SMALL, TINY, ready

import napari_dip as dip
from napari_dip.engine.blocks import enlarge

STEPS = dip.FixedSteps(12)
FEW = {"prior": TINY, "stop": STEPS}  # where the network does not matter


def rms(a, b):
    return float(np.sqrt(np.mean((np.asarray(a, float) - b) ** 2)))


def test_denoising_halves_the_error_and_stops_by_itself(denoised, noisy, scene):
    result = denoised
    assert rms(result.image, scene) < 0.5 * rms(noisy, scene)
    assert "no better score" in result.ended
    assert result.fits[0].last_step < dip.HeldOut().ceiling
    assert result.image.shape == noisy.shape


def test_inpainting_fills_holes_near_the_truth_and_keeps_the_rest_exactly(scene):
    mask = np.random.default_rng(2).random(scene.shape) < 0.4
    broken = np.where(mask, 9999, scene)
    result = dip.restore(broken, dip.Inpaint(mask), max_steps=200)
    assert np.array_equal(result.image[~mask], scene[~mask])
    assert rms(result.image[mask], scene[mask]) < 0.12 * np.ptp(scene)
    assert np.array_equal(result.filled, mask)


def test_inpainting_can_denoise_what_is_known_too(noisy, scene):
    mask = np.random.default_rng(2).random(scene.shape) < 0.2
    result = dip.restore(noisy, dip.Inpaint(mask, denoise_known=True), max_steps=200)
    assert rms(result.image[~mask], scene[~mask]) < 0.7 * rms(noisy[~mask], scene[~mask])


DTYPES = ["bool", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">i2", ">u2", ">i4", ">f4", ">f8"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_real_dtype_comes_back_as_it_was(scene, dtype):
    image = (scene[:16, :16] / 2).astype(dtype) if dtype != "bool" else scene[:16, :16] > 110
    result = dip.restore(image, **FEW)
    assert result.image.dtype == np.dtype(dtype).newbyteorder("=")
    assert np.isfinite(result.estimate).all()
    assert rms(result.image, image.astype(float)) < 1.5 * float(np.std(image.astype(float))) + 1e-9
    assert dip.restore(image, **FEW, dtype="float32").image.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.complex64, "datetime64[s]", "U3"])
def test_what_has_no_intensity_is_refused(dtype):
    with pytest.raises(TypeError, match=r"complex|no intensities"):
        dip.restore(np.zeros((16, 16), dtype))


@pytest.mark.parametrize("shape", [(16, 16), (16, 61), (61, 17), (33, 32), (40, 24, 3)])
def test_any_size_comes_back_whole(shape):
    image = np.random.default_rng(0).normal(100, 10, shape).astype(np.float32)
    result = dip.restore(image, stop=STEPS)
    assert result.image.shape == shape
    assert np.isfinite(result.image).all()


def test_alpha_is_untouched_and_has_no_influence():
    colour = np.random.default_rng(0).integers(0, 255, (24, 20, 4), dtype=np.uint8)
    other = colour.copy()
    other[..., 3] = 7
    first, second = (dip.restore(image, **FEW).image for image in (colour, other))
    assert np.array_equal(first[..., 3], colour[..., 3])
    assert np.array_equal(first[..., :3], second[..., :3])


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_constant_image_stays_constant(value):
    assert np.all(dip.restore(np.full((20, 20), value, np.uint8), **FEW).image == value)
    assert np.allclose(dip.restore(np.full((20, 20), value + 0.1), **FEW).image, value + 0.1)


def test_channels_have_scales_of_their_own(scene):
    image = np.stack([scene, 1e6 + 1000 * scene[::-1]])
    result = dip.restore(image, axes="CYX", stop=dip.FixedSteps(150))
    for before, after in zip(image, result.image, strict=True):
        assert rms(after, before) < 0.5 * np.std(before)


def test_a_leading_axis_is_never_taken_for_channels():
    with pytest.raises(ValueError, match=r"\(5, 32, 32\)"):
        dip.restore(np.zeros((5, 32, 32)))
    with pytest.raises(ValueError, match=r"\(3, 32, 32\)"):
        dip.restore(np.zeros((3, 32, 32)))


def test_each_plane_of_a_stack_is_fitted_by_itself_with_one_scale(scene):
    stack = np.stack([scene[:20, :20], 3 * scene[:20, :20]]).astype(np.uint16)
    result = dip.restore(stack, axes="ZYX", each="Z", **FEW)
    assert result.image.shape == stack.shape
    assert [fit.frame for fit in result.fits] == [(0,), (1,)]
    only = dip.restore(stack[:1], axes="TYX", **FEW)
    assert not np.array_equal(only.image[0], result.image[0]), "one scale for all planes is not one plane's"


def test_only_the_planes_asked_for_are_read_from_a_lazy_array(scene):
    class Lazy:
        dtype, shape, reads = np.dtype(float), (4, 20, 20), 0

        def __getitem__(self, index):
            Lazy.reads += 1
            return np.broadcast_to(scene[:20, :20], self.shape)[index]

        def __array__(self, dtype=None, copy=None):
            raise AssertionError("the whole array was read")

    out = np.zeros(Lazy.shape)
    dip.restore(Lazy(), axes="TYX", **FEW, out=out)
    assert out.std() > 0


def test_what_is_not_restored_is_written_to_out_as_it_was(scene):
    stack = np.stack([scene[:20, :20]] * 3).astype(np.float32)
    stack[1, 5, 5] = np.nan
    out = np.full(stack.shape, -1, np.float32)
    result = dip.restore(stack, dip.Inpaint(), axes="TYX", **FEW, out=out)
    assert result.image is out
    for frame in (0, 2):  # nothing is missing there: they are not fitted
        assert np.array_equal(out[frame], stack[frame])
        assert np.array_equal(result.estimate[frame], stack[frame])
    assert np.isfinite(out[1]).all()


def test_alpha_is_written_to_out():
    colour = np.random.default_rng(0).integers(0, 255, (24, 20, 4), dtype=np.uint8)
    out = np.zeros_like(colour)
    dip.restore(colour, **FEW, out=out)
    assert np.array_equal(out, dip.restore(colour, **FEW).image)
    assert np.array_equal(out[..., 3], colour[..., 3])


# Missing pixels


@pytest.mark.parametrize("kind", [kind for kind in dip.TASKS if isinstance(kind.stop, dip.HeldOut)])
@pytest.mark.parametrize("stop", [dip.FixedSteps(20), dip.HeldOut(floor=20, patience=10, ceiling=20, reveal=0.2)])
def test_missing_pixels_influence_nothing(noisy, kind, stop):
    task = ready(kind, noisy.shape)
    missing = np.zeros(noisy.shape, bool)
    missing[5:12, 7:20] = True
    results = []
    for value in (0, 1e9, np.nan, np.inf):
        image = noisy.copy()
        image[missing] = value
        results.append(dip.restore(image, task, stop=stop, missing=missing, preset=LITTLE))
    for other in results[1:]:
        assert np.array_equal(results[0].estimate, other.estimate)
        known = ~enlarge(missing, other.image.shape)
        assert np.array_equal(results[0].image[known], other.image[known])


def test_missing_pixels_come_back_as_they_were_unless_filled(noisy):
    image = noisy.astype(np.float32)
    image[3, 4], image[5, 6] = np.nan, np.inf
    kept = dip.restore(image, **FEW)
    assert np.isnan(kept.image[3, 4])
    assert np.isposinf(kept.image[5, 6])
    assert kept.filled is None
    assert np.isnan(kept.residual[3, 4])
    filled = dip.restore(image, **FEW, fill=True)
    assert np.isfinite(filled.image).all()
    assert filled.filled.sum() == 2
    assert filled.report()["filled_values"] == 2


def test_saturated_pixels_are_missing_only_when_asked(noisy):
    image = np.clip(noisy, 0, 150).astype(np.uint8)
    without = dip.restore(image, **FEW)
    told = dip.restore(image, **FEW, saturation=150, fill=True)
    assert without.filled is None
    assert np.array_equal(told.filled, image >= 150)


def test_a_mask_of_another_shape_or_over_everything_is_refused(noisy):
    with pytest.raises(ValueError, match=r"mask of shape \(3, 3\)"):
        dip.restore(noisy, dip.Inpaint(np.ones((3, 3))))
    with pytest.raises(ValueError, match="No pixel is known"):
        dip.restore(noisy, dip.Inpaint(np.ones(noisy.shape)))


def test_inpainting_with_nothing_missing_is_refused_and_whole_planes_are_not_fitted(scene):
    with pytest.raises(ValueError, match="Nothing is missing"):
        dip.restore(scene, dip.Inpaint())
    stack = np.stack([scene] * 3)
    stack[1, 5, 5] = np.nan
    result = dip.restore(stack, dip.Inpaint(), axes="TYX", **FEW)
    assert [fit.frame for fit in result.fits] == [(1,)]
    assert np.isfinite(result.image).all()


# The same bits


@pytest.mark.parametrize("stop", [kind() for kind in dip.RULES if kind is not dip.FixedSteps])
def test_a_seed_gives_the_same_bits_and_moves_nothing_global(noisy, stop):
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    image = np.tile(noisy, (2, 2))  # large enough to tell the noise from
    prior = dip.Prior() if isinstance(stop, dip.HeldOut) else SMALL  # the rules draw, whatever the network
    first, second, other = (
        dip.restore(image, None, prior, stop, max_steps=30, seed=seed).estimate for seed in (5, 5, 6)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002


# Control


def test_stop_keeps_the_best_so_far(noisy):
    control = dip.Control()
    for progress in dip.iter_restore(noisy, control=control, preset="plain"):
        if progress.step == 40:
            control.stop()
    result = progress.restoration()
    assert progress.step == 40
    assert result.ended == "stopped by the user"
    assert 0 < result.best_step <= 40
    assert np.isfinite(result.image).all()


def test_paused_it_gives_signs_of_life_and_can_still_be_stopped(noisy):
    control = dip.Control()
    run = dip.iter_restore(noisy, control=control)
    step = next(run).step
    control.pause()
    paused = [next(run) for _ in range(3)]
    assert {(one.phase, one.step) for one in paused} == {("paused", step)}
    control.resume()
    assert next(run).step == step + 1
    control.pause()
    next(run)
    threading.Timer(0.1, control.stop).start()
    started = time.perf_counter()
    *_, last = run
    assert time.perf_counter() - started < 5
    assert last.restoration().ended == "stopped by the user"


def test_every_progress_has_a_result(noisy):
    for progress in dip.iter_restore(noisy, max_steps=3):
        result = progress.restoration()
        assert result.image.shape == noisy.shape
        assert progress.image().shape == noisy.shape


def test_a_report_in_the_middle_of_a_run_says_where_it_is(scene):
    stack, seen = np.stack([scene[:20, :20]] * 2), {}
    for taken, progress in enumerate(dip.iter_restore(stack, axes="TYX", **FEW), 1):
        seen[taken] = progress.restoration().report()
        assert seen[taken]["steps"] == taken
        assert seen[taken]["fits"][-1]["last_step"] == progress.step
    assert seen[5]["ended"] == "under way, frame 1 of 2, fitting: step 5 of about 12"
    assert seen[17]["ended"] == "under way, frame 2 of 2, fitting: step 5 of about 12"
    assert seen[17]["fits"][0]["ended"] == "reached 12 steps"
    assert seen[17]["fits"][1]["ended"] == "under way"
    assert progress.restoration().report()["ended"] == "reached 12 steps"


def test_a_stopped_stack_says_what_is_left_as_it_was(scene):
    stack = np.stack([scene[:20, :20]] * 3)
    control = dip.Control()
    for progress in dip.iter_restore(stack, axes="TYX", **FEW, control=control):
        if progress.frame == 1:
            control.stop()
    result = progress.restoration()
    assert np.array_equal(result.image[2], stack[2])
    assert not np.array_equal(result.image[0], stack[0])
    assert "2 of 3" in result.notes[0]


@pytest.mark.parametrize("most", [7, 30])
def test_no_more_steps_are_taken_than_allowed(noisy, most):
    result = dip.restore(noisy, max_steps=most)
    assert [fit.last_step + fit.revealed for fit in result.fits] == [most, most]
    assert result.report()["steps"] == 2 * most


def test_seconds_end_a_run(noisy):
    result = dip.restore(noisy, max_seconds=0.5)
    assert result.ended == "reached 0.5 seconds"
    assert result.report()["seconds"] < 5


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 1 bytes"),
]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        *((error, r"Not enough memory.*\(40, 33\)") for error in OUT_OF_MEMORY),
        (RuntimeError("cuDNN error"), "The fit failed on cpu: cuDNN error"),
    ],
)
def test_memory_and_other_failures_are_told_in_words(noisy, monkeypatch, error, words):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("napari_dip.engine.member.fit", fail)
    with pytest.raises(dip.RestorationError, match=words):
        dip.restore(noisy)
    assert not issubclass(dip.RestorationError, RuntimeError)


# What comes with the result


def test_intermediates_are_the_averaged_outputs_in_the_images_units(noisy):
    result = dip.restore(noisy, stop=dip.FixedSteps(30), keep_every=10)
    assert result.steps == (10, 20, 30)
    assert result.stack.shape == (3, *noisy.shape)
    assert np.allclose(result.stack[-1], result.estimate, atol=1e-2)


def test_the_residual_is_what_was_removed(noisy):
    result = dip.restore(noisy, stop=STEPS)
    assert np.allclose(noisy - result.residual, result.estimate, atol=1e-2)


def test_the_report_is_json_and_complete(noisy):
    report = json.loads(json.dumps(dip.restore(noisy, max_steps=20).report(), allow_nan=False))
    keys = {"seconds", "steps", "best_step", "ended", "device", "threads", "precision", "seed", "version", "torch"}
    assert keys <= set(report)
    assert report["settings"]["stop"]["name"] == "HeldOut"
    assert report["settings"]["prior"]["network"]["name"] == "Skip"


def test_unknown_presets_and_devices_are_refused(noisy):
    with pytest.raises(ValueError, match="no preset 'fast'"):
        dip.restore(noisy, preset="fast")
    with pytest.raises(ValueError, match="auto, "):
        dip.restore(noisy, device="tpu7")


def test_a_frame_of_which_nothing_is_known_stays_as_it_is_and_ends_nothing():
    stack = np.random.default_rng(0).normal(0, 1, (3, 24, 24)).astype(np.float32)
    stack[1] = np.nan
    result = dip.restore(stack, axes="TYX", stop=dip.FixedSteps(2))
    assert np.isnan(result.image[1]).all()
    assert {fit.frame for fit in result.fits} == {(0,), (2,)}
    assert any("Nothing is known of frame (1,)" in note for note in result.notes)


def test_out_of_another_type_is_refused():
    with pytest.raises(ValueError, match="out= is of uint8"):
        dip.restore(np.zeros((24, 24), np.float32), out=np.zeros((24, 24), np.uint8))
