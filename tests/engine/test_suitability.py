"""What is said before a fit: right about noise, structure, saturation and the number of images."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import napari_dip as dip


def noisy(sigma=10.0, size=128, blur=0.0):
    y, x = np.mgrid[:size, :size] / size
    scene = 100 + 60 * np.sin(9 * x) * np.cos(7 * y)
    noise = gaussian_filter(np.random.default_rng(0).normal(size=scene.shape), blur)
    return scene + sigma * noise / noise.std()


def test_a_noisy_image_with_structure_is_suited_and_its_noise_is_named():
    said = dip.check(noisy())
    assert said.against == said.hints == ()
    assert said.sigma[0] == pytest.approx(10, rel=0.1)
    assert str(said).startswith("suitable (noise ")


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (noisy(sigma=0.1), "hardly any noise"),
        (noisy(sigma=3000.0), "hardly any structure"),
        (noisy(size=24), "cannot be told"),
    ],
)
def test_what_speaks_against_a_fit_is_said(image, words):
    said = dip.check(image)
    assert words in said.against[0]
    assert str(said).startswith("think twice")


def test_hints_name_the_correlation_the_saturation_and_the_other_exposures():
    assert "correlated" in dip.check(noisy(sigma=25.0, size=256, blur=0.7)).hints[0]
    assert "saturation 150" in dip.check(np.minimum(noisy(), 150)).hints[0]
    stack = np.stack([noisy(size=64)] * 25)
    said = " ".join(dip.check(stack, "TYX").hints)
    assert "5.0 times weaker" in said
    assert "a network trained on them" in said
    assert dip.check(stack, "ZYX").hints == ()


def test_saturated_and_missing_pixels_are_left_out():
    image = noisy()
    image[20:30, 40:50] = 1e5
    assert dip.check(image, saturation=1e4) == dip.check(np.where(image > 1e4, np.nan, image))
    with pytest.raises(ValueError, match="No pixel is known"):
        dip.check(np.full((64, 64), np.nan))


def test_a_large_stack_is_looked_at_within_two_seconds():
    stack = np.broadcast_to(noisy(size=2048).astype(np.float32), (6, 2048, 2048))
    started = time.perf_counter()
    assert dip.check(stack, "TYX").sigma[0] == pytest.approx(10, rel=0.1)
    assert time.perf_counter() - started < 2
