"""What a paper has to say of a result, from the report of its run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import napari_dip as dip


def run(options: argparse.Namespace) -> int:
    """Print the methods paragraph and the references."""
    try:
        report = json.loads(Path(options.report).read_text(encoding="utf-8"))
        print(dip.methods_text(report))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{options.report} is no report: a run writes one with --report") from error
    return 0
