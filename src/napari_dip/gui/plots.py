"""The live curve of a stopping rule's score, with the step that is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from napari.utils.theme import get_theme
from qtpy.QtCore import QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QLabel, QSizePolicy, QStackedLayout, QWidget

CURVE = {"dark": "#7fb2ff", "light": "#1f5fbf"}
BEST = {"dark": "#ffb14a", "light": "#c25e00"}


class ScorePlot(QWidget):
    """Score over steps; lower is better. Empty, with the reason, for rules that give no score."""

    picked = Signal(float)  # the step of a click

    def __init__(self, theme: str = "dark") -> None:
        super().__init__()
        self.plot = bare_plot()
        self.plot.setLogMode(x=False, y=True)
        self.plot.setLabel("bottom", "step")
        self.curve = self.plot.plot([], [])
        self.best = pg.InfiniteLine(angle=90, movable=False, label="", labelOpts={"position": 0.88})
        self.best.hide()
        self.plot.addItem(self.best)
        tell_clicks(self.plot, self.picked.emit)
        self.empty = QLabel()
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.empty.setWordWrap(True)
        self.pages = QStackedLayout(self)
        self.pages.addWidget(self.empty)
        self.pages.addWidget(self.plot)
        self.setMinimumHeight(110)
        self.setMaximumHeight(240)
        self.expect("score", "The curve of the score appears here")
        self.use_theme(theme)

    def expect(self, name: str, empty: str) -> None:
        """Say what is scored, and what is said as long as there is no score."""
        self.clear()
        self.empty.setText(empty)
        self.setToolTip(
            f"{name.capitalize()} over the steps: lower is better. The marked step is the result so far. "
            "Click a step to see it where iterations were kept"
        )
        self.plot.setLabel("left", name)

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(280, 170)  # pyqtgraph would ask for 640 x 480

    def clear(self) -> None:
        self.curve.setData([], [])
        self.best.hide()
        self.pages.setCurrentWidget(self.empty)

    def draw(self, steps: Sequence[int], scores: Sequence[float], best_step: int) -> None:
        """Draw the scores of a fit and mark the best step."""
        x, y = np.array(steps), np.array(scores)
        known = np.isfinite(y) & (y > 0)
        if not known.any():
            self.clear()
            return
        self.curve.setData(x[known], y[known])
        ticks = [
            (np.log10(value), f"{value:g}") for value in round_values(float(y[known].min()), float(y[known].max()))
        ]
        self.plot.getPlotItem().getAxis("left").setTicks([ticks])
        self.best.setPos(best_step)
        self.best.label.setFormat(f"best: {best_step:,}")
        self.best.label.setAnchor((1, 0.5) if best_step > 0.6 * x[-1] else (0, 0.5))
        self.best.show()
        self.pages.setCurrentWidget(self.plot)

    def use_theme(self, name: str) -> None:
        """Take the colours of a napari theme."""
        kind = paint(self.plot, name)
        self.curve.setPen(pg.mkPen(CURVE[kind], width=1.6))
        self.best.setPen(pg.mkPen(BEST[kind], width=1.2))
        self.best.label.setColor(BEST[kind])


def bare_plot() -> pg.PlotWidget:
    """Return a plot that cannot be dragged about, and that takes the room it is given."""
    plot = pg.PlotWidget()
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(x=False, y=False)
    plot.hideButtons()
    plot.getPlotItem().setContentsMargins(0, 6, 8, 4)
    for side in ("left", "bottom"):
        plot.getPlotItem().getAxis(side).enableAutoSIPrefix(False)
    plot.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
    return plot


def tell_clicks(plot: pg.PlotWidget, tell: Callable[[float], None]) -> None:
    """Tell of every click into a plot, by its position along the lower axis."""

    def clicked(event: Any) -> None:
        if plot.getPlotItem().sceneBoundingRect().contains(event.scenePos()):
            tell(plot.getPlotItem().vb.mapSceneToView(event.scenePos()).x())

    plot.scene().sigMouseClicked.connect(clicked)


def paint(plot: pg.PlotWidget, name: str) -> str:
    """Give a plot the colours of a napari theme; return whether that is "dark" or "light"."""
    theme = get_theme(name)
    text = theme.text.as_hex()
    plot.setBackground(theme.background.as_hex())
    for side in ("left", "bottom"):
        axis = plot.getPlotItem().getAxis(side)
        axis.setPen(text)
        axis.setTextPen(text)
    return "light" if theme.type == "light" else "dark"


def round_values(lowest: float, highest: float) -> list[float]:
    """Return two to five round values between two, for the marks of a logarithmic axis."""
    decades = range(math.floor(math.log10(lowest)) - 1, math.ceil(math.log10(highest)) + 1)
    for mantissas in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        values = [float(f"{m}e{e}") for e in decades for m in mantissas if lowest <= m * 10.0**e <= highest]
        if len(values) >= 2:
            return values[:: math.ceil(len(values) / 5)]
    return [float(f"{value:.3g}") for value in (lowest, highest)]
