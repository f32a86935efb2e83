"""`napari-dip doctor`: what this machine has for a fit."""

from __future__ import annotations

import argparse
import importlib.util
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

import napari_dip
from napari_dip.engine import devices

PACKAGES = ("numpy", "torch", "napari", "npe2", "magicgui", "PyQt6", "PySide6", "tifffile", "astropy")


def run(options: argparse.Namespace) -> int:
    """Print the report; return 0, or 1 where something keeps fits from running as fast as they could."""
    problem = devices.unused_gpu()
    for name, value in findings().items():
        print(f"{name:<12}{value}")
    print(f"{'verdict':<12}{problem or 'nothing is wrong'}")
    return 1 if problem else 0


def findings() -> dict[str, str]:
    """Return what was found, by name."""
    found = {
        "napari-dip": napari_dip.__version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "packages": ", ".join(f"{name} {_version(name)}" for name in PACKAGES if _version(name)),
        "cores": f"{devices.cores()} usable, {torch.get_num_threads()} threads",
    }
    for name in devices.available():
        device = devices.choose(name)
        memory = devices.memory(device)
        size = "memory unknown" if memory is None else f"{memory / 2**30:.1f} GiB"
        precision = str(devices.precision(device)).removeprefix("torch.")
        found[name] = f"{size}, activations in {precision}"
    found["window"] = "yes" if importlib.util.find_spec("napari") else 'no: pip install "napari-dip[all]"'
    return found


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
