"""What may be measured on a restored image: fluxes, false structure, error bars, outliers, channels, noise parameters.

    python benchmarks/trust.py DATA --cases stars,flat,coverage --seeds 0,1,2
    python benchmarks/trust.py DATA --table             # what benchmarks/results/trust.json says

DATA is a folder with set14/, kodak24/ and cbsd68/, for `coverage`, `draws`, `noise`, `frames` and `stripes`. Scenes are
simulated, so the truth is known. Resumable: what the JSON has is not run again; it is written after every run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import torch
from peers import nlm, tv
from records import opened, save
from scipy.ndimage import gaussian_filter, label, uniform_filter
from scipy.stats import spearmanr

import napari_dip as dip
from napari_dip.engine.blocks import Axes, Missing, measure_scale
from napari_dip.engine.exposures import noise_of_series
from napari_dip.engine.noise import record_of
from napari_dip.engine.problem import Array
from napari_dip.engine.stripes import stripes_of

RESULTS = Path(__file__).parent / "results" / "trust.json"
Figures = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = opened(options.results, "cases")
    if not options.table:
        for seed in map(int, options.seeds.split(",")):
            for case in options.cases.split(","):
                for name, work in CASES[case](options.data, seed).items():
                    rows = results["cases"].setdefault(case, {}).setdefault(name, {})
                    if str(seed) not in rows:
                        started = time.perf_counter()
                        rows[str(seed)] = {**work(), "seconds": round(time.perf_counter() - started)}
                        save(results, options.results)
                        print(case, name, seed, rows[str(seed)], flush=True)
    print(table(results["cases"]))


def table(cases: Figures) -> str:
    """Return the figures of each case as means over the seeds; lists are left out."""
    parts = []
    for case, rows in cases.items():
        keys = list(dict.fromkeys(key for seeds in rows.values() for one in seeds.values() for key in one))
        lines = [f"### {case}", "", f"| | seeds | {' | '.join(keys)} |", "|" + "---|" * (len(keys) + 2)]
        for name, seeds in rows.items():
            cells = [_cell([one[key] for one in seeds.values() if one.get(key) is not None]) for key in keys]
            lines.append(f"| {name} | {len(seeds)} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _cell(values: list[Any]) -> str:
    numbers = [value for value in values if isinstance(value, (int, float))]
    return f"{np.mean(numbers):.4g}" if numbers else ""


# ---------------------------------------------------------------------- stars


def stars(data: Path, seed: int) -> dict[str, Callable[[], Figures]]:
    return {"Moffat": lambda: star_field(seed)}


def star_field(seed: int, side: int = 256, count: int = 200) -> Figures:
    """Return flux bias and scatter by S/N, of the restored image and of raw apertures, and the bias of the sky."""
    rng = np.random.default_rng([seed, 1])
    down, right = np.mgrid[:side, :side]
    sky = 150 + 100 * (down + right) / (2 * side)
    places = _apart(rng, side, count, 13.0)
    variance = np.pi * 4**2 * (sky.mean() + 25)  # of an aperture without a star
    wanted = 10 ** rng.uniform(np.log10(3), np.log10(200), len(places))
    fluxes = wanted * (wanted + np.sqrt(wanted**2 + 4 * variance)) / 2  # F / √(F + variance) = S/N
    clean = sky.copy()
    width = 3.0 / (2 * np.sqrt(2 ** (1 / 3) - 1))  # Moffat, FWHM of 3 px, β = 3
    for (y, x), flux in zip(places, fluxes, strict=True):
        clean += flux * 2 / (np.pi * width**2) * (1 + ((down - y) ** 2 + (right - x) ** 2) / width**2) ** -3.0
    noisy = rng.poisson(clean) + rng.normal(0, 5, clean.shape)
    result = dip.restore(noisy.astype(np.float32), seed=seed)
    true, raw, restored = (
        np.array([aperture(image, y, x) for y, x in places]) for image in (clean, noisy, result.image)
    )
    figures: Figures = {}
    for name, low, high in (("20+", 20, np.inf), ("10-20", 10, 20), ("3-10", 3, 10)):
        of = (wanted >= low) & (wanted < high)
        for kind, measured in (("restored", restored), ("raw", raw)):
            relative = measured[of] / true[of] - 1
            spread = np.subtract(*np.percentile(relative, [84.1, 15.9])) / 2
            figures[f"{kind} bias % {name}"] = round(100 * float(np.median(relative)), 3)
            figures[f"{kind} scatter % {name}"] = round(100 * float(spread), 3)
    ground = clean - sky < 0.5
    figures["sky bias σ"] = round(float(np.median((result.image - clean)[ground] / np.sqrt(clean + 25)[ground])), 4)
    return {**figures, "stars": len(places)}


def aperture(image: Array, y: float, x: float, radius: float = 4.0) -> float:
    """Return the flux in a circle, the median of a ring around it subtracted."""
    down, right = np.mgrid[: image.shape[0], : image.shape[1]]
    distance = np.hypot(down - y, right - x)
    inside, ring = distance <= radius, (distance > radius + 1.5) & (distance <= radius + 3.5)
    return float((image[inside] - np.median(image[ring])).sum())


def _apart(rng: np.random.Generator, side: int, count: int, distance: float) -> list[tuple[float, float]]:
    """Return places that are so far from each other and from the border, as many as fit."""
    places: list[tuple[float, float]] = []
    for _ in range(100 * count):
        y, x = rng.uniform(9, side - 9, 2)
        if all(np.hypot(y - a, x - b) >= distance for a, b in places):
            places.append((float(y), float(x)))
        if len(places) == count:
            break
    return places


# ---------------------------------------------------------------------- flat fields


def flat(data: Path, seed: int) -> dict[str, Callable[[], Figures]]:
    return {"white": lambda: flat_field(seed, 0), "3 x 3 mean": lambda: flat_field(seed, 3)}


def flat_field(seed: int, size: int, side: int = 128) -> Figures:
    """Return what is left of the noise of an even field of 100 electrons, and whether it looks like structure."""
    rng = np.random.default_rng([seed, 2])
    noisy = rng.poisson(100.0, (side, side)) + rng.normal(0, 3, (side, side))
    noisy = uniform_filter(noisy, size, mode="wrap") if size else noisy
    result = dip.restore(noisy.astype(np.float32), seed=seed)
    sigma = noisy.std()
    patches, count = label(np.abs(result.image - 100) > 0.5 * sigma)
    large = sum(np.bincount(patches.ravel())[1:] >= 5) if count else 0
    left = float((result.image - 100).std() / sigma)
    return {"left σ": round(left, 4), "patches of 5 px": int(large), "warned": int("correlated" in str(result.notes))}


# ---------------------------------------------------------------------- error bars

SCENES = {  # of no image that anything was fitted to; two are taken as grey ones
    "kodim20": ("kodak24/kodim20.png", False),
    "flowers": ("set14/flowers.bmp", False),
    "175032": ("cbsd68/175032.png", True),
    "comic": ("set14/comic.bmp", True),
}


def crop(data: Path, name: str, side: int = 128) -> Array:
    file, is_grey = SCENES[name]
    image = imageio.imread(data / file)[..., :3].astype(float) / 255
    top, left = (max(0, (n - side) // 2) for n in image.shape[:2])
    image = image[top : top + side, left : left + side]
    return image.mean(-1) if is_grey else image


def noised(clean: Array, kind: str, rng: np.random.Generator) -> Array:
    if kind == "white":
        return (clean + rng.normal(0, 25 / 255, clean.shape)).astype(np.float32)
    return ((rng.poisson(clean * 40) + rng.normal(0, 2, clean.shape)) / 40).astype(np.float32)


def coverage(data: Path, seed: int) -> dict[str, Callable[[], Figures]]:
    return {f"{name} {kind}": _covered(data, name, kind, seed) for name in SCENES for kind in ("white", "shot")}


def _covered(data: Path, name: str, kind: str, seed: int) -> Callable[[], Figures]:
    def work() -> Figures:
        clean = crop(data, name)
        noisy = noised(clean, kind, np.random.default_rng([seed, 3]))
        result = dip.restore(noisy, seed=seed, members=32)
        return covered(result, clean)

    return work


def covered(result: dip.Restoration, clean: Array) -> Figures:
    """Return how often the truth lies within the intervals, and whether the error bars follow the errors."""
    if result.std is None:
        return {"refused": result.fits[-1].no_std}
    image, std, members = (
        np.asarray(a, float).reshape(*a.shape[: a.ndim - clean.ndim], *clean.shape[:2], -1)
        for a in (result.image, result.std, result.members)
    )
    clean = clean.reshape(image.shape)
    z = np.abs(image - clean) / std
    steep = np.hypot(*np.gradient(gaussian_filter(image.mean(-1), 1)))
    top, edge = image >= np.quantile(image, 0.95), steep >= np.quantile(steep, 0.95)
    error, own = (np.sqrt(blocks(a**2, 8) / 64) for a in (image - clean, std))
    sums, truths, each = (blocks(a, 5) for a in (image, clean, members))
    return {
        "68": round(float((z < 1).mean()), 4),
        "95": round(float((z < 1.96).mean()), 4),
        "95 bright": round(float((z[top] < 1.96).mean()), 4),
        "95 steep": round(float((z[edge] < 1.96).mean()), 4),
        "Spearman": round(float(spearmanr(error.ravel(), own.ravel())[0]), 3),
        "sums' z": round(float(((sums - truths) / (each - sums).std(0)).std()), 3),
        "psnr": round(float(-10 * np.log10(np.mean((image - clean) ** 2))), 2),
    }


def blocks(image: Array, size: int) -> Array:
    """Return the sums over squares of so many pixels, (..., Y, X, C)."""
    rows, columns = (n // size * size for n in image.shape[-3:-1])
    cut = image[..., :rows, :columns, :]
    shape = (*image.shape[:-3], rows // size, size, columns // size, size, image.shape[-1])
    return cut.reshape(shape).sum((-4, -2))


def draws(data: Path, seed: int) -> dict[str, Callable[[], Figures]]:
    return {name: _apart_draws(data, name, seed) for name in ("175032", "flowers")}


def _apart_draws(data: Path, name: str, seed: int) -> Callable[[], Figures]:
    def work() -> Figures:
        """Return how many pixels of two restorations of one scene differ by more than five standard deviations."""
        clean = crop(data, name)
        one, other = (
            dip.restore(noised(clean, "shot", np.random.default_rng([seed, 4, n])), seed=seed) for n in (0, 1)
        )
        z = np.abs(one.image - other.image) / np.hypot(one.std, other.std)
        return {f"% over {limit} σ": round(100 * float((z > limit).mean()), 4) for limit in (3, 5)}

    return work


# ---------------------------------------------------------------------- outliers


def outliers(data: Path, seed: int) -> dict[str, Callable[[], Figures]]:
    return {"spots and rays": lambda: spots_and_rays(seed)}


def spots_and_rays(seed: int, side: int = 256, count: int = 200) -> Figures:
    """Return how many spots of FWHM 1.5 px and S/N 10 are kept, and how many of as many rays are found and replaced."""
    rng = np.random.default_rng([seed, 5])
    down, right = np.mgrid[:side, :side]
    noise, width = 125**0.5, 1.5 / 2.3548
    places = _apart(rng, side, 2 * count, 8.0)
    spots, hits = places[:count], places[count : 2 * count]
    clean = np.full((side, side), 100.0)
    for y, x in spots:
        clean += 10 * noise * np.exp(-0.5 * ((down - y) ** 2 + (right - x) ** 2) / width**2)
    noisy = rng.poisson(clean) + rng.normal(0, 5, clean.shape)
    owner = np.zeros(clean.shape, int)
    for number, (y, x) in enumerate(hits, 1):
        angle, strength = rng.uniform(0, np.pi), noise * rng.uniform(10, 100)
        for step in range(rng.integers(1, 5)):
            at = round(y + step * np.sin(angle)), round(x + step * np.cos(angle))
            noisy[at] += strength
            owner[at] = number
    result = dip.restore(noisy.astype(np.float32), outliers=dip.Outliers(), seed=seed)
    flags = np.asarray(result.outliers)
    left = np.abs(result.image - clean)[owner > 0] / noise
    peaks = [(round(y), round(x)) for y, x in spots]
    ratio = np.array([(result.image[at] - 100) / (clean[at] - 100) for at in peaks])
    figures = {
        "rays found %": 100 * np.mean([flags[owner == number].all() for number in range(1, len(hits) + 1)]),
        "ray pixels left over 3 σ %": round(100 * float((left > 3).mean()), 2),
        "spots flagged %": 100 * np.mean([flags[y - 1 : y + 2, x - 1 : x + 2].any() for y, x in peaks]),
        "spots kept at half height %": 100 * float((ratio > 0.5).mean()),
        "peak median": round(float(np.median(ratio)), 4),
        "peaks within 5 % %": 100 * float((np.abs(ratio - 1) < 0.05).mean()),
    }
    return {**{key: round(float(value), 3) for key, value in figures.items()}, **_astroscrappy(noisy, owner, peaks)}


def _astroscrappy(noisy: Array, owner: Array, peaks: list[tuple[int, int]]) -> Figures:
    """Return the same of L.A.Cosmic, where it is installed."""
    try:
        import astroscrappy
    except ImportError:
        return {}
    flags, _ = astroscrappy.detect_cosmics(noisy.astype(np.float32), gain=1.0, readnoise=5.0, sigclip=4.5, objlim=5.0)
    found = [flags[owner == number].all() for number in np.unique(owner)[1:]]
    hit = [flags[y - 1 : y + 2, x - 1 : x + 2].any() for y, x in peaks]
    return {
        "L.A.Cosmic: rays found %": round(100 * float(np.mean(found)), 3),
        "L.A.Cosmic: spots flagged %": round(100 * float(np.mean(hit)), 3),
    }


# ---------------------------------------------------------------------- channels, range, noise


def channels(data: Path, seed: int) -> dict[str, Callable[[], Figures]]:
    return {"100 to 1": lambda: two_channels(seed)}


def two_channels(seed: int, side: int = 128) -> Figures:
    """Return what joint restoration prints of one channel into the other, and what it costs each."""
    rng = np.random.default_rng([seed, 6])
    one, two = (gaussian_filter(rng.normal(size=(side, side)), s) for s in (3, 2))
    one, two = ((np.abs(a / a.std()) < 0.5).astype(float) for a in (one, two))  # threads, and other threads
    clean = np.stack([2 + 20 * gaussian_filter(one, 1), 200 + 2000 * gaussian_filter(two, 1)])
    noisy = (rng.poisson(clean) + rng.normal(0, 2, clean.shape)).astype(np.float32)
    both = dip.restore(noisy, axes="CYX", seed=seed)
    solo = np.stack([dip.restore(channel, seed=seed).image for channel in noisy])

    def psnr(image: Array) -> Array:
        return 10 * np.log10(np.ptp(clean, (1, 2)) ** 2 / ((image - clean) ** 2).mean((1, 2)))

    def pearson(image: Array) -> float:
        return float(np.corrcoef(image[0].ravel(), image[1].ravel())[0, 1])

    gain = psnr(both.image) - psnr(solo)
    return {
        "Pearson, output - truth": round(pearson(both.image) - pearson(clean), 4),
        "Pearson, solo - truth": round(pearson(solo) - pearson(clean), 4),
        "dim: joint - solo dB": round(float(gain[0]), 3),
        "bright: joint - solo dB": round(float(gain[1]), 3),
    }


def span(data: Path, seed: int) -> dict[str, Callable[[], Figures]]:
    return {"10^5 to 1": lambda: wide_range(seed)}


def wide_range(seed: int, side: int = 192) -> Figures:
    """Return the relative error in each decade of intensity, of the restored image and of two peers."""
    rng = np.random.default_rng([seed, 7])
    field = gaussian_filter(rng.normal(size=(side, side)), 6)
    clean = 10 ** (5 * (field - field.min()) / np.ptp(field))
    noisy = (rng.poisson(clean) + rng.normal(0, 3, clean.shape)).astype(np.float32)
    result = dip.restore(noisy, seed=seed)
    low, high = np.percentile(noisy, [0.1, 99.9])
    scaled = (noisy - low) / (high - low)
    images = {"restored": result.image, "raw": noisy}
    images |= {name: peer(scaled, None, None) * (high - low) + low for name, peer in (("NLM", nlm), ("TV", tv))}
    figures: Figures = {}
    for name, image in images.items():
        for decade in range(5):
            of = (clean >= 10**decade) & (clean < 10 ** (decade + 1))
            relative = np.sqrt(np.mean(((image - clean)[of] / clean[of]) ** 2))
            figures[f"{name} 10^{decade}"] = float(f"{relative:.3g}")
        one, two = (np.arcsinh(np.asarray(a, float) / 3) for a in (image, clean))
        figures[f"{name} asinh dB"] = round(float(10 * np.log10(np.ptp(two) ** 2 / np.mean((one - two) ** 2))), 2)
    return figures


def noise(data: Path, seed: int) -> dict[str, Callable[[], Figures]]:
    settings = {"1, 3": (1.0, 3.0), "0.5, 8": (0.5, 8.0), "4, 20": (4.0, 20.0)}
    return {
        f"{name}: gain, read noise {text}": _parameters(data, name, *values, seed)
        for name in ("175032", "comic", "kodim20")
        for text, values in settings.items()
    }


def _parameters(data: Path, name: str, gain: float, read_noise: float, seed: int) -> Callable[[], Figures]:
    def work() -> Figures:
        """Return gain and read noise told from one image, relative to the true ones."""
        image = crop(data, name, 256)
        electrons = 300 * (image.mean(-1) if image.ndim == 3 else image)
        rng = np.random.default_rng([seed, 8])
        y = gain * rng.poisson(electrons) + rng.normal(0, read_noise, electrons.shape)
        told = dip.estimate_noise(torch.from_numpy(y.astype(np.float32))[None])
        assert told is not None
        read = float(told.floor.clamp(min=0).sqrt())
        expected = float(np.sqrt(np.mean(gain**2 * electrons + read_noise**2)))
        return {
            "gain": round(float(told.gain) / gain, 3),
            "read noise": round(read / read_noise, 3),
            "mean σ": round(float(told.mean.sqrt()) / expected, 3),
        }

    return work


def frames(data: Path, seed: int) -> dict[str, Callable[[], Figures]]:
    settings = {"1, 3": (1.0, 3.0), "0.5, 8": (0.5, 8.0), "4, 20": (4.0, 20.0)}
    return {
        f"{name}: gain, read noise {text}, {count} frames": _of_frames(data, name, *values, seed, count)
        for name in ("175032", "comic", "kodim20")
        for text, values in settings.items()
        for count in (2, 3, 10)
    }


def _of_frames(data: Path, name: str, gain: float, read_noise: float, seed: int, count: int) -> Callable[[], Figures]:
    def work() -> Figures:
        """Return gain and read noise told from frames of one scene, relative to the true ones."""
        image = crop(data, name, 256)
        electrons = 300 * (image.mean(-1) if image.ndim == 3 else image)
        rng = np.random.default_rng([seed, 9])
        y = gain * rng.poisson(np.stack([electrons] * count)) + rng.normal(0, read_noise, (count, *electrons.shape))
        axes = Axes("TYX", y.shape)
        scale = measure_scale(y, axes, Missing(axes))
        told = noise_of_series(y, axes, Missing(axes), scale)
        if told is None:
            return {"found": 0}
        record = record_of(told.noise, offset=scale.offset, gain=scale.gain, source="")
        read = max(0.0, record.at_zero[0]) ** 0.5
        return {
            "found": 1,
            "gain": round(record.slope[0] / gain, 3),
            "read noise": round(read / read_noise, 3),
        }

    return work


def stripes(data: Path, seed: int) -> dict[str, Callable[[], Figures]]:
    return {f"{name}, σ {sigma}": _striped(data, name, sigma, seed) for name in SCENES for sigma in (8, 25)}


def _striped(data: Path, name: str, sigma: float, seed: int) -> Callable[[], Figures]:
    def work() -> Figures:
        """Return how far the told offsets of rows, half as strong as the noise, are off; and what is told of none."""
        image = crop(data, name)
        clean = 255 * (image.mean(-1) if image.ndim == 3 else image)
        rng = np.random.default_rng([seed, 10])
        offsets = rng.normal(0, sigma / 2, (len(clean), 1))
        noisy = clean + rng.normal(0, sigma, clean.shape)
        told, none = (
            stripes_of(torch.from_numpy(y)[None], torch.ones(1, *y.shape, dtype=torch.bool), "rows")[0].numpy()
            for y in (noisy + offsets, noisy)
        )
        error = told - (offsets - offsets.mean())
        return {
            "offsets σ": round(float(offsets.std() / sigma), 3),
            "left σ": round(float(error.std() / sigma), 3),
            "taken where there are none σ": round(float(none.std() / sigma), 3),
        }

    return work


CASES = {
    "noise": noise,
    "stripes": stripes,
    "frames": frames,
    "coverage": coverage,
    "flat": flat,
    "stars": stars,
    "outliers": outliers,
    "channels": channels,
    "draws": draws,
    "span": span,
}

if __name__ == "__main__":
    main()
