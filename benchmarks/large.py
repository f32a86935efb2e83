"""What large pictures take: seconds per step and megapixel, and memory beside what was told before the run.

    python benchmarks/large.py --runs "512 standard 20,2048 standard 10"
    python benchmarks/large.py --runs "4096 plain 10 fixed" --memory 4   # in tiles, that 4 GiB suffice
    python benchmarks/large.py --table           # what benchmarks/results/large.json says

A colour picture of smooth waves with noise of sigma 25 (of 255) is denoised by a preset, its fits for so many steps,
judged by pixels that are held out or, "fixed", by nothing, each run in a process of its own. A step is one of all fits
that go side by side; its time is the median. Memory is what the process took at most beyond what it had before the
run. Resumable: what the JSON has is not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from records import opened, save

import napari_dip as dip
from napari_dip.engine.problem import Array

RESULTS = Path(__file__).parent / "results" / "large.json"
SIGMA = 25.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", default="512 standard 20,1024 standard 20,2048 standard 10", help="side preset steps, fixed or not"
    )
    parser.add_argument("--memory", type=float, help="GiB that a run may take at most")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--child", help="one run, in this process")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.child:
        side, preset, steps, *fixed = options.child.split()
        print(json.dumps(measured(int(side), preset, rule(int(steps), bool(fixed)), memory=options.memory)))
        return
    results = opened(options.results, "runs")
    for asked in [] if options.table else options.runs.split(","):
        key = asked if options.memory is None else f"{asked}, {options.memory:g} GiB at most"
        if key not in results["runs"]:
            command = [sys.executable, __file__, "--child", asked]
            command += [] if options.memory is None else ["--memory", str(options.memory)]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
            results["runs"][key] = json.loads(told.splitlines()[-1])
            save(results, options.results)
            print(key, results["runs"][key], flush=True)
    print(table(results["runs"]))


def picture(side: int) -> Array:
    rows, columns = (np.arange(side, dtype=np.float32) / 40 for _ in range(2))
    waves = np.sin(rows)[:, None] * np.cos(columns / 3) + np.sin(columns + rows[:, None] / 2)
    draws = np.random.default_rng(0)
    noisy = [120 + 40 * waves + SIGMA * draws.standard_normal(waves.shape, np.float32) for _ in range(3)]
    image: Array = np.clip(np.rint(np.stack(noisy, -1)), 0, 255).astype(np.uint8)
    return image


def rule(steps: int, is_fixed: bool) -> dip.StoppingRule:
    return dip.FixedSteps(steps) if is_fixed else dip.HeldOut(floor=steps, ceiling=steps, every=steps, reveal=0.0)


def measured(side: int, preset: str, stop: dip.StoppingRule, *, memory: float | None) -> dict[str, Any]:
    image = picture(side)
    told = dip.memory_plan(image, stop=stop, preset=preset, axes="YXS", max_memory=memory)
    before, started, moments = resident("VmRSS"), time.perf_counter(), []
    result = None
    for progress in dip.iter_restore(image, preset=preset, stop=stop, axes="YXS", max_memory=memory):
        if progress.phase == "fitting":
            moments.append(time.perf_counter())
        result = progress
    assert result is not None
    fits = len(result.restoration().fits)
    every = np.diff(moments[2 * fits :])
    every = every[: len(every) // fits * fits].reshape(-1, fits).sum(1)
    return {
        "seconds_a_step": round(float(np.median(every)), 3),
        "fits": fits,
        "before_fits": round(moments[0] - started, 1),
        "seconds": round(time.perf_counter() - started, 1),
        "peak_bytes": resident("VmHWM"),
        "rise_bytes": resident("VmHWM") - before,
        "told_bytes": told.needed,
        "tile": told.tile,
    }


def resident(name: str) -> int:
    """Return the memory of this process that is (VmRSS) or was at most (VmHWM) in use, in bytes; on Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def table(runs: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| side, preset, steps | s/step of each of so many fits | ms/MP of one | peak GiB | told GiB | taken / told |"
    ]
    lines.append("|---" * 6 + "|")
    for name, row in runs.items():
        pixels = int(name.split()[0]) ** 2 / 1e6
        one = 1000 * row["seconds_a_step"] / row["fits"] / pixels
        taken, told = row["rise_bytes"] / 2**30, row["told_bytes"] / 2**30
        lines.append(
            f"| {name} | {row['seconds_a_step']:.2f} ({row['fits']}) | {one:.0f} | {row['peak_bytes'] / 2**30:.2f} "
            f"| {told:.2f} | {taken / told:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
