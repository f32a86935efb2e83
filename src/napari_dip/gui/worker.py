"""The worker's side of a run: what it is asked for, and what it tells the window, at most ten times a second."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

import napari_dip as dip
from napari_dip.engine import devices
from napari_dip.engine.blocks import convert, enlarge, name_axes
from napari_dip.engine.presets import choose_rule
from napari_dip.engine.problem import Array
from napari_dip.gui.layers import Origin

log = logging.getLogger(__name__)

TICK = 0.1  # s between words about the run
PREVIEW = 0.2  # s between previews
FIRST_PREVIEW = 0.4  # s after the first step
SHARE = 0.1  # of the time, at most, that goes into previews


@dataclass(frozen=True, eq=False, kw_only=True)
class Request:
    """All that a run is asked for."""

    origin: Origin
    task: dip.Task
    preset: str = "standard"
    prior: dip.Prior | None = None
    stop: dip.StoppingRule | None = None
    device: str = "auto"
    seed: int = 0
    dtype: Literal["source", "float32"] = "source"
    keep_every: int = 0
    outliers: dip.Outliers | None = None
    tile: int | None = None

    @property
    def rule(self) -> dip.StoppingRule:
        return choose_rule(self.stop, next(one for one in dip.PRESETS if one.name == self.preset), self.task)

    def progress(self, image: Any, control: dip.Control) -> Iterator[dip.Progress]:
        return dip.iter_restore(
            image, self.task, self.prior, self.stop, preset=self.preset, axes=self.origin.measured_axes,
            each=self.origin.each, spacing=self.origin.spacing, device=self.device, seed=self.seed,
            keep_every=self.keep_every, dtype=self.dtype, saturation=self.origin.saturation, outliers=self.outliers,
            tile=self.tile, control=control,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Canvas:
    """The source in the result's dtype and on its grid: previews of frames are written into it."""

    image: Array


@dataclass(frozen=True)
class Tick:
    """Where a run is: plain numbers, copied from the engine's progress."""

    phase: str
    frame: int
    frames: int
    step: int
    about: int
    rate: float
    prepared: float = 1.0
    steps: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()
    best_step: int = 0
    band_steps: tuple[int, ...] = ()
    bands: tuple[list[float], ...] = ()

    @property
    def seconds(self) -> float | None:
        """About how long the run still takes; None: it cannot be told."""
        if self.rate <= 0:
            return None
        return (self.about - self.step + (self.frames - self.frame - 1) * self.about) / self.rate


@dataclass(frozen=True, eq=False)
class Preview:
    """A frame's newest output, in the result's dtype, and its index in the image."""

    where: tuple[Any, ...]
    image: Array


@dataclass(frozen=True, eq=False)
class Spectra:
    """Mean power by frequency, of the last frame of a result, its channels together.

    In cycles per pixel of the measurement and in its units: a result with smaller pixels goes on beyond 0.5.
    """

    frequency: dict[str, Array]  # of "input", "output" and "residual"
    power: dict[str, Array]
    steps: dict[int, Array] = field(default_factory=dict)  # of the outputs that were kept


@dataclass(frozen=True, eq=False)
class Done:
    """The run has ended, and this is what it gave."""

    result: dip.Restoration
    spectra: Spectra | None = None


@dataclass(frozen=True, eq=False)
class Failure:
    """The run has failed; where it had come to something, that is here."""

    message: str
    partial: dip.Restoration | None = None


Message = Canvas | Tick | Preview | Done | Failure


def work(request: Request, control: dip.Control, shown: threading.Event) -> Generator[Message, None, None]:
    """Yield what the window is told about a run. Never raises: thread workers swallow some errors."""
    last: dip.Progress | None = None
    try:
        devices.give_way()
        image = request.origin.read()
        dtype = np.dtype(image.dtype if request.dtype == "source" else np.float32).newbyteorder("=")
        grid = request.origin.layout.finer(request.task.factors)
        yield Canvas(np.array(enlarge(np.asarray(request.origin.first(image)), grid.shape), dtype))
        clock = _Clock(shown)
        for last in request.progress(image, control):
            if clock.is_tick_due(last):
                yield tick(last)
            if clock.is_preview_due():
                started = time.perf_counter()
                preview = Preview(last.where, convert(last.image(), dtype))
                clock.previewed(time.perf_counter() - started)
                yield preview
        if last is None:
            raise dip.RestorationError("The engine took no step")
        yield tick(last)
        result = last.restoration()
        measured = image if request.origin.frames is None else result.estimate + result.residual
        yield Done(result, spectra(measured, result))
    except Exception as error:
        yield Failure(explain(error), salvage(last))


def tick(progress: dip.Progress) -> Tick:
    """Return a copy of what the window shows of a progress."""
    fit = progress.fit
    return Tick(
        progress.phase, progress.frame, progress.frames, progress.step, progress.expected, progress.rate,
        progress.prepared, tuple(fit.steps), tuple(fit.scores), fit.best_step, tuple(fit.band_steps), tuple(fit.bands),
    )  # fmt: skip


def spectra(image: Array, result: dip.Restoration) -> Spectra:
    """Return the spectra of the last frame, with a ring for every fourth pixel of its shorter side."""
    axes = name_axes(result.settings["axes"], image.shape, result.settings["each"])
    letters = "C" + "".join(axes.letters[axis] for axis in axes.spatial)
    rings = max(4, min(image.shape[axis] for axis in axes.spatial) // 4)

    def power(values: Array) -> tuple[Array, Array]:
        frame = axes.take(values, result.fits[-1].frame)
        found = dip.radial_spectrum(frame, rings=rings, axes=letters)
        finer = math.prod(values.shape[axis] / image.shape[axis] for axis in axes.spatial)
        return found.frequency * finer ** (1 / len(axes.spatial)), found.power.mean(0) / finer

    named = {"input": image, "output": result.estimate, "residual": result.residual}
    found = {name: power(values) for name, values in named.items()}
    stack = () if result.stack is None else result.stack
    return Spectra(
        {name: frequency for name, (frequency, _) in found.items()},
        {name: values for name, (_, values) in found.items()},
        {step: power(values)[1] for step, values in zip(result.steps, stack, strict=True)},
    )


def explain(error: Exception) -> str:
    """Return what went wrong, in words, with a hint."""
    text = str(error) or type(error).__name__
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        return f"Not enough memory: {text}. Restore one plane or a smaller image, or choose another device."
    if isinstance(error, (dip.RestorationError, ValueError, TypeError)):
        return text
    log.exception("A restoration failed")
    return f"Something unexpected failed ({type(error).__name__}): {text}. The terminal has the details."


def salvage(progress: dip.Progress | None) -> dip.Restoration | None:
    """Return the best of a failed run, where there is one."""
    try:
        return progress.restoration() if progress is not None else None
    except Exception:
        log.exception("Nothing could be saved of a failed restoration")
        return None


class _Clock:
    """When the window is told something: often enough to look alive, seldom enough to cost nothing."""

    def __init__(self, shown: threading.Event) -> None:
        self.shown = shown
        self.phase = ""
        self.next_tick = 0.0
        self.next_preview = time.perf_counter() + FIRST_PREVIEW

    def is_tick_due(self, progress: dip.Progress) -> bool:
        now = time.perf_counter()
        if now < self.next_tick and progress.phase == self.phase:
            return False
        self.next_tick, self.phase = now + TICK, progress.phase
        return True

    def is_preview_due(self) -> bool:
        return self.phase != "paused" and self.shown.is_set() and time.perf_counter() >= self.next_preview

    def previewed(self, cost: float) -> None:
        self.shown.clear()
        self.next_preview = time.perf_counter() + max(PREVIEW, cost / SHARE)
