"""What a guide brings, and what of it is printed into the result: a scene with structure in one image only.

    python benchmarks/guided.py                  # Denoise and Guided at σ = 0.1 and 0.2 of the range: a few minutes

The target is a part of a portrait, with a bright disc that the guide has not; the guide is the same in other light,
with stripes that the target has not.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage import data

import napari_dip as dip

SIDE = 80  # px
STRIPES = 0.5  # contrast
DETAIL = 3.0  # px: standard deviation of the Gaussian over which stripes are compared


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sigma", type=float, nargs="+", default=[0.1, 0.2])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    one = scene()
    around = gaussian_filter(one.disc.astype(float), 1) > 0.01
    for sigma in options.sigma:
        rng = np.random.default_rng(options.seed)
        guide = one.guide + rng.normal(0, 0.01, one.guide.shape)
        noisy = one.target + rng.normal(0, sigma, one.target.shape)
        for task in (dip.Denoise(), dip.Guided(guide)):
            image = np.clip(dip.restore(noisy, task, seed=options.seed).image, 0, 1)
            pearson, share = transfer(image, one)
            print(
                f"σ {sigma:g} {type(task).__name__}: {psnr(image, one.target):.2f} dB, disc "
                f"{psnr(image[around], one.target[around]):.2f} dB, stripes {pearson:.3f} (Pearson), {share:.2%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
