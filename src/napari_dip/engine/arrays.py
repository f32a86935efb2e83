"""The arrays that tasks take beside the image: masks, other images of the scene, kernels; checked and cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from napari_dip.engine.blocks import Axes, Frame
from napari_dip.engine.fields import notes
from napari_dip.engine.noise import VarianceMap
from napari_dip.engine.problem import Array, Role

Spec = TypeVar("Spec")


def crop(spec: Spec, axes: Axes, frame: Frame, grid: Axes | None = None) -> Spec:
    """Return a task whose arrays are cut to one frame.

    Parameters
    ----------
    spec : dataclass
        The task. A `Mask` comes out as (C, *spatial), an `Image` as (G, *spatial), scaled to 0 to 1; a `Kernel` is
        left as it is.
    axes : Axes
        Of the measurement.
    frame : tuple of int
        Which.
    grid : Axes, optional
        Of the restored image, where it is another than the measurement's.
    """
    cut: dict[str, Array] = {}
    for name, kind, value in _arrays(spec):
        if kind is Role.MASK:
            cut[name] = axes.take(axes.broadcast(value), frame)
        elif kind is Role.IMAGE:
            cut[name] = scaled(take_image(value, grid or axes, frame))
    return dataclasses.replace(spec, **cut) if cut else spec  # type: ignore[type-var]


def check_arrays(spec: Any, axes: Axes, grid: Axes) -> None:
    """Refuse, in words, masks and images that do not fit, kernels that are none, and arrays that are not there.

    Raises
    ------
    ValueError
        When they do not fit, or when one is missing that is not marked as optional.
    """
    name = type(spec).__name__
    if isinstance(law := getattr(spec, "noise", None), VarianceMap):
        axes.spread(np.asarray(law.values), "A map of the variance")
    for field, kind, hint in array_fields(type(spec)):
        value = getattr(spec, field)
        if value is None:
            if kind is not Role.MASK and not notes(hint).get("optional"):
                raise ValueError(f"{name} needs {field}=, an array: {notes(hint).get('tooltip', kind.value)}")
        elif kind is Role.MASK:
            axes.broadcast(value)
        elif kind is Role.IMAGE:
            if np.dtype(getattr(value, "dtype", None) or np.asarray(value).dtype).kind not in "biuf":
                raise ValueError(f"{field}= of {name} must be an array of real numbers")
            _layout(tuple(np.shape(value)), grid)
        elif not np.size(value) or np.asarray(value).dtype.kind not in "biuf" or not np.isfinite(value).all():
            raise ValueError(f"{field}= of {name} must be an array of finite real numbers")


def has_image(spec: Any) -> bool:
    """Return whether a task brings another image of the scene along."""
    return any(kind is Role.IMAGE for _, kind, _ in _arrays(spec))


def take_image(image: Any, grid: Axes, frame: Frame) -> Array:
    """Return one frame of another image of the scene, (G, *spatial); of any array-like, only that frame is read."""
    image = image if hasattr(image, "shape") else np.asarray(image)
    axes = _layout(tuple(image.shape), grid)
    positions = dict(zip(map(grid.letters.__getitem__, grid.repeated), frame, strict=True))
    return axes.take(image, tuple(positions[axes.letters[axis]] for axis in axes.repeated))


def scaled(image: Array) -> npt.NDArray[np.float32]:
    """Return an image, (G, *spatial), whose channels' 0.1 and 99.9 percentiles are 0 and 1; its mean where not finite.

    Nothing is clipped. What is constant becomes 0.
    """
    channels = []
    for channel in np.asarray(image, np.float64):
        known = np.isfinite(channel)
        values = channel[known] if known.any() else np.zeros(1)
        low, high = np.percentile(values, [0.1, 99.9])
        low, high = (low, high) if high > low else (values.min(), values.max())
        channels.append((np.where(known, channel, values.mean()) - low) / (high - low if high > low else 1.0))
    return np.stack(channels).astype(np.float32)


def _layout(shape: tuple[int, ...], grid: Axes) -> Axes:
    """Return what the axes of another image of the scene are, told by its shape alone.

    It is shaped as the restored image, with or without its channels, or as one plane of it; colours may come last, or
    channels of its own first. Where channels are restored one by one, each has its own of as many of it, else all.
    """
    planes = "".join(letter for letter in grid.letters if letter not in "CS")
    one = "".join(grid.letters[axis] for axis in grid.spatial)
    sizes = dict(zip(grid.letters, grid.shape, strict=True))
    for letters in (grid.letters, planes, one, f"{planes}S", f"{one}S", f"C{one}"):
        own = dict(zip(letters, shape, strict=False))
        fits = len(letters) == len(shape) and all(own[axis] == sizes[axis] for axis in letters if axis not in "CS")
        if fits and (letters == grid.letters or own.get("S", 3) in (2, 3, 4)):
            own_axes = Axes(letters, shape, grid.each)
            return own_axes if own.get("C") == sizes.get("C") else own_axes.together
    raise ValueError(
        f"A guide of shape {shape} does not fit a restored image of shape {grid.shape}: it must have the same pixels"
    )


def array_fields(kind: type) -> Iterator[tuple[str, Role, Any]]:
    """Yield name, role and annotation of a task's fields that take arrays."""
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        if (found := role(hints[field.name])) not in (None, Role.FILE, Role.AXIS):
            yield field.name, found, hints[field.name]


def _arrays(spec: Any) -> Iterator[tuple[str, Role, Any]]:
    for name, kind, _ in array_fields(type(spec)):
        if getattr(spec, name) is not None:
            yield name, kind, getattr(spec, name)


def role(hint: Any) -> Role | None:
    """Return what a field annotated so is, optional or not; None for fields that are no arrays."""
    if get_origin(hint) is Annotated:
        for note in hint.__metadata__:
            if isinstance(note, Role):
                return note
    return next((found for part in get_args(hint) if (found := role(part))), None)
