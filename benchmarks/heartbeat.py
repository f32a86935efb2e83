"""How long the window waits while an image is restored on all cores: the longest gaps between beats of a timer.

    python benchmarks/heartbeat.py                  # opens a window; benchmarks/results/heartbeat.json
    python benchmarks/heartbeat.py --seconds 60 --size 512

A beat is due every 10 ms. Every gap is a time in which the window answers nothing. The fit's first ten seconds, in
which PyTorch loads its parts, are told apart.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import QTimer
from records import machine, save

from napari_dip.gui.widget import DeepImagePrior

RESULTS = Path(__file__).parent / "results" / "heartbeat.json"
BEAT = 10  # ms
START = 10.0  # s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    viewer = napari.Viewer()
    viewer.add_image(noisy(options.size), rgb=True)
    dock = DeepImagePrior(viewer)
    viewer.window.add_dock_widget(dock, area="right")
    QTimer.singleShot(1000, lambda: watch(viewer, dock, options))
    napari.run()


def noisy(size: int) -> np.ndarray:
    """Return a colour image of that size with noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    scene = np.stack([np.sin(x / (9 + c)) * np.cos(y / (13 - c)) for c in range(3)], -1) / 4 + 0.5
    return np.clip(255 * scene + rng.normal(0, 25, scene.shape), 0, 255).astype(np.uint8)


def watch(viewer: napari.Viewer, dock: DeepImagePrior, options: argparse.Namespace) -> None:
    """Run, and note when the timer beats."""
    beats: list[float] = []
    timer = QTimer(dock)
    timer.timeout.connect(lambda: beats.append(time.perf_counter()))
    timer.start(BEAT)
    dock.run()
    QTimer.singleShot(int(1000 * options.seconds), lambda: finish(viewer, dock, beats, options))


def finish(viewer: napari.Viewer, dock: DeepImagePrior, beats: list[float], options: argparse.Namespace) -> None:
    steps = dock.session.last.step if dock.session and dock.session.last else 0
    dock.stop()
    at, gaps = np.array(beats[1:]) - beats[0], 1e3 * np.diff(beats)
    parts = {"the first ten seconds": at < START, "after them": at >= START}
    found = {name: longest(gaps[part]) for name, part in parts.items() if part.any()}
    rows = {"machine": machine(), "size": options.size, "seconds": options.seconds, "steps": steps, "gaps": found}
    save(rows, options.results)
    print(json.dumps(rows, indent=1))
    viewer.close()


def longest(gaps: np.ndarray) -> dict[str, float]:
    return {"longest ms": round(float(gaps.max()), 1), "99.9 % ms": round(float(np.quantile(gaps, 0.999)), 1)}


if __name__ == "__main__":
    main()
