"""One run in a thread: started, paused and stopped from the window, which hears of it at most ten times a second."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal
from weakref import ref

import numpy as np
from napari.layers import Image
from napari.qt.threading import create_worker
from napari.utils import cancelable_progress
from napari.utils.events import Event
from napari.utils.notifications import show_info
from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]

import napari_dip as dip
from napari_dip.engine import devices
from napari_dip.engine.blocks import convert, enlarge, name_axes
from napari_dip.engine.presets import choose_rule
from napari_dip.engine.problem import Array
from napari_dip.gui.layers import Origin
from napari_dip.gui.outputs import Outputs

log = logging.getLogger(__name__)

State = Literal["idle", "running", "paused", "stopping", "stopped", "finished", "failed"]
BUSY: tuple[State, ...] = ("running", "paused", "stopping")
ENDED: tuple[State, ...] = ("stopped", "finished", "failed")
TICK = 0.1  # s between words about the run
PREVIEW = 0.2  # s between previews
FIRST_PREVIEW = 0.4  # s after the first step
ACTIVITY = 250  # ms between updates of the bar in the activity dock
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
            keep_every=self.keep_every, dtype=self.dtype, outliers=self.outliers, tile=self.tile, control=control,
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
    """Mean power by frequency, of the last frame of a result, its channels together."""

    frequency: Array
    power: dict[str, Array]  # of "input", "output" and "residual"
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
        tuple(fit.steps), tuple(fit.scores), fit.best_step, tuple(fit.band_steps), tuple(fit.bands),
    )  # fmt: skip


def spectra(image: Array, result: dip.Restoration) -> Spectra:
    """Return the spectra of the last frame, with a ring for every fourth pixel of its shorter side."""
    axes = name_axes(result.settings["axes"], image.shape, result.settings["each"])
    letters = "C" + "".join(axes.letters[axis] for axis in axes.spatial)
    rings = max(4, min(image.shape[axis] for axis in axes.spatial) // 4)

    def power(values: Array) -> tuple[Array, Array]:
        frame = axes.take(values, result.fits[-1].frame)
        found = dip.radial_spectrum(frame, rings=rings, axes=letters)
        return found.frequency, found.power.mean(0)

    named = {"input": image, "output": result.estimate, "residual": result.residual}
    found = {name: power(values) for name, values in named.items()}
    stack = () if result.stack is None else result.stack
    return Spectra(
        found["input"][0],
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


class _Bar(cancelable_progress):  # type: ignore[misc]
    """A bar in the activity dock whose Cancel stops the run."""

    def __init__(self, session: Session) -> None:
        self.session = session
        super().__init__(total=0, desc=session.outputs.name)

    def cancel(self) -> None:
        super().cancel()
        self.session.stop()


class _Activity(QObject):
    """Keeps a run's bar in the activity dock, from a timer of its own.

    Whatever is done to napari's bar makes Qt process events: never do it while a message of the worker is handled,
    or the next one is handled inside of that.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.session = session
        self.bar: _Bar | None = None
        self.is_at_it = False
        self.timer = QTimer(self)
        self.timer.timeout.connect(self.show)
        self.timer.start(ACTIVITY)

    def show(self) -> None:
        if not self.is_at_it:
            self.is_at_it = True
            self._update()
            self.is_at_it = False

    def close(self) -> None:
        self.timer.stop()
        if self.bar is not None:
            self.bar.close()

    def _update(self) -> None:
        if self.bar is None:
            self.bar = _Bar(self.session)
        if (tick := self.session.last) is not None and not self.bar.disable:
            self.bar.total = tick.about
            self.bar.update(tick.step - self.bar.n)
        if self.session.state in ENDED:  # while the bar was made or updated
            self.close()


class Session(QObject):
    """A run and its state. Lives on the GUI thread, and on its own: a closed dock does not lose a result."""

    state_changed = Signal(str)
    ticked = Signal(object)  # Tick
    measured = Signal(object)  # Spectra
    told = Signal(str)  # words for the person

    _alive: ClassVar[set[Session]] = set()

    def __init__(self, request: Request, outputs: Outputs, source: Image, *, has_window: bool = True) -> None:
        super().__init__()
        self.request, self.outputs, self.source = request, outputs, ref(source)
        self.state: State = "idle"
        self.control = dip.Control()
        self.shown = threading.Event()
        self.last: Tick | None = None
        self.result: dip.Restoration | None = None
        self.methods = ""  # what a paper has to say of the result
        self.activity = _Activity(self) if has_window else None
        self.worker = create_worker(work, request, self.control, self.shown)
        self.worker.yielded.connect(self._receive)
        self.worker.finished.connect(self._finished)
        outputs.layers.events.removed.connect(self._layer_removed)
        source.events.data.connect(self._data_replaced)
        source.events.name.connect(self._renamed)

    @property
    def name(self) -> str:
        return self.outputs.origin.name

    @property
    def is_busy(self) -> bool:
        return self.state in BUSY

    def start(self) -> None:
        Session._alive.add(self)
        self.shown.set()
        self._enter("running")
        self.worker.start()

    def pause(self) -> None:
        if self.state == "running":
            self.control.pause()
            self._enter("paused")

    def resume(self) -> None:
        if self.state == "paused":
            self.control.resume()
            self._enter("running")

    def stop(self) -> None:
        """End after the current step; the best so far becomes a layer."""
        if self.state in ("running", "paused"):
            self._enter("stopping")
            self.control.stop()

    def adjust(self, task: dip.Enhance) -> None:
        """Give the result of an enhancement another amount: that takes no fit."""
        was = self.request.task
        if self.result is None or not isinstance(was, dip.Enhance):
            return
        if dataclasses.replace(task, amount=was.amount) == was:
            self.outputs.adjust(self.result, task)

    def abandon(self) -> None:
        """End after the current step and add nothing: the viewer is gone."""
        self.control.stop()
        self.worker.quit()

    def _layer_removed(self, event: Event) -> None:
        if event.value is self.source() and self.is_busy:
            self._warn(f"“{self.name}” was removed: its restoration goes on, and will be placed where it was.")

    def _data_replaced(self, event: Event) -> None:
        if self.is_busy:
            self._warn(f"The data of “{self.name}” changed: the restoration goes on with those it started from.")

    def _renamed(self, event: Event) -> None:
        if self.is_busy:
            self._warn(f"“{self.name}” was renamed: its restoration keeps the old name.")

    def _warn(self, text: str) -> None:
        self.told.emit(text)
        show_info(text)

    def _unwatch(self) -> None:
        self.outputs.layers.events.removed.disconnect(self._layer_removed)
        if (source := self.source()) is not None:
            source.events.data.disconnect(self._data_replaced)
            source.events.name.disconnect(self._renamed)

    def _receive(self, message: Message) -> None:
        """Act on a message of the worker, unless it was made to quit: napari does that when the window closes."""
        if self.worker.abort_requested or not self.is_busy:
            return
        match message:
            case Canvas(image):
                self.outputs.canvas = image
            case Tick():
                self._tick(message)
            case Preview(where, image):
                self.outputs.show(where, image)
                self.shown.set()
            case Done(result, found):
                self._done(result)
                self.measured.emit(found)
            case Failure(text, partial):
                self._fail(text, partial)

    def _tick(self, tick: Tick) -> None:
        self.last = tick
        self.ticked.emit(tick)

    def _done(self, result: dip.Restoration) -> None:
        layer = self.outputs.finish(result)
        self.result = result
        self.methods = dip.methods_text(result.report())
        notes = [f"“{layer.name}” is step {result.best_step}: {result.ended}", *result.notes]
        if self.outputs.wants_std and result.std is None:
            notes.append(f"No standard deviation: {result.fits[-1].no_std}")
        if self.outputs.hidden:
            notes.append(f"Hidden below it: {', '.join(self.outputs.hidden)}")
        self.told.emit(". ".join(notes) + ".")
        self._enter("stopped" if self.state == "stopping" else "finished")

    def _fail(self, text: str, partial: dip.Restoration | None) -> None:
        if partial is None:
            self.outputs.drop()
        else:
            layer = self.outputs.finish(partial)
            text += f" What was reached by then is “{layer.name}”."
        self.told.emit(f"Failed. {text}")
        self._enter("failed")

    def _finished(self) -> None:
        """Let go of everything, also when the worker was made to quit and told nothing."""
        self._unwatch()
        if self.is_busy:
            self._enter("stopped")
        Session._alive.discard(self)

    def _enter(self, state: State) -> None:
        self.state = state
        if self.activity is not None and state in ENDED:
            self.activity.close()
        self.state_changed.emit(state)
