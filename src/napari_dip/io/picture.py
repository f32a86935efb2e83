"""What a file holds: the values, and what it knew about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

UNKNOWN = "pixel"  # the unit of an axis whose pixel size is not known, as napari has it


@dataclass(frozen=True, eq=False)
class Display:
    """How a channel is meant to be shown.

    Attributes
    ----------
    colour : str or None
        Of its brightest values, as "#00ff00"; black is zero.
    lut : array or None
        A colour table that is no such ramp, (3, 256), uint8.
    limits : (float, float) or None
        The values shown as darkest and brightest.
    """

    colour: str | None = None
    lut: Array | None = None
    limits: tuple[float, float] | None = None


@runtime_checkable
class Cuttable(Protocol):
    """An origin that knows where in its file each plane lies."""

    def cut(self, index: Sequence[int | None]) -> object:
        """Return the origin of the part at an index along each axis but Y, X, S and those of length 1; None: all."""
        ...


@dataclass(frozen=True)
class Detector:
    """What a file says of the noise, in the units of its pixels.

    Attributes
    ----------
    gain : float
        Of one electron.
    read_noise : float
        Standard deviation.
    source : str
        The keywords that say so, with their values.
    """

    gain: float
    read_noise: float
    source: str


@dataclass(frozen=True)
class Compression:
    """How a JPEG file was compressed.

    Attributes
    ----------
    luma, chroma : tuple of int
        The 64 quantisation steps of Y, and of Cb and Cr, row by row from the lowest frequency; no chroma where grey.
    subsampling : (int, int)
        Rows and columns that share a sample of Cb and Cr.
    """

    luma: tuple[int, ...]
    chroma: tuple[int, ...] = ()
    subsampling: tuple[int, int] = (1, 1)


@dataclass(frozen=True, eq=False)
class Picture:
    """An image as a file holds it: the values and what the file knew about them.

    Attributes
    ----------
    pixels : array
        In native byte order, dtype as stored; FITS integers with BSCALE or BLANK are floating.
    axes : str
        One letter per axis of `pixels`, empty where the file does not say: Y, X and Z are space, T time, C channels,
        S the samples of a colour (2: grey and alpha, 3: RGB, 4: RGB and alpha; always last), E spectral (wavelength,
        frequency, velocity), I iterations of a fit, Q not told by the file, others as the file says.
    scale : tuple of float
        World size of a pixel along each axis, 1.0 where unknown.
    units : tuple of str
        Of `scale`: "pixel" where unknown, else such as "micrometer", "s", "arcsec".
    channel_names : tuple of str
        One per channel, or empty.
    display : tuple of Display
        One per channel, or empty.
    white_is_zero : bool
        Whether 0 is shown white (WhiteIsZero of TIFF); the values are as stored.
    steps : tuple of int
        The iteration of each image along axis I, or empty.
    saturation : float or None
        The value from which on a pixel is saturated (SATURATE of FITS).
    detector : Detector or None
        What the file says of the noise (GAIN, RDNOISE of FITS).
    compression : Compression or None
        What took from the values what they have lost (JPEG).
    provenance : dict or None
        What an earlier run of napari-dip wrote there.
    origin : object
        What else the source format said, for writing the same format again; opaque.
    notes : tuple of str
        What is worth telling about how it was read.
    """

    pixels: Array
    axes: str
    scale: tuple[float, ...] = ()
    units: tuple[str, ...] = ()
    channel_names: tuple[str, ...] = ()
    display: tuple[Display, ...] = ()
    white_is_zero: bool = False
    steps: tuple[int, ...] = ()
    saturation: float | None = None
    detector: Detector | None = None
    compression: Compression | None = None
    provenance: dict[str, Any] | None = None
    origin: object = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ndim = self.pixels.ndim
        object.__setattr__(self, "scale", self.scale or (1.0,) * ndim)
        object.__setattr__(self, "units", self.units or (UNKNOWN,) * ndim)
        if len(self.axes) not in (0, ndim) or len(self.scale) != ndim or len(self.units) != ndim:
            raise ValueError(
                f"axes {self.axes!r}, scale {self.scale} and units {self.units} do not name each axis of pixels of "
                f"shape {self.pixels.shape} once"
            )
        if self.axes and (len(set(self.axes)) < ndim or not {"Y", "X"} <= set(self.axes)):
            raise ValueError(f"axes {self.axes!r} must name each axis differently, Y and X among them")

    def size(self, axis: str) -> int:
        """Return how many pixels an axis has, 1 where there is no such axis."""
        return self.pixels.shape[self.axes.index(axis)] if axis in self.axes else 1


def like(
    picture: Picture,
    pixels: Array,
    *,
    axes: str | None = None,
    scale: Sequence[float] | None = None,
    units: Sequence[str] | None = None,
) -> Picture:
    """Return a picture with new values and everything else as it was, but for their compression and notes.

    Parameters
    ----------
    picture : Picture
        What the values were made from.
    pixels : array
        The new values, any shape and dtype.
    axes : str, optional
        Of the new values, where they differ: scale and unit follow their letter, and an axis that is new has scale 1.
    scale, units : sequence, optional
        One per axis, where they differ: super-resolution makes pixels smaller.
    """
    axes = picture.axes if axes is None else axes
    if pixels.ndim != (len(axes) or picture.pixels.ndim):
        raise ValueError(f"Values of shape {pixels.shape} do not have the axes {axes or picture.pixels.shape}")
    known = dict(zip(picture.axes, zip(picture.scale, picture.units, strict=True), strict=False))
    kept = [known.get(axis, (1.0, UNKNOWN)) for axis in axes]
    made = dataclasses.replace(
        picture,
        pixels=pixels,
        axes=axes,
        scale=tuple(scale) if scale else tuple(size for size, _ in kept),
        units=tuple(units) if units else tuple(unit for _, unit in kept),
        steps=picture.steps if "I" in axes else (),
        compression=None,
        notes=(),
    )
    return made if made.size("C") == picture.size("C") else dataclasses.replace(made, channel_names=(), display=())


def regridded(picture: Picture, pixels: Array) -> Picture:
    """Return a picture with new values of the same field on another grid: pixel sizes follow from the sizes.

    The edges of the field stay where they are, and with them every position in the world.
    """
    ratios = [before / now for before, now in zip(picture.pixels.shape, pixels.shape, strict=True)]
    return like(picture, pixels, scale=[size * ratio for size, ratio in zip(picture.scale, ratios, strict=True)])


def stacked(picture: Picture, stack: Array, steps: Sequence[int]) -> Picture:
    """Return a picture of several iterations, with a leading axis I.

    Parameters
    ----------
    picture : Picture
        What was restored; its axes must be known.
    stack : array
        (I, *axes of the picture).
    steps : sequence of int
        The step of each. Where they are evenly spaced, their distance is the scale of the axis.
    """
    if not picture.axes or "I" in picture.axes:
        raise ValueError(f"A picture with axes {picture.axes!r} cannot be stacked: they must be known, without an I")
    apart = set(np.diff(steps).tolist())
    distance = float(apart.pop()) if len(apart) == 1 else 1.0
    made = like(picture, stack, axes=f"I{picture.axes}", scale=(distance, *picture.scale))
    return dataclasses.replace(made, steps=tuple(int(step) for step in steps))


def take(picture: Picture, index: Mapping[str, int]) -> Picture:
    """Return the part of a picture at an index along some axes, {"T": 3, "Z": 12}, without those axes."""
    where = tuple(index.get(axis, slice(None)) for axis in picture.axes)
    made = like(picture, picture.pixels[where], axes="".join(axis for axis in picture.axes if axis not in index))
    if isinstance(picture.origin, Cuttable):
        long = [axis for axis in picture.axes if axis not in "YXS" and picture.size(axis) != 1]
        origin = picture.origin.cut([index.get(axis) for axis in long])
        made = dataclasses.replace(made, origin=origin)
    if "C" not in index:
        return made
    channel = index["C"]
    return dataclasses.replace(
        made, channel_names=picture.channel_names[channel:][:1], display=picture.display[channel:][:1]
    )


def arrange(picture: Picture, order: str = "", *, samples_first: bool = False) -> Picture:
    """Return the picture with its axes as a format wants them: the letters of `order`, then others, Y, X and S last.

    A picture whose axes are not known stays as it is.
    """
    if not picture.axes:
        return picture
    others = [axis for axis in picture.axes if axis not in "YXS"]
    lead = [axis for axis in order if axis in others] + [axis for axis in others if axis not in order]
    samples = ["S"] if "S" in picture.axes else []
    axes = "".join([*lead, *samples, "Y", "X"] if samples_first else [*lead, "Y", "X", *samples])
    if axes == picture.axes:
        return picture
    return like(picture, picture.pixels.transpose([picture.axes.index(axis) for axis in axes]), axes=axes)


def has_alpha(axes: str, shape: Sequence[int]) -> bool:
    """Return whether the last sample of a colour is its alpha."""
    return axes.endswith("S") and shape[-1] in (2, 4)
