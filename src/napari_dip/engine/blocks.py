"""Frames of any array-like: which axis is what, one intensity scale a run, and values put back as they came."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.engine.marking import Colour
from napari_dip.engine.noise import NoiseLaw, VarianceMap
from napari_dip.engine.outliers import Outliers
from napari_dip.engine.problem import Array, finer
from napari_dip.engine.stabilising import Curve

SMALLEST = {"Y": 16, "X": 16, "Z": 8}  # px; a network has nothing to learn from less
SAMPLE = 1 << 20  # known pixels that the intensity scale is measured on

Frame = tuple[int, ...]


@dataclass(frozen=True)
class Axes:
    """What each axis of an image is: spatial (fitted together), channel, or repeated (one fit each).

    Parameters
    ----------
    letters : str
        One per axis: Y and X are spatial, Z too unless in `each`; C is the channel axis, S the samples of a
        colour (2: grey and alpha, 3: RGB, 4: RGB and alpha); every other letter is repeated.
    shape : tuple of int
        Of the image.
    each : str
        Letters of axes that get one fit per index: Z for planes, C for channels.
    """

    letters: str
    shape: tuple[int, ...]
    each: str = ""

    def __post_init__(self) -> None:
        if len(self.letters) != len(self.shape) or len(set(self.letters)) != len(self.letters):
            raise ValueError(f"axes={self.letters!r} does not name each axis of an image of shape {self.shape} once")
        if not {"Y", "X"} <= set(self.letters):
            raise ValueError(f"axes={self.letters!r} names no Y and X: an image needs both")
        if (space := "".join(self.letters[axis] for axis in self.spatial)) not in ("YX", "ZYX"):
            wanted = "".join(sorted(space, reverse=True))
            raise ValueError(f"axes={self.letters!r} has space as {space}: transpose the image so that it is {wanted}")
        if set("CS") <= set(self.letters):
            raise ValueError(f"axes={self.letters!r} has both C and S: only one axis can be the channels")
        small = [
            letter for letter in map(self.letters.__getitem__, self.spatial) if self.size(letter) < SMALLEST[letter]
        ]
        if small:
            least = " and ".join(f"{SMALLEST[letter]} along {letter}" for letter in small)
            raise ValueError(f"An image of shape {self.shape} is too small: it needs {least} px at least")

    def size(self, letter: str) -> int:
        return self.shape[self.letters.index(letter)]

    @property
    def spatial(self) -> tuple[int, ...]:
        return tuple(i for i, a in enumerate(self.letters) if a in "YX" or (a == "Z" and a not in self.each))

    @property
    def channel(self) -> int | None:
        found = [
            i for i, letter in enumerate(self.letters) if letter == "S" or (letter == "C" and "C" not in self.each)
        ]
        return found[0] if found else None

    @property
    def repeated(self) -> tuple[int, ...]:
        return tuple(i for i in range(len(self.letters)) if i not in (*self.spatial, self.channel))

    @property
    def channels(self) -> int:
        """How many channels are restored: alpha is none of them."""
        if self.channel is None:
            return 1
        size = self.shape[self.channel]
        return size - 1 if self.letters[self.channel] == "S" and size in (2, 4) else size

    @property
    def apart(self) -> Axes:
        """The same with one fit for each channel."""
        return dataclasses.replace(self, each=self.together.each + "C")

    @property
    def together(self) -> Axes:
        """The same with one fit for all channels."""
        return dataclasses.replace(self, each=self.each.replace("C", ""))

    def without(self, letter: str) -> Axes:
        """Return the axes of an image at one index along an axis."""
        at = self.letters.index(letter)
        return Axes(
            self.letters.replace(letter, ""), (*self.shape[:at], *self.shape[at + 1 :]), self.each.replace(letter, "")
        )

    @property
    def is_colour(self) -> bool:
        return "S" in self.letters

    def finer(self, factors: tuple[float, ...]) -> Axes:
        """Return the axes of the same field with smaller pixels along the last spatial axes.

        Raises
        ------
        ValueError
            When there are more factors than spatial axes.
        """
        if len(factors) > len(self.spatial):
            raise ValueError(
                f"{len(factors)} factors for the {len(self.spatial)} spatial axes of {self.letters}: give one for each"
            )
        sizes = dict(enumerate(self.shape))
        found = finer(tuple(self.shape[axis] for axis in self.spatial), factors)
        sizes |= dict(zip(self.spatial, found, strict=True))
        return dataclasses.replace(self, shape=tuple(sizes.values()))

    def frames(self) -> Iterator[Frame]:
        """Yield the indices along the repeated axes, one per fit."""
        yield from np.ndindex(*(self.shape[axis] for axis in self.repeated))

    def channel_of(self, frame: Frame, index: int) -> int:
        """Return which channel of the image a frame's channel is: each may be a frame of its own."""
        letters = [self.letters[axis] for axis in self.repeated]
        return frame[letters.index("C")] if "C" in letters else index

    def whole(self, frame: Frame) -> tuple[Any, ...]:
        """Return the index of a frame in the image, alpha included."""
        index: list[Any] = [slice(None)] * len(self.shape)
        for axis, position in zip(self.repeated, frame, strict=True):
            index[axis] = position
        return tuple(index)

    def where(self, frame: Frame) -> tuple[Any, ...]:
        """Return the index of a frame's values in the image, alpha left out."""
        index = list(self.whole(frame))
        if self.channel is not None:
            index[self.channel] = slice(0, self.channels)
        return tuple(index)

    def take(self, image: Any, frame: Frame) -> Array:
        """Return one frame, (C, *spatial), of any array-like; only that frame is read."""
        values = np.asarray(image[self.where(frame)])
        order = [axis for axis in range(len(self.shape)) if axis not in self.repeated]
        if self.channel is None:
            return values[None]
        return np.moveaxis(values, order.index(self.channel), 0)

    def arrange(self, values: Array) -> Array:
        """Return a frame, (C, *spatial), with its axes in the image's order: the inverse of `take`."""
        if self.channel is None:
            return np.asarray(values[0])
        order = [axis for axis in range(len(self.shape)) if axis not in self.repeated]
        return np.moveaxis(values, 0, order.index(self.channel))

    def broadcast(self, mask: Any) -> Array:
        """Return a mask shaped as the image, from one shaped as it, as it without channels, or as its plane.

        Raises
        ------
        ValueError
            When the mask fits neither.
        """
        return self.spread(np.asarray(mask) != 0, "A mask")

    def spread(self, values: Array, what: str) -> Array:
        """Return values shaped as the image, from an array shaped as it, as it without channels, or as its plane."""
        everything = tuple(range(len(self.shape)))
        pixels = tuple(axis for axis in everything if self.letters[axis] not in "CS")
        plane = tuple(axis for axis in self.spatial if self.letters[axis] in "YX")
        for axes in (everything, pixels, self.spatial, plane):
            if values.shape == tuple(self.shape[axis] for axis in axes):
                return np.broadcast_to(
                    values.reshape([self.shape[axis] if axis in axes else 1 for axis in everything]), self.shape
                )
        raise ValueError(f"{what} of shape {values.shape} does not fit an image of shape {self.shape}")


def name_axes(axes: str | None, shape: tuple[int, ...], each: str = "") -> Axes:
    """Return the roles of an image's axes, guessed only where there is no doubt.

    Two axes are YX; three of which the last has 3 or 4 values are YXS, as everywhere. A leading axis is never
    taken for channels.

    Raises
    ------
    ValueError
        When it cannot be told, with the shape that it got.
    """
    if axes is None:
        if len(shape) == 2:
            axes = "YX"
        elif len(shape) == 3 and shape[-1] in (3, 4) and min(shape[:2]) > 4:
            axes = "YXS"
        else:
            raise ValueError(
                f"Cannot tell what the axes of an image of shape {shape} are: say it, as axes='ZYX' for depth, "
                f"'TYX' for time or 'CYX' for channels"
            )
    return Axes(axes.upper(), tuple(shape), each.upper())


def enlarge(values: Array, shape: tuple[int, ...]) -> Array:
    """Return an image on another grid of the same field: each pixel takes the value that lies under its centre."""
    for axis, (old, new) in enumerate(zip(values.shape, shape, strict=True)):
        if old != new:
            values = np.take(values, ((np.arange(new) + 0.5) * old / new).astype(int), axis)
    return values


@dataclass(frozen=True, eq=False)
class Scale:
    """Values of the image to values that the network works in, and back: one offset and gain per channel.

    A colour picture has one scale for all its colours, since their noise is of one kind. Where there are curves, values
    are stretched by these first.
    """

    offset: npt.NDArray[np.float64]  # (C,)
    gain: npt.NDArray[np.float64]  # (C,)
    curves: tuple[Curve, ...] = ()  # one for each channel, or none

    def of(self, axes: Axes, frame: Frame) -> Scale:
        """Return the scale of one frame: of its channel, where each channel is one."""
        for axis, position in zip(axes.repeated, frame, strict=True):
            if axes.letters[axis] == "C":
                chosen = slice(position, position + 1)
                return Scale(self.offset[chosen], self.gain[chosen], self.curves[chosen])
        return self

    def apply(self, values: Array, known: Array) -> npt.NDArray[np.float32]:
        """Return a frame, (C, *spatial), scaled; 0 where it is not known, whatever stood there."""
        scaled = np.zeros(values.shape, np.float32)
        for channel, offset, gain in zip(range(len(values)), self.offset, self.gain, strict=True):
            where = known[channel]
            taken = values[channel][where].astype(np.float64)
            stretched = self.curves[channel].stretch(taken) if self.curves else taken
            scaled[channel][where] = (stretched - offset) / gain
        return scaled

    def apply_difference(self, values: Array) -> npt.NDArray[np.float64]:
        """Return a difference of values, (C, *spatial), scaled, in float64."""
        return np.asarray(values, np.float64) / self._like(values)[1]

    def undo(self, values: Array) -> npt.NDArray[np.float64]:
        """Return scaled values in the image's units, computed in float64."""
        offset, gain = self._like(values)
        restored = values.astype(np.float64)
        restored *= gain
        restored += offset
        for channel, curve in zip(restored, self.curves, strict=bool(self.curves)):
            channel[...] = curve.unstretch(channel)
        return restored

    def undo_difference(self, values: Array) -> npt.NDArray[np.float64]:
        """Return a difference of scaled values in the image's units; where there are curves, see the next two."""
        return values * self._like(values)[1]

    def undo_deviation(self, values: Array, at: Array) -> npt.NDArray[np.float64]:
        """Return small differences, (C, *spatial), from scaled values in the image's units."""
        offset, gain = self._like(at)
        deviation = self.undo_difference(values)
        for channel, curve, stretched in zip(deviation, self.curves, at * gain + offset, strict=bool(self.curves)):
            channel *= curve.steepness(stretched)
        return deviation

    def residual(self, measured: Array, y: Array, predicted: Array) -> npt.NDArray[np.float64]:
        """Return a measurement, (C, *spatial), less what was predicted, scaled, in the image's units."""
        return measured - self.undo(predicted) if self.curves else self.undo_difference(y - predicted)

    def _like(self, values: Array) -> tuple[Array, Array]:
        shape = (-1,) + (1,) * (values.ndim - 1)
        return self.offset.reshape(shape), self.gain.reshape(shape)


def measure_scale(image: Any, axes: Axes, missing: Missing, curves: tuple[Curve, ...] = ()) -> Scale:
    """Return the scale that puts the known pixels' 0.1 and 99.9 percentiles, stretched by curves if any, at 0 and 1.

    Raises
    ------
    ValueError
        When no pixel of a channel is known.
    """
    frames = list(axes.frames())
    chosen = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, 8).astype(int))]
    samples: list[list[Array]] = [[] for _ in range(axes.channels)]
    for frame in chosen:
        values = axes.take(image, frame)
        known = ~missing.find(values, frame)
        for channel, sample in enumerate(samples):
            pixels = values[channel][known[channel]]
            sample.append(pixels[:: max(1, pixels.size * len(chosen) // SAMPLE)].astype(np.float64))
    per_channel = [np.concatenate(sample) for sample in samples]
    if curves:
        per_channel = [curve.stretch(values) for curve, values in zip(curves, per_channel, strict=True)]
    if axes.is_colour:
        per_channel = [np.concatenate(per_channel)] * len(per_channel)
    spans = [_span(values) for values in per_channel]
    return Scale(np.array([low for low, _ in spans]), np.array([high - low for low, high in spans]), curves)


def _span(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    if values.size == 0:
        raise ValueError("No pixel is known: the mask, NaN, infinity or saturation cover the whole image")
    low, high = np.percentile(values, [0.1, 99.9])
    if not high > low:  # a few bright pixels on a constant ground
        low, high = values.min(), values.max()
    if not high > low:  # constant: whatever the network gives comes back as that constant
        high = np.nextafter(low, np.inf)
    return float(low), float(high)


@dataclass(frozen=True, eq=False)
class Missing:
    """Which pixels must have no influence: marked, not finite, saturated, of a colour, or outliers."""

    axes: Axes
    masks: tuple[Array, ...] = ()  # each shaped as the image
    saturation: float | None = None
    outliers: Outliers | None = None
    law: NoiseLaw | None = None  # by which outliers are told
    colour: Colour | None = None
    _found: dict[Frame, npt.NDArray[np.bool_]] = field(default_factory=dict)  # outliers, once a frame

    def find(self, values: Array, frame: Frame) -> npt.NDArray[np.bool_]:
        """Return what is missing in a frame, (C, *spatial)."""
        unknown = self._unknown(values, frame)
        return unknown if self.outliers is None else unknown | self.flagged(values, frame)

    def flagged(self, values: Array, frame: Frame) -> npt.NDArray[np.bool_]:
        """Return the outliers of a frame, (C, *spatial): none where they were not asked for."""
        if self.outliers is None:
            return np.zeros(values.shape, bool)
        if frame not in self._found:
            law = law_of(self.law, self.axes, frame)
            self._found[frame] = self.outliers.find(values, ~self._unknown(values, frame), law)
        return self._found[frame]

    def on(self, axes: Axes) -> Missing:
        """Return the same for other frames of the same image."""
        return dataclasses.replace(self, axes=axes, _found={})

    def _unknown(self, values: Array, frame: Frame) -> npt.NDArray[np.bool_]:
        found = ~np.isfinite(values)
        if self.colour is not None:
            found |= self.colour.find(values)
        for mask in self.masks:
            found |= self.axes.take(mask, frame)
        return found if self.saturation is None else found | (values >= self.saturation)


def law_of(law: NoiseLaw | None, axes: Axes, frame: Frame) -> NoiseLaw | None:
    """Return a law of the noise for one frame: a map of the variance is cut to it, (C, *spatial)."""
    if not isinstance(law, VarianceMap):
        return law
    return VarianceMap(axes.take(axes.spread(np.asarray(law.values), "A map of the variance"), frame))


def convert(values: Array, dtype: npt.DTypeLike) -> Array:
    """Return values as `dtype`: rounded for integers, clipped to the largest value that it holds."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return values >= 0.5
    if dtype.kind == "f":
        limit = float(np.finfo(dtype).max)
        return np.clip(values, -limit, limit).astype(dtype)
    info = np.iinfo(dtype)
    highest = float(info.max)
    if int(highest) > info.max:  # float64 has no such integer: take the largest that it has below
        highest = float(np.nextafter(highest, 0))
    whole = np.rint(values)
    return np.clip(whole, float(info.min), highest, out=whole).astype(dtype)
