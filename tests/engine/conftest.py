from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Array = npt.NDArray[Any]


@pytest.fixture
def scene() -> Array:
    """A smooth scene with an edge, (40, 33), 20 to 200."""
    rows, columns = np.mgrid[:40, :33]
    return 110 + 60 * np.sin(columns / 5) * np.cos(rows / 7) + 30.0 * (rows > 20)


@pytest.fixture
def noisy(scene: Array) -> Array:
    return scene + np.random.default_rng(1).normal(0, 12, scene.shape)
