"""Axes, scales and values: what is read as what, and that it comes back as it was."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dip.engine.blocks import Axes, Missing, convert, measure_scale, name_axes

LAYOUTS = [
    ("YX", (19, 18), "", 1, 1),
    ("YXS", (19, 18, 3), "", 3, 1),
    ("YXS", (19, 18, 4), "", 3, 1),
    ("CYX", (2, 19, 18), "", 2, 1),
    ("ZYX", (8, 19, 20), "", 1, 1),
    ("ZYX", (5, 19, 18), "Z", 1, 5),
    ("TCZYX", (2, 3, 4, 19, 18), "Z", 3, 8),
    ("TZYXS", (2, 4, 19, 18, 3), "Z", 3, 8),
]


@pytest.mark.parametrize(("letters", "shape", "each", "channels", "frames"), LAYOUTS)
def test_frames_are_channels_first_and_go_back_where_they_were(letters, shape, each, channels, frames):
    image = np.random.default_rng(0).random(shape)
    axes = Axes(letters, shape, each)
    copy = image.copy() if shape[-1] == 4 else np.zeros(shape)  # alpha is nobody's frame
    found = list(axes.frames())
    assert len(found) == frames
    for frame in found:
        values = axes.take(image, frame)
        assert values.shape == (channels, *(shape[axis] for axis in axes.spatial))
        copy[axes.where(frame)] = axes.arrange(values)
    assert np.array_equal(copy, image)


@pytest.mark.parametrize(
    ("letters", "shape", "words"),
    [
        ("YX", (3, 9, 9), "each axis"),
        ("ZZX", (9, 9, 9), "each axis"),
        ("TZC", (9, 9, 9), "no Y and X"),
        ("CYXS", (2, 9, 9, 3), "both C and S"),
        ("YX", (19, 14), "16 along X"),
        ("ZYX", (4, 19, 19), "8 along Z"),
    ],
)
def test_axes_that_make_no_sense_are_refused(letters, shape, words):
    with pytest.raises(ValueError, match=words):
        Axes(letters, shape)


def test_masks_of_the_image_of_its_pixels_or_of_its_plane_fit():
    axes = Axes("TYXS", (2, 19, 18, 3))
    plane = np.zeros((19, 18), bool)
    plane[3, 4] = True
    for mask in (plane, np.stack([plane] * 2), np.stack([np.stack([plane] * 3, -1)] * 2)):
        full = axes.broadcast(mask)
        assert full.shape == axes.shape
        assert full.sum() == 6
        assert full[:, 3, 4].all()


def test_a_scale_is_undone_to_the_last_digit_that_matters():
    image = np.random.default_rng(0).normal(1e6, 3, (30, 30))
    axes = name_axes(None, image.shape)
    scale = measure_scale(image, axes, Missing(axes))
    known = np.ones((1, 30, 30), bool)
    assert np.allclose(scale.undo(scale.apply(image[None], known)), image, rtol=0, atol=1e-5)


def test_colours_share_a_scale_and_channels_do_not():
    image = np.random.default_rng(0).random((20, 20, 3)) * [1, 10, 100]
    colour, channels = Axes("YXS", image.shape), Axes("CYX", (3, 20, 20))
    assert len(set(measure_scale(image, colour, Missing(colour)).gain)) == 1
    assert len(set(measure_scale(np.moveaxis(image, -1, 0), channels, Missing(channels)).gain)) == 3


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("u1", 254.6, 255),
        ("u1", -3.0, 0),
        ("u1", 300.0, 255),
        ("i2", -40000.0, -32768),
        ("i8", 1e30, 2**63 - 1024),
        ("u8", 1e30, 2**64 - 2048),
        ("u4", 1e12, 2**32 - 1),
        ("f2", 1e9, 65504.0),
        ("?", 0.7, True),
    ],
)
def test_values_are_rounded_and_clipped_into_the_dtype(dtype, value, expected):
    assert convert(np.array([value]), dtype)[0] == expected
