from __future__ import annotations

from collections.abc import Callable

import numpy as np
from napari.components import ViewerModel
from small import TINY, fast, picture

import napari_dip as dip
from napari_dip.gui.options import Advanced, Output
from napari_dip.gui.widget import DeepImagePrior

Ends = Callable[..., None]


def choose(widget: DeepImagePrior, text: str) -> None:
    """Choose an entry of the menu of settings."""
    widget.recall_button.offer()
    [action] = [one for one in widget.recall_button.offered.actions() if one.text() == text]
    action.trigger()


def offered(widget: DeepImagePrior) -> list[str]:
    widget.recall_button.offer()
    return [action.text() for action in widget.recall_button.offered.actions() if action.text()]


def test_the_settings_of_a_result_come_back_and_give_the_same_bits(docked: DeepImagePrior, ends: Ends) -> None:
    fast(docked, steps=30)
    docked.options.output.value = Output(preset="best", seed=5, as_source=False, residual=True)
    docked.inputs.task_edit.value = dip.Denoise(noise=dip.Gaussian(10.0))
    docked.run()
    ends(docked)
    choose(docked, "The defaults")
    assert docked.options.output.value == Output()
    assert docked.options.advanced.value == Advanced()
    assert docked.inputs.task_edit.value == dip.Denoise()
    choose(docked, "“cells – denoised”")
    assert docked.options.output.value == Output(preset="best", seed=5, as_source=False)
    assert docked.options.advanced.value == Advanced(stop=dip.FixedSteps(steps=30), prior=TINY)
    assert docked.inputs.task_edit.value == dip.Denoise(noise=dip.Gaussian(10.0))
    docked.run()
    ends(docked)
    layers = docked.viewer.layers
    np.testing.assert_array_equal(layers["cells – denoised"].data, layers["cells – denoised [1]"].data)


def test_what_only_layers_supply_is_named(unplaced: DeepImagePrior, model: ViewerModel, ends: Ends) -> None:
    model.add_image(picture(32, 32), name="cells")
    model.add_labels(np.eye(32, dtype=int), name="holes")
    unplaced.inputs.task_edit.combo.setCurrentText("Inpaint")
    fast(unplaced).run()
    ends(unplaced)
    unplaced.inputs.task_edit.combo.setCurrentText("Denoise")
    choose(unplaced, "“cells – inpainted”")
    assert unplaced.inputs.task_edit.chosen is dip.Inpaint
    assert unplaced.message.text() == "Settings are back; choose yourself: mask."


def test_a_saturation_is_left_to_the_file_where_that_says_the_same(
    unplaced: DeepImagePrior, model: ViewerModel, ends: Ends
) -> None:
    model.add_image(picture(32, 32), name="cells", metadata={"saturation": 270.0})
    fast(unplaced).run()
    ends(unplaced)
    choose(unplaced, "“cells – denoised”")
    assert unplaced.options.output.value.saturation is None
    unplaced.options.output.value = Output(saturation=np.inf)
    unplaced.run()
    ends(unplaced)
    choose(unplaced, "“cells – denoised [1]”")
    assert unplaced.options.output.value.saturation == np.inf


def test_exposures_of_one_scene_are_ticked_again(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(3, 32, 32), name="cells")
    unplaced.inputs.recall(dip.Denoise(frames="T"))
    assert unplaced.inputs.frames.isChecked()
    assert unplaced.inputs.task_edit.value == dip.Denoise()


def test_layers_that_no_run_has_made_are_not_offered(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(32, 32), name="cells")
    model.add_image(picture(32, 32), name="older", metadata={"napari-dip": {"version": "0.0.1"}})
    assert offered(unplaced) == ["The defaults"]
