"""Missing pixels filled: marked by a mask, or by a colour of the picture."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

import napari_dip as dip

TINY = dip.Prior(network=dip.Skip(down=(8, 8), up=8, skip=2), source=dip.Noise(channels=4))
FEW = dip.FixedSteps(5)


@pytest.fixture
def written() -> tuple[np.ndarray, np.ndarray]:
    """An RGB image with a red word over it, and where that is."""
    image = data.astronaut()[60:92, 160:200].copy()
    text = np.zeros(image.shape[:2], bool)
    text[10:13, 5:30] = text[16:19, 8:35] = True
    image[text] = (255, 0, 0)
    return image, text


def test_a_colour_of_the_picture_marks_what_is_filled(written):
    image, text = written
    result = dip.restore(image, dip.Inpaint(mask_colour="#ff0000"), TINY, FEW)
    assert np.array_equal(result.filled, np.repeat(text[..., None], 3, 2))
    assert np.array_equal(result.image[~text], image[~text])
    assert not (result.image[text] == (255, 0, 0)).all(-1).any()
    same = dip.restore(image, dip.Inpaint(text), TINY, FEW)
    assert np.array_equal(result.image, same.image)


def test_a_colour_may_differ_by_a_tolerance_and_its_neighbours_count_too(written):
    image, _ = written
    image[10, 5], image[11, 6] = (250, 4, 3), (200, 0, 0)
    near = dip.restore(image, dip.Inpaint(mask_colour="255, 0, 0", tolerance=5), TINY, FEW).filled[..., 0]
    assert near[10, 5]
    assert not near[11, 6]
    wide = dip.restore(image, dip.Inpaint(mask_colour="#FF0000", widen=2), TINY, FEW).filled[..., 0]
    assert wide[8, 6]
    assert not wide[7, 6]
    assert wide[11, 6]


def test_one_number_marks_a_grey_level(written):
    grey = np.where(written[1], 255, 90).astype(np.uint8)
    assert np.array_equal(dip.restore(grey, dip.Inpaint(mask_colour="255"), TINY, FEW).filled, written[1])


def test_a_colour_marks_pixels_where_channels_are_filled_one_by_one(written):
    image, text = written
    channels = np.moveaxis(image, -1, 0)
    result = dip.restore(channels, dip.Inpaint(mask_colour="#ff0000"), TINY, FEW, axes="CYX", each="C")
    assert [fit.frame for fit in result.fits] == [(0,), (1,), (2,)]
    assert np.array_equal(result.filled, np.repeat(text[None], 3, 0))
    with pytest.raises(ValueError, match="has 2 values, the image 3 channels"):
        dip.restore(channels, dip.Inpaint(mask_colour="1, 2"), TINY, FEW, axes="CYX", each="C")


@pytest.mark.parametrize(
    ("colour", "said"),
    [
        ("red", "'red' is no colour: write it as #ff0000"),
        ("255, 0", "has 2 values, the image 3 channels"),
        ("#010203", "Nothing is missing"),
    ],
)
def test_a_colour_that_marks_nothing_is_refused_in_one_sentence(written, colour, said):
    with pytest.raises(ValueError, match=said):
        dip.restore(written[0], dip.Inpaint(mask_colour=colour), TINY, FEW)


def test_a_mask_that_covers_all_is_refused_in_one_sentence(written):
    with pytest.raises(ValueError, match="No pixel is known: the mask"):
        dip.restore(written[0], dip.Inpaint(np.ones(written[1].shape, bool)), TINY, FEW)
