"""How often a PSF that is 10 % too narrow, right, or 10 % too wide is told to be so, and what refining it brings.

    python benchmarks/psf_width.py DATA
    python benchmarks/psf_width.py DATA --fits    # restorations too, with the wrong, the refined and the right PSF
    python benchmarks/psf_width.py DATA --whole   # the pictures and motion kernels of deconvolve.py, 256 x 256
    python benchmarks/psf_width.py DATA --table

DATA is a folder with set12/ and psf/Levin09_kernels.npz. Two crops of 112 x 112 px of each of four pictures, and two
simulated scenes; a Gaussian of 4 px and the motion kernel k4; light from outside the crop, white noise of 1 % of the
range. None of them was used to choose the thresholds of `engine/width.py`. Resumable: written to
benchmarks/results/psf_width.json after each case.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import numpy.typing as npt
import torch
from deconvolve import KERNELS, PICTURES
from records import opened, save
from scipy.signal import fftconvolve

import napari_dip as dip
from napari_dip.engine.width import Width, resized, told_width
from napari_dip.engine.work import finished

RESULTS = Path(__file__).parent / "results" / "psf_width.json"
SIDE, MARGIN, NOISE = 112, 36, 0.01
WRONG = (0.9, 1.0, 1.1)

Doubles = npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--fits", action="store_true")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = opened(RESULTS, "cases", "fits")
    if options.whole:
        for name, whole in pictures(options.data):
            for kind in KERNELS:
                for factor in WRONG:
                    psf = np.load(options.data / "psf/Levin09_kernels.npz")[kind].astype(float)
                    judge(results, f"{name} {kind} {factor}", whole, (psf / psf.sum(), factor))
    elif not options.table:
        for name, whole in scenes(options.data):
            for kind, psf in kernels(options.data).items():
                for factor in WRONG:
                    judge(results, f"{name} {kind} {factor}", whole, (psf, factor))
                    if options.fits and factor != 1:
                        restored(results, f"{name} {kind} {factor}", whole, (psf, factor), options.preset)
    print(table(results))


def scenes(data: Path) -> Iterator[tuple[str, Doubles]]:
    """Yield scenes with a margin on all sides, between 0 and 1."""
    side = SIDE + 2 * MARGIN
    for share, seed in ((0.3, 100), (0.6, 101)):
        for file in ("02", "04", "05", "09"):
            picture = imageio.imread(data / "set12" / f"{file}.png").astype(float) / 255
            row, column = (int(share * (n - side)) for n in picture.shape)
            yield f"{file} at {share}", picture[row : row + side, column : column + side]
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:side, :side]
        made = np.full((side, side), 0.05)
        for _ in range(80):
            cy, cx, radius = *rng.uniform(0, side, 2), rng.uniform(2, 8)
            made += rng.uniform(0.1, 0.4) * (np.hypot(y - cy, x - cx) < radius)
        yield f"discs {seed}", made


def pictures(data: Path) -> Iterator[tuple[str, Doubles]]:
    """Yield whole pictures with their border repeated on all sides, between 0 and 1."""
    for name, (file, *_) in PICTURES.items():
        yield f"{name} whole", np.pad(imageio.imread(data / "set12" / f"{file}.png") / 255, MARGIN, mode="edge")


def kernels(data: Path) -> dict[str, Doubles]:
    found = {"Gaussian": dip.GaussianPSF(4.0).kernel((99, 99)), "k4": np.load(data / "psf/Levin09_kernels.npz")["k4"]}
    return {name: kernel / kernel.sum() for name, kernel in found.items()}


def measured(whole: Doubles, psf: Doubles) -> tuple[Doubles, Doubles]:
    """Return a blurred and noisy scene, and the scene, without the margin."""
    y = fftconvolve(whole, psf, mode="same")[MARGIN:-MARGIN, MARGIN:-MARGIN]
    return y + np.random.default_rng(0).normal(0, NOISE, y.shape), whole[MARGIN:-MARGIN, MARGIN:-MARGIN]


def wrong(case: tuple[Doubles, float]) -> Doubles:
    psf, factor = case
    return psf if factor == 1 else resized(torch.from_numpy(psf), factor).numpy().astype(float)


def told(y: Doubles, psf: Doubles) -> Width | None:
    problem = dip.Deconvolve(psf).problem(torch.from_numpy(y.astype(np.float32))[None])
    return finished(told_width(problem, 0))


def judge(results: dict[str, Any], name: str, whole: Doubles, case: tuple[Doubles, float]) -> None:
    if name in results["cases"]:
        return
    width = told(measured(whole, case[0])[0], wrong(case))
    assert width is not None
    results["cases"][name] = {
        "factor": width.factor, "error": width.error, "sure": width.sure, "told": width.is_told,
        "suspect": width.is_suspect,
    }  # fmt: skip
    save(results, RESULTS)


def restored(results: dict[str, Any], name: str, whole: Doubles, case: tuple[Doubles, float], preset: str) -> None:
    """Measure what refining a wrong PSF brings."""
    if name in results["fits"]:
        return
    y, x = measured(whole, case[0])
    made = {
        "wrong": dip.restore(y, dip.Deconvolve(wrong(case)), preset=preset),
        "refined": dip.restore(y, dip.Deconvolve(wrong(case), refine=True), preset=preset),
        "right": dip.restore(y, dip.Deconvolve(case[0]), preset=preset),
    }
    results["fits"][name] = {
        kind: round(-10 * math.log10(float(np.mean((one.estimate - x) ** 2))), 2) for kind, one in made.items()
    }
    print(name, results["fits"][name], flush=True)
    save(results, RESULTS)


def table(results: dict[str, Any]) -> str:
    head = "PSF, given times as wide as true | told, median (16 to 84 %) | warned, in the right direction | refined"
    lines = [f"| {head} |", "|---|---|---|---|"]
    for kind in ("Gaussian", "k4"):
        for factor in WRONG:
            found = results["cases"].items()
            cases = [case for name, case in found if name.endswith(f"{kind} {factor}") and "whole" not in name]
            product = np.array([case["factor"] * factor for case in cases])
            warned = [case for case in cases if case["suspect"]]
            right = sum((case["factor"] - 1) * (1 - factor) > 0 for case in warned)
            low, middle, high = np.percentile(product, [16, 50, 84])
            refined = sum(case["told"] for case in cases)
            words = f"{middle:.3f} ({low:.3f} to {high:.3f}) | {len(warned)} of {len(cases)}, {right} | {refined}"
            lines.append(f"| {kind}, {factor} | {words} |")
    for name, case in results["cases"].items():
        if "whole" in name:
            width = f"{case['factor']:.3f} ± {case['error']:.3f}"
            lines.append(f"| {name} | {width} | {case['suspect']} | {case['told']} |")
    for name, fit in results["fits"].items():
        lines.append(f"| {name} | {fit['wrong']} dB wrong | {fit['refined']} dB refined | {fit['right']} dB right |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
