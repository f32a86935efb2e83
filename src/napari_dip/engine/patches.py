"""Patches of an image that look alike, found strip by strip, and put back together when something was made of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dip.engine.abreast import in_order

REACH = 18  # px: similar patches are looked for this far along each axis
STRIP = (96, 264)  # rows and columns handled at once, multiples of all strides: bounds the memory
AT_A_TIME = 8  # parts of a strip that are worked on at a time at most: bounds the memory
COPIES = 5  # of all patches of a strip, in float32, are made at a time

Work = Generator[None, None, Tensor]
Where = tuple[Any, ...]


class Pass(NamedTuple):
    """One pass over the image: the patches' side, how many similar ones make a group, and px between references."""

    patch: int
    similar: int
    stride: int = 4


class Strip(Protocol):
    """The patches of some rows, of which something is to be made."""

    def mixed(self, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of what groups of patches, (R, similar), make, (C, Y, X), and of the weights.

        These are for each channel or for all of them, (1, Y, X).
        """
        ...


def over_strips(match: Tensor, settings: Pass, strip: Callable[[Where], Strip], *, is_sorted: bool = False) -> Work:
    """Yield after each strip of rows, and return the weighted mean of all that was made, (C, Y, X).

    Parameters
    ----------
    match : Tensor
        In what patches are compared, (C, Y, X), `extended`.
    settings : Pass
        What is compared.
    strip : callable
        Makes a strip from where it is.
    is_sorted : bool
        Whether the most similar patch of a group is to be the first.
    """
    total, weight = torch.zeros_like(match), torch.zeros_like(match)
    similar = min(settings.similar, fewest_patches(match.shape[1:], settings.patch))
    lines = (range(0, n - settings.patch + 1, most) for n, most in zip(match.shape[1:], STRIP, strict=True))
    for start in itertools.product(*lines):
        rows, columns = (
            slice(max(0, first - REACH), min(n, first + most + REACH + settings.patch))
            for first, n, most in zip(start, match.shape[1:], STRIP, strict=True)
        )
        where = (slice(None), rows, columns)
        first = (start[0] - rows.start, start[1] - columns.start)
        groups = similar_patches(match[where], settings._replace(similar=similar), first, is_sorted=is_sorted)
        sums, counts = strip(where).mixed(groups)
        total[where] += sums
        weight[where] += counts
        yield
    return total / weight


def strip_bytes(shape: tuple[int, ...], patch: int) -> int:
    """Return about how many bytes the patches of a strip of an image, (C, *spatial), take."""
    rows, columns = (min(n, most + 2 * REACH + patch) for n, most in zip(shape[-2:], STRIP, strict=True))
    return COPIES * 4 * rows * columns * shape[0] * patch**2


def extended(t: Tensor, settings: Pass) -> Tensor:
    """Return t continued by reflection until reference patches reach its ends."""
    down, right = ((settings.patch - n) % settings.stride for n in t.shape[1:])
    return F.pad(t[None], (0, right, 0, down), mode="reflect")[0]


def fewest_patches(size: torch.Size, patch: int) -> int:
    """Return how many patches the corner of an image finds within reach."""
    rows, columns = (min(REACH + 1, n - patch + 1) for n in size)
    return rows * columns


def similar_patches(guide: Tensor, settings: Pass, start: tuple[int, int], *, is_sorted: bool = False) -> Tensor:
    """Return the indices of the patches most like each reference patch of a strip, (R, similar)."""
    width, patch = guide.shape[2], settings.patch
    lines, columns = (
        range(first, min(first + most, n - patch + 1), settings.stride)
        for first, most, n in zip(start, STRIP, guide.shape[1:], strict=True)
    )
    top, left = start
    used = guide[:, top : lines[-1] + patch, left : columns[-1] + patch]
    outside = 1e3 * (1 + float(guide.abs().max()))  # far from everything
    padded = F.pad(guide, (REACH, REACH, REACH, REACH), value=outside)
    reach = range(2 * REACH + 1)
    nearest = guide.new_empty(len(lines) * len(columns), len(reach) ** 2)  # (R, offsets)

    def measure(down: int) -> None:
        shifted = padded[:, top + down : top + down + used.shape[1]]
        apart = torch.stack(
            [
                (shifted[:, :, right : right + used.shape[2]] - used).square().sum(0)
                for right in (left + r for r in reach)
            ]
        )
        means = F.avg_pool2d(apart[:, None], patch, settings.stride)
        nearest[:, down * len(reach) : (down + 1) * len(reach)] = means.flatten(1).T

    in_order(measure, lambda nothing: None, len(reach), at_a_time(guide))
    nearest[:, nearest.shape[1] // 2] = -1  # itself first
    at = [torch.tensor(line, device=guide.device) for line in (lines, columns)]
    own = at[0][:, None] * (width - patch + 1) + at[1]
    found = nearest.topk(settings.similar, largest=False, sorted=is_sorted).indices
    shift = (found // len(reach) - REACH) * (width - patch + 1) + found % len(reach) - REACH
    return own.flatten()[:, None] + shift


def at_a_time(like: Tensor) -> int:
    """Return how many parts of a strip are worked on at a time, each on a thread: on a processor; else one."""
    return AT_A_TIME if like.device.type == "cpu" else 1


def patches(image: Tensor, patch: int) -> Tensor:
    """Return every patch of an image, (C, Y, X), as a row, (patches, C·patch²)."""
    return F.unfold(image[None], patch)[0].T.contiguous()  # (L, C·patch²)


def folded(rows: Tensor, size: tuple[int, ...], patch: int) -> Tensor:
    """Return the sum of patches, each a row, where they were in an image, (C, *size)."""
    return F.fold(rows.T[None].contiguous(), size, patch)[0]
