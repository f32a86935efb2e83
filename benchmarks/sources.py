"""What may be measured after a deconvolution: stars through seeing, and fluorescent beads in a confocal microscope.

    python benchmarks/sources.py                       # `standard`, seed 0: what is not there yet
    python benchmarks/sources.py --scenes stars --seeds 0,1,2 --preset quick
    python benchmarks/sources.py --table

Stars: 25 on a grid, at random parts of a pixel, through a Moffat profile (full width at half maximum 3.5 px, β 3),
each with a signal-to-noise ratio of 50 within that width, sky of 100 electrons, read noise 5; `stars above sky` with
`floor`, the image's median: nothing darker; `bright stars` with that ratio at the brightest pixel. Flux: within 6 px,
above the image's median, and once more within 8 px, which holds the rings around a star; position: the centroid under
a Gaussian window that follows it (of the measurement, one as wide as the seeing). Beside it the profile itself fitted
to the measurement, which knows all but fluxes and places: what the noise allows. The raw image's fluxes are corrected
for the light that the profile has outside of the aperture. Beads: balls of 0.6 µm in a confocal volume (NA 1.2 in
water, voxels of 0.1 and 0.2 µm), 150 photons at the peak, background 5; `large` ones of 1 µm, `bright` ones of 1,500
photons; `above ground` with `floor`, the volume's median. Width: at half the height of the profile through the middle,
along X and Z, against the same of the true volume. Intensity: the sum of a box around each, above the volume's median.
Resumable: written to benchmarks/results/sources.json after each run.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from records import opened, save
from scipy.signal import fftconvolve

import napari_dip as dip

Doubles = npt.NDArray[np.float64]

RESULTS = Path(__file__).parent / "results" / "sources.json"
SEEING = dip.MoffatPSF(fwhm=3.5, beta=3.0)
SKY, READ_NOISE, RATIO = 100.0, 5.0, 50.0
SIDE, APART, APERTURE, WIDE = 96, 18, 6.0, 8.0
WINDOW, SHARP = 3.5 / 2.355, 1.0  # px: standard deviation of the window, on the measurement and on what is restored
CONFOCAL = dip.MicroscopePSF(
    numerical_aperture=1.2, immersion=1.33, specimen=1.33, wavelength=520, excitation=488, pixel=0.1, step=0.2
)
VOLUME, PLACES, FINE = (20, 48, 48), ((10, 12, 12), (9, 13, 34), (10, 35, 13), (11, 34, 35)), 5
BALL, LARGE = 0.6, 1.0  # µm: diameters
PHOTONS, BACKGROUND, BOX = 150.0, 5.0, (5, 8, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", default="stars,stars above sky,beads", help="of: " + ", ".join(SCENES))
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = opened(options.results, "runs")
    for scene in () if options.table else options.scenes.split(","):
        for seed in map(int, options.seeds.split(",")):
            name = f"{scene} {options.preset} seed {seed}"
            if name not in results["runs"]:
                started = time.perf_counter()
                row = SCENES[scene](options.preset, seed)
                results["runs"][name] = {**row, "seconds": round(time.perf_counter() - started)}
                save(results, options.results)
    for name, row in results["runs"].items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items()))


def stars(preset: str, seed: int, *, is_floored: bool = False, is_bright: bool = False) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    grid = np.arange(APART // 2 + 3, SIDE - APART // 2, APART)
    places = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2) + rng.uniform(-0.5, 0.5, (25, 2))
    area = 1.0 if is_bright else math.pi * SEEING.fwhm**2
    light = (RATIO**2 + math.sqrt(RATIO**4 + 4 * RATIO**2 * area * (SKY + READ_NOISE**2))) / 2
    flux = light / float(profile(np.array([SIDE // 2, SIDE // 2])).max()) if is_bright else light
    mean = SKY + np.sum([flux * profile(place) for place in places], axis=0)
    y = rng.poisson(mean) + rng.normal(0, READ_NOISE, mean.shape)
    task = dip.Deconvolve(model=SEEING, floor=float(np.median(y)) if is_floored else None)
    result = dip.restore(y.astype(np.float32), task, preset=preset, seed=seed)
    image = np.asarray(result.image, float)
    middle = np.array([SIDE // 2, SIDE // 2])
    passed = {far: flux * float(profile(middle)[within(middle, far)].sum()) for far in (APERTURE, WIDE)}
    row: dict[str, Any] = {}
    for name, fluxes, found in (
        ("profile fitted", *fitted(y, mean, places, flux)),
        (
            "raw",
            [total_light(y, place) / passed[APERTURE] for place in places],
            [centroid(y, place, WINDOW) for place in places],
        ),
        (
            "restored",
            [total_light(image, place) / flux for place in places],
            [centroid(image, place, SHARP) for place in places],
        ),
    ):
        errors = 100 * (np.array(fluxes) - 1)
        away = np.array([math.hypot(*(one - place)) for one, place in zip(found, places, strict=True)])
        row[f"{name}: flux"] = f"{float(np.median(errors)):+.2f} % ± {float(errors.std()):.2f} %"
        row[f"{name}: position"] = f"{float(np.median(away)):.3f} px, at most {float(away.max()):.3f} px"
    for name, light_of, whole in (("raw", y, passed[WIDE]), ("restored", image, flux)):
        errors = 100 * (np.array([total_light(light_of, place, WIDE) for place in places]) / whole - 1)
        row[f"{name}: flux within {WIDE:g} px"] = f"{float(np.median(errors)):+.2f} % ± {float(errors.std()):.2f} %"
    return {**row, "steps": [fit.best_step for fit in result.fits]}


def profile(place: Doubles) -> Doubles:
    """Return a star of flux 1: the profile sampled at the pixels, as the model of the task has it."""
    scale = SEEING.fwhm / 2 / math.sqrt(2 ** (1 / SEEING.beta) - 1)
    rows, columns = np.indices((SIDE, SIDE))
    squared = (rows - place[0]) ** 2 + (columns - place[1]) ** 2
    return np.asarray((1 + squared / scale**2) ** -SEEING.beta * (SEEING.beta - 1) / math.pi / scale**2)


def within(place: Doubles, far: float = APERTURE) -> npt.NDArray[np.bool_]:
    rows, columns = np.indices((SIDE, SIDE))
    return np.asarray(np.hypot(rows - round(place[0]), columns - round(place[1])) <= far)


def total_light(image: Doubles, place: Doubles, far: float = APERTURE) -> float:
    return float((image - np.median(image))[within(place, far)].sum())


def centroid(image: Doubles, place: Doubles, width: float, rounds: int = 20) -> Doubles:
    """Return the centroid under a Gaussian window around itself, from a star's pixel on."""
    at = np.indices(image.shape)
    found = np.round(place)
    for _ in range(rounds):
        apart = at - found[:, None, None]
        window = np.exp(-(apart**2).sum(0) / 2 / width**2) * (image - np.median(image)) * within(place)
        found = found + 2 * (window * apart).sum((1, 2)) / window.sum()
    return found


def fitted(y: Doubles, mean: Doubles, places: Doubles, flux: float) -> tuple[list[float], list[Doubles]]:
    """Return fluxes, in units of the true one, and places of all stars by weighted least squares, near the truth."""
    weight = 1 / np.sqrt(mean + READ_NOISE**2)
    step = 0.01
    columns = [np.ones_like(y)]
    for place in places:
        moved = [(profile(place + by) - profile(place - by)) / (2 * step) for by in step * np.eye(2)]
        columns += [flux * one for one in (profile(place), *moved)]
    design = np.stack([(column * weight).ravel() for column in columns], 1)
    solution = np.linalg.lstsq(design, (y * weight).ravel(), rcond=None)[0][1:].reshape(-1, 3)
    return list(solution[:, 0]), [place + one[1:] / one[0] for place, one in zip(places, solution, strict=True)]


def beads(
    preset: str, seed: int, *, is_floored: bool = False, photons: float = PHOTONS, ball: float = BALL
) -> dict[str, Any]:
    truth, psf = balls(ball), CONFOCAL.kernel(VOLUME)
    blurred = fftconvolve(truth, psf / psf.sum(), mode="same").clip(0)
    y = np.random.default_rng(seed).poisson(BACKGROUND + photons * blurred / blurred.max()).astype(np.float32)
    truth = BACKGROUND + photons / blurred.max() * truth
    spacing = (CONFOCAL.step, CONFOCAL.pixel, CONFOCAL.pixel)
    task = dip.Deconvolve(model=CONFOCAL, floor=float(np.median(y)) if is_floored else None)
    result = dip.restore(y, task, axes="ZYX", spacing=spacing, preset=preset, seed=seed)
    row: dict[str, Any] = {}
    for name, image in (("raw", y.astype(float)), ("restored", np.asarray(result.image, float))):
        sums = [total(image, place) / total(truth, place) - 1 for place in PLACES]
        widths = [[width(image, place, axis) / width(truth, place, axis) - 1 for place in PLACES] for axis in (2, 0)]
        row[f"{name}: intensity"] = spread(sums)
        row[f"{name}: width X"], row[f"{name}: width Z"] = map(spread, widths)
    return {**row, "steps": [fit.best_step for fit in result.fits]}


def balls(diameter: float) -> Doubles:
    """Return balls of 1, each voxel the share of it that is inside one."""
    size = np.array([CONFOCAL.step, CONFOCAL.pixel, CONFOCAL.pixel])
    offsets = (np.arange(FINE) + 0.5) / FINE - 0.5
    whole = np.zeros(VOLUME)
    places = np.moveaxis(np.indices(VOLUME), 0, -1)
    for place in PLACES:
        for part in np.stack(np.meshgrid(offsets, offsets, offsets), -1).reshape(-1, 3):
            whole += ((((places + part - place) * size) ** 2).sum(-1) <= (diameter / 2) ** 2) / FINE**3
    return whole


def total(volume: Doubles, place: tuple[int, ...]) -> float:
    box = tuple(slice(at - half, at + half + 1) for at, half in zip(place, BOX, strict=True))
    part = volume[box]
    return float((part - np.median(volume)).sum())


def width(volume: Doubles, place: tuple[int, ...], axis: int) -> float:
    """Return the full width at half maximum of the profile through a bead's middle, in voxels."""
    box = [slice(at, at + 1) for at in place]
    box[axis] = slice(place[axis] - BOX[axis], place[axis] + BOX[axis] + 1)
    line = volume[tuple(box)].ravel() - np.median(volume)
    half, peak = line.max() / 2, int(line.argmax())
    ends = []
    for side in (line[peak::-1], line[peak:]):
        below = int(np.argmax(side < half))
        ends.append(below - 1 + (side[below - 1] - half) / (side[below - 1] - side[below]))
    return float(sum(ends))


def spread(errors: list[float]) -> str:
    return f"{100 * float(np.median(errors)):+.1f} % (largest {100 * float(np.abs(errors).max()):.1f} %)"


SCENES: dict[str, Callable[[str, int], dict[str, Any]]] = {
    "stars": stars,
    "stars above sky": partial(stars, is_floored=True),
    "bright stars": partial(stars, is_bright=True),
    "beads": beads,
    "beads above ground": partial(beads, is_floored=True),
    "large beads": partial(beads, ball=LARGE),
    "large beads above ground": partial(beads, ball=LARGE, is_floored=True),
    "bright beads": partial(beads, photons=10 * PHOTONS),
    "bright beads above ground": partial(beads, photons=10 * PHOTONS, is_floored=True),
}

if __name__ == "__main__":
    main()
