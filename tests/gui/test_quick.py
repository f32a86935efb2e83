from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.utils import progress
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QThreadPool
from small import picture

import napari_dip as dip
from napari_dip.gui import quick
from napari_dip.gui.quick import denoise_widget, inpaint_widget, super_resolve_widget


@pytest.fixture
def shown(make_napari_viewer: Any) -> Any:
    viewer = make_napari_viewer(show=False)
    viewer.add_image(
        picture(3, 32, 32), name="stack", scale=(2, 0.5, 0.5), units="um", axis_labels=("z", "y", "x"), colormap="cyan"
    )
    viewer.dims.set_current_step(0, 2)
    return viewer


def run(widget: Any, qtbot: Any) -> None:
    """Press its button and wait for its worker."""
    widget.max_steps.value = 4
    widget()
    pool = QThreadPool.globalInstance()
    assert pool is not None
    qtbot.waitUntil(lambda: pool.activeThreadCount() == 0, timeout=30_000)
    qtbot.wait(50)


def test_denoise_adds_the_shown_plane_where_it_lies(shown: Any, qtbot: Any) -> None:
    widget = denoise_widget()
    shown.window.add_dock_widget(widget, name="Denoise")
    run(widget, qtbot)
    restored = shown.layers["stack – denoised"]
    assert restored.data.shape == (1, 32, 32)
    assert restored.translate.tolist() == [4, 0, 0]
    assert restored.units == shown.layers["stack"].units
    assert restored.colormap.name == "cyan"
    assert restored.metadata["napari-dip"]["settings"]["max_steps"] == 4


def test_inpaint_fills_what_is_painted(shown: Any, qtbot: Any) -> None:
    values = np.zeros((3, 32, 32), int)
    values[2, 5:9, 5:9] = 1
    shown.add_labels(values, scale=(2, 0.5, 0.5), units="um")
    widget = inpaint_widget()
    shown.window.add_dock_widget(widget, name="Inpaint")
    run(widget, qtbot)
    source, filled = shown.layers["stack"].data[2], shown.layers["stack – inpainted"].data[0]
    np.testing.assert_array_equal(filled[values[2] == 0], source[values[2] == 0])
    assert (filled[5:9, 5:9] != source[5:9, 5:9]).all()
    marks = shown.layers["stack – filled"]
    np.testing.assert_array_equal(marks.data[0], values[2])
    assert not marks.visible
    assert shown.layers.index(marks) < shown.layers.index("stack – inpainted")


def test_super_resolve_adds_smaller_pixels_over_the_same_field(shown: Any, qtbot: Any) -> None:
    widget = super_resolve_widget()
    shown.window.add_dock_widget(widget, name="Super-resolve")
    widget.factor.value = 2.5
    run(widget, qtbot)
    fine = shown.layers["stack – super-resolved"]
    assert fine.data.shape == (1, 80, 80)
    np.testing.assert_allclose(fine.scale, (2, 0.2, 0.2))
    np.testing.assert_allclose(fine.translate, (4, -0.15, -0.15), atol=1e-9)
    assert any("not for quantification" in note for note in fine.metadata["napari-dip"]["notes"])


def test_labels_that_do_not_fit_are_refused(shown: Any) -> None:
    shown.add_labels(np.ones((3, 32, 32), int), name="holes")
    widget = inpaint_widget()
    shown.window.add_dock_widget(widget, name="Inpaint")
    with pytest.raises(ValueError, match="“holes” does not lie on “stack”"):
        widget()


@pytest.mark.parametrize("factory", [denoise_widget, inpaint_widget, super_resolve_widget])
def test_without_an_image_it_says_so(make_napari_viewer: Any, factory: Any) -> None:
    widget = factory()
    make_napari_viewer(show=False).window.add_dock_widget(widget, name="Restore")
    with pytest.raises(ValueError, match="Open an image first"):
        widget()


def test_without_labels_it_says_what_to_do(shown: Any) -> None:
    widget = inpaint_widget()
    shown.window.add_dock_widget(widget, name="Inpaint")
    with pytest.raises(ValueError, match="Add a labels layer"):
        widget()


def test_cancel_in_the_activity_dock_keeps_the_best_so_far(shown: Any, qtbot: Any) -> None:
    widget = denoise_widget()
    shown.window.add_dock_widget(widget, name="Denoise")
    widget.preset.value, widget.max_steps.value = "plain", 100_000
    widget()
    (bar,) = progress._all_instances
    assert bar.desc.startswith("stack – denoised")
    bar.cancel()
    qtbot.waitUntil(lambda: "stack – denoised" in shown.layers, timeout=10_000)
    assert "stopped" in shown.layers["stack – denoised"].metadata["napari-dip"]["ended"]
    qtbot.waitUntil(lambda: not progress._all_instances, timeout=2000)


def test_a_failure_is_told_and_adds_nothing(shown: Any, qtbot: Any, monkeypatch: Any) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("boom")

    monkeypatch.setattr(quick.dip, "iter_restore", fails)
    widget = denoise_widget()
    shown.window.add_dock_widget(widget, name="Denoise")
    run(widget, qtbot)
    assert [layer.name for layer in shown.layers] == ["stack"]
    assert "failed" in notification_manager.records[-1].message
    assert dip.iter_restore is fails
