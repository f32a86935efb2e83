"""Offsets of rows and columns: told from the image, taken off, and said."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import napari_dip as dip
from napari_dip.engine.stripes import stripes_of


def scene(shape=(128, 160)):
    y, x = np.indices(shape) / max(shape)
    blobs = 150 * np.exp(-((x - 0.5) ** 2 + (y - 0.4) ** 2) / 0.03)
    return 100 + blobs + 40 * np.sin(25 * x + 9 * y) + 50 * y


def striped(along, seed=0, sigma=20.0, shape=(128, 160)):
    """Return an image with noise, and the offsets of its lines, half as strong."""
    rng = np.random.default_rng(seed)
    offsets = np.zeros(shape)
    if along in ("rows", "both"):
        offsets += rng.normal(0, sigma / 2, (shape[0], 1))
    if along in ("columns", "both"):
        offsets += rng.normal(0, sigma / 2, (1, shape[1]))
    offsets -= offsets.mean()
    return (scene(shape) + rng.normal(0, sigma, shape) + offsets).astype(np.float32), offsets


def told(image, along, known=None):
    y = torch.from_numpy(image)[None]
    sure = torch.ones_like(y, dtype=torch.bool) if known is None else torch.from_numpy(known)[None]
    return stripes_of(y, sure, along)[0].numpy()


@pytest.mark.parametrize("along", ["rows", "columns", "both"])
def test_four_fifths_of_the_offsets_power_are_taken_off(along):
    image, offsets = striped(along)
    found = told(image, along)
    assert ((found - offsets) ** 2).mean() < 0.2 * (offsets**2).mean()
    assert abs(found.mean()) < 1e-3
    if along != "both":
        assert np.ptp(found, 1 if along == "rows" else 0).max() == 0


def test_where_there_are_none_little_is_taken_off():
    image = (scene() + np.random.default_rng(0).normal(0, 20, (128, 160))).astype(np.float32)
    assert told(image, "rows").std() < 0.15 * 20


def test_an_object_that_covers_part_of_a_row_stays():
    image, _ = striped("none")
    image[60, 20:80] += 300
    assert abs(told(image, "rows")[60, 0]) < 0.3 * 20


def test_unknown_values_have_no_say_even_where_a_whole_row_is():
    image, offsets = striped("rows")
    known = np.random.default_rng(0).random(image.shape) > 0.1
    known[40] = False
    found = told(image, "rows", known)
    assert np.array_equal(found, told(np.where(known, image, 0), "rows", known))
    rows = known.any(1)
    assert ((found - offsets)[rows] ** 2).mean() < 0.2 * (offsets**2).mean()


def test_planes_and_channels_have_their_own():
    images = [striped("rows", seed)[0] for seed in range(3)]
    volume = np.stack(images)[None]
    found = stripes_of(torch.from_numpy(volume), torch.ones(volume.shape, dtype=torch.bool), "rows")[0]
    for plane, image in zip(found, images, strict=True):
        assert np.allclose(plane.numpy(), told(image, "rows"), atol=1e-4)


def test_a_run_takes_them_off_and_says_how_large_they_were():
    image, offsets = striped("rows", shape=(64, 96))
    settings = {"preset": "quick", "max_steps": 40}
    with_, without = (dip.restore(image, dip.Denoise(stripes=one), **settings) for one in ("rows", "none"))
    errors = [(result.image - scene((64, 96))).mean(1).std() for result in (with_, without)]
    assert errors[0] < 0.6 * errors[1]
    assert with_.fits[0].stripes == pytest.approx(offsets.std(), rel=0.3)
    assert any("Offsets of lines" in note for note in with_.notes)
    assert without.fits[0].stripes is None
    assert np.allclose(with_.estimate + with_.residual, image - told(image, "rows"), atol=0.2)


def test_what_is_no_line_is_refused():
    with pytest.raises(ValueError, match="none of none, rows, columns, both"):
        dip.Denoise(stripes="diagonal")
