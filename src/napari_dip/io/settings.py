"""Settings on disk: in the report of a run, and those of the last run in the window, kept between sessions."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs

import napari_dip as dip
from napari_dip.io.record import plain

NEEDED = ("version", "seed", "settings")  # of a report, to do the same again
LARGEST = 256 << 20  # bytes of a report


def read_report(path: str | Path) -> dict[str, Any]:
    """Return the report of a run in a JSON file.

    Raises
    ------
    OSError
        When it cannot be read.
    ValueError
        When it is no JSON object.
    """
    if Path(path).stat().st_size > LARGEST:
        raise ValueError(f"{path} is no report of a restoration: it has more than {LARGEST >> 20} MiB")
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no report of a restoration: it is no JSON") from error
    if not isinstance(report, dict):
        raise ValueError(f"{path} is no report of a restoration")
    return report


def read_recipe(path: str | Path) -> dip.Recipe:
    """Return what the run was asked for whose report is in a JSON file.

    Raises
    ------
    OSError, ValueError
        When it cannot be read, is no report of a restoration, or one of another version.
    """
    try:
        return dip.recipe(read_report(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def place() -> Path:
    """Return the file that holds the settings of the last run."""
    return platformdirs.user_config_path("napari-dip", appauthor=False) / "last-run.json"


def remember(report: Mapping[str, Any]) -> None:
    """Keep the settings of a run for the next session; where nothing can be written, they are not kept."""
    with contextlib.suppress(OSError, ValueError):
        target = place()
        beside = target.with_name(f"{target.name}.{os.getpid()}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        kept = plain({name: report[name] for name in NEEDED})
        try:
            beside.write_text(json.dumps(kept, indent=1, allow_nan=False) + "\n", encoding="utf-8")
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)


def last() -> dip.Recipe | None:
    """Return what the last run in the window was asked for; None: there was none, or its settings cannot be read."""
    try:
        return read_recipe(place())
    except (OSError, ValueError):
        return None
