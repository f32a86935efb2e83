"""What a benchmark has measured so far, as JSON: what is there is not measured again."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import torch

from napari_dip.engine import devices


def opened(path: Path, *parts: str) -> dict[str, Any]:
    """Return what a file has, or a new record with the machine's name and its empty parts."""
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    return {"machine": machine(), **{part: {} for part in parts}}


def save(results: dict[str, Any], path: Path, *, indent: int | None = 1) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """Return what the figures depend on beside the code."""
    model = "unknown"
    if Path("/proc/cpuinfo").exists():
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    return {"processor": model, "cores": devices.cores(), "system": platform.platform(), "torch": torch.__version__}
