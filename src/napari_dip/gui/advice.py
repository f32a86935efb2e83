"""A line that says, before a run, whether an image is suited for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QLabel

import napari_dip as dip
from napari_dip.gui.layers import Origin

LATER = 400  # ms after the last change: not at every step of a slider
SIDE = 512  # px: of a larger plane the middle is looked at, so that the window does not wait


class Advice(QLabel):
    """What `dip.check` says of what is chosen; its hints are in the tooltip."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.hide()
        self.origin: Origin | None = None
        self.timer = QTimer(self)
        self.timer.setSingleShot(True)
        self.timer.setInterval(LATER)
        self.timer.timeout.connect(self.look)

    def about(self, origin: Origin | None) -> None:
        """Look at an image soon; None: at none."""
        self.origin = origin
        self.timer.start()

    def look(self) -> None:
        """Look now. Arrays that are read piece by piece are left alone: that could take long."""
        origin = self.origin
        said = None
        if origin is not None and isinstance(origin.array, np.ndarray):
            try:
                said = dip.check(_middle(origin.read(), origin.axes), origin.axes)
            except (ValueError, TypeError):  # the run would be refused too, and says why
                said = None
        self.setVisible(said is not None)
        if said is not None:
            hints = f" · {len(said.hints)} hint{'s' * (len(said.hints) > 1)}" if said.hints else ""
            self.setText(f"{str(said).capitalize()}{hints}" + "".join(f"\n{sentence}" for sentence in said.against))
            self.setToolTip("\n".join(said.hints) or "Told from the shown plane, in about the time of a blink")


def _middle(values: Any, axes: str) -> Any:
    index: list[Any] = [slice(None)] * values.ndim
    for letter in "YX":
        axis = axes.index(letter)
        first = max(0, (values.shape[axis] - SIDE) // 2)
        index[axis] = slice(first, first + SIDE)
    return values[tuple(index)]
