"""Rules of the house that a machine can check."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_engine_brings_no_window_along():
    """`import napari_dip` and the shell command must run where neither Qt nor napari is installed."""
    script = (
        "import sys, napari_dip, napari_dip.io, napari_dip.samples\n"
        "from napari_dip.cli.arguments import build_parser; build_parser()\n"
        "found = sorted({name.split('.')[0] for name in sys.modules} & "
        "{'qtpy', 'PyQt5', 'PyQt6', 'PySide6', 'napari', 'magicgui', 'superqt', 'pyqtgraph', 'vispy'})\n"
        "print(found); sys.exit(bool(found))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_manifest_at_the_root_is_the_packages_own():
    link = ROOT / "napari.yaml"
    if os.name != "nt":  # a checkout on Windows may hold the link's text
        assert link.is_symlink()
        assert link.readlink() == Path("src/napari_dip/napari.yaml")
    assert (ROOT / "src/napari_dip/napari.yaml").read_text().startswith("name: napari-dip")
