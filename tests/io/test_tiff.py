"""TIFF: OME, ImageJ and plain, axes never guessed, pixel sizes and colours kept."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_dip import io
from napari_dip.io.picture import Display, Picture

MICROMETERS = ("micrometer", "micrometer")


def rewritten(path: Path, **new: object) -> tuple[io.Picture, tuple[str, ...]]:
    """Return a file's picture read, written and read again."""
    picture = io.read(path)
    target = path.with_name("again.tif")
    notes = io.write(target, io.like(picture, picture.pixels, **new))  # type: ignore[arg-type]
    return io.read(target), notes


def ome(path: Path, pixels: np.ndarray, axes: str, **metadata: object) -> Path:
    tifffile.imwrite(path, pixels, ome=True, metadata={"axes": axes, **metadata})
    return path


def test_ome_sizes_units_names_and_colours_come_back(tmp_path: Path) -> None:
    path = ome(
        tmp_path / "cells.ome.tif",
        np.arange(2 * 3 * 4 * 9 * 11, dtype=np.uint16).reshape(2, 3, 4, 9, 11),
        "TZCYX",
        Name="cells",
        Description="fixed <&>",
        PhysicalSizeX=108.0,
        PhysicalSizeXUnit="nm",
        PhysicalSizeY=0.2,
        PhysicalSizeYUnit="µm",
        PhysicalSizeZ=0.5,
        TimeIncrement=2.5,
        TimeIncrementUnit="s",
        Channel=[
            {"Name": name, "Color": colour, "Fluor": "x"}
            for name, colour in zip("abcd", [-16776961, 16711935, 65535, -1], strict=True)
        ],
    )
    for picture in (io.read(path), rewritten(path)[0]):
        assert picture.axes == "TZCYX"
        assert picture.scale == (2.5, 0.5, 1.0, 0.2, 108.0)
        assert picture.units == ("s", "micrometer", "pixel", "micrometer", "nanometer")
        assert picture.channel_names == ("a", "b", "c", "d")
        assert [one.colour for one in picture.display] == ["#ff0000", "#00ff00", "#0000ff", "#ffffff"]
        np.testing.assert_array_equal(picture.pixels, tifffile.imread(path))
    again = (tmp_path / "again.tif").read_bytes()
    assert b'Name="cells"' in again
    assert b"fixed &lt;&amp;&gt;" in again
    assert again.count(b'Fluor="x"') == 4


def test_ome_xml_is_made_anew_for_the_new_image(tmp_path: Path) -> None:
    path = ome(tmp_path / "a.tif", np.zeros((3, 9, 11), np.uint8), "CYX", PhysicalSizeX=1.0, PhysicalSizeY=1.0)
    picture = io.read(path)
    io.write(tmp_path / "fine.tif", io.like(picture, np.zeros((3, 18, 22), np.float32), scale=(1.0, 0.5, 0.5)))
    with tifffile.TiffFile(tmp_path / "fine.tif") as file:
        xml = str(file.ome_metadata)
    assert 'SizeX="22"' in xml
    assert 'SizeY="18"' in xml
    assert 'Type="float"' in xml
    assert 'PhysicalSizeX="0.5"' in xml


def test_what_we_write_is_understood_without_us(tmp_path: Path) -> None:
    shown = tuple(Display(colour=colour) for colour in ("#ff0000", "#00ff00"))
    picture = Picture(
        np.ones((2, 9, 11), np.float32), "CYX", (1.0, 0.2, 0.1), ("pixel", *MICROMETERS), ("a", "b"), shown
    )
    io.write(tmp_path / "a.tif", picture)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert (file.series[0].axes, file.series[0].kind) == ("CYX", "ome")
        xml = str(file.ome_metadata)
    for said in ('PhysicalSizeX="0.1"', 'PhysicalSizeXUnit="µm"', 'Name="b"', 'Color="16711935"', 'Color="-16776961"'):
        assert said in xml


def test_axes_of_length_one_come_back(tmp_path: Path) -> None:
    picture = Picture(np.ones((1, 2, 1, 9, 11), np.uint8), "TZCYX", (3.0, 1.0, 1.0, 1.0, 1.0), ("s",) + ("pixel",) * 4)
    io.write(tmp_path / "a.tif", picture)
    back = io.read(tmp_path / "a.tif")
    assert (back.axes, back.pixels.shape, back.scale[0]) == ("TZCYX", (1, 2, 1, 9, 11), 3.0)


@pytest.mark.parametrize(
    "axes", ["YX", "TYX", "ZYX", "CYX", "TZYX", "CZYX", "TCZYX", "YXS", "ZYXS", "QYX", "EYX", "IZYX"]
)
@pytest.mark.parametrize("dtype", ["uint8", "float64", "float16"])
def test_axes_come_back_as_they_were(tmp_path: Path, axes: str, dtype: str) -> None:
    sizes = {"Y": 9, "X": 11, "S": 3, "C": 2, "Z": 3, "T": 4, "Q": 5, "E": 6, "I": 7}
    pixels = np.arange(np.prod([sizes[axis] for axis in axes])).reshape([sizes[axis] for axis in axes]).astype(dtype)
    io.write(tmp_path / "a.tif", Picture(pixels, axes))
    back = io.read(tmp_path / "a.tif")
    assert back.axes == axes
    np.testing.assert_array_equal(back.pixels, pixels)


def test_a_stack_of_iterations_keeps_their_steps(tmp_path: Path) -> None:
    picture = Picture(np.zeros((4, 9, 11), np.float32), "TYX", (0.5, 0.1, 0.1), ("s", *MICROMETERS))
    io.write(tmp_path / "a.tif", io.stacked(picture, np.zeros((3, 4, 9, 11), np.float32), [10, 20, 30]))
    back = io.read(tmp_path / "a.tif")
    assert (back.axes, back.steps, back.scale) == ("ITYX", (10, 20, 30), (10.0, 0.5, 0.1, 0.1))


def test_axes_that_no_format_has_go_into_a_plain_tiff(tmp_path: Path) -> None:
    pixels = np.arange(3 * 2 * 9 * 11, dtype=np.uint8).reshape(3, 2, 9, 11)
    notes = io.write(
        tmp_path / "a.tif", Picture(pixels, "VWYX", scale=(1.0, 1.0, 0.2, 0.1), units=("pixel", "pixel", *MICROMETERS))
    )
    assert "plain TIFF" in notes[0]
    back = io.read(tmp_path / "a.tif")
    assert (back.axes, back.scale, back.units[2:]) == ("VWYX", (1.0, 1.0, 0.2, 0.1), MICROMETERS)


def test_axes_that_nobody_knows_stay_unknown(tmp_path: Path) -> None:
    io.write(tmp_path / "a.tif", Picture(np.zeros((3, 4, 9, 11), np.uint8), ""))
    back = io.read(tmp_path / "a.tif")
    assert (back.axes, back.pixels.shape) == ("", (3, 4, 9, 11)) or back.axes.startswith("Q")


@pytest.mark.parametrize("metadata", [{}, None])
def test_pages_without_a_name_are_never_taken_for_channels(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 9, 11), np.uint16), photometric="minisblack", metadata=metadata)
    assert io.read(tmp_path / "a.tif").axes == "QYX"


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_colours_have_their_samples_last(tmp_path: Path, planar: str, dtype: str) -> None:
    pixels = np.arange(9 * 11 * 3).reshape(9, 11, 3).astype(dtype)
    stored = pixels if planar == "contig" else np.moveaxis(pixels, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar)
    for picture in (io.read(tmp_path / "a.tif"), rewritten(tmp_path / "a.tif")[0]):
        assert picture.axes == "YXS"
        np.testing.assert_array_equal(picture.pixels, pixels)


@pytest.mark.parametrize("samples", [2, 4])
def test_alpha_stays_a_sample(tmp_path: Path, samples: int) -> None:
    pixels = np.arange(9 * 11 * samples, dtype=np.uint16).reshape(9, 11, samples)
    io.write(tmp_path / "a.tif", Picture(pixels, "YXS"))
    picture = rewritten(tmp_path / "a.tif")[0]
    assert picture.axes == "YXS"
    np.testing.assert_array_equal(picture.pixels, pixels)


def test_samples_that_are_no_colour_are_channels(tmp_path: Path) -> None:
    pixels = np.arange(9 * 11 * 5, dtype=np.uint16).reshape(9, 11, 5)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig")
    picture = io.read(tmp_path / "a.tif")
    assert picture.axes == "CYX"
    np.testing.assert_array_equal(picture.pixels, np.moveaxis(pixels, -1, 0))


@pytest.mark.parametrize(("unit", "size"), [("inch", 84.66666666666667), ("centimeter", 33.333333333333336)])
def test_resolution_tags_of_plain_tiff_are_pixel_sizes(tmp_path: Path, unit: str, size: float) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 11), np.uint8), resolution=(300, 150), resolutionunit=unit)
    for picture in (io.read(tmp_path / "a.tif"), rewritten(tmp_path / "a.tif")[0]):
        assert picture.scale == pytest.approx((2 * size, size))
        assert picture.units == MICROMETERS


def test_resolution_without_a_unit_says_nothing(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 11), np.uint8), resolution=(300, 150), resolutionunit="none")
    assert io.read(tmp_path / "a.tif").units == ("pixel", "pixel")


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd", "packbits"])
def test_compressed_files_are_read(tmp_path: Path, compression: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 9, (64, 64), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression=compression)
    np.testing.assert_array_equal(io.read(tmp_path / "a.tif").pixels, pixels)


def test_big_endian_bigtiff_is_read(tmp_path: Path) -> None:
    pixels = np.arange(99, dtype=np.uint16).reshape(9, 11)
    tifffile.imwrite(tmp_path / "a.tif", pixels, byteorder=">", bigtiff=True)
    picture = io.read(tmp_path / "a.tif")
    assert picture.pixels.dtype.isnative
    np.testing.assert_array_equal(picture.pixels, pixels)


def test_what_is_too_large_for_offsets_of_32_bits_is_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_dip.io.tiff.CLASSIC_LIMIT", 50)
    io.write(tmp_path / "a.tif", Picture(np.zeros((9, 11), np.uint8), "YX"))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
@pytest.mark.parametrize(
    "how", [{"ome": True}, {"imagej": True}, {"compression": "zlib"}, {"tile": (16, 16), "byteorder": ">"}]
)
def test_a_stack_that_is_cut_off_is_refused(tmp_path: Path, how: dict[str, object], kept: float) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (5, 40, 50)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", **how)  # type: ignore[arg-type]
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ValueError, match="cannot be read as TIFF"):
        io.read(tmp_path / "a.tif")


def test_of_several_images_the_first_is_read_and_said_or_the_one_that_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(np.ones((9, 11), np.uint8))
        file.write(np.zeros((5, 7), np.uint8))
        file.write(np.zeros((4, 6), np.uint8))
    picture = io.read(path)
    assert picture.pixels.shape == (9, 11)
    assert picture.notes == ("the first of 3 images is read, and nothing is done to the others: a.tif[1] to [2]",)
    assert io.like(picture, picture.pixels).notes == ()
    assert io.read(f"{path}[0]").notes == ()
    assert io.read(f"{path}[2]").pixels.shape == (4, 6)
    for part in ("3", "-1", "SCI"):
        with pytest.raises(ValueError, match=r"names no image of it; there are \[0\] to \[2\]"):
            io.read(f"{path}[{part}]")


def test_each_image_of_an_ome_tiff_has_its_own_metadata(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for size in (0.5, 0.25):
            said = {"axes": "YX", "PhysicalSizeX": size, "PhysicalSizeY": size}
            file.write(np.full((9, 11), round(1 / size), np.uint8), metadata=said)
    picture = io.read(f"{tmp_path}/a.ome.tif[1]")
    assert (picture.scale, picture.pixels[0, 0]) == ((0.25, 0.25), 4)


def test_the_orientation_of_a_tiff_is_told(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 11), np.uint8), extratags=[(274, "H", 1, 6, True)])
    assert io.read(tmp_path / "a.tif").notes == ("its orientation 6 is neither applied nor kept: pixels are as stored",)


def test_of_a_pyramid_the_finest_level_is_read(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        file.write(np.ones((64, 64), np.uint8), subifds=1, tile=(16, 16))
        file.write(np.ones((32, 32), np.uint8), subfiletype=1, tile=(16, 16))
    assert io.read(tmp_path / "a.ome.tif").pixels.shape == (64, 64)


def test_files_named_by_a_file_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    ome(tmp_path / "other" / "b.tif", np.ones((9, 11), np.uint8), "YX")
    path = ome(tmp_path / "a.tif", np.ones((2, 9, 11), np.uint8), "ZYX")
    text = tifffile.tiffcomment(path)
    assert isinstance(text, str)
    plane = '<TiffData IFD="0" PlaneCount="1" FirstZ="1"><UUID FileName="other/b.tif">urn:uuid:1</UUID></TiffData>'
    tifffile.tiffcomment(
        path, text.replace('<TiffData IFD="0" PlaneCount="2"/>', f'<TiffData IFD="0" PlaneCount="1"/>{plane}').encode()
    )
    opened = []
    monkeypatch.setattr(
        tifffile.FileHandle, "open", lambda self, f=tifffile.FileHandle.open: (opened.append(self.path), f(self))[1]
    )
    picture = io.read(path)
    assert picture.pixels.shape == (2, 9, 11)
    assert not [name for name in opened if "b.tif" in name]


def imagej(path: Path, pixels: np.ndarray, axes: str, **metadata: object) -> Path:
    tifffile.imwrite(
        path, pixels, imagej=True, resolution=(10.0, 5.0), metadata={"axes": axes, "unit": "um", **metadata}
    )
    return path


def ramp(*colour: int) -> np.ndarray:
    return np.round(np.arange(256)[None] * np.array(colour)[:, None] / 255).astype(np.uint8)


def test_an_imagej_hyperstack_is_one_again(tmp_path: Path) -> None:
    fire = np.random.default_rng(0).integers(0, 255, (3, 256)).astype(np.uint8)
    path = imagej(
        tmp_path / "a.tif",
        np.arange(2 * 3 * 2 * 9 * 11, dtype=np.uint16).reshape(2, 3, 2, 9, 11),
        "TZCYX",
        spacing=0.7,
        finterval=2.0,
        mode="composite",
        LUTs=[ramp(0, 255, 0), fire],
        Ranges=(0.0, 100.0, 5.0, 50.0),
        Info="objective = 63x",
        Labels=[f"plane {number}" for number in range(12)],
    )
    again, notes = rewritten(path)
    assert notes == ()
    for picture in (io.read(path), again):
        assert picture.axes == "TZCYX"
        assert picture.scale == (2.0, 0.7, 1.0, 0.2, 0.1)
        assert picture.units == ("s", "micrometer", "pixel", "micrometer", "micrometer")
        assert (picture.display[0].colour, picture.display[0].limits) == ("#00ff00", (0.0, 100.0))
        assert picture.display[1].lut is not None
        np.testing.assert_array_equal(picture.display[1].lut, fire)
    with tifffile.TiffFile(tmp_path / "again.tif") as file:
        said = file.imagej_metadata
        assert said is not None
        assert (said["mode"], said["unit"], said["Labels"][-1]) == ("composite", "um", "plane 11")
        assert said["Info"].startswith("objective = 63x")
        np.testing.assert_array_equal(file.asarray(), io.read(path).pixels)


def test_an_imagej_file_keeps_provenance_without_repeating_it(tmp_path: Path) -> None:
    path = imagej(tmp_path / "a.tif", np.zeros((9, 11), np.uint8), "YX", Info="first")
    io.write(tmp_path / "b.tif", io.read(path), provenance={"seed": 1})
    io.write(tmp_path / "c.tif", io.read(tmp_path / "b.tif"), provenance={"seed": 2})
    assert io.read(tmp_path / "c.tif").provenance == {"seed": 2}
    with tifffile.TiffFile(tmp_path / "c.tif") as file:
        assert file.imagej_metadata is not None
        assert file.imagej_metadata["Info"].count("napari-dip:") == 1


def test_imagej_colours_stay_so(tmp_path: Path) -> None:
    pixels = np.arange(9 * 11 * 3, dtype=np.uint8).reshape(9, 11, 3)
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True)
    again, notes = rewritten(tmp_path / "a.tif")
    assert (again.axes, notes) == ("YXS", ())
    np.testing.assert_array_equal(again.pixels, pixels)


@pytest.mark.parametrize(("dtype", "axes"), [("float64", "ZYX"), ("int32", "ZYX"), ("float32", "IZYX")])
def test_what_imagej_cannot_hold_becomes_ome_tiff_and_is_said(tmp_path: Path, dtype: str, axes: str) -> None:
    picture = io.read(imagej(tmp_path / "a.tif", np.zeros((3, 9, 11), np.uint8), "ZYX", spacing=0.7))
    pixels = np.zeros((2,) * (len(axes) - 3) + (3, 9, 11), dtype)
    made = io.stacked(picture, pixels, [1, 2]) if "I" in axes else io.like(picture, pixels)
    notes = io.write(tmp_path / "b.tif", made)
    assert notes[0].startswith("written as OME-TIFF: ImageJ cannot hold")
    back = io.read(tmp_path / "b.tif")
    assert (back.axes, back.scale[-3:], back.pixels.dtype) == (axes, (0.7, 0.2, 0.1), dtype)


def test_angles_survive_a_format_that_has_none(tmp_path: Path) -> None:
    picture = Picture(np.zeros((9, 11), np.float32), "YX", (0.3, 0.3), ("arcsec", "arcsec"))
    io.write(tmp_path / "a.tif", picture)
    back = io.read(tmp_path / "a.tif")
    assert (back.scale, back.units) == (picture.scale, picture.units)


def test_display_ranges_survive_ome_that_has_none(tmp_path: Path) -> None:
    picture = Picture(np.zeros((9, 11), np.float32), "YX", display=(Display(limits=(1.0, 2.5)),))
    io.write(tmp_path / "a.tif", picture)
    assert io.read(tmp_path / "a.tif").display[0].limits == (1.0, 2.5)


@pytest.mark.parametrize(("factor", "dtype"), [(257, "uint8"), (256, "uint8"), (250, "uint16")])
@pytest.mark.parametrize("shape", [(9, 11), (3, 9, 11)])
def test_colour_tables_are_expanded(tmp_path: Path, factor: int, dtype: str, shape: tuple[int, ...]) -> None:
    indices = (np.arange(np.prod(shape)).reshape(shape) % 200).astype(np.uint8)
    table = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=table * factor)
    for picture in (io.read(tmp_path / "a.tif"), rewritten(tmp_path / "a.tif")[0]):
        assert (picture.axes, picture.pixels.dtype) == (f"{'QYX'[-len(shape) :]}S", dtype)
        np.testing.assert_array_equal(picture.pixels, table.T[indices] * (1 if dtype == "uint8" else factor))


def test_a_colour_table_of_two_colours_is_expanded_as_that_of_a_png_is(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(99, dtype=np.uint8).reshape(9, 11) % 2).convert("P")
    image.putpalette([10, 20, 30, 250, 0, 0])
    for suffix in ("tif", "png"):
        image.save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(io.read(tmp_path / "a.tif").pixels, io.read(tmp_path / "a.png").pixels)


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_a_colour_table_that_only_shows_the_values_is_not_expanded(tmp_path: Path, kind: str) -> None:
    pixels = np.arange(99, dtype=np.uint8).reshape(9, 11)
    colours = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16)
    how = {"imagej": {"imagej": True}, "ome": {"ome": True, "photometric": "palette"}}[kind]
    tifffile.imwrite(tmp_path / "a.tif", pixels, colormap=colours * 257, **how)  # type: ignore[arg-type]
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages.first.photometric == tifffile.PHOTOMETRIC.PALETTE
    picture = io.read(tmp_path / "a.tif")
    assert picture.axes == "YX"
    np.testing.assert_array_equal(picture.pixels, pixels)


@pytest.mark.parametrize("how", [{}, {"ome": True}, {"imagej": True}, {"metadata": None}], ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_where_0_is_white_it_stays_so(tmp_path: Path, how: dict[str, object], dtype: str) -> None:
    pixels = np.arange(99, dtype=np.uint8).reshape(9, 11)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite", **how)  # type: ignore[arg-type]
    picture = io.read(tmp_path / "a.tif")
    assert picture.white_is_zero
    assert io.write(tmp_path / "b.tif", io.like(picture, pixels.astype(dtype))) == ()
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.pages.first.photometric == tifffile.PHOTOMETRIC.MINISWHITE
        np.testing.assert_array_equal(file.asarray(), pixels)
    assert "write TIFF to keep the look" in io.write(tmp_path / "b.png", picture)[0]
    if dtype == "uint8":
        with Image.open(tmp_path / "a.tif") as before, Image.open(tmp_path / "b.tif") as after:
            np.testing.assert_array_equal(np.asarray(before), np.asarray(after))
