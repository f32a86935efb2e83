"""Every stopping rule on the same recorded fits: how far its choice is from the best averaged output, and how soon.

    python benchmarks/stopping.py DATA --seeds 0,1,2      # records what is not there yet, then replays
    python benchmarks/stopping.py DATA --hiding           # those with pixels held out, and not the others
    python benchmarks/stopping.py DATA --large            # three crops of 256 x 256, σ 25, held-out rule only
    python benchmarks/stopping.py DATA --table            # replays benchmarks/results/stopping.json

DATA is a folder with set9/, dip_released/, kodak24/ and cbsd68/. 128 x 128 centre crops of four photographs, three
kinds of noise. A fit is recorded once, with its PSNR and every rule's score, to max(3000, twice the held-out stop)
steps; the rules are then replayed on the record. Rules that hide pixels have a record of their own, since it is
another fit. Resumable: written after each record.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import torch
from records import opened, save

import napari_dip as dip
from napari_dip.engine import devices
from napari_dip.engine.pilot import make_pilot
from napari_dip.engine.problem import Array
from napari_dip.engine.work import finished

RESULTS = Path(__file__).parent / "results" / "stopping.json"
CROPS = {
    "F16": "dip_released/denoise25_F16_GT.png",
    "hill": "dip_released/denoise25_hill_GT.png",
    "kodim05": "kodak24/kodim05.png",
    "102061": "cbsd68/102061.png",
}
NOISES = ("σ25", "σ50", "shot")
LARGE = ("F16", "hill", "kodim05")
SIDE, LARGE_SIDE, LONGEST, EVERY = 128, 256, 3000, 10
PRESET = next(preset for preset in dip.PRESETS if preset.name == "standard")
FITS = {"guided": PRESET.members[0], "unguided": PRESET.members[1]}
HIDING: dict[str, dip.StoppingRule] = {"HeldOut": dip.HeldOut()}
SEEING: dict[str, dip.StoppingRule] = {
    "WindowedVariance": dip.WindowedVariance(),
    "MovingVariance": dip.MovingVariance(),
    "Discrepancy": dip.Discrepancy(),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--hiding", action="store_true", help="record the fits with pixels held out only")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = opened(RESULTS, "records")
    if not options.table:
        for seed in options.seeds.split(","):
            record_all(options.data, int(seed), results, options)
    for side in (SIDE, LARGE_SIDE):
        print(f"{side} x {side}", table(pick(results["records"], side)), "", sep="\n")


def record_all(data: Path, seed: int, results: dict[str, Any], options: argparse.Namespace) -> None:
    large = options.large
    wanted = [("guided", HIDING), ("unguided", HIDING)]
    if not large and not options.hiding:
        wanted.append(("unguided", SEEING))
    for crop, noise, noisy, clean in large_cases(data) if large else cases(data):
        for fit, rules in wanted:
            name = f"{crop} {noise} {fit} {'hiding' if rules is HIDING else 'seeing'} seed {seed}"
            name += f" {LARGE_SIDE}²" if large else ""
            if name not in results["records"]:
                results["records"][name] = record(noisy, clean, fit, rules, seed)
                save(results, RESULTS, indent=None)
                print(name, flush=True)


def large_cases(data: Path) -> Iterator[tuple[str, str, Array, Array]]:
    """Yield three crops of 256 x 256 with white noise."""
    return (case for case in cases(data, LARGE_SIDE) if case[0] in LARGE and case[1] == "σ25")


def pick(records: dict[str, Any], side: int) -> dict[str, Any]:
    return {name: one for name, one in records.items() if name.endswith("²") == (side == LARGE_SIDE)}


def cases(data: Path, side: int = SIDE) -> Iterator[tuple[str, str, Array, Array]]:
    """Yield crop, noise, the noisy image and the clean one, (3, side, side), 0 to 1."""
    for crop, file in CROPS.items():
        image = imageio.imread(data / file)[..., :3].astype(np.float32) / 255
        top, left = ((n - side) // 2 for n in image.shape[:2])
        clean = image[top : top + side, left : left + side].transpose(2, 0, 1)
        for noise in NOISES:
            rng = np.random.default_rng([len(crop), ord(crop[0]), NOISES.index(noise)])
            if noise == "shot":  # 40 photons in white, read noise of 2
                noisy = (rng.poisson(clean * 40) + rng.normal(0, 2, clean.shape)) / 40
            else:
                noisy = clean + rng.normal(0, int(noise[1:]) / 255, clean.shape)
            yield crop, noise, noisy.astype(np.float32), clean


def record(noisy: Array, clean: Array, fit: str, rules: dict[str, dip.StoppingRule], seed: int) -> dict[str, Any]:
    """Return steps, the PSNR of the averaged and the single output, and each rule's scores."""
    y, truth = torch.from_numpy(noisy), torch.from_numpy(clean)
    problem = dip.Problem(y, tuple(y.shape))
    started = {name: rule.start(problem, seed) for name, rule in rules.items()}
    seen = next(iter(started.values()))[0]  # all rules of a kind give the fit the same pixels
    if fit == "guided":
        seen = with_guide(problem, seen, seed)
    device = torch.device("cpu")
    kept: dict[str, Any] = {"average": [], "single": [], "scores": {name: [] for name in rules}}
    for iterate in dip.fit(seen, FITS[fit], device, precision=devices.precision(device), seed=seed):
        for name, rule in rules.items():
            if iterate.step % rule.every == 0:
                score = float(started[name][1](iterate))
                if iterate.step % EVERY == 0:
                    kept["scores"][name].append(score if math.isfinite(score) else None)
        if iterate.step % EVERY == 0:
            kept["average"].append(round(psnr(iterate.average, truth), 4))
            kept["single"].append(round(psnr(iterate.x, truth), 4))
            if iterate.step >= max(LONGEST, 2 * max(stop(kept["scores"][name], rules[name])[0] for name in rules)):
                return kept
    raise AssertionError("a fit does not end by itself")


def with_guide(problem: dip.Problem, hidden: dip.Problem, seed: int) -> dip.Problem:
    pilot = finished(make_pilot(problem, hidden, seed, PRESET.passes))
    assert pilot is not None, "every one of these images has noise"
    return dataclasses.replace(hidden, guide=pilot.guide)


def psnr(x: torch.Tensor, truth: torch.Tensor) -> float:
    return float(-10 * (x.clamp(0, 1) - truth).square().mean().log10())


def stop(scores: list[float | None], rule: dip.StoppingRule) -> tuple[int, int]:
    """Return the step where a rule ends the fit, and the one it keeps, as far as the scores go."""
    best, kept = math.inf, EVERY
    for index, score in enumerate(scores, 1):
        step = index * EVERY
        if score is not None and score < best:
            best, kept = score, step
        if step >= rule.ceiling or (step >= rule.floor and step - kept >= rule.patience and best < math.inf):
            return step, kept
    return len(scores) * EVERY, kept


def table(records: dict[str, Any]) -> str:
    """Return for each rule and fit the loss against the best averaged output, and the steps taken."""
    rows: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for name, one in records.items():
        fit = name.split()[2]
        for rule_name, scores in one["scores"].items():
            ended, kept = stop(scores, {**HIDING, **SEEING}[rule_name])
            loss = max(one["average"]) - one["average"][kept // EVERY - 1]
            rows.setdefault((rule_name, fit), []).append((loss, ended))
    lines = ["| rule | fit | records | mean loss | 95th percentile | largest | mean steps |", "|" + "---|" * 7]
    for (rule, fit), values in sorted(rows.items()):
        losses, steps = np.array(values).T
        lines.append(
            f"| {rule} | {fit} | {len(losses)} | {losses.mean():.2f} dB | {np.percentile(losses, 95):.2f} dB | "
            f"{losses.max():.2f} dB | {steps.mean():.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
