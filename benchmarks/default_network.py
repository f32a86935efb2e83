"""The default recipe against the published one: how soon each averaged output is as good as the published one gets.

    python benchmarks/default_network.py DATA     # a folder with denoise25_*_noisy.png and *_GT.png

128 x 128 centre crops, one seed; both run in this engine in turn on the same machine, the published recipe in float32
as published. Resumable: what benchmarks/results/default_network.json has is not run again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import torch
from records import opened, save

import napari_dip as dip
from napari_dip.engine import devices

RESULTS = Path(__file__).parent / "results" / "default_network.json"
IMAGES = ("hill", "F16")
SIDE, STEPS = 128, {"published": 1500, "default": 1200}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    results = opened(RESULTS, "runs")
    results["machine"]["threads"] = torch.get_num_threads()
    for image in IMAGES:
        for name in STEPS:
            if f"{image} {name}" not in results["runs"]:
                results["runs"][f"{image} {name}"] = trajectory(options.data, image, name)
                save(results, RESULTS)
    print(table(results))


def trajectory(data: Path, image: str, name: str) -> dict[str, Any]:
    """Return PSNR of the averaged output and seconds since the start, at every tenth step."""
    y, truth = (crop(data / f"denoise25_{image}_{kind}.png") for kind in ("noisy", "GT"))
    cpu = torch.device("cpu")
    prior = dip.Prior.published() if name == "published" else dip.Prior()
    precision = torch.float32 if name == "published" else devices.precision(cpu)
    problem = dip.Problem(y, shape=tuple(y.shape))
    psnr, seconds, started = [], [], time.perf_counter()
    for iterate in dip.fit(problem, prior, cpu, precision=precision):
        if iterate.step % 10 == 0:
            seconds.append(time.perf_counter() - started)
            error = float((iterate.average.clamp(0, 1) - truth).square().mean())
            psnr.append(float(-10 * np.log10(error)))
        if iterate.step >= STEPS[name]:
            return {"psnr": psnr, "seconds": seconds, "precision": str(precision)}
    raise AssertionError("a fit has no end of its own")


def crop(path: Path) -> torch.Tensor:
    """Return the centre of an image, (C, SIDE, SIDE), from 0 to 1."""
    image = imageio.imread(path)
    top, left = ((size - SIDE) // 2 for size in image.shape[:2])
    part = image[top : top + SIDE, left : left + SIDE, :3]
    return torch.from_numpy(part.astype(np.float32) / 255).permute(2, 0, 1).contiguous()


def table(results: dict[str, Any]) -> str:
    rows = [
        "| image | recipe | ms per step | best averaged output | seconds until as good as published |",
        "|" + "---|" * 5,
    ]
    for image in IMAGES:
        goal = max(results["runs"][f"{image} published"]["psnr"])
        for name in STEPS:
            run = results["runs"][f"{image} {name}"]
            best = int(np.argmax(run["psnr"]))
            reached = [at for at, value in zip(run["seconds"], run["psnr"], strict=True) if value >= goal]
            when = f"{reached[0]:.0f}" if reached else "not reached"
            pace = 1000 * run["seconds"][-1] / (10 * len(run["seconds"]))
            rows.append(
                f"| {image} | {name} | {pace:.0f} | {run['psnr'][best]:.2f} dB at step {10 * (best + 1)} | {when} |"
            )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
