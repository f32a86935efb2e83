"""Volumes: beside their planes one by one, and with networks that follow the size of the voxels, or do not.

    python benchmarks/volumes.py                                  # quick and standard, whole and plane by plane
    python benchmarks/volumes.py --kinds "no deeper than planes allow,cubes assumed,voxels followed" --steps 500
    python benchmarks/volumes.py --kinds "quick wide,standard wide"        # networks as wide as in planes
    python benchmarks/volumes.py --table                          # what benchmarks/results/volumes.json says

Balls and threads in world units, white noise of 20 % of the range of 100. PSNR with a peak of 100. The second line is
one network of 24 channels without a pilot, the output that held-out pixels choose: in "no deeper than planes allow" all
axes are halved until the fewest are 4; in "cubes assumed" the other axes go on; "voxels followed" knows the spacing.
Resumable: the JSON is written after each run.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from records import opened, save

import napari_dip as dip
from napari_dip.engine.presets import choose_preset

Doubles = npt.NDArray[np.float64]

RESULTS = Path(__file__).parent / "results" / "volumes.json"
PEAK, NOISE = 100.0, 20.0
WIDTH, LEVELS = 24, 4
NETWORKS = ("no deeper than planes allow", "cubes assumed", "voxels followed")
WAYS = {"whole": "", "wide": "", "planes": "Z"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default="quick whole,quick planes,standard whole,standard planes")
    parser.add_argument("--shape", default="16,48,48")
    parser.add_argument("--coarse", type=float, default=3.0, help="planes are so many pixels apart")
    parser.add_argument("--steps", type=int, default=500, help="of a network alone")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = opened(options.results, "runs")
    wanted = itertools.product(map(int, options.seeds.split(",")), options.kinds.split(","))
    for seed, kind in () if options.table else wanted:
        key = f"{options.shape}, {options.coarse:g} px apart | {kind} | seed {seed}"
        if key not in results["runs"]:
            results["runs"][key] = run(options, kind, seed)
            save(results, options.results)
            print(key, results["runs"][key], flush=True)
    print(table(results["runs"]))


def run(options: argparse.Namespace, kind: str, seed: int) -> dict[str, Any]:
    """Return the PSNR of a volume and of what is restored of it."""
    shape = tuple(map(int, options.shape.split(",")))
    truth = scene(shape, options.coarse, seed)
    y = truth + np.random.default_rng(seed + 50).normal(0, NOISE, shape)
    asked: dict[str, Any] = {"axes": "ZYX", "spacing": (options.coarse, 1.0, 1.0), "seed": seed}
    if kind in NETWORKS:
        levels = int(math.log2(min(shape) / 4)) if kind == NETWORKS[0] else LEVELS
        asked["prior"] = dip.Prior(network=dip.Skip(down=(WIDTH,) * levels, up=WIDTH))
        asked["stop"] = dip.HeldOut(floor=options.steps, ceiling=options.steps, reveal=0.0)
        asked["spacing"] = asked["spacing"] if kind == NETWORKS[2] else ()
    else:
        name, way = kind.split()
        preset = dataclasses.replace(choose_preset(name), narrower=1) if way == "wide" else name
        asked |= {"preset": preset, "each": WAYS[way], "spacing": asked["spacing"][len(WAYS[way]) :]}
    started = time.perf_counter()
    result = dip.restore(y, **asked)
    return {
        "noisy": psnr(y, truth),
        "restored": psnr(result.estimate, truth),
        "seconds": round(time.perf_counter() - started),
    }


def psnr(x: Doubles, truth: Doubles) -> float:
    return round(10 * math.log10(PEAK**2 / float(np.mean((x - truth) ** 2))), 3)


def table(runs: dict[str, Any]) -> str:
    lines = ["| volume | kind | seed | noisy | restored | seconds |", "|" + "---|" * 6]
    for name, one in sorted(runs.items()):
        lines.append(f"| {name} | {one['noisy']:.2f} | {one['restored']:.2f} | {one['seconds']} |")
    return "\n".join(lines)


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
