"""What a guide brings, and what of it is printed into the result: a scene with structure in one image only.

    python benchmarks/guided.py                  # Denoise and Guided at σ = 0.1 and 0.2 of the range: a few minutes
    python benchmarks/guided.py --flash FOLDER   # and a real pair, with and without flash

The target is a part of a portrait, with a bright disc that the guide has not; the guide is the same in other light,
with stripes that the target has not; or it is another picture altogether. Of the real pair, which has no truth, the
noise that is left in flat blocks is measured. Resumable: what the JSON has is not run again.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
from records import opened, save
from scipy.ndimage import gaussian_filter
from skimage import data

import napari_dip as dip

SIDE = 80  # px
STRIPES = 0.5  # contrast
RESULTS = Path(__file__).parent / "results" / "guided.json"
CAVE = np.s_[40:296, 330:586]  # of the real pair: jugs, the shadows that they throw in the light of the flash
DETAIL = 3.0  # px: standard deviation of the Gaussian over which stripes are compared


Figures = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Scene:
    """A target and its guide, (Y, X), and what either has alone."""

    target: np.ndarray
    guide: np.ndarray
    disc: np.ndarray  # where the target alone has something
    stripes: np.ndarray  # what the guide alone has


def scene() -> Scene:
    colours = data.astronaut()[40 : 40 + 2 * SIDE : 2, 160 : 160 + 2 * SIDE : 2] / 255
    rows, columns = np.mgrid[:SIDE, :SIDE]
    disc = (rows - 60) ** 2 + (columns - 18) ** 2 < 64
    target = np.where(disc, 0.85, 0.15 + 0.7 * colours[..., 0])
    stripes = np.zeros((SIDE, SIDE))
    stripes[20:50:6, 50:75] = stripes[12:40, 8:11] = STRIPES
    light = 1.2 - 0.7 * np.hypot(rows - 40, columns - 40) / 57
    return Scene(target, colours.mean(-1) * light + stripes, disc, stripes)


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((image - truth) ** 2)))


def transfer(image: np.ndarray, one: Scene) -> tuple[float, float]:
    """Return Pearson's correlation of the error with the stripes, around them, and the share of their contrast."""
    error, stripes = (a - gaussian_filter(a, DETAIL) for a in (image - one.target, one.stripes))
    near = gaussian_filter(one.stripes, 2) > 0.01
    error, stripes = error[near], stripes[near]
    return float(np.corrcoef(error, stripes)[0, 1]), float((error * stripes).sum() / (stripes**2).sum())


def portrait(seed: int, sigma: float) -> Figures:
    """Return what a guide brings where it has structure of its own, beside what there is without it."""
    one, figures = scene(), {}
    around = gaussian_filter(one.disc.astype(float), 1) > 0.01
    rng = np.random.default_rng(seed)
    guide = one.guide + rng.normal(0, 0.01, one.guide.shape)
    noisy = one.target + rng.normal(0, sigma, one.target.shape)
    for task in (dip.Denoise(), dip.Guided(guide)):
        image = np.clip(dip.restore(noisy, task, seed=seed).image, 0, 1)
        pearson, share = transfer(image, one)
        figures[type(task).__name__] = {
            "dB": round(psnr(image, one.target), 2),
            "disc dB": round(psnr(image[around], one.target[around]), 2),
            "stripes": round(pearson, 3),
            "share of the stripes": round(share, 4),
        }
    return figures


def independent(seed: int, sigma: float) -> Figures:
    """Return how much of a guide that has nothing to do with the target is in the result, as Pearson's correlation."""
    cup = data.coffee()[100 : 100 + 2 * SIDE : 2, 250 : 250 + 2 * SIDE : 2].mean(-1) / 255
    truth = scene().target
    noisy = truth + np.random.default_rng([seed, 1]).normal(0, sigma, truth.shape)
    image = dip.restore(noisy, dip.Guided(cup), seed=seed).image
    alone = dip.restore(noisy, seed=seed).image

    def common(one: np.ndarray, high: bool = False) -> float:
        pair = (a - gaussian_filter(a, DETAIL) if high else a for a in (one, cup))
        return float(np.corrcoef(*(a.ravel() for a in pair))[0, 1])

    return {
        "Pearson, output - truth": round(common(image) - common(truth), 4),
        "without it": round(common(alone) - common(truth), 4),
        "fine detail: output - truth": round(common(image, True) - common(truth, True), 4),
        "fine detail, without it": round(common(alone, True) - common(truth, True), 4),
        "dB": round(psnr(image, truth), 2),
        "dB without it": round(psnr(alone, truth), 2),
    }


def flash(folder: Path, seed: int, pictures: Path | None) -> Figures:
    """Return how much of the noise of flat blocks is left in a part of a photograph in dim light, guided by flash."""
    guide, noisy = (
        imageio.imread(folder / f"flash_no_flash_cave01_0{kind}.jpg")[CAVE] for kind in ("0_flash", "1_noflash")
    )
    result = dip.restore(noisy, dip.Guided(guide), seed=seed)
    if pictures is not None:
        imageio.imwrite(pictures / "flash.png", np.concatenate([noisy, guide, result.image], 1))
    before, after = (_unevenness(image.astype(float)) for image in (noisy, result.image))
    calm = _unevenness(gaussian_filter(guide.astype(float), (1, 1, 0))).mean(-1)
    flat = calm <= np.quantile(calm, 0.2)
    share = after[flat] / before[flat]
    return {
        "flat blocks": int(flat.sum()),
        "noise left, median": round(float(np.median(share)), 3),
        "95 %": round(float(np.quantile(share, 0.95)), 3),
        "notes": list(result.notes),
    }


def _unevenness(image: np.ndarray, side: int = 16) -> np.ndarray:
    """Return the standard deviation of each block about a plane through it, (blocks, C)."""
    rows, columns = (n // side for n in image.shape[:2])
    blocks = image[: rows * side, : columns * side].reshape(rows, side, columns, side, -1)
    blocks = blocks.transpose(0, 2, 1, 3, 4).reshape(rows * columns, side * side, -1)
    down, right = np.mgrid[:side, :side].reshape(2, -1) - (side - 1) / 2
    plane = np.stack([np.ones(side * side), down, right], 1)
    fitted = plane @ np.linalg.lstsq(plane, blocks.transpose(1, 0, 2).reshape(side * side, -1), rcond=None)[0]
    left = blocks.transpose(1, 0, 2).reshape(side * side, -1) - fitted
    return left.std(0).reshape(len(blocks), -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sigma", type=float, nargs="+", default=[0.1, 0.2])
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--flash", type=Path, help="folder with flash_no_flash_cave01_*.jpg")
    parser.add_argument("--pictures", type=Path, help="folder for what is restored of them, to look at")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    results = opened(options.results, "runs")
    for seed in map(int, options.seeds.split(",")):
        work = {f"{kind} {sigma:g}, seed {seed}": (kind, sigma) for kind in CASES for sigma in options.sigma}
        for name, (kind, sigma) in work.items():
            if name not in results["runs"]:
                results["runs"][name] = CASES[kind](seed, sigma)
                save(results, options.results)
        if options.flash and f"flash, seed {seed}" not in results["runs"]:
            results["runs"][f"flash, seed {seed}"] = flash(options.flash, seed, options.pictures)
            save(results, options.results)
    for name, figures in results["runs"].items():
        print(f"{name}: {figures}")


CASES = {"portrait": portrait, "independent": independent}

if __name__ == "__main__":
    main()
