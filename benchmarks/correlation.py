"""How often noise is taken for correlated, on photographs and textures with white and with correlated noise added.

    python benchmarks/correlation.py DATA           # writes benchmarks/results/correlation.json, prints the table

DATA is a folder with set5/, set9/, set12/, set14/, kodak24/, cbsd68/, classic5/ and live1/; the textures are
scikit-image's. Two crops of 256 x 256 of each image; and of the photographs in all their colours three crops of each of
three sizes. Takes a minute and a half.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import skimage.data
import torch
from scipy.ndimage import convolve, gaussian_filter

from napari_dip.engine.correlation import autocorrelation
from napari_dip.engine.problem import Array

RESULTS = Path(__file__).parent / "results" / "correlation.json"
SETS = ("set5", "set9", "set12", "set14", "kodak24", "cbsd68", "classic5", "live1")
TEXTURES = (
    "camera", "astronaut", "coins", "brick", "grass", "gravel", "immunohistochemistry", "moon", "page", "text",
    "hubble_deep_field", "coffee", "chelsea", "rocket", "retina",
)  # fmt: skip
SIGMAS = (0, 2, 5, 10, 15, 25, 50)  # of 255
SIZE = 256
SIZES = (128, 192, 256)
WHITE = (2, 5, 8, 15, 25)  # of 255


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    crops = list(images(data))
    found = {
        kind: {sigma: sum(is_correlated(crop + sigma * noise) for crop in crops) for sigma in SIGMAS}
        for kind, noise in noises().items()
    }
    colours = [is_correlated(image) for image in noisy_colours(data)]
    told = {"crops": len(colours), "taken for correlated": sum(colours)}
    RESULTS.write_text(json.dumps({"crops": len(crops), "taken for correlated": found, "in colours": told}, indent=1))
    print(f"| noise, of {len(crops)} crops | " + " | ".join(f"σ {sigma}" for sigma in SIGMAS) + " |")
    print("|" + "---|" * (1 + len(SIGMAS)))
    for kind, counts in found.items():
        print(f"| {kind} | " + " | ".join(map(str, counts.values())) + " |")
    print(f"\nIn colours, white noise: {sum(colours)} of {len(colours)}")


def images(data: Path) -> Iterator[Array]:
    """Yield crops, (SIZE, SIZE), 0 to 255; of colours the green."""
    files = sorted(path for name in SETS for path in (data / name).iterdir() if path.suffix in (".png", ".bmp"))
    whole = [imageio.imread(path) for path in files] + [getattr(skimage.data, name)() for name in TEXTURES]
    for image in whole:
        green = (image if image.ndim == 2 else image[..., 1]).astype(np.float32)
        green = green if green.max() > 1 else 255 * green
        top, left = ((n - SIZE) // 2 for n in green.shape)
        if min(top, left) >= 0:
            yield green[top : top + SIZE, left : left + SIZE]
            yield green[:SIZE, :SIZE]


def noisy_colours(data: Path) -> Iterator[Array]:
    """Yield crops with white noise, (Y, X) or (Y, X, 3), 0 to 255."""
    rng = np.random.default_rng(5)
    files = sorted(path for name in SETS for path in (data / name).iterdir() if path.suffix in (".png", ".bmp"))
    for image, size in ((imageio.imread(path).astype(np.float32), size) for path in files for size in SIZES):
        rows, columns = (n - size for n in image.shape[:2])
        for top, left in ((rows // 2, columns // 2), (0, 0), (rows, columns)) if min(rows, columns) >= 0 else ():
            crop = image[top : top + size, left : left + size]
            yield from (crop + sigma * rng.normal(size=crop.shape) for sigma in WHITE)


def noises() -> dict[str, Array]:
    """Return noise of variance 1, (SIZE, SIZE), by kind."""
    rng = np.random.default_rng(1)
    white = rng.normal(size=(SIZE, SIZE))
    every_other = rng.normal(size=white.shape) * (np.indices(white.shape).sum(0) % 2)
    kinds = {
        "white": white,
        "demosaiced green": convolve(every_other, np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4, mode="wrap"),
        "scanned lines": gaussian_filter(white, (0, 0.6), mode="wrap"),
        "smoothed": gaussian_filter(white, 0.7, mode="wrap"),
    }
    return {kind: noise / noise.std() for kind, noise in kinds.items()}


def is_correlated(image: Array) -> bool:
    y = torch.from_numpy(np.atleast_3d(image).astype(np.float32)).permute(2, 0, 1) / 255
    return autocorrelation(y, torch.ones_like(y, dtype=torch.bool)) is not None


if __name__ == "__main__":
    main()
