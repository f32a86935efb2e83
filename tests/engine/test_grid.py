"""Images on another grid than the measurement's, and the arrays that tasks take: where they end up, what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import napari_dip as dip
from napari_dip.engine.arrays import check_arrays, crop
from napari_dip.engine.blocks import Axes, enlarge

TINY = dip.Prior(network=dip.Skip(down=(8, 8), up=8, skip=2), source=dip.Noise(channels=4))
FEW = dip.FixedSteps(3)


@dataclass(frozen=True, eq=False)
class Finer:
    """Undo the averaging of 2 x 3 pixels."""

    done: ClassVar[str] = "finer"
    align: ClassVar[tuple[int, ...]] = (1,)
    stop: ClassVar[dip.StoppingRule] = FEW
    noise: ClassVar[None] = None
    mask: ClassVar[None] = None
    fills: ClassVar[bool] = False
    floor: ClassVar[None] = None
    keeps_known: ClassVar[bool] = False
    denoises: ClassVar[bool] = False
    stabilises: ClassVar[bool] = False
    factors: ClassVar[tuple[float, ...]] = (2.0, 3.0)
    caution: ClassVar[str] = "not measured"

    guide: Annotated[dip.Image | None, {"optional": True}] = None
    kernel: Annotated[dip.Kernel | None, {"optional": True}] = None

    def problem(self, y):
        shape = (len(y), *y.shape[1:-2], 2 * y.shape[-2], 3 * y.shape[-1])
        guide = None if self.guide is None else torch.from_numpy(self.guide)
        return dip.Problem(y, shape, forward=lambda x: F.avg_pool2d(x, (2, 3)), guide=guide)


def finer(image, task=None, **settings):
    return dip.restore(image, task or Finer(), TINY, **settings)


@pytest.fixture
def image():
    rows, columns = np.mgrid[:20, :17]
    return (100 + 10 * rows + columns).astype(np.uint16)


def test_a_result_has_the_grid_of_its_task_and_the_residual_that_of_the_measurement(image):
    result = finer(image, keep_every=1)
    assert result.image.shape == result.estimate.shape == (40, 51)
    assert result.stack.shape == (3, 40, 51)
    assert result.residual.shape == image.shape
    assert result.image.dtype == image.dtype
    degraded = result.estimate.reshape(20, 2, 17, 3).mean((1, 3))
    np.testing.assert_allclose(result.residual, image - degraded, atol=0.01)


def test_the_report_says_how_far_the_result_is_from_the_measurement_and_what_it_is_not(image):
    result = finer(image)
    report = result.report()
    assert report["settings"]["grid"] == [40, 51]
    assert report["fits"][0]["misfit"] == pytest.approx([np.sqrt(np.mean(result.residual**2))], rel=1e-3)
    assert "not measured" in report["notes"]
    assert any("degraded again" in note for note in report["notes"])


@pytest.mark.parametrize("each", ["", "C"])
def test_the_misfit_of_channels_of_unlike_units_is_told_of_each(image, each):
    channels = np.stack([image, 1e4 + 1000.0 * image[::-1, ::-1]])
    result = finer(channels, axes="CYX", each=each)
    expected = np.sqrt(np.mean(result.residual**2, (1, 2)))
    found = [value for fit in result.fits for value in fit.misfit]
    assert found == pytest.approx(expected, rel=1e-3)
    worst = int(np.argmax(expected / np.ptp(channels, (1, 2))))
    said = f"differs from the measurement by {expected[worst]:.3g} (root mean square) in channel {worst}, most of all"
    assert any(said in note for note in result.notes)


def test_missing_pixels_come_back_as_they_were_each_as_a_block(image):
    broken = image.astype(float)
    broken[4, 5] = np.nan
    result = finer(broken)
    absent = np.isnan(result.image)
    assert absent.sum() == 6
    assert absent[8:10, 15:18].all()
    assert np.isnan(result.residual).sum() == 1
    filled = finer(broken, fill=True)
    assert np.isfinite(filled.image).all()
    assert np.array_equal(filled.filled, absent)


def test_frames_that_were_not_reached_are_the_source_with_its_pixels_repeated(image):
    stack = np.stack([image, image + 7])
    result = finer(stack, axes="TYX", max_seconds=0)
    assert result.image.shape == (2, 40, 51)
    assert np.array_equal(result.image[1], (image + 7).repeat(2, 0).repeat(3, 1))


def test_alpha_and_channels_go_along(image):
    colour = np.stack([image] * 3 + [np.full_like(image, 9)], -1)
    result = finer(colour, axes="YXS")
    assert result.image.shape == (40, 51, 4)
    assert (result.image[..., 3] == 9).all()
    channels = finer(np.stack([image, image]), axes="CYX")
    assert channels.image.shape == (2, 40, 51)


def test_out_receives_the_finer_frames_and_must_be_shaped_as_they_are(image):
    out = np.zeros((40, 51), np.uint16)
    assert np.array_equal(finer(image, out=out).image, out)
    assert out.any()
    with pytest.raises(ValueError, match=r"out= has shape \(20, 17\), the restored image \(40, 51\)"):
        finer(image, out=np.zeros((20, 17)))


def test_a_preview_has_the_grid_from_the_first_step_on(image):
    first = next(iter(dip.iter_restore(image, Finer(), TINY)))
    assert first.image().shape == (40, 51)
    assert first.restoration().image.shape == (40, 51)


def test_a_task_whose_problem_has_another_shape_than_its_factors_say_is_refused(image):
    class Wrong(Finer):
        factors = (2.0, 2.0)

    with pytest.raises(ValueError, match=r"its factors say \(1, 40, 34\)"):
        finer(image, Wrong())


def test_known_pixels_cannot_be_kept_on_another_grid(image):
    class Keeps(Finer):
        keeps_known = True

    with pytest.raises(ValueError, match="cannot keep known pixels"):
        finer(image, Keeps())


def test_enlarging_takes_the_value_under_each_new_centre():
    assert enlarge(np.arange(3), (5,)).tolist() == [0, 0, 1, 2, 2]
    assert enlarge(np.arange(2), (6,)).tolist() == [0, 0, 0, 1, 1, 1]


# The arrays that a task takes

GRID = Axes("TYX", (2, 32, 51))
SHAPES = {
    (2, 32, 51): (1, 32, 51),
    (32, 51): (1, 32, 51),
    (32, 51, 3): (3, 32, 51),
    (32, 51, 4): (3, 32, 51),
    (2, 32, 51, 3): (3, 32, 51),
    (5, 32, 51): (5, 32, 51),
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_guide_is_cut_to_the_frame_and_scaled(shape):
    guide = np.random.default_rng(0).normal(500, 30, shape)
    cut = crop(Finer(guide=guide, kernel=np.ones((3, 3))), Axes("TYX", (2, 16, 17)), (1,), GRID)
    assert cut.guide.shape == SHAPES[shape]
    assert np.percentile(cut.guide[0], [0.1, 99.9]) == pytest.approx([0, 1], abs=1e-5)
    assert cut.kernel.shape == (3, 3), "a kernel is the same for all frames"
    expected = guide[1] if shape[:1] == (2,) else guide
    plane = expected[..., 0] if len(cut.guide) == 3 else expected.reshape(-1, 32, 51)[0]
    assert np.corrcoef(cut.guide[0].ravel(), plane.ravel())[0, 1] == pytest.approx(1)


def test_what_is_not_finite_or_constant_in_a_guide_does_no_harm():
    guide = np.full((32, 51), 7.0)
    guide[3, 4] = np.nan
    cut = crop(Finer(guide=guide), Axes("TYX", (2, 16, 17)), (0,), GRID).guide
    assert (cut == 0).all()


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (Finer(guide=np.zeros((20, 17))), r"A guide of shape \(20, 17\) does not fit a restored image of shape"),
        (Finer(kernel=np.array([[np.nan]])), "kernel= of Finer must be an array of finite real numbers"),
        (Finer(kernel=np.zeros((0, 3))), "kernel= of Finer must be an array of finite real numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_at_once(image, task, words):
    with pytest.raises(ValueError, match=words):
        dip.iter_restore(image, task)


def test_an_array_that_is_needed_and_not_there_is_asked_for():
    @dataclass(frozen=True, eq=False)
    class Needs:
        psf: Annotated[dip.Kernel | None, {"tooltip": "How a point is imaged"}] = None

    with pytest.raises(ValueError, match="Needs needs psf=, an array: How a point is imaged"):
        check_arrays(Needs(), GRID, GRID)
