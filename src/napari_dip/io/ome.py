"""OME-XML: what it says about an image, and a new one for a new image, never a copy gone stale."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

from napari_dip.io import record, units
from napari_dip.io.picture import UNKNOWN, Display, Picture
from napari_dip.io.record import KEY, Record

TYPES = ("bool", "int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")
LETTERS = "TZCYXSAPRHE"  # axes that OME has, in tifffile's letters; one other goes as Q, "other"
NO_UNIT = "reference frame"  # OME for lengths without a unit that it knows
SIZES = {"X": "PhysicalSizeX", "Y": "PhysicalSizeY", "Z": "PhysicalSizeZ", "T": "TimeIncrement"}
OF_CHANNEL = (
    "AcquisitionMode",
    "ContrastMethod",
    "EmissionWavelength",
    "EmissionWavelengthUnit",
    "ExcitationWavelength",
    "ExcitationWavelengthUnit",
    "Fluor",
    "IlluminationType",
    "NDFilter",
    "PinholeSize",
    "PinholeSizeUnit",
    "PockelCellSetting",
)
_LENGTHS = {
    "meter": 1e6,
    "centimeter": 1e4,
    "millimeter": 1e3,
    "micrometer": 1.0,
    "nanometer": 1e-3,
    "picometer": 1e-6,
    "angstrom": 1e-4,
    "inch": 25400.0,
}


@dataclass(frozen=True)
class OmeOrigin:
    """What an OME image said about itself besides sizes, names and colours."""

    image: dict[str, str] = field(default_factory=dict)  # name, description, date of acquisition
    channels: tuple[dict[str, str], ...] = ()


def described(picture: Picture, xml: str, at: int = 0) -> tuple[Picture, Record]:
    """Return the picture with what the OME-XML says about the image of this number, and our record."""
    root = ET.fromstring(xml)  # noqa: S314 - expat bounds the expansion of entities
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    image = next(iter(root.findall("Image")[at:]), None)
    pixels = None if image is None else image.find("Pixels")
    if image is None or pixels is None:
        return picture, {}
    channels = [dict(channel.attrib) for channel in pixels.findall("Channel")]
    fits = len(channels) == picture.size("C")
    scale, names = _sizes(picture, pixels.attrib)
    described = dataclasses.replace(
        picture,
        scale=scale,
        units=names,
        channel_names=tuple(_names(channels)) if fits else (),
        display=tuple(Display(colour=_colour(channel)) for channel in channels) if fits else (),
        origin=OmeOrigin(_about(image), tuple(_kept(channel) for channel in channels) if fits else ()),
    )
    return described, _record(root)


def reason_against(picture: Picture) -> str:
    """Return what of a picture OME-TIFF cannot hold, empty where it can."""
    if picture.pixels.dtype.name not in TYPES:
        return f"values of type {picture.pixels.dtype}"
    others = [axis for axis in picture.axes if axis not in LETTERS]
    free = [axis for axis in "TZC" if axis not in picture.axes]
    modulo = [axis for axis in picture.axes if axis not in "TZCYXS"]
    if not picture.axes or len(others) > 1 or len(modulo) > len(free) or {"C", "S"} <= set(picture.axes):
        return f"the axes {picture.axes or picture.pixels.shape}"
    return ""


def metadata(picture: Picture, text: str) -> dict[str, Any]:
    """Return the metadata from which tifffile makes the OME-XML of a picture with axes ...YX or ...YXS."""
    origin = picture.origin if isinstance(picture.origin, OmeOrigin) else OmeOrigin()
    about = origin.image or {"Description": str(getattr(picture.origin, "description", ""))}
    return {
        "axes": "".join(axis if axis in LETTERS else "Q" for axis in picture.axes),
        "Creator": record.SOFTWARE,
        **{key: value for key, value in about.items() if value},
        **_physical_sizes(picture),
        "Channel": _channels(picture, origin),
        "MapAnnotation": {"Namespace": KEY, "Value": {KEY: text}},
    }


def micrometers(picture: Picture, axis: str) -> float | None:
    """Return the pixel size along an axis where it is a length that is known."""
    if axis not in picture.axes:
        return None
    at = picture.axes.index(axis)
    factor = _LENGTHS.get(picture.units[at])
    return None if factor is None else picture.scale[at] * factor


def _sizes(picture: Picture, said: dict[str, str]) -> tuple[tuple[float, ...], tuple[str, ...]]:
    scale, names = list(picture.scale), list(picture.units)
    for at, axis in enumerate(picture.axes):
        size = _number(said.get(SIZES.get(axis, "")))
        if size:
            scale[at] = size
            names[at] = units.ours(said.get(f"{SIZES[axis]}Unit", "s" if axis == "T" else "um"))
    return tuple(scale), tuple(names)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if np.isfinite(value) and value > 0 else None


def _names(channels: Sequence[dict[str, str]]) -> list[str]:
    names = [channel.get("Name", "") for channel in channels]
    return names if any(names) else []


def _colour(channel: dict[str, str]) -> str | None:
    """Return the colour of a channel, which OME stores as a signed integer, RGBA."""
    try:
        value = int(channel.get("Color", "")) & 0xFFFFFFFF
    except ValueError:
        return None
    return f"#{value >> 8:06x}"


def _about(image: ET.Element) -> dict[str, str]:
    found = {"Name": image.get("Name")}
    found |= {tag: image.findtext(tag) for tag in ("Description", "AcquisitionDate")}
    return {key: value for key, value in found.items() if value}


def _kept(channel: dict[str, str]) -> dict[str, str]:
    return {key: channel[key] for key in OF_CHANNEL if key in channel}


def _record(root: ET.Element) -> Record:
    for annotation in root.iter("MapAnnotation"):
        for item in annotation.iter("M"):
            if annotation.get("Namespace") == KEY and item.get("K") == KEY:
                return record.loads(item.text)
    return {}


def _physical_sizes(picture: Picture) -> dict[str, Any]:
    sizes: dict[str, Any] = {}
    for axis, scale, unit in zip(picture.axes, picture.scale, picture.units, strict=True):
        name = SIZES.get(axis)
        if not name or (scale, unit) == (1.0, UNKNOWN):
            continue
        if axis == "T":
            time = units.seconds(scale, unit)
            if time is not None:
                sizes |= {name: time, f"{name}Unit": "s"}
        else:
            sizes |= {name: scale, f"{name}Unit": units.TO_OME.get(unit, NO_UNIT)}
    return sizes


def _channels(picture: Picture, origin: OmeOrigin) -> list[dict[str, Any]]:
    count = picture.size("C")
    kept = origin.channels if len(origin.channels) == count else ({},) * count
    channels: list[dict[str, Any]] = [dict(one) for one in kept]
    for at, channel in enumerate(channels):
        if picture.channel_names:
            channel["Name"] = picture.channel_names[at]
        colour = picture.display[at].colour if picture.display else None
        if colour:
            value = int(colour.removeprefix("#"), 16) << 8 | 0xFF
            channel["Color"] = value - (1 << 32) if value >= 1 << 31 else value
    return channels
