"""Layers beside the image: whether they go with it pixel by pixel, and what of them belongs to what is restored."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels, Layer

from napari_dip.engine.problem import Array, finer
from napari_dip.gui.layers import Origin, shown_plane
from napari_dip.gui.levels import level, to_world

MANY_LABELS = 2**22  # of more in a plane, the values that there are are told from some
ONE_PIXEL = 0.01  # px; layers whose corners differ by less lie on each other


def mismatch(other: Layer, layer: Image, plane: tuple[int, ...], factors: tuple[float, ...] = ()) -> str | None:
    """Return why another layer does not belong to an image layer pixel by pixel, in words; None where it does.

    Parameters
    ----------
    other : Layer
        Labels that mark pixels, or another image of the scene.
    layer : Image
        What is restored.
    plane : tuple of int
        What of it is shown, see `layers.shown_plane`.
    factors : tuple of float
        By how much the pixels of `other` must be smaller along the last of the shown axes.
    """
    own, source = tuple(level(other).shape[: other.ndim]), tuple(level(layer).shape[: layer.ndim])
    grid = _finer_plane(source, plane, factors)
    if own not in (grid, grid[-2:]):
        return f"“{other.name}” has shape {_size(own)}, {_wanted(layer, grid, source)}"
    if other.ndim < layer.ndim and plane[-2:] != (-1, -1):
        return f"“{other.name}” has 2 axes, and another plane of “{layer.name}” is shown"
    first = [-0.5 if position < 0 else float(position) for position in plane]
    for axis in (None, *(at for at, position in enumerate(plane) if position < 0)):
        points = [
            [size - 0.5 if at == axis else start for at, (start, size) in enumerate(zip(first, sizes, strict=True))]
            for sizes in (source, grid)
        ]  # corners of the field, by the pixels of either
        here, there = to_world(layer, points[0])[-other.ndim :], to_world(other, points[1][-other.ndim :])
        if np.abs(here - there).max() > ONE_PIXEL * np.abs(np.asarray(layer.scale)).min():
            return (
                f"“{other.name}” does not lie on “{layer.name}”: give it the same scale, translation, rotation, "
                f"shear and affine"
            )
    return None


def _finer_plane(shape: tuple[int, ...], plane: tuple[int, ...], factors: tuple[float, ...]) -> tuple[int, ...]:
    """Return the shape with smaller pixels along the last shown axes."""
    shown = [axis for axis, position in enumerate(plane) if position < 0]
    sizes = finer(tuple(shape[axis] for axis in shown), factors)
    found = dict(zip(shown, sizes, strict=True))
    return tuple(found.get(axis, size) for axis, size in enumerate(shape))


def _wanted(layer: Image, grid: tuple[int, ...], source: tuple[int, ...]) -> str:
    if grid == source:
        return f"“{layer.name}” {_size(source)}: they must have the same pixels"
    return f"the restored “{layer.name}” {_size(grid)}: they must have the same pixels"


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def beside(other: Image, source: Origin) -> Array:
    """Return of another image layer what belongs to what is restored, a copy; of colours every sample."""
    return np.array(level(other)[_index(other, source)])


def marked(labels: Labels, source: Origin, value: int | None) -> npt.NDArray[np.bool_]:
    """Return which pixels a labels layer marks of what is restored, a copy; value None: all that are not 0."""
    values = np.asarray(level(labels)[_index(labels, source)])
    return np.array(values != 0) if value is None else np.array(values == value)


def _index(other: Layer, source: Origin) -> tuple[int | slice, ...]:
    """Return what of another layer's array belongs to what is restored; its pixels may be smaller."""
    shape = source.array.shape
    index = source.index[: len(source.transform["scale"])]
    if other.ndim < len(index):  # it has the shown plane alone
        shape = tuple(n for n, i in zip(shape, index, strict=False) if isinstance(i, slice))[-other.ndim :]
        index = tuple(i for i in index if isinstance(i, slice))[-other.ndim :]
    sizes = zip(level(other).shape, shape, index, strict=False)
    return tuple(i if isinstance(i, int) else _finer_slice(i, new / old) for new, old, i in sizes)


def _finer_slice(part: slice, ratio: float) -> slice:
    """Return a slice of an axis as one of the same axis with smaller pixels."""
    ends = (None if end is None else round(end * ratio) for end in (part.start, part.stop))
    return slice(*ends)


def label_values(labels: Labels, dims: Any) -> list[int]:
    """Return the values other than 0 of a labels layer, of a large one in the shown plane; at most a dozen of them."""
    values = level(labels)
    if not isinstance(values, np.ndarray) or values.size > MANY_LABELS:
        values = values[tuple(slice(None) if at < 0 else at for at in shown_plane(labels, dims))]
    step = max(1, math.ceil((values.size / MANY_LABELS) ** 0.5))
    used = np.unique(np.asarray(values[::step, ::step]))
    return [int(value) for value in used if value != 0][:12]
