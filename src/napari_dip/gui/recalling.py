"""Settings brought back: those that a restored layer, a file or the last run was made with, or the defaults."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QAction  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton

import napari_dip as dip
from napari_dip.io import settings
from napari_dip.io.record import KEY


class RecallButton(QPushButton):
    """A menu of what settings can be had of. `chosen` comes with a recipe, None: the defaults; `failed` with words."""

    chosen = Signal(object)
    failed = Signal(str)

    def __init__(self, viewer: Any) -> None:
        super().__init__("Settings of…")
        self.viewer = viewer
        self.setToolTip("Set task and settings as for another result, as for the last run, or as they were at first")
        self.offered = QMenu(self)
        self.offered.aboutToShow.connect(self.offer)
        self.setMenu(self.offered)

    def offer(self) -> None:
        """List what there is now."""
        self.offered.clear()
        for name, recipe in recipes(self.viewer.layers).items():
            self._offer(f"“{name}”", recipe)
        self.offered.addSeparator()
        if (last := settings.last()) is not None:
            self._offer("The last run", last)
        action = QAction("A report file…", self.offered)
        action.triggered.connect(lambda *_: self.open_report())
        self.offered.addAction(action)
        self._offer("The defaults", None)

    def open_report(self) -> None:
        """Ask for a report that the shell wrote, or that was saved from Python."""
        path, _ = QFileDialog.getOpenFileName(self, "Settings of a report", "", "Reports (*.json)")
        if not path:
            return
        try:
            self.chosen.emit(settings.read_recipe(path))
        except (OSError, ValueError) as error:
            self.failed.emit(f"No settings: {error}.")

    def _offer(self, text: str, recipe: dip.Recipe | None) -> None:
        action = QAction(text, self.offered)
        action.triggered.connect(lambda *_: self.chosen.emit(recipe))
        self.offered.addAction(action)


def recipes(layers: Any) -> dict[str, dip.Recipe]:
    """Return what restored layers were made by, the topmost first, by their names."""
    found = {}
    for layer in reversed(layers):
        record = layer.metadata.get(KEY)
        if isinstance(record, dict):
            try:
                found[layer.name] = dip.recipe(record)
            except ValueError:  # of another version
                continue
    return found
