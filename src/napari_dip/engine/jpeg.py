"""What JPEG does to an image, and how it was set: told by the steps that its coefficients lie on.

Colours are JFIF's (ITU-T T.871): Y, Cb and Cr of full range. Planes are in grey levels, Y less 128.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 8  # px of a block
MIDDLE = 128.0  # grey level that is 0 before the transform
LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99,
    99, 99, 99, *[99] * 32,
)  # fmt: skip
COLOURS = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
SUBSAMPLINGS = ((2, 2), (1, 2), (1, 1), (2, 1))  # rows and columns of a colour sample, the usual one first
LEAST_COEFFICIENT = 1.5  # grey levels: less may be rounding
LEAST_COUNT = 20  # coefficients on which a judgement about steps can rest
AGREEING = 0.6  # mean cosine of the coefficients' phase on the comb of their steps; 1 is on it, 0 is anywhere
PEAKED = 0.5  # of the error by Laplace's law: coefficients of photographs lie nearer to 0 than it says (measured)
USUAL_SLOPE = -1.5  # of the logarithm of a coefficient's size over that of its frequency
ROUNDS = 24  # of the inversion of the colours' interpolation: each halves the error


@dataclass(frozen=True)
class JpegTables:
    """How an image was compressed.

    Attributes
    ----------
    luma, chroma : tuple of int
        The 64 quantisation steps of Y, and of Cb and Cr, row by row from the lowest frequency.
    subsampling : (int, int)
        Rows and columns of the image that share a sample of Cb and Cr: (2, 2) is 4:2:0, (1, 2) 4:2:2, (1, 1) 4:4:4.
    """

    luma: tuple[int, ...]
    chroma: tuple[int, ...] = ()
    subsampling: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        for name, steps in (("luma", self.luma), ("chroma", self.chroma or self.luma)):
            if len(steps) != SIDE * SIDE or min(steps) < 1:
                raise ValueError(f"JpegTables.{name} has {len(steps)} steps: 64 of at least 1 are needed")
        if self.subsampling not in SUBSAMPLINGS:
            raise ValueError(f"JpegTables.subsampling is {self.subsampling}: each is 1 or 2")

    @classmethod
    def of_quality(cls, quality: int, subsampling: tuple[int, int] = (1, 1)) -> JpegTables:
        """Return the tables of the Independent JPEG Group's library for a quality from 1 to 100."""
        if not 1 <= quality <= 100:
            raise ValueError(f"A JPEG quality is 1 to 100, not {quality}")
        percent = 5000 // quality if quality < 50 else 200 - 2 * quality
        luma, chroma = (tuple(min(255, max(1, (step * percent + 50) // 100)) for step in t) for t in (LUMA, CHROMA))
        return cls(luma, chroma, subsampling)

    @property
    def quality(self) -> int:
        """The quality whose table of Y is nearest."""
        return min(
            range(1, 101), key=lambda q: sum(abs(a - b) for a, b in zip(self.luma, _quality(q).luma, strict=True))
        )

    def steps(self, channels: int) -> tuple[Tensor, ...]:
        """Return the steps of each plane, (8, 8)."""
        luma = torch.tensor(self.luma, dtype=torch.float32).view(SIDE, SIDE)
        if channels == 1:
            return (luma,)
        chroma = torch.tensor(self.chroma or self.luma, dtype=torch.float32).view(SIDE, SIDE)
        return luma, chroma, chroma


@cache
def _quality(quality: int) -> JpegTables:
    return JpegTables.of_quality(quality)


# ------------------------------------------------------------------ operators


def planes(image: Tensor, subsampling: tuple[int, int]) -> tuple[Tensor, ...]:
    """Return what is transformed of an image, padded to whole blocks: Y, or Y, Cb and Cr, each (rows, columns).

    Parameters
    ----------
    image : Tensor
        (1, Y, X) or (3, Y, X), grey levels from 0 to 255. Its last row and column are repeated as encoders do.
    subsampling : (int, int)
        Over so many rows and columns Cb and Cr are averaged.
    """
    if image.shape[0] == 1:
        return (_padded(image, SIDE, SIDE)[0] - MIDDLE,)
    down, across = subsampling
    image = _padded(image, SIDE * down, SIDE * across)
    y, cb, cr = torch.einsum("pc,cyx->pyx", _from_colours(image.dtype, image.device), image)
    cb, cr = F.avg_pool2d(torch.stack([cb, cr])[:, None], (down, across))[:, 0]
    return y - MIDDLE, cb, cr


def decoded_planes(image: Tensor, subsampling: tuple[int, int]) -> tuple[Tensor, ...]:
    """Return the planes that a decoder had before it interpolated the colours: `planes`, and that undone.

    Decoders interpolate linearly between the centres of Cb and Cr; averaged again, these come back blurred by
    (1, 6, 1) / 8 along each axis that is subsampled, which has an inverse.
    """
    luma, *colours = planes(image, subsampling)
    return luma, *(_sharpened(plane, subsampling) for plane in colours)


def image_of(parts: tuple[Tensor, ...], subsampling: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Return the image, (C, Y, X), that a decoder makes of its planes, before it rounds and clips."""
    return _joined(parts, subsampling, size) + MIDDLE


def change_of(parts: tuple[Tensor, ...], subsampling: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Return the least rough change of an image, (C, Y, X), that changes its `planes` by these."""
    return _joined((parts[0], *(_sharpened(plane, subsampling) for plane in parts[1:])), subsampling, size)


def _joined(parts: tuple[Tensor, ...], subsampling: tuple[int, int], size: tuple[int, int]) -> Tensor:
    rows, columns = size
    if len(parts) == 1:
        return parts[0][None, :rows, :columns]
    ycc = torch.stack([parts[0], *(_interpolated(plane, subsampling) for plane in parts[1:])])
    return torch.einsum("cp,pyx->cyx", _to_colours().to(ycc), ycc)[:, :rows, :columns]


def coefficients(plane: Tensor) -> Tensor:
    """Return the cosine transform of each block of a plane, (rows of blocks, blocks, 8, 8); orthonormal."""
    rows, columns = plane.shape
    blocks = plane.reshape(rows // SIDE, SIDE, columns // SIDE, SIDE).permute(0, 2, 1, 3)
    cosines = _cosines(plane.dtype, plane.device)
    return cosines @ blocks @ cosines.T


def plane_of(coefficients: Tensor) -> Tensor:
    """Return the plane that has these coefficients: the inverse of `coefficients`."""
    rows, columns = coefficients.shape[:2]
    cosines = _cosines(coefficients.dtype, coefficients.device)
    blocks = cosines.T @ coefficients @ cosines
    return blocks.permute(0, 2, 1, 3).reshape(rows * SIDE, columns * SIDE)


def compressed(image: Tensor, tables: JpegTables) -> Tensor:
    """Return an image as it comes back from a JPEG file, (C, Y, X), in whole grey levels from 0 to 255."""
    steps = tables.steps(image.shape[0])
    parts = planes(image, tables.subsampling)
    kept = (torch.round(coefficients(p) / q) * q for p, q in zip(parts, steps, strict=True))
    size = (image.shape[1], image.shape[2])
    return image_of(tuple(map(plane_of, kept)), tables.subsampling, size).round().clamp(0, 255)


def _padded(image: Tensor, rows: int, columns: int) -> Tensor:
    """Return an image whose last row and column are repeated up to a multiple of so many."""
    extra = (0, -image.shape[2] % columns, 0, -image.shape[1] % rows)
    return F.pad(image[None], extra, mode="replicate")[0] if any(extra) else image


@cache
def _cosines(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the orthonormal cosine transform of 8 values, (frequency, position)."""
    place, frequency = torch.arange(SIDE, dtype=torch.float64), torch.arange(SIDE, dtype=torch.float64)[:, None]
    matrix = torch.cos(math.pi / SIDE * (place + 0.5) * frequency) * math.sqrt(2 / SIDE)
    matrix[0] /= math.sqrt(2)
    return matrix.to(device, dtype)


@cache
def _from_colours(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(COLOURS, dtype=dtype, device=device)


@cache
def _to_colours() -> Tensor:
    inverse: Tensor = torch.linalg.inv(torch.tensor(COLOURS, dtype=torch.float64))
    return inverse


def _interpolated(plane: Tensor, subsampling: tuple[int, int]) -> Tensor:
    """Return a plane of Cb or Cr at full size, 3 parts of the nearest sample and 1 part of the next along each axis."""
    for axis, factor in enumerate(subsampling):
        if factor == 2:
            before, after = _neighbours(plane, axis)
            both = torch.stack([0.75 * plane + 0.25 * before, 0.75 * plane + 0.25 * after], dim=axis + 1)
            plane = both.flatten(axis, axis + 1)
    return plane


def _sharpened(plane: Tensor, subsampling: tuple[int, int]) -> Tensor:
    """Return the plane whose blur by (1, 6, 1) / 8 along the subsampled axes is this one."""
    for axis, factor in enumerate(subsampling):
        if factor == 2:
            blurred = plane
            for _ in range(ROUNDS):
                before, after = _neighbours(plane, axis)
                plane = plane + blurred - (0.75 * plane + 0.125 * (before + after))
    return plane


def _neighbours(plane: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Return for each sample the one before and the one after it; at the ends itself."""
    count = plane.shape[axis]
    place = torch.arange(count, device=plane.device)
    return plane.index_select(axis, (place - 1).clamp(min=0)), plane.index_select(
        axis, (place + 1).clamp(max=count - 1)
    )


# ------------------------------------------------------------------ how an image was compressed


def find_tables(image: Tensor, known: Tensor) -> JpegTables | None:
    """Return how an image was compressed, told from its values; None where they do not lie on any steps.

    The coefficients of a decompressed image lie on a comb, the multiples of their steps. Of the tables of all
    qualities of the Independent JPEG Group's library, the one that agrees best with them is taken. Steps of
    1, as of qualities near 100, cannot be told from the rounding of any image.

    Parameters
    ----------
    image : Tensor
        (1, Y, X) or (3, Y, X), grey levels from 0 to 255, the blocks' grid beginning at its first pixel.
    known : Tensor
        Which of its elements are known, boolean: blocks with others tell nothing.
    """
    luma = _telling(planes(image, (1, 1))[0], image, known)
    found = [agreement(luma, JpegTables.of_quality(quality).steps(1)[0]) for quality in range(1, 101)]
    if max(found) < AGREEING:
        return None
    quality = 1 + found.index(max(found))  # of combs that are alike the coarsest: finer ones feel the rounding more
    if image.shape[0] == 1:
        return JpegTables.of_quality(quality)
    return with_subsampling(JpegTables.of_quality(quality), image, known)


def with_subsampling(tables: JpegTables, image: Tensor, known: Tensor) -> JpegTables:
    """Return the tables with the subsampling that a colour image agrees with best."""

    def agrees(subsampling: tuple[int, int]) -> float:
        parts = decoded_planes(image, subsampling)[1:]
        found = [_telling(plane, image, known, subsampling, luma=False) for plane in parts]
        return agreement(torch.cat(found), tables.steps(3)[1])

    return dataclasses.replace(tables, subsampling=max(SUBSAMPLINGS, key=agrees))


def fits(image: Tensor, known: Tensor, tables: JpegTables) -> bool:
    """Return whether the values of an image lie on the steps of some tables, as far as can be told."""
    luma = _telling(planes(image, (1, 1))[0], image, known)
    return agreement(luma, tables.steps(1)[0], unknown=1.0) > AGREEING / 2


def agreement(values: Tensor, steps: Tensor, unknown: float = 0.0) -> float:
    """Return how well coefficients lie on the comb of their steps: 1 on it, 0 anywhere; `unknown` if too few do."""
    counted = (values.abs() > LEAST_COEFFICIENT) & (steps > 1)
    alternating = counted.clone()
    alternating[..., 0, 0] = False  # flat images have nothing else
    if int(alternating.sum()) < LEAST_COUNT:
        return unknown
    phase = torch.cos(2 * math.pi * values / steps)
    phase = torch.where(values.abs() < steps / 2, -1.0, phase)  # would have become 0
    return float(phase[counted].mean())


def exact_blocks(image: Tensor, known: Tensor, subsampling: tuple[int, int], *, luma: bool) -> Tensor:
    """Return which blocks came through decompression whole: none of them cut, clipped, or partly unknown.

    Returns
    -------
    Tensor
        (rows of blocks, blocks), boolean, of Y or of Cb and Cr.
    """
    spoilt = (~known | (image <= 0) | (image >= 255)).any(0)
    return ~touched_blocks(spoilt, subsampling, luma=luma, beyond=True)


def touched_blocks(mask: Tensor, subsampling: tuple[int, int], *, luma: bool, beyond: bool) -> Tensor:
    """Return which blocks of Y, or of Cb and Cr, have a pixel of a boolean mask, (Y, X), that is `beyond` outside."""
    down, across = (SIDE * factor for factor in subsampling)
    cell = (SIDE, SIDE) if luma else (down, across)
    padding = (0, -mask.shape[1] % across, 0, -mask.shape[0] % down)
    return F.max_pool2d(F.pad(mask[None].float(), padding, value=float(beyond)), cell)[0] > 0


def _telling(
    plane: Tensor, image: Tensor, known: Tensor, subsampling: tuple[int, int] = (1, 1), *, luma: bool = True
) -> Tensor:
    """Return the coefficients, (blocks, 8, 8), from which steps can be told."""
    return coefficients(plane)[exact_blocks(image, known, subsampling, luma=luma)]


def error_variance(image: Tensor, known: Tensor, tables: JpegTables) -> Tensor:
    """Return the mean square of what rounding took from each channel, (C,), grey levels squared.

    The coefficients of each frequency follow a Laplace distribution (R. C. Reininger, J. D. Gibson, "Distributions of
    the two-dimensional DCT coefficients for images", IEEE Transactions on Communications 31, 1983). How many of them
    became 0 tells its width, and that how far they lie from the middles of their intervals.
    """
    parts = decoded_planes(image, tables.subsampling)
    steps = tables.steps(image.shape[0])
    by_plane = torch.stack([_rounding(coefficients(p).flatten(0, 1), q) for p, q in zip(parts, steps, strict=True)])
    if len(parts) == 1:
        return by_plane
    return _to_colours().to(by_plane).square() @ by_plane


def _rounding(values: Tensor, steps: Tensor) -> Tensor:
    """Return the mean squared error of rounded coefficients, (blocks, 8, 8), 0-d."""
    width = _laplace(values, steps)
    half, ratio = steps / 2, steps / width
    share = torch.exp(-ratio / 2)  # of the coefficients that are beyond the interval around 0
    around_zero = 2 * width**2 - share / (1 - share) * (half**2 + steps * width)
    beyond = width**2 - steps**2 * torch.exp(-ratio) / (1 - torch.exp(-ratio)) ** 2
    beyond = beyond + (width - steps * torch.exp(-ratio) / (1 - torch.exp(-ratio)) - half) ** 2
    error = (1 - share) * around_zero + share * beyond
    error[0, 0] = steps[0, 0] ** 2 / 12  # of the mean grey level all values are alike
    return PEAKED * error.clamp(min=0).mean()


def _laplace(values: Tensor, steps: Tensor) -> Tensor:
    """Return the mean absolute value of each frequency before rounding, (8, 8).

    Of frequencies at which hardly any coefficient is left, from the power law that the others follow.
    """
    count = (values.abs() > steps / 2).sum(0)
    share = (count + 0.5) / (len(values) + 1)
    width = steps / (2 * -share.log())
    place = torch.arange(SIDE, device=steps.device)
    frequency = (place[:, None].square() + place.square()).float().sqrt().clamp(min=1)
    known = count >= 3
    known[0, 0] = False
    x, y = frequency.log(), width.log()
    if int(known.sum()) >= 6:
        away = x[known] - x[known].mean()
        slope = float((away * y[known]).sum() / away.square().sum())
    else:
        slope = USUAL_SLOPE
    level = (y - slope * x)[known].mean() if bool(known.any()) else y[0, 1]
    law = torch.exp(level + min(slope, 0.0) * x)
    return torch.where(count >= 3, width, torch.minimum(width, law))
