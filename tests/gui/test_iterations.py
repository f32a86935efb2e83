from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QPointF
from small import TINY, fast, picture

import napari_dip as dip
from napari_dip.gui.widget import DeepImagePrior

Ends = Callable[..., None]


def kept(widget: DeepImagePrior, ends: Ends) -> Any:
    """Run with the outputs of the steps 20, 40 and 60 kept, and return their layer."""
    widget.options.output.editors["keep_every"].value = 20
    fast(widget, steps=60).run()
    ends(widget)
    assert widget.session is not None
    return widget.session.outputs.iterations


def test_the_shown_iteration_becomes_the_result_and_its_record_says_so(docked: DeepImagePrior, ends: Ends) -> None:
    assert docked.use_button.isHidden()
    stack = kept(docked, ends)
    layers = docked.viewer.layers
    docked.viewer.dims.set_point(0, 40)
    docked.use_button.click()
    np.testing.assert_array_equal(layers["cells – denoised"].data, stack.data[1])
    record = layers["cells – denoised"].metadata["napari-dip"]
    assert record["best_step"] == 40
    assert record["notes"][0].startswith("The output of step 40 was chosen by eye")
    assert "The kept steps were 40 of 60" in docked.session.methods  # type: ignore[union-attr]
    assert docked.message.text() == "“cells – denoised” is step 40 now."
    docked.viewer.dims.set_point(0, 20)
    docked.use_button.click()
    assert len(layers["cells – denoised"].metadata["napari-dip"]["notes"]) == 1


def test_a_click_on_the_bands_moves_the_slider(docked: DeepImagePrior, ends: Ends, qtbot: Any) -> None:
    stack = kept(docked, ends)
    assert not stack.visible
    docked.curves.bands.draw([20, 40, 60], [[1.0, 0.5]] * 3)
    docked.curves.bands.pick(57)
    assert docked.viewer.dims.point[0] == 60
    restored = docked.viewer.layers["cells – denoised"]
    assert (stack.visible, restored.visible) == (True, False)  # which lies above it
    docked.use_button.click()
    assert (stack.visible, restored.visible) == (False, True)


def test_a_click_on_the_curve_tells_its_step_and_one_beside_it_nothing(docked: DeepImagePrior, qtbot: Any) -> None:
    docked.plot.draw([10, 20, 30, 40], [4.0, 3.0, 2.0, 3.0], 30)
    view, told = docked.plot.plot, []
    box = view.getPlotItem().vb

    def is_drawn() -> bool:
        (left, right), (low, high) = box.viewRange()
        return box.width() > 20 and left < 20 < right and low < 0.5 < high

    qtbot.waitUntil(is_drawn, timeout=5000)
    docked.plot.picked.connect(told.append)
    for position in (box.mapViewToScene(QPointF(20, 0.5)), QPointF(-50, -50)):
        view.scene().sigMouseClicked.emit(SimpleNamespace(scenePos=lambda position=position: position))
    assert told == [pytest.approx(20)]


def test_without_the_layers_nothing_happens_but_words(unseen: DeepImagePrior, ends: Ends) -> None:
    unseen.show_iteration(20)
    unseen.use_iteration()
    kept(unseen, ends)
    unseen.viewer.layers.remove("cells – denoised")
    unseen.use_iteration()
    assert unseen.message.text() == "“cells – denoised” is gone: run again."
    unseen.viewer.layers.remove("cells – iterations")
    unseen.show_iteration(20)
    unseen.use_iteration()


def test_iterations_of_an_enhancement_are_no_results(unplaced: DeepImagePrior, model: ViewerModel, ends: Ends) -> None:
    model.add_image(picture(32, 32), name="cells")
    unplaced.inputs.task_edit.combo.setCurrentText("Enhance")
    kept(unplaced, ends)
    assert unplaced.use_button.isHidden()


def test_an_iteration_keeps_what_is_known(unplaced: DeepImagePrior, model: ViewerModel, ends: Ends) -> None:
    layer = model.add_image(picture(32, 32), name="cells")
    holes = np.zeros((32, 32), int)
    holes[10:14, 10:14] = 1
    model.add_labels(holes, name="holes")
    unplaced.inputs.task_edit.combo.setCurrentText("Inpaint")
    stack = kept(unplaced, ends)
    assert unplaced.session is not None
    unplaced.session.use(20)
    restored = model.layers["cells – inpainted"].data
    np.testing.assert_array_equal(restored[holes == 0], layer.data[holes == 0])
    np.testing.assert_array_equal(restored[holes == 1], stack.data[0][holes == 1])


def test_a_run_that_is_stopped_before_a_plane_has_a_kept_step_keeps_the_planes_before() -> None:
    image, control = np.stack([picture(24, 24)] * 2), dip.Control()
    steps = dip.iter_restore(image, prior=TINY, stop=dip.FixedSteps(20), axes="TYX", keep_every=10, control=control)
    for progress in steps:
        if progress.frame == 1 and progress.step == 3:
            control.stop()
    result = progress.restoration()
    assert result.steps == (10, 20)
    assert not np.array_equal(result.image[0], image[0])


def test_a_step_that_was_not_kept_is_refused() -> None:
    image = picture(24, 24)
    result = dip.restore(image, stop=dip.FixedSteps(20), keep_every=10)
    with pytest.raises(ValueError, match="Step 15 was not kept; kept are: 10, 20"):
        result.at(15)
    with pytest.raises(ValueError, match="kept are: none"):
        dip.restore(image, stop=dip.FixedSteps(1)).at(1)
