"""FITS: physical values, headers, the sky, and all HDUs kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from napari_dip import io
from napari_dip.io.picture import Picture

SKY = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 85.27,
    "CRVAL2": -2.45,
    "CRPIX1": 5.5,
    "CRPIX2": 4.0,
    "CD1_1": -2e-4,
    "CD1_2": 1e-4,
    "CD2_1": 1e-4,
    "CD2_2": 2e-4,
    "CUNIT1": "deg",
    "CUNIT2": "deg",
}
PROVENANCE = {"version": "9.9", "task": {"name": "Denoise"}, "seed": 3, "best_step": 840, "ended": "flat"}
RAW = np.arange(99, dtype=np.int16).reshape(9, 11)


def stored(path: Path, pixels: np.ndarray, cards: dict[str, Any] | None = None) -> Path:
    """Write a file whose array is stored as it is given, with these header cards, scaling among them."""
    hdu = fits.PrimaryHDU(pixels)
    hdu.writeto(path)
    with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].header.update(cards or {})
    return path


def rewritten(path: Path, part: str = "", **how: Any) -> tuple[io.Picture, tuple[str, ...]]:
    picture = io.read(f"{path}{part}")
    target = path.with_name("again.fits")
    notes = io.write(target, io.like(picture, picture.pixels), **how)
    return io.read(f"{target}{part}"), notes


def parts(path: Path) -> list[bytes]:
    """Return the bytes of each HDU."""
    content = path.read_bytes()
    with fits.open(path, disable_image_compression=True) as hdus:
        places = [hdu.fileinfo() for hdu in hdus]
    return [content[place["hdrLoc"] : place["datLoc"] + place["datSpan"]] for place in places]


def test_plain_integers_come_back_bit_for_bit(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.fits", RAW, SKY)
    picture, notes = rewritten(path)
    assert (picture.pixels.dtype, picture.pixels.dtype.isnative, notes) == (np.int16, True, ())
    np.testing.assert_array_equal(picture.pixels, RAW)
    assert parts(tmp_path / "again.fits")[0].endswith(parts(path)[0][2880:])


@pytest.mark.parametrize(
    ("raw", "zero", "dtype"),
    [("i2", 2**15, "uint16"), ("i4", 2**31, "uint32"), ("i8", 2**63, "uint64"), ("u1", -128, "int8")],
)
def test_integers_of_the_other_sign_are_what_they_mean(tmp_path: Path, raw: str, zero: int, dtype: str) -> None:
    path = stored(tmp_path / "a.fits", RAW.astype(raw), {"BZERO": zero, "BSCALE": 1})
    for picture in (io.read(path), rewritten(path)[0]):
        assert picture.pixels.dtype == dtype
        assert [int(value) for value in picture.pixels[0, :3]] == [zero, zero + 1, zero + 2]


def test_scaled_integers_are_physical_values_and_stay_so(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.fits", RAW, {"BSCALE": 2.92, "BZERO": 3713.67, "BUNIT": "adu"})
    picture, notes = rewritten(path)
    np.testing.assert_array_equal(picture.pixels, fits.getdata(path))
    assert picture.pixels.dtype == np.float32
    assert "without BSCALE" in notes[0]
    header = fits.getheader(tmp_path / "again.fits")
    assert header["BUNIT"] == "adu"
    assert "BSCALE" not in header


@pytest.mark.parametrize("zero", [0, 2**15])
def test_blank_pixels_are_nan_and_without_any_integers_stay_integers(tmp_path: Path, zero: int) -> None:
    some = io.read(stored(tmp_path / "a.fits", RAW, {"BLANK": 5, "BZERO": zero, "BSCALE": 1})).pixels
    assert np.isnan(some[0, 5])
    assert np.isnan(some).sum() == 1
    assert some[0, 6] == 6 + zero
    none = io.read(stored(tmp_path / "b.fits", RAW, {"BLANK": -999, "BZERO": zero, "BSCALE": 1})).pixels
    assert none.dtype == (np.uint16 if zero else np.int16)


def test_big_endian_floats_are_native_and_nan_stays(tmp_path: Path) -> None:
    pixels = RAW.astype(">f4")
    pixels[2, 3] = np.nan
    picture, _ = rewritten(stored(tmp_path / "a.fits", pixels))
    assert picture.pixels.dtype == np.dtype(np.float32)
    np.testing.assert_array_equal(picture.pixels, pixels)


def test_the_sky_tells_the_pixel_size_in_arcsec(tmp_path: Path) -> None:
    picture = io.read(stored(tmp_path / "a.fits", RAW, SKY))
    assert picture.axes == "YX"
    assert picture.scale == pytest.approx((0.80498447, 0.80498447))
    assert picture.units == ("arcsec", "arcsec")


def test_the_header_is_kept_and_history_added(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.fits", RAW, SKY | {"OBSERVER": "Barnard", "DATAMAX": 98, "HIERARCH ESO DET GAIN": 2.1})
    with fits.open(path, mode="update") as hdus:
        hdus[0].header.add_history("flat field")
        hdus[0].header.add_comment("clouds")
    picture, _ = rewritten(path, provenance=PROVENANCE)
    before, after = fits.getheader(path), fits.getheader(tmp_path / "again.fits")
    for key in (*SKY, "OBSERVER", "ESO DET GAIN", "COMMENT"):
        assert str(after[key]) == str(before[key])
    history = list(after["HISTORY"])
    assert history[0] == "flat field"
    assert history[1].startswith("napari-dip 9.9")
    assert "napari-dip: task Denoise" in history
    assert "napari-dip: seed 3" in history
    assert "DATAMAX" not in after  # no longer true
    assert picture.provenance == PROVENANCE


def test_history_grows_with_each_run_and_the_record_is_the_last(tmp_path: Path) -> None:
    first = stored(tmp_path / "a.fits", RAW)
    io.write(tmp_path / "b.fits", io.read(first), provenance={"seed": 1})
    io.write(tmp_path / "c.fits", io.read(tmp_path / "b.fits"), provenance={"seed": 2})
    header = fits.getheader(tmp_path / "c.fits")
    assert [line for line in header["HISTORY"] if "seed" in line] == ["napari-dip: seed 1", "napari-dip: seed 2"]
    assert io.read(tmp_path / "c.fits").provenance == {"seed": 2}


def several(path: Path, *, compressed: bool = False) -> Path:
    kind = fits.CompImageHDU if compressed else fits.ImageHDU
    table = fits.BinTableHDU.from_columns([fits.Column("flux", "E", array=np.arange(5))], name="CAT")
    primary = fits.PrimaryHDU()
    primary.header["OBJECT"], primary.header["SATURATE"] = "M 51", 65000.0
    hdus = [primary, kind(RAW, name="SCI"), fits.ImageHDU(RAW + 1, name="SCI", ver=2), table]
    fits.HDUList([*hdus, fits.ImageHDU(RAW.astype(np.uint16), name="DQ")]).writeto(path)
    return path


def test_the_first_image_with_data_is_read_or_the_one_that_is_named(tmp_path: Path) -> None:
    path = several(tmp_path / "a.fits")
    for part, first in {"": 0, "[1]": 0, "[SCI]": 0, "[sci,1]": 0, "[SCI,2]": 1, "[2]": 1, "[DQ]": 0}.items():
        assert io.read(f"{path}{part}").pixels[0, 0] == first
    assert io.read(path).saturation == 65000


@pytest.mark.parametrize("part", ["[0]", "[CAT]", "[9]", "[NO,1]", "[SCI,x]"])
def test_a_part_that_is_no_image_is_refused_with_those_there_are(tmp_path: Path, part: str) -> None:
    with pytest.raises(ValueError, match=r"\[1\] SCI, \[2\] SCI, \[4\] DQ"):
        io.read(f"{several(tmp_path / 'a.fits')}{part}")


@pytest.mark.parametrize(("part", "index"), [("[SCI,2]", 2), ("", 1)])
def test_the_other_hdus_stay_byte_for_byte(tmp_path: Path, part: str, index: int) -> None:
    path = several(tmp_path / "a.fits")
    picture = io.read(f"{path}{part}")
    assert io.write(tmp_path / "b.fits", io.like(picture, picture.pixels + np.int16(7))) == ()
    before, after = parts(path), parts(tmp_path / "b.fits")
    assert len(before) == len(after)
    assert [at for at in range(len(before)) if before[at] != after[at]] == [index]
    np.testing.assert_array_equal(io.read(f"{tmp_path}/b.fits{part}").pixels, picture.pixels + 7)


def test_a_file_can_be_written_over_itself(tmp_path: Path) -> None:
    path = several(tmp_path / "a.fits")
    picture = io.read(path)
    io.write(path, io.like(picture, picture.pixels + np.int16(7)), overwrite=True)
    assert io.read(path).pixels[0, 0] == 7
    assert io.read(f"{path}[SCI,2]").pixels[0, 0] == 1


def test_hdus_on_another_grid_are_left_out_and_named(tmp_path: Path) -> None:
    picture = io.read(several(tmp_path / "a.fits"))
    notes = io.write(tmp_path / "b.fits", io.like(picture, np.zeros((18, 22), np.float32), scale=(0.5, 0.5)))
    assert "SCI, CAT, DQ" in notes[-1]
    with fits.open(tmp_path / "b.fits") as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI"]
        assert hdus[0].header["OBJECT"] == "M 51"


def test_a_source_that_changed_since_gives_none_of_its_hdus(tmp_path: Path) -> None:
    path = several(tmp_path / "a.fits")
    picture = io.read(path)
    path.unlink()
    assert "has changed" in io.write(tmp_path / "b.fits", picture)[0]
    np.testing.assert_array_equal(io.read(tmp_path / "b.fits").pixels, RAW)


def test_compressed_images_are_read(tmp_path: Path) -> None:
    path = several(tmp_path / "a.fits", compressed=True)
    np.testing.assert_array_equal(io.read(path).pixels, RAW)
    picture = io.read(f"{path}[DQ]")
    io.write(tmp_path / "b.fits", picture)
    assert parts(tmp_path / "b.fits")[1] == parts(path)[1]
    np.testing.assert_array_equal(rewritten(path)[0].pixels, RAW)


def test_gzipped_files_are_read_and_written(tmp_path: Path) -> None:
    fits.PrimaryHDU(RAW).writeto(tmp_path / "a.fits.gz")
    io.write(tmp_path / "b.fits.gz", io.read(tmp_path / "a.fits.gz"))
    assert (tmp_path / "b.fits.gz").read_bytes()[:2] == b"\x1f\x8b"
    np.testing.assert_array_equal(io.read(tmp_path / "b.fits.gz").pixels, RAW)


@pytest.mark.parametrize(
    ("ctype", "axes"),
    [
        ("FREQ", "EYX"),
        ("WAVE-LOG", "EYX"),
        ("VELO-LSR", "EYX"),
        ("STOKES", "CYX"),
        ("TIME", "TYX"),
        ("", "QYX"),
        ("LINEAR", "QYX"),
    ],
)
def test_the_third_axis_is_what_its_type_says(tmp_path: Path, ctype: str, axes: str) -> None:
    path = stored(tmp_path / "a.fits", np.zeros((3, 9, 11), np.float32), SKY | {"CTYPE3": ctype} if ctype else SKY)
    assert io.read(path).axes == axes


def test_axes_of_length_one_are_left_out_and_put_back(tmp_path: Path) -> None:
    cards = SKY | {"CTYPE3": "FREQ", "CTYPE4": "STOKES", "CD3_3": 1e6, "CD4_4": 1.0, "CUNIT3": "Hz"}
    path = stored(tmp_path / "a.fits", np.zeros((1, 1, 9, 11), np.float32), cards)
    picture, _ = rewritten(path)
    assert (picture.axes, picture.pixels.shape, picture.units) == ("YX", (9, 11), ("arcsec", "arcsec"))
    assert fits.getheader(tmp_path / "again.fits")["NAXIS"] == 4


def test_axes_that_are_not_told_are_unknown_where_they_are_several(tmp_path: Path) -> None:
    assert io.read(stored(tmp_path / "a.fits", np.zeros((1, 1, 9, 11), np.float32))).axes == "YX"
    assert io.read(stored(tmp_path / "b.fits", np.zeros((2, 3, 9, 11), np.float32))).axes == ""


def test_a_spectral_axis_has_its_step(tmp_path: Path) -> None:
    cards = {"CTYPE3": "FREQ", "CDELT3": 2.5e6, "CUNIT3": "Hz", "CRPIX3": 1.0, "CRVAL3": 1.4e9}
    picture = io.read(stored(tmp_path / "a.fits", np.zeros((3, 9, 11), np.float32), cards))
    assert (picture.scale[0], picture.units[0]) == (2.5e6, "hertz")


@pytest.mark.parametrize("distorted", [False, True])
def test_finer_pixels_lie_where_they_were_on_the_sky(tmp_path: Path, distorted: bool) -> None:
    cards = dict(SKY)
    if distorted:
        cards |= {
            "CTYPE1": "RA---TAN-SIP",
            "CTYPE2": "DEC--TAN-SIP",
            "A_ORDER": 2,
            "B_ORDER": 2,
            "A_2_0": 1e-3,
            "B_1_1": 2e-3,
        }
    picture = io.read(stored(tmp_path / "a.fits", RAW, cards))
    fine = tuple(size / 2 for size in picture.scale)
    io.write(tmp_path / "b.fits", io.like(picture, np.zeros((18, 22), np.float32), scale=fine))
    before, after = WCS(fits.getheader(tmp_path / "a.fits")), WCS(fits.getheader(tmp_path / "b.fits"))
    for x, y in ((0, 0), (10, 8), (3, 7)):
        inside = after.all_pix2world(2 * x + 0.5, 2 * y + 0.5, 0)
        np.testing.assert_allclose(inside, before.all_pix2world(x, y, 0), atol=1e-10)
    assert io.read(tmp_path / "b.fits").scale == pytest.approx(fine)


@pytest.mark.parametrize("shape", [(9, 11), (1, 9, 11)])
def test_a_stack_of_iterations_keeps_the_sky_and_its_steps(tmp_path: Path, shape: tuple[int, ...]) -> None:
    picture = io.read(
        stored(tmp_path / "a.fits", RAW.reshape(shape), SKY | {"CTYPE3": "FREQ", "CD3_3": 1.0, "CUNIT3": "Hz"})
    )
    stack = io.stacked(picture, np.zeros((4, 9, 11), np.float32), [50, 100, 150, 200])
    io.write(tmp_path / "b.fits", stack)
    back = io.read(tmp_path / "b.fits")
    assert (back.axes, back.steps, back.scale[0]) == ("IYX", (50, 100, 150, 200), 50.0)
    assert back.scale[1:] == pytest.approx(picture.scale)


def test_a_plane_of_a_cube_keeps_the_sky(tmp_path: Path) -> None:
    path = stored(
        tmp_path / "a.fits", np.ones((3, 9, 11), np.float32), SKY | {"CTYPE3": "FREQ", "CD3_3": 1.0, "CUNIT3": "Hz"}
    )
    plane = io.take(io.read(path), {"E": 1})
    io.write(tmp_path / "b.fits", plane)
    back = io.read(tmp_path / "b.fits")
    assert (back.axes, back.units) == ("YX", ("arcsec", "arcsec"))
    assert back.scale == pytest.approx(plane.scale)


def test_a_plane_of_a_cube_says_where_it_lies_along_the_axes_that_are_gone(tmp_path: Path) -> None:
    cards = SKY | {"CTYPE3": "FREQ", "CRVAL3": 1.4e9, "CRPIX3": 1.0, "CD3_3": 1e6, "CUNIT3": "Hz"}
    cards |= {"CTYPE4": "STOKES", "CRVAL4": 1.0, "CRPIX4": 1.0, "CD4_4": 1.0}
    cube = io.read(stored(tmp_path / "a.fits", np.ones((2, 5, 9, 11), np.float32), cards))
    whole = WCS(fits.getheader(tmp_path / "a.fits"))
    one, plane = io.take(cube, {"C": 1}), io.take(io.take(cube, {"C": 1}), {"E": 3})
    for picture, shape, first in ((one, (1, 5, 9, 11), 0), (plane, (1, 1, 9, 11), 3)):
        path = tmp_path / f"{len(picture.axes)}.fits"
        assert io.write(path, picture) == ()
        header = fits.getheader(path)
        assert fits.getdata(path).shape == shape
        np.testing.assert_allclose(WCS(header).wcs_pix2world(4, 2, 0, 0, 0), whole.wcs_pix2world(4, 2, first, 1, 0))
        assert io.read(path).axes == picture.axes
    fine = io.like(plane, np.ones((18, 22), np.float32), scale=[size / 2 for size in plane.scale])
    stack = io.stacked(fine, np.ones((2, 18, 22), np.float32), [10, 20])
    io.write(tmp_path / "c.fits", stack)
    assert fits.getdata(tmp_path / "c.fits").shape == (2, 1, 1, 18, 22)


def test_a_plane_whose_place_no_header_tells_is_an_image_of_two_axes(tmp_path: Path) -> None:
    cube = io.read(stored(tmp_path / "a.fits", np.ones((3, 9, 11), np.float32), SKY))
    io.write(tmp_path / "b.fits", io.take(cube, {"Q": 1}))
    assert fits.getdata(tmp_path / "b.fits").shape == (9, 11)
    assert "CRPIX3" not in fits.getheader(tmp_path / "b.fits")


def test_a_plane_does_not_replace_the_cube_among_other_hdus(tmp_path: Path) -> None:
    sky = {"CTYPE3": "FREQ", "CRVAL3": 1.4e9}
    cube = fits.ImageHDU(np.ones((3, 9, 11), np.float32), fits.Header(sky), name="SCI")
    fits.HDUList([fits.PrimaryHDU(), cube, fits.ImageHDU(RAW, name="DQ")]).writeto(tmp_path / "a.fits")
    plane = io.take(io.read(tmp_path / "a.fits"), {"E": 1})
    assert "without the other HDUs (DQ)" in io.write(tmp_path / "b.fits", plane)[0]


@pytest.mark.parametrize("axes", ["YX", "TZYX", "YXS", "CYX", "IYX"])
def test_what_did_not_come_from_fits_can_go_there(tmp_path: Path, axes: str) -> None:
    sizes = {"T": 2, "Z": 4, "C": 2, "I": 2, "Y": 9, "X": 11, "S": 3}
    pixels = np.arange(np.prod([sizes[axis] for axis in axes]), dtype=np.uint16).reshape([sizes[axis] for axis in axes])
    scale = tuple({"Y": 0.2, "X": 0.1, "Z": 0.5, "T": 3.0}.get(axis, 1.0) for axis in axes)
    units = tuple({"T": "s", "C": "pixel", "S": "pixel", "I": "pixel"}.get(axis, "micrometer") for axis in axes)
    io.write(tmp_path / "a.fits", Picture(pixels, axes, scale, units))
    back = io.read(tmp_path / "a.fits")
    assert (back.axes, back.scale, back.units) == (axes, scale, units)
    np.testing.assert_array_equal(back.pixels, pixels)
    header = fits.getheader(tmp_path / "a.fits")
    assert (header["CDELT1"], header["CUNIT1"]) == (0.1, "um")


def test_from_fits_to_tiff_the_pixel_size_is_kept(tmp_path: Path) -> None:
    picture = io.read(stored(tmp_path / "a.fits", RAW, SKY))
    io.write(tmp_path / "a.tif", picture)
    back = io.read(tmp_path / "a.tif")
    assert (back.scale, back.units) == (picture.scale, picture.units)


def test_odd_cards_neither_warn_nor_get_lost(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.fits", RAW, {"OBSERVER": "someone"})
    content = path.read_bytes().replace(b"OBSERVER= 'someone '", b"ESO-LOG 03:04:08>-ST")
    path.write_bytes(content)
    picture, _ = rewritten(path, provenance=PROVENANCE)
    np.testing.assert_array_equal(picture.pixels, RAW)
    assert b"ESO-LOG 03:04:08>-ST" in (tmp_path / "again.fits").read_bytes()


def test_a_sky_that_makes_no_sense_is_an_unknown_pixel_size(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.fits", RAW, SKY | {"CTYPE2": "GLAT-TAN"})
    assert io.read(path).units == ("pixel", "pixel")


def test_checksums_hold_for_the_new_values(tmp_path: Path) -> None:
    fits.PrimaryHDU(RAW).writeto(tmp_path / "a.fits", checksum=True)
    picture = io.read(tmp_path / "a.fits")
    io.write(tmp_path / "b.fits", io.like(picture, picture.pixels + np.int16(1)))
    with fits.open(tmp_path / "b.fits", checksum=True) as hdus:  # a wrong one would warn
        assert "CHECKSUM" in hdus[0].header


def test_a_file_without_an_image_is_refused(tmp_path: Path) -> None:
    fits.PrimaryHDU().writeto(tmp_path / "a.fits")
    with pytest.raises(ValueError, match="no image, only tables or headers"):
        io.read(tmp_path / "a.fits")


@pytest.mark.parametrize(
    ("cards", "gain", "read_noise"),
    [
        ({"GAIN": 2.0, "RDNOISE": 8.0}, 0.5, 4.0),
        ({"EGAIN": 0.25, "GAIN": 100, "BUNIT": "ADU"}, 4.0, 0.0),
        ({"BUNIT": "electrons", "READNOIS": 5.0}, 1.0, 5.0),
    ],
)
def test_the_detectors_noise_is_read_in_the_units_of_the_pixels(tmp_path, cards, gain, read_noise):
    detector = io.read(stored(tmp_path / "a.fits", RAW, cards)).detector
    assert (detector.gain, detector.read_noise) == (gain, read_noise)
    assert all(f"{key} = " in detector.source for key in cards if key not in ("BUNIT",) and cards[key] != 100)


@pytest.mark.parametrize(
    "cards", [{}, {"GAIN": 100}, {"GAIN": 2.0, "NCOMBINE": 4}, {"GAIN": 2.0, "BUNIT": "MJy/sr"}, {"GAIN": "high"}]
)
def test_a_header_that_says_nothing_of_its_noise_is_not_guessed_from(tmp_path, cards):
    assert io.read(stored(tmp_path / "a.fits", RAW, cards)).detector is None
