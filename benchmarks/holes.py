"""A wide hole in a picture, filled by the network for that and by the one for scattered pixels.

    python benchmarks/holes.py DATA --seeds 0,1,2
    python benchmarks/holes.py DATA --table         # what benchmarks/results/holes.json says

DATA is a folder with kodak24/, dip_released/ and cbsd68/. Middle crops of 144 x 144 px with an elliptic hole of
44 x 32 px; one network of 64 channels each, for 600 steps where it is for wide holes, else for 1,000. PSNR in the hole,
with a peak of 255. Resumable: the JSON is written after each run.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from records import opened, save

import napari_dip as dip

RESULTS = Path(__file__).parent / "results" / "holes.json"
PICTURES = {
    "kodim05": "kodak24/kodim05.png",
    "kodim20": "kodak24/kodim20.png",
    "hill": "dip_released/denoise25_hill_GT.png",
    "barbara": "dip_released/inpaint50_barbara_GT.png",
    "102061": "cbsd68/102061.png",
}
NETWORKS = {
    "wide": (dip.Prior(dip.Skip(skip=0, upsampling="nearest"), dip.Coordinates()), 600),
    "scattered": (dip.Prior(), 1000),
}
SIDE = 144


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pictures", default=",".join(PICTURES))
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = opened(options.results, "runs")
    names, networks, seeds = (text.split(",") for text in (options.pictures, options.networks, options.seeds))
    for name, network, seed in () if options.table else itertools.product(names, networks, seeds):
        if (key := f"{name} {network} {seed}") not in results["runs"]:
            results["runs"][key] = run(options.data / PICTURES[name], network, int(seed))
            save(results, options.results)
            print(key, results["runs"][key], flush=True)
    print(table(results["runs"]))


def run(path: Path, network: str, seed: int) -> float:
    """Return the PSNR in the hole."""
    picture = np.asarray(Image.open(path))
    top, left = ((n - SIDE) // 2 for n in picture.shape[:2])
    truth = picture[top : top + SIDE, left : left + SIDE]
    rows, columns = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    hole = (rows / 22) ** 2 + (columns / 16) ** 2 < 1
    prior, steps = NETWORKS[network]
    result = dip.restore(truth, dip.Inpaint(hole), prior, dip.FixedSteps(steps), seed=seed)
    error = result.image[hole].astype(float) - truth[hole]
    return round(float(10 * np.log10(255**2 / np.mean(error**2))), 2)


def table(runs: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines = ["| picture | " + " | ".join(NETWORKS) + " |", "|---" * (1 + len(NETWORKS)) + "|"]
    for name in PICTURES:
        found = [[value for key, value in runs.items() if key.startswith(f"{name} {network} ")] for network in NETWORKS]
        lines.append(f"| {name} | " + " | ".join(", ".join(f"{one:.2f}" for one in each) for each in found) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
