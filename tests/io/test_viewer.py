"""Layers in and out: pixel size, units, labels, colours and provenance survive save and reopen."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_dip import io
from napari_dip.io.picture import Display, Picture
from napari_dip.io.viewer import compression, get_reader, read_layers, write_image

PROVENANCE = {"version": "1", "seed": 3}


def layer(**attributes: Any) -> dict[str, Any]:
    """Return the attributes of a layer as napari gives them to a writer."""
    plain = {"name": "a", "rgb": False, "multiscale": False, "metadata": {}, "contrast_limits": [0.0, 1.0]}
    return plain | {"colormap": {"colors": np.array([[0, 0, 0, 1], [1, 1, 1, 1]]), "name": "gray"}} | attributes


def test_only_single_image_files_are_offered_to_read(tmp_path: Path) -> None:
    for name in ("a.fits", "a.FIT", "a.fits.gz", "a.dip.tif", "a.ome.tiff", "a.png"):
        assert get_reader(str(tmp_path / name)) is read_layers
    assert get_reader(str(tmp_path / "a.csv")) is None
    assert get_reader([str(tmp_path / "a.fits"), str(tmp_path / "b.fits")]) is None


@pytest.mark.parametrize("name", ["a.dip.tif", "a.fits"])
def test_a_restored_layer_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)
    data = np.arange(3 * 9 * 11, dtype=np.float32).reshape(3, 9, 11)
    attributes = layer(
        scale=np.array([2.0, 0.2, 0.1]),
        units=("second", "micrometer", "micrometer"),
        axis_labels=("t", "y", "x"),
        contrast_limits=[5.0, 200.0],
        colormap={"colors": np.array([[0, 0, 0, 1], [0, 1, 0, 1]]), "name": "green"},
        metadata={"napari-dip": PROVENANCE},
    )
    assert write_image(path, data, attributes) == [path]
    [(back, again, kind)] = read_layers(path)
    np.testing.assert_array_equal(back, data)
    assert (kind, again["name"], again["metadata"]["napari-dip"]) == ("image", "a", PROVENANCE)
    assert again["scale"] == (2.0, 0.2, 0.1)
    assert again["units"] == ("s", "micrometer", "micrometer")
    assert again["axis_labels"] == ("t", "y", "x")
    assert again["contrast_limits"] == (5.0, 200.0)
    assert again["colormap"] == "#00ff00"


@pytest.mark.parametrize("suffix", [".dip.tif", ".fits"])
@pytest.mark.parametrize(
    "metadata", [{"steps": [30, 50], "napari-dip": PROVENANCE}, {"napari-dip": PROVENANCE | {"steps": [30, 50]}}]
)
def test_a_stack_of_iterations_comes_back_and_its_slider_shows_the_steps(
    tmp_path: Path, metadata: dict[str, Any], suffix: str
) -> None:
    path = str(tmp_path / f"a{suffix}")
    place = {"scale": [20.0, 1.0, 0.5, 0.5], "translate": [30.0, 0.0, 0.0, 0.0]}
    attributes = layer(axis_labels=("iteration", "t", "y", "x"), metadata=metadata, **place)
    write_image(path, np.zeros((2, 3, 9, 11), np.float32), attributes)
    [(_, again, _)] = read_layers(path)
    assert again["axis_labels"] == ("iteration", "t", "y", "x")
    assert again["metadata"]["steps"] == [30, 50]
    assert (again["scale"][0], again["translate"]) == (20.0, (30.0, 0.0, 0.0, 0.0))


def test_a_stack_of_a_fits_image_keeps_its_header_through_the_viewer(tmp_path: Path) -> None:
    from astropy.io import fits

    hdu = fits.PrimaryHDU(np.zeros((9, 11), np.float32))
    hdu.header["OBJECT"] = "M 51"
    hdu.writeto(tmp_path / "a.fits")
    picture = io.read(tmp_path / "a.fits")
    io.write(tmp_path / "b.fits", io.stacked(picture, np.zeros((2, 9, 11), np.float32), [30, 50]))
    [(data, attributes, _)] = read_layers(str(tmp_path / "b.fits"))
    write_image(str(tmp_path / "c.fits"), data, layer(**attributes))
    assert fits.getheader(tmp_path / "c.fits")["OBJECT"] == "M 51"


def test_the_steps_in_all_of_a_run_are_not_those_of_a_stack(tmp_path: Path) -> None:
    path = str(tmp_path / "a.dip.tif")
    attributes = layer(axis_labels=("iteration", "y", "x"), metadata={"napari-dip": {"steps": 1500}})
    write_image(path, np.zeros((2, 9, 11), np.float32), attributes)
    assert "steps" not in read_layers(path)[0][1]["metadata"]


@pytest.mark.parametrize("suffix", [".dip.tif", ".fits"])
def test_a_mirrored_layer_has_pixels_of_a_size_above_zero(tmp_path: Path, suffix: str) -> None:
    path = str(tmp_path / f"a{suffix}")
    write_image(path, np.zeros((9, 11), np.float32), layer(scale=(-0.5, 0.25), units=("micrometer", "micrometer")))
    assert io.read(path).scale == (0.5, 0.25)
    if suffix == ".dip.tif":
        assert 'PhysicalSizeY="0.5"' in tifffile.tiffcomment(path)


def test_many_axes_without_a_name_come_back(tmp_path: Path) -> None:
    path = str(tmp_path / "a.dip.tif")
    data = np.arange(2**6 * 99, dtype=np.uint16).reshape(2, 2, 2, 2, 2, 2, 9, 11)
    write_image(path, data, layer(axis_labels=[str(at) for at in range(-8, 0)]))
    np.testing.assert_array_equal(io.read(path).pixels, data)


@pytest.mark.parametrize("labels", [("-3", "-2", "-1"), ("a", "b", "c"), ("plane", "row", "x")])
def test_labels_that_say_nothing_leave_the_axis_unknown(tmp_path: Path, labels: tuple[str, ...]) -> None:
    path = str(tmp_path / "a.dip.tif")
    write_image(path, np.zeros((3, 9, 11), np.uint8), layer(axis_labels=labels))
    assert io.read(path).axes == "QYX"
    assert read_layers(path)[0][1]["axis_labels"] == ("-3", "y", "x")


def test_labels_in_another_order_are_believed(tmp_path: Path) -> None:
    path = str(tmp_path / "a.dip.tif")
    data = np.arange(99, dtype=np.uint8).reshape(9, 11)
    write_image(path, data, layer(axis_labels=("x", "y"), scale=(0.1, 0.2)))
    picture = io.read(path)
    assert (picture.axes, picture.scale) == ("YX", (0.2, 0.1))
    np.testing.assert_array_equal(picture.pixels, data.T)


@pytest.mark.parametrize("suffix", [".dip.tif", ".png", ".fits"])
def test_colours_come_back_as_one_layer(tmp_path: Path, suffix: str) -> None:
    path = str(tmp_path / f"a{suffix}")
    data = np.arange(9 * 11 * 3, dtype=np.uint8).reshape(9, 11, 3)
    write_image(path, data, layer(rgb=True, scale=(0.2, 0.1), axis_labels=("y", "x"), units=("pixel", "pixel")))
    [(back, again, _)] = read_layers(path)
    np.testing.assert_array_equal(back, data)
    assert (again["rgb"], len(again["scale"]), len(again["units"])) == (True, 2, 2)
    assert "colormap" not in again


def test_channels_are_layers_with_their_names_and_colours(tmp_path: Path) -> None:
    shown = (Display("#0000ff", limits=(0.0, 9.0)), Display("#ffffff"))
    pixels = np.arange(2 * 3 * 9 * 11, dtype=np.uint16).reshape(3, 2, 9, 11)
    sizes = (0.5, 1.0, 0.2, 0.1)
    units = ("micrometer", "pixel", "micrometer", "micrometer")
    io.write(tmp_path / "cells.tif", Picture(pixels, "ZCYX", sizes, units, ("dna", "actin"), shown))
    dna, actin = read_layers(str(tmp_path / "cells.tif"))
    np.testing.assert_array_equal(actin[0], pixels[:, 1])
    assert (dna[1]["name"], actin[1]["name"]) == ("cells dna", "cells actin")
    assert dna[1]["scale"] == (0.5, 0.2, 0.1)
    assert dna[1]["axis_labels"] == ("z", "y", "x")
    assert (dna[1]["colormap"], actin[1]["colormap"]) == ("#0000ff", "gray")
    assert dna[1]["contrast_limits"] == (0.0, 9.0)


def test_grey_with_alpha_is_two_layers(tmp_path: Path) -> None:
    pixels = np.arange(9 * 11 * 2, dtype=np.uint8).reshape(9, 11, 2)
    io.write(tmp_path / "a.png", Picture(pixels, "YXS"))
    grey, alpha = read_layers(str(tmp_path / "a.png"))
    np.testing.assert_array_equal(grey[0], pixels[..., 0])
    np.testing.assert_array_equal(alpha[0], pixels[..., 1])
    assert (grey[1]["name"], alpha[1]["name"]) == ("a", "a alpha")


def test_many_channels_stay_one_layer(tmp_path: Path) -> None:
    io.write(tmp_path / "a.tif", Picture(np.zeros((40, 9, 11), np.uint8), "CYX"))
    [(data, attributes, _)] = read_layers(str(tmp_path / "a.tif"))
    assert (data.shape, attributes["axis_labels"]) == ((40, 9, 11), ("c", "y", "x"))


def test_axes_that_are_not_known_say_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((5, 9, 11)))
    [(_, attributes, _)] = read_layers(str(tmp_path / "a.npy"))
    assert not {"axis_labels", "scale", "units"} & set(attributes)


def test_the_header_of_a_fits_layer_goes_into_the_next_file(tmp_path: Path) -> None:
    from astropy.io import fits

    hdu = fits.PrimaryHDU(np.zeros((9, 11), np.float32))
    hdu.header["OBJECT"] = "M 51"
    hdu.writeto(tmp_path / "a.fits")
    [(data, attributes, _)] = read_layers(str(tmp_path / "a.fits"))
    write_image(str(tmp_path / "b.fits"), data, layer(metadata=attributes["metadata"]))
    write_image(str(tmp_path / "c.fits"), data[2:, 2:], layer(metadata=attributes["metadata"], translate=[2.0, 2.0]))
    assert fits.getheader(tmp_path / "b.fits")["OBJECT"] == "M 51"
    assert "OBJECT" not in fits.getheader(tmp_path / "c.fits")


def test_of_a_multiscale_layer_the_finest_level_is_written(tmp_path: Path) -> None:
    path = str(tmp_path / "a.dip.tif")
    write_image(path, [np.ones((9, 11)), np.ones((4, 5))], layer(multiscale=True))
    assert io.read(path).pixels.shape == (9, 11)


def test_values_that_a_format_cannot_hold_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="write TIFF"):
        write_image(str(tmp_path / "a.png"), np.zeros((9, 11), np.float32), layer())


def test_how_a_jpeg_was_compressed_is_told_by_its_layer_or_its_file(tmp_path: Path) -> None:
    path = str(tmp_path / "a.jpg")
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(path, quality=50)
    [(_, attributes, _)] = read_layers(path)
    by_layer = compression(attributes["metadata"], None)
    assert by_layer is not None
    assert by_layer.luma[:3] == (16, 11, 10)
    assert compression({}, path) == by_layer
    assert compression({}, None) is None
    assert compression({}, str(tmp_path / "gone.jpg")) is None
    (tmp_path / "b.jpg").write_bytes(b"no image")
    assert compression({}, str(tmp_path / "b.jpg")) is None


def test_what_is_worth_telling_is_logged_as_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for side in (9, 11):
            file.write(np.ones((side, side), np.uint8))
    caplog.set_level("WARNING", "napari_dip")
    read_layers(str(tmp_path / "a.tif"))
    assert "the first of 2 images is read" in caplog.text
    write_image(str(tmp_path / "a.npy"), np.zeros((9, 11)), layer(scale=(0.5, 0.5)))
    assert "without pixel size" in caplog.text


def test_where_0_is_white_the_layer_looks_so_and_its_file_too(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.eye(9, dtype=np.uint8), photometric="miniswhite")
    [(data, attributes, _)] = read_layers(str(tmp_path / "a.tif"))
    assert attributes["colormap"] == "gray_r"
    shown = {"colors": np.array([[1, 1, 1, 1], [0, 0, 0, 1]]), "name": "gray_r"}
    write_image(str(tmp_path / "b.tif"), data, layer(colormap=shown))
    assert io.read(tmp_path / "b.tif").white_is_zero
