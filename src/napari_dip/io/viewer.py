"""Files in and out of napari: layer data in napari's words. Needs no napari."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_dip.io import files, photo, units
from napari_dip.io.picture import UNKNOWN, Array, Compression, Display, Picture, take
from napari_dip.io.record import KEY

log = logging.getLogger(__name__)

LayerData = tuple[Any, dict[str, Any], str]

ORIGIN = f"{KEY}-origin"  # layer metadata: what the source file's format said besides, for writing it again
COMPRESSION = "jpeg"  # layer metadata: how the file was compressed
LABELS = {"Y": "y", "X": "x", "Z": "z", "T": "t", "C": "c", "I": "iteration", "E": "spectral"}
LETTERS = {label: letter for letter, label in LABELS.items()} | {
    "time": "T",
    "depth": "Z",
    "channel": "C",
    "wavelength": "E",
    "step": "I",
}
JPEG = (".jpg", ".jpeg")
SPARE = "QPRHABDFGJKLMNOUVW"  # for axes whose label says nothing; TIFF knows the first as other dimensions
NEGATIVE = "gray_r"  # napari's colormap from white to black
MANY_CHANNELS = 16  # more stay one layer with a slider


def compression(metadata: Mapping[str, Any], path: str | None) -> Compression | None:
    """Return how the file of a layer was compressed, from the layer's metadata or else from the file itself."""
    said = metadata.get(COMPRESSION)
    if isinstance(said, Mapping):
        return Compression(*(tuple(said[name]) for name in ("luma", "chroma", "subsampling")))
    if path is None or not path.lower().endswith(JPEG) or not Path(path).is_file():
        return None
    try:
        return photo.compression(Path(path))
    except OSError:  # another file has taken its place
        return None


def get_reader(path: str | Sequence[str]) -> Callable[[str], list[LayerData]] | None:
    """Return the function that reads a file as layers, None where it is no single image file of ours."""
    if not isinstance(path, str):
        return None
    suffixes = tuple(suffix for format_ in files.FORMATS for suffix in format_.suffixes)
    return read_layers if files.split(path)[0].name.lower().endswith(suffixes) else None


def read_layers(path: str) -> list[LayerData]:
    """Return the image layers of a file: one, or one per channel; colours are one layer.

    Pixel sizes, units, axis labels, colours and display ranges are the file's; `metadata["napari-dip"]` is the
    provenance where the file has one.
    """
    picture = files.read(path)
    for note in picture.notes:
        log.warning("%s: %s", path, note)
    name = Path(path).name.partition(".")[0]
    if "S" in picture.axes and picture.size("S") == 2:  # napari shows no grey with alpha
        alpha = dataclasses.replace(picture, pixels=picture.pixels[..., 1:])
        grey = dataclasses.replace(picture, pixels=picture.pixels[..., :1])
        return [_layer(_without_samples(grey), name), _layer(_without_samples(alpha), f"{name} alpha")]
    if 1 < picture.size("C") <= MANY_CHANNELS:
        names = picture.channel_names or tuple(str(channel) for channel in range(picture.size("C")))
        parts = [take(picture, {"C": channel}) for channel in range(picture.size("C"))]
        return [_layer(part, f"{name} {channel}") for part, channel in zip(parts, names, strict=True)]
    return [_layer(picture, name)]


def write_image(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write an image layer, with its pixel size, units, axis labels, display range and provenance.

    Parameters
    ----------
    path : str
        Its suffix tells the format; napari has asked before replacing a file.
    data : array-like
        Of a multiscale layer, the finest level is written.
    attributes : dict
        The layer's, as napari gives them.

    Raises
    ------
    ValueError
        When the format cannot hold such values, in words.
    """
    pixels = np.asarray(data[0] if attributes.get("multiscale") else data)
    for note in files.write(path, _picture(pixels, attributes), overwrite=True):
        log.warning("%s: %s", path, note)
    return [path]


def _layer(picture: Picture, name: str) -> LayerData:
    attributes: dict[str, Any] = {"name": name, "metadata": _metadata(picture)}
    is_rgb = picture.axes.endswith("S")
    if is_rgb:
        attributes["rgb"] = True
    if picture.axes:
        ndim = len(picture.axes) - is_rgb
        attributes["scale"] = picture.scale[:ndim]
        attributes["units"] = picture.units[:ndim]
        if picture.steps:
            starts = {"I": float(picture.steps[0])}
            attributes["translate"] = tuple(starts.get(axis, 0.0) for axis in picture.axes[:ndim])
        attributes["axis_labels"] = tuple(
            LABELS.get(axis, str(at - ndim)) for at, axis in enumerate(picture.axes[:ndim])
        )
    if picture.white_is_zero:
        attributes["colormap"] = NEGATIVE
    if len(picture.display) == 1 and not is_rgb:
        attributes |= _look(picture.display[0])
    return picture.pixels, attributes, "image"


def _metadata(picture: Picture) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    if picture.provenance is not None:
        metadata[KEY] = picture.provenance
    if picture.steps:
        metadata["steps"] = list(picture.steps)
    if picture.origin is not None:
        metadata[ORIGIN] = picture.origin
    if picture.saturation is not None:
        metadata["saturation"] = picture.saturation
    if picture.compression is not None:
        metadata[COMPRESSION] = dataclasses.asdict(picture.compression)
    return metadata


def _look(shown: Display) -> dict[str, Any]:
    look: dict[str, Any] = {}
    if shown.colour and shown.colour != "#000000":
        look["colormap"] = "gray" if shown.colour == "#ffffff" else shown.colour
    if shown.lut is not None:
        look["colormap"] = {"colors": (shown.lut.T / 255).tolist(), "name": "from file"}
    if shown.limits:
        look["contrast_limits"] = shown.limits
    return look


def _without_samples(picture: Picture) -> Picture:
    return take(picture, {"S": 0})


def _picture(pixels: Array, attributes: Mapping[str, Any]) -> Picture:
    """Return the picture that a layer is."""
    metadata = attributes.get("metadata") or {}
    is_rgb = bool(attributes.get("rgb"))
    ndim = pixels.ndim - is_rgb
    labels = [str(label) for label in attributes.get("axis_labels") or [""] * ndim]
    scale = tuple(abs(float(value)) for value in attributes.get("scale", (1.0,) * ndim))  # below 0: mirrored
    names = tuple(units.ours(str(unit)) for unit in attributes.get("units") or (UNKNOWN,) * ndim)
    provenance = metadata.get(KEY)
    axes = _letters(labels)
    return Picture(
        pixels,
        axes + "S" * is_rgb,
        scale + (1.0,) * is_rgb,
        names + (UNKNOWN,) * is_rgb,
        display=() if is_rgb or "C" in axes else (_shown(attributes),),
        white_is_zero=not is_rgb and _name(attributes.get("colormap")) == NEGATIVE,
        steps=_steps(metadata, pixels.shape[axes.index("I")]) if "I" in axes else (),
        provenance=dict(provenance) if isinstance(provenance, Mapping) else None,
        origin=metadata.get(ORIGIN) if _is_in_place(attributes, axes) else None,
    )


def _letters(labels: Sequence[str]) -> str:
    """Return one letter per label: what it says, else the last two are Y and X, and others are not told."""
    known = [LETTERS.get(label.lower(), "") for label in labels]
    known = [letter if known.count(letter) == 1 else "" for letter in known]
    spare = iter(SPARE)
    for at in (len(known) - 1, len(known) - 2):
        last = "X" if at == len(known) - 1 else "Y"
        if not known[at] and last not in known:
            known[at] = last
    if not {"Y", "X"} <= set(known):
        known = [*[""] * (len(known) - 2), "Y", "X"]
    return "".join(letter or next(spare) for letter in known)


def _shown(attributes: Mapping[str, Any]) -> Display:
    limits = attributes.get("contrast_limits")
    pair = None if limits is None else (float(limits[0]), float(limits[1]))
    colormap = attributes.get("colormap")
    colours = np.asarray(colormap.get("colors", ())) if isinstance(colormap, Mapping) else np.empty(0)
    if colours.shape not in ((2, 3), (2, 4)) or colours[0, :3].any():
        return Display(limits=pair)
    top = np.round(colours[1, :3] * 255).astype(int).tolist()
    return Display(colour="#" + "".join(f"{value:02x}" for value in top), limits=pair)


def _name(colormap: object) -> str:
    return str(colormap.get("name")) if isinstance(colormap, Mapping) else str(colormap)


def _steps(metadata: Mapping[str, Any], count: int) -> tuple[int, ...]:
    """Return the steps of a layer of iterations: its file's, or those that a run in the viewer has noted."""
    run = metadata.get(KEY)
    for said in (metadata.get("steps"), run.get("steps") if isinstance(run, Mapping) else None):
        if isinstance(said, (list, tuple)) and len(said) == count:
            return tuple(int(step) for step in said)
    return ()


def _is_in_place(attributes: Mapping[str, Any], axes: str) -> bool:
    """Return whether a layer lies where its file had it: a header about the sky holds for no cut-out."""
    moved = np.broadcast_to(attributes.get("translate", 0), len(axes))
    return not any(moved[at] for at, axis in enumerate(axes) if axis != "I")
