"""PNG and JPEG. Pixels are as stored: an EXIF orientation is carried along, not applied, as in napari."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import imageio.v3 as iio
import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngInfo

from napari_dip.io import record
from napari_dip.io.picture import Array, Compression, Picture

QUALITY = 95  # of JPEG, without subsampling of colours
DEEP_COLOURS = (2, 4, 6)  # colour types of PNG: RGB, grey and alpha, RGB and alpha


@dataclass(frozen=True)
class PhotoOrigin:
    """What belongs to a photo besides its pixels: EXIF, with the orientation, and the colour profile."""

    exif: bytes | None
    profile: bytes | None


def read_png(path: Path, part: str) -> Picture:
    """Return the picture in a PNG file, palettes as RGB, 16 bits as they are, 1 bit as bool."""
    picture, information = _read(path)
    if _is_deep_colour(path):  # Pillow, behind imageio, would give the upper 8 of 16 bits
        deep = _picture(imagecodecs.png_decode(path.read_bytes()), picture.origin)
        picture = dataclasses.replace(deep, notes=picture.notes)
    return record.complete(picture, record.loads(information.get(record.KEY)))


def read_jpeg(path: Path, part: str) -> Picture:
    """Return the picture in a JPEG file, grey or RGB, and how it was compressed."""
    return dataclasses.replace(_read(path)[0], compression=compression(path))


def compression(path: Path) -> Compression | None:
    """Return how a JPEG file was compressed; None for other files, and for colours that are not JFIF's."""
    with Image.open(path) as file:
        if not isinstance(file, JpegImageFile) or file.mode not in ("L", "RGB"):
            return None
        tables, layers = file.quantization, file.layer  # (name, columns, rows, table) of each plane
        if file.mode == "L":
            return Compression(tuple(tables[layers[0][3]]))
        first, *others = layers
        ratios = {(first[2] / rows, first[1] / columns) for _, columns, rows, _ in others}
        down, across = ratios.pop()
        is_usual = not ratios and {down, across} <= {1, 2} and others[0][3] == others[1][3]
        if file.info.get("adobe_transform") == 0 or not is_usual:
            return None
        return Compression(tuple(tables[first[3]]), tuple(tables[others[0][3]]), (int(down), int(across)))


def write_png(path: Path, picture: Picture, provenance: Mapping[str, Any] | None) -> list[str]:
    """Write a PNG file, without loss."""
    if picture.pixels.dtype == np.uint16 and picture.pixels.ndim == 3:
        path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(picture.pixels)))
        return ["PNG with 16 bits a colour: written without provenance"] if provenance else []
    information = PngInfo()
    information.add_text(record.KEY, record.dumps(picture, provenance))
    pixels = np.ascontiguousarray(picture.pixels)
    iio.imwrite(path, pixels, plugin="pillow", extension=".png", pnginfo=information, **_kept(picture))
    return []


def write_jpeg(path: Path, picture: Picture, provenance: Mapping[str, Any] | None) -> list[str]:
    """Write a JPEG file of high quality, which loses a little nevertheless."""
    pixels = np.ascontiguousarray(picture.pixels)
    iio.imwrite(path, pixels, plugin="pillow", extension=".jpg", quality=QUALITY, subsampling=0, **_kept(picture))
    return ["JPEG changes the values a little and keeps no provenance: prefer PNG or TIFF for what is measured"]


def check_png(dtype: np.dtype[Any], shape: Sequence[int], axes: str) -> None:
    """Refuse what PNG cannot hold."""
    deep = dtype in (np.uint8, np.uint16)
    if not ((len(shape) == 2 and (deep or dtype == np.bool_)) or (_is_colour(shape, axes, (2, 3, 4)) and deep)):
        raise ValueError(
            f"PNG holds uint8 or uint16 values of one grey or colour image, not {dtype} of shape {tuple(shape)} "
            f"({axes or 'axes unknown'}): write TIFF, or choose a dtype and a plane that fit"
        )


def check_jpeg(dtype: np.dtype[Any], shape: Sequence[int], axes: str) -> None:
    """Refuse what JPEG cannot hold."""
    if dtype != np.uint8 or not (len(shape) == 2 or _is_colour(shape, axes, (3,))):
        raise ValueError(
            f"JPEG holds uint8 values of one grey or RGB image, not {dtype} of shape {tuple(shape)} "
            f"({axes or 'axes unknown'}): write TIFF or PNG"
        )


def _is_colour(shape: Sequence[int], axes: str, samples: Sequence[int]) -> bool:
    return len(shape) == 3 and axes in ("", "YXS") and shape[-1] in samples


def _read(path: Path) -> tuple[Picture, dict[str, Any]]:
    with iio.imopen(path, "r", plugin="pillow") as file:
        information = file.metadata(index=0, exclude_applied=False)
        mode = "RGB" if information.get("mode") == "CMYK" else None
        pixels = file.read(index=0, mode=mode)
    orientation = information.get("Orientation", 1)
    notes = () if orientation == 1 else (f"its EXIF orientation {orientation} is not applied: pixels are as stored",)
    exif, profile = information.get("exif"), information.get("icc_profile")
    return dataclasses.replace(_picture(pixels, PhotoOrigin(exif, profile)), notes=notes), information


def _picture(pixels: Array, origin: object) -> Picture:
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    return Picture(pixels, "YX" if pixels.ndim == 2 else "YXS", origin=origin)


def _kept(picture: Picture) -> dict[str, Any]:
    origin = picture.origin
    if not isinstance(origin, PhotoOrigin):
        return {}
    kept = {"exif": origin.exif, "icc_profile": origin.profile}
    return {key: value for key, value in kept.items() if value}


def _is_deep_colour(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(26)  # the signature, and the start of the first chunk: width, height, bits, colour type
    return len(head) == 26 and head[24] == 16 and head[25] in DEEP_COLOURS
