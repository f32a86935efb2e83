"""A run in a real window, from Run to the layers it leaves."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from napari.layers import Labels
from napari.utils import progress
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QLabel
from small import TINY, fast, picture

import napari_dip as dip
from napari_dip.gui import advice, worker
from napari_dip.gui.options import Advanced
from napari_dip.gui.outputs import Outputs
from napari_dip.gui.widget import DeepImagePrior, main_window

Ends = Callable[..., None]


def click(button: Any) -> None:
    assert button.isEnabled()
    button.click()


def test_a_run_adds_the_restored_layer_and_says_how_it_ended(docked: DeepImagePrior, ends: Ends) -> None:
    source = fast(docked, steps=60).viewer.layers["cells"]
    before = source.data.copy()
    click(docked.run_button)
    assert docked.state == "running"
    assert not docked.run_button.isEnabled()
    ends(docked)
    assert docked.state == "finished"
    restored = docked.viewer.layers["cells – denoised"]
    assert restored.data.shape == (32, 32)
    assert restored.data.dtype == np.float32
    assert restored.data.std() < before.std()
    assert "step 60: reached 60 steps" in docked.message.text()
    assert restored.metadata["napari-dip"]["settings"]["task"]["name"] == "Denoise"
    assert restored.metadata["napari-dip"]["best_step"] == 60
    np.testing.assert_array_equal(source.data, before)
    assert docked.run_button.isEnabled()
    assert not docked.stop_button.isEnabled()
    assert not progress._all_instances
    assert docked.viewer.layers.selection.active is source


def test_before_a_run_the_dock_says_whether_the_image_is_suited(docked: DeepImagePrior, qtbot: Any) -> None:
    scene = 100 + 50 * np.sin(np.mgrid[:96, :96].sum(0) / 9)
    for name, sigma, said in (("noisy", 10, "Suitable (noise 1"), ("clean", 1e-3, "hardly any noise")):
        noisy = scene + np.random.default_rng(0).normal(0, sigma, scene.shape)
        layer = docked.viewer.add_image(noisy.astype(np.float32), name=name)
        docked.inputs.image.layer = layer
        docked.inputs.check()
        qtbot.waitUntil(lambda said=said: said in docked.advice.text(), timeout=5000)
        assert docked.advice.isVisible()


def test_nothing_is_told_of_the_image_while_the_fit_needs_the_time(
    docked: DeepImagePrior, ends: Ends, steps_taken: Ends
) -> None:
    fast(docked, steps=100_000)
    click(docked.run_button)
    for line in (docked.advice, docked.need):
        assert not line.timer.isActive()
    steps_taken(docked)
    docked.inputs.check()
    assert not docked.advice.timer.isActive()
    docked.stop()
    ends(docked)


def test_of_a_stack_one_plane_is_looked_at(docked: DeepImagePrior, monkeypatch: Any) -> None:
    looked_at = []
    monkeypatch.setattr(advice.dip, "check", lambda values, *_, **__: looked_at.append(values.shape))
    docked.inputs.image.layer = docked.viewer.add_image(picture(5, 32, 32), name="stack")
    docked.inputs.every.setChecked(True)
    docked.inputs.check()
    docked.advice.look()
    assert looked_at == [(32, 32)]


def test_the_methods_text_of_a_result_goes_to_the_clipboard(docked: DeepImagePrior, ends: Ends) -> None:
    assert docked.cite_button.isHidden()
    click(docked.run_button)
    ends(docked)
    assert docked.cite_button.isVisible()
    click(docked.cite_button)
    said = QApplication.clipboard().text()
    assert "kept steps were 20 of 20" in said
    assert "Ulyanov" in said


def test_a_methods_text_that_fails_costs_neither_the_layer_nor_what_is_said(
    docked: DeepImagePrior, ends: Ends, monkeypatch: Any
) -> None:
    def fails(report: Any) -> str:
        raise TypeError("no text")

    monkeypatch.setattr(dip, "methods_text", fails)
    click(docked.run_button)
    ends(docked)
    assert docked.state == "finished"
    assert "cells – denoised" in docked.viewer.layers
    assert "step 20: reached 20 steps" in docked.message.text()
    assert docked.cite_button.isHidden()


def test_a_second_run_overwrites_nothing(docked: DeepImagePrior, ends: Ends) -> None:
    for _ in range(2):
        click(docked.run_button)
        ends(docked)
    assert [layer.name for layer in docked.viewer.layers] == ["cells", "cells – denoised", "cells – denoised [1]"]


def test_what_was_asked_for_besides_is_added_too(docked: DeepImagePrior, ends: Ends) -> None:
    docked.options.output.editors["residual"].value = True
    docked.options.output.editors["keep_every"].value = 20
    fast(docked, steps=60)
    click(docked.run_button)
    ends(docked)
    layers = docked.viewer.layers
    assert layers["cells – iterations"].data.shape == (3, 32, 32)
    assert layers["cells – iterations"].metadata["napari-dip"]["steps"] == [20, 40, 60]
    assert layers["cells – iterations"].data_to_world((1, 0, 0))[0] == 40
    total = layers["cells – residual"].data + layers["cells – denoised"].data
    np.testing.assert_allclose(total, layers["cells"].data, rtol=1e-4)
    assert not [record for record in notification_manager.records if "nits" in record.message]


def test_outliers_are_looked_for_when_asked_and_become_a_labels_layer(docked: DeepImagePrior, ends: Ends) -> None:
    fast(docked)
    editor = docked.options.output.editors["outliers"]
    assert editor.value is None
    source = docked.viewer.layers["cells"]
    source.data[9, 7] = 60_000
    editor.value = dip.Outliers(fwhm=2.0)
    click(docked.run_button)
    ends(docked)
    marks = docked.viewer.layers["cells – outliers"]
    assert isinstance(marks, Labels)
    assert marks.data[9, 7] == 1
    assert docked.viewer.layers["cells – denoised"].data[9, 7] < 60_000


def test_a_standard_deviation_becomes_a_layer_or_the_reason_is_told(docked: DeepImagePrior, ends: Ends) -> None:
    docked.options.output.editors["std"].value = True
    fast(docked)
    click(docked.run_button)
    ends(docked)
    assert "No standard deviation: there is no pilot" in docked.message.text()
    assert "cells – standard deviation" not in docked.viewer.layers
    result = dip.restore(docked.viewer.layers["cells"].data, stop=dip.FixedSteps(3))
    shown = dataclasses.replace(result, std=np.full((32, 32), 2.0, np.float32))
    origin = docked.inputs.origin()
    Outputs(docked.viewer.layers, origin, "denoised", wants_std=True).finish(shown)
    layer = docked.viewer.layers["cells – standard deviation"]
    assert layer.metadata["napari-dip"]["says"] == "noise only, excludes model bias"
    np.testing.assert_array_equal(layer.data, shown.std)


def test_values_as_source_are_of_its_type_and_else_floating(docked: DeepImagePrior, ends: Ends) -> None:
    docked.viewer.layers["cells"].data = picture(32, 32).astype(np.uint16)
    click(docked.run_button)
    ends(docked)
    docked.options.output.editors["as_source"].value = False
    click(docked.run_button)
    ends(docked)
    layers = docked.viewer.layers
    assert layers["cells – denoised"].data.dtype == np.uint16
    assert layers["cells – denoised [1]"].data.dtype == np.float32
    assert 100 < layers["cells – denoised [1]"].data.mean() < 300


def test_stop_says_so_at_once_and_the_best_so_far_is_a_layer(
    docked: DeepImagePrior, ends: Ends, steps_taken: Ends
) -> None:
    fast(docked, steps=100_000)
    click(docked.run_button)
    steps_taken(docked)
    started = time.perf_counter()
    click(docked.stop_button)
    assert docked.state == "stopping"
    assert not docked.stop_button.isEnabled()
    ends(docked)
    assert time.perf_counter() - started < 1
    assert docked.state == "stopped"
    assert "stopped by the user" in docked.message.text()
    assert docked.viewer.layers["cells – denoised"].data.shape == (32, 32)


def test_stop_before_the_first_step_gives_a_layer_too(docked: DeepImagePrior, ends: Ends) -> None:
    fast(docked, steps=100_000)
    click(docked.run_button)
    docked.stop()
    ends(docked)
    assert docked.state == "stopped"
    assert "cells – denoised" in docked.viewer.layers


def test_pause_and_resume_in_one_turn_of_the_event_loop_goes_on(
    docked: DeepImagePrior, ends: Ends, steps_taken: Ends
) -> None:
    fast(docked, steps=100)
    click(docked.run_button)
    steps_taken(docked)
    docked.toggle_pause()
    assert docked.state == "paused"
    docked.toggle_pause()
    assert docked.state == "running"
    ends(docked)
    assert docked.state == "finished"


def test_while_paused_the_steps_stand_still_and_stop_works(
    docked: DeepImagePrior, ends: Ends, steps_taken: Ends, qtbot: Any
) -> None:
    fast(docked, steps=100_000)
    click(docked.run_button)
    steps_taken(docked)
    click(docked.pause_button)
    assert docked.pause_button.text() == "Resume"
    session = docked.session
    assert session is not None
    qtbot.waitUntil(lambda: session.last is not None and session.last.phase == "paused", timeout=5000)
    before = session.last.step  # type: ignore[union-attr]
    turns: list[int] = []
    timer = QTimer()
    timer.timeout.connect(lambda: turns.append(1))
    timer.start(10)
    qtbot.wait(400)
    timer.stop()
    assert session.last.step == before  # type: ignore[union-attr]
    assert "paused" in docked.text.text()
    assert len(turns) > 15
    click(docked.stop_button)
    ends(docked)
    assert docked.state == "stopped"
    assert "cells – denoised" in docked.viewer.layers


@pytest.mark.parametrize(
    "error", [RuntimeError("boom"), dip.RestorationError("It diverged"), RuntimeError("CUDA out of memory")]
)
def test_after_a_failure_the_window_says_so_and_the_next_run_works(
    docked: DeepImagePrior, ends: Ends, monkeypatch: Any, error: Exception
) -> None:
    def fails(*_: Any, **__: Any) -> Iterator[dip.Progress]:
        raise error
        yield

    with monkeypatch.context() as patch:
        patch.setattr(worker.dip, "iter_restore", fails)
        click(docked.run_button)
        ends(docked)
    assert docked.state == "failed"
    assert docked.message.text().startswith("Failed.")
    assert str(error) in docked.message.text()
    assert not progress._all_instances
    assert [layer.name for layer in docked.viewer.layers] == ["cells"]
    click(docked.run_button)
    ends(docked)
    assert docked.state == "finished"


def test_an_image_without_a_known_pixel_is_a_failure_in_words(docked: DeepImagePrior, ends: Ends) -> None:
    docked.viewer.layers["cells"].data = np.full((32, 32), np.nan, np.float32)
    click(docked.run_button)
    ends(docked)
    assert docked.state == "failed"
    assert "No pixel is known" in docked.message.text()


def test_the_curve_shows_the_held_out_error_and_its_best_step(docked: DeepImagePrior, ends: Ends) -> None:
    rule = dip.HeldOut(every=5, floor=40, ceiling=60, patience=20)
    docked.options.advanced.value = Advanced(stop=rule, prior=TINY)
    docked.inputs.check()
    click(docked.run_button)
    ends(docked)
    steps, scores = docked.plot.curve.getOriginalDataset()
    assert list(steps[:3]) == [5, 10, 15]
    assert (scores > 0).all()
    restored = docked.viewer.layers["cells – denoised"]
    assert docked.plot.best.value() == restored.metadata["napari-dip"]["best_step"]


def test_the_window_answers_during_a_fit(docked: DeepImagePrior, ends: Ends, steps_taken: Ends, qtbot: Any) -> None:
    fast(docked, steps=100_000)
    click(docked.run_button)
    steps_taken(docked)
    qtbot.waitUntil(lambda: "cells – denoised" in docked.viewer.layers, timeout=10_000)
    qtbot.wait(300)
    beats = [time.perf_counter()]
    timer = QTimer()
    timer.timeout.connect(lambda: beats.append(time.perf_counter()))
    timer.start(10)
    qtbot.wait(2000)
    timer.stop()
    docked.stop()
    ends(docked)
    assert max(np.diff(beats)) < 0.2


def test_one_preview_is_updated_in_place_and_contrast_set_by_a_person_stays(
    docked: DeepImagePrior, ends: Ends, steps_taken: Ends, qtbot: Any
) -> None:
    docked.viewer.layers["cells"].contrast_limits = (90, 310)
    fast(docked, steps=100_000)
    click(docked.run_button)
    steps_taken(docked)
    qtbot.waitUntil(lambda: "cells – denoised" in docked.viewer.layers, timeout=2000)
    layer = docked.viewer.layers["cells – denoised"]
    assert layer.contrast_limits == [90, 310]
    layer.contrast_limits = (150, 250)
    before = layer.data.copy()
    qtbot.waitUntil(lambda: bool((layer.data != before).any()), timeout=5000)
    assert layer.contrast_limits == [150, 250]
    assert len(docked.viewer.layers) == 2
    docked.stop()
    ends(docked)
    assert docked.viewer.layers["cells – denoised"] is layer
    assert layer.contrast_limits == [150, 250]


def test_a_removed_preview_comes_back_only_as_the_result(unseen: DeepImagePrior, ends: Ends, qtbot: Any) -> None:
    fast(unseen, steps=100_000)
    click(unseen.run_button)
    qtbot.waitUntil(lambda: "cells – denoised" in unseen.viewer.layers, timeout=30_000)
    unseen.viewer.layers.remove("cells – denoised")
    qtbot.wait(500)
    assert "cells – denoised" not in unseen.viewer.layers
    unseen.stop()
    ends(unseen)
    assert "cells – denoised" in unseen.viewer.layers


def rename(layers: Any) -> None:
    layers["cells"].name = "other"


def replace(layers: Any) -> None:
    layers["cells"].data = np.zeros((7, 9), np.float32)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda layers: layers.remove("cells"), "was removed"),
        (lambda layers: layers.clear(), "was removed"),
        (rename, "was renamed"),
        (replace, "changed"),
    ],
)
def test_layers_may_change_under_a_run(
    unseen: DeepImagePrior, ends: Ends, qtbot: Any, change: Callable[[Any], None], told: str
) -> None:
    source = unseen.viewer.layers["cells"]
    source.scale, source.translate, source.units = (0.5, 0.25), (3, 4), "um"
    fast(unseen, steps=100_000)
    click(unseen.run_button)
    qtbot.waitUntil(lambda: "cells – denoised" in unseen.viewer.layers, timeout=30_000)
    change(unseen.viewer.layers)
    assert told in unseen.message.text()
    assert told in notification_manager.records[-1].message
    qtbot.wait(300)
    unseen.stop()
    ends(unseen)
    assert unseen.state == "stopped"
    restored = unseen.viewer.layers["cells – denoised"]
    assert restored.data.shape == (32, 32)
    np.testing.assert_allclose(restored.scale, (0.5, 0.25))
    np.testing.assert_allclose(restored.translate, (3, 4))
    assert str(restored.units[0]) == "micrometer"


def test_cancel_in_the_activity_dock_stops_the_run(
    docked: DeepImagePrior, ends: Ends, steps_taken: Ends, qtbot: Any
) -> None:
    fast(docked, steps=100_000)
    click(docked.run_button)
    steps_taken(docked)
    qtbot.waitUntil(lambda: len(progress._all_instances) == 1, timeout=2000)
    (bar,) = progress._all_instances
    assert bar.desc.startswith("cells – denoised")
    bar.cancel()
    assert docked.state == "stopping"
    ends(docked)
    assert "cells – denoised" in docked.viewer.layers
    assert not progress._all_instances


def test_napari_spins_slowly_while_a_run_goes_on(
    docked: DeepImagePrior, ends: Ends, steps_taken: Ends, qtbot: Any
) -> None:
    window = main_window(docked)
    assert window is not None
    movies = [movie for label in window.findChildren(QLabel) if (movie := label.movie()) is not None]
    assert movies
    fast(docked, steps=100_000)
    click(docked.run_button)
    steps_taken(docked)
    qtbot.waitUntil(lambda: [movie.speed() for movie in movies] == [20] * len(movies), timeout=2000)
    docked.stop()
    ends(docked)
    assert [movie.speed() for movie in movies] == [100] * len(movies)


def test_the_shown_plane_of_a_stack_is_restored_where_it_lies(viewer: Any, qtbot: Any, ends: Ends) -> None:
    viewer.add_image(
        picture(6, 32, 32), name="stack", scale=(2, 0.5, 0.5), units="um", axis_labels=("z", "y", "x"), colormap="cyan"
    )
    widget = DeepImagePrior(viewer)
    viewer.window.add_dock_widget(widget, name="Deep image prior")
    viewer.dims.set_current_step(0, 4)
    click(fast(widget, steps=30).run_button)
    ends(widget)
    restored = viewer.layers["stack – denoised"]
    assert restored.data.shape == (1, 32, 32)
    assert restored.translate.tolist() == [8, 0, 0]
    assert restored.colormap.name == "cyan"
    assert viewer.dims.ndim == 3
    assert viewer.dims.current_step[0] == 4
    assert not [record for record in notification_manager.records if "nits" in record.message]


def test_every_plane_in_turn_gives_a_whole_stack(viewer: Any, ends: Ends) -> None:
    viewer.add_image(picture(3, 32, 32), name="stack", axis_labels=("t", "y", "x"))
    widget = DeepImagePrior(viewer)
    viewer.window.add_dock_widget(widget, name="Deep image prior")
    widget.inputs.every.setChecked(True)
    click(fast(widget, steps=30).run_button)
    ends(widget)
    restored = viewer.layers["stack – denoised"]
    assert restored.data.shape == (3, 32, 32)
    assert len(restored.metadata["napari-dip"]["fits"]) == 3


def test_painted_pixels_are_filled_and_have_no_influence(viewer: Any, ends: Ends) -> None:
    values = picture(32, 32)
    mask = np.zeros((32, 32), int)
    mask[10:14, 10:14] = 3
    results = []
    for poison in (0.0, 1e6):
        values[mask > 0] = poison
        viewer.layers.clear()
        viewer.add_image(values.copy(), name="cells", contrast_limits=(100, 300))
        viewer.add_labels(mask.copy(), name="holes")
        widget = DeepImagePrior(viewer)
        viewer.window.add_dock_widget(widget, name="Deep image prior")
        widget.inputs.task_edit.combo.setCurrentText("Inpaint")
        click(fast(widget, steps=30).run_button)
        ends(widget)
        results.append(viewer.layers["cells – inpainted"].data)
        viewer.window.remove_dock_widget(widget)
    np.testing.assert_array_equal(*results)
    np.testing.assert_array_equal(results[0][mask == 0], values[mask == 0])
    assert 0 < results[0][mask > 0].min() < results[0][mask > 0].max() < 1000


def test_nan_comes_back_as_nan_from_denoising(docked: DeepImagePrior, ends: Ends) -> None:
    values = picture(32, 32)
    values[5, 6] = np.nan
    docked.viewer.layers["cells"].data = values
    click(docked.run_button)
    ends(docked)
    assert np.argwhere(np.isnan(docked.viewer.layers["cells – denoised"].data)).tolist() == [[5, 6]]


def test_both_themes_colour_the_curve(docked: DeepImagePrior) -> None:
    dark = docked.plot.plot.backgroundBrush().color().lightness()
    docked.viewer.theme = "light"
    assert docked.plot.plot.backgroundBrush().color().lightness() > dark + 100


def test_the_controls_fit_a_small_window(docked: DeepImagePrior, qtbot: Any) -> None:
    docked.viewer.window.resize(1200, 800)
    qtbot.wait(200)
    window = docked.window()
    for control in (docked.run_button, docked.stop_button, docked.message, docked.plot, docked.text):
        corner = control.mapTo(window, control.rect().bottomRight())
        assert corner.x() <= window.width()
        assert corner.y() <= window.height()
        assert control.width() >= min(control.minimumSizeHint().width(), 60)
    inner = docked.area.widget()
    assert inner.minimumSizeHint().width() <= docked.area.viewport().width()


def test_every_button_has_a_tooltip_and_tab_reaches_run_after_the_settings(docked: DeepImagePrior) -> None:
    for control in (docked.run_button, docked.pause_button, docked.stop_button, docked.bar, docked.place, docked.plot):
        assert control.toolTip()
    chain, widget = [], docked.inputs.image
    for _ in range(500):
        widget = widget.nextInFocusChain()
        chain.append(widget)
    places = [chain.index(one) for one in (docked.inputs.task_edit.combo, docked.run_button, docked.stop_button)]
    assert places == sorted(places)


def test_the_window_says_how_much_memory_a_run_takes_before_it_starts(docked, qtbot):
    qtbot.waitUntil(lambda: "GiB free" in docked.need.text(), timeout=5000)
    assert docked.need.isVisible()
    assert "tiles" not in docked.need.text()
    docked.viewer.layers[0].data = np.zeros((300, 300), np.float32)
    tiles = docked.options.advanced.editors["tile"]
    tiles.value = 128
    qtbot.waitUntil(lambda: "in tiles of 128 px" in docked.need.text(), timeout=5000)
