"""How far beyond the field a deconvolved volume must go, where its PSF sees far: quality against time.

    python benchmarks/margins.py                  # what is not there yet
    python benchmarks/margins.py --seeds 0 --rules "quarter, 8 px at least"
    python benchmarks/margins.py --table

Soft balls and threads in 48 x 112 x 112 voxels, through a PSF that spreads with depth as a wide field's does (a
Gaussian whose standard deviation grows by 0.9 px a plane); of that 16 x 48 x 48 in the middle, with white noise of 1 %
of the range, so that light comes in from all sides. PSNR with a peak of 100, of the noisy image and of what `quick`
restores. Resumable: benchmarks/results/margins.json is written after each run.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from records import opened, save
from scipy.signal import fftconvolve
from volumes import psnr, scene

import napari_dip as dip
from napari_dip.engine.convolve import Margins, margins_of
from napari_dip.engine.tasks import deconvolve

Doubles = npt.NDArray[np.float64]

RESULTS = Path(__file__).parent / "results" / "margins.json"
RULES: dict[str, Callable[[int], int]] = {
    "half": lambda n: math.ceil(n / 2),
    "quarter": lambda n: math.ceil(n / 4),
    "quarter, 8 px at least": lambda n: max(8, math.ceil(n / 4)),
}
WHOLE, FIELD = (48, 112, 112), np.s_[16:32, 32:80, 32:80]
NOISE = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", default=";".join(RULES), help="parted by ;")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = opened(RESULTS, "runs")
    for seed in () if options.table else map(int, options.seeds.split(",")):
        for rule in options.rules.split(";"):
            if (name := f"{rule} | seed {seed}") not in results["runs"]:
                results["runs"][name] = run(RULES[rule], seed)
                save(results, RESULTS)
    for name, row in results["runs"].items():
        print(f"| {name} | {row['noisy']:.2f} | {row['restored']:.2f} | {row['seconds']} | {row['steps']} |")


def run(rule: Callable[[int], int], seed: int) -> dict[str, Any]:
    def margins(kernel: torch.Tensor, field: tuple[int, ...]) -> Margins:
        """Return the margins that a PSF asks for, held to the rule."""
        wanted = wide(kernel, field)
        most = [rule(n) for n in field]
        return tuple((min(far, before), min(far, after)) for (before, after), far in zip(wanted, most, strict=True))

    whole, psf = scene(WHOLE, 1.0, seed), spreading()
    truth = whole[FIELD]
    blurred = fftconvolve(whole, psf, mode="same")[FIELD]
    y = blurred + np.random.default_rng(seed).normal(0, NOISE, truth.shape)
    started = time.perf_counter()
    deconvolve.margins_of = margins  # type: ignore[attr-defined]
    try:
        result = dip.restore(y, dip.Deconvolve(psf[8:23, 1:48, 1:48]), preset="quick", axes="ZYX", seed=seed)
    finally:
        deconvolve.margins_of = margins_of  # type: ignore[attr-defined]
    return {
        "noisy": psnr(y, truth),
        "restored": psnr(np.asarray(result.image, float), truth),
        "seconds": round(time.perf_counter() - started),
        "steps": [fit.best_step for fit in result.fits],
    }


def wide(kernel: torch.Tensor, field: tuple[int, ...]) -> Margins:
    """Return how far all but one percent of a PSF's light reach, within half of the field."""
    reached = margins_of(kernel, (10**6,) * len(field))
    halves = [math.ceil(n / 2) for n in field]
    return tuple((min(half, before), min(half, after)) for (before, after), half in zip(reached, halves, strict=True))


def spreading() -> Doubles:
    """Return the PSF, 31 x 49 x 49, of sum 1."""
    depth, (rows, columns) = np.arange(-15, 16)[:, None, None], np.mgrid[-24:25, -24:25]
    width = 1.0 + 0.9 * np.abs(depth)
    psf = np.exp(-(rows**2 + columns**2) / 2 / width**2) / width**2
    return np.asarray(psf / psf.sum())


if __name__ == "__main__":
    main()
