"""A clean scene, and a prior small enough for tests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

import napari_dip as dip

SMALL = dip.Prior(network=dip.Skip(down=(8, 8, 8), up=8, skip=2))


def textured(rows: int, columns: int) -> npt.NDArray[np.float32]:
    """Return a smooth scene with waves and edges, 0 to 1."""
    y, x = np.mgrid[:rows, :columns]
    waves = np.sin(y / 5) * np.cos(x / 7) + (np.hypot(y - rows / 2, x - columns / 3) < rows / 4)
    return ((waves + 1) / 3).astype(np.float32)
