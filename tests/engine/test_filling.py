"""Missing pixels told from similar patches: nearer than least variation, from what was seen, next to known pixels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import napari_dip as dip
from napari_dip.engine.filling import Filling, fill
from napari_dip.engine.variation import total_variation
from napari_dip.engine.work import finished


def weave(size=64):
    """Return stripes that cross, 0 to 1."""
    rows, columns = np.indices((size, size))
    return 0.5 + 0.25 * np.sin(0.9 * rows + 0.4 * columns) + 0.2 * np.sin(0.3 * rows - 1.1 * columns)


def posed(missing=0.5, seed=0):
    """Return the problem of a weave some of whose pixels are missing, what a fit may see, and the truth."""
    truth = torch.from_numpy(weave().astype(np.float32))[None]
    known = torch.rand(truth.shape, generator=torch.Generator().manual_seed(seed)) >= missing
    problem = dip.Problem(truth * known, shape=tuple(truth.shape), weight=known.float())
    return problem, dip.HeldOut().start(problem, 0)[0], truth


def test_scattered_pixels_of_a_texture_are_told_much_better_than_by_least_variation():
    problem, hidden, truth = posed()
    smooth = finished(total_variation(problem, hidden))
    filling = finished(fill(problem, hidden))
    errors = [float((x - truth)[~problem.known()].square().mean()) for x in (smooth, filling.guide, filling.estimate)]
    assert errors[1] < 0.1 * errors[0]
    assert errors[2] < errors[1]


def test_what_is_missing_tells_nothing_and_what_is_held_out_nothing_to_the_guide():
    problem, hidden, _ = posed()
    filling = finished(fill(problem, hidden))
    other = torch.where(problem.known(), problem.y, 7.0)
    same = finished(fill(dataclasses.replace(problem, y=other), dataclasses.replace(hidden, y=other)))
    assert torch.equal(filling.estimate, same.estimate)
    held = problem.known() & ~hidden.known()
    moved = torch.where(held, 1 - problem.y, problem.y)
    work = (dataclasses.replace(one, y=moved) for one in (problem, hidden))
    assert not torch.equal(finished(fill(*work)).estimate, filling.estimate)


@pytest.mark.parametrize("channels", [1, 3])
def test_it_counts_next_to_known_pixels_and_not_within_a_hole(channels):
    known = torch.ones(channels, 32, 32, dtype=torch.bool)
    known[:, 10:22, 10:22] = False
    filling = Filling(*(torch.ones(known.shape) for _ in range(3)), held=known, known=known)
    mixed = filling.mixed(torch.zeros(known.shape), 0.5)
    assert torch.all(mixed[:, 10, 10:22] == 0.5)
    assert torch.all(mixed[:, 11, 11:21] == 0.25)
    assert torch.all(mixed[:, 12:20, 12:20] == 0)


def test_the_weight_is_that_of_least_error_at_held_out_pixels():
    held = torch.ones(1, 16, 16, dtype=torch.bool)
    y = torch.rand(1, 16, 16)
    filling = Filling(y + 1, y, y, held, held)
    assert filling.weight(y - 3) == pytest.approx(0.75, abs=1e-5)
    assert filling.weight(y) == 0
    assert filling.weight(y + 4) == 1
    assert filling.weight(y + 1) == 0, "both are the same"


def test_nothing_is_told_of_volumes_and_where_nothing_is_missing():
    problem, _, truth = posed()
    whole = dip.Problem(truth, shape=tuple(truth.shape))
    assert finished(fill(whole, dip.HeldOut().start(whole, 0)[0])) is None
    assert finished(fill(problem, problem)) is None, "nothing is held out"
    volume = torch.rand(1, 8, 16, 16)
    weight = (torch.rand(volume.shape) < 0.7).float()
    deep = dip.Problem(volume, shape=tuple(volume.shape), weight=weight)
    assert finished(fill(deep, dip.HeldOut().start(deep, 0)[0])) is None


def test_an_inpainted_texture_gains_by_it_and_says_so():
    rng = np.random.default_rng(0)
    truth = (255 * weave()).astype(np.uint8)
    missing = rng.random(truth.shape) < 0.5
    image = np.where(missing, 0, truth).astype(np.uint8)
    prior = dip.Prior(network=dip.Skip(down=(16, 16), up=16))
    alone, joined = (
        dip.restore(image, dip.Inpaint(missing), max_steps=60, **which)
        for which in ({"prior": prior}, {"preset": dip.Preset("small", prior, members=(prior,))})
    )
    errors = [np.square(one.image.astype(float) - truth).mean() for one in (alone, joined)]
    assert errors[1] < 0.2 * errors[0]
    assert np.array_equal(joined.image[~missing], image[~missing])
    assert any("similar patches" in note for note in joined.notes)
    assert not any("similar patches" in note for note in alone.notes)
