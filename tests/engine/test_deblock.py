"""JPEG's traces taken out: nearer to the truth than the file, and still an image that the file could come from."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

import napari_dip as dip
from napari_dip.engine import jpeg

TRUTH = data.camera()[100:164, 180:247]  # 64 x 67
SEEING = dip.Preset("seeing", members=(dip.Prior(network=dip.Skip(down=(16,) * 3, up=16), source=dip.Guide()),))
TINY = dip.Prior(network=dip.Skip(down=(8, 8), up=8, skip=2), source=dip.Noise(channels=4))


def through_jpeg(image: np.ndarray, quality: int, subsampling: int = 0) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.array(Image.open(file))


def decibels(image: np.ndarray, truth: np.ndarray) -> float:
    error = np.mean((image.astype(float) - truth) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


@pytest.fixture(scope="module")
def deblocked() -> tuple[np.ndarray, dip.Restoration]:
    image = through_jpeg(TRUTH, 10)
    return image, dip.restore(image, dip.Deblock(), preset=SEEING, max_steps=200)


def test_the_result_is_nearer_to_the_truth_than_the_file(deblocked):
    image, result = deblocked
    assert result.image.dtype == np.uint8
    assert decibels(result.image, TRUTH) > decibels(image, TRUTH) + 0.8


def test_compressed_again_the_result_is_the_same_file(deblocked):
    """But for the blocks that the border cuts, and coefficients that rounding to whole grey levels has moved."""
    image, result = deblocked
    again = through_jpeg(result.image, 10)
    whole = np.s_[:64, :64]
    assert np.mean(again[whole] != image[whole]) < 0.2
    assert decibels(again[whole], image[whole]) > 40


def test_an_enlarged_image_is_nearer_to_the_truth_than_cubic_interpolation():
    y, x = np.mgrid[:64, :64]
    truth = (60 + 120 * (np.hypot(y - 30, x - 28) < 17) + 50 * (np.abs(x + y - 96) < 5)).astype(np.uint8)
    image = through_jpeg(np.array(Image.fromarray(truth).resize((32, 32), Image.Resampling.BICUBIC)), 20)
    result = dip.restore(image, dip.Deblock(factor=2), preset=SEEING, max_steps=200)
    assert result.image.shape == (64, 64)
    assert any("invented by the prior" in note for note in result.notes)
    cubic = np.array(Image.fromarray(image).resize((64, 64), Image.Resampling.BICUBIC))
    assert decibels(result.image, truth) > decibels(cubic, truth) + 0.2
    small = np.array(Image.fromarray(result.image).resize((32, 32), Image.Resampling.BICUBIC))
    assert decibels(small, image) > 32, "made small again it is what the file shows"


@pytest.mark.parametrize("factor", [0.5, 9, float("nan")])
def test_a_file_is_enlarged_by_1_to_8(factor):
    with pytest.raises(ValueError, match="at least 1 and at most 8"):
        dip.Deblock(factor=factor)


def test_nothing_is_said_of_a_residual_that_is_no_noise(deblocked):
    _, result = deblocked
    assert result.fits[0].residual is None
    assert result.fits[0].pilot == (0.5, 0.5)
    assert not any(note.startswith("Residual") for note in result.notes)


def test_a_colour_image_of_any_size_with_subsampled_colours_is_deblocked():
    truth = data.astronaut()[60:113, 160:231]  # 53 x 71
    image = through_jpeg(truth, 15, 2)
    results = [dip.restore(image, dip.Deblock(), preset=SEEING, max_steps=300, seed=seed).image for seed in range(2)]
    assert results[0].shape == truth.shape
    assert np.mean([decibels(result, truth) for result in results]) > decibels(image, truth) + 0.3


def test_channels_are_grey_images_of_their_own_and_no_colours():
    qualities = {10: TRUTH, 20: 255 - TRUTH, 30: TRUTH[::-1].copy()}
    channels = np.stack([through_jpeg(image, quality) for quality, image in qualities.items()])
    result = dip.restore(channels, dip.Deblock(), TINY, axes="CYX", max_steps=2)
    assert [fit.frame for fit in result.fits] == [(0,), (1,), (2,)]
    for channel, image in zip(channels, result.image, strict=True):
        assert np.array_equal(image, dip.restore(channel, dip.Deblock(), TINY, max_steps=2).image)


def test_the_file_s_tables_are_taken_and_not_guessed():
    """Tables that no quality has: told from pixels alone they would be others."""
    luma = tuple(int(step) for step in np.arange(20, 84))
    tables = dip.JpegTables(luma)
    image = jpeg.compressed(torch.from_numpy(TRUTH[None].astype(np.float32)), tables)
    problem = dip.Deblock(tables=tables).problem(image)
    assert float(problem.likelihood(image, image, None)) < 1e-3


def test_least_squares_is_the_published_variant():
    y = torch.from_numpy(through_jpeg(TRUTH, 10)[None].astype(np.float32))
    problem = dip.Deblock(intervals=False).problem(y)
    assert problem.likelihood == dip.LeastSquares()
    assert problem.finish(y) is y


def test_missing_pixels_influence_nothing():
    image = through_jpeg(TRUTH, 20).astype(float)
    missing = np.zeros(image.shape, bool)
    missing[5:12, 7:20] = True
    results = []
    for value in (0, 1e9, np.nan):
        image[missing] = value
        results.append(dip.restore(image, dip.Deblock(), TINY, missing=missing, max_steps=10))
    for other in results[1:]:
        assert np.array_equal(results[0].image[~missing], other.image[~missing])


@pytest.mark.parametrize("task", [dip.Deblock(), dip.Deblock(quality=10)])
def test_what_is_no_jpeg_is_refused_in_one_sentence(task):
    with pytest.raises(ValueError, match=r"not a JPEG, as far as|was not compressed like that \(quality 10\)"):
        dip.restore(TRUTH, task, max_steps=1)


def test_a_volume_is_refused():
    with pytest.raises(ValueError, match="JPEG holds a grey or an RGB plane"):
        dip.restore(np.zeros((16, 16, 16)), dip.Deblock(), axes="ZYX", max_steps=1)


def test_a_rule_that_hides_pixels_is_refused_and_a_preset_s_gives_way():
    image = through_jpeg(TRUTH, 10)
    with pytest.raises(ValueError, match="Held-out pixels tell nothing of what this task does"):
        dip.restore(image, dip.Deblock(), stop=dip.HeldOut(), max_steps=1)
    result = dip.restore(image, dip.Deblock(), preset="quick", max_steps=2)
    assert result.settings["stop"]["name"] == "FixedSteps"


def test_only_networks_that_see_the_pilot_are_fitted():
    both = dip.Preset("both", members=(TINY, *SEEING.members))
    result = dip.restore(through_jpeg(TRUTH, 10), dip.Deblock(), preset=both, max_steps=2)
    assert len(result.fits) == 1


@pytest.mark.parametrize("factor", [1 / 255, 257.0])
def test_values_that_are_no_grey_levels_are_refused(factor: float) -> None:
    image = through_jpeg(TRUTH, 30).astype(np.float32) * factor
    with pytest.raises(ValueError, match="grey levels from 0 to 255"):
        dip.restore(image, dip.Deblock(quality=30), max_steps=1)
