"""Read and write an image file, whatever its format; never half a file."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.io import fits, npy, photo, tiff
from napari_dip.io.picture import Picture

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes
    ----------
    name : str
        For people.
    suffixes : tuple of str
        How its file names end, lower case; the first is the usual one.
    read : callable
        (path, part of the file or "") to the picture.
    write : callable
        (path, picture, provenance) to what is worth telling.
    check : callable
        (dtype, shape, axes); raises ValueError where the format cannot hold such an image.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[Path, str], Picture]
    write: Callable[[Path, Picture, Mapping[str, Any] | None], list[str]]
    check: Callable[[np.dtype[Any], Sequence[int], str], None]


def read(path: str | Path) -> Picture:
    """Return the picture in a local file.

    Parameters
    ----------
    path : str or Path
        Its suffix tells the format. Of a FITS file, "image.fits[SCI,1]", "image.fits[0]" and "image.fits[SCI]" choose
        the HDU; without, it is the first that holds an image. Of a TIFF file with several images, "image.tif[1]" is
        the second; without, the first is read, and the picture's notes say so.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file cannot be read, or holds no image of real numbers.
    """
    file, part = split(path)
    if not file.is_file():
        raise FileNotFoundError(f"{file} is no file: give an image on this machine")
    format_ = _format(file)
    if part and format_.name not in ("FITS", "TIFF"):
        raise ValueError(f"{path}: [{part}] chooses a part of a FITS or TIFF file, and {format_.name} has none")
    with _in_words(file, format_):
        picture = format_.read(file, part)
    _check_values(file, picture.pixels)
    return picture


def write(
    path: str | Path,
    picture: Picture,
    *,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    notes: Sequence[str] = (),
) -> tuple[str, ...]:
    """Write a picture, and return what is worth telling about how.

    The file is written beside and then renamed: nobody ever sees half of it, and where writing fails the old one
    stays.

    Parameters
    ----------
    path : str or Path
        Its suffix tells the format.
    picture : Picture
        What to write.
    provenance : mapping, optional
        How the values came about, as JSON. TIFF, FITS and PNG keep it and FITS puts it into its HISTORY; without it
        they keep the picture's own.
    overwrite : bool
        Replace a file that is there.
    notes : sequence of str
        Remarks that are kept with the provenance.

    Raises
    ------
    FileExistsError, ValueError
        As `check_writable` and `check_format` do.
    """
    check_writable(path, overwrite=overwrite)
    check_format(path, picture.pixels.dtype, picture.pixels.shape, picture.axes)
    if notes:
        provenance = {**(provenance or picture.provenance or {}), "notes": list(notes)}
    target = Path(path).resolve()
    format_ = _format(target)
    with _beside(target) as beside:
        said = format_.write(beside, picture, provenance)
        check_writable(target, overwrite=overwrite)
        if target.exists():
            shutil.copymode(target, beside)
        beside.replace(target)
    if picture.white_is_zero and format_.name != "TIFF":
        said.append(f"0 was shown white and is black in a {format_.name} file: write TIFF to keep the look")
    return tuple(said)


def check_writable(path: str | Path, *, overwrite: bool, suffixes: Sequence[str] | None = None) -> None:
    """Refuse a file that could not be written, before a long fit.

    Parameters
    ----------
    path : str or Path
        Of the file to be.
    overwrite : bool
        Whether a file that is there may be replaced.
    suffixes : sequence of str, optional
        What its name may end in; without, what we write.

    Raises
    ------
    FileExistsError
        When the file is there and must not be replaced.
    FileNotFoundError
        When its folder is not there.
    ValueError
        When its suffix names no format that we write, or the folder cannot be written to.
    """
    path = Path(path)
    known = [suffix for format_ in FORMATS for suffix in format_.suffixes] if suffixes is None else suffixes
    if not path.name.lower().endswith(tuple(known)):
        raise ValueError(f"{path}: cannot write this kind of file; give it one of the suffixes {', '.join(known)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} is not there; make it first")
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give a file name")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} is there already: choose another name, or allow it to be overwritten")
    if not os.access(path.resolve().parent, os.W_OK):
        raise ValueError(f"{path}: the folder {path.parent} cannot be written to")


def check_format(path: str | Path, dtype: npt.DTypeLike, shape: Sequence[int], axes: str) -> None:
    """Refuse, in words that say what to use instead, values that the format of a file cannot hold.

    Raises
    ------
    ValueError
        When it cannot.
    """
    dtype = np.dtype(dtype)
    if not _is_real(dtype):
        raise ValueError(f"{path}: values of type {dtype} are no image of real numbers")
    _format(Path(path)).check(dtype, shape, axes)


def sha256(path: str | Path) -> str:
    """Return the digest of a file's bytes, whichever part of it its path names."""
    with split(path)[0].open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def split(path: str | Path) -> tuple[Path, str]:
    """Return the file and the part of it that "image.fits[SCI,1]" or "image.tif[1]" names."""
    found = re.fullmatch(r"(.+)\[([^\[\]]+)\]", str(path))
    if found is None or Path(path).exists():
        return Path(path), ""
    return Path(found[1]), found[2].strip()


def _format(path: Path) -> Format:
    for format_ in FORMATS:
        if path.name.lower().endswith(format_.suffixes):
            return format_
    names = ", ".join(format_.name for format_ in FORMATS)
    raise ValueError(f"{path}: the suffix {path.suffix!r} is none of a format that is read and written here: {names}")


def _is_real(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "biuf" and dtype.itemsize <= 8


def _check_values(path: Path, pixels: npt.NDArray[Any]) -> None:
    if not _is_real(pixels.dtype):
        what = "complex numbers" if pixels.dtype.kind == "c" else f"values of type {pixels.dtype}"
        raise ValueError(f"{path} holds {what}: only images of real numbers can be restored")
    if pixels.ndim < 2 or not pixels.size:
        raise ValueError(f"{path} holds values of shape {pixels.shape}: an image has at least two axes, and pixels")


@contextlib.contextmanager
def _in_words(path: Path, format_: Format) -> Iterator[None]:
    """Turn whatever a damaged file makes its library raise into one sentence."""
    try:
        yield
    except MemoryError as error:
        raise ValueError(f"{path} claims to be larger than the memory of this machine: {error}") from error
    except Exception as error:  # a library that reads damaged bytes may raise anything at all
        if isinstance(error, OSError) and error.errno is not None:  # no permission, a broken disk
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        log.debug("%s could not be read", path, exc_info=True)
        raise ValueError(f"{path} cannot be read as {format_.name}: {text[:300]}") from error


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Yield the path of a temporary file in the same folder, with the same suffix; afterwards it is gone."""
    beside = target.with_name(f".{uuid.uuid4().hex[:12]}-{target.name}"[-200:])
    try:
        yield beside
    finally:
        beside.unlink(missing_ok=True)


FORMATS: tuple[Format, ...] = (
    Format("TIFF", (".tif", ".tiff", ".btf"), tiff.read, tiff.write, tiff.check),
    Format("FITS", (".fits", ".fit", ".fts", ".fits.gz"), fits.read, fits.write, fits.check),
    Format("PNG", (".png",), photo.read_png, photo.write_png, photo.check_png),
    Format("JPEG", (".jpg", ".jpeg"), photo.read_jpeg, photo.write_jpeg, photo.check_jpeg),
    Format("NPY", (".npy",), npy.read, npy.write, npy.check),
)
