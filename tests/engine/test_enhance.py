"""Detail made stronger: by the amount, dark as well as bright, without halos, and again without a fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import napari_dip as dip
from napari_dip.engine.tasks.enhance import Cartoon, boosted

SMALL = dip.Prior(network=dip.Skip(down=(32,) * 4, up=32))
ROWS, COLUMNS = np.mgrid[:48, :64]
EDGE = np.where(COLUMNS < 32, 60.0, 180.0)
TEXTURE = 6.0 * np.sin(2 * np.pi * COLUMNS / 4) * np.sin(2 * np.pi * ROWS / 4)
FLAT = np.s_[6:-6, 6:26]


@pytest.fixture(scope="module")
def enhanced() -> dip.Restoration:
    return dip.restore(EDGE + TEXTURE, dip.Enhance(amount=3), SMALL, max_steps=400)


def strength(image: np.ndarray) -> float:
    """Return how strong the texture is in the flat part of an image, relative to how it was."""
    part = image[FLAT] - image[FLAT].mean()
    return float((part * TEXTURE[FLAT]).sum() / (TEXTURE[FLAT] ** 2).sum())


def test_texture_is_as_many_times_stronger_as_was_asked(enhanced):
    assert strength(enhanced.image) == pytest.approx(3, rel=0.1)


def test_there_is_no_halo_and_no_shift_of_the_mean(enhanced):
    profile = enhanced.image.mean(0)  # rows of texture cancel out
    low, high = profile[6:20].mean(), profile[-20:-6].mean()
    assert profile.max() - high < 0.02 * (high - low)
    assert low - profile.min() < 0.02 * (high - low)
    assert abs((enhanced.image - EDGE - TEXTURE).mean()) < 0.001 * 120


def test_dark_detail_is_as_strong_as_bright_detail(enhanced):
    detail = (enhanced.image - EDGE)[FLAT]
    assert -detail.min() == pytest.approx(detail.max(), rel=0.1)


def test_another_amount_takes_no_other_fit():
    three, more = (dip.restore(EDGE + TEXTURE, dip.Enhance(amount), SMALL, max_steps=20) for amount in (3, 1.5))
    np.testing.assert_allclose(dip.Enhance(amount=1.5).applied(three), more.image, atol=0.01)
    np.testing.assert_allclose(dip.Enhance(amount=1).applied(three), EDGE + TEXTURE, atol=0.01)


@pytest.mark.parametrize("each", ["", "C"])
def test_another_amount_is_that_of_another_fit_where_channels_have_unlike_scales(each):
    image = np.stack([EDGE + TEXTURE, 5e3 - 40 * EDGE + 300 * TEXTURE])[:, :24, :40]
    run = {"axes": "CYX", "each": each, "max_steps": 5}
    three, one = (dip.restore(image, dip.Enhance(amount), SMALL, **run) for amount in (3, 1.5))
    again = dip.Enhance(amount=1.5).applied(three)
    for channel, other in zip(again, one.image, strict=True):
        np.testing.assert_allclose(channel, other, atol=1e-4 * np.ptp(other))


def test_another_amount_leaves_frames_that_were_not_restored_as_they_are():
    stack, control = np.stack([EDGE + TEXTURE] * 2)[:, :24, 20:44], dip.Control()
    stack[1, 5, 5] = np.nan
    last = None
    for last in dip.iter_restore(stack, dip.Enhance(), SMALL, axes="TYX", max_steps=2, control=control):  # noqa: B007
        control.stop()
    again = dip.Enhance(amount=4).applied(last.restoration())
    np.testing.assert_array_equal(again[1], stack[1])


def test_the_result_says_that_it_is_not_for_measuring(enhanced):
    assert "not for quantification" in " ".join(enhanced.notes)
    assert any("not for quantification" in note for note in enhanced.report()["notes"])


def test_colours_and_stacks_keep_their_axes_and_integers_their_range():
    colours = np.stack([EDGE + TEXTURE] * 3, axis=-1)[None].repeat(2, 0)[:, :20, :24]
    image = (colours + 100).clip(0, 255).astype(np.uint8)
    result = dip.restore(image, dip.Enhance(amount=4), SMALL, axes="TYXS", max_steps=3)
    again = dip.Enhance(amount=4).applied(result)
    assert again.dtype == result.image.dtype == np.uint8
    assert np.abs(again.astype(int) - result.image).max() <= 1


def test_missing_pixels_influence_nothing_and_stay():
    image, results = EDGE + TEXTURE, []
    missing = np.zeros(image.shape, bool)
    missing[10:14, 20:30] = True
    for value in (0, 1e9, np.nan):
        image[missing] = value
        results.append(dip.restore(image, dip.Enhance(), SMALL, missing=missing, max_steps=10))
    for other in results[1:]:
        assert np.array_equal(results[0].image[~missing], other.image[~missing])
    assert np.isnan(dip.Enhance(amount=5).applied(results[-1])[missing]).all()


def test_the_published_variant_is_least_squares_without_a_pilot():
    problem = dip.Enhance(keeps_edges=False).problem(torch.rand(1, 20, 20))
    assert problem.likelihood == dip.LeastSquares()
    result = dip.restore(EDGE + TEXTURE, dip.Enhance(keeps_edges=False), stop=dip.FixedSteps(3))
    assert result.fits[0].pilot == ()


def test_a_rule_that_hides_pixels_is_refused():
    with pytest.raises(ValueError, match="Held-out pixels tell nothing of what this task does"):
        dip.restore(EDGE, dip.Enhance(), stop=dip.HeldOut(), max_steps=1)


# ------------------------------------------------------------------ the operators


def test_bars_cost_less_without_if_they_are_narrower_than_the_width():
    bars = {width: torch.zeros(1, 40, 40) for width in (2, 6)}
    for width, image in bars.items():
        image[:, 2:-2, 15 : 15 + width] = 1.0
    term, empty = Cartoon(4.0), torch.zeros(1, 40, 40)
    assert term(empty, bars[2], None) < term(bars[2], bars[2], None)
    assert term(empty, bars[6], None) > term(bars[6], bars[6], None)


def test_the_gradient_is_that_of_finite_differences_and_finite_on_flat_images():
    generator = torch.Generator().manual_seed(0)
    x, y, step = (torch.rand(2, 11, 13, generator=generator, dtype=torch.float64) for _ in range(3))
    weight = (y > 0.2).double()
    (gradient,) = torch.autograd.grad(Cartoon(3.0)(x.requires_grad_(), y, weight), x)
    ahead, behind = (Cartoon(3.0)(x.detach() + sign * 1e-6 * step, y, weight) for sign in (1, -1))
    assert float((gradient * step).sum()) == pytest.approx(float(ahead - behind) / 2e-6, rel=1e-4)
    flat = torch.ones(1, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(Cartoon(3.0)(flat, torch.ones(1, 8, 8), None), flat)
    assert torch.isfinite(gradient).all()


def test_an_amount_of_one_changes_nothing_and_none_leaves_the_base_where_it_is_flat():
    base = torch.linspace(0, 1, 20).repeat(1, 20, 1)
    detail = 0.1 * torch.randn(1, 20, 20, generator=torch.Generator().manual_seed(0))
    known = torch.ones_like(base, dtype=torch.bool)
    assert torch.allclose(boosted(base, detail, known, 1.0), base + detail)
    flat = torch.full_like(base, 0.5)
    assert torch.allclose(boosted(flat, detail, known, 0.0), flat + detail.mean((1, 2), keepdim=True))
    assert torch.allclose(boosted(flat, torch.zeros_like(flat), known, 3.0), flat)


SMALL_PRIOR = dip.Prior(network=dip.Skip(down=(8, 8), up=8, skip=2), source=dip.Noise(channels=4))


@pytest.mark.parametrize("amount", [0.0, 3.0])
def test_the_mean_stays_where_the_base_has_another(amount):
    """Few bright spots on a dark ground: a base of least absolute deviation does not see them."""
    image = np.full((48, 48, 3), 20, np.float32) + np.random.default_rng(0).normal(0, 1, (48, 48, 3)).astype(np.float32)
    image[::6, ::6] += [100, 60, 30]
    image[10, 10] = np.nan
    result = dip.restore(image, dip.Enhance(amount=amount, size=8), SMALL_PRIOR, dip.FixedSteps(100))
    base = np.nanmean(image - result.residual, (0, 1))
    assert abs(base / np.nanmean(image, (0, 1)) - 1).max() > 0.005, "else this would test nothing"
    assert np.nanmean(result.image, (0, 1)) == pytest.approx(np.nanmean(image, (0, 1)), rel=1e-4)
    np.testing.assert_allclose(dip.Enhance(amount=amount, size=8).applied(result), result.image, rtol=1e-4, atol=1e-3)
