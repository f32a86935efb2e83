"""Tomography through `reconstruct`, beside filtered back-projection with its best filter and total variation.

    python benchmarks/tomography.py DATA                 # both scenes, `standard`, seed 0: what is not there yet
    python benchmarks/tomography.py DATA --preset quick --seeds 0,1,2
    python benchmarks/tomography.py DATA --table

60 projections of 128 x 128 pixels over half a turn, with white noise of 1 % of the largest sum. Scenes: the phantom of
Shepp and Logan, and a slice of a real scan (DATA/vol3d/stent.npz). The filter and a blur before it are chosen with the
truth; the weight of total variation by held-out data. PSNR, the peak being the range of the truth.
Resumable: written to benchmarks/results/tomography.json after each run.
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
import torch.nn.functional as F
from measures import least_variation, psnr
from records import opened, save
from scipy.ndimage import gaussian_filter1d
from skimage.data import shepp_logan_phantom
from skimage.transform import iradon, resize
from torch import Tensor

import napari_dip as dip
from napari_dip.engine.problem import Problem

RESULTS = Path(__file__).parent / "results" / "tomography.json"
SIZE, ANGLES, NOISE = 128, 60, 0.01
FILTERS = ("ramp", "shepp-logan", "cosine", "hamming", "hann")
BLURS = (0.0, 0.5, 1.0, 1.5, 2.0)  # px: of the projections, before they are filtered

Floats = npt.NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = opened(RESULTS, "runs")
    for scene, make in () if options.table else SCENES.items():
        for seed in map(int, options.seeds.split(",")):
            name = f"{scene} {options.preset} seed {seed}"
            if name not in results["runs"]:
                results["runs"][name] = run(make(options.data), options.preset, seed)
                save(results, RESULTS)
    print(table(results))


def run(truth: Floats, preset: str, seed: int) -> dict[str, Any]:
    angles = torch.arange(ANGLES) * math.pi / ANGLES
    clean = projections(torch.from_numpy(truth), angles)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    y = clean + NOISE * clean.abs().max() * noise
    started = time.perf_counter()
    result = dip.reconstruct(
        y, lambda image: projections(image, angles.to(image.device)), truth.shape, floor=0.0, preset=preset, seed=seed
    )
    peak = float(truth.max() - truth.min())
    return {
        "back-projection": max(psnr(one, truth, peak) for one in back_projected(y.numpy(), angles.numpy())),
        "variation": psnr(variation(y, angles), truth, peak),
        "restored": psnr(result.image, truth, peak),
        "steps": [[fit.best_step, fit.last_step] for fit in result.fits],
        "seconds": round(time.perf_counter() - started),
    }


def projections(image: Tensor, angles: Tensor) -> Tensor:
    """Return the sums of an image, (N, N), along the columns, turned by each angle: (angles, N)."""
    cos, sin, none = angles.cos(), angles.sin(), torch.zeros_like(angles)
    turns = torch.stack([torch.stack([cos, -sin, none], -1), torch.stack([sin, cos, none], -1)], -2)
    where = F.affine_grid(turns, [len(angles), 1, *image.shape], align_corners=False)
    turned = F.grid_sample(image.expand(len(angles), 1, *image.shape), where, align_corners=False)
    return turned.sum(-2)[:, 0]


def back_projected(y: Floats, angles: Floats) -> list[Floats]:
    """Return what each filter and each blur before it makes of the projections."""
    theta = -np.degrees(angles)  # scikit-image turns the other way
    smoothed = [gaussian_filter1d(y, blur, axis=1) if blur else y for blur in BLURS]
    return [iradon(one.T, theta=theta, circle=True, filter_name=name) for one in smoothed for name in FILTERS]


def variation(y: Tensor, angles: Tensor) -> Floats:
    """Return the estimate that guides the network."""
    strength = float(y.square().mean().sqrt())
    problem = Problem(
        y[None] / strength, shape=(1, SIZE, SIZE), forward=lambda x: projections(x[0], angles)[None] / strength,
        is_image=False, is_linear=True,
    )  # fmt: skip
    return least_variation(problem)[0].numpy()


def phantom(_: Path) -> Floats:
    return resize(shepp_logan_phantom(), (SIZE, SIZE), anti_aliasing=True).astype(np.float32)  # type: ignore[no-any-return]


def scan(data: Path) -> Floats:
    """Return the middle slice of the scan, 0 to 1, within the circle that projections see."""
    volume = np.load(data / "vol3d" / "stent.npz")
    values = next(iter(volume.values())).astype(np.float32)
    rows, columns = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
    return np.asarray(values[len(values) // 2] / values.max() * (np.hypot(rows, columns) < SIZE / 2 - 1), np.float32)


SCENES: dict[str, Callable[[Path], Floats]] = {"phantom": phantom, "scan": scan}


def table(results: dict[str, Any]) -> str:
    lines = ["| scene | filtered back-projection, best | total variation | restored | seconds |", "|" + "---|" * 5]
    for name, row in results["runs"].items():
        lines.append(
            f"| {name} | {row['back-projection']:.2f} dB | {row['variation']:.2f} dB | {row['restored']:.2f} dB | "
            f"{row['seconds']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
