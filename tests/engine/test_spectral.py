"""Frequency bands and radial spectra, on signals whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import napari_dip as dip
from napari_dip.engine.spectral import BandMeter, Rings

RNG = np.random.default_rng(0)
SHAPES = [((64, 64), "YX"), ((61, 40), "YX"), ((20, 32, 27), "ZYX"), ((33, 48, 3), "YXS")]


def wave(shape, frequency):
    """A cosine along the last axis, in cycles per pixel."""
    return np.broadcast_to(np.cos(2 * np.pi * frequency * np.arange(shape[-1])), shape)


@pytest.mark.parametrize(("shape", "axes"), SHAPES)
def test_identical_images_have_one_everywhere(shape, axes):
    image = RNG.normal(5, 1, shape)
    bands = dip.fbc(image, image, axes=axes)
    channels = 3 if "S" in axes else 1
    assert bands.magnitude.shape == bands.correlation.shape == (channels, 8)
    assert np.allclose(bands.magnitude, 1)
    assert np.allclose(bands.correlation, 1)


def test_a_wave_falls_into_its_band():
    noise = RNG.normal(0, 0.01, (60, 75))
    for band in range(1, 8):
        bands = dip.fbc(noise + wave((60, 75), (band + 0.5) / 16), noise)
        assert int(bands.magnitude.argmax()) == band
        spectrum = dip.radial_spectrum(wave((60, 75), (band + 0.5) / 16), rings=8)
        assert spectrum.power[0, band] > 0.999 * spectrum.power.sum()


@pytest.mark.parametrize(("shape", "axes"), SHAPES)
def test_white_noise_is_flat_at_its_variance(shape, axes):
    spectra = [dip.radial_spectrum(RNG.normal(0, 2, shape), rings=5, axes=axes).power.mean(0) for _ in range(40)]
    assert np.allclose(np.mean(spectra, 0), 4, rtol=0.15)


def test_a_low_passed_copy_has_all_of_the_low_bands_and_nothing_of_the_high_ones():
    shape = (96, 80)
    image = RNG.normal(0, 1, shape)
    rows, columns = np.meshgrid(np.fft.fftfreq(96), np.fft.fftfreq(80), indexing="ij")
    low = np.fft.ifft2(np.fft.fft2(image) * (np.hypot(rows, columns) < 0.25)).real
    bands = dip.fbc(low, image)
    assert np.allclose(bands.magnitude[0, :3], 1, atol=0.02)
    assert (bands.magnitude[0, 5:] < 0.01).all()
    assert np.allclose(bands.correlation[0, :3], 1, atol=0.02)


def test_an_overshoot_is_told_and_a_shift_lowers_the_correlation_alone():
    image = RNG.normal(0, 1, (64, 64))
    assert np.allclose(dip.fbc(1.5 * image, image).magnitude, 1.5)
    shifted = dip.fbc(np.roll(image, 3, 0), image)
    assert np.allclose(shifted.magnitude, 1, atol=0.1)
    assert shifted.correlation[0, -1] < 0.3


def test_frequencies_are_per_pixel_whatever_the_shape_and_the_corners_count():
    bands = dip.fbc(*[RNG.normal(size=(40, 90))] * 2, bands=4)
    assert np.allclose(bands.edges, [0, 0.125, 0.25, 0.375, math.sqrt(0.5)])
    assert Rings((40, 90), 4).counts().sum() == 40 * 90
    assert Rings((9, 16, 15), 4).counts().sum() == 9 * 16 * 15
    assert Rings((9, 16, 15), 4).edges[-1] == pytest.approx(math.sqrt(0.75))


def test_borders_do_not_leak():
    """A ramp has hardly anything at high frequencies; without a window its jump at the border would be there."""
    ramp = np.broadcast_to(np.arange(64.0), (64, 64))
    power = dip.radial_spectrum(ramp, rings=8).power[0]
    bare = np.abs(np.fft.fft2(ramp - ramp.mean())) ** 2 / 64**2
    assert power[-1] < 1e-6 * power[0]
    assert bare[0, 24:32].mean() > 1e-4 * power[0]


def test_pixels_that_are_not_finite_count_in_neither_image():
    image, other = RNG.normal(size=(2, 40, 40))
    image[5:9, 3:20] = np.nan
    changed = other.copy()
    changed[5:9, 3:20] = 1e6
    assert np.array_equal(dip.fbc(image, other).magnitude, dip.fbc(image, changed).magnitude)


def test_what_cannot_be_compared_is_refused_in_words():
    with pytest.raises(ValueError, match=r"\(20, 20\), the reference \(20, 21\)"):
        dip.fbc(np.ones((20, 20)), np.ones((20, 21)))
    with pytest.raises(ValueError, match="1 to 10"):
        dip.fbc(np.ones((20, 20)), np.ones((20, 20)), bands=11)
    with pytest.raises(ValueError, match="No pixel is finite"):
        dip.fbc(np.full((20, 20), np.nan), np.ones((20, 20)))


@pytest.mark.parametrize("side", [32, 50])
def test_the_published_measure_is_its_definition(side):
    """Written out pixel by pixel: the clipped ratio of magnitudes, averaged over rings a tenth of the width wide."""
    one, other = RNG.uniform(size=(2, side, side, 3))
    grey = [np.clip(0.2989 * c[..., 0] + 0.587 * c[..., 1] + 0.114 * c[..., 2], 0, 1) for c in (one, other)]
    spectra = [np.fft.fftshift(np.abs(np.fft.fft2(g))) for g in grey]
    rings = [[] for _ in range(5)]
    for row in range(side):
        for column in range(side):
            distance = math.hypot(row - side / 2, column - side / 2)
            ring = max(math.ceil(distance / (side / 10)), 1)
            if ring <= 5:
                rings[ring - 1].append(min(1, spectra[0][row, column] / (spectra[1][row, column] + 1e-8)))
    expected = [np.mean(ring) for ring in rings]
    assert np.allclose(dip.published_fbc(one, other), expected, atol=1e-6)
    assert np.allclose(dip.published_fbc(one, one), 1, atol=1e-6)


def test_a_row_of_the_record_is_the_measure_of_all_channels():
    y, x = torch.rand(2, 1, 30, 41, generator=torch.Generator().manual_seed(0))
    meter = BandMeter(y, torch.ones_like(y) > 0)
    for image in (x, 0.5 * y):
        expected = dip.fbc(image[0].numpy(), y[0].numpy()).magnitude[0]
        assert np.allclose(meter.row(image), expected, atol=2e-4)


def test_data_that_are_no_image_have_no_bands():
    result = dip.reconstruct(np.ones(30), lambda x: x.flatten()[:30], (16, 16), span=(0, 2), stop=dip.FixedSteps(60))
    assert result.fits[0].bands == []


def test_a_run_records_its_bands_and_they_fill_from_coarse_to_fine(noisy):
    result = dip.restore(noisy, preset="plain", stop=dip.FixedSteps(300))
    fit = result.fits[0]
    assert fit.band_steps == [50, 100, 150, 200, 250, 300]
    rows = np.array(fit.bands)
    assert rows.shape == (6, 8)
    assert rows[0, 1] > rows[0, -1], "coarse bands come first"
    assert rows[-1, -1] > rows[0, -1], "fine ones later"
    assert result.report()["fits"][0]["bands"] == fit.bands
