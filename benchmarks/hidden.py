"""What pixels that are hidden cost where pixels are made smaller, and how well they tell when to stop.

    python benchmarks/hidden.py DATA --images butterfly,hill --sigmas 0,5
    python benchmarks/hidden.py DATA --table        # what benchmarks/results/hidden.json says

DATA is a folder with set5/ and dip_released/. The middle 128 x 128 px of a picture are made four times smaller by
Pillow's Lanczos filter, noise of sigma (of 255) is added, and the network with 64 channels is fitted for 2,600 steps
to all pixels of that, or to all but a share. PSNR of the averaged output, 4 px of the border left out, every 20 steps,
with the score of what was hidden. Where a rule with a patience of 200 steps would stop is told from these. Resumable.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from records import opened, save

import napari_dip as dip
from napari_dip.engine import devices

RESULTS = Path(__file__).parent / "results" / "hidden.json"
PICTURES = {"butterfly": "set5/butterfly_GT.bmp", "hill": "dip_released/denoise25_hill_GT.png"}
SIDE, FACTOR, STEPS, EVERY, BORDER = 128, 4, 2600, 20, 4
FLOOR, PATIENCE = 300, 200
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", default="butterfly,hill")
    parser.add_argument("--sigmas", default="0,5")
    parser.add_argument("--shares", default="0,0.05,0.2", help="of the measured pixels that are hidden")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = opened(options.results, "runs")
    asked = (text.split(",") for text in (options.images, options.sigmas, options.shares, options.seeds))
    for image, sigma, share, seed in [] if options.table else itertools.product(*asked):
        key = f"{image}, sigma {sigma}, hidden {share}, seed {seed}"
        if key not in results["runs"]:
            picture = options.data / PICTURES[image]
            results["runs"][key] = record(picture, sigma=float(sigma), share=float(share), seed=int(seed))
            save(results, options.results, indent=None)
    print(table(results["runs"]))


def record(picture: Path, *, sigma: float, share: float, seed: int) -> list[tuple[int, float, float | None]]:
    """Return step, PSNR and score of the averaged output, now and then."""
    whole = Image.open(picture).convert("RGB")
    left, top = ((n - SIDE) // 2 for n in whole.size)
    truth = whole.crop((left, top, left + SIDE, top + SIDE))
    small = np.asarray(truth.resize((SIDE // FACTOR,) * 2, Image.Resampling.LANCZOS), float)
    if sigma:
        small = np.clip(np.rint(small + np.random.default_rng(0).normal(0, sigma, small.shape)), 0, 255)
    y, x = (torch.from_numpy(np.asarray(one) / 255.0).float().permute(2, 0, 1) for one in (small, truth))
    problem, score = dip.SuperResolve(float(FACTOR), dip.Lanczos()).problem(y.contiguous()), None
    if share:
        problem, score = dip.HeldOut(fraction=share, least=1).start(problem, seed)
    rows: list[tuple[int, float, float | None]] = []
    inner = np.s_[:, BORDER:-BORDER, BORDER:-BORDER]
    for iterate in dip.fit(problem, dip.Prior(), CPU, precision=devices.precision(CPU), seed=seed):
        if iterate.step % EVERY == 0:
            error = float((iterate.average.clamp(0, 1) - x)[inner].square().mean())
            rows.append(
                (iterate.step, round(-10 * np.log10(error), 3), None if score is None else float(score(iterate)))
            )
        if iterate.step >= STEPS:
            return rows
    return rows


def stopped(rows: list[tuple[int, float, float | None]]) -> int:
    """Return the step that a rule with patience would keep."""
    kept, least = 0, float("inf")
    for step, _, score in rows:
        if score is not None and score < least:
            kept, least = step, score
        if step >= FLOOR and step - kept >= PATIENCE:
            break
    return kept


def table(runs: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| run | best | after 600, 1,600, 2,600 steps | stop | all pixels, as many steps |",
        "|---|---|---|---|---|",
    ]
    for name, rows in runs.items():
        at = {step: psnr for step, psnr, _ in rows}
        best = max(at, key=lambda step: at[step])
        told = f"| {name} | {at[best]:.2f} at {best} | {at[600]:.2f}, {at[1600]:.2f}, {at[2600]:.2f} "
        image, sigma, _, seed = name.split(", ")
        whole = {step: psnr for step, psnr, _ in runs.get(", ".join((image, sigma, "hidden 0", seed)), [])}
        if rows[0][2] is not None:
            told += f"| {at[stopped(rows)]:.2f} at {stopped(rows)} | {whole.get(stopped(rows), float('nan')):.2f} |"
        else:
            told += "| | |"
        lines.append(told)
    return "\n".join(lines)


if __name__ == "__main__":
    main()
