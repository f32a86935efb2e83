from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.components import ViewerModel
from small import fast, picture

from napari_dip.gui.layers import origin, shown_plane
from napari_dip.gui.levels import to_pixels, to_world
from napari_dip.gui.region import SEEN
from napari_dip.gui.widget import DeepImagePrior

PLACE: dict[str, Any] = {"scale": (3, 0.5, 0.25), "translate": (1, 2, 3), "shear": (0, 0, 0.2)}


def pyramid(*shape: int) -> list[Any]:
    """A picture, and it with half and a quarter of the pixels along the last two axes."""
    values = picture(*shape)
    return [values, values[..., ::2, ::2], values[..., ::4, ::4]]


def test_the_level_that_napari_is_told_to_show_is_restored(
    unplaced: DeepImagePrior, model: ViewerModel, qtbot: Any, ends: Callable[..., None]
) -> None:
    layer = model.add_image(pyramid(3, 96, 64), multiscale=True, name="large", **PLACE)
    unplaced.inputs.check()
    assert unplaced.inputs.origin().shape == (96, 64)
    layer.locked_data_level = 1
    qtbot.waitUntil(lambda: "level 1 of 0 to 2" in unplaced.place.text(), timeout=2000)
    fast(unplaced).run()
    ends(unplaced)
    restored = model.layers["large – denoised"]
    assert restored.data.shape == (1, 48, 32)
    for here, there in (((-0.5, -0.5), (-0.5, -0.5)), ((47.5, 31.5), (95.5, 63.5))):  # the field's edges
        np.testing.assert_allclose(restored.data_to_world((0, *here)), layer.data_to_world((1, *there)), atol=1e-12)


def test_positions_of_a_level_go_to_the_world_and_back(model: ViewerModel) -> None:
    layer = model.add_image(pyramid(3, 96, 64), multiscale=True, **PLACE)
    layer.locked_data_level = 2
    np.testing.assert_allclose(to_world(layer, (1, 0, 0)), layer.data_to_world((1, 1.5, 1.5)))
    np.testing.assert_allclose(to_pixels(layer, to_world(layer, (2, 5, 7))), (2, 5, 7))


def test_a_level_has_the_plane_that_is_shown_also_where_it_has_fewer(model: ViewerModel) -> None:
    values = picture(8, 64, 64)
    layer = model.add_image([values, values[::2, ::2, ::2]], multiscale=True)
    layer.locked_data_level = 1
    model.dims.set_current_step(0, 5)
    plane = shown_plane(layer, model.dims)
    assert plane == (2, -1, -1)
    np.testing.assert_array_equal(origin(layer, plane).read(), values[4, ::2, ::2])


def test_labels_with_the_pixels_of_the_level_mark_it(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    layer = model.add_image(pyramid(96, 64), multiscale=True, name="large")
    model.add_labels(np.eye(48, 32, dtype=int), scale=(2, 2), translate=(0.5, 0.5), name="holes")
    unplaced.inputs.task_edit.combo.setCurrentText("Inpaint")
    unplaced.inputs.check()
    assert "“holes” has shape 48 x 32" in unplaced.place.text()
    layer.locked_data_level = 1
    unplaced.inputs.check()
    assert unplaced.run_button.isEnabled()
    assert unplaced.inputs.mask().sum() == 32


def test_a_rectangle_is_cut_out_of_the_level(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    layer = model.add_image(pyramid(96, 64), multiscale=True, name="large")
    model.add_shapes([[[-0.5, 31.5], [-0.5, 63.5], [63.5, 63.5], [63.5, 31.5]]], name="part")
    layer.locked_data_level = 1
    unplaced.inputs.region.setCurrentText("part")
    assert unplaced.inputs.origin().region == [[0, 32], [16, 32]]


def test_what_is_seen_of_many_levels_is_not_told(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(pyramid(96, 64), multiscale=True, name="large")
    unplaced.inputs.region.setCurrentText(SEEN)
    unplaced.inputs.check()
    assert "draw a rectangle" in unplaced.place.text()
    assert not unplaced.run_button.isEnabled()
