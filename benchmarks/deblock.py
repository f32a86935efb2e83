"""JPEG of low quality, restored: PSNR and SSIM of the file, of `Deblock`, of its published variant, of total variation.

    python benchmarks/deblock.py DATA --size 96 --images barbara,monarch
    python benchmarks/deblock.py --table                # what benchmarks/results/deblock.json says

DATA is a folder with classic5/, live1/ and set14/. Centre crops are compressed by Pillow, colours with its default
subsampling, 4:2:0. Resumable: what the JSON has is not run again. Total variation has the weight that is best by the
truth, which nobody has. SSIM has the usual Gaussian window.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from records import opened, save
from skimage.metrics import structural_similarity
from skimage.restoration import denoise_tv_chambolle

import napari_dip as dip
from napari_dip.engine.problem import Array

RESULTS = Path(__file__).parent / "results" / "deblock.json"
IMAGES = {"barbara": "classic5/barbara.bmp", "monarch": "live1/monarch.bmp", "flowers": "set14/flowers.bmp"}
WEIGHTS = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--images", default=",".join(IMAGES))
    parser.add_argument("--quality", type=int, default=10)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = opened(options.results, "runs")
    if not options.table:
        measure(options, results)
    print(table(results["runs"]))


def measure(options: argparse.Namespace, results: dict[str, Any]) -> None:
    """Run what is not there yet, and write after each run."""
    for name in options.images.split(","):
        for mode, colours in (("L", "grey"), ("RGB", "colour")):
            truth = centre(np.array(Image.open(options.data / IMAGES[name]).convert(mode)), options.size)
            image = compressed(truth, options.quality)
            key = f"{name} {colours}, quality {options.quality}, {options.size} px"
            run = results["runs"].setdefault(key, {"JPEG": scores(image, truth)})
            if "TV" not in run:
                run["TV"] = max((scores(total_variation(image, w), truth) for w in WEIGHTS), key=lambda s: s["psnr"])
            for variant, task in (("Deblock", dip.Deblock()), ("identity", dip.Deblock(intervals=False))):
                for seed in map(int, options.seeds.split(",")):
                    if f"{variant} {seed}" not in run:
                        run[f"{variant} {seed}"] = scores(dip.restore(image, task, seed=seed).image, truth)
                    save(results, options.results)


def centre(image: Array, size: int) -> Array:
    top, left = ((n - size) // 2 for n in image.shape[:2])
    return image[top : top + size, left : left + size].copy()


def compressed(image: Array, quality: int) -> Array:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def total_variation(image: Array, weight: float) -> Array:
    channel_axis = -1 if image.ndim == 3 else None
    smooth = denoise_tv_chambolle(image / 255, weight=weight, channel_axis=channel_axis)
    return np.rint(255 * smooth).clip(0, 255)


def scores(image: Array, truth: Array) -> dict[str, float]:
    image, truth = image.astype(float), truth.astype(float)
    similarity = structural_similarity(
        image, truth, data_range=255, channel_axis=-1 if truth.ndim == 3 else None,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    psnr = 10 * np.log10(255**2 / np.mean((image - truth) ** 2))
    return {"psnr": round(float(psnr), 2), "ssim": round(float(similarity), 4)}


def table(runs: dict[str, Any]) -> str:
    """Return PSNR / SSIM of each method, the mean where there are several seeds."""
    names = ("JPEG", "TV", "identity", "Deblock")
    lines = [f"| image | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for key, run in runs.items():
        cells = []
        for name in names:
            found = [one for method, one in run.items() if method.split()[0] == name]
            psnr, ssim = (np.mean([one[kind] for one in found]) if found else np.nan for kind in ("psnr", "ssim"))
            cells.append(f"{psnr:.2f} / {ssim:.3f}")
        lines.append(f"| {key} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
