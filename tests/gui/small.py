"""What is small enough to be fitted in a second."""

from __future__ import annotations

from typing import Any

import numpy as np

import napari_dip as dip
from napari_dip.gui.options import Advanced
from napari_dip.gui.widget import DeepImagePrior

TINY = dip.Prior(network=dip.Skip(down=(8, 8), up=8, skip=2), source=dip.Noise(channels=4))


def fast(widget: DeepImagePrior, steps: int = 20) -> DeepImagePrior:
    """Let the widget's next run be a small network and so many steps."""
    widget.options.advanced.value = Advanced(stop=dip.FixedSteps(steps=steps), prior=TINY)
    widget.inputs.check()
    return widget


def picture(*shape: int, seed: int = 0) -> Any:
    """Return smooth blobs with noise, float32 between about 100 and 300."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    smooth = 200 + 80 * np.sin(x / 5) * np.cos(y / 7)
    return (smooth + rng.normal(0, 10, shape)).astype(np.float32)
