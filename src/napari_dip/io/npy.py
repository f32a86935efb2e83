"""NumPy's own file: values alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_dip.io.picture import Picture


def read(path: Path, part: str) -> Picture:
    """Return the picture; pickled objects are refused. Axes are known only where there is no doubt."""
    pixels = np.load(path, allow_pickle=False)
    if not isinstance(pixels, np.ndarray):
        pixels.close()
        raise ValueError("it is an archive of several arrays: save the image alone, with numpy.save")
    return Picture(pixels.astype(pixels.dtype.newbyteorder("="), copy=False), plain_axes(pixels.shape))


def write(path: Path, picture: Picture, provenance: Mapping[str, Any] | None) -> list[str]:
    """Write the values, and say what is lost."""
    with path.open("wb") as file:
        np.save(file, picture.pixels, allow_pickle=False)
    lost = [size for size in zip(picture.scale, picture.units, strict=True) if size != (1.0, "pixel")]
    said = ["pixel size"] * bool(lost) + ["provenance"] * bool(provenance)
    return [f"NPY holds values alone: without {' and '.join(said)}"] if said else []


def check(dtype: np.dtype[Any], shape: Sequence[int], axes: str) -> None:
    """Everything fits."""


def plain_axes(shape: Sequence[int]) -> str:
    """Return the axes of values whose file says nothing: two are YX; a last one of 3 or 4 is a colour's."""
    if len(shape) == 2:
        return "YX"
    return "YXS" if len(shape) == 3 and shape[-1] in (3, 4) and min(shape[:2]) > 4 else ""
