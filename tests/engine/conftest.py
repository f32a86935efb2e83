from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import napari_dip as dip

Array = npt.NDArray[Any]


def a_scene() -> Array:
    rows, columns = np.mgrid[:40, :33]
    return 110 + 60 * np.sin(columns / 5) * np.cos(rows / 7) + 30.0 * (rows > 20)


def a_noisy_one() -> Array:
    scene = a_scene()
    return scene + np.random.default_rng(1).normal(0, 12, scene.shape)


@pytest.fixture
def scene() -> Array:
    """A smooth scene with an edge, (40, 33), 20 to 200."""
    return a_scene()


@pytest.fixture
def noisy() -> Array:
    return a_noisy_one()


@pytest.fixture(scope="session")
def denoised() -> dip.Restoration:
    """What `restore` makes of `noisy` with its defaults, every tenth output kept: to look at, not to change."""
    return dip.restore(a_noisy_one(), keep_every=10)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Set PyTorch's number of threads for a test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
