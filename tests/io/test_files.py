"""Any format: dtypes, refusals in words, and never half a file."""

from pathlib import Path

import numpy as np
import pytest

from napari_dip import io
from napari_dip.io import files, npy
from napari_dip.io.picture import Picture

DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
DTYPES += ["float16", "float32", "float64"]


def image(dtype: str, shape: tuple[int, ...] = (9, 11)) -> np.ndarray:
    values = np.arange(np.prod(shape)).reshape(shape)
    if dtype == "bool":
        return values % 3 == 0
    if dtype.startswith("float"):
        return (values / 7).astype(dtype)
    limits = np.iinfo(dtype)
    made = (values % 100).astype(dtype)
    made.flat[0], made.flat[1] = limits.min, limits.max
    return made


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_every_dtype_comes_back_with_its_values(tmp_path: Path, dtype: str, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    pixels = image(dtype)
    notes = io.write(path, Picture(pixels, "YX"))
    back = io.read(path)
    assert back.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(back.pixels, pixels)
    assert back.axes == "YX"
    assert bool(notes) == (suffix == ".tif" and dtype in ("int64", "uint64", "float16"))


@pytest.mark.parametrize("dtype", DTYPES)
def test_fits_widens_what_it_has_no_type_for_and_says_so(tmp_path: Path, dtype: str) -> None:
    pixels = image(dtype)
    notes = io.write(tmp_path / "image.fits", Picture(pixels, "YX"))
    back = io.read(tmp_path / "image.fits").pixels
    np.testing.assert_array_equal(back, pixels)
    wider = {"bool": "uint8", "float16": "float32"}
    assert back.dtype == wider.get(dtype, dtype)
    assert bool(notes) == (dtype in wider)
    assert all("FITS has no" in note for note in notes)


@pytest.mark.parametrize("suffix", [".tif", ".fits", ".npy"])
def test_big_endian_values_are_native_afterwards(tmp_path: Path, suffix: str) -> None:
    pixels = image("float32").astype(">f4")
    io.write(tmp_path / f"image{suffix}", Picture(pixels, "YX"))
    back = io.read(tmp_path / f"image{suffix}").pixels
    assert back.dtype.isnative
    np.testing.assert_array_equal(back, pixels)


@pytest.mark.parametrize("suffix", [".tif", ".fits", ".npy", ".png", ".jpg"])
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole{suffix}"
    io.write(whole, Picture(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8), "YX"))
    for name, content in [("cut", whole.read_bytes()[: whole.stat().st_size // 2]), ("text", b"hello"), ("none", b"")]:
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="cannot be read as") as caught:
            io.read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file"):
        io.read(tmp_path / "nothing.tif")
    with pytest.raises(FileNotFoundError, match="on this machine"):
        io.read("https://example.org/image.fits")


def test_unknown_suffixes_are_refused_with_those_that_are_known(tmp_path: Path) -> None:
    (tmp_path / "image.xyz").write_bytes(b"1")
    with pytest.raises(ValueError, match="TIFF, FITS, PNG, JPEG, NPY"):
        io.read(tmp_path / "image.xyz")
    with pytest.raises(ValueError, match=r"\.tif.*\.npy"):
        io.check_writable(tmp_path / "new.xyz", overwrite=True)


@pytest.mark.parametrize("values", [np.ones((9, 9), complex), np.ones((9, 9), [("a", "f4")]), np.ones((9, 9), "U1")])
def test_what_is_no_real_image_is_refused(tmp_path: Path, values: np.ndarray) -> None:
    np.save(tmp_path / "image.npy", values)
    with pytest.raises(ValueError, match="only images of real numbers"):
        io.read(tmp_path / "image.npy")
    with pytest.raises(ValueError, match="no image of real numbers"):
        io.write(tmp_path / "out.tif", Picture(values, "YX"))


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", np.array([[object()]], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="cannot be read as NPY"):
        io.read(tmp_path / "image.npy")


def test_a_line_of_values_is_no_image(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", np.ones(9))
    with pytest.raises(ValueError, match="at least two axes"):
        io.read(tmp_path / "image.npy")


def test_an_archive_under_the_name_of_an_array_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "image.npy").open("wb") as file:
        np.savez(file, a=np.ones((9, 9)))
    with pytest.raises(ValueError, match="save the image alone"):
        io.read(tmp_path / "image.npy")


def test_axes_of_bare_arrays_are_known_only_without_doubt() -> None:
    shapes = {(9, 11): "YX", (9, 11, 3): "YXS", (9, 11, 4): "YXS", (5, 9, 11): "", (3, 9, 11): "", (4, 4, 4): ""}
    assert {shape: npy.plain_axes(shape) for shape in shapes} == shapes


def test_an_existing_file_is_kept_unless_it_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "image.npy"
    io.write(path, Picture(np.zeros((9, 9)), "YX"))
    with pytest.raises(FileExistsError, match="there already"):
        io.write(path, Picture(np.ones((9, 9)), "YX"))
    assert not io.read(path).pixels.any()
    io.write(path, Picture(np.ones((9, 9)), "YX"), overwrite=True)
    assert io.read(path).pixels.all()


@pytest.mark.parametrize("suffix", [".tif", ".fits", ".png", ".jpg", ".npy"])
def test_where_writing_fails_the_old_file_stays_and_nothing_else(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"image{suffix}"
    io.write(path, Picture(image("uint8"), "YX"))
    before = path.read_bytes()

    def fail(self: Path, target: Path) -> None:
        assert self.stat().st_size > 0
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk is full"):
        io.write(path, Picture(image("uint8") + 1, "YX"), overwrite=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(file: object, pixels: object, **how: object) -> None:
        file.write(b"\x93NUM")  # type: ignore[attr-defined]
        raise OSError("the disk is full")

    monkeypatch.setattr(np, "save", half)
    with pytest.raises(OSError, match="disk is full"):
        io.write(tmp_path / "image.npy", Picture(image("uint8"), "YX"))
    assert not list(tmp_path.iterdir())


def test_a_link_is_written_through(tmp_path: Path) -> None:
    io.write(tmp_path / "real.npy", Picture(np.zeros((9, 9)), "YX"))
    (tmp_path / "link.npy").symlink_to(tmp_path / "real.npy")
    io.write(tmp_path / "link.npy", Picture(np.ones((9, 9)), "YX"), overwrite=True)
    assert (tmp_path / "link.npy").is_symlink()
    assert io.read(tmp_path / "real.npy").pixels.all()


def test_a_place_that_cannot_be_written_is_refused_early(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make it first"):
        io.check_writable(tmp_path / "no" / "image.tif", overwrite=False)
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        io.check_writable(tmp_path / "folder.tif", overwrite=True)
    io.check_writable(tmp_path / "report.json", overwrite=False, suffixes=(".json",))
    with pytest.raises(ValueError, match=r"\.json"):
        io.check_writable(tmp_path / "image.tif", overwrite=False, suffixes=(".json",))


@pytest.mark.parametrize("suffix", [".tif", ".fits", ".png"])
def test_provenance_is_there_again_and_kept_by_the_next_file(tmp_path: Path, suffix: str) -> None:
    provenance = {
        "version": "1",
        "task": {"name": "Denoise"},
        "seed": 0,
        "ended": 'it\'s & "so" – <é>',
        "steps": [1, 2],
    }
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    io.write(first, Picture(image("uint8"), "YX"), provenance=provenance | {"rate": float("nan")}, notes=["hm"])
    back = io.read(first)
    assert back.provenance == provenance | {"rate": None, "notes": ["hm"]}
    io.write(second, io.like(back, back.pixels))
    assert io.read(second).provenance == back.provenance


def test_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc.fits").write_bytes(b"abc")
    assert io.sha256(tmp_path / "abc.fits").startswith("ba7816bf8f01cfea414140de5dae2223b00361a3")
    assert io.sha256(f"{tmp_path}/abc.fits[SCI,1]") == io.sha256(tmp_path / "abc.fits")


def test_a_part_is_for_fits_and_tiff_and_a_bracket_in_a_name_is_a_name(tmp_path: Path) -> None:
    io.write(tmp_path / "a.npy", Picture(image("uint8"), "YX"))
    with pytest.raises(ValueError, match="chooses a part of a FITS or TIFF file"):
        io.read(f"{tmp_path}/a.npy[1]")
    (tmp_path / "a.npy").rename(tmp_path / "a[1].npy")
    assert io.read(tmp_path / "a[1].npy").axes == "YX"
    assert files.split(f"{tmp_path}/a.fits[ SCI , 2 ]") == (tmp_path / "a.fits", "SCI , 2")
