"""Super-resolution: nearer to the truth than interpolation, on the right grid, honest about it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.transform import resize

import napari_dip as dip
from napari_dip.engine.resample import degrader

TINY = dip.Prior(network=dip.Skip(down=(8, 8), up=8, skip=2), source=dip.Noise(channels=4))
FEW = dip.FixedSteps(3)


@pytest.fixture(scope="module")
def truth():
    """Discs with sharp edges, (64, 64), 40 to 200."""
    rows, columns = np.mgrid[:64, :64]
    discs = [(rows - y) ** 2 + (columns - x) ** 2 < r**2 for y, x, r in ((20, 22, 12), (45, 40, 9), (18, 50, 6))]
    return 40 + 160.0 * np.any(discs, 0)


def degraded(truth, degradation, shape):
    return degrader(degradation, truth.shape, shape)(torch.from_numpy(truth[None]).float())[0].numpy()


def rms(a, b):
    return float(np.sqrt(np.mean((a - b) ** 2)))


def test_edges_are_sharper_than_interpolation_makes_them(truth):
    low = degraded(truth, dip.Box(), (32, 32))
    prior = dip.Prior(network=dip.Skip(down=(16,) * 4, up=16))
    result = dip.restore(low, dip.SuperResolve(2), prior, dip.FixedSteps(400))
    cubic = resize(low, truth.shape, order=3, mode="edge")
    assert rms(result.image, truth) < 0.75 * rms(cubic, truth)
    misfit = rms(degraded(result.estimate, dip.Box(), (32, 32)), low)
    assert result.fits[0].misfit == pytest.approx((misfit,), rel=1e-3)


def test_results_lie_half_way_between_the_measured_pixels(truth):
    """A fit that reproduces the measurement has its centre of light where that has its own."""
    low = degraded(truth, dip.Box(), (32, 32))
    result = dip.restore(low, dip.SuperResolve(2), TINY, dip.FixedSteps(300))
    for axis in (0, 1):
        where = [(np.arange(n) + 0.5) / n for n in (64, 32)]
        light = [np.sum((image - 40).sum(1 - axis) * at) / (image - 40).sum()
                 for image, at in zip((result.estimate, low), where, strict=True)]  # fmt: skip
        assert light[0] == pytest.approx(light[1], abs=0.01)


@pytest.mark.parametrize(
    ("factor", "shape"),
    [(1.5, (26, 29)), (2, (34, 38)), (2.7, (46, 51)), (8, (136, 152)), ((1, 3), (17, 57)), ((4.0, 1.5), (68, 29))],
    ids=str,
)
@pytest.mark.parametrize("degradation", [dip.Box(), dip.Lanczos()], ids=str)
def test_any_factor_gives_the_whole_field(factor, shape, degradation):
    image = np.random.default_rng(0).normal(100, 9, (17, 19)).astype(np.float32)
    result = dip.restore(image, dip.SuperResolve(factor, degradation), TINY, FEW)
    assert result.image.shape == shape
    assert np.isfinite(result.image).all()


def test_planes_and_volumes_keep_their_depth():
    stack = np.random.default_rng(0).normal(100, 9, (8, 16, 16)).astype(np.float32)
    assert dip.restore(stack, dip.SuperResolve(2), TINY, FEW, axes="ZYX").image.shape == (8, 32, 32)
    planes = dip.restore(stack[:2], dip.SuperResolve(2), TINY, FEW, axes="ZYX", each="Z")
    assert planes.image.shape == (2, 32, 32)
    assert dip.restore(stack, dip.SuperResolve((2, 1, 1)), TINY, FEW, axes="ZYX").image.shape == (16, 16, 16)
    with pytest.raises(ValueError, match="3 factors for the 2 spatial axes of YX"):
        dip.restore(stack[0], dip.SuperResolve((2, 1, 1)))


@pytest.mark.parametrize("factor", [0.5, 1, 1.2, 9, (), (1, 1), (2, 20), float("nan")], ids=str)
def test_other_factors_are_refused(factor):
    with pytest.raises(ValueError, match="factor="):
        dip.SuperResolve(factor)


def test_the_result_says_that_its_detail_was_not_measured():
    image = np.random.default_rng(0).normal(100, 9, (16, 16))
    report = dip.restore(image, dip.SuperResolve(2), TINY, FEW).report()
    assert any("not for quantification" in note for note in report["notes"])
    assert any("degraded again" in note for note in report["notes"])
    assert report["settings"]["task"]["degradation"] == {"name": "Box"}
    assert "not for quantification" in dip.methods_text(report)


def test_tiles_would_meet_at_whole_measured_pixels():
    assert dip.SuperResolve(4).align == (1, 1)
    assert dip.SuperResolve((1.5, 2.25)).align == (2, 4)
