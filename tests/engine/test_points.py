"""What an estimate lacks of its point sources: given back where many lack it, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import napari_dip as dip
from napari_dip.engine import points
from napari_dip.engine.points import FEWEST, given_back

GROUND, NOISE = 100.0, 10.0


def spots(count=40, size=128, ratio=10.0, fwhm=1.5, seed=0):
    """Return a field of spots and their places."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(8, size - 8, 12)] * 2, indexing="ij"), -1).reshape(-1, 2)
    places = rng.permutation(grid)[:count] + rng.uniform(-1.5, 1.5, (min(count, len(grid)), 2))
    down, right = np.indices((size, size))
    field = np.full((size, size), GROUND)
    for y, x in places:
        field += ratio * NOISE * np.exp(-4 * np.log(2) * ((down - y) ** 2 + (right - x) ** 2) / fwhm**2)
    return field, places


def noisy(field, seed=1):
    return field + np.random.default_rng(seed).normal(0, NOISE, field.shape)


def tensor(image):
    return torch.from_numpy(np.asarray(image, np.float32))[None]


def back(estimate, measured, known=None):
    x, y = tensor(estimate), tensor(measured)
    sure = torch.ones_like(y, dtype=torch.bool) if known is None else torch.from_numpy(known)[None]
    image, lost = given_back(x, y, torch.full_like(x, NOISE**2), sure)
    return image[0].numpy(), lost


def peaks(image, field, places):
    return np.median([(image[at] - GROUND) / (field[at] - GROUND) for y, x in places for at in [(round(y), round(x))]])


def test_what_many_spots_lack_is_given_back_to_each():
    field, places = spots()
    low = GROUND + 0.8 * (field - GROUND)
    image, lost = back(low, noisy(field))
    assert peaks(low, field, places) == pytest.approx(0.8)
    assert peaks(image, field, places) == pytest.approx(1, abs=0.04)
    assert sum(one.sources for one in lost) > 30
    assert all(one.share == pytest.approx(0.25, abs=0.08) for one in lost)
    far = gaussian_filter(field - GROUND, 2) < 0.05
    assert np.array_equal(image[far], low.astype(np.float32)[far])


def test_what_they_have_too_much_is_taken():
    field, places = spots()
    image, _ = back(GROUND + 1.3 * (field - GROUND), noisy(field))
    assert peaks(image, field, places) == pytest.approx(1, abs=0.04)


def test_right_spots_and_few_spots_are_left_alone():
    field, _ = spots()
    assert back(field, noisy(field))[1] == []
    few, _ = spots(FEWEST - 1)
    assert back(GROUND + 0.5 * (few - GROUND), noisy(few))[1] == []


def test_an_even_field_is_left_alone_in_every_draw():
    for seed in range(20):
        y = noisy(np.full((96, 96), GROUND), seed)
        assert back(GROUND + 0.3 * (gaussian_filter(y, 1) - GROUND), y)[1] == []


@pytest.mark.parametrize("scale", [0.8, 1.5, 3])
def test_texture_is_left_alone(scale):
    field = gaussian_filter(np.random.default_rng(4).normal(size=(128, 128)), scale)
    field = GROUND + 30 * field / field.std()
    assert back(GROUND + 0.8 * (field - GROUND), noisy(field))[1] == []


def test_a_spot_with_a_hole_tells_nothing_and_gets_nothing():
    field, places = spots()
    known = np.ones(field.shape, bool)
    y, x = (round(value) for value in places[0])
    known[y + 1, x + 1] = False
    low = GROUND + 0.8 * (field - GROUND)
    measured = noisy(field)
    image, _ = back(low, measured, known)
    assert np.array_equal(image, back(low, np.where(known, measured, 1e6), known)[0])
    assert image[y, x] == np.float32(low[y, x])


def test_planes_are_looked_at_one_by_one():
    field, _ = spots()
    low, measured = GROUND + 0.8 * (field - GROUND), noisy(field)
    both = tensor(np.stack([low, np.full_like(low, GROUND)]))
    y = tensor(np.stack([measured, noisy(np.full_like(low, GROUND))]))
    image, _ = given_back(both, y, torch.full_like(y, NOISE**2), torch.ones_like(y, dtype=torch.bool))
    assert np.array_equal(image[0, 0].numpy(), back(low, measured)[0])
    assert torch.equal(image[0, 1], both[0, 1])


def test_a_run_gives_it_back_and_says_so():
    field, places = spots(64, 128)
    result = dip.restore(noisy(field).astype(np.float32), preset="quick", max_steps=10)
    assert 0.93 < peaks(result.image, field, places) < 1.07
    assert result.report()["fits"][0]["lost"][0]["sources"] >= FEWEST
    assert any("point sources lacked" in note for note in result.notes)


def test_strips_of_rows_give_what_the_whole_gives(monkeypatch):
    field, _ = spots()
    low, measured = GROUND + 0.8 * (field - GROUND), noisy(field)
    whole, _ = back(low, measured)
    monkeypatch.setattr(points, "TOGETHER", 128 * 5)
    assert np.allclose(back(low, measured)[0], whole, rtol=1e-5)
