from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from small import fast, picture

import napari_dip as dip
from napari_dip.gui.beside import beside, marked
from napari_dip.gui.layers import origin
from napari_dip.gui.region import SEEN, WHOLE
from napari_dip.gui.widget import DeepImagePrior
from napari_dip.io.viewer import ORIGIN

Ends = Callable[..., None]
BOX = np.array([[8, 4], [8, 27], [39, 27], [39, 4]])  # (Y, X) of the corners: 32 x 24 px


def choose(widget: DeepImagePrior, text: str) -> str:
    """Choose a region, and return what stands beside Run."""
    widget.inputs.region.setCurrentText(text)
    widget.inputs.check()
    return widget.place.text()


def test_all_of_the_plane_is_restored_unless_a_part_is_chosen(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(48, 40), name="cells")
    assert unplaced.inputs.region.currentText() == WHOLE
    assert unplaced.inputs.origin().shape == (48, 40)


def test_a_rectangle_alone_is_restored_and_lies_where_it_was_drawn(
    unplaced: DeepImagePrior, model: ViewerModel, ends: Ends
) -> None:
    place: dict[str, Any] = {"scale": (0.5, 0.25), "translate": (3, -7), "rotate": 20}
    layer = model.add_image(picture(48, 40), name="cells", **place)
    model.add_shapes([BOX], name="part", **place)
    assert choose(unplaced, "part") == "the region of 32 x 24 px"
    fast(unplaced).run()
    ends(unplaced)
    restored = model.layers["cells – denoised"]
    assert restored.data.shape == (32, 24)
    for corner in ((0, 0), (31, 23)):
        np.testing.assert_allclose(restored.data_to_world(corner), layer.data_to_world(np.add(corner, (8, 4))))
    assert restored.metadata["napari-dip"]["region"] == [[8, 40], [4, 28]]


def test_a_part_is_restored_as_the_same_part_cut_out_before(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    layer = model.add_image(picture(48, 40), name="cells")
    model.add_shapes([BOX], name="part")
    choose(unplaced, "part")
    np.testing.assert_array_equal(unplaced.inputs.origin().read(), layer.data[8:40, 4:28])


def test_a_rectangle_may_have_other_units_than_the_image(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(48, 40), name="cells", scale=(0.5, 0.5), units="um")
    model.add_shapes([BOX], name="part", scale=(500, 500), units="nm")
    choose(unplaced, "part")
    assert unplaced.inputs.origin().region == [[8, 40], [4, 28]]


def test_of_several_rectangles_the_selected_counts_and_else_the_last(
    unplaced: DeepImagePrior, model: ViewerModel, qtbot: Any
) -> None:
    model.add_image(picture(48, 40), name="cells")
    shapes = model.add_shapes([BOX, [[0, 0], [0, 19], [17, 19], [17, 0]]], name="part")
    shapes.selected_data = set()
    assert choose(unplaced, "part") == "the region of 18 x 20 px"
    shapes.selected_data = {0}
    qtbot.waitUntil(lambda: unplaced.place.text() == "the region of 32 x 24 px", timeout=2000)


def test_what_is_drawn_counts_at_once(unplaced: DeepImagePrior, model: ViewerModel, qtbot: Any) -> None:
    model.add_image(picture(48, 40), name="cells")
    shapes = model.add_shapes(None, name="part", ndim=2)
    assert choose(unplaced, "part") == "Draw a rectangle in “part”: that part alone is restored."
    assert not unplaced.run_button.isEnabled()
    shapes.add_rectangles(BOX)
    qtbot.waitUntil(unplaced.run_button.isEnabled, timeout=2000)


def test_a_rectangle_beside_the_image_is_refused_in_words(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(48, 40), name="cells")
    model.add_shapes([BOX + 100], name="part")
    unplaced.inputs.task_edit.combo.setCurrentText("Inpaint")
    model.add_labels(np.ones((48, 40), int), name="holes")
    assert choose(unplaced, "part") == "The rectangle in “part” holds no pixel of “cells”."
    assert not unplaced.run_button.isEnabled()


def test_a_rectangle_that_goes_gives_way_to_the_whole_plane(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(48, 40), name="cells")
    model.add_shapes([BOX], name="part")
    choose(unplaced, "part")
    model.layers.remove("part")
    unplaced.inputs.check()
    assert unplaced.inputs.region.currentText() == WHOLE
    assert unplaced.place.text() == ""


def test_of_every_plane_and_of_colours_the_same_part_is_taken(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    colours = np.zeros((5, 48, 40, 3), np.uint8)
    model.add_image(colours, name="film", rgb=True)
    model.add_shapes([BOX], name="part")
    unplaced.inputs.every.setChecked(True)
    assert choose(unplaced, "part") == "every plane: 5 fits, the region of 5 x 32 x 24 x 3 px"
    assert unplaced.inputs.origin().shape == (5, 32, 24, 3)
    unplaced.inputs.every.setChecked(False)
    assert unplaced.inputs.origin().shape == (32, 24, 3)


def test_a_part_of_a_jpeg_begins_and_ends_with_its_blocks(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(72, 40), name="photo")
    model.add_shapes([BOX], name="part")
    unplaced.inputs.task_edit.combo.setCurrentText("Deblock")
    choose(unplaced, "part")
    assert unplaced.inputs.origin().region == [[0, 48], [0, 32]]


def test_marks_and_guides_are_cut_to_the_part(model: ViewerModel) -> None:
    layer = model.add_image(picture(3, 48, 40), name="cells")
    labels = model.add_labels(np.random.default_rng(0).integers(0, 2, (48, 40)))
    guide = model.add_image(picture(3, 96, 60), scale=(1, 0.5, 2 / 3))
    part = origin(layer, (1, -1, -1), part={1: slice(8, 40), 2: slice(4, 28)})
    np.testing.assert_array_equal(marked(labels, part, None), labels.data[8:40, 4:28] != 0)
    np.testing.assert_array_equal(beside(guide, part), guide.data[1, 16:80, 6:42])


def test_of_a_lazy_image_the_part_alone_is_read(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    reads: list[Any] = []

    def block(block_info: Any = None) -> Any:
        reads.append(tuple(block_info[None]["chunk-location"]))
        return picture(16, 16)

    lazy = da.map_blocks(block, chunks=((16,) * 4, (16,) * 4), dtype=np.float32, meta=np.empty((0, 0)))
    model.add_image(lazy, name="large", contrast_limits=(0, 300))
    model.add_shapes([BOX], name="part")
    choose(unplaced, "part")
    reads.clear()
    unplaced.inputs.origin().read()
    assert sorted(reads) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]


def test_what_the_window_shows_is_restored(docked: DeepImagePrior, viewer: Any, qtbot: Any, ends: Ends) -> None:
    viewer.layers.clear()
    layer = viewer.add_image(picture(64, 64), name="field", scale=(2, 2))
    viewer.scene.camera.center, viewer.scene.camera.zoom = (64, 64), 12
    choose(docked, SEEN)
    qtbot.waitUntil(lambda: bool((layer.corner_pixels[0] > 0).all()), timeout=5000)
    first, last = layer.corner_pixels
    fast(docked).run()
    ends(docked)
    restored = viewer.layers["field – denoised"]
    assert restored.data.shape == tuple(last - first + 1)
    assert restored.data.size < layer.data.size / 2
    np.testing.assert_allclose(restored.data_to_world((0, 0)), layer.data_to_world(first))


def test_moving_the_view_changes_what_stands_beside_run(docked: DeepImagePrior, viewer: Any, qtbot: Any) -> None:
    choose(docked, SEEN)
    viewer.scene.camera.center, viewer.scene.camera.zoom = (1000, 1000), 20
    qtbot.waitUntil(lambda: "What the window shows holds no pixel of “cells”" in docked.place.text(), timeout=5000)
    assert not docked.run_button.isEnabled()
    viewer.scene.camera.center, viewer.scene.camera.zoom = (16, 16), 20
    qtbot.waitUntil(docked.run_button.isEnabled, timeout=5000)
    choose(docked, WHOLE)
    assert not docked.inputs.region.timer.isActive()


def test_in_3d_what_is_seen_is_no_part_of_a_plane(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(4, 32, 32), name="stack")
    model.dims.ndisplay = 3
    assert "In 3-D nobody can tell" in choose(unplaced, SEEN)


def test_leaving_3d_and_moving_the_rectangle_are_heard_of(
    unplaced: DeepImagePrior, model: ViewerModel, qtbot: Any
) -> None:
    model.add_image(picture(4, 48, 40), name="stack")
    shapes = model.add_shapes([BOX], name="part")
    model.dims.ndisplay = 3
    choose(unplaced, SEEN)
    assert not unplaced.run_button.isEnabled()
    choose(unplaced, "part")
    assert unplaced.run_button.isEnabled()
    shapes.translate = (100, 0)
    qtbot.waitUntil(lambda: not unplaced.run_button.isEnabled(), timeout=2000)
    unplaced.inputs.region.setCurrentText(SEEN)
    model.dims.ndisplay = 2
    qtbot.waitUntil(lambda: "In 3-D" not in unplaced.place.text(), timeout=2000)


def test_a_part_keeps_what_the_file_says_of_saturation_and_not_where_the_whole_lies(model: ViewerModel) -> None:
    said = {"saturation": 250.0, ORIGIN: {"header": "of the whole"}}
    layer = model.add_image(picture(48, 40), name="cells", metadata=said)
    whole, part = origin(layer, (-1, -1)), origin(layer, (-1, -1), part={0: slice(8, 40)})
    assert set(whole.metadata({}, (48, 40))) == {"napari-dip", "saturation", ORIGIN}
    assert set(part.metadata({}, (32, 40))) == {"napari-dip", "saturation"}


def test_a_finer_result_of_a_part_keeps_the_parts_edges(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    layer = model.add_image(picture(48, 40), name="cells", scale=(0.5, 0.25))
    model.add_shapes([np.add(BOX, (0, 1))], name="part", scale=(0.5, 0.25))
    unplaced.inputs.task_edit.value = dip.SuperResolve(factor=1.5)
    choose(unplaced, "part")
    chosen = unplaced.inputs.origin()
    assert chosen.region == [[8, 40], [4, 30]]  # where edges of both grids meet
    finer = chosen.layer(np.zeros((48, 39), np.float32), "finer", {})
    np.testing.assert_allclose(finer.data_to_world((-0.5, -0.5)), layer.data_to_world((7.5, 3.5)))
    np.testing.assert_allclose(finer.data_to_world((47.5, 38.5)), layer.data_to_world((39.5, 29.5)))


@pytest.mark.parametrize("gone", ["part", "cells"])
def test_layers_may_go_while_a_part_is_chosen(unplaced: DeepImagePrior, model: ViewerModel, gone: str) -> None:
    model.add_image(picture(48, 40), name="cells")
    model.add_shapes([BOX], name="part")
    choose(unplaced, "part")
    model.layers.remove(gone)
    unplaced.inputs.check()
    assert unplaced.run_button.isEnabled() is (gone == "part")
