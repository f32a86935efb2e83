"""Which data term is right where counts are few: plain and weighted least squares, and the likelihood of Poisson noise.

    python benchmarks/counts.py DATA           # writes benchmarks/results/counts.json as it goes, prints the table

DATA is a folder with set14/ and kodak24/. Crops of 96 x 96 with 2, 5 and 10 electrons in white and read noise of 0.5;
the noise is given. `quick` is that preset, `alone` one network without a pilot. Resumable.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from trust import crop

import napari_dip as dip
from napari_dip.engine.problem import Array

RESULTS = Path(__file__).parent / "results" / "counts.json"
READ, LEAST = 0.5, 0.05  # electrons
NAMES, PEAKS, KINDS = ("kodim20", "comic"), (2, 5, 10), ("least squares", "weighted", "Poisson")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    rows: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in NAMES:
        for peak in PEAKS:
            for pipe in ("quick", "alone"):
                for kind in KINDS:
                    key = f"{name}, {peak} electrons, {pipe}, {kind}"
                    if key not in rows:
                        rows[key] = measured(data, name, peak, pipe, kind)
                        RESULTS.write_text(json.dumps(rows, indent=1))
                        print(key, rows[key], flush=True)
    print("| scene, electrons in white, pipeline, data term | dB | bias %, all | darkest tenth | brightest tenth |")
    print("|---|---|---|---|---|")
    for key, row in rows.items():
        print(f"| {key} | {row['psnr']} | " + " | ".join(str(value) for value in row["bias %"]) + " |")


def measured(data: Path, name: str, peak: int, pipe: str, kind: str) -> dict[str, Any]:
    image = crop(data, name, 96)
    clean = peak * (image if image.ndim == 2 else image.mean(-1))
    rng = np.random.default_rng(0)
    y = (rng.poisson(clean) + rng.normal(0, READ, clean.shape)).astype(np.float32)
    task = Counts(dip.PoissonGaussian(1.0, READ), likelihood=data_term(kind, y))
    if pipe == "quick":
        result = dip.restore(y, task, preset="quick")
    else:
        prior = dip.Prior(network=dip.Skip(down=(32,) * 5, up=32))
        result = dip.restore(y, task, prior, dip.HeldOut(ceiling=1000, patience=150))
    parts = (clean > -1, clean <= np.quantile(clean, 0.1), clean >= np.quantile(clean, 0.9))
    error = result.image - clean
    bias = [round(100 * float(error[part].mean() / clean[part].mean()), 1) for part in parts]
    psnr = round(float(10 * np.log10(peak**2 / np.mean(error**2))), 2)
    return {"psnr": psnr, "bias %": bias, "best step": result.best_step}


def data_term(kind: str, y: Array) -> dip.Likelihood:
    low, high = np.percentile(y, [0.1, 99.9])  # as the run scales it
    if kind == "Poisson":
        strength = float(np.mean(np.clip(y, 0, None) + READ**2) / (high - low) ** 2)
        return PoissonLikelihood(float(high - low), float(low + READ**2), strength)
    return dip.NoiseWeighted() if kind == "weighted" else dip.LeastSquares()


@dataclass(frozen=True)
class PoissonLikelihood:
    """Negative logarithm of the Poisson likelihood of counts with the read noise's variance added to both sides.

    Under `LEAST` counts it goes on as a parabola; the strength makes its gradient as large as that of least squares.
    """

    gain: float
    offset: float
    strength: float

    def __call__(self, predicted: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        mean, count = self.gain * predicted + self.offset, (self.gain * y + self.offset).clamp(min=0)
        inside, below = mean.clamp(min=LEAST), (mean - LEAST).clamp(max=0)
        term = inside - count * inside.log() + (1 - count / LEAST) * below + count / LEAST**2 * below.square() / 2
        term = 2 * self.strength * (term - count + torch.xlogy(count, count))
        return term.mean() if weight is None else (weight * term).sum() / weight.sum()


@dataclass(frozen=True)
class Counts(dip.Denoise):
    """Denoising with another data term."""

    likelihood: dip.Likelihood = dip.LeastSquares()  # noqa: RUF009  frozen

    def problem_in_units(self, y: Tensor, known: Tensor, *, offset: Tensor, gain: Tensor) -> dip.Problem:
        return dip.Problem(y, shape=tuple(y.shape), likelihood=self.likelihood)


if __name__ == "__main__":
    main()
