"""Stein's unbiased risk estimate as a stopping rule: how far from the best averaged output it would end a fit.

    python benchmarks/stein.py DATA                 # four crops, σ 25: what is not there yet
    python benchmarks/stein.py DATA --table

DATA is as for stopping.py, whose crops, noise and unguided fit these are. The estimate wants to know how the output
follows the measurement. The network does not see the measurement, but its weights follow it, so that a second fit is
made in step with the first, of the same start and to the measurement moved by a little white noise; what of that
comes out is the divergence by random probing (Ramani, Blu and Unser 2008). Nothing is hidden. Resumable.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from records import opened, save
from stopping import FITS, Array, cases, psnr

import napari_dip as dip
from napari_dip.engine import devices

RESULTS = Path(__file__).parent / "results" / "stein.json"
SIGMA, STEPS, EVERY = 25 / 255, 2000, 10
PROBES = (0.1, 1.0)  # of the noise: how far the measurement is moved


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--crops", default="F16,hill,kodim05,102061")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = opened(RESULTS, "records")
    if not options.table:
        for crop, noise, noisy, clean in cases(options.data):
            for probe in PROBES:
                name = f"{crop} probe {probe:g}"
                if noise == "σ25" and crop in options.crops.split(",") and name not in results["records"]:
                    results["records"][name] = record(noisy, clean, probe)
                    save(results, RESULTS, indent=None)
                    print(name, flush=True)
    print(table(results["records"]))


def record(noisy: Array, clean: Array, probe: float) -> dict[str, Any]:
    """Return the estimated risk and the PSNR of the averaged output at every tenth step."""
    y, truth = torch.from_numpy(noisy), torch.from_numpy(clean)
    draw = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    device = torch.device("cpu")
    fits = [
        dip.fit(dip.Problem(data, tuple(y.shape)), FITS["unguided"], device, precision=devices.precision(device))
        for data in (y, y + probe * SIGMA * draw)
    ]
    kept: dict[str, Any] = {"risk": [], "average": []}
    for one, moved in zip(*fits, strict=False):
        if one.step % EVERY == 0:
            divergence = (draw * (moved.average - one.average)).mean() / (probe * SIGMA)
            risk = (one.average - y).square().mean() - SIGMA**2 + 2 * SIGMA**2 * divergence
            kept["risk"].append(round(float(risk) / SIGMA**2, 5))
            kept["average"].append(round(psnr(one.average, truth), 4))
        if one.step >= STEPS:
            break
    return kept


def table(records: dict[str, Any]) -> str:
    """Return where the estimated risk is least, the best step, and what the former loses against it."""
    lines = ["| record | least risk at step | best step | loss |", "|---|---|---|---|"]
    for name, one in records.items():
        least, best = int(np.argmin(one["risk"])), int(np.argmax(one["average"]))
        loss = one["average"][best] - one["average"][least]
        lines.append(f"| {name} | {EVERY * (least + 1)} | {EVERY * (best + 1)} | {loss:.2f} dB |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
