"""The main job as a user runs it: PSNR and seconds of the shell commands, and how near each stop is to the best step.

    python benchmarks/main_job.py DATA            # a folder with denoise25_hill_*.png and inpaint50_house_*.png
    python benchmarks/main_job.py DATA --table    # what benchmarks/results/main_job.json says
    python benchmarks/main_job.py DATA --only commands --cases "denoise quick" --results results/another_machine.json

Resumable: what the JSON has is not run again. Part 1, the commands, wants an otherwise idle machine; part 2 records
each plain run's averaged outputs to max(3000, twice its stop) steps, with the held-out pixels of that run hidden.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import torch
from records import opened, save

import napari_dip as dip
from napari_dip.engine import devices
from napari_dip.engine.blocks import Missing, measure_scale, name_axes

RESULTS = Path(__file__).parent / "results" / "main_job.json"
HILL = ("denoise25_hill_noisy.png", "denoise25_hill_GT.png")
CASES = {  # the sub-command, its preset, and the instructions PyTorch is held to: the files, the seeds
    "denoise standard": (*HILL, (0, 1, 2)),
    "denoise quick": (*HILL, (0, 1, 2)),
    "denoise standard AVX2": (*HILL, (0,)),
    "denoise quick AVX2": (*HILL, (0,)),
    "inpaint standard": ("inpaint50_house_masked.png", "inpaint50_house_GT.png", (0,)),
    "denoise plain": (*HILL, (0, 1, 2)),
}
LONGEST = 3000  # steps recorded at least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--only", choices=["commands", "records"])
    parser.add_argument("--cases", default=",".join(CASES), help="of: " + ", ".join(CASES))
    parser.add_argument("--seeds", default="", help="only those")
    parser.add_argument("--results", type=Path, default=RESULTS, help="a file for each machine")
    options = parser.parse_args()
    results = opened(options.results, "runs")
    if not options.table:
        if options.only != "records":
            commands(options, results)
        if options.only != "commands":
            records(options, results)
    print(table(results))


def commands(options: argparse.Namespace, results: dict[str, Any]) -> None:
    """Run each shell command as a user would; keep its report."""
    for case in options.cases.split(","):
        degraded, truth, seeds = CASES[case]
        for seed in map(int, options.seeds.split(",")) if options.seeds else seeds:
            run = results["runs"].setdefault(f"{case} seed {seed}", {})
            if "wall_seconds" not in run:
                run.update(command(case, options.data / degraded, truth=options.data / truth, seed=seed))
                save(results, options.results)


def command(case: str, degraded: Path, *, truth: Path, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out, report = Path(folder) / "out.png", Path(folder) / "report.json"
        task, preset, *instructions = case.split()
        call = [sys.executable, "-m", "napari_dip", task, str(degraded), "-o", str(out), "--seed", str(seed)]
        call += ["--preset", preset, "--truth", str(truth), "--report", str(report)]
        if task == "inpaint":  # zero is missing in these images: non-zero marks what is known
            call += ["--mask", str(degraded), "--mask-keeps"]
        started = time.perf_counter()
        held = {"ONEDNN_MAX_CPU_ISA": instructions[0]} if instructions else {}
        subprocess.run(call, check=True, env=os.environ | held)  # noqa: S603
        wall = time.perf_counter() - started
        written = json.loads(report.read_text())
        return {
            "wall_seconds": wall,
            "psnr_input": written["truth"]["psnr_input"],
            "psnr": written["truth"]["psnr_output"],
            "ssim": written["truth"]["ssim_output"],
            **{key: written[key] for key in ("steps", "best_step", "ended", "threads", "precision")},
            "last_step": written["fits"][0]["last_step"],
            "best_steps": [fit["best_step"] for fit in written["fits"]],
            "pilot": written["fits"][0]["pilot"],
            "peak_memory_bytes": written["peak_memory_bytes"],
        }


def records(options: argparse.Namespace, results: dict[str, Any]) -> None:
    """Record the averaged outputs' PSNR of each denoising run far beyond its stop."""
    degraded, truth, seeds = CASES["denoise plain"]
    for seed in seeds:
        run = results["runs"].setdefault(f"denoise plain seed {seed}", {})
        length = max(LONGEST, 2 * run.get("last_step", 0))
        if len(run.get("record_psnr", ())) * 10 < length:
            pair = (imageio.imread(options.data / name) for name in (degraded, truth))
            run["record_psnr"] = record(*pair, seed, length)
            save(results, options.results)


def record(image: Any, truth: Any, seed: int, length: int) -> list[float]:
    """Return the PSNR of the averaged output of every tenth step."""
    axes = name_axes(None, image.shape)
    missing = Missing(axes)
    scale = measure_scale(image, axes, missing)
    frame = axes.take(image, ())
    y = torch.from_numpy(scale.apply(frame, np.ones(frame.shape, bool)))
    rule = dip.Denoise().stop
    problem, _ = rule.start(dip.Denoise().problem(y), seed)
    clean = axes.take(truth, ()).astype(float)
    device = devices.choose("cpu")
    psnr = []
    for iterate in dip.fit(problem, dip.Prior(), device, precision=devices.precision(device), seed=seed):
        if iterate.step % 10 == 0:
            shown = np.clip(np.rint(scale.undo(iterate.average.numpy())), 0, 255)
            psnr.append(float(10 * np.log10(255**2 / np.mean((shown - clean) ** 2))))
        if iterate.step >= length:
            return psnr
    raise AssertionError("fit ends by itself")


def table(results: dict[str, Any]) -> str:
    rows = [
        "| run | input | restored | SSIM | seconds | steps | stop | best averaged output of the record |",
        "|" + "---|" * 8,
    ]
    for name, run in results["runs"].items():
        record_ = run.get("record_psnr")
        best = (
            f"{max(record_):.2f} dB at {10 * (1 + int(np.argmax(record_)))} of {10 * len(record_)}" if record_ else ""
        )
        if "psnr" in run:
            rows.append(
                f"| {name} | {run['psnr_input']:.2f} dB | {run['psnr']:.2f} dB | {run['ssim']:.3f} | "
                f"{run['wall_seconds']:.0f} | {run['steps']} | {run['best_step']} | {best} |"
            )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
