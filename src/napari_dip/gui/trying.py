"""Samples to try a task on: their layers are added, and the task is set."""

from __future__ import annotations

from typing import Any

from napari.layers import Layer
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QAction  # type: ignore[attr-defined]
from qtpy.QtWidgets import QMenu, QPushButton

from napari_dip import samples
from napari_dip.gui.form import words


class SampleButton(QPushButton):
    """A menu of samples, one or more for each task. `chosen` comes with a `samples.Trial`."""

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__("Try on…")
        self.setToolTip("Open a sample, and set the task that it is for: then Run")
        self.offered = QMenu(self)
        for trial in samples.TRIALS:
            self._offer(trial)
        self.setMenu(self.offered)

    def _offer(self, trial: samples.Trial) -> None:
        action = QAction(f"{trial.title}: {words(type(trial.task).__name__).lower()}", self.offered)
        action.triggered.connect(lambda *_: self.chosen.emit(trial))
        self.offered.addAction(action)


def opened(trial: samples.Trial, viewer: Any) -> list[Layer]:
    """Add the layers of a sample to a viewer and return them; the last image is the one to restore."""
    found = [Layer.create(*data) for data in trial.layers()]
    for layer in found:
        viewer.add_layer(layer)
    return found  # what a viewer returns to a plugin is a proxy of a layer
