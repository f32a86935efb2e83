"""Images too large for one network: overlapping tiles with a network each, fitted together as one image."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from napari_dip.engine.modules import memory_format
from napari_dip.engine.networks import initialise
from napari_dip.engine.prior import Prior
from napari_dip.engine.problem import Problem

OVERLAP = 1 / 8  # of a tile's side: over how much of it neighbours fade into each other
LARGEST = 6e4  # of z, in half precision
SMALLEST_TILE = 64  # px a side


class Tile(NamedTuple):
    """A box of an image, and its part in each pixel of the box."""

    where: tuple[Any, ...]  # in (C, *spatial)
    fade: Tensor  # (*spatial), 0 to 1; of all tiles over a pixel they sum to 1


def split(spatial: tuple[int, ...], side: int) -> list[Tile]:
    """Return tiles of one shape that cover an image.

    Along each axis they are spread evenly, overlap their neighbours by an eighth of their side at least, and fade
    into each other linearly over all of the overlap.

    Parameters
    ----------
    spatial : tuple of int
        Of the image, (Y, X) or (Z, Y, X).
    side : int
        Of a tile, in px; an axis that is shorter is not parted.
    """
    lines = [_along(length, side) for length in spatial]
    tiles = []
    for each in itertools.product(*lines):
        fade = torch.ones(())
        for _, weights in each:
            fade = fade[..., None] * weights
        tiles.append(Tile((..., *(where for where, _ in each)), fade))
    return tiles


def count(spatial: tuple[int, ...], side: int) -> int:
    """Return how many tiles there are."""
    return math.prod(_pieces(length, side) for length in spatial)


def _pieces(length: int, side: int) -> int:
    least = round(OVERLAP * side)
    return 1 if length <= side else math.ceil((length - least) / (side - least))


def _along(length: int, side: int) -> list[tuple[slice, Tensor]]:
    """Return the pieces of an axis, with their part in each of its pixels."""
    if length <= side:
        return [(slice(0, length), torch.ones(length))]
    pieces = _pieces(length, side)
    starts = [round(i * (length - side) / (pieces - 1)) for i in range(pieces)]
    parts = torch.zeros(pieces, length, dtype=torch.float64)
    for part, start in zip(parts, starts, strict=True):
        part[start : start + side] = 1
    for i, start in enumerate(starts[1:], 1):
        common = starts[i - 1] + side - start
        rise = (torch.arange(common, dtype=torch.float64) + 0.5) / common
        parts[i, start : start + common] *= rise
        parts[i - 1, start : start + common] *= 1 - rise
    parts /= parts.sum(0)
    return [
        (slice(start, start + side), part[start : start + side].float())
        for start, part in zip(starts, parts, strict=True)
    ]


class Whole:
    """x = f(z): one network's output; z is its fixed input and a jitter that is another at each step."""

    def __init__(
        self, problem: Problem, prior: Prior, draws: torch.Generator, *, device: torch.device, precision: torch.dtype
    ):
        z = prior.source.draw(problem, draws)[None]
        self.network = _started(prior, z, problem, draws, device)
        self.z = z.to(device, memory_format=memory_format(z))
        self.jitter = _Jitter(self.z, prior.source.jitter, precision, draws.initial_seed())

    @property
    def networks(self) -> list[nn.Module]:
        return [self.network]

    def __call__(self, generator: torch.Generator, step: int) -> Tensor:
        """Return x, (C, *spatial), float32."""
        return self.network(self.jitter.added(self.z, generator))[0].float()  # type: ignore[no-any-return]


class Mosaic:
    """x = Σ fade · f(z) over tiles, each with a network of its own that sees no more than its tile.

    What a network computes on the way is not kept for the gradient but computed again, so that memory is needed for
    one tile at a time. Operator, data term and stopping rule see the whole image: there are no joins for them, all
    tiles end at one step, and an operator need not know of tiles.
    """

    def __init__(
        self,
        problem: Problem,
        prior: Prior,
        draws: torch.Generator,
        *,
        device: torch.device,
        precision: torch.dtype,
        side: int,
    ):
        self.seed, self.shape = draws.initial_seed(), problem.shape
        self.tiles = [Tile(where, fade.to(device)) for where, fade in split(problem.shape[1:], side)]
        first = _part(problem, self.tiles[0])
        z = prior.source.draw(first, draws)[None]
        self.network = nn.ModuleList(_started(prior, z, first, draws, device) for _ in self.tiles)
        if problem.guide is not None:
            z = torch.cat([prior.source.draw(_part(problem, tile), draws)[None] for tile in self.tiles])
        self.z = z.clamp(-LARGEST, LARGEST).to(device, torch.float16)  # one for all tiles, or one each
        one = z[:1].to(device, memory_format=memory_format(z))
        self.jitter = _Jitter(one, prior.source.jitter, precision, self.seed)

    @property
    def networks(self) -> list[nn.Module]:
        return list(self.network)

    def __call__(self, generator: torch.Generator, step: int) -> Tensor:
        """Return x, (C, *spatial), float32."""

        def output(index: int) -> Tensor:
            own = torch.Generator().manual_seed(self.seed + 1 + index + step * len(self.tiles))
            z = self.z[index : index + 1] if len(self.z) > 1 else self.z
            return self.network[index](self.jitter.added(z, own))[0].float()  # type: ignore[no-any-return]

        anchor = next(self.network.parameters())  # without something to be moved there is no gradient
        return _Joined.apply(self.tiles, output, self.shape, anchor)  # type: ignore[no-any-return,no-untyped-call]


class _Jitter:
    """Normal noise that is added to z, another at each step: some place of a supply that is drawn once.

    To draw as many numbers at each step takes up to a fifth of it on a processor. Of a small image the supply is many
    times as large, so that steps share few numbers.
    """

    def __init__(self, like: Tensor, strength: float, precision: torch.dtype, seed: int):
        self.size, self.stride, self.precision, self.strength = like.shape, like.stride(), precision, strength
        self.places = jitter_places(like.numel())
        self.supply = torch.empty(like.numel() + self.places, device=like.device)
        if strength:
            self.supply.normal_(0, strength, generator=torch.Generator(like.device).manual_seed(seed))

    def added(self, z: Tensor, generator: torch.Generator) -> Tensor:
        """Return z and noise, the place told by a generator of the CPU: the device need not be waited for."""
        if not self.strength:
            return z.to(self.precision)
        place = int(torch.randint(self.places + 1, (), generator=generator))
        return torch.add(z, self.supply.as_strided(self.size, self.stride, place)).to(self.precision)


def jitter_places(size: int) -> int:
    """Return in how many places of its supply the jitter of an input of that size may begin."""
    return max(size // 2, min(64 * size, 1 << 22))


def _started(prior: Prior, z: Tensor, problem: Problem, draws: torch.Generator, device: torch.device) -> nn.Module:
    """Return a network for a problem as it is before its first step."""
    network = prior.network.build(z.shape[1], problem.shape[0], problem.shape[1:], problem.spacing)
    return initialise(network, draws, device).to(memory_format=memory_format(z))  # type: ignore[call-overload,no-any-return]


def _part(problem: Problem, tile: Tile) -> Problem:
    """Return what a source must know of a tile."""
    guide = None if problem.guide is None else problem.guide[tile.where]
    return dataclasses.replace(problem, shape=(problem.shape[0], *tile.fade.shape), guide=guide)


class _Joined(torch.autograd.Function):
    """The sum of the tiles, each times its fade; for its gradient each is computed once more, and followed at once.

    So neither what a network keeps, nor the tiles' outputs and their gradients, are there of more than one tile.
    """

    @staticmethod
    def forward(
        ctx: Any, tiles: Sequence[Tile], output: Callable[[int], Tensor], shape: tuple[int, ...], anchor: Tensor
    ) -> Tensor:
        ctx.tiles, ctx.output = tiles, output
        image = anchor.new_zeros(shape)
        for index, tile in enumerate(tiles):
            image[tile.where] += tile.fade * output(index)
        return image

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        for index, tile in enumerate(ctx.tiles):
            with torch.enable_grad():
                part = ctx.output(index)
            part.backward(tile.fade * gradients[0][tile.where])
        return None, None, None, None
