"""What smaller pixels gain from ends at black and white, and from what the fit has not explained being given back.

    python benchmarks/finer.py DATA --seeds 0,1,2
    python benchmarks/finer.py DATA --table        # what benchmarks/results/finer.json says

DATA is a folder with set5/, set12/, set14/, kodak24/ and micro_fmd/. The middle 128 x 128 px of a picture are made
four times smaller by Pillow's Lanczos filter, as 8 bits. One network, one start, a twentieth of the pixels hidden, for
so many steps: PSNR of the averaged output, and after what it lacks was given back; of the picture as it is, and of the
same numbers as float32, which has no ends. Resumable: what the JSON has is not run again.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from records import opened, save
from skimage import data

import napari_dip as dip
from napari_dip.engine.problem import Array

RESULTS = Path(__file__).parent / "results" / "finer.json"
FILES = {
    "butterfly": "set5/butterfly_GT.bmp",
    "baby": "set5/baby_GT.bmp",
    "comic": "set14/comic.bmp",
    "flowers": "set14/flowers.bmp",
    "kodim05": "kodak24/kodim05.png",
    "kodim20": "kodak24/kodim20.png",
    "starfish": "set12/04.png",
    "BPAE cells": "micro_fmd/WF_BPAE_clean.png",
}
OWN = {"astronaut": data.astronaut, "camera": data.camera}
SIDE, FACTOR, KINDS = 128, 4, {"ends": np.uint8, "no ends": np.float32}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", default=",".join((*FILES, *OWN)))
    parser.add_argument("--steps", default="100,300,900")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = opened(options.results, "runs")
    asked = (text.split(",") for text in (options.seeds, options.images, options.steps))
    for seed, image, steps in [] if options.table else itertools.product(*asked):
        key = f"{image}, {steps} steps, seed {seed}"
        if key not in results["runs"]:
            small, truth = pair(options.data, image)
            results["runs"][key] = {
                kind: run(small.astype(dtype), truth, steps=int(steps), seed=int(seed)) for kind, dtype in KINDS.items()
            }
            save(results, options.results, indent=None)
    print(table(results["runs"], options.steps.split(",")))


def pair(folder: Path, image: str) -> tuple[Array, Array]:
    """Return the middle of a picture made smaller, and what it was made from, uint8."""
    whole = Image.open(folder / FILES[image]) if image in FILES else Image.fromarray(OWN[image]())
    whole = whole if whole.mode in ("L", "RGB") else whole.convert("RGB")
    left, top = ((n - SIDE) // 2 for n in whole.size)
    truth = whole.crop((left, top, left + SIDE, top + SIDE))
    small = truth.resize((SIDE // FACTOR,) * 2, Image.Resampling.LANCZOS)
    return np.asarray(small), np.asarray(truth)


def run(small: Array, truth: Array, *, steps: int, seed: int) -> dict[str, float]:
    """Return PSNR before and after what the fit lacked was given back, and the weight of that."""
    rule = dip.HeldOut(floor=steps, ceiling=steps, every=steps, reveal=0.0)
    task = dip.SuperResolve(float(FACTOR), dip.Lanczos())
    axes = "YXS" if small.ndim == 3 else "YX"
    result = dip.restore(small, task, preset="plain", stop=rule, seed=seed, axes=axes, keep_every=steps)
    before, after = result.at(steps).estimate, result.estimate
    return {"before": psnr(before, truth), "after": psnr(after, truth), "weight": round(result.fits[0].given_back, 3)}


def psnr(image: Array, truth: Array) -> float:
    error = np.mean((np.clip(image, 0, 255) - truth.astype(float)) ** 2)
    return round(float(10 * np.log10(255**2 / error)), 3)


def table(runs: dict[str, Any], steps: list[str]) -> str:
    """Return the mean gains over the seeds as Markdown."""
    lines = ["| picture | " + " | ".join(f"ends, {one} steps | given back" for one in steps) + " |"]
    lines.append("|---" * (1 + 2 * len(steps)) + "|")
    every: dict[str, list[float]] = {}
    for image in (*FILES, *OWN):
        cells = []
        for one in steps:
            found = [row for key, row in runs.items() if key.startswith(f"{image}, {one} steps")]
            bounded = [row["ends"]["before"] - row["no ends"]["before"] for row in found]
            returned = [row["ends"]["after"] - row["ends"]["before"] for row in found]
            for name, gains in ((f"ends {one}", bounded), (f"back {one}", returned)):
                every.setdefault(name, []).extend(gains)
                cells.append(f"{np.mean(gains):+.2f}" if gains else "")
        lines.append(f"| {image} | " + " | ".join(cells) + " |")
    means = [f"{np.mean(gains):+.2f}" if gains else "" for gains in every.values()]
    return "\n".join([*lines, "| mean | " + " | ".join(means) + " |"])


if __name__ == "__main__":
    main()
