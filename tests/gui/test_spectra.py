"""Bands over the steps and the spectra of a result, in the dock and by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from small import TINY, picture

import napari_dip as dip
from napari_dip.gui.options import Advanced, Output
from napari_dip.gui.plots import ScorePlot
from napari_dip.gui.spectra import Curves
from napari_dip.gui.widget import DeepImagePrior
from napari_dip.gui.worker import Spectra, spectra


def test_a_click_among_the_bands_shows_the_spectrum_of_the_nearest_step(qtbot: Any) -> None:
    curves = Curves(ScorePlot())
    qtbot.addWidget(curves)
    rows = np.linspace(0.1, 1, 24).reshape(3, 8)
    curves.bands.draw([50, 100, 150], rows.tolist())
    assert len(curves.bands.curves) == 8
    x, y = curves.bands.curves[7].getOriginalDataset()
    assert list(x) == [50, 100, 150]
    assert np.allclose(y, rows[:, 7])
    curves.bands.pick(110)
    assert curves.currentWidget() is curves.spectra
    assert curves.bands.mark.value() == 100
    _, shown = curves.spectra.curves["step"].getOriginalDataset()
    assert np.allclose(shown, rows[1] ** 2)


def test_a_step_whose_output_was_kept_shows_that_outputs_spectrum(qtbot: Any) -> None:
    curves = Curves(ScorePlot())
    qtbot.addWidget(curves)
    parts = {name: np.full(12, value) for name, value in (("input", 4.0), ("output", 3.0), ("residual", 1.0))}
    frequency = dict.fromkeys(parts, np.linspace(0.01, 0.49, 12))
    curves.bands.draw([50, 100], [[0.5] * 8] * 2)
    curves.spectra.draw(Spectra(frequency, parts, {100: np.full(12, 2.5)}))
    curves.bands.pick(100)
    assert np.allclose(curves.spectra.curves["step"].getOriginalDataset()[1], 2.5)
    curves.bands.pick(50)
    assert np.allclose(curves.spectra.curves["step"].getOriginalDataset()[1], 0.25 * 4), "in the measurement's units"


def test_the_residuals_spectrum_of_a_result_is_what_was_removed() -> None:
    image = picture(3, 32, 48)
    result = dip.restore(image, prior=TINY, stop=dip.FixedSteps(10), axes="TYX", keep_every=5)
    found = spectra(image, result)
    assert list(found.steps) == [5, 10]
    assert np.allclose(found.power["input"], dip.radial_spectrum(image[2], rings=8).power[0])
    assert np.allclose(found.power["residual"], dip.radial_spectrum(result.residual[2], rings=8).power[0])


def test_a_result_with_smaller_pixels_is_drawn_at_the_measurements_frequencies() -> None:
    waves = np.tile(np.cos(2 * np.pi * np.arange(64) / 8), (64, 1)).astype(np.float32)
    task = dip.SuperResolve(factor=2.0, degradation=dip.Box())
    result = dip.restore(waves, task, prior=TINY, stop=dip.FixedSteps(150), preset="plain")
    found = spectra(waves, result)
    assert np.isclose(found.frequency["output"][0], 2 * found.frequency["input"][0])
    (before, low), (after, high) = ((found.frequency[name], found.power[name]) for name in ("input", "output"))
    assert abs(before[low.argmax()] - 1 / 8) < 0.02
    assert abs(after[high.argmax()] - 1 / 8) < 0.04
    whole = [(power * 2 * np.pi * at).sum() * (at[1] - at[0]) for at, power in ((before, low), (after, high))]
    assert np.isclose(whole[1] / whole[0], result.image.var() / waves.var(), rtol=0.2), "as much power as variance"


def test_the_bands_wait_for_a_second_point(qtbot: Any) -> None:
    curves = Curves(ScorePlot())
    qtbot.addWidget(curves)
    curves.bands.draw([50], [[0.5] * 8])
    assert curves.bands.pages.currentWidget() is curves.bands.empty
    curves.bands.draw([50, 100], [[0.5] * 8] * 2)
    assert curves.bands.pages.currentWidget() is curves.bands.plot


def test_a_run_draws_its_bands_and_at_its_end_the_spectra(docked: DeepImagePrior, ends: Callable[..., None]) -> None:
    docked.options.advanced.value = Advanced(stop=dip.FixedSteps(steps=110), prior=TINY)
    docked.options.output.value = Output(keep_every=50)
    docked.inputs.check()
    docked.run_button.click()
    ends(docked)
    assert list(docked.curves.bands.steps) == [50, 100]
    assert set(docked.curves.spectra.spectra.steps) == {50, 100}
    for name in ("input", "output", "residual"):
        assert len(docked.curves.spectra.curves[name].getOriginalDataset()[0]) > 4


def test_a_rule_without_a_score_says_why_there_is_no_curve(docked: DeepImagePrior, ends: Callable[..., None]) -> None:
    docked.options.advanced.value = Advanced(stop=dip.SteadyDetail(floor=20, ceiling=40), prior=TINY)
    docked.inputs.check()
    docked.run_button.click()
    ends(docked)
    assert "has settled" in docked.plot.empty.text()
    assert docked.plot.pages.currentWidget() is docked.plot.empty
