"""The examples run as they stand, and say what they promise."""

from __future__ import annotations

import os
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run(script: Callable[[Path, Path], str], tmp_path: Path) -> Callable[[str], str]:
    """Return what an example of the library prints; its files land in `tmp_path`, and a warning fails it."""
    return lambda name: script(EXAMPLES / "library" / name, tmp_path)


def test_denoise_is_nearer_to_the_truth_and_writes_the_source_s_dtype(run, tmp_path):
    printed = run("denoise.py")
    before, after = map(float, re.search(r"error ([\d.]+) -> ([\d.]+) counts", printed).groups())
    assert after < 0.6 * before
    assert "uint16 (48, 48), as the source" in printed
    written = np.load(tmp_path / "denoised.npy")
    assert written.dtype == np.uint16
    assert written.shape == (48, 48)


def test_inpaint_fills_what_is_missing_and_nothing_else(run, tmp_path):
    printed = run("inpaint.py")
    filled, size = map(int, re.search(r"filled (\d+) of (\d+) pixels", printed).groups())
    assert 0 < filled < size / 2
    assert "known pixels unchanged: True" in printed
    assert f"without a mask: {filled} NaN in, 0 out" in printed


def test_watermark_takes_the_text_away_and_changes_nothing_else(run, tmp_path):
    printed = run("watermark.py")
    before, after = map(float, re.search(r"stood: ([\d.]+) -> ([\d.]+) grey levels", printed).groups())
    assert after < 0.7 * before
    assert "known pixels unchanged: True" in printed
    assert (tmp_path / "without-watermark.png").is_file()


def test_iterate_shows_a_falling_error_and_stops_where_it_says(run, tmp_path):
    printed = run("iterate.py")
    errors = [float(value) for value in re.findall(r"held-out error ([\d.]+)", printed)]
    assert len(errors) == 3
    assert errors[-1] < errors[0]
    assert "ended: stopped by the user" in printed
    assert "kept outputs of steps (10, 20, 30): (3, 48, 48, 3)" in printed


def test_own_stopping_rule_decides(run, tmp_path):
    printed = run("own_stopping_rule.py")
    assert 20 <= int(re.search(r"kept step (\d+): ", printed)[1]) <= 40
    assert "'name': 'AsStrongAsNoise'" in printed


def test_tomography_is_nearer_to_the_truth_than_the_best_filtered_back_projection(run, tmp_path):
    printed = run("tomography.py")
    filtered, prior = (float(re.search(rf"{name} ([\d.]+)", printed)[1]) for name in ("best filter", "image prior"))
    assert prior < 0.7 * filtered
    assert "residual (20, 48)" in printed


def test_feature_inversion_finds_the_image_that_a_trained_network_saw(run, tmp_path):
    printed = run("feature_inversion.py")
    error, constant = map(float, re.search(r"error ([\d.]+), of a constant image ([\d.]+)", printed).groups())
    assert error < 0.35 * constant
    assert float(re.search(r"([\d.]+) of them unexplained", printed)[1]) < 0.2


def test_every_library_example_is_tested():
    tested = set(re.findall(r'run\("(\w+\.py)"', Path(__file__).read_text(encoding="utf-8")))
    assert tested == {path.name for path in (EXAMPLES / "library").glob("*.py")}


@pytest.mark.skipif(
    sys.platform.startswith("linux") and not os.environ.get("DISPLAY"), reason="needs a display: pytest-xvfb gives one"
)
def test_the_plugin_example_opens_a_dock_that_is_ready_to_run(make_napari_viewer):
    script = runpy.run_path(str(EXAMPLES / "plugin" / "open_with_sample.py"))
    viewer = make_napari_viewer()
    dock = script["add_sample_and_dock"](viewer)
    assert [layer.name for layer in viewer.layers] == ["cell, dim light"]
    dock.inputs.check()
    assert dock.run_button.isEnabled()
