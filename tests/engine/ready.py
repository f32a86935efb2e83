"""Tasks that can be run: with their defaults, and the arrays that they need. And priors that are quickly fitted."""

from __future__ import annotations

from typing import Any

import numpy as np

import napari_dip as dip
from napari_dip.engine.arrays import array_fields
from napari_dip.engine.problem import Role

SMALL = dip.Prior(network=dip.Skip(down=(16,) * 4, up=16))
TINY = dip.Prior(network=dip.Skip(down=(8, 8), up=8, skip=2), source=dip.Noise(channels=4))
SEEING = dip.Prior(network=dip.Skip(down=(8, 8), up=8, skip=2), source=dip.Guide(channels=4))
LITTLE = dip.Preset("little", prior=TINY, members=(SEEING, TINY), passes=1)
"""As `standard`, with small networks and one pass of the pilot."""


def ready(kind: type, shape: tuple[int, ...]) -> Any:
    """Return a task with its defaults; its images of the scene have this shape, its kernels are small."""
    smooth = np.add.outer(*map(np.arange, shape[-2:])).astype(float)
    arrays = {Role.IMAGE: np.broadcast_to(smooth, shape), Role.KERNEL: np.ones((3, 3)) / 9}
    return kind(**{name: arrays[role] for name, role, _ in array_fields(kind) if role in arrays})
