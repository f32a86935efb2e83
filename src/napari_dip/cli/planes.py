"""Which planes of files are meant: of the image, and of what is read beside it."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses

import numpy as np
import numpy.typing as npt

from napari_dip import io
from napari_dip.cli.reading import lettered, read


def choose_plane(picture: io.Picture, options: argparse.Namespace) -> io.Picture:
    """Return the plane that is to be restored, with axes that leave no doubt."""
    shape = picture.pixels.shape
    axes = name_unknown(lettered(options.image, shape, options.axes or picture.axes), options)
    picture = dataclasses.replace(picture, axes=axes)
    check_axes(axes, options)
    if options.plane is not None:
        return io.take(picture, positions(options.plane, axes, shape, apart=frames_axis(options)))
    stacked = {axis: size for axis, size in zip(axes, shape, strict=True) if axis not in "YXCS"}
    if stacked and not options.axes and not set(stacked) <= {*options.each.upper(), frames_axis(options)}:
        first, size = next(iter(stacked.items()))
        volume = f", or --axes {axes} for one fit of the volume" if "Z" in stacked else ""
        raise ValueError(
            f"{options.image} is a stack of {size} along {first}, shape {shape} ({axes}): choose --plane "
            f"{first}={size // 2}, or --each {''.join(stacked)} for one fit per plane{volume}"
        )
    return picture


def shown_scene(picture: io.Picture, options: argparse.Namespace) -> io.Picture:
    """Return the picture that the restored one is like: of frames of one scene, the first."""
    axis = frames_axis(options)
    return io.take(picture, {axis: 0}) if axis and axis in picture.axes else picture


def read_plane(path: str, options: argparse.Namespace) -> io.Picture:
    """Return the picture in a file that belongs to the image, cut to the plane that is restored."""
    picture = read(path)
    axes = options.axes.upper() if options.axes else picture.axes
    if options.plane is None or not len(axes) == picture.pixels.ndim > 2:
        return picture
    picture = dataclasses.replace(picture, axes=axes)
    apart = frames_axis(options)
    if apart and apart not in axes:
        return picture
    return io.take(picture, positions(options.plane, axes, picture.pixels.shape, apart=apart))


def read_mask(path: str, options: argparse.Namespace) -> npt.NDArray[np.bool_]:
    """Return which pixels of a mask file are not zero, of the plane that is restored; colours count as one."""
    mask = read_plane(path, options)
    marked: npt.NDArray[np.bool_] = mask.pixels != 0
    if "S" not in mask.axes:
        return marked
    colours = marked[..., :-1] if mask.pixels.shape[-1] in (2, 4) else marked
    return np.asarray(colours.any(axis=-1))


def frames_axis(options: argparse.Namespace) -> str:
    """Return the axis along which frames of one scene lie; empty: none."""
    return (getattr(options, "frames", None) or "").upper()


def check_axes(axes: str, options: argparse.Namespace) -> None:
    """Refuse to take a plane, to fit one by one, or to join frames along an axis that the image lacks."""
    frames = frames_axis(options)
    if frames and frames not in axes:
        raise ValueError(f"--frames {frames} is no axis of an image with the axes {axes}: name it with --axes")
    if options.plane is not None and set(axes) <= {*"YXCS", frames}:
        colour = ": the file says that it is one colour image" if "S" in axes and not options.axes else ""
        raise ValueError(f"--plane {options.plane}: an image with the axes {axes} has no planes to choose from{colour}")
    for axis in options.each.upper().replace(",", ""):
        if axis not in axes:
            raise ValueError(f"--each {axis} is no axis of an image with the axes {axes}")


def name_unknown(axes: str, options: argparse.Namespace) -> str:
    """Return the axes with the one that the file does not name called as `--each Z` or `--plane Z=3` calls it."""
    words = [
        *options.each.upper(),
        *(part.partition("=")[0].strip().upper() for part in (options.plane or "").split(",")),
        frames_axis(options),
    ]
    named = {word for word in words if word.isalpha() and word not in axes}
    return axes.replace("Q", named.pop()) if axes.count("Q") == len(named) == 1 else axes


def positions(text: str, axes: str, shape: tuple[int, ...], *, apart: str = "") -> dict[str, int]:
    """Return the index along each stacked axis, but for one, that "12", "3,12" or "T=3,Z=12" names."""
    stacked = [axis for axis in axes if axis not in f"YXCS{apart}"]
    chosen = {}
    parts = text.split(",") if stacked else []
    for axis, part in zip(stacked, parts, strict=False):
        name, _, value = part.rpartition("=")
        with contextlib.suppress(ValueError):  # told below
            chosen[name.strip().upper() or axis] = int(value)
    if set(chosen) != set(stacked) or len(parts) > len(stacked):
        raise ValueError(f"--plane {text} names no single plane of {axes} with shape {shape}: give {len(stacked)} "
                         f"indices, as {','.join(f'{axis}=0' for axis in stacked)}")  # fmt: skip
    for axis, index in chosen.items():
        if not 0 <= index < shape[axes.index(axis)]:
            raise ValueError(f"--plane {axis}={index} is outside 0 to {shape[axes.index(axis)] - 1}")
    return chosen
