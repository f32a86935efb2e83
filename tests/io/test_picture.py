"""A picture with new values keeps what it knew."""

import numpy as np
import pytest

from napari_dip import io
from napari_dip.io import record
from napari_dip.io.picture import Display, Picture, arrange

CELLS = Picture(
    np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5),
    "TCYX",
    scale=(0.5, 1.0, 0.2, 0.1),
    units=("s", "pixel", "micrometer", "micrometer"),
    channel_names=("dna", "actin", "tubulin"),
    display=(Display(colour="#0000ff"), Display(colour="#00ff00"), Display(limits=(0.0, 9.0))),
    provenance={"seed": 1},
)


def test_sizes_are_unknown_unless_said() -> None:
    picture = Picture(np.zeros((4, 5)), "YX")
    assert (picture.scale, picture.units) == ((1.0, 1.0), ("pixel", "pixel"))


def test_axes_and_sizes_must_be_as_many_as_the_pixels_have() -> None:
    for wrong in ({"axes": "ZYX"}, {"axes": "YX", "scale": (1.0,)}, {"axes": "YX", "units": ("s",)}):
        with pytest.raises(ValueError, match=r"shape \(4, 5\)"):
            Picture(np.zeros((4, 5)), **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("axes", ["YY", "ZX"])
def test_an_image_has_one_y_and_one_x(axes: str) -> None:
    with pytest.raises(ValueError, match="Y and X among them"):
        Picture(np.zeros((4, 5)), axes)


def test_new_values_keep_everything_else() -> None:
    made = io.like(CELLS, CELLS.pixels / 2)
    assert (made.axes, made.scale, made.units) == (CELLS.axes, CELLS.scale, CELLS.units)
    assert (made.channel_names, made.provenance) == (CELLS.channel_names, CELLS.provenance)


def test_finer_pixels_get_the_scale_that_is_given() -> None:
    made = io.like(CELLS, np.zeros((2, 3, 8, 10)), scale=(0.5, 1.0, 0.1, 0.05))
    assert made.scale == (0.5, 1.0, 0.1, 0.05)


def test_another_grid_of_the_same_field_has_pixel_sizes_that_follow_from_the_sizes() -> None:
    made = io.regridded(CELLS, np.zeros((2, 3, 6, 20)))
    assert made.scale == pytest.approx((0.5, 1.0, 0.2 * 4 / 6, 0.1 * 5 / 20))
    assert io.regridded(CELLS, CELLS.pixels).scale == CELLS.scale


def test_values_that_have_other_axes_than_said_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(4, 5\).*TCYX"):
        io.like(CELLS, np.zeros((4, 5)))


def test_a_stack_has_its_steps_and_their_distance() -> None:
    made = io.stacked(CELLS, np.zeros((3, *CELLS.pixels.shape)), [100, 200, 300])
    assert made.axes == "ITCYX"
    assert made.scale == (100.0, *CELLS.scale)
    assert made.steps == (100, 200, 300)
    assert io.stacked(CELLS, np.zeros((3, *CELLS.pixels.shape)), [1, 2, 9]).scale[0] == 1.0


def test_a_stack_needs_axes_that_are_known() -> None:
    with pytest.raises(ValueError, match="must be known"):
        io.stacked(Picture(np.zeros((2, 4, 5)), ""), np.zeros((1, 2, 4, 5)), [1])


def test_a_plane_is_taken_with_its_sizes_and_its_channel() -> None:
    plane = io.take(CELLS, {"T": 1, "C": 2})
    np.testing.assert_array_equal(plane.pixels, CELLS.pixels[1, 2])
    assert (plane.axes, plane.scale) == ("YX", (0.2, 0.1))
    assert plane.channel_names == ("tubulin",)
    assert [shown.limits for shown in plane.display] == [(0.0, 9.0)]


def test_axes_are_put_into_the_order_of_a_format_and_samples_last() -> None:
    picture = Picture(np.zeros((3, 4, 5, 6)), "SXZY", scale=(1.0, 2.0, 3.0, 4.0))
    made = arrange(picture)
    assert (made.axes, made.pixels.shape, made.scale) == ("ZYXS", (5, 6, 4, 3), (3.0, 4.0, 2.0, 1.0))
    assert arrange(CELLS, "CT").axes == "CTYX"


def test_a_record_of_another_image_is_not_believed() -> None:
    text = record.dumps(CELLS, {"seed": 2})
    cropped = record.complete(Picture(CELLS.pixels[..., :3], "TCYX"), record.loads(text))
    assert cropped.scale == (1.0, 1.0, 1.0, 1.0)
    assert cropped.provenance == {"seed": 2}
    other = record.complete(Picture(CELLS.pixels, "ZCYX"), record.loads(text))
    assert other.axes == "ZCYX"


def test_where_file_and_record_differ_the_file_is_right() -> None:
    text = record.dumps(CELLS, None)
    told = Picture(CELLS.pixels, "TCYX", (2.0, 1.0, 0.2, 0.1), ("s", "pixel", "micrometer", "pixel"))
    assert record.complete(told, record.loads(text)).scale == (2.0, 1.0, 0.2, 0.1)


@pytest.mark.parametrize("text", ["", "nonsense", "[1]", '{"picture": {"axes": 3}}', '{"picture": {"axes": "YX"}}',
                                  '{"picture": {"axes": "YX", "shape": [4, "5"], "scale": [], "units": []}}',
                                  '{"picture": {"axes": "YX", "shape": [4, 5], "scale": [1, 1], "units": ["s"]}}',
                                  '{"provenance": 3}'])  # fmt: skip
def test_a_damaged_record_says_nothing(text: str) -> None:
    picture = Picture(np.zeros((4, 5)), "YX")
    made = record.complete(picture, record.loads(text))
    assert (made.axes, made.scale, made.provenance) == ("YX", (1.0, 1.0), None)
