"""Spectral control over a long run: how far the last step is from the best one, with and without it, and for which λ.

    python benchmarks/spectral_bias.py DATA                       # runs what is not there yet, then prints the table
    python benchmarks/spectral_bias.py DATA --steps 10000 --side 128 --width 64
    python benchmarks/spectral_bias.py DATA --tasks inpaint,enlarge,deblock --steps 10000 --variants adaptive,plain
    python benchmarks/spectral_bias.py DATA --table               # what benchmarks/results/spectral_bias.json says

DATA is a folder with dip_released/, kodak24/, cbsd68/, micro_w2s/ and micro_fmd/. Centre crops of photographs and of
the clean images of micrographs, scaled to their 0.1 and 99.9 percentiles; white noise of σ = 25 of 255, not clipped.
Other tasks: half of the pixels missing, pixels twice as large, JPEG of quality 10; there the task's own rule ends the
fit too, without its last phase, and hides what it hides from all variants. All variants have the same decoder, input,
learning rate and seed. Resumable: the JSON is written after each run.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import itertools
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import tifffile
import torch
from PIL import Image
from records import opened, save
from torch import Tensor

import napari_dip as dip
from napari_dip.engine import devices
from napari_dip.engine.spectral import BandMeter

RESULTS = Path(__file__).parent / "results" / "spectral_bias.json"
CROPS = {
    "F16": "dip_released/denoise25_F16_GT.png",
    "hill": "dip_released/denoise25_hill_GT.png",
    "micrograph": "micro_w2s/001_0_clean.tif",
    "kodim05": "kodak24/kodim05.png",
    "kodim20": "kodak24/kodim20.png",
    "102061": "cbsd68/102061.png",
    "175032": "cbsd68/175032.png",
    "042_1": "micro_w2s/042_1_clean.tif",
}
CONTROLS: dict[str, dip.SpectralControl | None] = {
    "plain": None,
    "adaptive": dip.SpectralControl(1.4, adapt=True),
    "λ 1.4": dip.SpectralControl(1.4),
    "λ 1.0": dip.SpectralControl(1.0),
    "λ 1.2": dip.SpectralControl(1.2),
    "λ 2.0": dip.SpectralControl(2.0),
}
RULES: dict[str, dip.StoppingRule] = {"BlurSharpness": dip.BlurSharpness(), "SteadyDetail": dip.SteadyDetail()}
SIGMA, EVERY, RATE, LAST = 25 / 255, 25, 0.001, 100
QUALITY = 10  # of the JPEG


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--variants", default=",".join(CONTROLS))
    parser.add_argument("--crops", default=",".join(CROPS))
    parser.add_argument("--tasks", default="denoise", help="of: " + ", ".join(TASKS))
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = opened(RESULTS, "runs")
    wanted = itertools.product(options.tasks.split(","), options.variants.split(","), options.crops.split(","))
    for task, variant, crop in () if options.table else wanted:
        name = f"{crop} | {variant} | {options.side} px, {options.width} channels, {options.steps} steps"
        name += f", seed {options.seed}" + (f", {task}" if task != "denoise" else "")
        if name not in results["runs"]:
            results["runs"][name] = run(options, crop, task, CONTROLS[variant])
            save(results, RESULTS, indent=None)
            print(name, flush=True)
    print(table(results["runs"]))


def clean_crop(data: Path, crop: str, side: int) -> Tensor:
    """Return the clean crop, (C, side, side), 0 to 1."""
    path = data / CROPS[crop]
    if path.suffix == ".tif":
        values = tifffile.imread(path).astype(np.float32)
        values = values.reshape(-1, *values.shape[-2:])[:1]
        low, high = np.percentile(values, [0.1, 99.9])
        image = (values - low) / (high - low)
    else:
        image = imageio.imread(path)[..., :3].astype(np.float32).transpose(2, 0, 1) / 255
    top, left = ((n - side) // 2 for n in image.shape[1:])
    return torch.from_numpy(image[:, top : top + side, left : left + side].copy())


def denoising(clean: Tensor, generator: torch.Generator) -> dip.Problem:
    return dip.Denoise().problem(clean + SIGMA * torch.randn(clean.shape, generator=generator))


def inpainting(clean: Tensor, generator: torch.Generator) -> dip.Problem:
    known = (torch.rand(clean.shape[1:], generator=generator) < 0.5).expand(clean.shape)
    return dataclasses.replace(dip.Inpaint().problem(clean * known), weight=known.float())


def enlarging(clean: Tensor, generator: torch.Generator) -> dip.Problem:
    task = dip.SuperResolve(2.0)
    coarse = torch.empty(len(clean), *(n // 2 for n in clean.shape[1:]))
    return task.problem(task.problem(coarse).forward(clean))


def deblocking(clean: Tensor, generator: torch.Generator, *, intervals: bool = True) -> dip.Problem:
    levels = (255 * clean.clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(levels.squeeze()).save(file, "JPEG", quality=QUALITY)
    y = torch.from_numpy(np.array(Image.open(file))).reshape(levels.shape).permute(2, 0, 1).float() / 255
    one = torch.ones(len(y))
    return dip.Deblock(intervals=intervals).problem_in_units(
        y, torch.ones_like(y, dtype=torch.bool), offset=0 * one, gain=255 * one
    )


TASKS: dict[str, Callable[[Tensor, torch.Generator], dip.Problem]] = {
    "denoise": denoising,
    "inpaint": inpainting,
    "enlarge": enlarging,
    "deblock": deblocking,
    "deblock as published": partial(deblocking, intervals=False),
}
OWN: dict[str, dip.StoppingRule] = {  # where not by the rules above
    "inpaint": dip.Inpaint.stop,
    "enlarge": dip.SuperResolve.stop,
    "deblock": dip.Deblock.stop,
    "deblock as published": dip.Deblock.stop,
}


def run(options: argparse.Namespace, crop: str, task: str, control: dip.SpectralControl | None) -> dict[str, Any]:
    """Return what a fit came through: PSNR of single and averaged outputs, and of the residual power and likeness."""
    clean = clean_crop(options.data, crop, options.side)
    problem = TASKS[task](clean, torch.Generator().manual_seed(len(crop) + 1000 * options.seed))
    y = problem.y
    prior = dip.Prior(dip.Decoder(width=options.width, control=control), dip.Fourier(), learning_rate=RATE)
    criteria = {name: rule.start(problem, options.seed)[1] for name, rule in RULES.items()}
    own = OWN.get(task)
    seen, score = own.start(problem, options.seed) if own else (problem, None)
    kept: dict[str, Any] = {"single": [], "average": [], "chi2": [], "neighbours": [], "bands": [], "stops": {}}
    meter, device = BandMeter(y, torch.ones_like(y) > 0), torch.device("cpu")
    started = time.process_time()
    fitted = dip.fit(
        seen, prior, device, precision=devices.precision(device), seed=options.seed, whole=problem if own else None
    )
    best, best_step = math.inf, 0  # by its own rule
    for iterate in fitted:
        if own and "own" not in kept["stops"] and iterate.step % own.every == 0:
            with torch.no_grad():
                value = float(score(iterate))
            if value <= best:
                best, best_step, found = value, iterate.step, [psnr(x, clean) for x in (iterate.x, iterate.average)]
            if iterate.step >= own.ceiling or own.floor <= iterate.step >= best_step + own.patience:
                kept["stops"]["own"] = [best_step, *(round(one, 3) for one in found)]
        for name, rule in RULES.items():
            if iterate.step % rule.every == 0 and name not in kept["stops"] and float(criteria[name](iterate)) == 0:
                psnrs = [round(psnr(x, clean), 3) for x in (iterate.x, iterate.average)]
                kept["stops"][name] = [iterate.step, *psnrs]
        if iterate.step % EVERY == 0:
            residual = (y - problem.forward(iterate.x)) * problem.known() / SIGMA
            kept["single"].append(round(psnr(iterate.x, clean), 3))
            kept["average"].append(round(psnr(iterate.average, clean), 3))
            kept["chi2"].append(round(float(residual.square().mean()), 4))
            kept["neighbours"].append(round(float((residual[..., 1:] * residual[..., :-1]).mean()), 4))
        if iterate.step % (10 * EVERY) == 0:
            with torch.no_grad():
                predicted = iterate.forward(iterate.average)
            kept["bands"].append([value if math.isfinite(value) else None for value in meter.row(predicted)])
        if iterate.step >= options.steps:
            return {**kept, "seconds": round(time.process_time() - started, 1)}
    raise AssertionError("a fit does not end by itself")


def psnr(x: Tensor, clean: Tensor) -> float:
    return float(-10 * (x.clamp(0, 1) - clean).square().mean().log10())


def table(runs: dict[str, Any]) -> str:
    """Return for each run its peak, its end (the mean of the last hundred steps) and what lies between, in dB."""
    lines = ["| run | peak | at step | end | end - peak | averaged: peak | end | χ² at the end | "
             "BlurSharpness: step, dB | SteadyDetail: step, dB | own rule: step, averaged dB | CPU ms a step |",
             "|" + "---|" * 12]  # fmt: skip
    for name, one in sorted(runs.items()):
        single, average = np.array(one["single"]), np.array(one["average"])
        end = single[-LAST // EVERY :].mean()
        stops = [one["stops"].get(rule, ["-", "-"])[:2] for rule in RULES]
        own = one["stops"].get("own", ["-", "-", "-"])
        lines.append(
            f"| {name.replace(' | ', ', ')} | {single.max():.2f} | {EVERY * (1 + int(single.argmax()))} | {end:.2f} | "
            f"{end - single.max():+.2f} | {average.max():.2f} | {average[-1]:.2f} | {one['chi2'][-1]:.2f} | "
            f"{stops[0][0]}, {stops[0][1]} | {stops[1][0]}, {stops[1][1]} | {own[0]}, {own[2]} | "
            f"{1000 * one['seconds'] / (EVERY * len(single)):.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
