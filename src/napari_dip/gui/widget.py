"""The dock "Deep image prior": choose, run, watch, stop, and find the result among the layers."""

from __future__ import annotations

from typing import Any

from napari import current_viewer
from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtWidgets import (
    QApplication,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

import napari_dip as dip
from napari_dip import samples
from napari_dip.gui.advice import Advice, Need
from napari_dip.gui.form import words
from napari_dip.gui.inputs import Inputs
from napari_dip.gui.layers import saturation
from napari_dip.gui.options import Options
from napari_dip.gui.outputs import Outputs
from napari_dip.gui.plots import ScorePlot
from napari_dip.gui.recalling import RecallButton
from napari_dip.gui.session import ENDED, Session, State
from napari_dip.gui.spectra import Curves
from napari_dip.gui.trying import SampleButton, opened
from napari_dip.gui.worker import Request, Tick
from napari_dip.io.settings import remember

COLOURS = {"warning": ("#ffb14a", "#a34e00"), "error": ("#ff8a80", "#b3261e")}  # in a dark and a light theme
ADVISED = (dip.Denoise, dip.Guided)  # of other tasks the noise says little
SETTLING = "The fit ends once the ratio of blur to sharpness has settled: there is no score to show"
UNSCORED = {
    "FixedSteps": "A fixed number of steps: there is no score to show",
    "BlurSharpness": SETTLING,
    "SteadyDetail": SETTLING,
}
SCORES = {"HeldOut": "held-out error", "WindowedVariance": "variance", "MovingVariance": "variance"}


class DeepImagePrior(QWidget):
    """Restores an image layer by the deep image prior, and shows how it goes."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.session: Session | None = None
        self.is_joined = False
        self.inputs, self.options = Inputs(napari_viewer), Options()
        self.plot = ScorePlot(str(napari_viewer.theme))
        self.curves = Curves(self.plot, str(napari_viewer.theme))
        self._make_controls()
        self._lay_out()
        self.inputs.changed.connect(self.update_controls)
        self.options.output.changed.connect(self.update_controls)
        self.options.advanced.changed.connect(self.update_controls)
        self.inputs.task_edit.changed.connect(self._adjust)
        self.run_button.clicked.connect(self.run)
        self.pause_button.clicked.connect(self.toggle_pause)
        self.stop_button.clicked.connect(self.stop)
        self.recall_button.chosen.connect(self.recall)
        self.recall_button.failed.connect(self.message.setText)
        self.sample_button.chosen.connect(self.try_sample)
        self.cite_button.clicked.connect(self.copy_methods)
        self.use_button.clicked.connect(self.use_iteration)
        for picked in (self.plot.picked, self.curves.bands.picked):
            picked.connect(self.show_iteration)
        self._join()

    # ------------------------------------------------------------------ looks

    def _make_controls(self) -> None:
        self.run_button = QPushButton("Run")
        self.run_button.setToolTip("Start the restoration; the image layer stays as it is")
        self.pause_button = QPushButton("Pause")
        self.pause_button.setToolTip("Hold the run where it is, and go on later")
        self.stop_button = QPushButton("Stop")
        self.stop_button.setToolTip("End the run now and keep the best result so far")
        self.recall_button, self.sample_button = RecallButton(self.viewer), SampleButton()
        self.place = _line("What will be restored, or what is missing before a run can start")
        self.advice, self.need = Advice(), Need()
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(10)
        self.bar.setToolTip("Steps so far of the steps that it will about take")
        self.text = _line("Steps so far, about how many it will take, the speed, and the time left")
        self.message = _line("What happened last")
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.cite_button = QPushButton("Copy methods text")
        self.cite_button.setToolTip("What a paper has to say of this result, with the papers to cite, to the clipboard")
        self.cite_button.hide()
        self.use_button = QPushButton("Use the shown iteration")
        self.use_button.setToolTip("Let the restored layer be the output of the step where the iteration slider stands")
        self.use_button.hide()

    def _lay_out(self) -> None:
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 6, 0)
        menus = QHBoxLayout()
        menus.addWidget(self.sample_button)
        menus.addWidget(self.recall_button)
        column.addLayout(menus)
        column.addWidget(self.inputs)
        column.addWidget(_rule())
        column.addWidget(self.options)
        column.addStretch(1)
        self.area = QScrollArea()
        self.area.setWidget(inner)
        self.area.setWidgetResizable(True)
        self.area.setFrameShape(QFrame.Shape.NoFrame)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.area.setMinimumHeight(160)
        self.area.setSizeAdjustPolicy(QScrollArea.SizeAdjustPolicy.AdjustToContents)
        buttons = QHBoxLayout()
        for button in (self.run_button, self.pause_button, self.stop_button):
            buttons.addWidget(button)
        outer = QVBoxLayout(self)
        outer.addWidget(self.area, 3)
        outer.addWidget(self.place)
        outer.addWidget(self.advice)
        outer.addWidget(self.need)
        outer.addLayout(buttons)
        outer.addWidget(self.bar)
        outer.addWidget(self.text)
        outer.addWidget(self.curves, 2)
        outer.addWidget(self.message)
        outer.addWidget(self.use_button)
        outer.addWidget(self.cite_button)
        self.setMinimumWidth(300)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(340, 700)

    def update_controls(self) -> None:
        """Say what a run will do or why it cannot start, and enable what can be pressed."""
        layer = self.inputs.image.layer
        self.options.hold_dtype(layer is not None and layer.rgb)
        self.options.say_saturation(None if layer is None else saturation(layer))
        self.inputs.saturation = self.options.output.value.saturation
        reason = self.inputs.reason() or self.options.reason()
        state = self.state
        is_busy = self.session is not None and self.session.is_busy
        self.place.setText(reason or self.inputs.place())
        self.place.setVisible(bool(self.place.text()))
        self._colour(self.place, "warning" if reason else "")
        if not is_busy:
            is_asked = reason is None and self.inputs.task_edit.chosen in ADVISED
            self.advice.about(self.inputs.shown() if is_asked else None)
            self._ask_memory(reason is None)
        self.run_button.setEnabled(not is_busy and reason is None)
        self.run_button.setText("Running…" if is_busy else "Run")
        self.pause_button.setEnabled(state in ("running", "paused"))
        self.pause_button.setText("Resume" if state == "paused" else "Pause")
        self.stop_button.setEnabled(state in ("running", "paused"))
        self.stop_button.setText("Stopping…" if state == "stopping" else "Stop")

    def _ask_memory(self, can_run: bool) -> None:
        if not can_run:
            self.need.about(None)
            return
        settings = self.options.values()
        asked = {name: settings[name] for name in ("preset", "prior", "stop", "device", "tile")}
        self.need.about(self.inputs.origin(), task=self.inputs.task_edit.value, **asked)

    def _colour(self, label: QLabel, kind: str) -> None:
        is_light = get_theme(str(self.viewer.theme)).type == "light"
        label.setStyleSheet(f"color: {COLOURS[kind][is_light]};" if kind else "")

    # ------------------------------------------------------------------ a run

    @property
    def state(self) -> State:
        return self.session.state if self.session is not None else "idle"

    def run(self) -> None:
        """Start a run with what is chosen, unless one is under way or something is missing."""
        self.inputs.check()
        if not self.run_button.isEnabled():
            return
        for line in (self.advice, self.need):  # nothing is told while the fit needs the time
            line.timer.stop()
        request = Request(origin=self.inputs.origin(), task=self.inputs.task(), **self.options.values())
        outputs = Outputs(
            self.viewer.layers,
            request.origin,
            request.task.done,
            wants_residual=self.options.output.value.residual,
            wants_std=self.options.output.value.std,
        )
        self.plot.expect(*_score(request.rule))
        self.curves.clear()
        self.bar.setRange(0, 0)
        self.text.setText("starting…")
        self.message.setText("")
        self.session = Session(request, outputs, self.inputs.image.layer, has_window=current_viewer() is not None)
        self.session.state_changed.connect(self._state_changed)
        self.session.ticked.connect(self._ticked)
        self.session.measured.connect(self.curves.spectra.draw)
        self.session.told.connect(self.message.setText)
        if (window := main_window(self)) is not None:
            window.destroyed.connect(self.session.abandon)
        self.session.start()

    def recall(self, recipe: dip.Recipe | None) -> None:
        """Set the task and the settings as a recipe says; None: as they are at first."""
        if recipe is None:
            self.inputs.recall(self.inputs.task_edit.chosen())
            self.options.reset()
            self.message.setText("")
        else:
            self.inputs.recall(recipe.task)
            layer = self.inputs.image.layer
            self.options.recall(recipe, None if layer is None else saturation(layer))
            lacks = ", ".join(recipe.arrays)
            self.message.setText(f"Settings are back; choose yourself: {lacks}." if lacks else "Settings are back.")
        self.inputs.check()

    def try_sample(self, trial: samples.Trial) -> None:
        """Open a sample and set its task: Run does the rest."""
        layers = opened(trial, self.viewer)
        self.inputs.refresh()
        self.inputs.recall(trial.task)
        self.inputs.take(layers)
        self.message.setText("Run restores it.")
        self.inputs.check()

    def toggle_pause(self) -> None:
        if self.session is not None:
            (self.session.resume if self.session.state == "paused" else self.session.pause)()

    def stop(self) -> None:
        if self.session is not None:
            self.session.stop()

    def _adjust(self) -> None:
        """Let another amount of an enhancement act on the last result, while its image or itself is chosen."""
        if self.session is None or self.inputs.task_edit.chosen is not dip.Enhance:
            return
        if self.inputs.image.layer in (self.session.source(), self.session.outputs.preview):
            self.session.adjust(self.inputs.task_edit.value)

    def copy_methods(self) -> None:
        clipboard = QApplication.clipboard()
        if self.session is not None and clipboard is not None:
            clipboard.setText(self.session.methods)

    def show_iteration(self, step: float) -> None:
        """Show the kept output of the step nearest to one, where outputs were kept and their layer is still there."""
        if (axis := self._iteration_axis) is not None and self.session is not None:
            self.session.outputs.look(at_iterations=True)
            self.viewer.dims.set_point(axis, step)

    def use_iteration(self) -> None:
        """Let the restored layer be the output that the iteration slider shows."""
        if (axis := self._iteration_axis) is not None and self.session is not None:
            self.session.use(self.viewer.dims.point[axis])

    @property
    def _iteration_axis(self) -> int | None:
        """The viewer's axis of the last run's kept outputs; None: there are none, or their layer is gone."""
        layer = None if self.session is None else self.session.outputs.iterations
        if layer is None or layer not in self.viewer.layers:
            return None
        return int(self.viewer.dims.ndim - layer.ndim)

    def _ticked(self, tick: Tick) -> None:
        done, whole = (round(100 * tick.prepared), 100) if tick.phase == "preparing" else (tick.step, tick.about)
        self.bar.setRange(0, whole)
        self.bar.setValue(done)
        self.text.setText(progress_text(tick))
        self.plot.draw(tick.steps, tick.scores, tick.best_step)
        self.curves.bands.draw(tick.band_steps, tick.bands)

    def _state_changed(self, state: State) -> None:
        if state in ENDED:
            self.bar.setRange(0, 1)
            self.bar.setValue(int(state == "finished"))
            steps = self.session.last.step if self.session is not None and self.session.last is not None else 0
            self.text.setText(f"{state} after {steps:,} steps")
        self.inputs.is_held = state not in ENDED
        self.use_button.setVisible(self.session is not None and bool(self.session.steps))
        self.cite_button.setVisible(self.session is not None and bool(self.session.methods))
        self._colour(self.message, "error" if state == "failed" else "")
        self.update_controls()
        if state in ENDED and self.is_joined:
            self.inputs.soon()  # what changed meanwhile was not looked at
        if self.session is not None and self.session.result is not None and state == "finished":
            remember(self.session.result.report())

    # ------------------------------------------------------------------ the viewer around it

    def reset_choices(self, event: object = None) -> None:
        """Take in that layers came, went or were renamed."""
        self.inputs.refresh()

    def event(self, event: QEvent | None) -> bool:
        """Notice that the dock was closed: napari then takes this widget out of it and calls nothing else."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self.parent() is None:
                self._leave()
            else:
                self._join()
        return super().event(event)

    def _events(self) -> tuple[tuple[Any, Any], ...]:
        layers, dims = self.viewer.layers.events, self.viewer.dims.events
        lists = (layers.inserted, layers.removed, layers.reordered, layers.renamed)
        moves = (dims.current_step, dims.order, dims.ndim, dims.ndisplay)
        return (
            *((event, self.reset_choices) for event in lists),
            *((event, self.inputs.soon) for event in moves),
            (self.viewer.events.theme, self._theme_changed),
        )

    def _join(self) -> None:
        """Listen to the viewer."""
        if not self.is_joined:
            self.is_joined = True
            for event, slot in self._events():
                event.connect(slot)
            self.inputs.refresh()
            self.inputs.check()

    def _leave(self) -> None:
        """Stop listening; a run under way ends, and its best so far still becomes a layer."""
        if not self.is_joined:
            return
        self.is_joined = False
        for event, slot in self._events():
            event.disconnect(slot)
        self.inputs.unwatch()
        self.stop()

    def _theme_changed(self, event: object = None) -> None:
        self.curves.use_theme(str(self.viewer.theme))
        self._colour(self.message, "error" if self.state == "failed" else "")
        self.update_controls()


def _score(rule: Any) -> tuple[str, str]:
    """Return what a rule scores, and what is said before its first score."""
    name = type(rule).__name__
    if name in UNSCORED:
        return "score", UNSCORED[name]
    score = SCORES.get(name, words(name).lower())
    return score, f"The curve of the {score} appears here"


def progress_text(tick: Tick) -> str:
    """Return where a run is, in words: "840 of about 1,200 · 41 steps/s · 9 s left"."""
    parts = [f"plane {tick.frame + 1:,} of {tick.frames:,}"] if tick.frames > 1 else []
    if tick.phase == "preparing":
        return " · ".join([*parts, "making the pilot" + (f", {tick.prepared:.0%}" if tick.prepared else "")])
    parts.append(f"{tick.step:,} of about {tick.about:,}")
    if tick.phase == "paused":
        return " · ".join([*parts, "paused"])
    if tick.rate > 0:
        parts.append(f"{tick.rate:.0f} steps/s" if tick.rate >= 10 else f"{tick.rate:.1f} steps/s")
    if tick.seconds is not None:
        parts.append(f"{duration(tick.seconds)} left")
    return " · ".join(parts)


def duration(seconds: float) -> str:
    """Return a time in its two largest units: "9 s", "2 min 8 s", "1 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _line(tooltip: str) -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setToolTip(tooltip)
    return label


def _rule() -> QFrame:
    line = QFrame()
    line.setFrameShape(QFrame.Shape.HLine)
    return line


def main_window(widget: QWidget) -> QMainWindow | None:
    """Return the window that a docked widget belongs to, floating or not."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QMainWindow):
        parent = parent.parentWidget()
    return parent
