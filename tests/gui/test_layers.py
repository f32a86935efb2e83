from __future__ import annotations

import json
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

import napari_dip as dip
from napari_dip.gui.beside import marked, mismatch
from napari_dip.gui.layers import axis_letters, describe, leading_unit, origin, shown_plane
from napari_dip.gui.outputs import Outputs

# napari says of every layer whose affine mixes slices that it shows them approximately, the source included
pytestmark = pytest.mark.filterwarnings(
    "ignore:Non-orthogonal slicing is being requested:UserWarning:napari.layers.utils._slice_input"
)
TILT = np.array([[np.cos(0.3), -np.sin(0.3), 4.0], [np.sin(0.3), np.cos(0.3), -2.0], [0, 0, 1]])


def tilt(ndim: int) -> Any:
    """An affine that rotates the last two axes and mixes a little of the first into them."""
    matrix = np.eye(ndim + 1)
    matrix[-3:, -3:] = TILT
    if ndim > 2:
        matrix[-2, 0] = 0.1
    return matrix


LAYOUTS: dict[str, dict[str, Any]] = {
    "2-D": {"shape": (20, 24), "scale": (0.26, 0.13), "translate": (5, -3), "units": "um"},
    "2-D tilted": {"shape": (20, 24), "scale": (0.26, 0.13), "rotate": 12, "shear": [0.2], "affine": tilt(2)},
    "TYX": {
        "shape": (5, 20, 24), "scale": (30, 0.2, 0.2), "units": ("s", "um", "um"), "axis_labels": ("t", "y", "x"),
    },
    "ZYX": {
        "shape": (5, 20, 24), "scale": (2, 0.3, 0.3), "translate": (7, 1, 2), "units": "um",
        "axis_labels": ("z", "y", "x"),
    },
    "ZYX tilted": {"shape": (5, 20, 24), "scale": (2, 0.3, 0.3), "shear": [0.1, 0.0, 0.2], "affine": tilt(3)},
    "CZYX": {
        "shape": (2, 4, 20, 24), "scale": (1, 2, 0.3, 0.3), "units": ("pixel", "um", "um", "um"),
        "axis_labels": ("channel", "z", "y", "x"),
    },
    "RGB": {"shape": (20, 24, 3), "rgb": True, "scale": (0.5, 0.25), "translate": (1, 2), "units": "um"},
    "RGBA": {"shape": (20, 24, 4), "rgb": True},
    "TYX RGB": {"shape": (3, 20, 24, 3), "rgb": True, "scale": (30, 0.5, 0.5), "units": ("s", "um", "um")},
}  # fmt: skip


def source(name: str) -> Image:
    layout = dict(LAYOUTS[name])
    shape = layout.pop("shape")
    values = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    return Image(
        values, name="cells", gamma=0.7, interpolation2d="linear", interpolation3d="nearest", blending="additive",
        opacity=0.9, **({} if layout.get("rgb") else {"colormap": "magenta", "contrast_limits": (20, 180)}), **layout,
    )  # fmt: skip


def shown(name: str) -> tuple[ViewerModel, Image]:
    """A viewer that shows the second index of every leading axis."""
    viewer = ViewerModel()
    layer = viewer.add_layer(source(name))
    for axis in range(layer.ndim - 2):
        viewer.dims.set_current_step(axis, 1)
    return viewer, layer


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("is_every", [False, True])
def test_a_restored_layer_lies_where_its_source_lies(name: str, is_every: bool) -> None:
    viewer, layer = shown(name)
    plane = shown_plane(layer, viewer.dims)
    chosen = origin(layer, None if is_every else plane)
    restored = chosen.layer(np.asarray(chosen.read()), "r", {})
    viewer.add_layer(restored)
    first = np.zeros(layer.ndim) if is_every else np.maximum(plane, 0)
    for y, x in [(0, 0), (19, 0), (3, 23)]:
        here, there = np.zeros(layer.ndim), first.astype(float)
        here[-2:] = there[-2:] = y, x
        np.testing.assert_allclose(restored.data_to_world(here), layer.data_to_world(there), atol=1e-9)
    assert restored.rgb == layer.rgb
    assert restored.units == layer.units
    assert restored.axis_labels == layer.axis_labels
    assert viewer.layers.extent.units is not None


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_restored_plane_shows_the_values_of_that_plane(name: str) -> None:
    viewer, layer = shown(name)
    chosen = origin(layer, shown_plane(layer, viewer.dims))
    restored = viewer.add_layer(chosen.layer(np.asarray(chosen.read()), "r", {}))
    np.testing.assert_array_equal(np.squeeze(restored.data), layer.data[(1,) * (layer.ndim - 2)])


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_restored_layer_looks_like_its_source(name: str) -> None:
    layer = source(name)
    restored = origin(layer, None).layer(np.asarray(layer.data), "r", {})
    for attribute in ("gamma", "interpolation2d", "interpolation3d", "blending", "opacity"):
        assert getattr(restored, attribute) == getattr(layer, attribute), attribute
    if not layer.rgb:
        assert restored.colormap.name == "magenta"
        assert restored.contrast_limits == [20, 180]


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("is_every", [False, True])
def test_the_layers_of_a_real_result_lie_together(name: str, is_every: bool) -> None:
    viewer, layer = shown(name)
    chosen = origin(layer, None if is_every else shown_plane(layer, viewer.dims))
    prior = dip.Prior(network=dip.Skip(down=(4,), up=4, skip=2), source=dip.Noise(channels=2))
    result = dip.restore(
        chosen.read(), dip.Denoise(), prior, dip.FixedSteps(steps=4), axes=chosen.axes, each=chosen.each, keep_every=2
    )
    outputs = Outputs(viewer.layers, chosen, "denoised", wants_residual=True)
    outputs.finish(result)
    names = [one.name for one in viewer.layers]
    assert names == ["cells", "cells – iterations", "cells – residual", "cells – denoised"]
    assert viewer.layers.extent.units is not None
    stack = viewer.layers["cells – iterations"]
    assert stack.axis_labels == ("iteration", *layer.axis_labels)
    assert stack.metadata["napari-dip"]["steps"] == [2, 4]
    assert stack.data.shape[0] == 2
    restored = viewer.layers["cells – denoised"]
    for corner in [(0, 0), (19, 23)]:
        point = (*(0,) * (layer.ndim - 2), *corner)
        world = restored.data_to_world(point)
        np.testing.assert_allclose(stack.data_to_world((1, *point)), (4, *world), atol=1e-9)
        residual = viewer.layers["cells – residual"]
        point = (0, *point) if layer.rgb else point
        np.testing.assert_allclose(residual.data_to_world(point)[-layer.ndim :], world, atol=1e-9)
    assert json.loads(json.dumps(restored.metadata["napari-dip"]))["source"] == "cells"
    if name == "RGBA":
        np.testing.assert_array_equal(restored.data[..., 3], layer.data[..., 3])
        assert stack.data.dtype == np.uint8


def test_a_stack_of_iterations_agrees_with_the_units_that_are_there() -> None:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((3, 20, 24)), units=("s", "um", "um"))
    assert str(leading_unit(viewer.layers, 3)) == "second"
    assert leading_unit(viewer.layers, 4) == "pixel"


@pytest.mark.parametrize(
    ("shape", "settings", "letters"),
    [
        ((20, 24), {}, "YX"),
        ((3, 20, 24), {}, "PYX"),
        ((3, 20, 24), {"axis_labels": ("z", "y", "x")}, "ZYX"),
        ((3, 20, 24), {"axis_labels": ("-3", "-2", "-1")}, "PYX"),
        ((3, 20, 24), {"axis_labels": ("channel", "y", "x")}, "CYX"),
        ((3, 20, 24), {"units": ("s", "um", "um")}, "TYX"),
        ((3, 20, 24), {"units": "um"}, "ZYX"),
        ((2, 3, 20, 24), {}, "PQYX"),
        ((2, 3, 20, 24), {"axis_labels": ("Time", "depth", "y", "x")}, "TZYX"),
        ((20, 24, 3), {"axis_labels": ("y", "x", "z")}, "YXZ"),
        ((20, 24, 3), {"rgb": True}, "YXS"),
        ((5, 20, 24, 3), {"rgb": True, "axis_labels": ("channel", "y", "x")}, "PYXS"),
    ],
)
def test_axes_are_told_by_labels_and_units_and_never_guessed_to_be_channels(
    shape: tuple[int, ...], settings: dict[str, Any], letters: str
) -> None:
    assert axis_letters(Image(np.zeros(shape), **settings)) == letters


def test_the_shown_plane_follows_the_slider_through_scale_and_units() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(
        np.zeros((40, 20, 24)), scale=(2, 1, 1), translate=(100, 0, 0), units="um", axis_labels=("z", "y", "x")
    )
    viewer.dims.set_point(0, 124)
    assert shown_plane(layer, viewer.dims) == (12, -1, -1)
    assert describe(layer, shown_plane(layer, viewer.dims)) == "plane z=12 of 40"
    viewer.add_image(np.zeros((40, 20, 24)), scale=(2000, 1000, 1000), translate=(100_000, 0, 0), units="nm")
    viewer.dims.set_point(0, viewer.dims.range[0].start + 12 * 2000)
    assert shown_plane(layer, viewer.dims) == (12, -1, -1)


def test_the_shown_plane_is_the_one_on_the_canvas_when_axes_are_rolled() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(np.arange(10 * 20 * 24).reshape(10, 20, 24))
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_current_step(1, 7)
    chosen = origin(layer, shown_plane(layer, viewer.dims))
    np.testing.assert_array_equal(chosen.read(), layer.data[:, 7])
    assert chosen.layer(chosen.read(), "r", {}).data.shape == (10, 1, 24)


def test_a_plane_without_a_named_axis_is_told_by_its_number() -> None:
    layer = Image(np.zeros((40, 20, 24)))
    assert describe(layer, (3, -1, -1)) == "plane 3 of 40"


def test_only_the_chosen_plane_of_a_lazy_stack_is_read() -> None:
    read: list[int] = []

    def plane(block_info: Any = None) -> Any:
        read.append(block_info[None]["chunk-location"][0])
        return np.ones((1, 20, 24))

    lazy = da.map_blocks(plane, chunks=((1,) * 8, (20,), (24,)), dtype=float)
    layer = Image(lazy, contrast_limits=(0, 1))
    read.clear()
    chosen = origin(layer, (5, -1, -1))
    assert chosen.read().shape == (20, 24)
    assert set(read) == {5}


def test_of_a_multiscale_layer_the_largest_level_is_restored() -> None:
    levels = [np.ones((32, 32)), np.ones((16, 16))]
    layer = Image(levels, multiscale=True)
    assert origin(layer, (-1, -1)).shape == (32, 32)


def test_labels_mark_the_values_that_are_chosen() -> None:
    image = Image(np.zeros((20, 24)))
    values = np.zeros((20, 24), int)
    values[2, 3], values[4, 5] = 1, 6
    labels = Labels(values)
    chosen = origin(image, (-1, -1))
    assert np.argwhere(marked(labels, chosen, None)).tolist() == [[2, 3], [4, 5]]
    assert np.argwhere(marked(labels, chosen, 6)).tolist() == [[4, 5]]
    assert marked(labels, chosen, 0).sum() == 20 * 24 - 2


def test_labels_mark_the_shown_plane_of_a_stack_and_a_flat_one_marks_every_plane() -> None:
    image = Image(np.zeros((5, 20, 24)))
    values = np.zeros((5, 20, 24), int)
    values[3, 1, 1] = 1
    chosen = origin(image, (3, -1, -1))
    assert marked(Labels(values), chosen, None).sum() == 1
    assert marked(Labels(values), origin(image, (2, -1, -1)), None).sum() == 0
    assert marked(Labels(values[3]), chosen, None).sum() == 1
    assert mismatch(Labels(values[3]), image, (3, -1, -1)) is None


def test_a_mark_does_not_change_when_the_person_paints_on() -> None:
    labels = Labels(np.ones((20, 24), int))
    mask = marked(labels, origin(Image(np.zeros((20, 24))), (-1, -1)), None)
    labels.data[:] = 0
    assert mask.all()


@pytest.mark.parametrize("name", LAYOUTS)
def test_labels_made_for_a_layer_fit_it(name: str) -> None:
    viewer, layer = shown(name)
    place = {key: getattr(layer, key) for key in ("scale", "translate", "rotate", "shear", "affine")}
    labels = Labels(np.zeros(layer.data.shape[: layer.ndim], int), **place)
    assert mismatch(labels, layer, shown_plane(layer, viewer.dims)) is None


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (Labels(np.zeros((20, 23), int)), "shape 20 x 23"),
        (Labels(np.zeros((20, 24), int), scale=(2, 2)), "does not lie on"),
        (Labels(np.zeros((20, 24), int), translate=(0, 1)), "does not lie on"),
        (Labels(np.zeros((20, 24), int), rotate=5), "does not lie on"),
    ],
)
def test_labels_that_do_not_fit_are_refused_in_words(labels: Labels, reason: str) -> None:
    assert reason in str(mismatch(labels, Image(np.zeros((20, 24)), name="cells"), (-1, -1)))


def corners(layer: Image) -> Any:
    """World positions of the field's corners, half a pixel beyond the outermost centres."""
    ends = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in layer.data.shape[: layer.ndim]], indexing="ij"))
    return np.array([layer.data_to_world(point) for point in ends.reshape(layer.ndim, -1).T])


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("factors", [(2.0, 2.0), (1.5, 2.7)], ids=str)
@pytest.mark.parametrize("whole", [True, False], ids=["every plane", "one plane"])
def test_a_result_with_smaller_pixels_covers_the_very_field_of_its_source(name: str, factors: Any, whole: bool) -> None:
    layer = source(name)
    plane = None if whole else (1,) * (layer.ndim - 2) + (-1, -1)
    chosen = origin(layer, plane)
    grid = chosen.layout.finer(factors)
    same = chosen.layer(np.zeros(chosen.shape, np.uint8), "same", {})
    fine = chosen.layer(np.zeros(grid.shape, np.uint8), "fine", {})
    np.testing.assert_allclose(corners(fine), corners(same), atol=1e-9)
    assert fine.units == layer.units
    stack = chosen.stack(np.zeros((2, *grid.shape), np.float32), (5, 10), "steps", metadata={}, unit="pixel")
    np.testing.assert_allclose(corners(stack)[: len(corners(fine)), 1:], corners(fine), atol=1e-9)


def test_a_guide_must_lie_on_the_finer_grid() -> None:
    layer = source("2-D tilted")
    chosen = origin(layer, None)
    values = np.zeros(chosen.layout.finer((1.5, 2.0)).shape)
    guide = chosen.layer(values, "guide", {})
    assert mismatch(guide, layer, (-1, -1), (1.5, 2.0)) is None
    assert "has shape 30 x 48, “cells” 20 x 24" in str(mismatch(guide, layer, (-1, -1)))
    assert "the restored “cells” 40 x 48" in str(mismatch(guide, layer, (-1, -1), (2.0, 2.0)))
    guide.translate = np.add(guide.translate, (0.1, 0))
    assert "does not lie on" in str(mismatch(guide, layer, (-1, -1), (1.5, 2.0)))
