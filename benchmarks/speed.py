"""How fast a step is, and how much memory it takes, beside the published recipe in plain PyTorch.

    python benchmarks/speed.py                                   # 128 to 2048 px a side, a volume, all devices
    python benchmarks/speed.py --sizes 256 --reference CHECKOUT  # with the authors' own network too
    python benchmarks/speed.py --faithful DATA                   # is it the published recipe? DATA has dip_released/
    python benchmarks/speed.py --table                           # what benchmarks/results/speed.json says

Every configuration runs alone in a process of its own, for its memory (see paces.py); then all of a shape take their
steps in turn in one process, one each (ten on a GPU), so that what disturbs one disturbs all: ratios are medians over
the turns. Sizes ascend, and each tells how much memory the next takes: what would not fit is not run. Resumable.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import records
import torch
from default_network import crop
from paces import PLAIN, TOGETHER, configurations, label, shape_of
from published import INPUTS, Recipe, difference, hourglass, reference
from torch import Tensor

import napari_dip as dip
from napari_dip.engine import devices
from napari_dip.engine.networks import initialise

RESULTS = Path(__file__).parent / "results" / "speed.json"
SHARE = 0.8  # of the memory that may be used
KEPT = 3 * INPUTS * 4  # bytes a pixel that a fit keeps between its steps: z, its noise and what they are made of
PREVIEWS = ("quick", "standard", "plain")
CROP, SEEDS, LENGTH = "F16", (0, 1, 2), 1500  # of the comparison of averaged outputs


def main() -> None:
    options = arguments()
    known = options.results.exists()
    results = json.loads(options.results.read_text()) if known else {"machine": named(), "peaks": {}, "runs": {}}
    if options.faithful:
        faithful(options, results)
    elif not options.table:
        for device in options.devices.split(","):
            measure(options, results, device)
    print(tables(results))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", default=",".join(name for name in devices.available() if name in TOGETHER))
    parser.add_argument("--sizes", default="128,256,512,1024,2048", help="of planes; empty: none")
    parser.add_argument("--channels", default="1,3", help="of planes")
    parser.add_argument("--volumes", default="32x128x128", help="empty: none")
    parser.add_argument("--steps", type=int, default=10, help="timed turns of all configurations of a shape")
    parser.add_argument("--seconds", type=float, default=300, help="after which there are no more turns than three")
    parser.add_argument("--limit", type=float, default=300, help="seconds to wait for a preview")
    parser.add_argument("--reference", type=Path, help="a checkout of the published code")
    parser.add_argument("--faithful", type=Path, metavar="DATA", help="compare the averaged outputs instead")
    parser.add_argument("--length", type=int, default=LENGTH, help="steps of these fits")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true")
    return parser.parse_args()


def named() -> dict[str, Any]:
    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA", "default")
    return {**records.machine(), **gpu, "threads": torch.get_num_threads(), "onednn_isa": isa}


# ---------------------------------------------------------------------- the processes of a shape


def measure(options: argparse.Namespace, results: dict[str, Any], device: str) -> None:
    if device not in results["peaks"]:
        results["peaks"][device] = child(options, "peaks", device)
        records.save(results, options.results)
    for shape in shapes(options):
        for name in configurations(torch.device(device), options.reference, len(shape) - 1):
            alone(options, results, device, shape, "steps", name)
        interleave(options, results, device, shape)
        for preset in PREVIEWS:
            alone(options, results, device, shape, "preview", preset)


def shapes(options: argparse.Namespace) -> list[tuple[int, ...]]:
    """Return (C, *spatial) of each image, the small ones first."""
    channels = [int(count) for count in options.channels.split(",")]
    planes = [(c, int(size), int(size)) for c in channels for size in options.sizes.split(",") if size]
    volumes = [(1, *map(int, volume.split("x"))) for volume in options.volumes.split(",") if volume]
    return sorted([*planes, *volumes], key=math.prod)


def alone(
    options: argparse.Namespace, results: dict[str, Any], device: str, shape: tuple[int, ...], kind: str, name: str
) -> None:
    """Run one configuration, or one preset to its first preview, in a process of its own."""
    rows = results["runs"].setdefault(device, {}).setdefault(label(shape), {}).setdefault(kind, {})
    if "failed" not in rows.get(name, {"failed": "not run yet"}):
        return
    needed = predicted(results["runs"][device], shape, kind, name)
    free = SHARE * (devices.memory(torch.device(device)) or math.inf)
    if needed is None:
        rows[name] = {"failed": "not run: a smaller one did not end well"}
    elif needed > free:
        rows[name] = {"failed": f"not run: would need {gib(needed)} of memory, {gib(free)} may be used"}
    else:
        rows[name] = child(options, kind, device, "--shape", label(shape), "--names", name)
    records.save(results, options.results)
    print(device, label(shape), kind, name, rows[name], flush=True)


def predicted(runs: dict[str, Any], shape: tuple[int, ...], kind: str, name: str) -> float | None:
    """Return the bytes that a run will need by what the next smaller one took: 0 without one, None where it failed."""
    like = [other for other in map(shape_of, runs) if len(other) == len(shape) and math.prod(other) < math.prod(shape)]
    for other in sorted(like, key=math.prod, reverse=True):
        if (done := runs[label(other)].get(kind, {}).get(name)) is not None:
            scale = math.prod(shape[1:]) / math.prod(other[1:])
            return scale * float(done["rise_bytes"]) if "failed" not in done else None
    return 0.0


def interleave(options: argparse.Namespace, results: dict[str, Any], device: str, shape: tuple[int, ...]) -> None:
    """Let all that fit take their steps in turn, if the yardstick does."""
    here = results["runs"][device][label(shape)]
    fitting = {name: row["rise_bytes"] for name, row in here["steps"].items() if "failed" not in row}
    kept = KEPT * math.prod(shape[1:]) * len(fitting)
    free = SHARE * (devices.memory(torch.device(device)) or math.inf)
    measured = set(here.get("together", ())) == set(fitting)
    if PLAIN in fitting and not measured and max(fitting.values()) + kept < free:
        turns = ["--turns", str(options.steps), "--seconds", str(options.seconds)]
        here["together"] = child(options, "together", device, "--shape", label(shape), *turns, "--names", *fitting)
        records.save(results, options.results)


def child(options: argparse.Namespace, kind: str, device: str, *flags: str) -> dict[str, Any]:
    """Return what a process of its own measured; where it failed, why."""
    call = [sys.executable, str(Path(__file__).with_name("paces.py")), kind, "--device", device, *flags]
    call += ["--limit", str(options.limit)] + (["--reference", str(options.reference)] if options.reference else [])
    done = subprocess.run(call, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"ended by signal {-done.returncode}"])[-1]}
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


# ---------------------------------------------------------------------- faithfulness


def faithful(options: argparse.Namespace, results: dict[str, Any]) -> None:
    """Record what the published prior, the plain recipe and the authors' network give, and their averaged outputs."""
    folder = options.faithful / "dip_released"
    y, truth = (crop(folder / f"denoise25_{CROP}_{kind}.png") for kind in ("noisy", "GT"))
    device = torch.device(options.devices.split(",")[0])
    problem = dip.Problem(y, shape=tuple(y.shape))
    recipes: dict[str, Callable[[int], Iterator[Any]]] = {
        "plain PyTorch": lambda seed: Recipe().iterates(y, device, seed),
        "Prior.published()": lambda seed: dip.fit(problem, dip.Prior.published(), device, seed=seed),
    }
    if options.reference:
        authors = Recipe(reference(options.reference))
        recipes["authors' network"] = lambda seed: authors.iterates(y, device, seed)
    kept = results.setdefault("faithful", {"psnr": {}})
    kept.setdefault("differences", {}).update(differences(options.reference))
    for seed in SEEDS:
        for name, iterates in recipes.items():
            if str(seed) not in kept["psnr"].setdefault(name, {}):
                kept["psnr"][name][str(seed)] = trajectory(iterates(seed), truth.to(device), options.length)
                records.save(results, options.results)


def differences(checkout: Path | None) -> dict[str, float]:
    """Return how much the output of each network differs at most from the plain one's with the same weights."""
    generator, spatial = torch.Generator().manual_seed(0), (128, 128)
    plain, z = hourglass(INPUTS, 3, spatial), torch.rand(1, INPUTS, *spatial, generator=generator)
    ours = initialise(dip.Skip.published().build(INPUTS, 3, spatial), generator, torch.device("cpu"))
    others = {"Prior.published()": ours}
    if checkout is not None:
        others["authors' network"] = reference(checkout)(INPUTS, 3, spatial)
    return {name: difference(plain, other, z) for name, other in others.items()}


def trajectory(iterates: Iterator[Any], truth: Tensor, length: int) -> list[float]:
    """Return the PSNR of the averaged output of every tenth step."""
    psnr: list[float] = []
    for iterate in iterates:
        if iterate.step % 10 == 0:
            error = (iterate.average.clamp(0, 1) - truth).square().mean()
            psnr.append(round(float(-10 * error.log10()), 4))
        if iterate.step >= length:
            break
    return psnr


# ---------------------------------------------------------------------- tables


def tables(results: dict[str, Any]) -> str:
    parts = [json.dumps(results["machine"]), json.dumps(results["peaks"])]
    for device, runs in results["runs"].items():
        parts += [f"### {device}", pace_table(runs, results["peaks"][device]), preview_table(runs)]
    return "\n\n".join(parts + ([faithful_table(results["faithful"])] if "faithful" in results else []))


def pace_table(runs: dict[str, Any], peak: dict[str, float]) -> str:
    lines = [
        "| shape | configuration | ms per step | ms per megapixel | times as fast as plain | GFLOP/s | of peak | GB/s "
        "| of peak | memory | of plain's |",
        "|" + "---|" * 11,
    ]
    for shape, kinds in runs.items():
        paces = {name: row["milliseconds"] for name, row in kinds["steps"].items() if "failed" not in row}
        paces |= kinds.get("together", {}) if "failed" not in kinds.get("together", {}) else {}
        for name, row in kinds["steps"].items():
            if "failed" in row:
                lines.append(f"| {shape} | {name} | {row['failed']} |" + " |" * 8)
                continue
            pace = float(np.median(paces[name]))
            ratio = "" if name not in kinds.get("together", {}) else f"{faster(kinds['together'], name):.2f}"
            plain = kinds["steps"][PLAIN].get("rise_bytes")
            flops, moved = row["flops"] / pace * 1e3, row["bytes"] / pace * 1e3
            each = digits(pace / math.prod(shape_of(shape)[1:]) * 1e6)
            lines.append(
                f"| {shape} | {name} | {digits(pace)} | {each} | {ratio} | {digits(flops / 1e9)} | "
                f"{flops / peak[row['dtype']]:.0%} | {digits(moved / 1e9)} | {moved / peak['bytes']:.0%} | "
                f"{gib(row['rise_bytes'])} | {'' if plain is None else format(row['rise_bytes'] / plain, '.2f')} |"
            )
    return "\n".join(lines)


def faster(turn_by_turn: dict[str, list[float]], name: str) -> float:
    """Return how many times as fast as plain PyTorch: the median over the turns, in which both took a step."""
    return float(np.median(np.divide(turn_by_turn[PLAIN], turn_by_turn[name])))


def preview_table(runs: dict[str, Any]) -> str:
    lines = ["| shape | preset | first sign, s | first fitted image, s | memory until then |", "|" + "---|" * 5]
    for shape, kinds in runs.items():
        for preset, row in kinds["preview"].items():
            if "failed" in row:
                lines.append(f"| {shape} | {preset} | {row['failed']} | | |")
                continue
            times = " | ".join(f"{row[key]:.2f}" if key in row else "later" for key in ("first", "fitted"))
            lines.append(f"| {shape} | {preset} | {times} | {gib(row['rise_bytes'])} |")
    return "\n".join(lines)


def faithful_table(record: dict[str, Any]) -> str:
    """Return the best averaged output by recipe and seed, and how far means and networks are from the plain one's."""
    best = {name: {seed: max(psnr) for seed, psnr in seeds.items()} for name, seeds in record["psnr"].items()}
    lines = [
        "| recipe | best averaged output of each seed, dB | mean | against plain PyTorch | same weights, outputs |"
    ]
    lines += ["|" + "---|" * 5]
    for name, values in best.items():
        shared = [values[seed] - plain for seed, plain in best["plain PyTorch"].items() if seed in values]
        each = ", ".join(f"{value:.2f}" for value in values.values())
        apart = f"{record['differences'][name]:.1g}" if name in record["differences"] else ""
        lines.append(f"| {name} | {each} | {np.mean(list(values.values())):.2f} | {np.mean(shared):+.2f} | {apart} |")
    return "\n".join(lines)


def digits(value: float) -> str:
    return f"{float(f'{value:.3g}'):,g}"


def gib(count: float) -> str:
    return f"{count / 2**30:.2f} GiB"


if __name__ == "__main__":
    main()
