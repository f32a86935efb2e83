"""Layers to arrays and back: what of a layer is restored, what its axes are, and where it lies in the world."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pint
from napari.layers import Image, Labels
from napari.utils.transforms import CompositeAffine

import napari_dip as dip
from napari_dip.engine.blocks import Axes, convert
from napari_dip.engine.problem import Array
from napari_dip.gui.levels import coarseness, level, to_pixels
from napari_dip.io.record import KEY
from napari_dip.io.viewer import ORIGIN, compression

NAMED = {
    "Z": {"z", "depth", "plane", "slice"},
    "T": {"t", "time", "frame", "frames"},
    "C": {"c", "ch", "channel", "channels", "wavelength"},
    "Y": {"y"},
    "X": {"x"},
}
SPARE = "PQRUVWABDEFGHIJKLMNO"  # letters of axes whose meaning is not known: one fit per index
SATURATION = "saturation"  # layer metadata: the value from which on a pixel is saturated, as the file says
FRAMES = "T"  # the letter of the axis of exposures, whatever it is called in the layer
LOOK = ("colormap", "contrast_limits", "gamma", "interpolation2d", "interpolation3d", "blending", "opacity")

Transform = dict[str, Any]
Part = dict[int, slice]
"""What is restored of some axes of a layer; of the others all."""


@dataclass(frozen=True, eq=False)
class Origin:
    """What of an image layer is restored, remembered apart from the layer, which may change or go.

    Attributes
    ----------
    name : str
        Of the layer.
    array : array-like
        The layer's whole array, read only where it is restored.
    index : tuple
        What is restored of it, per axis: a number where one plane is chosen, else a slice, full where nothing is left
        out.
    axes, each : str
        Of what is restored, for the engine.
    transform, look : dict
        The layer's place in the world, and its appearance.
    rgb : bool
        Whether the last axis are the samples of a colour.
    frames : int or None
        The axis of the array along which exposures of one scene lie, of which one image is made: it is read whole, and
        the result lies at its `index`.
    saturation : float or None
        Values from here on are missing; None: none is saturated.
    said : dict
        What the source's file said besides, as layer metadata.
    """

    name: str
    array: Any
    index: tuple[int | slice, ...]
    axes: str
    each: str
    transform: Transform
    look: dict[str, Any]
    rgb: bool
    frames: int | None = None
    saturation: float | None = None
    said: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is restored; of exposures of one scene, of one of them."""
        return tuple(length(i, n) for n, i in zip(self.array.shape, self.index, strict=True) if isinstance(i, slice))

    @property
    def region(self) -> list[list[int]]:
        """Of a part, the first pixel and the one after the last along the sliced axes; empty where all is restored."""
        if all(isinstance(i, int) or i == slice(None) for i in self.index):
            return []
        pairs = zip(self.array.shape, self.index, strict=True)
        return [list(i.indices(n)[:2]) for n, i in pairs if isinstance(i, slice)]

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype

    @property
    def layout(self) -> Axes:
        """The engine's view of the axes; ValueError when it cannot restore such an image."""
        return Axes(self.axes, self.shape, self.each)

    @property
    def fits(self) -> int:
        """How many fits a run takes."""
        return int(np.prod([self.shape[axis] for axis in self.layout.repeated], dtype=int))

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """Size of a voxel along the axes of a volume, in one unit; None for planes, and where units do not agree."""
        spatial = self.layout.spatial
        if len(spatial) < 3:
            return None
        shown = [axis for axis, i in enumerate(self.index) if isinstance(i, slice)]
        scale, units = self.transform["scale"], self.transform["units"]
        axes = [shown[axis] for axis in spatial]
        try:
            ratios = [pint.Quantity(1, units[axis]).to(units[axes[-1]]).magnitude for axis in axes]
        except pint.DimensionalityError:
            return None
        return tuple(abs(float(scale[axis])) * float(ratio) for axis, ratio in zip(axes, ratios, strict=True))

    @property
    def measured_axes(self) -> str:
        """Of what is read."""
        return self.axes if self.frames is None else f"{self.axes[: self._at]}{FRAMES}{self.axes[self._at :]}"

    @property
    def _at(self) -> int:
        """Where the axis of the exposures is among those that are read."""
        return sum(isinstance(i, slice) for i in self.index[: self.frames])

    def read(self) -> Any:
        """Return what is restored, of one scene all exposures; of a lazy array only the chosen plane is read."""
        index = [slice(None) if axis == self.frames else i for axis, i in enumerate(self.index)]
        return self.array if all(i == slice(None) for i in index) else np.asarray(self.array[tuple(index)])

    def first(self, values: Any) -> Any:
        """Return what was read; of exposures of one scene the first."""
        return values if self.frames is None else values[(slice(None),) * self._at + (0,)]

    def layer(self, values: Array, name: str, metadata: dict[str, Any], *, rgb: bool | None = None) -> Image:
        """Return an image layer of restored values, where and how the source was shown; on its grid or a finer one."""
        rgb = self.rgb if rgb is None else rgb
        look = {key: value for key, value in self.look.items() if not rgb or key not in ("colormap", "contrast_limits")}
        return Image(self.expand(values), name=name, metadata=metadata, rgb=rgb, **look, **self.place(values.shape))

    def metadata(self, record: dict[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
        """Return a result's: how it was made and, where its pixels are the source's, what the source's file said."""
        said = self.said if shape == self.shape else {}
        if not self.region:
            return {**said, KEY: {**record, "source": self.name}}
        said = {name: value for name, value in said.items() if name != ORIGIN}  # that tells where the whole lies
        return {**said, KEY: {**record, "source": self.name, "region": self.region}}

    def expand(self, values: Array) -> Array:
        """Return values with the layer's number of axes: a chosen plane has length 1 there."""
        return values[tuple(None if isinstance(i, int) else slice(None) for i in self.index)]

    def place(self, shape: tuple[int, ...]) -> Transform:
        """Return the transform of values of some shape: the source's, moved to the chosen plane and part.

        On a grid with other pixels the edges of the field stay where they are, so that every position agrees.
        """
        sizes = iter(zip(self.shape, shape, strict=True))
        offset, ratios = [], []
        for i in self.index[: len(self.transform["scale"])]:
            old, new = (1, 1) if isinstance(i, int) else next(sizes)
            ratios.append(old / new)
            start = i if isinstance(i, int) else i.start or 0
            offset.append(start + (ratios[-1] - 1) / 2)  # of the first pixel's centre
        scale = self.transform["scale"] * np.array(ratios)
        return {**self.transform, "scale": scale, "translate": _physical(self.transform)(offset)}

    def stack(self, values: Array, steps: tuple[int, ...], name: str, *, metadata: dict[str, Any], unit: Any) -> Image:
        """Return a layer (iteration, *source axes) whose first world coordinate is the step number."""
        gap = steps[1] - steps[0] if len(steps) > 1 else 1
        place = _prepend(self.place(values.shape[1:]), scale=gap, translate=steps[0], label="iteration", unit=unit)
        look = {key: value for key, value in self.look.items() if not self.rgb or key != "contrast_limits"}
        values = convert(values, self.dtype) if self.rgb else values  # colours of integers are shown from 0 to 255
        full = np.stack([self.expand(one) for one in values])
        return Image(full, name=name, metadata=metadata, rgb=self.rgb, **look, **place)

    def residual(self, values: Array, name: str, *, metadata: dict[str, Any], unit: Any) -> Image:
        """Return a grey layer of measurement minus estimate; colours become a leading axis."""
        limit = _largest(values)
        return self._grey(values, (-limit, limit), unit, name=name, metadata=metadata, colormap="gray")

    def std(self, values: Array, name: str, *, metadata: dict[str, Any], unit: Any) -> Image:
        """Return a layer of a standard deviation, from 0 on; colours become a leading axis."""
        return self._grey(values, (0.0, _largest(values)), unit, name=name, metadata=metadata, colormap="viridis")

    def _grey(self, values: Array, limits: tuple[float, float], unit: Any, **look: Any) -> Image:
        place, full = self.place(values.shape), self.expand(values)
        if self.rgb:
            place = _prepend(place, scale=1, translate=0, label="colour", unit=unit)
            full = np.moveaxis(full, -1, 0)
        return Image(full, contrast_limits=limits, **look, **place)

    def mask(self, values: npt.NDArray[np.bool_], name: str, *, metadata: dict[str, Any]) -> Labels:
        """Return a labels layer, 1 where a value is marked; of a colour one mark is enough."""
        full = self.expand(values)
        marks = full.any(-1) if self.rgb else full
        return Labels(marks.astype(np.uint8), name=name, metadata=metadata, **self.place(values.shape))


def _largest(values: Array) -> float:
    """Return what hardly a value exceeds, above 0."""
    known = np.abs(values[np.isfinite(values)])
    return (float(np.percentile(known, 99.8)) if known.size else 1.0) or 1.0


def frames_axis(layer: Image, plane: tuple[int, ...]) -> int | None:
    """Return the axis of a slider along which exposures may lie: time, or else the first; None: there is none."""
    letters, shape = axis_letters(layer), level(layer).shape
    found = [axis for axis, position in enumerate(plane) if position >= 0 and shape[axis] > 1]
    return next(iter([axis for axis in found if letters[axis] == "T"] or found), None)


def length(index: slice, size: int) -> int:
    """Return how many elements of an axis a slice has."""
    return len(range(*index.indices(size)))


def origin(
    layer: Image,
    plane: tuple[int, ...] | None,
    *,
    is_volume: bool = False,
    frames: int | None = None,
    part: Part | None = None,
) -> Origin:
    """Return what to restore of a layer.

    Parameters
    ----------
    layer : Image
        Of a multiscale layer, the level that napari is told to show is taken, else the largest.
    plane : tuple of int, optional
        The axes of the layer that are shown are restored at this position of the others; None: every plane in
        turn, with one intensity scale.
    is_volume : bool
        Whether planes are fitted together instead, where the layer has a depth: see `depth`.
    frames : int, optional
        The axis along which exposures of one scene lie; `plane` tells the position of the others.
    part : dict, optional
        What is restored of the axes that are shown: slices by axis.
    """
    array = level(layer)
    letters = axis_letters(layer)
    index: tuple[int | slice, ...] = tuple(
        (part or {}).get(axis, slice(None)) if plane is None or axis >= layer.ndim or plane[axis] < 0 else plane[axis]
        for axis in range(len(array.shape))
    )
    if plane is None:
        axes, each = letters, "Z" if "Z" in letters else ""
        if is_volume:
            axes, each = letters.replace(depth(layer), "Z"), ""
    else:
        axes, each = "YXS" if layer.rgb else "YX", ""
    look = {name: getattr(layer, name) for name in LOOK}
    look["contrast_limits"] = tuple(look["contrast_limits"])
    said = {name: layer.metadata[name] for name in (ORIGIN, SATURATION) if name in layer.metadata}
    return Origin(
        layer.name, array, index, axes, each, transform(layer), look, layer.rgb, frames, saturation(layer), said
    )


def saturation(layer: Image) -> float | None:
    """Return the value from which on a layer's pixels are saturated, as its file says; None: it does not say."""
    said = layer.metadata.get(SATURATION)
    return float(said) if isinstance(said, (int, float)) else None


def jpeg_tables(layer: Image) -> dip.JpegTables | None:
    """Return how the file of a layer was compressed; None where there is no such file any more, or it is no JPEG."""
    said = compression(layer.metadata, layer.source.path)
    return None if said is None else dip.JpegTables(**dataclasses.asdict(said))


def transform(layer: Image) -> Transform:
    """Return the place of a layer's chosen level in the world, as the arguments of a new layer."""
    names = ("scale", "translate", "rotate", "shear")
    place: Transform = {name: np.array(getattr(layer, name), float) for name in names}
    coarse = coarseness(layer)
    if (coarse != 1).any():
        place |= {"translate": _physical(place)((coarse - 1) / 2), "scale": place["scale"] * coarse}
    return {
        **place,
        "affine": np.array(layer.affine.affine_matrix),
        "units": layer.units,
        "axis_labels": layer.axis_labels,
    }


def _physical(place: Transform) -> CompositeAffine:
    names = ("scale", "translate", "rotate", "shear")
    return CompositeAffine(ndim=len(place["scale"]), **{name: place[name] for name in names})


def _prepend(place: Transform, *, scale: float, translate: float, label: str, unit: Any) -> Transform:
    """Return a transform with one more axis in front, which nothing of it touches."""
    inner = _physical(place).expand_dims([0])
    ndim = len(inner.scale)
    affine = np.eye(ndim + 1)
    affine[1:, 1:] = place["affine"]
    return {
        "scale": [scale, *inner.scale[1:]],
        "translate": [translate, *inner.translate[1:]],
        "rotate": inner.rotate,
        "shear": inner.shear,
        "affine": affine,
        "units": (unit, *place["units"]),
        "axis_labels": (label, *place["axis_labels"]),
    }


def leading_unit(layers: Any, ndim: int) -> Any:
    """Return a unit for the first axis of a layer with `ndim` axes that agrees with the layers that have it too."""
    return next((layer.units[-ndim] for layer in layers if layer.ndim >= ndim), "pixel")


def axis_letters(layer: Image) -> str:
    """Return what each axis of a layer's array is: Y, X, Z, T, C, S for colours, a spare letter where unknown.

    Told by axis labels that are names, then by units; without either a leading axis is never taken for channels.
    """
    known: dict[int, str] = {}
    for axis, (label, unit) in enumerate(zip(layer.axis_labels, layer.units, strict=True)):
        letter = _letter(label) or _letter_of_unit(unit)
        if letter and letter not in known.values():
            known[axis] = letter
    plane = [axis for axis, letter in known.items() if letter in "YX"]
    if len(plane) != 2:
        known = {axis: letter for axis, letter in known.items() if letter not in "YX"}
        known |= {layer.ndim - 2: "Y", layer.ndim - 1: "X"}
    if layer.rgb:
        known = {axis: letter for axis, letter in known.items() if letter != "C"}
    spare = iter(SPARE)
    return "".join(known.get(axis) or next(spare) for axis in range(layer.ndim)) + ("S" if layer.rgb else "")


def depth(layer: Image) -> str:
    """Return the letter of the axis that is a volume's depth: Z, or the last one whose meaning is not known.

    Empty where there is none.
    """
    letters = axis_letters(layer)
    return "Z" if "Z" in letters else next((letter for letter in reversed(letters) if letter in SPARE), "")


def is_name(label: str) -> bool:
    """Return whether an axis label says something: '-1' and 'axis 0' do not."""
    return bool(label) and not re.fullmatch(r"(axis)?[ _]*[-+]?\d+", label.strip().lower())


def _letter(label: str) -> str | None:
    word = label.strip().lower()
    return next((letter for letter, words in NAMED.items() if word in words), None)


def _letter_of_unit(unit: pint.Unit) -> str | None:
    """Return Z for a length, which counts for a leading axis only, and T for a time."""
    if unit.dimensionality == {"[length]": 1}:
        return "Z"
    return "T" if unit.dimensionality == {"[time]": 1} else None


def shown_plane(layer: Image, dims: Any) -> tuple[int, ...]:
    """Return the displayed plane: per axis of the layer its position there, or -1 for the two that are shown."""
    offset = dims.ndim - layer.ndim
    order = [axis - offset for axis in dims.order if axis >= offset]
    order = order if len(order) == layer.ndim else list(range(layer.ndim))
    shown = order[-2:]
    point = np.asarray(dims.point, float)[-layer.ndim :] * _unit_factors(layer, dims)
    position = np.rint(to_pixels(layer, np.pad(point, (layer.ndim - len(point), 0)))).astype(int)
    shape = level(layer).shape
    return tuple(-1 if i in shown else int(np.clip(position[i], 0, shape[i] - 1)) for i in range(layer.ndim))


def _unit_factors(layer: Image, dims: Any) -> npt.NDArray[np.float64]:
    """Return by what positions of the viewer are multiplied to be in the layer's units."""
    units = getattr(dims, "units", None)
    if not units or len(units) < layer.ndim:
        return np.ones(min(layer.ndim, dims.ndim))
    pairs = zip(units[-layer.ndim :], layer.units, strict=True)
    return np.array([pint.Quantity(1, one).to(other).magnitude for one, other in pairs])


def describe(layer: Image, plane: tuple[int, ...]) -> str:
    """Return which plane is shown, in words: "plane z=12 of 40"; empty for a layer that has only one."""
    fixed = [axis for axis, position in enumerate(plane) if position >= 0]
    shape = level(layer).shape
    names = {axis: layer.axis_labels[axis] if is_name(layer.axis_labels[axis]) else "" for axis in fixed}
    if len(fixed) == 1 and not names[fixed[0]]:
        return f"plane {plane[fixed[0]]} of {shape[fixed[0]]}"
    parts = [f"{names[axis] or f'axis {axis}'}={plane[axis]} of {shape[axis]}" for axis in fixed]
    return "plane " + ", ".join(parts) if parts else ""
