"""One run in a thread: started, paused and stopped from the window, and its bar in the activity dock."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable
from typing import Any, ClassVar, Literal
from weakref import ref

from napari.layers import Image
from napari.qt.threading import create_worker
from napari.utils import cancelable_progress
from napari.utils.events import Event
from napari.utils.notifications import show_info
from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QApplication, QLabel

import napari_dip as dip
from napari_dip.gui.outputs import Outputs
from napari_dip.gui.worker import Canvas, Done, Failure, Message, Preview, Request, Tick, work

log = logging.getLogger(__name__)

State = Literal["idle", "running", "paused", "stopping", "stopped", "finished", "failed"]
BUSY: tuple[State, ...] = ("running", "paused", "stopping")
ENDED: tuple[State, ...] = ("stopped", "finished", "failed")
ACTIVITY = 250  # ms between updates of the bar in the activity dock
CALM = 20  # % of the speed of napari's spinner, while a run goes on


class Bar(cancelable_progress):  # type: ignore[misc]
    """A bar in the activity dock whose Cancel stops a run."""

    def __init__(self, name: str, stop: Callable[[], None]) -> None:
        self.stop = stop
        super().__init__(total=0, desc=name)

    def cancel(self) -> None:
        super().cancel()
        self.stop()


class _Activity(QObject):
    """Keeps a run's bar in the activity dock, from a timer of its own.

    Whatever is done to napari's bar makes Qt process events: never do it while a message of the worker is handled,
    or the next one is handled inside of that.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.session = session
        self.bar: Bar | None = None
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
            _spin(100)

    def _update(self) -> None:
        if self.bar is None:
            self.bar = Bar(self.session.outputs.name, self.session.stop)
            _spin(CALM)
        if (tick := self.session.last) is not None and not self.bar.disable:
            self.bar.total = tick.about
            self.bar.update(tick.step - self.bar.n)
        if self.session.state in ENDED:  # while the bar was made or updated
            self.close()


def _spin(speed: int) -> None:
    """Let what spins in the windows spin at so many percent of its speed.

    For each of its frames, 33 a second, the whole window is composed anew. Where a processor does that, it takes a
    quarter of a core from the fit.
    """
    for window in QApplication.topLevelWidgets():
        for label in window.findChildren(QLabel):
            if (movie := label.movie()) is not None:
                movie.setSpeed(speed)


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
            self.methods = _methods(self.outputs.record)

    @property
    def steps(self) -> tuple[int, ...]:
        """Whose outputs were kept and can be used as the result: of tasks that do no more to them."""
        if self.result is None or isinstance(self.request.task, (dip.Enhance, dip.Deblock)):
            return ()
        return self.result.steps

    def use(self, step: float) -> None:
        """Let the restored layer be the output of the kept step nearest to this one."""
        if self.result is None or not self.steps:
            return
        nearest = min(self.steps, key=lambda kept: abs(kept - step))
        name = self.outputs.name
        if self.outputs.use(self.result.at(nearest)):
            self.methods = _methods(self.outputs.record)
            others = f" {', '.join(self.outputs.hidden)} stay as they were." if len(self.outputs.hidden) > 1 else ""
            self.told.emit(f"“{name}” is step {nearest} now.{others}")
        else:
            self.told.emit(f"“{name}” is gone: run again.")

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
        self.methods = _methods(result.report())
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


def _methods(report: dict[str, Any]) -> str:
    """Return what a paper has to say of a result; empty where that fails, which must not cost the result."""
    try:
        return dip.methods_text(report)
    except Exception:
        log.exception("There is no methods text")
        return ""
