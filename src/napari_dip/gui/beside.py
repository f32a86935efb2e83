"""Layers beside the image: whether they go with it pixel by pixel, and what of them belongs to what is restored."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels, Layer

from napari_dip.engine.problem import Array, finer
from napari_dip.gui.layers import Origin, level

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
        here = np.array(layer.data_to_world(points[0]))[-other.ndim :]
        there = np.array(other.data_to_world(points[1][-other.ndim :]))
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
    values = level(other)
    if other.ndim == len(source.transform["scale"]):
        values = values[source.index[: other.ndim]]
    return np.array(values)


def marked(labels: Labels, source: Origin, value: int | None) -> npt.NDArray[np.bool_]:
    """Return which pixels a labels layer marks of what is restored, a copy; value None: all that are not 0."""
    values = level(labels)
    if values.ndim == len(source.transform["scale"]):
        values = values[source.index[: values.ndim]]
    values = np.asarray(values)
    return np.array(values != 0) if value is None else np.array(values == value)
