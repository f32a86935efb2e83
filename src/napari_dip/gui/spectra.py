"""What frequencies a run has learned: a curve for each band over the steps, and the spectra of the result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QLabel, QStackedLayout, QTabWidget, QWidget

from napari_dip.engine.problem import Array
from napari_dip.gui.plots import BEST, CURVE, ScorePlot, bare_plot, paint, round_values, tell_clicks
from napari_dip.gui.worker import Spectra

COLOURS = {"input": ("#9aa3ad", "#707880"), "output": (CURVE["dark"], CURVE["light"]),
           "residual": ("#8fd18f", "#2e7d32"), "step": (BEST["dark"], BEST["light"])}  # fmt: skip
NYQUIST = 0.5  # cycles per pixel


class BandPlot(QWidget):
    """The amplitude of each frequency band of the averaged output, in units of the measurement's, over the steps."""

    picked = Signal(int)  # the recorded step nearest to a click

    def __init__(self, theme: str = "dark") -> None:
        super().__init__()
        self.plot = bare_plot()
        self.plot.setLabel("bottom", "step")
        self.plot.setLabel("left", "amplitude")
        self.curves: list[pg.PlotDataItem] = []
        self.steps: Array = np.empty(0)
        self.rows: Array = np.empty((0, 0))
        self.mark = pg.InfiniteLine(angle=90, movable=False)
        self.mark.hide()
        self.plot.addItem(self.mark)
        self.pages, self.empty = _pages(self, self.plot, "A curve for each frequency band appears here")
        self.setToolTip(
            "How much of each frequency band of the measurement the averaged output has: coarse bands blue, fine ones "
            "orange. Noise is what makes the fine ones rise late. Click a step for its spectrum"
        )
        tell_clicks(self.plot, self.pick)
        self.use_theme(theme)

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(280, 170)

    def clear(self) -> None:
        self.steps = np.empty(0)
        self.mark.hide()
        self.pages.setCurrentWidget(self.empty)

    def draw(self, steps: Sequence[int], rows: Sequence[Sequence[float]]) -> None:
        """Draw a curve for each band of the rows, (steps, bands)."""
        if len(steps) < 2:  # no line yet
            self.clear()
            return
        if len(steps) == len(self.steps) and steps[-1] == self.steps[-1]:
            return  # a tick without a new row
        self.steps, self.rows = np.array(steps), np.array(rows, float)
        while len(self.curves) < self.rows.shape[1]:
            self.curves.append(self.plot.plot([], []))
            self.use_theme(self.theme)
        for band, curve in enumerate(self.curves):
            known = np.isfinite(self.rows[:, band])
            curve.setData(self.steps[known], self.rows[known, band])
        self.pages.setCurrentWidget(self.plot)

    def pick(self, step: float) -> None:
        """Mark the recorded step nearest to one, and tell of it."""
        if len(self.steps):
            nearest = int(self.steps[np.abs(self.steps - step).argmin()])
            self.mark.setPos(nearest)
            self.mark.show()
            self.picked.emit(nearest)

    def row(self, step: int) -> Array:
        return np.asarray(self.rows[list(self.steps).index(step)])

    def use_theme(self, name: str) -> None:
        self.theme = name
        kind = paint(self.plot, name)
        for band, curve in enumerate(self.curves):
            hue = 0.62 - 0.54 * band / max(1, len(self.curves) - 1)
            curve.setPen(pg.mkPen(pg.hsvColor(hue, 0.7, 0.95 if kind == "dark" else 0.65), width=1.4))
        self.mark.setPen(pg.mkPen(BEST[kind], width=1.2))


class SpectrumPlot(QWidget):
    """Radial power spectra of the input, the output and the residual of the last result, and of a step picked."""

    def __init__(self, theme: str = "dark") -> None:
        super().__init__()
        self.plot = bare_plot()
        self.plot.setLogMode(x=False, y=True)
        self.plot.setLabel("bottom", "cycles per measured pixel")
        self.plot.setLabel("left", "power")
        self.legend = self.plot.addLegend(offset=(-4, 2), labelTextSize="8pt", colCount=2, verSpacing=-6)
        self.curves = {name: self.plot.plot([], [], name=name) for name in COLOURS}
        self.spectra: Spectra | None = None
        self.pages, self.empty = _pages(self, self.plot, "The spectra of input, output and residual appear here")
        self.setToolTip(
            "Mean power of the last result by frequency. White noise is level: where the output falls below the "
            "residual, noise was removed. A step that was clicked among the bands is drawn too"
        )
        self.use_theme(theme)

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(280, 170)

    def clear(self) -> None:
        self.spectra = None
        for curve in self.curves.values():
            curve.setData([], [])
        self.pages.setCurrentWidget(self.empty)

    def draw(self, spectra: Spectra) -> None:
        """Draw the spectra of a result."""
        self.clear()
        self.spectra = spectra
        for name, power in spectra.power.items():
            self._set(name, spectra.frequency[name], power)
        self.pages.setCurrentWidget(self.plot)

    def draw_step(self, step: int, row: Array) -> None:
        """Draw a step's spectrum: its snapshot's if one was kept, else what its recorded bands tell."""
        middles = NYQUIST * (np.arange(len(row)) + 0.5) / len(row)
        if self.spectra is not None and step in self.spectra.steps:
            self._set("step", self.spectra.frequency["output"], self.spectra.steps[step])
        else:  # relative to the measurement, and in its units once that is known
            base = np.ones(len(row))
            if self.spectra is not None:
                base = np.interp(middles, self.spectra.frequency["input"], self.spectra.power["input"])
            self._set("step", middles, row**2 * base)
        self.legend.getLabel(self.curves["step"]).setText(f"step {step:,}")
        self.pages.setCurrentWidget(self.plot)

    def use_theme(self, name: str) -> None:
        kind = paint(self.plot, name)
        for part, (dark, light) in COLOURS.items():
            self.curves[part].setPen(pg.mkPen(dark if kind == "dark" else light, width=1.6))

    def _set(self, name: str, frequency: Array, power: Array) -> None:
        known = np.isfinite(power) & (power > 0)
        self.curves[name].setData(frequency[known], power[known])
        if known.any():
            marks = round_values(float(power[known].min()), float(power[known].max()))
            self.plot.getPlotItem().getAxis("left").setTicks([[(np.log10(mark), f"{mark:.0e}") for mark in marks]])


class Curves(QTabWidget):
    """The score, the bands and the spectra of a run, one behind the other."""

    def __init__(self, score: ScorePlot, theme: str = "dark") -> None:
        super().__init__()
        self.score, self.bands, self.spectra = score, BandPlot(theme), SpectrumPlot(theme)
        for plot, name in ((self.score, "Score"), (self.bands, "Bands"), (self.spectra, "Spectra")):
            self.addTab(plot, name)
        self.setDocumentMode(True)
        self.setMinimumHeight(140)
        self.setMaximumHeight(270)
        self.bands.picked.connect(self._picked)

    def clear(self) -> None:
        self.bands.clear()
        self.spectra.clear()

    def use_theme(self, name: str) -> None:
        for plot in (self.score, self.bands, self.spectra):
            plot.use_theme(name)

    def _picked(self, step: int) -> None:
        self.spectra.draw_step(step, self.bands.row(step))
        self.setCurrentWidget(self.spectra)


def _pages(owner: QWidget, plot: QWidget, words: str) -> tuple[QStackedLayout, QLabel]:
    """Lay a plot out behind words that are said as long as there is nothing to draw."""
    empty = QLabel(words)
    empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
    empty.setWordWrap(True)
    pages = QStackedLayout(owner)
    pages.addWidget(empty)
    pages.addWidget(plot)
    return pages, empty
