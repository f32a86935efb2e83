"""`napari-dip demo`: a noisy sample, restored in a window, or into files where there is no display."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
from tqdm import tqdm

import napari_dip as dip
from napari_dip import io, samples
from napari_dip.engine.problem import Array

FOLDER = Path("napari-dip-demo")
KEEP_EVERY = 50  # steps between the outputs that are left to play with


def run(options: argparse.Namespace) -> int:
    """Show the demo in napari, or write its files; return the exit code."""
    obstacle = None if options.headless else why_no_window()
    if not options.headless and obstacle is None:
        from napari_dip.gui.demo import show

        return show(seed=options.seed, device=options.device, keep_every=KEEP_EVERY, max_steps=options.max_steps)
    if obstacle:
        print(f"{obstacle}, so the demo writes files.")
    return write_files(options)


def why_no_window() -> str | None:
    """Return what keeps napari from opening, in words; None when nothing does.

    Qt ends the whole process where it finds no display, so another one tries first.
    """
    if importlib.util.find_spec("napari") is None:
        return 'napari is not installed (pip install "napari-dip[all]")'
    attempt = "from qtpy.QtWidgets import QApplication; QApplication([])"
    tried = subprocess.run([sys.executable, "-c", attempt], capture_output=True, check=False)  # noqa: S603  nothing from outside is in it
    return "There is no display here" if tried.returncode else None


def write_files(options: argparse.Namespace) -> int:
    """Fit the sample and write input, result and a picture of both into `FOLDER`."""
    sample = samples.micrograph(options.seed)
    FOLDER.mkdir(exist_ok=True)
    with tqdm(unit="step", disable=not sys.stderr.isatty(), leave=False) as bar:
        for progress in dip.iter_restore(
            sample.image, seed=options.seed, device=options.device, max_steps=options.max_steps
        ):
            bar.total, bar.n = progress.expected, progress.step
            bar.update(0)
    restored = progress.restoration()
    picture = io.Picture(sample.image, "YX")
    io.write(FOLDER / "input.tif", picture, overwrite=True)
    io.write(FOLDER / "restored.tif", io.like(picture, restored.image), provenance=restored.report(), overwrite=True)
    imageio.imwrite(FOLDER / "before-after.png", side_by_side(sample.image, restored.image))
    gain = psnr(restored.image, sample.truth) - psnr(sample.image, sample.truth)
    print(f"{sample.name}: {gain:+.1f} dB against the truth, {restored.ended} (step {restored.best_step} kept)")
    print(f"See {FOLDER.resolve()}: input.tif, restored.tif, before-after.png")
    return 0


def side_by_side(before: Array, after: Array) -> Array:
    """Return two images beside each other as one 8-bit picture with one contrast."""
    both = np.concatenate([before, after], axis=1).astype(float)
    low, high = np.percentile(both, [0.5, 99.8])
    grey: Array = (255 * np.clip((both - low) / (high - low), 0, 1)).astype(np.uint8)
    return grey


def psnr(image: Array, truth: Array) -> float:
    """Return the peak signal-to-noise ratio in dB, the peak being the truth's range."""
    return float(10 * np.log10(np.ptp(truth) ** 2 / np.mean((image - truth) ** 2)))
