"""An image file, and on stderr what is worth telling about it."""

from __future__ import annotations

import sys

from napari_dip import io


def lettered(path: str, shape: tuple[int, ...], axes: str) -> str:
    """Return the letter of each axis of a file's image, in capitals.

    Raises
    ------
    ValueError
        When there is none, or not one for each.
    """
    if not axes:
        raise ValueError(
            f"{path} has shape {shape}: say what its {len(shape)} axes are, as --axes ZYX for depth, TYX for time or "
            f"CYX for channels"
        )
    if len(axes) != len(shape):
        raise ValueError(
            f"{axes.upper()} is {len(axes)} letters for the {len(shape)} axes of {path}, shape {shape}: give --axes "
            f"one for each"
        )
    return axes.upper()


def read(path: str) -> io.Picture:
    """Return the picture in a file; raise as `io.read` does."""
    picture = io.read(path)
    for note in picture.notes:
        print(f"napari-dip: {path}: {note}", file=sys.stderr)
    return picture
