"""JPEG as operators: its transform and colours, what a library's decoder gives, and what pixels tell of it."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from napari_dip.engine import jpeg
from napari_dip.engine.intervals import Intervals
from napari_dip.engine.jpeg import JpegTables

GREY, COLOUR = data.camera()[100:180, 180:263], data.astronaut()[60:140, 160:243]  # 80 x 83


def tensor(image: np.ndarray) -> torch.Tensor:
    values = torch.from_numpy(image.astype(np.float32))
    return values[None] if values.ndim == 2 else values.permute(2, 0, 1)


def through_pillow(image: np.ndarray, quality: int, subsampling: int = 0) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.array(Image.open(file))


def known(image: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(image, dtype=torch.bool)


def test_the_transform_keeps_the_energy_and_comes_back():
    plane = torch.randn(24, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = jpeg.coefficients(plane)
    assert values.shape == (3, 2, 8, 8)
    assert torch.allclose(values.square().sum(), plane.square().sum())
    assert torch.allclose(jpeg.plane_of(values), plane)


def test_a_constant_block_has_a_mean_alone():
    values = jpeg.coefficients(torch.full((8, 8), 3.0))
    assert values[0, 0, 0, 0] == pytest.approx(24.0)
    assert values.flatten()[1:].abs().max() < 1e-5


@pytest.mark.parametrize("subsampling", jpeg.SUBSAMPLINGS)
def test_planes_of_an_image_made_of_planes_are_these_again(subsampling):
    """Interpolated colours, averaged again, are blurred: that is undone."""
    generator = torch.Generator().manual_seed(0)
    down, across = subsampling
    parts = tuple(
        50 * torch.randn(32 // rows, 48 // columns, generator=generator, dtype=torch.float64)
        for rows, columns in ((1, 1), (down, across), (down, across))
    )
    image = jpeg.image_of(parts, subsampling, (32, 48))
    for plane, found in zip(parts, jpeg.decoded_planes(image, subsampling), strict=True):
        assert torch.allclose(found, plane, atol=1e-4)


def test_the_operator_is_what_a_library_s_encoder_and_decoder_do():
    for quality in (10, 60):
        ours = jpeg.compressed(tensor(GREY), JpegTables.of_quality(quality))
        assert (ours - tensor(through_pillow(GREY, quality))).abs().mean() < 0.1
    ours = jpeg.compressed(tensor(COLOUR), JpegTables.of_quality(30, (2, 2)))
    assert (ours - tensor(through_pillow(COLOUR, 30, 2))).abs().mean() < 1.0  # its colours are rounded on the way


@pytest.mark.parametrize("quality", [10, 50, 75, 95])
def test_the_quality_is_told_from_pixels(quality):
    image = tensor(through_pillow(GREY, quality))
    assert jpeg.find_tables(image, known(image)) == JpegTables.of_quality(quality)


@pytest.mark.parametrize(("number", "subsampling"), [(0, (1, 1)), (1, (1, 2)), (2, (2, 2))])
def test_the_subsampling_is_told_from_pixels(number, subsampling):
    image = tensor(through_pillow(COLOUR, 40, number))
    assert jpeg.find_tables(image, known(image)) == JpegTables.of_quality(40, subsampling)


@pytest.mark.parametrize("what", ["never compressed", "cropped since", "noise", "constant"])
def test_what_is_no_jpeg_is_not_taken_for_one(what):
    image = {
        "never compressed": GREY,
        "cropped since": through_pillow(GREY, 20)[3:, 5:],
        "noise": np.random.default_rng(0).integers(0, 256, (64, 64)),
        "constant": np.full((64, 64), 77),
    }[what]
    assert jpeg.find_tables(tensor(image), known(tensor(image))) is None


def test_unknown_pixels_tell_nothing():
    image = tensor(through_pillow(GREY, 20))
    mask = known(image)
    mask[:, 10:20, 10:20] = False
    other = torch.where(mask, image, 99.0)
    assert jpeg.find_tables(image, mask) == jpeg.find_tables(other, mask) == JpegTables.of_quality(20)


@pytest.mark.parametrize("quality", [10, 30])
def test_the_error_of_rounding_is_told_within_a_third(quality):
    image = tensor(through_pillow(GREY, quality))
    true = (image - tensor(GREY)).square().mean().sqrt()
    told = jpeg.error_variance(image, known(image), JpegTables.of_quality(quality)).sqrt()
    assert float(told / true) == pytest.approx(1.0, abs=1 / 3)


def test_tables_are_checked():
    with pytest.raises(ValueError, match="64 of at least 1 are needed"):
        JpegTables((1, 2, 3))
    with pytest.raises(ValueError, match="quality is 1 to 100, not 0"):
        JpegTables.of_quality(0)
    with pytest.raises(ValueError, match="each is 1 or 2"):
        JpegTables.of_quality(50, (4, 1))
    assert JpegTables.of_quality(37).quality == 37


# ------------------------------------------------------------------ intervals


def intervals(image: torch.Tensor, tables: JpegTables, mask: torch.Tensor | None = None) -> Intervals:
    one = torch.ones(len(image), 1, 1)
    return Intervals(image, known(image) if mask is None else mask, tables, offset=10 * one, gain=2 * one)


@pytest.fixture(params=["grey", "colour"])
def case(request) -> tuple[torch.Tensor, torch.Tensor, JpegTables]:
    """An image, what JPEG made of it, and how; both scaled. Nothing is clipped."""
    image = 60 + tensor(GREY if request.param == "grey" else COLOUR) / 2
    tables = JpegTables.of_quality(15, (1, 1) if request.param == "grey" else (2, 2))
    return (image - 10) / 2, (jpeg.compressed(image, tables) - 10) / 2, tables


def test_the_image_itself_costs_next_to_nothing_and_noise_does(case):
    """Only blocks that are cut at the border may lie outside; noise costs far more."""
    x, y, tables = case
    cost = intervals(y, tables)
    noise = 10 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    assert cost(y, y, None) < 0.001
    assert cost(x, y, None) < 0.05 * (x - y).square().mean()
    assert cost(x + noise, y, None) > 10 * cost(x, y, None)


def test_the_gradient_of_the_cost_is_that_of_finite_differences(case):
    _, y, tables = case
    cost = intervals(y, tables)
    generator = torch.Generator().manual_seed(0)
    x = (y.double() + torch.randn(y.shape, generator=generator, dtype=torch.float64) * 5).requires_grad_()
    (gradient,) = torch.autograd.grad(cost(x, y, None), x)
    step = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    ahead, behind = (cost(x.detach() + sign * 1e-5 * step, y, None) for sign in (1, -1))
    assert float((gradient * step).sum()) == pytest.approx(float(ahead - behind) / 2e-5, rel=1e-3)


def test_the_nearest_image_is_one_that_the_file_could_come_from(case):
    x, y, tables = case
    cost = intervals(y, tables)
    far = x + 8 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    near = cost.nearest(far)
    for middle, half, _, values in cost.planes(near):
        assert bool(((values - middle).abs() <= half + 0.01)[:5, :5].all())  # but for blocks that the border cuts
    assert (near - x).square().mean() < (far - x).square().mean()


def test_blocks_with_missing_pixels_have_no_say(case):
    _, y, tables = case
    mask = known(y)
    mask[:, 20, 30] = False
    changed = torch.where(mask, y, 0.0)
    cost = intervals(changed, tables, mask)
    x = y.clone()
    before = cost(x, changed, None)
    x[:, 17:23, 25:31] += 50
    assert torch.equal(cost(x, changed, None), before)
    assert torch.allclose(cost.nearest(x)[:, 20, 30], x[:, 20, 30], atol=1e-3)
