"""TIFF through tifffile: OME-TIFF, ImageJ hyperstacks, and plain files with their metadata as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile

from napari_dip.io import imagej, ome, record
from napari_dip.io.picture import Array, Picture, arrange, has_alpha

CLASSIC_LIMIT = 2**32 - 2**25  # bytes; offsets in a TIFF have 32 bits, and metadata needs some room
LUTS = ("imagej", "ome", "stk", "lsm")  # kinds of files whose colour table only shows the values
MICROMETERS = {2: 25400.0, 3: 10000.0}  # per resolution unit: inch, centimetre


@dataclasses.dataclass(frozen=True)
class PlainOrigin:
    """What a TIFF without OME-XML or ImageJ metadata said in words."""

    description: str


def read(path: Path, part: str) -> Picture:
    """Return the picture in one series of a TIFF file, at full resolution: the first, or the one numbered `part`.

    An axis that the file does not name is Q, never a channel. Samples of a pixel that are no colour are channels. Of
    an OME-TIFF in several files only this one is read: no path that a file names is opened.
    """
    with tifffile.TiffFile(path, _multifile=False) as file:
        _check_whole(file)
        at = _choose(len(file.series), part)
        series = file.series[at]
        pixels, axes = _samples(file, series)
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        is_negative = series.keyframe.photometric == tifffile.PHOTOMETRIC.MINISWHITE
        picture, known = _described(Picture(pixels, axes, white_is_zero=is_negative), file, at)
        notes = tuple(_notes(path, series.keyframe, len(file.series), part))
    return dataclasses.replace(record.complete(picture, known), notes=notes)


def write(path: Path, picture: Picture, provenance: Mapping[str, Any] | None) -> list[str]:
    """Write an ImageJ hyperstack where the picture was one and can be one, else OME-TIFF, else plain TIFF."""
    said = []
    if isinstance(picture.origin, imagej.ImageJOrigin):
        reason = imagej.reason_against(picture)
        if not reason:
            picture = arrange(picture, "TZC")
            _save(path, picture, imagej=True, **imagej.tags(picture, record.dumps(picture, provenance)))
            return []
        said.append(f"written as OME-TIFF: ImageJ cannot hold {reason}")
    picture = arrange(picture)
    text = record.dumps(picture, provenance)
    reason = ome.reason_against(picture)
    if not reason:
        _save(path, picture, ome=True, metadata=ome.metadata(picture, text))
        return said
    _save(path, picture, metadata=_json(picture, text), **_resolution(picture))
    return [f"written as plain TIFF, its metadata as JSON: OME-TIFF cannot hold {reason}"]


def check(dtype: np.dtype[Any], shape: Sequence[int], axes: str) -> None:
    """Every real image fits: what OME-TIFF cannot hold goes into a plain TIFF."""


def _check_whole(file: Any) -> None:
    """Refuse a file whose last page points to one behind its end: tifffile would read the pages before, silently."""
    file.filehandle.seek(file.pages.next_page_offset)
    link = file.filehandle.read(file.tiff.offsetsize)
    order: Literal["big", "little"] = "big" if file.byteorder == ">" else "little"
    if len(link) < file.tiff.offsetsize or int.from_bytes(link, order) >= file.filehandle.size:
        raise ValueError(f"it is cut off after {len(file.pages)} pages")


def _choose(count: int, part: str) -> int:
    if not part:
        return 0
    if not part.isdecimal() or int(part) >= count:
        raise ValueError(f"[{part}] names no image of it; there are [0] to [{count - 1}]")
    return int(part)


def _notes(path: Path, page: Any, count: int, part: str) -> Iterator[str]:
    if count > 1 and not part:
        others = f"{path.name}[1]" + (f" to [{count - 1}]" if count > 2 else "")
        yield f"the first of {count} images is read, and nothing is done to the others: {others}"
    orientation = int(_tag(page, "Orientation") or 1)
    if orientation != 1:
        yield f"its orientation {orientation} is neither applied nor kept: pixels are as stored"


def _samples(file: Any, series: Any) -> tuple[Array, str]:
    """Return the values with the samples of a colour last, and their axes; empty where they are ambiguous."""
    pixels, axes, page = series.asarray(), series.axes.upper().replace("I", "Q"), series.keyframe
    if _is_indexed(file, page):
        pixels, axes = _coloured(pixels, axes, page.colormap), f"{axes}S"
    elif "S" in axes:
        at, size = axes.index("S"), pixels.shape[axes.index("S")]
        rest = axes.replace("S", "")
        if _is_colour(page, size):
            pixels, axes = np.moveaxis(pixels, at, -1), f"{rest}S"
        elif "C" not in axes:
            before = rest.index("Y")
            pixels, axes = np.moveaxis(pixels, at, before), f"{rest[:before]}C{rest[before:]}"
    told = len(set(axes)) == len(axes) and {"Y", "X"} <= set(axes)
    return np.ascontiguousarray(pixels), axes if told else ""


def _is_indexed(file: Any, page: Any) -> bool:
    is_lut = any(getattr(file, f"is_{kind}") for kind in LUTS)
    return page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None and not is_lut


def _coloured(indices: Array, axes: str, table: Array) -> Array:
    """Return the colours that a table, (3, n) of uint16, has for indices; uint8 where it was made from 8 bits."""
    if "S" in axes:
        raise ValueError("its pixels have an index into a colour table and another sample: save it as RGB")
    if not (table % 257).any() or not (table % 256).any():  # programs fill 16 bits in either way
        table = (table >> 8).astype(np.uint8)
    colours: Array = table.T[indices.astype(np.uint16, copy=False)]  # (..., 3)
    return colours


def _is_colour(page: Any, size: int) -> bool:
    photometric = tifffile.PHOTOMETRIC
    if page.photometric in (photometric.RGB, photometric.YCBCR):
        return size in (3, 4)
    grey = page.photometric in (photometric.MINISBLACK, photometric.MINISWHITE)
    return size == 2 and grey and any(int(sample) in (1, 2) for sample in page.extrasamples)


def _described(picture: Picture, file: Any, at: int) -> tuple[Picture, record.Record]:
    """Return the picture with what the file's metadata say of the series of this number, and our record."""
    if file.is_ome and file.ome_metadata:
        return ome.described(picture, file.ome_metadata, at)
    page = file.series[at].keyframe
    resolution = {axis: _pixels_per_unit(page, tag) for axis, tag in (("Y", "YResolution"), ("X", "XResolution"))}
    if file.is_imagej and file.imagej_metadata:
        return imagej.described(picture, file.imagej_metadata, resolution)
    unit = MICROMETERS.get(int(_tag(page, "ResolutionUnit") or 1))
    scale, units = list(picture.scale), list(picture.units)
    for axis, number in resolution.items():
        if unit and number and number != 1 and axis in picture.axes:
            at = picture.axes.index(axis)
            scale[at], units[at] = unit / number, "micrometer"
    known = next((found[record.KEY] for found in (file.shaped_metadata or ())[at:] if record.KEY in found), "")
    origin = None if file.is_shaped else PlainOrigin(page.description)
    return dataclasses.replace(picture, scale=tuple(scale), units=tuple(units), origin=origin), record.loads(known)


def _tag(page: Any, name: str) -> Any:
    return page.tags[name].value if name in page.tags else None


def _pixels_per_unit(page: Any, tag: str) -> float:
    """Return a resolution tag, 0 where it is missing or means nothing."""
    value = _tag(page, tag)
    if not isinstance(value, tuple) or len(value) != 2 or not value[1]:
        return 0.0
    return float(value[0]) / float(value[1])


def _save(path: Path, picture: Picture, **how: Any) -> None:
    pixels, axes = np.ascontiguousarray(picture.pixels), picture.axes
    grey = "miniswhite" if picture.white_is_zero else "minisblack"
    colour = axes.endswith("S") and pixels.shape[-1] in (3, 4)
    tifffile.imwrite(
        path,
        pixels,
        photometric="rgb" if colour else grey,
        planarconfig="contig" if axes.endswith("S") else None,
        extrasamples=["unassalpha"] if has_alpha(axes, pixels.shape) else None,
        software=record.SOFTWARE,
        bigtiff=pixels.nbytes > CLASSIC_LIMIT,
        **how,
    )


def _json(picture: Picture, text: str) -> dict[str, str]:
    return {**({"axes": picture.axes} if picture.axes else {}), record.KEY: text}


def _resolution(picture: Picture) -> dict[str, Any]:
    """Return the resolution tags of a plain TIFF, in pixels per centimetre, where the pixel size is a length."""
    sizes = {axis: ome.micrometers(picture, axis) for axis in "XY"}
    if not all(sizes.values()):
        return {}
    return {"resolution": tuple(MICROMETERS[3] / float(size or 1) for size in sizes.values()), "resolutionunit": 3}
