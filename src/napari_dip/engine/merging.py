"""Several frames of one scene made one measurement: registered, compared with each other, and averaged."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import maximum_filter, minimum_filter
from torch import Tensor

from napari_dip.engine import aligning
from napari_dip.engine.aligning import Doubles, Marks
from napari_dip.engine.blocks import Axes, Frame, Missing, Scale
from napari_dip.engine.exposures import SIDE, SeriesNoise, noise_of_frames
from napari_dip.engine.noise import NoiseLaw, NoiseModel, VarianceMap
from napari_dip.engine.problem import Array, Exposures, Problem

SMOOTH = 2.0  # px: standard deviation of the Gaussian under which scenes are compared
UNLIKE = 0.5  # correlation with the others: less, and a frame shows another scene
STRUCTURE = 5.0  # times the variance that noise leaves under that Gaussian: less, and there is nothing to compare
OUTLYING = 6.0  # standard deviations by which a value differs that one frame alone has
STEEP = 0.3  # of what the scene changes by to its neighbours may come from the registration
FEWEST = 3  # frames that can tell which of them is wrong
MEDIAN = 1.6  # times the variance of a mean has a median
TOLD = 12  # displacements that a note tells one by one


@dataclass(frozen=True, eq=False)
class Merged:
    """A measurement that is the mean of several frames.

    Attributes
    ----------
    image : array
        The mean, floating; where no frame is known, and alpha, as in the first frame.
    axes : Axes
        Of the image: those of the frames but for the one that they lie along.
    unknown : array
        Boolean, shaped as the image: no frame tells it.
    contrast : array
        float32, shaped as the image: see `Exposures`.
    counts : array
        How many frames tell each value, shaped as the image.
    record : dict
        What was done, as JSON: the axis, the number of frames, how far each was moved, and values left out.
    sample : (array, array, Scale)
        Frames of one place as they lie upon each other, (frames, C, Y, X), scaled; what is known; and the scale.
    """

    image: Array
    axes: Axes
    unknown: Marks
    contrast: npt.NDArray[np.float32]
    counts: npt.NDArray[np.uint16]
    record: dict[str, Any]
    sample: tuple[Tensor, Tensor, Scale]

    @property
    def count(self) -> int:
        return int(self.record["count"])

    def noise(self, scale: Scale) -> SeriesNoise | None:
        """Return the noise of the mean, scaled so, told from the frames' differences; None where they do not agree."""
        values, known, own = self.sample
        told = noise_of_frames(values, known)
        if told is None:
            return None
        ratio, offset = (torch.from_numpy(part).float() for part in (own.gain / scale.gain, scale.offset - own.offset))
        gain = told.gain * ratio / self.count
        floor = told.floor * ratio**2 / self.count + gain * offset / torch.from_numpy(scale.gain).float()
        return SeriesNoise(NoiseModel(gain, floor, told.mean * ratio**2 / self.count, told.correlation), self.count)

    def attached(self, problem: Problem, axes: Axes, frame: Frame, scale: Scale) -> Problem:
        """Return the problem of a place with what its frames tell beside their mean; the fewer they are, the less."""
        told = torch.from_numpy(np.array(axes.take(self.counts, frame), np.float32))
        apart = scale.apply_difference(axes.take(self.contrast, frame)).astype(np.float32)
        exposures = Exposures(torch.from_numpy(apart), told >= 2)
        if bool((told == self.count).all()):
            return dataclasses.replace(problem, exposures=exposures)
        share = (told / self.count).clamp(max=1)
        weight = share if problem.weight is None else share * problem.weight
        return dataclasses.replace(problem, exposures=exposures, weight=weight)

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to say of the frames."""
        said = [f"{self.count} frames along {self.record['axis']} were restored together, as exposures of one scene"]
        moves = [by for place in self.record["moved"] for by in place]
        if farthest := max((float(np.abs(by).max()) for by in moves), default=0.0):
            each = ", ".join(f"({', '.join(f'{value:+.2f}' for value in by)})" for by in moves[:TOLD])
            more = f" and {len(moves) - TOLD} more" if len(moves) > TOLD else ""
            said.append(
                f"They were displaced, by {farthest:.2f} px at most, and laid upon the first: moved by {each}{more} px"
            )
        if outlying := self.record["outlying"]:
            said.append(f"{outlying:,} values that one frame alone has, such as cosmic rays, were left out")
        return tuple(said)


def merge(image: Any, axes: Axes, letter: str, missing: Missing) -> Merged:
    """Return the frames along an axis as one measurement.

    Parameters
    ----------
    image : array-like
        All frames.
    axes : Axes
        Its axes; the one of the frames is repeated.
    letter : str
        That one's.
    missing : Missing
        On these axes.

    Raises
    ------
    ValueError
        When a frame has no known value, or shows another scene.
    """
    outer = axes.without(letter)
    at, count = axes.letters.index(letter), axes.size(letter)
    first = np.asarray(image[(slice(None),) * at + (0,)])
    mean = np.array(first, np.result_type(first.dtype, np.float32))
    contrast, counts = np.zeros(outer.shape, np.float32), np.zeros(outer.shape, np.uint16)
    places, moves, outlying = list(outer.frames()), [], 0
    sample = None
    for index, place in enumerate(places):
        values, known = _read(image, missing, [_with(axes, letter, outer, place, one) for one in range(count)])
        one = _merged(values, known, letter)
        where = outer.where(place)
        mean[where] = outer.arrange(np.where(one.counts > 0, one.mean, values[0]))
        contrast[where], counts[where] = outer.arrange(one.contrast), outer.arrange(one.counts)
        moves.append(one.moves.round(3).tolist())
        outlying += one.outlying
        if index == len(places) // 2:
            sample = one.sample
    assert sample is not None  # noqa: S101  there is one place at least
    record = {"axis": letter, "count": count, "moved": moves, "outlying": outlying}
    return Merged(mean, outer, counts == 0, contrast, counts, record, sample)


def _with(axes: Axes, letter: str, outer: Axes, place: Frame, index: int) -> Frame:
    """Return the frame of an image at an index along one axis, and where a frame without that axis is along others."""
    positions = {outer.letters[axis]: at for axis, at in zip(outer.repeated, place, strict=True)} | {letter: index}
    return tuple(positions[axes.letters[axis]] for axis in axes.repeated)


def _read(image: Any, missing: Missing, frames: list[Frame]) -> tuple[Doubles, Marks]:
    """Return frames and what is known of them, (frames, C, *spatial)."""
    values = [missing.axes.take(image, frame) for frame in frames]
    known = [~missing.find(one, frame) for one, frame in zip(values, frames, strict=True)]
    return np.stack(values).astype(np.float64), np.stack(known)


@dataclass(frozen=True, eq=False)
class _Place:
    """The frames of one place, merged; in the image's units."""

    mean: Doubles  # (C, *spatial)
    contrast: Doubles
    counts: npt.NDArray[np.uint16]
    moves: Doubles  # (frames, axes)
    outlying: int
    sample: tuple[Tensor, Tensor, Scale]


def _merged(values: Doubles, known: Marks, letter: str) -> _Place:
    """Return frames, (frames, C, *spatial), as one; what is not known is whatever stood there."""
    if empty := [index for index, sure in enumerate(known) if not sure.any()]:
        raise ValueError(f"{_named(empty)} along {letter} has no value that is finite and not missing: leave it out")
    scale = _scale(values, known)
    lying = np.stack([scale.apply(frame, sure) for frame, sure in zip(values, known, strict=True)]).astype(np.float64)
    lying = np.where(known, lying, _middle(lying, known))
    lying, known, moves, outlying = _compared(lying, known, letter)
    counts = known.sum(0)
    mean = (known * lying).sum(0) / np.maximum(counts, 1)
    sample = _sample(lying, known)
    apart = scale.undo_difference(_contrast(lying, known))
    return _Place(scale.undo(mean), apart, counts.astype(np.uint16), moves, outlying, (*sample, scale))


def _compared(frames: Doubles, known: Marks, letter: str) -> tuple[Doubles, Marks, Doubles, int]:
    """Return frames laid upon each other, what is known of them then, how each was moved, and how many values lie out.

    Values that lie out may lead the registration astray: without them it is done again.
    """
    moves = aligning.displacements(frames, known)
    lying, sure = _laid(frames, known, moves)
    noise = noise_of_frames(*_sample(lying, sure), is_checked=False)
    _check_scenes(lying, sure, noise, letter)
    middle = _middle(lying, sure)
    hit = _outlying(frames, known, middle, moves, noise)
    if hit.any():
        clean = np.where(hit, np.stack([_all_moved(middle, -by) for by in moves]), frames)
        moves = aligning.displacements(clean, known)
        lying, sure = _laid(clean, known & ~hit, moves)
    return lying, sure, moves, int(hit.sum())


def _laid(frames: Doubles, known: Marks, moves: Doubles) -> tuple[Doubles, Marks]:
    """Return the frames as they lie upon each other, and what is known of them then."""
    if not moves.any():
        return frames, known
    lying = np.stack([_all_moved(frame, by) for frame, by in zip(frames, moves, strict=True)])
    sure = [
        np.stack([aligning.moved_known(one, by) for one in each]) for each, by in zip(known, moves, strict=True)
    ]  # fmt: skip
    return lying, np.stack(sure)


def _all_moved(frame: Doubles, by: Doubles) -> Doubles:
    return np.stack([aligning.moved(channel, by) for channel in frame])


def _scale(values: Doubles, known: Marks) -> Scale:
    """Return a scale that puts the known values' 0.1 and 99.9 percentiles at 0 and 1, channel by channel."""
    ends = []
    for channel in range(values.shape[1]):
        sure = values[:, channel][known[:, channel]]
        low, high = np.percentile(sure, [0.1, 99.9]) if sure.size else (0.0, 1.0)
        ends.append((low, high - low if high > low else 1.0))
    return Scale(np.array([low for low, _ in ends]), np.array([span for _, span in ends]))


def _middle(frames: Doubles, known: Marks) -> Doubles:
    """Return the median of the frames that are known at each element, (C, *spatial); 0 where none is.

    Of an even number the lower of the two in the middle: where two of four were hit by cosmic rays, these lie out.
    """
    there = np.where(known, frames, np.inf)
    there.sort(axis=0)
    counts = known.sum(0)
    low = np.take_along_axis(there, ((counts - 1) // 2)[None].clip(0), 0)[0]
    return np.where(counts > 0, low, 0.0)


def _contrast(frames: Doubles, known: Marks) -> Doubles:
    """Return a sum of frames in which the scene cancels, whose noise is as strong as that of their mean.

    Its signs go + - - + - + + -, which cancels a drift too, less their mean at each element. It is uncorrelated with
    the mean, and 0 where fewer than two frames are known.
    """
    signs = np.array([(-1.0) ** bin(index).count("1") for index in range(len(frames))])
    signs = signs.reshape(-1, *[1] * (frames.ndim - 1))
    counts = np.maximum(known.sum(0), 1)
    centred = known * (signs - (known * signs).sum(0) / counts)
    power = np.square(centred).sum(0)
    total = (centred * frames).sum(0)
    return np.asarray(np.where(power > 1e-9, total / np.sqrt(counts * np.maximum(power, 1e-9)), 0.0))


def _sample(frames: Doubles, known: Marks) -> tuple[Tensor, Tensor]:
    """Return the middle of frames, (frames, C, Y, X): of volumes one plane, of large planes a part."""
    cut = tuple(slice(max(0, (n - SIDE) // 2), max(0, (n - SIDE) // 2) + SIDE) for n in frames.shape[-2:])
    depth = (frames.shape[2] // 2,) if frames.ndim == 5 else ()
    where = (slice(None), slice(None), *depth, *cut)
    values, sure = (np.ascontiguousarray(part[where]) for part in (frames.astype(np.float32), known))
    return torch.from_numpy(values), torch.from_numpy(sure)


def _check_scenes(frames: Doubles, known: Marks, noise: NoiseModel | None, letter: str) -> None:
    """Refuse frames that show something else than the others, where there is enough to see."""
    level = 0.0 if noise is None else float(noise.mean.mean()) / frames.shape[1]
    seen = [aligning.structure(frame.mean(0), level, SMOOTH) > STRUCTURE for frame in frames]
    alike = aligning.likeness(frames, known, SMOOTH)
    others = [index for index, value in enumerate(alike) if value < UNLIKE and seen[index]]
    if not others:
        return
    if 2 * len(others) >= len(frames):
        raise ValueError(
            f"The frames along {letter} do not show one scene: their correlation with each other is "
            f"{float(np.median(alike)):.2f}; restore them one by one"
        )
    raise ValueError(
        f"{_named(others)} along {letter} shows another scene: the correlation with the other frames is "
        f"{', '.join(f'{alike[index]:.2f}' for index in others)}; leave it out"
    )


def _named(indices: list[int]) -> str:
    return f"Frame{'s' * (len(indices) > 1)} {', '.join(map(str, indices))} (from 0)"


def _outlying(frames: Doubles, known: Marks, middle: Doubles, moves: Doubles, noise: NoiseModel | None) -> Marks:
    """Return which values one frame alone has, by far more than the noise, beside what the scene changes by nearby."""
    if noise is None or len(frames) < FEWEST:
        return np.zeros(known.shape, bool)
    size = (1, *[3] * (frames.ndim - 2))
    found = []
    for frame, sure, by in zip(frames, known, moves, strict=True):
        expected = _all_moved(middle, -by)
        deviation = noise.variance(torch.from_numpy(expected)).sqrt().numpy() * (1 + MEDIAN / len(frames)) ** 0.5
        change = maximum_filter(expected, size) - minimum_filter(expected, size)
        found.append(sure & (np.abs(frame - expected) > OUTLYING * deviation + STEEP * change))
    return np.stack(found)


@dataclass(frozen=True)
class LawOfMean:
    """The noise of the mean of several frames, each of whose noise follows a law: a variance so many times smaller."""

    law: NoiseLaw
    count: int

    @property
    def slope(self) -> float:
        return self.law.slope / self.count

    @property
    def at_zero(self) -> float:
        return self.law.at_zero / self.count


def law_of_mean(law: NoiseLaw | None, axes: Axes, letter: str) -> NoiseLaw | None:
    """Return the law of the mean of the frames along an axis, from that of one.

    Parameters
    ----------
    law : NoiseLaw, optional
        Whatever it is, the variance falls with the number of frames. A map may have each of them, or be one for all.
    axes, letter
        Of all frames, and of the axis along which they lie.

    Raises
    ------
    ValueError
        When a map does not fit the frames.
    """
    if law is None:
        return None
    count = axes.size(letter)
    if not isinstance(law, VarianceMap):
        return LawOfMean(law, count)
    values = axes.spread(np.asarray(law.values), "A map of the variance")
    return VarianceMap(values.mean(axes.letters.index(letter)) / count)
