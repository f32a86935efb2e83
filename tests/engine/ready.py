"""Tasks that can be run: with their defaults, and the arrays that they need."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_dip.engine.arrays import array_fields
from napari_dip.engine.problem import Role


def ready(kind: type, shape: tuple[int, ...]) -> Any:
    """Return a task with its defaults; its images of the scene have this shape, its kernels are small."""
    smooth = np.add.outer(*map(np.arange, shape[-2:])).astype(float)
    arrays = {Role.IMAGE: np.broadcast_to(smooth, shape), Role.KERNEL: np.ones((3, 3)) / 9}
    return kind(**{name: arrays[role] for name, role, _ in array_fields(kind) if role in arrays})
