"""The samples: offline, reproducible, degraded as they say."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dip import samples


@pytest.mark.parametrize("make", samples.SAMPLES, ids=lambda make: make.__name__)
def test_a_sample_is_reproducible_and_its_truth_is_near(make):
    first, second, other = make(0), make(0), make(1)
    assert np.array_equal(first.image, second.image)
    assert not np.array_equal(first.image, other.image)
    size = first.truth.shape[0] // first.image.shape[0]  # of a pixel, in those of the truth
    truth = first.truth if size == 1 else _binned(first.truth, size)
    assert first.image.shape == truth.shape
    known = ~first.missing if first.missing is not None else np.ones(first.image.shape[:2], bool)
    error = first.image[known].astype(float) - truth[known]
    assert abs(error.mean()) < 0.1 * np.ptp(first.truth)


def _binned(image, size):
    rows, columns = (n // size for n in image.shape)
    return image.reshape(rows, size, columns, size).mean((1, 3))


def test_the_micrograph_has_the_noise_that_it_says():
    """Photon noise of electrons at 2 counts each, and 3 electrons of read noise: variance = 2 (x - 100) + 36."""
    sample = samples.micrograph(0)
    expected = 2 * (sample.truth - 100) + 36
    for low, high in ((100, 130), (130, 160), (160, 200)):
        where = (sample.truth >= low) & (sample.truth < high)
        measured = np.mean((sample.image[where] - sample.truth[where]) ** 2)
        assert measured == pytest.approx(expected[where].mean(), rel=0.1)


def test_the_moon_comes_with_its_scratches_as_labels():
    (image, _, kind), (labels, _, of_labels) = samples.scratched_moon_layers()
    assert (kind, of_labels) == ("image", "labels")
    assert 0.01 < (labels > 0).mean() < 0.2
    assert np.all(image[labels > 0] == 255)
