"""One run over all frames of an image: every fit is followed to its stop, and the best is kept."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_dip.engine import devices
from napari_dip.engine.assembly import Assembly, Restored
from napari_dip.engine.blocks import Axes, Frame, Missing, crop, measure_scale
from napari_dip.engine.fit import Iterate, Prior, State, fit
from napari_dip.engine.outcome import Control, Fit, Phase, Progress, Restoration, settings_of
from napari_dip.engine.problem import Array, Problem, RestorationError
from napari_dip.engine.stopping import StoppingRule
from napari_dip.engine.tasks import Task

HEARTBEAT = 0.05  # s between the signs of life of a paused run


@dataclass(frozen=True)
class Limits:
    """Where a run ends at the latest: steps of each fit, seconds of all."""

    steps: int | None = None
    seconds: float | None = None


@dataclass(eq=False, kw_only=True)
class Run:
    """What a restoration was asked for, and what of it is done."""

    image: Any
    axes: Axes
    task: Task
    prior: Prior
    rule: StoppingRule
    missing: Missing
    fill: bool
    dtype: np.dtype[Any]
    device: torch.device
    seed: int
    keep_every: int
    limits: Limits
    out: Any
    control: Control

    def __post_init__(self) -> None:
        self.precision = devices.precision(self.device)
        self.scale = measure_scale(self.image, self.axes, self.missing)
        self.assembly = Assembly(
            self.image,
            self.axes,
            self.missing,
            self.scale,
            self.dtype,
            self.fill,
            self.task.keeps_known,
            self.out,
        )
        self.frames = [frame for frame in self.axes.frames() if self.is_wanted(frame)]
        if not self.frames:
            raise ValueError("Nothing is missing: mark the pixels to fill in a mask, or make them NaN")
        self.fits: list[Fit] = []
        self.started = time.perf_counter()
        self.clock = deque([self.started], maxlen=50)

    def progress(self) -> Iterator[Progress]:
        """Yield the progress of every frame; the engine's failures become a RestorationError."""
        try:
            for frame in self.frames:
                yield from _Frame(self, frame).progress()
                if self.control.is_stopped or self.is_late:
                    return
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise self.too_large() from error
        except RuntimeError as error:  # thread workers swallow it, and PyTorch raises it for nearly everything
            if "allocate memory" in str(error):  # the CPU's allocator has no class of its own
                raise self.too_large() from error
            raise RestorationError(f"The fit failed on {self.device}: {error}") from error

    def too_large(self) -> RestorationError:
        return RestorationError(
            f"Not enough memory on {self.device} for an image of shape {self.axes.shape}: crop it, or take "
            f"another device"
        )

    def is_wanted(self, frame: Frame) -> bool:
        """Return whether a fit would change anything: a task that keeps what is known needs a missing pixel."""
        if not self.task.keeps_known:
            return True
        return bool(self.missing.find(self.axes.take(self.image, frame), frame).any())

    @property
    def is_late(self) -> bool:
        return self.limits.seconds is not None and time.perf_counter() - self.started >= self.limits.seconds

    @property
    def rate(self) -> float:
        """Steps per second over the last ones."""
        return (len(self.clock) - 1) / max(1e-9, self.clock[-1] - self.clock[0])

    def result(self, assembly: Assembly, *, fits: list[Fit]) -> Restoration:
        stack, steps = assembly.stack()
        return Restoration(
            image=assembly.restored,
            estimate=assembly.estimate,
            residual=assembly.residual,
            filled=assembly.filled if assembly.filled.any() else None,
            stack=stack,
            steps=steps,
            fits=tuple(dataclasses.replace(fit) for fit in fits),
            settings=self.settings(),
            machine=self.machine(),
            notes=self.notes(len(fits)),
        )

    def settings(self) -> dict[str, Any]:
        """Return what the run was asked for, as JSON."""
        return {
            "task": settings_of(self.task),
            "prior": settings_of(self.prior),
            "stop": settings_of(self.rule),
            "axes": self.axes.letters,
            "each": self.axes.each,
            "shape": list(self.axes.shape),
            "dtype": str(self.dtype),
            "missing": settings_of(self.missing.masks),
            "saturation": self.missing.saturation,
            "fill": self.fill,
            "keep_every": self.keep_every,
            "max_steps": self.limits.steps,
            "max_seconds": self.limits.seconds,
        }

    def machine(self) -> dict[str, Any]:
        """Return what else decides the bits, as JSON."""
        return {
            "version": version("napari-dip"),
            "torch": torch.__version__,
            "seed": self.seed,
            "device": str(self.device),
            "precision": settings_of(self.precision),
            "threads": torch.get_num_threads(),
        }

    def notes(self, fitted: int) -> tuple[str, ...]:
        notes = []
        if fitted < len(self.frames):
            notes.append(f"Ended after {fitted} of {len(self.frames)} frames: the others are as they were")
        if self.dtype.kind in "iu" and self.dtype.itemsize == 8:
            notes.append(f"{self.dtype} values above 2^53 are rounded to what float64 holds")
        return tuple(notes)


@dataclass(frozen=True, eq=False)
class _Best:
    """The iterate with the best score so far; until a score is finite, the newest one."""

    average: Tensor  # (C, *spatial), scaled
    step: int
    score: float = math.inf
    state: State | None = None


class _Frame:
    """One frame's fit, from its start to its place in the result."""

    def __init__(self, run: Run, frame: Frame):
        self.run, self.frame = run, frame
        self.fit = Fit(frame)
        self.problem = _problem(run, frame)
        self.best: _Best | None = None
        self.newest: Iterate | None = None
        self.snapshots: dict[int, Array] = {}
        self.is_done = False

    def progress(self) -> Iterator[Progress]:
        run, rule, started = self.run, self.run.rule, time.perf_counter()
        hidden, criterion = rule.start(self.problem, run.seed)
        for iterate in self.iterates(hidden):
            score = float(criterion(iterate)) if iterate.step % rule.every == 0 else None
            self.keep(iterate, score)
            yield from self.report("fitting", iterate.step, score)
            if reason := self.reason(iterate.step):
                self.fit.ended, self.fit.last_step = reason, iterate.step
                break
        if self.reveals and not run.control.is_stopped and not run.is_late:
            yield from self.reveal()
        self.fit.seconds = time.perf_counter() - started
        self.place()

    def iterates(self, problem: Problem, start: State | None = None) -> Iterator[Iterate]:
        run = self.run
        return fit(problem, run.prior, run.device, precision=run.precision, seed=run.seed, start=start)

    def keep(self, iterate: Iterate, score: float | None) -> None:
        """Remember an iterate that scored best, and the outputs that were asked for."""
        self.newest = iterate
        if score is not None:
            self.fit.steps.append(iterate.step)
            self.fit.scores.append(score)
            if score < (self.best.score if self.best else math.inf):
                state = iterate.snapshot() if self.run.rule.reveal else None
                self.best = _Best(iterate.average.clone(), iterate.step, score, state)
                self.fit.best_step = iterate.step
        if self.run.keep_every and iterate.step % self.run.keep_every == 0:
            self.snapshots[iterate.step] = iterate.average.cpu().numpy().copy()

    def reason(self, step: int) -> str | None:
        """Return why the fit ends at this step, in words; None: it goes on."""
        rule, limits = self.run.rule, self.run.limits
        since = step - (self.best.step if self.best else step)
        if self.run.control.is_stopped:
            return "stopped by the user"
        if step >= (ceiling := self.ceiling):
            return f"reached {ceiling} steps"
        if self.run.is_late:
            return f"reached {limits.seconds:g} seconds"
        if step >= rule.floor and since >= rule.patience:
            return f"no better score for {since} steps"
        return None

    @property
    def ceiling(self) -> int:
        return min(self.run.rule.ceiling, self.run.limits.steps or self.run.rule.ceiling)

    @property
    def reveals(self) -> int:
        """Steps of the last phase."""
        wanted = math.ceil(self.run.rule.reveal * (self.best.step if self.best else 0))
        most = self.run.limits.steps
        return wanted if most is None else max(0, min(wanted, most - self.fit.last_step))

    def reveal(self) -> Iterator[Progress]:
        """Go on from the best iterate with nothing hidden, so that held-out pixels are used too."""
        best = self.best
        if best is None or best.state is None:
            return
        for iterate in self.iterates(self.problem, best.state):
            self.newest, self.fit.revealed = iterate, iterate.step - best.step
            self.best = dataclasses.replace(best, average=iterate.average)
            yield from self.report("revealing", self.fit.last_step + self.fit.revealed, None)
            if self.run.control.is_stopped or self.run.is_late or self.fit.revealed >= self.reveals:
                return

    def report(self, phase: Phase, step: int, score: float | None) -> Iterator[Progress]:
        """Yield the progress of a step, and while the run is paused a sign of life now and then."""
        run = self.run
        run.clock.append(time.perf_counter())
        since = self.best.step if self.best else step
        end = self.fit.last_step or min(self.ceiling, max(run.rule.floor, since + run.rule.patience))
        expected = max(step, end + self.reveals)
        index = run.frames.index(self.frame)
        yield Progress(
            phase,
            index,
            len(run.frames),
            step,
            expected,
            run.rate,
            score,
            self.fit,
            self.image,
            self.restoration,
        )
        while run.control.is_paused and not run.control.is_stopped:
            time.sleep(HEARTBEAT)
            yield Progress(
                "paused",
                index,
                len(run.frames),
                step,
                expected,
                0.0,
                None,
                self.fit,
                self.image,
                self.restoration,
            )

    def image(self) -> Array:
        assert self.newest is not None  # noqa: S101  only reachable from a Progress
        return self.run.assembly.preview(self.newest.average)

    def restored(self) -> Restored:
        assert self.newest is not None  # noqa: S101
        x = self.best.average if self.best else self.newest.average
        return Restored(x, self.problem, self.newest.forward, dict(self.snapshots))

    def restoration(self) -> Restoration:
        run = self.run
        if self.is_done:
            return run.result(run.assembly, fits=run.fits)
        if not self.fit.best_step and self.newest:
            self.fit.best_step = self.newest.step
        return run.result(run.assembly.with_frame(self.frame, self.restored()), fits=[*run.fits, self.fit])

    def place(self) -> None:
        """Put the frame into the result."""
        run = self.run
        if self.best is None and self.newest is not None:
            self.fit.best_step = self.newest.step
        run.assembly.add(self.frame, self.restored())
        run.fits.append(self.fit)
        self.is_done = True


def _problem(run: Run, frame: Frame) -> Problem:
    """Return what the task makes of one frame, with the missing pixels taken out."""
    measured = run.axes.take(run.image, frame)
    known = ~run.missing.find(measured, frame)
    if not known.any():
        raise ValueError(f"No pixel of frame {frame} is known")
    y = torch.from_numpy(run.scale.apply(measured, known))
    problem = crop(run.task, run.axes, frame).problem(y)
    if known.all():
        return problem
    weight = torch.from_numpy(known.astype(np.float32))
    return dataclasses.replace(problem, weight=weight if problem.weight is None else weight * problem.weight)
