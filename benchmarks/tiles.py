"""What tiles cost and whether their joins show: a scene, half of it empty and half dense, fitted whole and in tiles.

    python benchmarks/tiles.py --size 768 --tile 256 --preset quick --seeds 0
    python benchmarks/tiles.py --table              # what benchmarks/results/tiles.json says

Error is root mean square, in standard deviations of the noise. "At joins" are the pixels where tiles fade into each
other, "elsewhere" all others of the same half. "Residual" is its standard deviation over that of the noise, of the tile
where it is smallest and largest.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from records import opened, save
from scipy.ndimage import gaussian_filter

import napari_dip as dip
from napari_dip.engine.problem import Array
from napari_dip.engine.tiles import split

RESULTS = Path(__file__).parent / "results" / "tiles.json"
SIGMA = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=768)
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = opened(options.results, "runs")
    for seed in [] if options.table else map(int, options.seeds.split(",")):
        for tile in (None, options.tile):
            name = (
                f"{options.size} px, {options.preset}, {'whole' if tile is None else f'tiles of {tile}'}, seed {seed}"
            )
            if name not in results["runs"]:
                results["runs"][name] = run(options.size, options.tile, tile, preset=options.preset, seed=seed)
                save(results, options.results)
                print(name, results["runs"][name], flush=True)
    print(table(results["runs"]))


def run(size: int, side: int, tile: int | None, *, preset: str, seed: int) -> dict[str, Any]:
    clean = scene(size)
    noise = np.random.default_rng(seed).normal(0, SIGMA, clean.shape)
    started = time.perf_counter()
    result = dip.restore((clean + noise).astype(np.float32), preset=preset, seed=seed, tile=tile)
    seconds = time.perf_counter() - started
    error = (result.estimate - clean) / SIGMA
    found = {"seconds": round(seconds), "steps": [fit.best_step for fit in result.fits], "all": rms(error)}
    joins, halves = at_joins(size, side), {"empty": np.s_[:, : size // 2 - 16], "dense": np.s_[:, size // 2 + 16 :]}
    for name, half in halves.items():
        found[name] = {"at joins": rms(error[half][joins[half]]), "elsewhere": rms(error[half][~joins[half]])}
    left = [float((result.residual[part.where[1:]] / SIGMA).std()) for part in split(clean.shape, side)]
    found["residual"] = [round(min(left), 3), round(max(left), 3)]
    return found


def scene(size: int) -> Array:
    """Return an image from 0 to 1: its left half is even, its right half full of grains and lines."""
    rng = np.random.default_rng(7)
    grains = gaussian_filter(rng.normal(size=(size, size)), 2) * 7
    y, x = np.mgrid[:size, :size]
    dense = 0.5 + 0.18 * np.tanh(grains) + 0.12 * np.sign(np.sin(x / 6 + y / 11))
    return np.where(x < size // 2, 0.3, np.clip(dense, 0, 1))


def at_joins(size: int, side: int) -> Array:
    """Return where tiles fade into each other."""
    joins = np.zeros((size, size), bool)
    for part in split((size, size), side):
        joins[part.where[1:]] |= part.fade.numpy() < 0.999
    return joins


def rms(values: Array) -> float:
    return round(float(np.sqrt(np.mean(np.square(values)))), 4)


def table(runs: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    head = "| run | error | empty: at joins / elsewhere | dense: at joins / elsewhere | residual | seconds |"
    rows = [
        f"| {name} | {one['all']:.3f} | {one['empty']['at joins']:.3f} / {one['empty']['elsewhere']:.3f} "
        f"| {one['dense']['at joins']:.3f} / {one['dense']['elsewhere']:.3f} "
        f"| {one['residual'][0]:.3f} to {one['residual'][1]:.3f} | {one['seconds']} |"
        for name, one in runs.items()
    ]
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


if __name__ == "__main__":
    main()
