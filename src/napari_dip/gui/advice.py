"""Lines that say, before a run, whether an image is suited for it, and how much memory it will take."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QLabel

import napari_dip as dip
from napari_dip.gui.layers import Origin

LATER = 400  # ms after the last change: not at every step of a slider
SIDE = 512  # px: of a larger plane the middle is looked at, so that the window does not wait


class Line(QLabel):
    """A line that is made a little after what it is about was chosen; hidden while it says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.hide()
        self.timer = QTimer(self)
        self.timer.setSingleShot(True)
        self.timer.setInterval(LATER)
        self.timer.timeout.connect(self.look)

    def look(self) -> None:
        raise NotImplementedError


class Need(Line):
    """How much memory a run would take, and how much is free."""

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip("What a run takes is told from its networks before it starts; too much is fitted in tiles")
        self.origin: Origin | None = None
        self.settings: dict[str, Any] = {}

    def about(self, origin: Origin | None, **settings: Any) -> None:
        """Say soon what an image needs with these settings of `dip.memory_plan`; None: nothing."""
        self.origin, self.settings = origin, settings
        self.timer.start()

    def look(self) -> None:
        said = ""
        if self.origin is not None:
            try:
                plan = dip.memory_plan(
                    self.origin,
                    axes=self.origin.axes,
                    each=self.origin.each,
                    spacing=self.origin.spacing,
                    **self.settings,
                )
                said = f"Memory: {plan}"
            except (ValueError, TypeError):  # the run would be refused too, and says why
                said = ""
        self.setText(said)
        self.setVisible(bool(said))


class Advice(Line):
    """What `dip.check` says of a plane; its hints are in the tooltip."""

    def __init__(self) -> None:
        super().__init__()
        self.origin: Origin | None = None

    def about(self, origin: Origin | None) -> None:
        """Look at a plane soon; None: at none."""
        self.origin = origin
        self.timer.start()

    def look(self) -> None:
        """Look now. Arrays that are read piece by piece are left alone: that could take long."""
        origin = self.origin
        said = None
        if origin is not None and isinstance(origin.array, np.ndarray):
            try:
                values = _middle(origin.read(), origin.axes)
                said = dip.check(values, origin.axes, saturation=origin.saturation)
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
