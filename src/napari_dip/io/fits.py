"""FITS through astropy: one image HDU is read, and written back among all the others."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from napari_dip.io import detector, record, sky
from napari_dip.io.picture import Array, Picture, arrange

log = logging.getLogger(__name__)

RECORD = "DIPJSON"  # the keyword of our record
STALE = ("BSCALE", "BZERO", "BLANK", "DATAMIN", "DATAMAX", "CHECKSUM", "DATASUM", RECORD)
OFFSETS = {8: (0, -128), 16: (0, 2**15), 32: (0, 2**31), 64: (0, 2**63)}  # BZERO of plain integers, by BITPIX
STORED_AS: dict[np.dtype[Any], np.dtype[Any]] = {
    np.dtype(np.bool_): np.dtype(np.uint8),
    np.dtype(np.float16): np.dtype(np.float32),
}


@dataclass(frozen=True, eq=False)
class FitsOrigin:
    """The HDU that a picture came from.

    Attributes
    ----------
    path : Path
        Its file, for the other HDUs.
    stamp : (int, int)
        Size and time of that file, by which a later change is seen.
    index : int
        Which HDU.
    header, primary : Header
        Its own and the file's first.
    shape : tuple of int
        Of the stored array, axes of length 1 included.
    axes, scale : str, tuple of float
        Of the picture.
    others : tuple of str
        The other HDUs that hold something.
    is_scaled : bool
        Whether the file stores integers and BSCALE, BZERO or BLANK made them floating.
    is_part : bool
        Whether the picture is a part of that HDU, which header and shape are about.
    """

    path: Path
    stamp: tuple[int, int]
    index: int
    header: Any
    primary: Any
    shape: tuple[int, ...]
    axes: str
    scale: tuple[float, ...]
    others: tuple[str, ...]
    is_scaled: bool
    is_part: bool = False

    def cut(self, index: Sequence[int | None]) -> FitsOrigin:
        """Return the origin of the part at an index along each axis but Y, X, S and those of length 1; None: all.

        Where such axes have world coordinates, they stay, one pixel long, so that the header says where the part lies.
        """
        header, shape, ndim = self.header.copy(), list(self.shape), len(self.shape)
        letters = sky.axes_of(header, ndim)
        long = [at for at in range(ndim - 2) if shape[at] != 1 and letters[at] != "S"]
        if len(long) != len(index) or all(position is None for position in index):
            return self
        is_described = any(sky.is_described(header, axis) for axis in range(3, ndim + 1))
        for at, position in zip(long, index, strict=True):
            if position is not None:
                sky.cut(header, ndim - at, position)
                shape[at] = int(is_described)
        lead = [axis for axis in self.axes if axis not in "YXS"]
        gone = {axis for axis, position in zip(lead, index, strict=False) if position is not None}
        kept = [(axis, size) for axis, size in zip(self.axes, self.scale, strict=False) if axis not in gone]
        return dataclasses.replace(
            self,
            header=header,
            shape=tuple(size for size in shape if size),
            axes="".join(axis for axis, _ in kept),
            scale=tuple(size for _, size in kept),
            is_part=True,
        )


def read(path: Path, part: str) -> Picture:
    """Return the picture in one HDU of a FITS file: the first image, or the one that `part` names.

    Unsigned integers keep their type; values with another BSCALE, and with BLANK pixels, are physical and floating.
    Axes of length 1 besides Y and X are left out, and put back on writing.
    """
    with _quiet(path):
        with fits.open(path, memmap=False) as hdus:
            index = _choose(hdus, part)
            header, primary = hdus[index].header.copy(), hdus[0].header.copy()
            others = [hdu.name or str(at) for at, hdu in enumerate(hdus) if at != index and hdu.size]
        stored = _values(path, index, header)
        axes = sky.axes_of(header, stored.ndim)
        scale, units = sky.pixel_sizes(header, stored.ndim)
    kept = [at for at, size in enumerate(stored.shape) if size != 1 or at >= stored.ndim - 2]
    letters = "".join(axes[at] for at in kept)
    picture = Picture(
        stored.reshape([stored.shape[at] for at in kept]),
        letters if len(set(letters)) == len(letters) else "",
        tuple(scale[at] for at in kept),
        tuple(units[at] for at in kept),
        saturation=_number(header, "SATURATE", _number(primary, "SATURATE")),
        detector=detector.detector_of(header, primary),
    )
    origin = FitsOrigin(
        path.resolve(),
        _stamp(path),
        index,
        header,
        primary,
        stored.shape,
        picture.axes,
        picture.scale,
        tuple(others),
        is_scaled=stored.dtype.kind == "f" and int(header["BITPIX"]) > 0,
    )
    picture = record.complete(picture, record.loads(_text(header, RECORD)))
    return dataclasses.replace(_samples_last(picture), origin=origin)


def write(path: Path, picture: Picture, provenance: Mapping[str, Any] | None) -> list[str]:
    """Write the picture into its HDU, the header and the other HDUs as they were; HISTORY says what was done."""
    picture = arrange(picture, samples_first=True)
    pixels, said = _storable(picture)
    origin = picture.origin if isinstance(picture.origin, FitsOrigin) else None
    header = fits.Header() if origin is None else origin.header.copy()
    with _quiet(path):
        if origin is None:
            sky.describe(header, picture)
        else:
            pixels, changed = _fitted(pixels, picture, origin, header)
            said += changed
        _tell(header, picture, provenance)
        said += _save(path, pixels, header, origin)
    return said


def check(dtype: np.dtype[Any], shape: Sequence[int], axes: str) -> None:
    """Everything fits; what FITS has no type for is stored in a wider one, and said so."""


def _choose(hdus: Any, part: str) -> int:
    """Return the index of the HDU that "SCI,1", "1" or "SCI" names, or of the first with an image."""
    images = [at for at, hdu in enumerate(hdus) if _is_image(hdu)]
    if not images:
        raise ValueError("it has no image, only tables or headers")
    if not part:
        return images[0]
    name, _, number = (piece.strip() for piece in part.partition(","))
    try:
        at = int(name) if name.isdigit() else int(hdus.index_of((name, int(number)) if number else name))
    except (KeyError, ValueError):
        at = -1
    if at not in images:
        there = ", ".join(f"[{at}] {hdus[at].name}".strip() for at in images)
        raise ValueError(f"[{part}] names no image of it; there are {there}")
    return at


def _is_image(hdu: Any) -> bool:
    is_image = isinstance(hdu, (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU))
    return is_image and not isinstance(hdu, fits.GroupsHDU) and len(hdu.shape) >= 2 and 0 not in hdu.shape


def _values(path: Path, index: int, header: Any) -> Array:
    """Return the array of an HDU in native byte order; integers stay integers where no pixel is BLANK."""
    is_integer = _number(header, "BSCALE", 1.0) == 1 and (
        _number(header, "BZERO", 0.0) in OFFSETS.get(int(header["BITPIX"]), ())
    )
    values = np.asarray(fits.getdata(path, index, memmap=False, ignore_blank=is_integer))
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    blank = _number(header, "BLANK")
    if not is_integer or blank is None:
        return values
    is_blank = values == int(blank) + int(_number(header, "BZERO", 0.0) or 0)
    if not is_blank.any():
        return values
    return np.where(is_blank, np.nan, values.astype(np.float32 if values.itemsize <= 2 else np.float64))


def _number(header: Any, key: str, default: float | None = None) -> float | None:
    """Return the number that a keyword has, the default where it has none."""
    try:
        return float(header[key])
    except (KeyError, TypeError, ValueError, fits.VerifyError):
        return default


def _text(header: Any, key: str) -> str:
    try:
        return str(header.get(key, ""))
    except fits.VerifyError:
        return ""


def _stamp(path: Path) -> tuple[int, int]:
    return path.stat().st_size, path.stat().st_mtime_ns


def _samples_last(picture: Picture) -> Picture:
    return arrange(picture) if "S" in picture.axes else picture


def _storable(picture: Picture) -> tuple[Array, list[str]]:
    pixels = picture.pixels
    wider = STORED_AS.get(pixels.dtype)
    if wider is None:
        return pixels, []
    return pixels.astype(wider), [f"written as {wider}: FITS has no {pixels.dtype}"]


def _fitted(pixels: Array, picture: Picture, origin: FitsOrigin, header: Any) -> tuple[Array, list[str]]:
    """Return the values shaped as the HDU stores them, the header changed in place to hold for them."""
    said = []
    if origin.is_scaled and pixels.dtype.kind == "f":
        said.append(f"written as {pixels.dtype} without BSCALE and BZERO: the values are the physical ones")
    has_new_axis = picture.axes.startswith("I") and "I" not in origin.axes
    lead = pixels.shape[:1] if has_new_axis else ()
    stored = (*origin.shape[:-2], *pixels.shape[-2:])  # the grid of the plane may be another
    if _without_ones(pixels.shape[len(lead) :]) == _without_ones(stored):
        pixels = pixels.reshape(lead + stored)
    before = dict(zip(origin.axes, origin.scale, strict=False))
    now = dict(zip(picture.axes, picture.scale, strict=False))
    factors = {at: before[axis] / now[axis] for at, axis in ((1, "X"), (2, "Y")) if axis in before and axis in now}
    if any(not np.isclose(factor, 1, rtol=1e-9) for factor in factors.values()):
        sky.refine(header, factors)
    if has_new_axis:
        sky.add_axis(header, pixels.ndim, picture.steps[0] if picture.steps else 0, picture.scale[0])
    return pixels, said


def _without_ones(shape: Sequence[int]) -> list[int]:
    return [size for at, size in enumerate(shape) if size != 1 or at >= len(shape) - 2]


def _tell(header: Any, picture: Picture, provenance: Mapping[str, Any] | None) -> None:
    """Put record and history into a header, and take out what no longer holds."""
    for key in STALE:
        header.remove(key, ignore_missing=True, remove_all=True)
    text = record.dumps(picture, provenance)
    for character in "'& \x7f":  # where FITS breaks long strings, these do not survive everywhere
        text = text.replace(character, f"\\u{ord(character):04x}")
    header[RECORD] = text
    for line in _history(provenance or {}):
        header.add_history(line)


def _history(provenance: Mapping[str, Any]) -> Iterator[str]:
    if provenance:
        yield f"{record.KEY} {provenance.get('version') or record.SOFTWARE.split()[-1]}: restored by deep image prior"
    for key, value in provenance.items():
        value = value.get("name") if isinstance(value, Mapping) else value
        if key != "version" and isinstance(value, (str, int, float)):
            line = " ".join(f"{record.KEY}: {key} {value}".split())
            yield line.encode("ascii", "replace").decode().translate({0x7F: "?"})


def _save(path: Path, pixels: Array, header: Any, origin: FitsOrigin | None) -> list[str]:
    """Write the HDU, among the others where they still belong to it."""
    if origin is None:
        fits.HDUList([fits.PrimaryHDU(pixels, header)]).writeto(path)
        return []
    hdu = _hdu(pixels, header, origin)
    same_file = origin.path.is_file() and _stamp(origin.path) == origin.stamp
    if same_file and pixels.shape == origin.shape and not origin.is_part:
        with fits.open(origin.path, memmap=False, disable_image_compression=True) as hdus:
            hdus[origin.index] = hdu
            hdus.writeto(path, output_verify="ignore")
        return []
    primary = [fits.PrimaryHDU(header=origin.primary)] if origin.index else []
    fits.HDUList([*primary, hdu]).writeto(path, output_verify="ignore")
    why = "they are on another grid" if same_file else f"{origin.path.name} has changed since it was read"
    return [f"written without the other HDUs ({', '.join(origin.others)}): {why}"] if origin.others else []


def _hdu(pixels: Array, header: Any, origin: FitsOrigin) -> Any:
    hdu = fits.ImageHDU(pixels, header) if origin.index else fits.PrimaryHDU(pixels, header)
    if "CHECKSUM" in origin.header:
        hdu.add_checksum()
    return hdu


@contextlib.contextmanager
def _quiet(path: Path) -> Iterator[None]:
    """Log what astropy warns of: odd headers are common, and kept as they are. A truncated file is refused."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for text in dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught):
        if "truncated" in text:
            raise ValueError(text)
        log.debug("%s: %s", path, text)
