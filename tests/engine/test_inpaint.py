"""Missing pixels filled: marked by a mask, or by a colour of the picture."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from skimage import data

import napari_dip as dip
from napari_dip.engine.filling import wide_holes
from napari_dip.engine.frame import WIDE_STEPS
from napari_dip.engine.mixture import Mixture

TINY = dip.Prior(network=dip.Skip(down=(8, 8), up=8, skip=2), source=dip.Noise(channels=4))
FEW = dip.FixedSteps(5)
TINY_PRESET = dip.Preset("tiny", TINY, wide=TINY)


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


def hole(shape, side):
    """Where a square in the middle is missing, (1, *shape)."""
    missing = np.zeros(shape, bool)
    missing[tuple(slice((n - side) // 2, (n - side) // 2 + side) for n in shape)] = True
    return missing


@pytest.mark.parametrize(("shape", "side", "wide"), [
    ((64, 64), 14, False), ((64, 64), 15, True), ((40, 40, 40), 14, False), ((40, 40, 40), 15, True),
])  # fmt: skip
def test_a_hole_is_wide_from_eight_pixels_on_to_what_is_known(shape, side, wide):
    known = torch.from_numpy(~hole(shape, side))[None]
    assert torch.equal(wide_holes(known), ~known[0] & wide)
    assert not wide_holes(torch.cat([known, torch.ones_like(known)])).any()  # another channel knows


def test_nothing_is_wide_where_missing_pixels_are_scattered():
    known = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0)) < 0.2
    assert not wide_holes(known).any()
    assert not wide_holes(torch.ones(1, 64, 64, dtype=torch.bool)).any()


def test_all_of_a_round_hole_is_wide_and_a_scratch_that_leads_to_it_is_not():
    y, x = np.mgrid[:96, :96]
    disc, scratch = (y - 48) ** 2 + (x - 48) ** 2 < 15**2, (abs(y - 48) < 2) & (x > 60)
    found = wide_holes(torch.from_numpy(~(disc | scratch))[None]).numpy()
    assert found[disc].all()
    assert not found[scratch & (x > 48 + 15 + 16)].any()


@pytest.mark.parametrize("preset", ["quick", "standard"])
def test_a_wide_hole_is_filled_by_a_network_for_that_unless_another_is_wanted(preset):
    image = data.camera()[200:264, 200:264]
    wide, narrow = hole((64, 64), 20), hole((64, 64), 4)
    asked = {"stop": dip.HeldOut(floor=10, ceiling=10), "preset": preset}
    found = [dip.restore(image, dip.Inpaint(mask), **asked) for mask in (wide, narrow)]
    assert ["coordinates" in result.fits[0].network for result in found] == [True, False]
    assert [any("hole is wide" in note for note in result.notes) for result in found] == [True, False]
    assert [any("similar patches" in note for note in result.notes) for result in found] == [False, True]
    own = dip.restore(image, dip.Inpaint(wide), TINY, **asked)
    assert "coordinates" not in own.fits[0].network
    denoised = dip.restore(image, dip.Denoise(), missing=wide, fill=True, stop=FEW, preset="plain")
    assert "coordinates" not in denoised.fits[0].network


def test_what_lies_around_a_wide_hole_goes_on_through_it():
    """How well differs from seed to seed: the error has 1 to 27 % of the variance there."""
    y, x = np.mgrid[:64, :64]
    image = (0.5 + 0.3 * np.tanh(3 * np.sin(x / 4)) + 0.2 * np.tanh((y - 30) / 2)).astype(np.float32)
    missing = hole((64, 64), 24)
    result = dip.restore(image, dip.Inpaint(missing), stop=dip.HeldOut(floor=400, ceiling=400), preset="quick")
    error = np.square(result.image - image)[missing].mean()
    assert error < 0.5 * image[missing].var()


def test_a_fit_to_a_wide_hole_is_short_unless_a_rule_is_given():
    image = data.camera()[200:232, 200:232]
    ends = [
        dip.restore(image, dip.Inpaint(hole((32, 32), 16)), preset=preset, stop=stop).fits[0].last_step
        for preset, stop in (
            (TINY_PRESET, None),
            (TINY_PRESET, dip.HeldOut(floor=WIDE_STEPS + 20, ceiling=WIDE_STEPS + 20)),
        )
    ]
    assert ends == [WIDE_STEPS, WIDE_STEPS + 20]


def test_gaps_beside_a_wide_hole_are_filled_by_the_other_network(threads):
    threads(1)  # side by side each fit has one: another number of them rounds otherwise
    image = data.camera()[200:248, 200:248]
    wide, gaps = hole((48, 48), 20), np.zeros((48, 48), bool)
    gaps[2:46:4, 4] = True
    asked = {"stop": FEW, "preset": TINY_PRESET}
    both = dip.restore(image, dip.Inpaint(wide | gaps), **asked)
    alone = dip.restore(image, dip.Inpaint(wide | gaps), TINY, FEW)
    assert len(both.fits) == 2
    assert [fit.share for fit in both.fits] == pytest.approx(
        [gaps.sum() / (wide | gaps).sum(), wide.sum() / (wide | gaps).sum()]
    )
    assert np.array_equal(both.image[gaps], alone.image[gaps])
    assert not np.array_equal(both.image[wide], alone.image[wide])


@pytest.mark.parametrize(("first", "second", "counted"), [
    (False, True, 2), (False, False, 2), (True, True, 2), (True, False, 1), (False, None, 1),
])  # fmt: skip
def test_a_fit_for_a_wide_hole_that_ends_first_does_not_fill_the_gaps(first, second, counted):
    """Whether each of two fits is done; None: not begun."""
    known = torch.ones(1, 4, 4)
    known[0, 0, 0] = known[0, 2, 2] = 0
    wide = torch.zeros(4, 4, dtype=torch.bool)
    wide[2, 2] = True
    members = [
        SimpleNamespace(newest=None if done is None else True, is_done=bool(done), output=torch.full((1, 4, 4), value))
        for done, value in ((first, 1.0), (second, 2.0))
    ]
    mixture = Mixture(dip.Problem(torch.zeros(1, 4, 4), (1, 4, 4), weight=known), wide=wide, members=members)
    assert [share for _, share in mixture.shares()] == ([0.5, 0.5] if counted == 2 else [1.0])
    assert float(mixture.average()[0, 0, 0]) == 1.0
    assert float(mixture.average()[0, 2, 2]) == counted
