"""What a paper is told of a run: what was fitted, whatever the task and its frames."""

from __future__ import annotations

import numpy as np
import pytest

import napari_dip as dip


@pytest.fixture
def square():
    image = np.random.default_rng(0).normal(100, 5, (48, 48)).astype(np.float32)
    image[16:32, 16:32] += 60
    return image


@pytest.mark.parametrize(("preset", "count"), [("quick", 1), ("standard", 2)])
def test_networks_that_saw_an_estimate_of_least_variation_are_told(square, preset, count):
    result = dip.restore(square, dip.Deconvolve(model=dip.GaussianPSF(2.0)), preset=preset, max_steps=6)
    assert len(result.fits) == count
    assert not any(fit.pilot for fit in result.fits)
    said = dip.methods_text(result.report())
    assert "1 x Skip fed with guide, Adam at" in said
    assert ("1 x Skip fed with noise" in said) == (count == 2)
    assert "closed-form" not in said


def test_frames_without_a_pilot_are_left_out_of_its_weight(square):
    stack = np.stack([square, square[::-1]])
    stack[1, :23] = np.nan
    result = dip.restore(stack, axes="TYX", preset="quick", max_steps=6)
    assert [bool(fit.pilot) for fit in result.fits] == [True, False]
    said = dip.methods_text(result.report())
    fine, _ = result.fits[0].pilot
    assert f"was {fine:.2f} in fine detail" in said
    assert "Skip fed with guide" in said
    assert "Skip fed with noise" in said


def test_a_guide_an_early_stop_and_the_tasks_settings_are_told(square):
    control = dip.Control()
    for now in dip.iter_restore(square, dip.Guided(guide=square[::-1].copy()), preset="quick", control=control):
        if now.step > 5:
            control.stop()
    said = dip.methods_text(now.restoration().report())
    assert "restored with another image of the scene as a guide" in said
    assert "task: Guided(guide=an array of 48 x 48" in said
    assert "ended for: stopped by the user" in said
    boosted = dip.restore(square, dip.Enhance(amount=3.0), stop=dip.FixedSteps(3))
    said = dip.methods_text(boosted.report())
    assert "Enhance(amount=3.0, size=4.0" in said
    assert "not for quantification" in said
    assert "from themselves alone" in said


def test_what_was_done_before_the_fits_is_told(square):
    square += np.random.default_rng(1).normal(0, 4, (48, 1)).astype(np.float32)
    result = dip.restore(square, dip.Denoise(stripes="rows"), outliers=dip.Outliers(), preset="quick", max_steps=3)
    said = dip.methods_text(result.report())
    assert "Denoise(stripes=rows)" in said
    assert "were taken off first" in said
