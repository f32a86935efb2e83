"""Volumes whose planes are farther apart than pixels: networks that follow the size of the voxels, and that do not.

    python benchmarks/volumes.py
    python benchmarks/volumes.py --shape 8,48,48 --coarse 5 --steps 400 --seeds 2

Balls and threads in world units, white noise of 20 % of the range of 100; one network of 24 channels, no pilot. PSNR
with a peak of 100, of the output that held-out pixels choose. In "no deeper than planes allow" all axes are
halved until the fewest are 4; in "cubes assumed" the other axes go on; "voxels followed" knows the spacing.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
import numpy.typing as npt

import napari_dip as dip

Doubles = npt.NDArray[np.float64]

PEAK, NOISE = 100.0, 20.0
WIDTH, LEVELS = 24, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="16,48,48")
    parser.add_argument("--coarse", type=float, default=3.0, help="planes are so many pixels apart")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", default="0,1")
    options = parser.parse_args()
    shape = tuple(map(int, options.shape.split(",")))
    flat = int(math.log2(min(shape) / 4))
    kinds = {
        "no deeper than planes allow": (flat, None),
        "cubes assumed": (LEVELS, None),
        "voxels followed": (LEVELS, (options.coarse, 1.0, 1.0)),
    }
    print("| seed | network | PSNR | seconds |\n|---|---|---|---|")
    for seed in map(int, options.seeds.split(",")):
        truth = scene(shape, options.coarse, seed)
        y = truth + np.random.default_rng(seed + 50).normal(0, NOISE, shape)
        for name, (levels, spacing) in kinds.items():
            prior = dip.Prior(network=dip.Skip(down=(WIDTH,) * levels, up=WIDTH))
            rule = dip.HeldOut(floor=options.steps, ceiling=options.steps, reveal=0.0)
            started = time.perf_counter()
            result = dip.restore(y, prior=prior, stop=rule, axes="ZYX", spacing=spacing, seed=seed)
            taken = time.perf_counter() - started
            error = float(np.mean((result.estimate - truth) ** 2))
            print(f"| {seed} | {name} | {10 * math.log10(PEAK**2 / error):.2f} | {taken:.0f} |", flush=True)


def scene(shape: tuple[int, ...], coarse: float, seed: int) -> Doubles:
    """Return soft balls and threads that lie in any direction, in a world where planes are `coarse` px apart."""
    rng = np.random.default_rng(seed)
    steps = np.array([coarse, 1, 1])
    places = np.moveaxis(np.indices(shape), 0, -1) * steps
    truth = np.zeros(shape)
    for _ in range(25):
        centre, radius = rng.uniform(0, 1, 3) * shape * steps, rng.uniform(3, 8)
        far = np.linalg.norm(places - centre, axis=-1)
        truth += rng.uniform(30, 100) / (1 + np.exp(2 * (far - radius)))
    for _ in range(8):
        centre, along = rng.uniform(0, 1, 3) * shape * steps, rng.normal(size=3)
        along /= np.linalg.norm(along)
        away = places - centre
        far = np.sqrt(np.maximum(0, (away**2).sum(-1) - (away @ along) ** 2))
        truth += 80 * np.exp(-0.5 * (far / 1.5) ** 2)
    return truth


if __name__ == "__main__":
    main()
