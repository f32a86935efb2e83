"""Frames that come out of their fits, put together into a result in the image's own terms."""

from __future__ import annotations

import bisect
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_dip.engine.blocks import Axes, Frame, Missing, Scale, convert, enlarge
from napari_dip.engine.problem import Array, Problem


@dataclass(frozen=True, eq=False)
class Restored:
    """One frame's best estimate, still scaled, and what is needed to show it."""

    x: Tensor  # (C, *spatial)
    problem: Problem
    forward: Callable[[Tensor], Tensor]
    snapshots: Mapping[int, Array] = field(default_factory=dict)  # step: averaged output, (C, *spatial), scaled
    std: Tensor | None = None  # (C, *spatial), scaled
    draws: Tensor | None = None  # (draws, C, *spatial), scaled: images that differ by it

    def predicted(self) -> Tensor:
        """Return what would have been measured, computed where the operator's own tensors are."""
        own = (*self.forward.parameters(), *self.forward.buffers()) if isinstance(self.forward, nn.Module) else ()
        return self.forward(self.x.to(own[0].device if own else self.problem.y.device))


@dataclass(eq=False)
class Assembly:
    """The arrays of a result, filled frame by frame.

    Parameters
    ----------
    image, axes, grid, missing, scale
        The source, its axes, those of the restored image, what of the source is unknown, and the run's intensity
        scale. Where the grid is another, what is not restored is the source with its pixels repeated.
    dtype : dtype
        Of the restored image.
    fill, keeps_known : bool
        Whether missing pixels come back restored, and known ones exactly as they were.
    out : array-like, optional
        Becomes the restored image; else a new array does. It begins as a copy of the source, made frame by frame.
    """

    image: Any
    axes: Axes
    grid: Axes
    missing: Missing
    scale: Scale
    dtype: np.dtype[Any]
    fill: bool
    keeps_known: bool
    out: Any = None

    def __post_init__(self) -> None:
        floating = _floating(np.dtype(self.image.dtype))
        self.restored = np.empty(self.grid.shape, self.dtype) if self.out is None else self.out
        self.estimate = np.empty(self.grid.shape, floating)
        self.copy_source()
        self.residual = np.zeros(self.axes.shape, floating)
        self.filled = np.zeros(self.grid.shape, bool)
        self.untouched = np.ones(self.grid.shape, bool)
        self.outliers = None if self.missing.outliers is None else np.zeros(self.axes.shape, bool)
        self.std: npt.NDArray[np.float32] | None = None
        self.members: npt.NDArray[np.float32] | None = None
        self.stacks: dict[Frame, Mapping[int, Array]] = {}

    def copy_source(self) -> None:
        """Let everything be as it was: frames that are not restored, and alpha, stay so."""
        shape = tuple(size for axis, size in enumerate(self.grid.shape) if axis not in self.axes.repeated)
        for frame in self.axes.frames():
            where = self.axes.whole(frame)
            source = enlarge(np.asarray(self.image[where]), shape)
            self.restored[where], self.estimate[where] = source.astype(self.dtype), source

    def add(self, frame: Frame, restored: Restored) -> None:
        """Write a frame's result to its place."""
        measured = self.axes.take(self.image, frame)  # (C, *spatial)
        missing, flagged = self.missing.find(measured, frame), self.missing.flagged(measured, frame)
        scale = self.scale.of(self.axes, frame)
        where = self.axes.where(frame)  # the same on both grids: only whole spatial axes are taken
        with torch.no_grad():
            field = restored.problem.field(restored.x)
            shown = restored.problem.finish(field)
            predicted = restored.predicted()
        of_source = measured
        measured, unknown, hit = map(self.on_grid, (measured, missing, flagged))
        untouched = self.find_untouched(unknown, hit)
        values = np.where(untouched, measured.astype(self.dtype), convert(scale.undo(_numpy(shown)), self.dtype))
        self.restored[where] = self.axes.arrange(values)
        self.untouched[where] = self.axes.arrange(untouched)
        self.estimate[where] = self.axes.arrange(scale.undo(_numpy(field)))
        y, expected = _numpy(restored.problem.y), _numpy(predicted)
        if restored.problem.is_image:
            residual = np.where(missing, np.nan, scale.residual(of_source, y, expected))
            self.residual[where] = self.axes.arrange(residual)
        else:
            self.residual = y - expected
        self.filled[where] = self.axes.arrange(self.on_grid(missing if self.fill else flagged))
        if self.outliers is not None:
            self.outliers[where] = self.axes.arrange(flagged)
        self.stacks[frame] = restored.snapshots
        self.add_uncertainty(restored, frame, missing)

    def add_uncertainty(self, restored: Restored, frame: Frame, missing: npt.NDArray[np.bool_]) -> None:
        """Write a frame's standard deviation, NaN where nothing was measured, and its images that differ by it."""
        where, scale = self.axes.where(frame), self.scale.of(self.axes, frame)
        if restored.std is not None:
            if self.std is None:
                self.std = np.full(self.restored.shape, np.nan, np.float32)
            deviation = scale.undo_deviation(_numpy(restored.std), _numpy(restored.problem.field(restored.x)))
            std = np.where(self.on_grid(missing), np.nan, deviation)
            self.std[where] = self.axes.arrange(std)
        if restored.draws is not None:
            if self.members is None:  # of frames that have none nothing is known
                self.members = np.full((len(restored.draws), *self.restored.shape), np.nan, np.float32)
            for member, drawn in zip(self.members, _numpy(restored.draws), strict=True):
                member[where] = self.axes.arrange(scale.undo(drawn))

    def on_grid(self, values: Array) -> Array:
        """Return a frame of the source, (C, *spatial), with its pixels repeated as the restored image's grid wants."""
        return enlarge(values, (len(values), *(self.grid.shape[axis] for axis in self.grid.spatial)))

    def find_untouched(self, missing: npt.NDArray[np.bool_], flagged: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return which values of a frame the user gets back as they were."""
        untouched: npt.NDArray[np.bool_] = np.zeros_like(missing) if self.fill else missing & ~flagged
        return untouched | ~missing if self.keeps_known else untouched

    def preview(self, frame: Frame, average: Tensor) -> npt.NDArray[np.float32]:
        """Return a frame's averaged output, (*axes of a frame), in the image's units."""
        return self.axes.arrange(self.scale.of(self.axes, frame).undo(_numpy(average))).astype(np.float32)

    def stack(self) -> tuple[Array | None, tuple[int, ...]]:
        """Return the averaged outputs, (iteration, *axes), and their steps; of a fit that ended, its last one."""
        steps = tuple(sorted({step for kept in self.stacks.values() for step in kept}))
        if not steps:
            return None, ()
        stack = np.repeat(self.estimate.astype(np.float32)[None], len(steps), axis=0)
        for frame, kept in self.stacks.items():
            own = sorted(kept)
            if not own:  # of a frame that was stopped before
                continue
            for position, step in enumerate(steps):
                nearest = own[max(0, bisect.bisect_right(own, step) - 1)]
                values = self.axes.arrange(self.scale.of(self.axes, frame).undo(kept[nearest]))
                stack[(position, *self.axes.where(frame))] = values
        return stack, steps

    def with_frame(self, frame: Frame, restored: Restored) -> Assembly:
        """Return a copy that has this frame too: what the run would give if it ended here."""
        other = copy.copy(self)
        names = ("estimate", "residual", "filled", "untouched", "stacks")
        for name in names if self.out is not None else ("restored", *names):
            setattr(other, name, getattr(self, name).copy())
        for name in ("outliers", "std", "members"):
            values = getattr(self, name)
            setattr(other, name, None if values is None else values.copy())
        other.add(frame, restored)
        return other


def _floating(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    """Return float64 where float32 would lose digits of the source, else float32."""
    is_precise = dtype.itemsize >= 8 or (dtype.kind in "iu" and dtype.itemsize == 4)
    return np.float64 if is_precise else np.float32


def _numpy(values: Tensor) -> npt.NDArray[np.float32]:
    return values.detach().cpu().numpy()
