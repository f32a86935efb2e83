"""Deconvolution beside Richardson and Lucy's best iteration, which is chosen with the truth, and total variation.

    python benchmarks/deconvolve.py DATA --side 96            # crops of 96 x 96: what is not there yet
    python benchmarks/deconvolve.py DATA --side 256 --noises 0.01
    python benchmarks/deconvolve.py DATA --scenes discs,bars
    python benchmarks/deconvolve.py DATA --scenes discs --floor 5
    python benchmarks/deconvolve.py DATA --table

DATA is a folder with set12/ and psf/Levin09_kernels.npz, and for the bars with vol3d/. Each picture is blurred by a
motion kernel, light from outside the crop included, and has white Gaussian noise of 1 % or 3 % of the range. Discs:
40 of 50 to 150 photons on 5, through a Gaussian of 4 px, shot noise, 64 x 64. Bars: flowdec's simulated volume with
its PSF; how its data were scaled is not known, so that each result has the gain with which it is nearest to the truth.
`centred bars`: since truth, PSF and data were made smaller one by one, the PSF's origin lies between its voxels; here
it was moved, for all methods, so that the centroid of its squares is its middle (its skirts are cut off on one side),
periodically; blurred with it, the truth misses the data by 21 % of their standard deviation, with the PSF as given by
25 %. `bars centre`: the product moves it (`Deconvolve(centre=True)`), and the other methods take what it moved.
PSNR over the whole crop, the peak being 1 or the truth's range. Richardson and Lucy's is scikit-image's, on the crop
with its border repeated, of volumes also as it is, black around, with an element more where the PSF's size is even; its
best iteration. Resumable: written to
benchmarks/results/deconvolve.json after each case.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import numpy.typing as npt
import torch
from measures import least_variation, psnr
from records import opened, save
from scipy.ndimage import fourier_shift
from scipy.signal import fftconvolve

import napari_dip as dip
from napari_dip.engine.psf import checked

RESULTS = Path(__file__).parent / "results" / "deconvolve.json"
PICTURES = {"house": ("02", 40, 60), "butterfly": ("05", 70, 70)}  # of 256 x 256, and the corner of the small crop
KERNELS = ("k1", "k4")
MARGIN = 16
DISCS, SIDE, DARK = 40, 64, 5.0

BARS = ("actual", "data", "kernel")

Doubles = npt.NDArray[np.float64]
Case = tuple[Doubles, Doubles, Doubles]
"""The truth, the PSF and the measurement."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--scenes", default="pictures", help="pictures, " + ", ".join(SCENES))
    parser.add_argument("--side", type=int, default=96, help="of the pictures' crops")
    parser.add_argument("--noises", default="0.01,0.03", help="of the pictures")
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--floor", type=float, help="nothing is darker: 5 of the discs, 0 of the bars")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = opened(options.results, "cases")
    for scene in () if options.table else options.scenes.split(","):
        if scene == "pictures":
            for noise in map(float, options.noises.split(",")):
                for picture in PICTURES:
                    for kernel in KERNELS:
                        name = f"{picture} {kernel} {noise:g} {options.side}"
                        measure(options, results, name, degraded(options, (picture, kernel, noise)))
        else:
            measure(options, results, scene, SCENES[scene](options.data))
    print(table(results))


def measure(options: argparse.Namespace, results: dict[str, Any], scene: str, case: Case) -> None:
    floor = "" if options.floor is None else f", floor {options.floor:g},"
    name = f"{scene}{floor} {options.preset} seed {options.seed}"
    if name in results["cases"]:
        return
    truth, psf, y = case
    started = time.perf_counter()
    axes = "ZYX"[-y.ndim :]
    task = dip.Deconvolve(psf, floor=options.floor, centre=(centres := scene.endswith("centre")))
    result = dip.restore(y, task, preset=options.preset, seed=options.seed, axes=axes, dtype="float32")
    seconds = time.perf_counter() - started
    if centres:
        psf = checked(psf, y.shape, centres=True)[0].numpy().astype(float)
    lucy, iteration = best_lucy(y, psf, truth)
    plain = best_lucy(y, psf, truth, border="constant")[0] if y.ndim == 3 else None
    results["cases"][name] = {
        "blurred": nearness(y, truth),
        "lucy": lucy,
        "iteration": iteration,
        **({} if plain is None else {"lucy, black around": plain}),
        "variation": nearness(variation(y, psf), truth),
        "restored": nearness(np.asarray(result.image, float), truth),
        "steps": [[fit.best_step, fit.last_step] for fit in result.fits],
        "seconds": round(seconds),
    }
    save(results, options.results)
    print(name, results["cases"][name], flush=True)


def discs(_: Path) -> Case:
    rng = np.random.default_rng(0)
    truth = np.full((SIDE, SIDE), DARK)
    rows, columns = np.indices(truth.shape)
    for _disc in range(DISCS):
        row, column = rng.uniform(4, SIDE - 4, 2)
        truth[(rows - row) ** 2 + (columns - column) ** 2 <= 4] = 100 * rng.uniform(0.5, 1.5)
    psf = dip.GaussianPSF(fwhm=4.0).kernel(truth.shape)
    psf = psf / psf.sum()
    blurred = fftconvolve(np.pad(truth, len(psf) // 2, mode="edge"), psf, mode="valid")
    return truth, psf, rng.poisson(blurred.clip(0)).astype(float)


def bars(data: Path) -> Case:
    truth, y, psf = (imageio.imread(data / "vol3d" / f"bars_{name}.tif").astype(float) for name in BARS)
    return truth, psf / psf.sum(), y * truth.sum() / y.sum()


def centred_bars(data: Path) -> Case:
    truth, psf, y = bars(data)
    squares = psf**2 / np.square(psf).sum()
    off = [n // 2 - float((np.arange(n) * squares.sum(_others(axis))).sum()) for axis, n in enumerate(psf.shape)]
    psf = np.fft.ifftn(fourier_shift(np.fft.fftn(psf), off)).real.clip(0)
    return truth, psf / psf.sum(), y


def _others(axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(3) if other != axis)


def degraded(options: argparse.Namespace, case: tuple[str, str, float]) -> Case:
    picture, kernel, noise = case
    file, row, column = PICTURES[picture]
    whole = imageio.imread(options.data / "set12" / f"{file}.png").astype(float) / 255
    psf = np.load(options.data / "psf" / "Levin09_kernels.npz")[kernel]
    if options.side < len(whole) - 2 * MARGIN:
        crop = np.s_[row : row + options.side, column : column + options.side]
    else:  # nothing is known beyond the picture: the outermost pixels are repeated
        whole, crop = np.pad(whole, MARGIN, mode="edge"), np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]
    blurred = fftconvolve(whole, psf, mode="same")[crop]
    return whole[crop], psf, blurred + np.random.default_rng(0).normal(0, noise, blurred.shape)


def best_lucy(y: Doubles, psf: Doubles, truth: Doubles, border: str = "edge") -> tuple[float, int]:
    """Return the best PSNR of Richardson and Lucy's iterations, and which one it was."""
    psf = np.pad(psf, [(0, 1 - n % 2) for n in psf.shape])  # of an even one, the mirrored one's origin is another
    by = psf.shape if border == "edge" else (0,) * y.ndim  # half as much costs it 1.4 dB; without, it is black around
    wide = np.pad(y, [(n, n) for n in by], mode="edge").clip(1e-3)
    inner = tuple(slice(n, n + size) for n, size in zip(by, y.shape, strict=True))
    x, mirrored, found = np.full_like(wide, wide.mean()), np.flip(psf), []
    while len(found) < 500 and len(found) - np.argmax([0, *found]) < 50:
        # what skimage.restoration.richardson_lucy does, one iteration at a time
        x = x * fftconvolve(wide / np.maximum(fftconvolve(x, psf, mode="same"), 1e-12), mirrored, mode="same")
        found.append(nearness(x[inner], truth))
    return max(found), 1 + int(np.argmax(found))


def variation(y: Doubles, psf: Doubles) -> Doubles:
    """Return the estimate that guides the network."""
    scale = float(y.max())
    problem = dip.Deconvolve(psf).problem(torch.from_numpy((y / scale).astype(np.float32))[None])
    return scale * problem.field(least_variation(problem))[0].numpy().astype(float)


def nearness(image: Doubles, truth: Doubles) -> float:
    """Return the PSNR; of a volume with the gain with which it is nearest to the truth."""
    gain = float((image * truth).sum() / np.square(image).sum()) if truth.ndim == 3 else 1.0
    return psnr(gain * image, truth, 1.0 if truth.max() <= 1 else float(truth.max()))


SCENES = {"discs": discs, "bars": bars, "centred bars": centred_bars, "bars centre": bars}


def table(results: dict[str, Any]) -> str:
    lines = [
        "| case | blurred | Richardson-Lucy, best | total variation | restored | gain over RL | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, case in results["cases"].items():
        lines.append(
            f"| {name} | {case['blurred']:.2f} | {case['lucy']:.2f} at {case['iteration']} | {case['variation']:.2f} | "
            f"{case['restored']:.2f} | {case['restored'] - case['lucy']:+.2f} | {case['seconds']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
