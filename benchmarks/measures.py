"""What several benchmarks measure in the same way."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

import napari_dip as dip
from napari_dip.engine.variation import total_variation
from napari_dip.engine.work import finished


def psnr(image: npt.ArrayLike, truth: npt.ArrayLike, peak: float) -> float:
    """Return the peak signal-to-noise ratio in dB, to two digits."""
    error = np.mean((np.asarray(image, float) - np.asarray(truth, float)) ** 2)
    return round(float(20 * np.log10(peak / np.sqrt(error))), 2)


def least_variation(problem: dip.Problem) -> torch.Tensor:
    """Return the estimate of least total variation, (C, *spatial), its weight by held-out data: the network's guide."""
    found = finished(total_variation(problem, dip.HeldOut().start(problem, 0)[0]))
    assert found is not None, "something can be held out"
    return found
