"""ImageJ hyperstacks: what their metadata say, and how one is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_dip.io import record, units
from napari_dip.io.picture import UNKNOWN, Array, Display, Picture
from napari_dip.io.record import KEY, Record

TYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))
LETTERS = "TZCYXS"
LIMIT = 2**32 - 2**25  # bytes: ImageJ reads no BigTIFF that tifffile writes for it


@dataclass(frozen=True)
class ImageJOrigin:
    """What an ImageJ file said besides sizes and colours."""

    mode: str  # of display: grayscale, composite, color
    labels: tuple[str, ...]  # one per plane
    info: str


def described(picture: Picture, said: dict[str, Any], resolution: Mapping[str, float]) -> tuple[Picture, Record]:
    """Return the picture with what ImageJ's metadata say, and our record.

    Parameters
    ----------
    picture : Picture
        Values and axes.
    said : dict
        The metadata as tifffile gives them.
    resolution : mapping
        Pixels per unit along Y and X, 0 where unknown.
    """
    unit = units.ours(_text(said.get("unit")))
    known: dict[str, tuple[Any, str]] = {axis: (1 / number, unit) for axis, number in resolution.items() if number}
    known |= {"Z": (said.get("spacing"), unit), "T": (said.get("finterval"), "s")}
    sizes = [_size(known.get(axis)) for axis in picture.axes] or [(1.0, UNKNOWN)] * picture.pixels.ndim
    info, ours = _split_info(_text(said.get("Info")))
    origin = ImageJOrigin(_text(said.get("mode")), tuple(said.get("Labels") or ()), info)
    described = dataclasses.replace(
        picture,
        scale=tuple(scale for scale, _ in sizes),
        units=tuple(name for _, name in sizes),
        display=_display(picture, said),
        origin=origin,
    )
    return described, record.loads(ours)


def reason_against(picture: Picture) -> str:
    """Return what of a picture an ImageJ hyperstack cannot hold, empty where it can."""
    pixels = picture.pixels
    if pixels.dtype not in TYPES or ("S" in picture.axes and pixels.dtype != np.uint8):
        return f"{'colours' if 'S' in picture.axes else 'values'} of type {pixels.dtype}"
    if not picture.axes or not set(picture.axes) <= set(LETTERS) or picture.size("S") not in (1, 3, 4):
        return f"the axes {picture.axes or pixels.shape}"
    if len({unit for axis, unit in zip(picture.axes, picture.units, strict=True) if axis in "ZYX"}) > 1:
        return f"the units {picture.units}"
    return "more than 4 GB" if pixels.nbytes > LIMIT else ""


def tags(picture: Picture, text: str) -> dict[str, Any]:
    """Return what tifffile needs to write a picture with axes in the order TZCYXS."""
    origin = picture.origin
    assert isinstance(origin, ImageJOrigin)  # noqa: S101 - only pictures that came from ImageJ go there
    size = dict(zip(picture.axes, zip(picture.scale, picture.units, strict=True), strict=True))
    said: dict[str, Any] = {"axes": picture.axes, "Info": f"{origin.info}\n{KEY}: {text}".lstrip("\n")}
    if origin.mode and "S" not in picture.axes:
        said["mode"] = origin.mode
    unit = size["X"][1]
    if unit != UNKNOWN:
        said["unit"] = units.TO_FITS.get(unit, unit)  # ImageJ writes um, not µm
    if "Z" in size:
        said["spacing"] = size["Z"][0]
    interval = units.seconds(*size["T"]) if "T" in size else None
    if interval:
        said["finterval"] = interval
    if len(origin.labels) == _planes(picture):
        said["Labels"] = list(origin.labels)
    return {"metadata": said | _shown(picture), "resolution": (1 / size["X"][0], 1 / size["Y"][0])}


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _size(known: tuple[Any, str] | None) -> tuple[float, str]:
    scale, unit = known or (None, UNKNOWN)
    if not isinstance(scale, (int, float)) or isinstance(scale, bool) or not np.isfinite(scale) or scale <= 0:
        return 1.0, UNKNOWN
    return float(scale), unit


def _split_info(info: str) -> tuple[str, str]:
    """Return the info without our line, and what that line says."""
    lines = info.splitlines()
    ours = [line for line in lines if line.startswith(f"{KEY}:")]
    kept = "\n".join(line for line in lines if line not in ours)
    return kept, ours[-1].partition(":")[2].strip() if ours else ""


def _display(picture: Picture, said: dict[str, Any]) -> tuple[Display, ...]:
    count = picture.size("C")
    luts, ranges = said.get("LUTs") or [], list(said.get("Ranges") or ())
    if not ranges and "min" in said and "max" in said:
        ranges = [said["min"], said["max"]] * count
    luts = luts if len(luts) == count else [None] * count
    limits = list(zip(ranges[::2], ranges[1::2], strict=False)) if len(ranges) == 2 * count else [None] * count
    shown = tuple(_look(lut, pair) for lut, pair in zip(luts, limits, strict=True))
    return shown if any(one.colour or one.limits or one.lut is not None for one in shown) else ()


def _look(lut: Array | None, limits: Sequence[Any] | None) -> Display:
    pair = None if limits is None or not limits[1] > limits[0] else (float(limits[0]), float(limits[1]))
    if lut is None or np.shape(lut) != (3, 256):
        return Display(limits=pair)
    top = lut[:, -1]
    ramp = np.arange(256)[None] * top[:, None] / 255
    if np.abs(ramp - lut).max() <= 1:
        return Display(colour="#" + "".join(f"{value:02x}" for value in top.tolist()), limits=pair)
    return Display(lut=np.array(lut), limits=pair)


def _shown(picture: Picture) -> dict[str, Any]:
    """Return the colour tables and ranges of all channels, where they are known."""
    said: dict[str, Any] = {}
    if picture.display and all(one.limits for one in picture.display):
        ranges = [float(value) for one in picture.display for value in one.limits or ()]
        said["Ranges"] = tuple(ranges)
        said |= {"min": ranges[0], "max": ranges[1]}
    if picture.display and all(one.colour or one.lut is not None for one in picture.display):
        said["LUTs"] = [_table(one) for one in picture.display]
    return said


def _table(shown: Display) -> Array:
    if shown.lut is not None:
        return shown.lut
    top = np.array([int((shown.colour or "#ffffff")[at : at + 2], 16) for at in (1, 3, 5)])
    table: Array = np.round(np.arange(256)[None] * top[:, None] / 255).astype(np.uint8)
    return table


def _planes(picture: Picture) -> int:
    return int(np.prod([picture.size(axis) for axis in "TZC"]))
