"""What one process of `speed.py` measures, and prints as JSON: it has nothing else in its memory.

FLOPs are those of the network's convolutions, forward and backward, two for a multiplication with its addition. Bytes
are those of the tensors that the network's operators read and write, each once: what would have to move if nothing
stayed in a cache. No counter of the hardware is read, so on a CPU with large caches their share of the bandwidth may
pass 1. Peaks are the fastest product of matrices or convolution, and the fastest copy, of the same machine.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from published import INPUTS, Build, Recipe, hourglass, reference
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

import napari_dip as dip
from napari_dip.engine import devices

PLAIN = "published, plain"  # what the others are compared with
TOGETHER = {"cpu": 1, "cuda": 10}  # steps that one takes before it is another's turn: none waits for a GPU at each
UNTIMED = 2  # turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("--device", required=True)
    parser.add_argument("--shape", help="(C, *spatial), such as 3x256x256")
    parser.add_argument("--names", nargs="*", help="of configurations or presets")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0, help="after which there are no more turns than three")
    parser.add_argument("--limit", type=float, default=300, help="seconds to wait for a preview")
    parser.add_argument("--reference", type=Path, help="a checkout of the published code")
    options = parser.parse_args()
    print(json.dumps(KINDS[options.kind](options)))


@dataclass(frozen=True)
class Plain:
    """The published recipe in plain PyTorch, around its network or the authors'."""

    build: Build
    dtype = torch.float32

    def module(self, outputs: int, spatial: tuple[int, ...]) -> tuple[int, nn.Module]:
        """Return how many channels z has, and the network on the meta device."""
        with torch.device("meta"):
            return INPUTS, self.build(INPUTS, outputs, spatial)

    def steps(self, y: Tensor, device: torch.device) -> Iterator[Any]:
        return Recipe(self.build).iterates(y, device)


@dataclass(frozen=True)
class Ours:
    """A prior in this engine."""

    prior: dip.Prior
    dtype: torch.dtype

    def module(self, outputs: int, spatial: tuple[int, ...]) -> tuple[int, nn.Module]:
        problem = guided(torch.zeros(outputs, *[8] * len(spatial)))
        inputs = len(self.prior.source.draw(problem, torch.Generator()))
        return inputs, self.prior.network.build(inputs, outputs, spatial)

    def steps(self, y: Tensor, device: torch.device) -> Iterator[Any]:
        return dip.fit(guided(y), self.prior, device, precision=self.dtype)


def guided(y: Tensor) -> dip.Problem:
    return dip.Problem(y, shape=tuple(y.shape), guide=y)


def configurations(device: torch.device, checkout: Path | None, ndim: int) -> dict[str, Plain | Ours]:
    """Return what is measured on a device, by name, the yardstick first."""
    pays = devices.precision(device)
    standard = next(preset for preset in dip.PRESETS if preset.name == "standard")
    found: dict[str, Plain | Ours] = {PLAIN: Plain(hourglass)}
    if checkout is not None and ndim == 2:
        found["published, reference"] = Plain(reference(checkout))
    for dtype in dict.fromkeys((torch.float32, pays)):
        found[f"published, ours, {short(dtype)}"] = Ours(dip.Prior.published(), dtype)
    priors = {"64 channels": dip.Prior(), "32 guided": standard.members[0], "32 unguided": standard.members[1]}
    return found | {f"{name}, {short(pays)}": Ours(prior, pays) for name, prior in priors.items()}


def short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def scene(shape: tuple[int, ...]) -> Tensor:
    """Return a smooth image with white noise of σ = 25 / 255, (C, *spatial), 0 to 1."""
    axes = torch.meshgrid(*(torch.linspace(0, 9, n) for n in shape[1:]), indexing="ij")
    clean = 0.5 + 0.2 * torch.stack([(torch.stack(axes).sum(0) + channel).sin() for channel in range(shape[0])])
    return (clean + 25 / 255 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


def label(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def shape_of(name: str) -> tuple[int, ...]:
    return tuple(int(n) for n in name.split("x"))


# ---------------------------------------------------------------------- kinds


def steps(options: argparse.Namespace) -> dict[str, Any]:
    """Return pace, peak memory and work of one configuration; the pace counts where it has no partner."""
    device, shape = torch.device(options.device), shape_of(options.shape)
    (name,) = options.names
    chosen = configurations(device, options.reference, len(shape) - 1)[name]
    y, before = scene(shape), devices.peak_memory(device) or 0
    (milliseconds,) = turns({name: chosen.steps(y, device)}, device, options.turns, options.seconds).values()
    peak = devices.peak_memory(device) or 0
    return {
        "milliseconds": milliseconds,
        "peak_bytes": peak,
        "rise_bytes": peak - before,
        "dtype": short(chosen.dtype),
        **work(*chosen.module(shape[0], shape[1:]), shape[1:], chosen.dtype),
    }


def together(options: argparse.Namespace) -> dict[str, list[float]]:
    """Return the milliseconds per step of each configuration, turn by turn."""
    device, shape = torch.device(options.device), shape_of(options.shape)
    found, y = configurations(device, options.reference, len(shape) - 1), scene(shape)
    fits = {name: found[name].steps(y, device) for name in options.names}
    return turns(fits, device, options.turns, options.seconds)


def turns(fits: dict[str, Iterator[Any]], device: torch.device, count: int, seconds: float) -> dict[str, list[float]]:
    """Return milliseconds per step by configuration and turn, in which all take theirs."""
    measured: dict[str, list[float]] = {name: [] for name in fits}
    started = time.perf_counter()
    for turn in range(UNTIMED + count):
        if turn >= UNTIMED + 3 and time.perf_counter() - started > seconds:
            break
        for name, fit in fits.items():
            wait(device)
            begun = time.perf_counter()
            for _ in range(TOGETHER[device.type]):
                next(fit)
            wait(device)
            if turn >= UNTIMED:
                measured[name].append(1000 * (time.perf_counter() - begun) / TOGETHER[device.type])
    return measured


def wait(device: torch.device) -> None:
    """Return when a device has done what it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Operands(TorchDispatchMode):
    """Adds up the bytes of the tensors that operators read and write, views aside."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view and "empty" not in str(func):
            tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
            self.bytes += sum(min(t.nbytes, t.untyped_storage().nbytes()) for t in tensors)
        return out


def work(inputs: int, network: nn.Module, spatial: tuple[int, ...], dtype: torch.dtype) -> dict[str, int]:
    """Return FLOPs and bytes of a network on the meta device, forward and backward: nothing is computed for it."""
    z = torch.empty(1, inputs, *spatial, device="meta", dtype=dtype)
    with Operands() as operands, FlopCounterMode(display=False) as counter:
        network(z).float().sum().backward()
    return {"flops": counter.get_total_flops(), "bytes": operands.bytes}


def preview(options: argparse.Namespace) -> dict[str, Any]:
    """Return seconds from the call to the first sign of life, and to the first image that a fit has a share in."""
    device, shape = torch.device(options.device), shape_of(options.shape)
    (preset,) = options.names
    image = scene(shape).numpy()
    image, axes = (np.moveaxis(image, 0, -1), "YXS") if shape[0] == 3 else (image[0], "ZYX"[-image[0].ndim :])
    seconds: dict[str, float] = {}
    before, started = devices.peak_memory(device) or 0, time.perf_counter()
    for progress in dip.iter_restore(image, preset=preset, axes=axes, device=device.type, max_seconds=options.limit):
        progress.image()
        seconds.setdefault("first", time.perf_counter() - started)
        if progress.step:
            seconds["fitted"] = time.perf_counter() - started
            break
    return {**seconds, "rise_bytes": (devices.peak_memory(device) or 0) - before}


def peaks(options: argparse.Namespace) -> dict[str, float]:
    """Return FLOP/s by type, of the faster of a product of matrices and a convolution, and copied bytes/s."""
    device = torch.device(options.device)
    side = 2048 if device.type == "cpu" else 8192
    found = {}
    for dtype in dict.fromkeys((torch.float32, devices.precision(device))):
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        x = torch.randn(1, 128, side // 8, side // 8, device=device, dtype=dtype)
        x, kernel = x.to(memory_format=torch.channels_last), torch.randn(128, 128, 3, 3, device=device, dtype=dtype)
        product = 2 * side**3 / fastest(lambda a=a, b=b: a @ b, device)
        convolution = 2 * x.numel() * 9 * 128 / fastest(lambda x=x, k=kernel: F.conv2d(x, k, padding=1), device)
        found[short(dtype)] = max(product, convolution)
    source = torch.ones(2**28, device=device)  # 1 GiB: more than a cache holds
    target = torch.empty_like(source)
    return {**found, "bytes": 2 * source.nbytes / fastest(lambda: target.copy_(source), device)}


def fastest(call: Callable[[], Any], device: torch.device, count: int = 12) -> float:
    """Return the seconds of the fastest of several calls."""
    taken = []
    with torch.no_grad():
        for _ in range(count):
            wait(device)
            begun = time.perf_counter()
            call()
            wait(device)
            taken.append(time.perf_counter() - begun)
    return min(taken)


KINDS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "steps": steps,
    "together": together,
    "preview": preview,
    "peaks": peaks,
}


if __name__ == "__main__":
    main()
