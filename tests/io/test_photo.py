"""PNG and JPEG: what fits, what does not, and pixels as stored."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from napari_dip import io
from napari_dip.io.picture import Picture


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "bool"])
@pytest.mark.parametrize("shape", [(9, 11), (9, 11, 2), (9, 11, 3), (9, 11, 4)])
def test_png_holds_grey_and_colours_of_8_and_16_bits(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    axes = "YXS"[: len(shape)]
    pixels = (np.arange(np.prod(shape)).reshape(shape) * 200).astype(dtype)
    if dtype == "bool" and len(shape) == 3:
        with pytest.raises(ValueError, match="PNG holds uint8 or uint16"):
            io.write(tmp_path / "a.png", Picture(pixels, axes))
        return
    io.write(tmp_path / "a.png", Picture(pixels, axes))
    back = io.read(tmp_path / "a.png")
    assert (back.axes, back.pixels.dtype) == (axes, pixels.dtype)
    np.testing.assert_array_equal(back.pixels, pixels)


@pytest.mark.parametrize("path", ["a.png", "a.jpg"])
@pytest.mark.parametrize(
    ("dtype", "shape", "axes"),
    [("float32", (9, 11), "YX"), ("int16", (9, 11), "YX"), ("uint8", (5, 9, 11), "ZYX"), ("uint8", (9, 11, 3), "ZYX")],
)
def test_what_does_not_fit_is_refused_before_the_fit(path: str, dtype: str, shape: tuple[int, ...], axes: str) -> None:
    with pytest.raises(ValueError, match=r"write TIFF"):
        io.check_format(path, dtype, shape, axes)


def test_jpeg_takes_no_alpha_and_no_16_bits() -> None:
    io.check_format("a.jpg", "uint8", (9, 11, 3), "YXS")
    for dtype, shape in (("uint16", (9, 11)), ("uint8", (9, 11, 4))):
        with pytest.raises(ValueError, match="JPEG holds uint8"):
            io.check_format("a.jpg", dtype, shape, "YX"[: len(shape)])


def test_jpeg_is_close_and_says_that_it_is_not_equal(tmp_path: Path) -> None:
    y, x = np.mgrid[:64, :64]
    pixels = np.stack([2 * y, 2 * x, y + x], axis=-1).astype(np.uint8)
    notes = io.write(tmp_path / "a.jpg", Picture(pixels, "YXS"))
    back = io.read(tmp_path / "a.jpg").pixels
    assert np.abs(back.astype(int) - pixels).max() <= 6
    assert "JPEG changes the values" in notes[0]


@pytest.mark.parametrize("transparent", [False, True])
def test_palettes_are_expanded(tmp_path: Path, transparent: bool) -> None:
    image = Image.fromarray(np.arange(99, dtype=np.uint8).reshape(9, 11) % 3, mode=None).convert("L")
    palette = image.convert("P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.save(tmp_path / "a.png", **({"transparency": 0} if transparent else {}))
    picture = io.read(tmp_path / "a.png")
    assert picture.axes == "YXS"
    assert picture.pixels[0, 0, :3].tolist() == [255, 0, 0]
    assert picture.pixels[0, 2, :3].tolist() == [0, 0, 255]


def test_orientation_is_carried_along_and_not_applied_and_that_is_said(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((16, 24, 3), np.uint8))
    exif = image.getexif()
    exif[274] = 6  # shown rotated by a quarter turn
    image.save(tmp_path / "a.jpg", exif=exif)
    picture = io.read(tmp_path / "a.jpg")
    assert picture.pixels.shape == (16, 24, 3)
    assert picture.notes == ("its EXIF orientation 6 is not applied: pixels are as stored",)
    for suffix in (".jpg", ".png"):
        io.write(tmp_path / f"b{suffix}", io.like(picture, picture.pixels))
        with Image.open(tmp_path / f"b{suffix}") as again:
            assert again.getexif()[274] == 6


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((16, 24, 3), np.uint8)).convert("CMYK").save(tmp_path / "a.jpg")
    assert io.read(tmp_path / "a.jpg").pixels.shape == (16, 24, 3)


def test_deep_colours_of_others_keep_their_16_bits(tmp_path: Path) -> None:
    pixels = (np.arange(9 * 11 * 3).reshape(9, 11, 3) * 99).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    np.testing.assert_array_equal(io.read(tmp_path / "a.png").pixels, pixels)


@pytest.mark.parametrize(("number", "subsampling"), [(0, (1, 1)), (1, (1, 2)), (2, (2, 2))])
def test_a_jpeg_file_says_how_it_was_compressed(tmp_path: Path, number: int, subsampling: tuple[int, int]) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.jpg", quality=50, subsampling=number)
    said = io.read(tmp_path / "a.jpg").compression
    assert said is not None
    assert (said.luma[:3], said.chroma[:3], said.subsampling) == ((16, 11, 10), (17, 18, 24), subsampling)
    assert io.like(io.read(tmp_path / "a.jpg"), colours).compression is None  # of what was made from it


def test_a_grey_jpeg_has_one_table_and_other_files_have_none(tmp_path: Path) -> None:
    grey = Image.fromarray(np.zeros((16, 16), np.uint8))
    grey.save(tmp_path / "a.jpg", quality=50)
    said = io.read(tmp_path / "a.jpg").compression
    assert said is not None
    assert (len(said.luma), said.chroma, said.subsampling) == (64, (), (1, 1))
    grey.save(tmp_path / "a.png")
    assert io.read(tmp_path / "a.png").compression is None
