"""Several frames of one scene restored together, against the restored mean of the same frames.

    python benchmarks/frames.py DATA --seeds 0,1,2
    python benchmarks/frames.py DATA --kinds calcium,membrane   # real exposures
    python benchmarks/frames.py DATA --table             # what benchmarks/results/frames.json says

DATA is a folder with set12/ and timelapse/. Of each picture a part of 96 x 96 px is exposed four times, in one of
these ways:

- `white`: white Gaussian noise, nothing moves: the mean of the frames says all that they do;
- `correlated`: noise as strong that is smooth from pixel to pixel, as after a scan or a demosaicing;
- `counts`: shot noise of 30 electrons at the brightest, read noise of 3;
- `jitter`: white noise, each frame displaced by up to 1.5 px along each axis;
- `rays`: white noise, and a cosmic ray on one pixel in 500 of every frame.

And of real recordings, stretched to 0 to 255:

- `calcium`: frames 0, 2, 4, 6 from some of a thousand of living cells on, judged by the mean of frames 1, 3, 5;
- `membrane`: frames 0, 1, 3, 4 of a part of 96 x 96 px of moving membranes, judged by frame 2.

What judges has noise of its own, which no result can come nearer than: gains are told too small.

The mean is what a person would restore who has no better way: frames are averaged as they are. For `jitter` and `rays`
the mean of frames that were registered, without what one alone has, stands beside, restored alone. The best
step in hindsight tells how well the first fit stopped. Resumable: what the JSON has is not run again; it is written
after every run.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import tifffile
from records import opened, save
from scipy.ndimage import gaussian_filter

import napari_dip as dip
from napari_dip.engine.aligning import moved
from napari_dip.engine.blocks import Axes, Missing
from napari_dip.engine.merging import merge
from napari_dip.engine.problem import Array

RESULTS = Path(__file__).parent / "results" / "frames.json"
SIDE, BORDER, COUNT = 96, 8, 4
SIGMA = 30.0  # of each frame
JITTER = 1.5  # px
REAL = {"calcium": ("100", "300", "500", "700", "900"), "membrane": ("0", "1", "2")}  # first frames; parts
PARTS = ((80, 80), (16, 144), (144, 16))  # first row and column
EVERY = 10  # steps between the outputs that tell the best one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--kinds", default="white,correlated,counts,jitter,rays")
    parser.add_argument("--pictures", default="02,04,05")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = opened(options.results, "runs")
    if not options.table:
        for seed in map(int, options.seeds.split(",")):
            for kind in options.kinds.split(","):
                for picture in REAL.get(kind, options.pictures.split(",")):
                    run_all(options, results, kind, picture, seed)
    print(table(results["runs"]))


def run_all(options: argparse.Namespace, results: dict[str, Any], kind: str, picture: str, seed: int) -> None:
    for arm in ("mean", "merged", "frames") if kind in ("jitter", "rays", *REAL) else ("mean", "frames"):
        key = f"{options.preset} {kind} {picture} {seed} {arm}"
        if key not in results["runs"]:
            truth, frames = exposed(options.data, kind, picture, seed)
            results["runs"][key] = measured(arm, truth, frames, options.preset, seed)
            save(results, options.results)
            print(key, results["runs"][key], flush=True)


def exposed(data: Path, kind: str, picture: str, seed: int) -> tuple[Array, Array]:
    """Return a scene, and exposures of it, (frames, Y, X)."""
    if kind in REAL:
        return recorded(data / "timelapse", kind, int(picture))
    rng = np.random.default_rng([seed, int(picture)])
    whole = imageio.imread(data / "set12" / f"{picture}.png").astype(float)
    wide = whole[72 : 72 + SIDE + 2 * BORDER, 72 : 72 + SIDE + 2 * BORDER]
    inner = (slice(BORDER, -BORDER),) * 2
    shifts = rng.uniform(-JITTER, JITTER, (COUNT, 2)) * (kind == "jitter")
    shifts[0] = 0
    frames = np.stack([moved(wide, by)[inner] for by in shifts])
    if kind == "counts":
        electrons = 30 / 255
        return wide[inner], (rng.poisson(frames * electrons) + rng.normal(0, 3, frames.shape)) / electrons
    noise = rng.normal(0, SIGMA, frames.shape)
    if kind == "correlated":
        noise = gaussian_filter(noise, (0, 0.8, 0.8))
        noise *= SIGMA / noise.std()
    frames = frames + noise
    if kind == "rays":
        frames[rng.random(frames.shape) < 1 / 500] += 2000
    return wide[inner], frames


def recorded(folder: Path, kind: str, which: int) -> tuple[Array, Array]:
    """Return what judges and four frames, (frames, Y, X), of a recording."""
    if kind == "calcium":
        frames = tifffile.imread(folder / "calcium_imaging.tif")[which : which + 7].astype(float)
        judge, used = frames[1:6:2].mean(0), frames[::2]
    else:
        y, x = PARTS[which]
        frames = tifffile.imread(folder / "membrane_2d_timelapse.tif")[:, y : y + SIDE, x : x + SIDE].astype(float)
        judge, used = frames[2], frames[[0, 1, 3, 4]]
    low, high = np.percentile(frames, (0.1, 99.9))
    return (judge - low) * 255 / (high - low), (used - low) * 255 / (high - low)


def measured(arm: str, truth: Array, frames: Array, preset: str, seed: int) -> dict[str, Any]:
    started = time.perf_counter()
    stack = frames.astype(np.float32)
    asked: dict[str, Any] = {"preset": preset, "seed": seed, "keep_every": EVERY}
    if arm == "frames":
        result = dip.restore(stack, dip.Denoise(frames="T"), axes="TYX", **asked)
    else:
        axes = Axes("TYX", stack.shape, "")
        mean = stack.mean(0) if arm == "mean" else merge(stack, axes, "T", Missing(axes)).image
        result = dip.restore(mean, **asked)
    assert result.stack is not None
    first = result.fits[0]
    curve = {step: psnr(one, truth) for step, one in zip(result.steps, result.stack, strict=True)}
    return {
        "psnr": psnr(result.estimate, truth),
        "stop": curve.get(first.best_step, float("nan")) - max(curve.values()),
        "step": first.best_step,
        "pilot": first.pilot,
        "sigma": first.noise.sigma[0] if first.noise else None,
        "notes": [note for note in result.notes if "frame" in note or "displaced" in note],
        "seconds": round(time.perf_counter() - started),
    }


def psnr(image: Array, truth: Array) -> float:
    return round(float(10 * np.log10(255**2 / np.mean((image - truth) ** 2))), 3)


def table(runs: dict[str, Any]) -> str:
    """Return the mean figures of each kind of exposure as a table."""
    lines = [
        "| preset | frames | runs | mean | merged mean | together | gain | least | stop: mean | together |",
        "|" + "---|" * 10,
    ]  # fmt: skip
    kinds = dict.fromkeys(tuple(key.split()[:2]) for key in runs)
    for preset, kind in kinds:
        own = {key: run for key, run in runs.items() if key.startswith(f"{preset} {kind} ")}
        pairs = [(run, own[key.replace(" mean", " frames")]) for key, run in own.items()
                 if key.endswith(" mean") and key.replace(" mean", " frames") in own]  # fmt: skip
        if not pairs:
            continue
        merged = [run["psnr"] for key, run in own.items() if key.endswith("merged")]
        gains = [after["psnr"] - before["psnr"] for before, after in pairs]
        cells = [
            preset, kind, str(len(pairs)),
            f"{np.mean([before['psnr'] for before, _ in pairs]):.2f}",
            f"{np.mean(merged):.2f}" if merged else "",
            f"{np.mean([after['psnr'] for _, after in pairs]):.2f}",
            f"{np.mean(gains):+.2f}", f"{min(gains):+.2f}",
            *(f"{np.nanmean([pair[index]['stop'] for pair in pairs]):.2f}" for index in (0, 1)),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
