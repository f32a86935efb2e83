"""Settings brought back: those that a restored layer was made with, or the defaults."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QAction  # type: ignore[attr-defined]
from qtpy.QtWidgets import QMenu, QPushButton

import napari_dip as dip
from napari_dip.io.record import KEY


class RecallButton(QPushButton):
    """A menu of the layers whose settings can be had. `chosen` comes with a recipe; None: the defaults."""

    chosen = Signal(object)

    def __init__(self, viewer: Any) -> None:
        super().__init__("Settings of…")
        self.viewer = viewer
        self.setToolTip("Set task and settings as for a result that is among the layers, or as they were at first")
        self.offered = QMenu(self)
        self.offered.aboutToShow.connect(self.offer)
        self.setMenu(self.offered)

    def offer(self) -> None:
        """List what there is now."""
        self.offered.clear()
        for name, recipe in recipes(self.viewer.layers).items():
            self._offer(f"“{name}”", recipe)
        self.offered.addSeparator()
        self._offer("The defaults", None)

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
