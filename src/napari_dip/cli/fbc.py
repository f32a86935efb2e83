"""How much of each frequency band of a file another one has: a table, bars, and numbers in a file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import napari_dip as dip
from napari_dip.cli.reading import lettered, read
from napari_dip.engine.problem import Array

BAR = 40  # characters for an amplitude of 1
MOST = 60  # characters at most


def run(options: argparse.Namespace) -> int:
    """Print the bands, one a line; write them where that is asked for."""
    if options.out:
        check_out(options.out, overwrite=options.overwrite)
    image, reference = read(options.image), read(options.reference)
    if options.published:
        rows = published(image.pixels, reference.pixels, options.bands or 5)
    else:
        axes = lettered(options.reference, reference.pixels.shape, options.axes or reference.axes or image.axes)
        rows = measured(image.pixels, reference.pixels, options.bands or 8, axes)
    print(table(rows))
    if options.out:
        Path(options.out).write_text(as_text(rows, Path(options.out).suffix.lower()), encoding="utf-8")
    return 0


def check_out(path: str, *, overwrite: bool) -> None:
    """Refuse before the measurement what could not be written after it."""
    if Path(path).suffix.lower() not in (".csv", ".json"):
        raise ValueError(f"{path}: the bands are written as .csv or .json")
    if not Path(path).parent.is_dir():
        raise ValueError(f"{path}: the folder {Path(path).parent} is not there; make it first")
    if Path(path).exists() and not overwrite:
        raise ValueError(f"{path} is there already: choose another name, or replace it with --overwrite")


def measured(image: Array, reference: Array, bands: int, axes: str) -> list[dict[str, Any]]:
    """Return a row for each band of each channel."""
    found = dip.fbc(image, reference, bands=bands, axes=axes)
    return [
        {
            "channel": channel,
            "from": round(float(low), 4),
            "to": round(float(high), 4),
            "magnitude": _number(found.magnitude[channel, band]),
            "correlation": _number(found.correlation[channel, band]),
        }
        for channel in range(len(found.magnitude))
        for band, (low, high) in enumerate(zip(found.edges[:-1], found.edges[1:], strict=True))
    ]


def published(image: Array, reference: Array, bands: int) -> list[dict[str, Any]]:
    """Return a row for each of the published rings, of 8-bit or unit-range images; radii follow the width."""
    one, other = (values / 255 if values.dtype == np.uint8 else values for values in (image, reference))
    found = dip.published_fbc(one, other, bands=bands)
    return [
        {"channel": 0, "from": round(band / bands / 2, 4), "to": round((band + 1) / bands / 2, 4),
         "magnitude": _number(value), "correlation": None}
        for band, value in enumerate(found)
    ]  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as text, with a bar as long as the amplitude; the mark stands at 1."""
    lines = ["channel  cycles/px      magnitude  correlation"]
    for row in rows:
        size = row["magnitude"] or 0.0
        bar = "#" * min(MOST, round(BAR * size))
        bar = bar[:BAR].ljust(BAR) + "|" + bar[BAR:]
        lines.append(
            f"{row['channel']:<8} {row['from']:.3f} - {row['to']:.3f}  {_shown(row['magnitude']):>9}  "
            f"{_shown(row['correlation']):>11}  {bar}"
        )
    return "\n".join(lines)


def as_text(rows: list[dict[str, Any]], suffix: str) -> str:
    if suffix == ".json":
        return json.dumps(rows, indent=1) + "\n"
    lines = [list(rows[0]), *[["" if value is None else str(value) for value in row.values()] for row in rows]]
    return "".join(",".join(line) + "\n" for line in lines)


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
