"""Images that are seldom, and must not be harmed or refused without a reason: blank, narrow, unknown in parts."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

import napari_dip as dip
from napari_dip.engine import devices
from napari_dip.engine.memory import plan
from napari_dip.engine.mixture import Mixture
from napari_dip.engine.pilot import make_pilot, without
from napari_dip.engine.ridge import nl_ridge
from napari_dip.engine.stripes import stripes_of
from napari_dip.engine.work import finished

FAST = {"preset": "quick", "max_steps": 4}
CPU = torch.device("cpu")


def square(*shape, seed=0):
    image = np.random.default_rng(seed).normal(100, 5, shape).astype(np.float32)
    image[..., 16:32, 16:32] += 60
    return image


@pytest.mark.parametrize("noise", [None, dip.Poisson(1.0), dip.Gaussian(5.0)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_a_blank_channel_stays_blank_and_harms_no_other(noise, dtype):
    image = np.stack([square(48, 48), np.zeros((48, 48))]).astype(dtype)
    result = dip.restore(image, dip.Denoise(noise=noise), axes="CYX", **FAST)
    assert not result.image[1].any()
    assert abs(float(result.image[0].mean()) - float(image[0].mean())) < 2
    assert result.image[0].std() < image[0].std()
    assert result.fits[0].noise.sigma[0] > 3
    assert result.fits[0].residual is not None
    assert "nan" not in " ".join(result.notes)


def test_an_image_of_zeros_stays_one_whatever_its_noise():
    assert not dip.restore(np.zeros((32, 32), np.float32), dip.Denoise(noise=dip.Gaussian(1.0)), **FAST).image.any()


def test_a_smooth_channel_without_noise_is_left_alone_by_the_pilot():
    ramp = np.add.outer(np.linspace(0, 1, 48), np.linspace(0, 1, 48)).astype(np.float32)
    y = torch.from_numpy(np.stack([square(48, 48) / 200, ramp]))
    noise = dip.estimate_noise(y)
    found = nl_ridge(y, noise)
    assert torch.equal(found[1], y[1])
    assert float((found[0] - y[0]).std()) > 0.01


def test_light_is_given_back_to_a_channel_beside_one_without_noise():
    y = torch.from_numpy(np.stack([square(48, 48), np.zeros((48, 48), np.float32)]) / 100)
    noise = dip.NoiseModel(torch.zeros(2), torch.tensor([0.04, 0.0]), torch.tensor([0.04, 0.0]))
    problem = dip.Problem(y, tuple(y.shape), noise=noise)
    hidden, _ = dip.HeldOut().start(problem, 0)
    pilot = finished(make_pilot(problem, hidden, 0, 1))
    assert float((pilot.balanced(y - 0.05) - y)[0].mean()) == pytest.approx(0, abs=0.01)


def test_a_plane_of_which_nothing_is_known_does_not_hold_up_a_volume():
    y = torch.rand(1, 6, 24, 24)
    weight = torch.ones_like(y)
    weight[:, 2] = 0
    noise = dip.NoiseModel(torch.zeros(1), torch.full((1,), 0.01), torch.full((1,), 0.01))
    filled = without(dip.Problem(y, tuple(y.shape), weight=weight), noise, torch.Generator().manual_seed(0))
    assert torch.equal(filled[:, :2], y[:, :2])
    assert float(filled[:, 2].mean()) == pytest.approx(0.5, abs=0.05)
    volume = square(8, 48, 48)
    volume[2] = np.nan
    assert np.isfinite(dip.restore(volume, axes="ZYX", **FAST).estimate).all()


def test_holes_of_any_size_are_filled_from_around():
    y = torch.full((1, 64, 64), 0.3)
    weight = torch.zeros_like(y)
    weight[:, :3, :3] = 1
    noise = dip.NoiseModel(torch.zeros(1), torch.zeros(1), torch.zeros(1))
    filled = without(dip.Problem(y * weight, tuple(y.shape), weight=weight), noise, torch.Generator())
    assert torch.allclose(filled, y, atol=1e-5)


def test_a_stack_survives_a_frame_that_is_unknown_or_nearly_so():
    stack = square(3, 2, 48, 48)
    stack[0] = np.nan
    result = dip.restore(stack, axes="TCYX", **FAST)
    assert np.isfinite(result.image[1:]).all()
    assert np.isnan(result.image[0]).all()
    stack = square(3, 48, 48)
    stack[1, 4:] = np.nan
    stack[1, :, 12:] = np.nan
    result = dip.restore(stack, axes="TYX", **FAST)
    assert {fit.frame for fit in result.fits} == {(0,), (2,)}
    assert "Too little is known of frame (1,): it is as it was" in result.notes
    np.testing.assert_array_equal(result.image[1], stack[1])


def test_where_too_little_is_known_of_every_frame_that_is_said():
    stack = np.full((2, 48, 48), np.nan, np.float32)
    stack[:, :4, :12] = 1.0
    with pytest.raises(ValueError, match="enough is known"):
        dip.restore(stack, axes="TYX", **FAST)


def test_the_noise_of_a_wide_image_of_few_rows_is_told():
    y = torch.randn(1, 40, 27_000, generator=torch.Generator().manual_seed(0))
    assert float(dip.estimate_noise(y).mean) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("black", [0, 1, 2, 8])
def test_black_rows_hide_no_offsets(black):
    rng = np.random.default_rng(0)
    offsets = rng.normal(0, 0.1, (128, 1))
    y = 0.5 + offsets + rng.normal(0, 0.05, (128, 128))
    y[:black] = 0
    found = stripes_of(torch.from_numpy(y)[None], torch.ones(1, 128, 128, dtype=torch.bool), "rows")[0].numpy()
    assert np.corrcoef(found[64:, 0], offsets[64:, 0])[0, 1] > 0.95  # beyond the step that the black rows are
    assert found[64:].std() == pytest.approx(offsets[64:].std(), rel=0.15)


@pytest.mark.parametrize("axes", ["XY", "XYZ", "ZXY", "YXZ"])
def test_axes_of_space_in_another_order_are_refused_in_words(axes):
    with pytest.raises(ValueError, match=r"transpose the image so that it is Z?YX"):
        dip.restore(np.zeros((20, 20, 20)[: len(axes)], np.float32), axes=axes)


@pytest.mark.parametrize("channels", [2, 4])
def test_all_channels_of_a_reconstruction_are_the_operators(channels):
    truth = 1 + np.random.default_rng(0).random((24, 24, channels)).astype(np.float32)
    shapes = set()

    def summed(x):
        shapes.add(tuple(x.shape))
        return x.sum(-1)

    result = dip.reconstruct(truth.sum(-1), summed, truth.shape, axes="YXS", preset="plain", max_steps=3)
    assert shapes == {truth.shape}
    assert result.image.shape == truth.shape
    assert result.image[..., -1].std() > 0


def test_many_channels_are_mixed_as_few_are():
    """The smaller of two systems is solved: of both sizes the same mixtures come out."""
    y = torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(0))
    noise = dip.NoiseModel(torch.zeros(4), torch.full((4,), 0.01), torch.full((4,), 0.01))
    found = nl_ridge(y.expand(4, -1, -1), noise)  # 100 values in a patch of 90 patches
    assert torch.allclose(found, found[:1].expand(4, -1, -1), atol=1e-4)
    assert float((found[0] - y[0]).std()) > 0


@pytest.mark.parametrize("network", [dip.Skip(down=(8,) * 6, up=8), dip.Decoder(width=8, depth=6)], ids=["skip", "up"])
def test_deep_networks_can_be_planned(network):
    found = plan((dip.Prior(network=network),), (1, 256, 256), guides=0, precision=torch.float32, free=8 << 30)
    assert 2**20 < found.needed < 2**31


def test_a_guide_far_beyond_its_range_is_no_trouble_in_tiles():
    guide = torch.rand(1, 96, 96)
    guide[0, 5, 5] = 7e4
    prior = dip.Prior(network=dip.Skip(down=(8,) * 3, up=8), source=dip.Guide())
    problem = dip.Problem(torch.rand(1, 96, 96), (1, 96, 96), guide=guide)
    losses = [float(one.loss) for one in itertools.islice(dip.fit(problem, prior, CPU, tile=64), 3)]
    assert all(np.isfinite(losses))


def test_a_limit_of_memory_is_beside_what_the_process_has(monkeypatch):
    gib, asked = 2**30, []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (20 * gib, 24 * gib))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 3 * gib)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, _: asked.append(24 * share))
    with devices.capped(torch.device("cuda"), 2 * gib):
        pass
    assert asked == [pytest.approx(5), pytest.approx(24)]


def test_a_member_that_ends_between_two_looks_breaks_no_preview():
    @dataclasses.dataclass
    class One:
        output: torch.Tensor
        is_done: bool = False

        @property
        def newest(self):
            return self.output

        @property
        def unseen(self):
            second.is_done = True  # the other thread, now
            return self.output

    class Equal:
        def shares(self, fits):
            return (1 / len(fits),) * len(fits)

        def mended(self, x, *, unseen=False):
            return x

    first, second, third = (One(torch.full((1, 4, 4), value), value < 2) for value in (0.0, 2.0, 1.0))
    mixture = Mixture(None, pilot=Equal(), members=[first, second, third])
    assert float(mixture.average().mean()) == pytest.approx(0.5)


def test_the_mask_of_a_masked_array_marks_what_is_missing():
    image = square(48, 48)
    masked = np.ma.masked_array(np.where(image > 150, 9999, image), mask=image > 150)
    found = dip.restore(masked, **FAST)
    told = dip.restore(masked.data, missing=masked.mask, **FAST)
    np.testing.assert_array_equal(found.estimate, told.estimate)
    assert dip.restore(masked, dip.Inpaint(), **FAST).filled.sum() == masked.mask.sum()


def test_a_tensor_is_an_image_too():
    image = square(32, 32)
    found = dip.restore(torch.from_numpy(image), **FAST).image
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, dip.restore(image, **FAST).image)


def test_a_plane_marks_what_is_missing_in_all_planes_of_a_volume():
    mask = np.zeros((48, 48), bool)
    mask[3, 4] = True
    filled = dip.restore(square(8, 48, 48), missing=mask, fill=True, axes="ZYX", **FAST).filled
    assert filled[:, 3, 4].all()
    assert filled.sum() == 8


@pytest.mark.parametrize(
    ("settings", "kind", "said"),
    [
        ({"dtype": "uint8"}, ValueError, "dtype='uint8' is neither"),
        ({"max_steps": 0}, ValueError, "max_steps=0: it must be a whole number, at least 1"),
        ({"max_steps": 1.5}, ValueError, "max_steps=1.5: it must be a whole number, at least 1"),
        ({"max_steps": True}, ValueError, "max_steps=True: it must be a whole number"),
        ({"max_seconds": "10"}, ValueError, "max_seconds='10': it must be at least 0"),
        ({"max_seconds": -1.0}, ValueError, "max_seconds=-1.0"),
        ({"each": "Q"}, ValueError, "Q is no axis of an image with the axes YX"),
        ({"task": "denoise"}, TypeError, "task='denoise' is no task"),
        ({"task": dip.Denoise}, TypeError, "is no task: give one such as Denoise()"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_once(settings, kind, said):
    with pytest.raises(kind) as refused:
        dip.iter_restore(np.zeros((32, 32)), **settings)
    assert said in str(refused.value)


def test_a_number_is_no_law_of_noise_but_a_colour():
    with pytest.raises(TypeError, match="Gaussian"):
        dip.Denoise(noise=15)
    assert dip.Inpaint(mask_colour=255).colour == dip.Inpaint(mask_colour="255").colour
    assert dip.Inpaint(mask_colour=(255, 0, 0)).colour == dip.Inpaint(mask_colour="#ff0000").colour


def test_of_a_constant_image_there_is_nothing_to_restore():
    assert "All values are the same" in dip.check(np.full((64, 64), 7, np.uint16)).against[0]
