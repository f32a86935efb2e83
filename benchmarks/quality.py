"""Quality of the presets and of other methods without training data, on the same arrays: PSNR, SSIM, seconds, steps.

    python benchmarks/quality.py DATA --sets colour --methods standard,bm3d --seeds 0,1,2
    python benchmarks/quality.py DATA --table           # what benchmarks/results/quality.json says

DATA is a folder with dip_released/, set12/ and micro_*/. Centre crops of 256 x 256 are measured (--size). Resumable:
what the JSON has is not run again; it is written after every run. Seconds mean something on an idle machine only.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import imageio.v3 as imageio
import numpy as np
import tifffile
from peers import PEERS
from records import opened, save
from skimage.metrics import structural_similarity

import napari_dip as dip
from napari_dip.engine.problem import Array

RESULTS = Path(__file__).parent / "results" / "quality.json"
WHITE = (25, 50)  # of 255: simulated noise
GREEN_ONLY = ("actin", "membrane")  # micrographs stored as colours of which one is used


class Case(NamedTuple):
    """A noisy image, the clean one, and how strong the noise is where that is known."""

    name: str
    noisy: Array  # (Y, X) or (Y, X, 3), float32
    clean: Array
    sigma: float | None
    others: dict[str, Array]  # results that others published for this array


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", default=",".join(SETS), help="of: " + ", ".join(SETS))
    parser.add_argument("--images", default="", help="only those, by name")
    parser.add_argument("--methods", default="standard", help="presets and peers: " + ", ".join(PEERS))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = opened(options.results, "sets")
    if not options.table:
        measure(options, results)
    print(tables(results))


def measure(options: argparse.Namespace, results: dict[str, Any]) -> None:
    for name in options.sets.split(","):
        for case in SETS[name](options.data, options.size):
            if options.images and case.name not in options.images.split(","):
                continue
            rows = results["sets"].setdefault(name, {}).setdefault(case.name, {})
            rows.setdefault("noisy", {"0": scores(case, case.noisy, name)})
            for other, image in case.others.items():
                rows.setdefault(other, {"0": scores(case, image, name)})
            for method in options.methods.split(","):
                for seed in options.seeds.split(","):
                    if method in PEERS and seed != "0":
                        continue
                    done = rows.setdefault(method, {})
                    if seed not in done:
                        done[seed] = run(case, method, int(seed), name)
                        save(results, options.results)
                        print(name, case.name, method, seed, done[seed]["psnr"], done[seed]["seconds"], flush=True)


def run(case: Case, method: str, seed: int, name: str) -> dict[str, Any]:
    """Return the scores of one method on one image."""
    started = time.perf_counter()
    if method in PEERS:
        image, notes = PEERS[method](case.noisy, case.clean if method.endswith("oracle") else None, case.sigma), {}
    else:
        result = dip.restore(case.noisy, preset=method, seed=seed, axes="YXS" if case.noisy.ndim == 3 else "YX")
        image = result.image
        report = result.report()
        notes = {key: report[key] for key in ("steps", "threads", "precision")}
        notes["best_steps"] = [fit.best_step for fit in result.fits]
        notes["pilot"] = list(result.fits[-1].pilot)
    seconds = time.perf_counter() - started
    return {**scores(case, image, name), "seconds": round(seconds, 1), **notes}


def scores(case: Case, image: Array, name: str) -> dict[str, float]:
    """Return PSNR and SSIM; of micrographs after the gain and offset that fit the clean image best."""
    image, clean = np.asarray(image, float), np.asarray(case.clean, float)
    span = 1.0
    if name == "micro":
        design = np.stack([image.ravel(), np.ones(image.size)], 1)
        solution = np.linalg.lstsq(design, clean.ravel(), rcond=None)[0]
        image = (design @ solution).reshape(clean.shape)
        low, high = np.percentile(clean, [0.1, 99.9])
        span = float(high - low)
    else:
        image = np.clip(image, 0, 1)
    error = float(np.mean((image - clean) ** 2))
    similar = structural_similarity(image, clean, data_range=span, channel_axis=-1 if image.ndim == 3 else None)
    kept = {"psnr": round(10 * np.log10(span**2 / error), 3), "ssim": round(float(similar), 4)}
    if name == "micro":
        kept["frc_loss"] = round(ring_loss(case, image), 3)
    return kept


def ring_loss(case: Case, image: Array, rings: int = 32) -> float:
    """Return the most by which the Fourier ring correlation with the clean image is under the noisy image's."""
    return float(np.max(ring_correlation(case.noisy, case.clean, rings) - ring_correlation(image, case.clean, rings)))


def ring_correlation(image: Array, clean: Array, rings: int) -> Array:
    """Return the correlation of two images' spectra in rings of equal width up to 0.5 cycles per pixel, (rings,)."""
    image, clean = (np.asarray(a, float).reshape(*a.shape[:2], -1) for a in (image, clean))
    window = np.hanning(image.shape[0])[:, None, None] * np.hanning(image.shape[1])[None, :, None]
    one, two = (np.fft.fft2((a - a.mean((0, 1))) * window, axes=(0, 1)) for a in (image, clean))
    radius = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in image.shape[:2]), indexing="ij"))
    ring = np.minimum((radius * 2 * rings).astype(int), rings)  # the corners are the last

    def summed(values: Array) -> Array:
        return np.bincount(ring.ravel(), values.sum(-1).ravel(), minlength=rings + 1)[:rings]

    return summed((one * two.conj()).real) / np.sqrt(summed(abs(one) ** 2) * summed(abs(two) ** 2) + 1e-30)


# ---------------------------------------------------------------------- images


def colour(data: Path, size: int) -> Iterator[Case]:
    """Yield the three noisy colour images, σ = 25, that the authors of the deep image prior published."""
    for name in ("F16", "hill", "kodim03"):

        def read(kind: str, name: str = name) -> Array:
            return centre(imageio.imread(data / "dip_released" / f"denoise25_{name}_{kind}.png")[..., :3], size) / 255

        others = {"released DIP": read("deep_prior"), "released CBM3D": read("bm3d")}
        yield Case(name, read("noisy"), read("GT"), 25 / 255, others)


def grey(data: Path, size: int) -> Iterator[Case]:
    """Yield grey images with simulated white noise, neither clipped nor rounded."""
    for path in sorted((data / "set12").glob("*.png")):
        clean = centre(imageio.imread(path), size) / 255
        for sigma in WHITE:
            noise = np.random.default_rng(int(path.stem)).normal(0, sigma / 255, clean.shape)
            yield Case(f"{path.stem} σ{sigma}", (clean + noise).astype(np.float32), clean, sigma / 255, {})


def micro(data: Path, size: int) -> Iterator[Case]:
    """Yield pairs of real micrographs: one exposure, and the mean of many or a better one."""
    pairs = {
        p.name.rsplit("_noisy", 1)[0]: (p, Path(str(p).replace("noisy", "clean")))
        for p in data.glob("micro_*/*_noisy.*")
    }
    for path in data.glob("micro_gigadb/*lowsnr*"):
        pairs[path.name.split("-")[0]] = (path, Path(str(path).replace("lowsnr", "highsnr")))
    for name, paths in sorted(pairs.items()):
        noisy, clean = (centre(read_any(path), size) for path in paths)
        if name in GREEN_ONLY:
            noisy, clean = noisy[..., 1], clean[..., 1]
        low, high = np.percentile(noisy, [0.1, 99.9])  # the peers want values of about 0 to 1
        yield Case(name, (noisy - low) / (high - low), clean, None, {})


def read_any(path: Path) -> Array:
    return tifffile.imread(path) if path.suffix == ".tif" else imageio.imread(path)


def centre(image: Array, size: int) -> Array:
    top, left = (max(0, (n - size) // 2) for n in image.shape[:2])
    return image[top : top + size, left : left + size].astype(np.float32)


SETS: dict[str, Callable[[Path, int], Iterator[Case]]] = {"colour": colour, "grey": grey, "micro": micro}


# ---------------------------------------------------------------------- tables


def tables(results: dict[str, Any]) -> str:
    return "\n\n".join(f"### {name}\n\n{table(rows)}" for name, rows in results["sets"].items())


def table(rows: dict[str, Any]) -> str:
    """Return PSNR by image and method, the mean over seeds and images, and the worst image against the noisy one."""
    methods = list(dict.fromkeys(method for row in rows.values() for method in row))
    lines = [f"| method | {' | '.join(rows)} | mean | SSIM | seconds | steps |", "|" + "---|" * (len(rows) + 5)]
    for method in methods:
        runs = [list(row.get(method, {}).values()) for row in rows.values()]
        cells = [cell([one["psnr"] for one in seeds]) for seeds in runs]
        complete = all(runs)

        def mean(key: str, runs: list[Any] = runs) -> float:
            known = [np.mean([one[key] for one in seeds]) for seeds in runs if seeds and key in seeds[0]]
            return float(np.mean(known)) if known else float("nan")

        last = [f"{mean('psnr'):.2f}" if complete else "", f"{mean('ssim'):.3f}" if complete else ""]
        last += [f"{mean(key):.0f}" if np.isfinite(mean(key)) else "" for key in ("seconds", "steps")]
        lines.append(f"| {method} | {' | '.join([*cells, *last])} |")
    return "\n".join(lines)


def cell(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{spread}"


if __name__ == "__main__":
    main()
