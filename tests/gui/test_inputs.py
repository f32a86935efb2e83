from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from small import fast, picture

import napari_dip as dip
from napari_dip.gui import beside, inputs
from napari_dip.gui.options import Advanced
from napari_dip.gui.widget import DeepImagePrior


def said(widget: DeepImagePrior) -> str:
    """What stands beside Run."""
    widget.inputs.check()
    return widget.place.text()


def choose_inpaint(widget: DeepImagePrior) -> None:
    widget.inputs.task_edit.combo.setCurrentText("Inpaint")


def test_without_an_image_run_is_disabled_and_says_why(unplaced: DeepImagePrior) -> None:
    assert "Open an image first" in said(unplaced)
    assert not unplaced.run_button.isEnabled()


def test_an_image_enables_run(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(32, 32), name="cells")
    assert said(unplaced) == ""
    assert unplaced.run_button.isEnabled()


@pytest.mark.parametrize(
    ("values", "reason"), [(np.zeros((32, 32), complex), "complex"), (np.zeros((32, 5)), "too small")]
)
def test_an_image_that_cannot_be_restored_is_refused_in_words(
    unplaced: DeepImagePrior, model: ViewerModel, values: Any, reason: str
) -> None:
    if values.dtype.kind == "c":
        layer = model.add_image(values.real, name="cells")
        layer._data = values  # napari itself refuses to show some complex images
    else:
        model.add_image(values, name="cells")
    assert reason in said(unplaced)
    assert not unplaced.run_button.isEnabled()


def test_settings_that_do_not_go_together_disable_run(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(32, 32))
    unplaced.options.advanced.value = Advanced(prior=dip.Prior())
    network = unplaced.options.advanced.editors["prior"].editor.editors["network"].forms[dip.Skip]  # type: ignore[attr-defined]
    network.editors["up"].value = (8, 8)
    network.changed.emit()
    assert "Skip.up has 2 values for 5 levels" in unplaced.place.text()
    assert not unplaced.run_button.isEnabled()


def test_inpainting_without_labels_says_what_to_do(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(32, 32), name="cells")
    choose_inpaint(unplaced)
    assert "add a labels layer" in said(unplaced)
    assert not unplaced.run_button.isEnabled()


def test_painting_enables_run_and_the_number_of_missing_pixels_is_said(
    unplaced: DeepImagePrior, model: ViewerModel, qtbot: Any
) -> None:
    model.add_image(picture(32, 32), name="cells")
    labels = model.add_labels(np.zeros((32, 32), int), name="holes")
    choose_inpaint(unplaced)
    assert "Nothing is painted in “holes”" in said(unplaced)
    assert not unplaced.run_button.isEnabled()
    labels.paint((10, 10), 1)
    qtbot.waitUntil(unplaced.run_button.isEnabled, timeout=2000)
    assert "of 1,024 pixels" in unplaced.inputs.statement.text()


def test_the_missing_label_values_can_be_chosen(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(32, 32), name="cells")
    values = np.zeros((32, 32), int)
    values[:4, :4], values[9, 9] = 2, 7
    model.add_labels(values)
    choose_inpaint(unplaced)
    said(unplaced)
    combo = unplaced.inputs.values
    offered = [combo.itemText(i) for i in range(combo.count())]
    assert offered == ["every value except 0", "value 2 only", "value 7 only", "value 0, the unpainted"]
    assert unplaced.inputs.mask().sum() == 17
    combo.setCurrentIndex(2)
    assert np.argwhere(unplaced.inputs.mask()).tolist() == [[9, 9]]
    said(unplaced)
    assert "1 of 1,024 pixels" in unplaced.inputs.statement.text()
    task = unplaced.inputs.task()
    assert isinstance(task, dip.Inpaint)
    assert task.mask is not None
    assert task.mask.sum() == 1


def test_labels_elsewhere_are_refused_in_words(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(32, 32), name="cells", scale=(0.5, 0.5))
    model.add_labels(np.ones((32, 32), int), name="holes")
    choose_inpaint(unplaced)
    assert "“holes” does not lie on “cells”" in said(unplaced)
    assert not unplaced.run_button.isEnabled()


def test_labels_of_another_size_are_refused_in_words(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(32, 32), name="cells")
    model.add_labels(np.ones((16, 16), int), name="holes")
    choose_inpaint(unplaced)
    assert "16 x 16" in said(unplaced)


def test_labels_that_cover_everything_are_refused(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(32, 32), name="cells")
    model.add_labels(np.ones((32, 32), int), name="holes")
    choose_inpaint(unplaced)
    assert "All of the image" in said(unplaced)


def test_an_image_with_nan_can_be_inpainted_without_labels(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    values = picture(32, 32)
    values[3, 3] = np.nan
    model.add_image(values, name="cells", contrast_limits=(0, 300))
    choose_inpaint(unplaced)
    assert said(unplaced) == ""
    assert unplaced.run_button.isEnabled()


def test_the_mask_controls_are_there_only_for_a_task_that_needs_them(
    unplaced: DeepImagePrior, model: ViewerModel
) -> None:
    model.add_image(picture(32, 32))
    said(unplaced)
    assert unplaced.inputs.labels.isHidden()
    choose_inpaint(unplaced)
    said(unplaced)
    assert not unplaced.inputs.labels.isHidden()


def counted(shape: tuple[int, ...], reads: list[int]) -> Any:
    """A lazy stack, and the planes of it that were read."""

    def block(block_info: Any = None) -> Any:
        reads.append(block_info[None]["chunk-location"][0])
        return picture(1, *shape[1:])

    return da.map_blocks(block, chunks=((1,) * shape[0], *shape[1:]), dtype=np.float32, meta=np.empty((0,) * 3))


def test_a_lazy_stack_is_not_read_before_a_run(unplaced: DeepImagePrior, model: ViewerModel, ends: Any) -> None:
    reads: list[int] = []
    model.add_image(counted((6, 32, 32), reads), name="stack", contrast_limits=(0, 300))
    model.add_labels(counted((6, 32, 32), reads) > 1000, name="holes")
    choose_inpaint(unplaced)
    unplaced.inputs.every.setChecked(True)
    reads.clear()
    assert said(unplaced) == "every plane: 6 fits"
    assert unplaced.run_button.isEnabled()
    assert "of 1,024 pixels of the shown plane" in unplaced.inputs.statement.text()
    model.layers.remove("holes")
    reads.clear()
    assert said(unplaced) == "every plane: 6 fits"
    assert reads == []
    fast(unplaced).run()
    ends(unplaced)
    assert "Nothing is missing" in unplaced.message.text()


def test_of_many_values_the_shown_plane_is_looked_at(
    unplaced: DeepImagePrior, model: ViewerModel, monkeypatch: Any
) -> None:
    monkeypatch.setattr(inputs, "MANY", 3000)
    monkeypatch.setattr(beside, "MANY_LABELS", 3000)
    model.add_image(picture(4, 32, 32), name="stack")
    values = np.zeros((4, 32, 32), int)
    values[1, 4:6, 4:6], values[2, 9, 9] = 2, 7
    model.add_labels(values, name="holes")
    choose_inpaint(unplaced)
    unplaced.inputs.every.setChecked(True)
    model.dims.set_current_step(0, 1)
    said(unplaced)
    combo = unplaced.inputs.values
    assert [combo.itemData(i) for i in range(combo.count())] == [None, 2, 0]
    assert unplaced.inputs.statement.text().startswith("4 of 1,024 pixels of the shown plane")
    combo.setCurrentIndex(1)
    model.dims.set_current_step(0, 2)
    assert said(unplaced) == "every plane: 4 fits"
    assert [combo.itemData(i) for i in range(combo.count())] == [None, 2, 7, 0]
    assert combo.currentData() == 2
    assert unplaced.run_button.isEnabled()
    assert unplaced.inputs.mask().sum() == 4


def test_a_chosen_value_does_not_go_over_to_another_labels_layer(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(32, 32), name="cells")
    model.add_labels(np.eye(32, dtype=int) * 3, name="threes")
    choose_inpaint(unplaced)
    said(unplaced)
    unplaced.inputs.values.setCurrentIndex(1)
    said(unplaced)
    assert unplaced.inputs.values.currentData() == 3
    unplaced.inputs.labels.layer = model.add_labels(np.eye(32, dtype=int) * 5, name="fives")
    said(unplaced)
    assert unplaced.inputs.values.currentData() is None


def test_what_is_painted_during_a_run_is_counted_after_it(
    unplaced: DeepImagePrior, model: ViewerModel, ends: Any, steps_taken: Any, qtbot: Any
) -> None:
    model.add_image(picture(32, 32), name="cells")
    labels = model.add_labels(np.eye(32, dtype=int), name="holes")
    choose_inpaint(unplaced)
    fast(unplaced, steps=100_000).run()
    steps_taken(unplaced)
    labels.data = np.ones((32, 32), int)
    qtbot.wait(200)
    assert unplaced.inputs.statement.text().startswith("32 of")
    unplaced.stop()
    ends(unplaced)
    qtbot.waitUntil(lambda: unplaced.inputs.statement.text().startswith("1,024 of"), timeout=2000)
    assert "All of the image" in unplaced.place.text()


def test_the_plane_is_said_beside_run_and_follows_the_slider(
    unplaced: DeepImagePrior, model: ViewerModel, qtbot: Any
) -> None:
    model.add_image(picture(40, 16, 16), name="stack", axis_labels=("z", "y", "x"))
    model.dims.set_current_step(0, 12)
    assert said(unplaced) == "plane z=12 of 40"
    model.dims.set_current_step(0, 13)
    qtbot.waitUntil(lambda: unplaced.place.text() == "plane z=13 of 40", timeout=1000)
    unplaced.inputs.every.setChecked(True)
    assert said(unplaced) == "every plane: 40 fits"


def test_a_stack_is_fitted_as_one_volume_with_the_voxels_of_its_layer(
    unplaced: DeepImagePrior, model: ViewerModel, ends: Any
) -> None:
    stack = model.add_image(picture(9, 20, 20), name="stack", scale=(0.3, 0.1, 0.1), units=("um", "um", "um"))
    said(unplaced)
    unplaced.inputs.every.setChecked(True)
    unplaced.inputs.volume.setChecked(True)
    assert said(unplaced) == "one volume of 9 planes"
    assert not unplaced.inputs.every.isChecked()
    source = unplaced.inputs.origin()
    assert (source.axes, source.each, source.fits) == ("ZYX", "", 1)
    assert source.spacing == pytest.approx((0.3, 0.1, 0.1))
    fast(unplaced, steps=3).run()
    ends(unplaced)
    restored = model.layers["stack – denoised"]
    assert restored.data.shape == stack.data.shape
    assert restored.metadata["napari-dip"]["settings"]["axes"] == "ZYX"
    assert restored.metadata["napari-dip"]["settings"]["spacing"] == pytest.approx([0.3, 0.1, 0.1])
    unplaced.inputs.every.setChecked(True)
    assert not unplaced.inputs.volume.isChecked()


def test_a_series_in_time_is_no_volume(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(9, 20, 20), name="series", axis_labels=("t", "y", "x"))
    unplaced.inputs.volume.setChecked(True)
    said(unplaced)
    assert unplaced.inputs.volume.isHidden()
    assert unplaced.inputs.origin().axes == "YX"


def test_voxels_in_units_that_do_not_compare_have_no_size(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(9, 20, 20), scale=(0.3, 0.1, 0.1), units=("um", "pixel", "pixel"))
    said(unplaced)
    assert unplaced.inputs.origin().spacing is None
    unplaced.inputs.volume.setChecked(True)
    assert unplaced.inputs.origin().spacing is None


def test_planes_may_be_exposures_of_one_scene(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(32, 32), name="one")
    unplaced.inputs.check()
    assert unplaced.inputs.frames.isHidden()
    layer = model.add_image(picture(3, 5, 32, 32), name="exposures", axis_labels=("p", "time", "y", "x"))
    unplaced.inputs.image.layer = layer
    unplaced.inputs.every.setChecked(True)
    unplaced.inputs.frames.setChecked(True)
    assert not unplaced.inputs.every.isChecked(), "one excludes the other"
    assert said(unplaced) == "5 exposures of one scene: one image"
    assert unplaced.run_button.isEnabled()
    assert unplaced.inputs.task().frames == "T"  # type: ignore[attr-defined]
    model.dims.set_current_step(0, 2)
    found = unplaced.inputs.origin()
    np.testing.assert_array_equal(found.read(), layer.data[2])
    assert (found.measured_axes, found.shape) == ("TYX", (32, 32))
    choose_inpaint(unplaced)
    unplaced.inputs.check()
    assert unplaced.inputs.frames.isHidden()
    assert unplaced.inputs.origin().frames is None


def test_every_plane_can_be_asked_for_only_of_a_stack(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(32, 32))
    said(unplaced)
    assert unplaced.inputs.every.isHidden()


def test_a_renamed_layer_keeps_being_chosen(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(32, 32), name="one")
    layer = model.add_image(picture(32, 32), name="two")
    unplaced.inputs.image.layer = layer
    layer.name = "three"
    assert unplaced.inputs.image.currentText() == "three"
    assert unplaced.inputs.image.layer is layer


def test_a_removed_layer_is_replaced_by_one_that_is_there(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    first = model.add_image(picture(32, 32), name="one")
    second = model.add_image(picture(32, 32), name="two")
    unplaced.inputs.image.layer = second
    model.layers.remove(second)
    assert unplaced.inputs.image.layer is first
    model.layers.clear()
    assert unplaced.inputs.image.layer is None


def test_colours_keep_their_type(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    unplaced.options.output.editors["as_source"].value = False
    model.add_image(np.zeros((32, 32, 3), np.uint8), rgb=True)
    said(unplaced)
    assert not unplaced.options.output.editors["as_source"].isEnabled()
    assert unplaced.options.values()["dtype"] == "source"


def test_only_devices_that_are_there_are_offered(unplaced: DeepImagePrior) -> None:
    from napari_dip.engine import devices

    offered = unplaced.options.output.editors["device"].choices  # type: ignore[attr-defined]
    assert offered == ("auto", *devices.available())


def test_a_graphics_card_that_is_not_used_is_mentioned(model: ViewerModel, qtbot: Any, monkeypatch: Any) -> None:
    from qtpy.QtWidgets import QLabel

    from napari_dip.engine import devices

    monkeypatch.setattr(devices, "unused_gpu", lambda: "An NVIDIA driver is installed, but …")
    widget = DeepImagePrior(model)
    qtbot.addWidget(widget)
    assert any("NVIDIA" in label.text() for label in widget.findChildren(QLabel))


def test_the_automatic_rule_is_the_tasks(unplaced: DeepImagePrior) -> None:
    assert unplaced.options.values()["stop"] is None
    unplaced.options.advanced.value = Advanced(stop=dip.FixedSteps(steps=5))
    assert unplaced.options.values()["stop"] == dip.FixedSteps(steps=5)


# Other images that a task takes


def choose_guided(widget: DeepImagePrior) -> None:
    widget.inputs.task_edit.combo.setCurrentText("Guided")
    widget.inputs.check()


def guide_combo(widget: DeepImagePrior) -> Any:
    return widget.inputs.others[dip.Guided, "guide"]


def test_a_guide_is_asked_for_and_the_image_itself_is_none(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(32, 32), name="dim")
    choose_guided(unplaced)
    assert "Open the guide too, as an image layer of its own" in said(unplaced)
    assert guide_combo(unplaced).count() == 0
    assert not unplaced.run_button.isEnabled()


def test_the_row_of_a_guide_is_there_for_its_task_only(unplaced: DeepImagePrior) -> None:
    unplaced.inputs.check()
    assert not unplaced.inputs.grid.isRowVisible(guide_combo(unplaced))
    choose_guided(unplaced)
    assert unplaced.inputs.grid.isRowVisible(guide_combo(unplaced))


def test_a_guide_of_another_shape_or_place_is_refused_in_words(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(20, 32), name="small")
    moved = model.add_image(picture(32, 32), name="moved", translate=(0, 3))
    dim = model.add_image(picture(32, 32), name="dim")
    unplaced.inputs.image.layer = dim
    choose_guided(unplaced)
    guide_combo(unplaced).layer = model.layers["small"]
    assert "“small” has shape 20 x 32, “dim” 32 x 32: they must have the same pixels" in said(unplaced)
    guide_combo(unplaced).layer = moved
    assert "“moved” does not lie on “dim”" in said(unplaced)
    moved.translate = (0, 0)
    assert said(unplaced) == ""
    assert unplaced.run_button.isEnabled()


def test_the_guide_goes_to_the_task_with_the_plane_that_is_restored(
    unplaced: DeepImagePrior, model: ViewerModel
) -> None:
    bright = model.add_image(picture(3, 32, 32, seed=1), name="bright")
    model.add_image(picture(3, 32, 32), name="dim")
    model.dims.set_current_step(0, 2)
    unplaced.inputs.image.layer = model.layers["dim"]
    choose_guided(unplaced)
    np.testing.assert_array_equal(unplaced.inputs.task().guide, bright.data[2])  # type: ignore[attr-defined]
    unplaced.inputs.every.setChecked(True)
    np.testing.assert_array_equal(unplaced.inputs.task().guide, bright.data)  # type: ignore[attr-defined]
    grey = model.add_image(np.zeros((32, 32, 3), np.uint8), rgb=True, name="colours")
    guide_combo(unplaced).layer = grey
    unplaced.inputs.every.setChecked(False)
    unplaced.inputs.check()
    assert unplaced.run_button.isEnabled()
    assert unplaced.inputs.task().guide.shape == (32, 32, 3)  # type: ignore[attr-defined]


def test_super_resolution_runs_and_its_preview_and_result_have_smaller_pixels(
    unplaced: DeepImagePrior, model: ViewerModel, ends: Any
) -> None:
    layer = model.add_image(picture(20, 24), name="cells", scale=(2, 2), translate=(5, 5))
    unplaced.inputs.task_edit.combo.setCurrentText("Super resolve")
    unplaced.options.advanced.value = Advanced(stop=dip.FixedSteps(steps=5), prior=dip.Prior(dip.Skip((8,), 8)))
    unplaced.inputs.check()
    unplaced.run()
    ends(unplaced)
    fine = model.layers["cells – super-resolved"]
    assert fine.data.shape == (40, 48)
    assert fine.scale.tolist() == [1, 1]
    assert fine.translate.tolist() == [4.5, 4.5]
    assert "not for quantification" in unplaced.message.text()
    assert layer.data.shape == (20, 24)


def test_a_jpeg_s_layer_tells_how_it_was_compressed(
    unplaced: DeepImagePrior, model: ViewerModel, tmp_path: Any
) -> None:
    steps = {"luma": [7] * 64, "chroma": [], "subsampling": [1, 1]}
    model.add_image(picture(32, 32), name="cells", metadata={"jpeg": steps})
    unplaced.inputs.task_edit.combo.setCurrentText("Deblock")
    assert said(unplaced) == ""
    assert unplaced.inputs.task() == dip.Deblock(tables=dip.JpegTables((7,) * 64))
    model.add_image(picture(32, 32), name="others")
    unplaced.inputs.image.layer = model.layers["others"]
    assert unplaced.inputs.task() == dip.Deblock()


def test_a_colour_takes_the_place_of_labels_for_inpainting(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(32, 32), name="cells")
    choose_inpaint(unplaced)
    form = unplaced.inputs.task_edit.forms[dip.Inpaint]
    form.editors["mask_colour"].value = "255"
    assert said(unplaced) == ""
    assert unplaced.run_button.isEnabled()
    form.editors["mask_colour"].value = "#ff"
    assert "is no colour" in said(unplaced)
    assert not unplaced.run_button.isEnabled()


def test_a_psf_of_a_super_resolution_is_a_layer_a_model_or_none(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    psf = model.add_image(np.outer([1, 2, 1], [1, 2, 1]).astype(float), name="PSF")
    model.add_image(picture(32, 32), name="low")
    unplaced.inputs.image.layer = model.layers["low"]
    unplaced.inputs.task_edit.combo.setCurrentText("Super resolve")
    unplaced.inputs.check()
    combo = unplaced.inputs.others[dip.SuperResolve, "psf"]
    assert combo.layer is None
    assert unplaced.inputs.task().psf is unplaced.inputs.task().model is None  # type: ignore[attr-defined]
    assert unplaced.run_button.isEnabled()
    combo.layer = psf
    np.testing.assert_array_equal(unplaced.inputs.task().psf, psf.data)  # type: ignore[attr-defined]
    shown = unplaced.inputs.task_edit.forms[dip.SuperResolve].editors["model"]
    shown.value = dip.MoffatPSF(2.5)
    assert unplaced.inputs.task().model == dip.MoffatPSF(2.5)  # type: ignore[attr-defined]
    assert unplaced.run_button.isEnabled()


def test_a_psf_may_be_a_layer_of_any_size_or_a_model(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    psf = model.add_image(np.outer([1, 2, 1], [1, 2, 1]).astype(float), name="PSF")
    model.add_image(picture(32, 32), name="blurred")
    unplaced.inputs.image.layer = model.layers["blurred"]
    unplaced.inputs.task_edit.combo.setCurrentText("Deconvolve")
    unplaced.inputs.check()
    combo = unplaced.inputs.others[dip.Deconvolve, "psf"]
    combo.layer = None
    unplaced.inputs.check()
    assert unplaced.run_button.isEnabled()
    assert unplaced.inputs.task().model == dip.GaussianPSF()  # type: ignore[attr-defined]
    assert unplaced.inputs.task().psf is None  # type: ignore[attr-defined]
    combo.layer = psf
    np.testing.assert_array_equal(unplaced.inputs.task().psf, psf.data)  # type: ignore[attr-defined]
    assert unplaced.run_button.isEnabled()
