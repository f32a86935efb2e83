"""What we write into a file for ourselves, as JSON: the provenance, and what the format has no words for."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from napari_dip.io.picture import UNKNOWN, Display, Picture

KEY = "napari-dip"
SOFTWARE = f"napari-dip {version('napari-dip')}"
_PER_AXIS = ("shape", "scale", "units")
NOT_TOLD = "QT"  # letters under which a format may have stored an axis that it has no letter for

Record = dict[str, Any]


def dumps(picture: Picture, provenance: Mapping[str, Any] | None) -> str:
    """Return the record as JSON in printable ASCII, numbers that JSON has not as null."""
    provenance = provenance if provenance is not None else picture.provenance
    known = {
        "axes": picture.axes,
        "shape": list(picture.pixels.shape),
        "scale": list(picture.scale),
        "units": list(picture.units),
        "channel_names": list(picture.channel_names),
        "colours": [shown.colour for shown in picture.display],
        "limits": [shown.limits for shown in picture.display],
        "steps": list(picture.steps),
    }
    return json.dumps(plain({"provenance": provenance, "picture": known}), separators=(",", ":"), allow_nan=False)


def loads(text: object) -> Record:
    """Return the record in a text, empty where it is none."""
    try:
        found = json.loads(str(text))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def complete(picture: Picture, record: Record) -> Picture:
    """Return the picture with what the record knows and its file did not say.

    Where both speak, the file is right: another program may have changed it since. A record of other axes says
    nothing about this image any more; its provenance does.
    """
    provenance = record.get("provenance")
    if isinstance(provenance, dict):
        picture = dataclasses.replace(picture, provenance=provenance)
    known = record.get("picture")
    if not isinstance(known, dict) or not _is_about(known, picture):
        return picture
    axes = known["axes"]
    sized = [_sized(picture, known, axis) for axis in range(len(axes))]
    complete = dataclasses.replace(
        picture,
        pixels=picture.pixels.reshape(known["shape"]),
        axes=axes,
        scale=tuple(scale for scale, _ in sized),
        units=tuple(unit for _, unit in sized),
    )
    return _with_channels(complete, known)


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: numbers that are not finite as null, what it has no word for as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _is_about(known: Mapping[str, Any], picture: Picture) -> bool:
    axes, shape = known.get("axes"), known.get("shape")
    if not isinstance(axes, str) or not _are(shape, int) or not _are(known.get("scale"), (int, float)):
        return False
    if not _are(known.get("units"), str) or len({len(axes), *(len(known[key]) for key in _PER_AXIS)}) != 1:
        return False
    stored = picture.axes or "Q" * picture.pixels.ndim
    told = [(axis, size) for axis, size in zip(stored, picture.pixels.shape, strict=True) if size != 1]
    ours = [(axis, size) for axis, size in zip(axes, known["shape"], strict=True) if size != 1]
    return len(told) == len(ours) and all(
        size == own_size and (axis == own or axis in NOT_TOLD)
        for (axis, size), (own, own_size) in zip(told, ours, strict=True)
    )


def _are(values: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def _sized(picture: Picture, known: Mapping[str, Any], axis: int) -> tuple[float, str]:
    letter, ours = known["axes"][axis], (float(known["scale"][axis]), str(known["units"][axis]))
    if letter not in picture.axes:
        return ours
    at = picture.axes.index(letter)
    told = picture.scale[at], picture.units[at]
    same_unit = told[1] in (ours[1], UNKNOWN)
    same_size = math.isclose(told[0], ours[0], rel_tol=1e-6)  # a format may have rounded it
    return ours if told == (1.0, UNKNOWN) or (same_unit and same_size) else told


def _with_channels(picture: Picture, known: Mapping[str, Any]) -> Picture:
    names, steps = known.get("channel_names"), known.get("steps")
    if not picture.channel_names and isinstance(names, list) and len(names) == picture.size("C"):
        picture = dataclasses.replace(picture, channel_names=tuple(str(name) for name in names))
    if _are(steps, int) and isinstance(steps, list) and len(steps) == picture.size("I"):
        picture = dataclasses.replace(picture, steps=tuple(steps))
    colours, limits = known.get("colours"), known.get("limits")
    if not (isinstance(colours, list) and isinstance(limits, list) and len(colours) == len(limits)):
        return picture
    shown = picture.display or (Display(),) * len(colours)
    if len(shown) != len(colours):
        return picture
    looks = (_look(one, colour, pair) for one, colour, pair in zip(shown, colours, limits, strict=True))
    return dataclasses.replace(picture, display=tuple(looks))


def _look(shown: Display, colour: object, limits: object) -> Display:
    """Return how a channel is shown, with what its file did not say."""
    if shown.colour is None and shown.lut is None and re.fullmatch("#[0-9a-f]{6}", str(colour)):
        shown = dataclasses.replace(shown, colour=str(colour))
    if shown.limits is None and _are(limits, (int, float)) and isinstance(limits, list) and len(limits) == 2:
        shown = dataclasses.replace(shown, limits=(float(limits[0]), float(limits[1])))
    return shown
