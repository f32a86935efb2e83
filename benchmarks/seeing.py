"""A real exposure through the air: M51, deconvolved with the Moffat profile of its own stars.

    python benchmarks/seeing.py DATA                   # `standard`, seed 0: where it is not there yet
    python benchmarks/seeing.py DATA --floor           # nowhere below the darkest percent of the exposure
    python benchmarks/seeing.py DATA --resolution 2    # a star is two pixels wide in the result
    python benchmarks/seeing.py DATA --finer           # in pixels of half the size, around one star
    python benchmarks/seeing.py DATA --preset quick --seed 1
    python benchmarks/seeing.py DATA --table

DATA is a folder with astro/M51.fits (600 s in B, NOAO 1987): pixel for pixel IRAF's standard test image, dev$pix.
The profile: a Moffat fitted to three stars at once, each with its own place, flux and even ground. Restored are
160 x 160 px that hold two of them and arms of the galaxy, and in small pixels 96 x 96 that hold one. Of each star,
before and after: the full width at half maximum of the Moffat profile that is nearest to it, and the light within 6 px
above the median of a ring of 8 to 11 px; of the whole, its brightest pixel, and how far it lies below the darkest
percent of the exposure at most. Resumable: written to benchmarks/results/seeing.json after each
run.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from records import opened, save
from scipy.optimize import least_squares

import napari_dip as dip

Doubles = npt.NDArray[np.float64]
Star = tuple[int, int]

RESULTS = Path(__file__).parent / "results" / "seeing.json"
STARS: tuple[Star, ...] = ((188, 346), (409, 441), (274, 403))
CORNER, SIDE = (140, 260), 160
FINER_CORNER, FINER_SIDE, FINER = (140, 298), 96, 2
WITHIN, FIELD, RING = 6.0, 10, (8.0, 11.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--floor", action="store_true", help="nowhere below the darkest percent of the exposure")
    parser.add_argument("--resolution", type=float, help="px: full width at half maximum of a point in the result")
    parser.add_argument("--finer", action="store_true", help="in pixels of half the size")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = opened(RESULTS, "runs")
    name = f"{options.preset} seed {options.seed}" + (" floor" if options.floor else "")
    name += "" if options.resolution is None else f" resolution {options.resolution:g}"
    name += " finer" if options.finer else ""
    if not options.table and name not in results["runs"]:
        results["runs"][name] = run(options)
        save(results, RESULTS)
    for name, row in results["runs"].items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items()))


def run(options: argparse.Namespace) -> dict[str, Any]:
    whole = fits.getdata(options.data / "astro" / "M51.fits").astype(float)
    psf = seeing(whole, STARS)
    corner, side = (FINER_CORNER, FINER_SIDE) if options.finer else (CORNER, SIDE)
    crop = whole[tuple(slice(first, first + side) for first in corner)]
    started = time.perf_counter()
    dark = float(np.percentile(crop, 1))
    floor = dark if options.floor else None
    task: dip.Deconvolve | dip.SuperResolve
    if options.finer:
        fine = dip.MoffatPSF(fwhm=FINER * psf.fwhm, beta=psf.beta)
        task = dip.SuperResolve(FINER, model=fine, resolution=options.resolution)
    else:
        task = dip.Deconvolve(model=psf, floor=floor, resolution=options.resolution)
    result = dip.restore(crop.astype(np.float32), task, preset=options.preset, seed=options.seed)
    row: dict[str, Any] = {"fwhm": round(psf.fwhm, 2), "beta": round(psf.beta, 2)}
    for star in STARS:
        row |= changes(crop, np.asarray(result.image, float), (star[0] - corner[0], star[1] - corner[1]), star)
    return {
        **row,
        "brightest": round(float(np.max(result.image))),
        "deepest below the darkest percent": round(max(0.0, dark - float(np.min(result.image)))),
        "steps": [fit.best_step for fit in result.fits],
        "seconds": round(time.perf_counter() - started),
        "notes": list(result.notes),
    }


def changes(before: Doubles, after: Doubles, place: Star, star: Star) -> dict[str, str]:
    """Return a star's width and light in the exposure and in the result; nothing where it is outside the crop."""
    if not all(RING[1] < at < n - RING[1] for at, n in zip(place, before.shape, strict=True)):
        return {}
    finer = after.shape[0] // before.shape[0]
    inside = (place[0] * finer + finer // 2, place[1] * finer + finer // 2)
    widths = seeing(before, (place,)).fwhm, seeing(after, (inside,)).fwhm / finer
    middle = (finer - 1) / 2  # of a measured pixel, in small ones from its first
    kept = light_of(after, (place[0] * finer + middle, place[1] * finer + middle), finer)
    light = light_of(before, place)
    return {f"star {star}": f"{widths[0]:.2f} -> {widths[1]:.2f} px, light {100 * (kept / light - 1):+.1f} %"}


def seeing(image: Doubles, stars: tuple[Star, ...]) -> dip.MoffatPSF:
    """Return the Moffat profile that is nearest to some stars."""
    parts = [image[y - FIELD : y + FIELD + 1, x - FIELD : x + FIELD + 1] for y, x in stars]

    def misfit(values: Doubles) -> Doubles:
        fwhm, beta, *rest = values
        scale = fwhm / 2 / math.sqrt(2 ** (1 / beta) - 1)
        away = np.mgrid[-FIELD : FIELD + 1, -FIELD : FIELD + 1]
        found = []
        for part, (y, x, height, ground) in zip(parts, np.reshape(rest, (-1, 4)), strict=True):
            model = ground + height * (1 + ((away[0] - y) ** 2 + (away[1] - x) ** 2) / scale**2) ** -beta
            found.append(((part - model) / np.sqrt(np.maximum(part, 1))).ravel())
        return np.concatenate(found)

    start = [3.0, 3.0] + [value for part in parts for value in (0.0, 0.0, float(part.max()), float(np.median(part)))]
    least = [0.5, 1.1] + [-2.0, -2.0, 0.0, -np.inf] * len(parts)
    fwhm, beta = least_squares(misfit, start, bounds=(least, np.inf), loss="soft_l1", x_scale=np.maximum(1, start)).x[
        :2
    ]
    return dip.MoffatPSF(fwhm=float(fwhm), beta=float(beta))


def light_of(image: Doubles, place: tuple[float, float], finer: int = 1) -> float:
    """Return what is within an aperture, above the median of a ring around it, in an image with smaller pixels."""
    rows, columns = np.indices(image.shape)
    far = np.hypot(rows - place[0], columns - place[1]) / finer
    ground = float(np.median(image[(far >= RING[0]) & (far <= RING[1])]))
    return float((image - ground)[far <= WITHIN].sum()) / finer**2


if __name__ == "__main__":
    main()
