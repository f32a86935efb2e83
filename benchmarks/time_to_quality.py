"""PSNR against wall time on the same noisy arrays: the published recipe, presets, another stop, and other methods.

    python benchmarks/time_to_quality.py DATA                # DATA has dip_released/; then the tables and the plot
    python benchmarks/time_to_quality.py DATA --cases 256    # one of: 256, 128
    python benchmarks/time_to_quality.py DATA --table        # what benchmarks/results/time_to_quality.json says

One case is a centre crop of a colour image with noise of σ = 25, and a seed. The published recipe runs in plain PyTorch
(see published.py) as long as its case says. Seconds are those of the method alone: while PSNR is measured the watch
stands still. They begin with the call, so that Python's start and the files are not in them, and mean something on an
idle machine only. Resumable: what the JSON has is not run again; it is written after every run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from paces import wait
from peers import PEERS
from published import Recipe
from quality import Case, colour
from records import opened, save
from speed import named

import napari_dip as dip
from napari_dip.engine import devices
from napari_dip.engine.problem import Array

RESULTS = Path(__file__).parent / "results" / "time_to_quality.json"
PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "time-to-quality.png"
EVERY = 10  # steps between two measurements of PSNR
PUBLISHED = "published recipe"


class Length(NamedTuple):
    """The images of a size, the seeds of each, and how long the published recipe runs on them."""

    images: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int


CASES = {256: Length(("F16",), (0,), 3000), 128: Length(("F16", "hill", "kodim03"), (0, 1, 2), 2000)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cases", default=",".join(map(str, CASES)), help="sizes of the crops")
    parser.add_argument("--images", default="", help="only those, by name, and of every size")
    parser.add_argument("--methods", default=",".join(METHODS), help="of: " + ", ".join(METHODS))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--max-steps", type=int, help="of every fit: a draft, to try the script out")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = opened(options.results, "runs")
    results["machine"] |= named()
    if not options.table:
        for size in options.cases.split(","):
            measure(options, results, int(size))
    print(tables(results["runs"]))
    draw(results["runs"], options.picture, options.max_steps)


def measure(options: argparse.Namespace, results: dict[str, Any], size: int) -> None:
    length = CASES.get(size, CASES[128])
    images = options.images.split(",") if options.images else length.images
    steps = min(length.steps, options.max_steps or length.steps)
    for case in colour(options.data, size):
        for seed in length.seeds if case.name in images else ():
            runs = results["runs"].setdefault(f"{case.name} {size}² seed {seed}", {})
            for method in options.methods.split(","):
                if method not in runs and not (method in PEERS and seed != length.seeds[0]):
                    limit = steps if method == PUBLISHED else options.max_steps
                    runs[method] = run(case, method, seed, devices.choose(options.device), limit)
                    save(results, options.results)
                    print(case.name, size, seed, method, runs[method]["end"], flush=True)


def run(case: Case, method: str, seed: int, device: torch.device, limit: int | None) -> dict[str, Any]:
    """Return PSNR and seconds of a method's running estimate, and of what it gives in the end."""
    watch = Watch(case, device)
    points = [(step, watch.look(image)) for step, image in METHODS[method](case, seed, device, limit)]
    *running, end = (point for _, point in points)
    seconds, psnr = zip(*running, strict=True) if running else ((), ())
    return {"steps": points[-1][0], "seconds": list(seconds), "psnr": list(psnr), "end": list(end)}


class Watch:
    """Tells PSNR and how many seconds of work there were before, without those that measuring took."""

    def __init__(self, case: Case, device: torch.device):
        self.clean, self.device = case.clean, device
        self.idle, self.started = 0.0, time.perf_counter()

    def look(self, image: Callable[[], Array]) -> tuple[float, float]:
        """Return seconds and PSNR of an image, clipped to 0 to 1."""
        wait(self.device)
        now = time.perf_counter()
        error = float(np.mean((np.clip(image(), 0, 1) - self.clean) ** 2))
        seconds = now - self.started - self.idle
        self.idle += time.perf_counter() - now
        return round(seconds, 3), round(-10 * float(np.log10(error)), 4)


# ---------------------------------------------------------------------- methods: steps and images, the last the result

Running = Iterator[tuple[int, Callable[[], Array]]]
Method = Callable[[Case, int, torch.device, int | None], Running]


def published(case: Case, seed: int, device: torch.device, limit: int | None) -> Running:
    """Yield the averaged outputs of the published recipe; its result is the last one."""
    y = torch.from_numpy(case.noisy.transpose(2, 0, 1).copy())
    for output in Recipe().iterates(y, device, seed):
        average = output.average
        if output.step % EVERY == 0:
            yield output.step, lambda average=average: channels_last(average)
        if output.step == limit:
            yield output.step, lambda average=average: channels_last(average)
            return


def channels_last(image: torch.Tensor) -> Array:
    return np.asarray(image.cpu().numpy().transpose(1, 2, 0))


def preset(name: str, stop: dip.StoppingRule | None = None) -> Method:
    """Return what runs a preset, by its own stop or another."""

    def progress(case: Case, seed: int, device: torch.device, limit: int | None) -> Running:
        now = None
        for now in dip.iter_restore(
            case.noisy, stop=stop, preset=name, seed=seed, axes="YXS", device=str(device), max_steps=limit
        ):
            if now.step and now.step % EVERY == 0:
                yield now.step, now.image
        assert now is not None  # a run takes at least one step
        result = now.restoration().image
        yield now.step, lambda: result

    return progress


def peer(name: str) -> Method:
    """Return what runs another method, which has nothing to show before its end."""

    def once(case: Case, seed: int, device: torch.device, limit: int | None) -> Running:
        image = PEERS[name](case.noisy, None, case.sigma)
        yield 0, lambda: image

    return once


METHODS: dict[str, Method] = {
    "quick": preset("quick"),
    "standard": preset("standard"),
    "es-wmv": preset("plain", dip.WindowedVariance()),
    "zs-n2n": peer("zs-n2n"),
    "bm3d": peer("bm3d"),
    PUBLISHED: published,
}


# ---------------------------------------------------------------------- tables and plot


def tables(runs: dict[str, Any]) -> str:
    lines = [
        "| case | method | best while running | result | seconds | as good as published after | times sooner "
        "| result, times sooner |",
        "|" + "---|" * 8,
    ]
    sooner: dict[tuple[str, str], list[Sooner]] = {}
    for case, methods in runs.items():
        for method, one in methods.items():
            gain = gained(methods.get(PUBLISHED), one)
            sooner.setdefault((case.split()[1], method), []).append(gain)
            best = int(np.argmax(one["psnr"])) if one["psnr"] else None
            peak = "" if best is None else f"{one['psnr'][best]:.2f} dB at {one['seconds'][best]:.0f} s"
            reached = "not reached" if gain.reached is None else f"{gain.reached:.1f} s"
            lines.append(
                f"| {case} | {method} | {peak} | {one['end'][1]:.2f} dB | {one['end'][0]:.1f} | {reached} | "
                f"{times(gain.estimate)} | {times(gain.result)} |"
            )
    return "\n".join(lines) + "\n\n" + summary(sooner)


class Sooner(NamedTuple):
    """When a method is as good as the published recipe at its best, and how many times sooner; None: never."""

    reached: float | None = None
    estimate: float | None = None
    result: float | None = None


def gained(yardstick: dict[str, Any] | None, one: dict[str, Any]) -> Sooner:
    """Return when the running estimate, and the result, have the PSNR of the published recipe's best average."""
    if yardstick is None:
        return Sooner()
    best = int(np.argmax(yardstick["psnr"]))
    goal, needed = yardstick["psnr"][best], yardstick["seconds"][best]
    end, psnr = one["end"]
    points = [*zip(one["seconds"], one["psnr"], strict=True), (end, psnr)]
    reached = next((seconds for seconds, value in points if value >= goal), None)
    estimate = None if reached is None else needed / reached
    return Sooner(reached, estimate, needed / end if psnr >= goal else None)


def summary(sooner: dict[tuple[str, str], list[Sooner]]) -> str:
    """Return the geometric mean over images and seeds, by size and method, and how often it was never as good."""
    lines = ["| size | method | running estimate, times sooner | result, times sooner |", "|" + "---|" * 4]
    for (size, method), gains in sooner.items():
        estimate, result = ([getattr(gain, name) for gain in gains] for name in ("estimate", "result"))
        lines.append(f"| {size} | {method} | {mean(estimate)} | {mean(result)} |")
    return "\n".join(lines)


def mean(ratios: list[float | None]) -> str:
    known = [ratio for ratio in ratios if ratio is not None]
    missed = f"not reached in {len(ratios) - len(known)} of {len(ratios)}" if len(known) < len(ratios) else ""
    if not known:
        return missed
    average = f"{np.exp(np.mean(np.log(known))):.1f} ({min(known):.1f} to {max(known):.1f})"
    return ", ".join(filter(None, (average, missed)))


def times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.1f}"


def draw(runs: dict[str, Any], path: Path, max_steps: int | None) -> None:
    """Write a panel for each image and size; lines are running estimates, dots are results, one for each seed."""
    panels = list(dict.fromkeys(case.rsplit(" seed", 1)[0] for case in runs))
    rows, columns = -(-len(panels) // 2), min(2, len(panels))
    figure = Figure(figsize=(5 * columns, 3.5 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in axes[len(panels) :]:
        unused.remove()
    for panel, axis in zip(panels, axes, strict=False):
        for case in (case for case in runs if case.startswith(f"{panel} seed")):
            for index, name in enumerate(METHODS):
                if (one := runs[case].get(name)) is not None:
                    axis.plot(one["seconds"], one["psnr"], color=f"C{index}", linewidth=1)
                    label = name if case == f"{panel} seed 0" else None
                    axis.plot(*one["end"], "o", color=f"C{index}", label=label, markersize=5)
        axis.set(xscale="log", xlabel="seconds", ylabel="PSNR, dB", title=panel)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize="small")
    draft = {} if max_steps is None else {"draft": f"at most {max_steps} steps"}
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": f"napari-dip {dip.__version__}", **draft})


if __name__ == "__main__":
    main()
