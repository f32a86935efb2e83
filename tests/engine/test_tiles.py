"""Images in tiles: they cover it seamlessly, and what comes out is as good as of one network."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from scenes import SMALL, textured

import napari_dip as dip
from napari_dip.engine.fit import fit
from napari_dip.engine.problem import Problem
from napari_dip.engine.tiles import Tile, _Joined, count, split

CPU = torch.device("cpu")


@pytest.mark.parametrize(("spatial", "side"), [((100, 73), 64), ((64, 64), 64), ((300, 65), 64), ((9, 130, 70), 64)])
def test_the_parts_of_all_tiles_in_a_pixel_sum_to_one(spatial, side):
    total = torch.zeros(1, *spatial)
    tiles = split(spatial, side)
    for tile in tiles:
        assert tile.fade.shape == tiles[0].fade.shape, "one shape for all"
        assert tile.fade.min() > 0
        total[tile.where] += tile.fade
    assert torch.allclose(total, torch.ones(1))
    assert len(tiles) == count(spatial, side)


def test_neighbours_overlap_by_an_eighth_at_least():
    starts = [tile.where[-1] for tile in split((64, 500), 128)]
    assert min(one.stop - two.start for one, two in itertools.pairwise(starts)) >= 16


def test_the_gradient_of_joined_tiles_is_the_sums():
    tiles = [Tile(where, fade.double()) for where, fade in split((5, 9), 6)]
    weights = [torch.randn(2, *tile.fade.shape, dtype=torch.float64, requires_grad=True) for tile in tiles]
    towards = torch.randn(2, 5, 9, dtype=torch.float64)

    def joined():
        return _Joined.apply(tiles, lambda index: weights[index].sin(), (2, 5, 9), weights[0])

    def summed():
        image = torch.zeros(2, 5, 9, dtype=torch.float64)
        for tile, weight in zip(tiles, weights, strict=True):
            placed = torch.zeros_like(image)
            placed[tile.where] = 1
            image = image + placed.masked_scatter(placed > 0, (tile.fade * weight.sin()).flatten())
        return image

    assert torch.allclose(joined(), summed())
    told = []
    for image in (joined(), summed()):
        for weight in weights:
            weight.grad = None
        (image - towards).square().sum().backward()
        told.append([weight.grad.clone() for weight in weights])
    for one, other in zip(*told, strict=True):
        assert torch.allclose(one, other)


def outputs(tile, steps=8, guide=None):
    y = torch.from_numpy(textured(80, 100))[None]
    problem = Problem(y, tuple(y.shape), guide=guide)
    iterates = fit(problem, dataclasses.replace(SMALL, source=dip.Guide() if guide is not None else dip.Noise()),
                   CPU, seed=3, tile=tile)  # fmt: skip
    for _ in range(steps - 1):
        next(iterates)
    return next(iterates)


def test_a_tile_as_large_as_the_image_is_the_image():
    assert torch.equal(outputs(100).x, outputs(None).x)


def test_the_same_seed_gives_the_same_tiles():
    one, two = outputs(64), outputs(64)
    assert torch.equal(one.x, two.x)
    assert torch.equal(one.average, two.average)


def test_a_fit_in_tiles_goes_on_from_a_snapshot_as_if_it_had_not_been_interrupted():
    y = torch.from_numpy(textured(70, 90))[None]
    problem = Problem(y, tuple(y.shape))
    iterates = fit(problem, SMALL, CPU, tile=64)
    states = [(one.snapshot(), one.x.clone()) for one, _ in zip(iterates, range(6), strict=False)]
    resumed = fit(problem, SMALL, CPU, tile=64, start=states[2][0])
    assert torch.equal([next(resumed).x.clone() for _ in range(3)][-1], states[5][1])


def test_tiles_with_a_guide_see_their_part_of_it():
    guide = torch.from_numpy(textured(80, 100))[None]
    assert outputs(64, 30, guide).loss < outputs(64, 2, guide).loss / 2


def test_a_volume_is_fitted_in_tiles():
    y = torch.rand(1, 8, 70, 66, generator=torch.Generator().manual_seed(0))
    iterates = fit(Problem(y, tuple(y.shape)), SMALL, CPU, tile=64)
    losses = [float(next(iterates).loss) for _ in range(4)]
    assert losses[-1] < losses[0]


@pytest.fixture(scope="module")
def in_tiles():
    clean = textured(96, 160)
    noisy = clean + np.random.default_rng(1).normal(0, 0.1, clean.shape).astype(np.float32)
    results = {tile: dip.restore(noisy, preset="quick", tile=tile, max_steps=100) for tile in (None, 64)}
    return clean, noisy, results


def test_tiles_restore_as_well_as_one_network(in_tiles):
    clean, _, results = in_tiles
    whole, tiled = (float(np.sqrt(np.mean((results[tile].estimate - clean) ** 2))) for tile in (None, 64))
    assert tiled < 1.05 * whole
    assert results[64].fits[0].tile == 64
    assert results[None].fits[0].tile is None


def test_no_join_is_seen_between_tiles(in_tiles):
    """Where tiles meet, they err by no more than elsewhere, in units of what one network errs by there."""
    clean, _, results = in_tiles
    near = np.zeros(clean.shape, bool)
    for tile in split(clean.shape, 64):
        near[tile.where[1:]] |= tile.fade.numpy() < 0.99
    assert 0.2 < near.mean() < 0.8
    at_joins, elsewhere = (
        np.divide(*(np.sqrt(np.mean((results[tile].estimate - clean)[where] ** 2)) for tile in (64, None)))
        for where in (near, ~near)
    )
    assert at_joins < 1.1 * elsewhere


def test_a_task_with_an_operator_needs_no_tiles_of_its_own():
    low = textured(40, 48)
    result = dip.restore(low, dip.SuperResolve(2), SMALL, dip.FixedSteps(30), tile=64)
    assert result.image.shape == (80, 96)
    assert np.corrcoef(result.image[::2, ::2].ravel(), low.ravel())[0, 1] > 0.7


def test_tiles_are_not_smaller_than_a_network_can_use():
    with pytest.raises(ValueError, match="tile=16: tiles need 64 px"):
        dip.restore(np.zeros((32, 32), np.float32), tile=16)
