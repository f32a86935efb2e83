"""How much memory a run will need, known before it is used, and how large a tile may be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from napari_dip.engine.modules import memory_format
from napari_dip.engine.networks import allocate
from napari_dip.engine.patches import AT_A_TIME, strip_bytes
from napari_dip.engine.planes import DEEPEST
from napari_dip.engine.prior import Prior
from napari_dip.engine.problem import Problem
from napari_dip.engine.tiles import SMALLEST_TILE, count, jitter_places

FLOAT = 4  # bytes
IN_FIT = 5  # images, shaped as x, that a fit holds: x, averages, the data term and its gradient
IN_JUDGED = 8  # and for its stop: what is hidden, masks, the weighted data term, the average and gradient of the best
IN_FRAME = 4  # images that a frame and its result hold: measurement, masks, what the result is made of
SOLVING = 50 << 20  # bytes: mixtures of patches, in float64, of each thread
PER_WEIGHT = 28  # bytes: weight, gradient, two moments, and copies of all but the gradient
BESIDE, THREAD = 80 << 20, 16 << 20  # bytes: threads, kernels, what the allocator keeps; each further thread's store
WORKING = {torch.float32: 3, torch.bfloat16: 2}  # times the largest map: gradients, and copies for the kernels
LARGE, GAPS = 32 << 20, 1.5  # bytes of a map, up to which it is kept between steps anyway; times the memory for that
ALONE = 2**17  # px for each thread, from where fits side by side are hardly sooner done, and take 1.7 times the memory
SHARE = 0.8  # of the free memory that a run may take
SAMPLE = {2: 64, 3: 48}  # px a side at most, of the image on which a network is tried, by its dimensions
STEP = 32  # px: tiles are so many, or a multiple: nothing is lost in five halvings


@dataclass(frozen=True)
class Ahead:
    """What is made in closed form before the fits takes.

    Attributes
    ----------
    patch : (int, int)
        The largest side of its patches in px, in one channel and in several.
    made, kept : int
        Images, shaped as x, that it holds at most while it is made, and from then on.
    """

    patch: tuple[int, int]
    made: int
    kept: int


PILOT = Ahead(patch=(9, 8), made=12, kept=12)
FILLING = Ahead(patch=(7, 7), made=26, kept=3)  # most in the search for the least variation that it begins with


@dataclass(frozen=True)
class MemoryPlan:
    """What a run will take.

    Attributes
    ----------
    needed : int
        Bytes, beside what the process has, with these tiles.
    free : int or None
        Bytes that may be taken; None: it cannot be told.
    tile : int or None
        Side in px of the tiles that each frame will be fitted in; None: it will be fitted whole.
    abreast : int
        How many fits of a frame will be made at a time.
    """

    needed: int
    free: int | None
    tile: int | None
    abreast: int = 1

    def __str__(self) -> str:
        free = "" if self.free is None else f" of {self.free / 2**30:.1f} GiB free"
        tiles = "" if self.tile is None else f", in tiles of {self.tile} px"
        return f"{self.needed / 2**30:.1f} GiB{free}{tiles}"


def needed(
    priors: Sequence[Prior],
    shape: tuple[int, ...],
    *,
    guides: int,
    precision: torch.dtype,
    ahead: Ahead | None = None,
    tile: int | None = None,
    abreast: int = 1,
    spacing: tuple[float, ...] = (),
    keeps: bool = False,
    judged: bool = True,
) -> int:
    """Return how many bytes a run over an image takes at most, beside what the process has.

    What the network keeps for its gradient is counted on a small image.

    Parameters
    ----------
    priors : sequence of Prior
        That are fitted.
    shape : tuple of int
        Of the restored image, (C, *spatial): one frame.
    guides : int
        Channels of the guide; 0: there is none.
    precision : dtype
        Of activations.
    ahead : Ahead, optional
        What is made first; None: nothing is.
    tile : int, optional
        Side of the tiles; None: the image is fitted whole.
    abreast : int
        How many fits are made at a time.
    spacing : tuple of float
        Size of a pixel along each spatial axis; empty: alike along all.
    keeps : bool
        Whether large blocks too are kept from step to step, see `devices.memory_kept`: not all of them fit again.
    judged : bool
        Whether a rule judges the steps and keeps the best: one that takes a fixed number does not.
    """
    image = math.prod(shape) * FLOAT
    at_a_time = min(abreast, len(priors))  # each in a thread of its own, for which the allocator keeps a store
    fits = [
        _fit(prior, shape, guides=guides, precision=precision, tile=tile, spacing=spacing, keeps=keeps)
        for prior in priors
    ]
    held = (IN_FIT + IN_JUDGED * judged) * image
    fitting = sum(sorted(fits)[-at_a_time:]) + at_a_time * held + (at_a_time - 1) * THREAD
    if ahead is None:
        return fitting + IN_FRAME * image + BESIDE
    channels = shape[0] * (min(DEEPEST, shape[1]) if len(shape) == 4 else 1)  # alike planes of a volume go together
    solving = SOLVING * max(2, min(AT_A_TIME, torch.get_num_threads()))
    making = solving + strip_bytes((channels, *shape[1:]), ahead.patch[channels > 1]) + ahead.made * image
    return max(fitting + ahead.kept * image, making) + IN_FRAME * image + BESIDE


@lru_cache(maxsize=64)
def _fit(
    prior: Prior,
    shape: tuple[int, ...],
    *,
    guides: int,
    precision: torch.dtype,
    tile: int | None,
    spacing: tuple[float, ...],
    keeps: bool,
) -> int:
    """Return the bytes of a network, its input, and what it keeps for the gradient, on one tile or the whole image."""
    spatial = shape[1:] if tile is None else tuple(min(n, tile) for n in shape[1:])
    side = SAMPLE[len(spatial)]
    while True:
        sample = tuple(min(n, side) for n in spatial)
        larger = math.prod(spatial) / math.prod(sample)
        z = _input(prior, (shape[0], *sample), guides, precision)
        network = allocate(prior.network.build(z.shape[1], shape[0], spatial, spacing), z.device)
        try:
            sizes = [larger * size for size in _kept(network, z)]
            break
        except ValueError:  # of a deep network the deepest map is one pixel of so small an image
            if sample == spatial:
                raise
            side *= 2
    tiles = 1 if tile is None else count(shape[1:], tile)
    weights = PER_WEIGHT * tiles * sum(weight.numel() for weight in network.parameters())
    values = int(larger * z.numel())
    inputs = values * (2 * FLOAT if tiles == 1 else FLOAT + 2 * (tiles if guides else 1))
    inputs += FLOAT * jitter_places(values)
    working = WORKING.get(precision, WORKING[torch.float32])
    gaps = GAPS if tile is None and (keeps or max(sizes) <= LARGE) else 1.0
    return int(gaps * (sum(sizes) + working * max(sizes))) + inputs + weights


def _kept(network: nn.Module, z: Tensor) -> list[int]:
    """Return the bytes of each tensor that a network keeps of a pass for its gradient."""
    own = {weight.untyped_storage()._cdata for weight in network.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if (storage := tensor.untyped_storage()._cdata) not in own:
            kept[storage] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        network(z)
    return [tensor.untyped_storage().nbytes() for tensor in kept.values()]


def _input(prior: Prior, shape: tuple[int, ...], guides: int, precision: torch.dtype) -> Tensor:
    """Return what stands for z, (1, inputs, *spatial)."""
    guide = torch.zeros(guides, *[1] * (len(shape) - 1)) if guides else None
    small = Problem(torch.zeros(1), shape=(shape[0], *[1] * (len(shape) - 1)), guide=guide)
    channels = len(prior.source.draw(small, torch.Generator()))
    z = torch.zeros(1, channels, *shape[1:], dtype=precision)
    return z.to(memory_format=memory_format(z))


def plan(
    priors: tuple[Prior, ...],
    shape: tuple[int, ...],
    *,
    guides: int,
    precision: torch.dtype,
    ahead: Ahead | None = None,
    free: int | None,
    tile: int | None = None,
    abreast: int = 1,
    spacing: tuple[float, ...] = (),
    keeps: bool = False,
    judged: bool = True,
) -> MemoryPlan:
    """Return what a run over an image will take, in the tiles asked for, else in the largest that memory allows.

    Where it allows none, in those that take least. As many fits as wanted are made at a time only where that takes no
    tiles, and of images that are small for so many threads.
    """

    def need(side: int | None, at_a_time: int = 1) -> int:
        return needed(
            priors,
            shape,
            guides=guides,
            precision=precision,
            ahead=ahead,
            tile=side,
            abreast=at_a_time,
            spacing=spacing,
            keeps=keeps,
            judged=judged,
        )

    largest = max(shape[1:])
    if math.prod(shape[1:]) >= ALONE * torch.get_num_threads():
        abreast = 1
    if tile is None or tile >= largest:
        for at_a_time in (abreast, 1):
            if free is None or need(None, at_a_time) <= SHARE * free:
                return MemoryPlan(need(None, at_a_time), free, None, at_a_time)
    if tile is not None:
        side = tile if tile < largest else None
        return MemoryPlan(need(side), free, side)
    assert free is not None  # noqa: S101  else it is fitted whole
    sides = list(_sides(largest)) or [SMALLEST_TILE]
    for side in sides:
        if need(side) <= SHARE * free:
            return MemoryPlan(need(side), free, side)
    least = min(sides, key=need)  # of smaller tiles there are more, and each has its network
    return MemoryPlan(need(least), free, least)


def _sides(largest: int) -> Iterator[int]:
    """Yield sides of tiles of an image, from large to small."""
    side = largest
    while side > SMALLEST_TILE:
        side = max(SMALLEST_TILE, min(side - 1, 3 * side // 4) // STEP * STEP)
        yield side
