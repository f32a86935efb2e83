"""Super-resolution of Set5's baby and butterfly beside other methods, and filling half of the pixels of a picture.

    python benchmarks/tasks.py DATA --images butterfly --factor 8
    python benchmarks/tasks.py DATA --images baby --size 512 --steps 500
    python benchmarks/tasks.py DATA --tasks inpaint --images house,barbara
    python benchmarks/tasks.py DATA --table         # what benchmarks/results/tasks.json says

DATA is a folder with set5/ and dip_released/. Super-resolution: the whole picture is made smaller by Pillow's Lanczos,
rounded to 8 bits, and the middle of that is restored: --size is its side after enlarging; PSNR of the luma, beside
cubic interpolation and the least total variation, whose weight is the best by the truth. Inpainting: the middle, of
that size, of the grey pictures of which half the pixels are missing, which are 0, beside the result that was published
for them. Resumable: what the JSON has is not run again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from records import opened, save

import napari_dip as dip
from napari_dip.engine.problem import Array
from napari_dip.engine.resample import degrader

RESULTS = Path(__file__).parent / "results" / "tasks.json"
METHODS = {"Lanczos": dip.Lanczos(), "Box": dip.Box(), "AntialiasedBicubic": dip.AntialiasedBicubic()}
WEIGHTS, STEPS = (0.00003, 0.0001, 0.0003, 0.001, 0.003), 500  # of total variation; the best by the truth counts
BEFORE, AFTER = 4, 5  # px that are left out at the top and left, and at the bottom and right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tasks", default="super-resolve", help="of: super-resolve, inpaint")
    parser.add_argument("--images", default="baby,butterfly")
    parser.add_argument("--factor", type=int, default=4)
    parser.add_argument(
        "--methods", default="Lanczos", help="degradations that the fit reckons with: " + ", ".join(METHODS)
    )
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--steps", type=int, help="of each phase of a super-resolution, at most")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = opened(options.results, "runs")
    if not options.table:
        for task in options.tasks.split(","):
            {"super-resolve": measure, "inpaint": fill}[task](options, results)
    for name, row in results["runs"].items():
        print(f"{name}: {row.get('psnr_y', row.get('psnr')):.2f} dB, {row.get('steps', '')} {row.get('ended', '')}")


def measure(options: argparse.Namespace, results: dict[str, Any]) -> None:
    for name in options.images.split(","):
        small, truth = pair(options.data / "set5" / f"{name}_GT.bmp", options.factor, options.size)
        about = f"{name} x{options.factor} {options.size}"
        cubic = np.asarray(Image.fromarray(small).resize(truth.shape[1::-1], Image.Resampling.BICUBIC))
        results["runs"].setdefault(f"{about} bicubic", {"psnr_y": psnr_y(cubic, truth)})
        if f"{about} TV" not in results["runs"]:
            images = [least_variation(small, cubic, weight) for weight in WEIGHTS]
            results["runs"][f"{about} TV"] = {"psnr_y": max(psnr_y(image, truth) for image in images)}
            save(results, options.results)
        for method in options.methods.split(","):
            for seed in options.seeds.split(","):
                key = f"{about} {method} {options.preset} {seed}"
                key += f", of each phase {options.steps} steps at most" if options.steps else ""
                if key not in results["runs"]:
                    results["runs"][key] = run(small, truth, options, method=method, seed=int(seed))
                    save(results, options.results)


def least_variation(small: Array, begin: Array, weight: float) -> Array:
    """Return what gives the small picture through Pillow's Lanczos filter and varies little, from a first guess on."""
    y, x = (torch.from_numpy(image / 255.0).float().permute(2, 0, 1) for image in (small, begin))
    forward = degrader(dip.Lanczos(), tuple(x.shape[1:]), tuple(y.shape[1:]))
    x = x.contiguous().requires_grad_()
    optimizer = torch.optim.Adam([x], 0.01)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - step / STEPS)
        down, across = x.diff(dim=1)[:, :, :-1], x.diff(dim=2)[:, :-1]
        variation = (down.square() + across.square() + 1e-6).sum(0).sqrt().sum()  # of all colours together
        optimizer.zero_grad()
        (0.5 * (forward(x) - y).square().sum() + weight * variation).backward()
        optimizer.step()
    image = x.detach().clamp(0, 1).permute(1, 2, 0).numpy()
    return np.rint(255 * image).astype(np.uint8)


def fill(options: argparse.Namespace, results: dict[str, Any]) -> None:
    """Fill what is missing of pictures whose restored ones were published."""
    for name in options.images.split(","):
        truth, masked, published = (
            middle(np.asarray(Image.open(options.data / "dip_released" / f"inpaint50_{name}_{kind}.png")), options.size)
            for kind in ("GT", "masked", "deep_prior")
        )
        about = f"inpaint {name} {options.size}"
        results["runs"].setdefault(f"{about} published", {"psnr": psnr(published, truth)})
        for seed in options.seeds.split(","):
            key = f"{about} {options.preset} {seed}"
            if key not in results["runs"]:
                started = time.perf_counter()
                result = dip.restore(masked, dip.Inpaint(masked == 0), preset=options.preset, seed=int(seed))
                results["runs"][key] = {"psnr": psnr(result.image, truth), **told(result, started)}
                save(results, options.results)


def middle(image: Array, side: int) -> Array:
    """Return the middle of a grey picture, of one with colours their first."""
    image = image if image.ndim == 2 else image[..., 0]
    top, left = (max(0, (n - side) // 2) for n in image.shape)
    return image[top : top + side, left : left + side]


def psnr(image: Array, truth: Array) -> float:
    return round(float(10 * np.log10(255**2 / np.mean((image.astype(float) - truth) ** 2))), 3)


def pair(path: Path, factor: int, size: int) -> tuple[Array, Array]:
    """Return the middle of a picture made smaller, and what it was made from, both RGB, uint8."""
    picture = Image.open(path).convert("RGB")
    picture = picture.crop((0, 0, *(n // factor * factor for n in picture.size)))
    small = np.asarray(picture.resize([n // factor for n in picture.size], Image.Resampling.LANCZOS))
    side = size // factor
    top, left = ((n - side) // 2 for n in small.shape[:2])
    part = small[top : top + side, left : left + side]
    rows, columns = (slice(factor * at, factor * (at + side)) for at in (top, left))
    return part, np.asarray(picture)[rows, columns]


def run(small: Array, truth: Array, options: argparse.Namespace, *, method: str, seed: int) -> dict[str, Any]:
    started = time.perf_counter()
    task = dip.SuperResolve(float(options.factor), METHODS[method])
    rule = dip.HeldOut(ceiling=options.steps, reveal=1.0) if options.steps else None
    result = dip.restore(small, task, preset=options.preset, stop=rule, seed=seed, axes="YXS")
    return {
        "psnr_y": psnr_y(result.image, truth),
        "misfit": max(result.fits[0].misfit),
        "given_back": result.fits[0].given_back,
        **told(result, started),
    }


def told(result: dip.Restoration, started: float) -> dict[str, Any]:
    """Return how long a run took, and where it ended."""
    report = result.report()
    seconds = round(time.perf_counter() - started, 1)
    return {"seconds": seconds, **{key: report[key] for key in ("steps", "best_step", "ended", "threads")}}


def psnr_y(image: Array, truth: Array) -> float:
    """Return the PSNR of the luma (BT.601, 16 to 235, peak 255), the border left out."""
    inner = slice(BEFORE, -AFTER)
    one, other = (16 + a[inner, inner].astype(float) @ (65.481, 128.553, 24.966) / 255 for a in (image, truth))
    return round(float(10 * np.log10(255**2 / np.mean((one - other) ** 2))), 3)


if __name__ == "__main__":
    main()
