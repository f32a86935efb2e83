"""An image file, and on stderr what is worth telling about it."""

from __future__ import annotations

import sys

from napari_dip import io


def read(path: str) -> io.Picture:
    """Return the picture in a file; raise as `io.read` does."""
    picture = io.read(path)
    for note in picture.notes:
        print(f"napari-dip: {path}: {note}", file=sys.stderr)
    return picture
