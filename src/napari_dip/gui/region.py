"""The part of a plane that is restored: all of it, what is seen of it, or a rectangle that a person drew."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pint
from napari.layers import Image, Shapes
from qtpy.QtCore import QTimer, Signal  # type: ignore[attr-defined]

from napari_dip.engine.problem import Array
from napari_dip.gui.layer_combo import LayerCombo, Watch
from napari_dip.gui.layers import Part
from napari_dip.gui.levels import level, to_pixels, to_world

WHOLE, SEEN = "the whole plane", "what is seen of it"
LOOK = 200  # ms between looks at what is seen: napari tells nobody that it has drawn another part


class RegionCombo(LayerCombo):
    """The choice of a part. `moved` comes when the chosen part may have become another."""

    moved = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__(
            Shapes,
            "Restore a part alone, which is sooner: what the window shows, or, drawn in a shapes layer, the selected "
            "rectangle or else the last",
            fixed=(WHOLE, SEEN),
        )
        self.viewer = viewer
        self.watch = Watch(_drawing, self._moved)
        self.corners: list[Any] = []
        self.timer = QTimer(self)
        self.timer.setInterval(LOOK)
        self.timer.timeout.connect(self._look)
        self.currentIndexChanged.connect(self._watch)

    def part(self, layer: Image, plane: tuple[int, ...], align: tuple[int, ...] = (1,)) -> Part:
        """Return the part of a layer, as slices by axis; axes of which all is restored are left out.

        Parameters
        ----------
        layer : Image
        plane : tuple of int
            What of it is shown, see `layers.shown_plane`.
        align : tuple of int
            A part begins and ends at multiples of this, or where the plane ends; see `Task.align`.

        Raises
        ------
        ValueError
            When nothing of the layer is chosen.
        """
        if self.currentText() == WHOLE:
            return {}
        shown = [axis for axis, position in enumerate(plane) if position < 0]
        is_drawn = self.layer is not None
        first, last = _drawn(self.layer, layer, plane) if is_drawn else self._seen(layer)
        shape = level(layer).shape
        found = {}
        for axis, multiple in zip(shown, (align * 2)[-2:], strict=True):
            start, stop = max(math.ceil(first[axis] - 1e-6), 0), min(math.floor(last[axis] + 1e-6) + 1, shape[axis])
            if start >= stop:
                what = f"The rectangle in “{self.layer.name}”" if is_drawn else "What the window shows"
                raise ValueError(f"{what} holds no pixel of “{layer.name}”.")
            start, stop = start // multiple * multiple, min(-(-stop // multiple) * multiple, shape[axis])
            if (start, stop) != (0, shape[axis]):
                found[axis] = slice(start, stop)
        return found

    def _seen(self, layer: Image) -> tuple[Array, Array]:
        """Return the first and the last visible pixel along each axis."""
        if self.viewer.dims.ndisplay == 3 or layer.multiscale:
            where = "In 3-D" if self.viewer.dims.ndisplay == 3 else "Of a multiscale image"
            raise ValueError(f"{where} nobody can tell what is seen of a plane: draw a rectangle in a shapes layer.")
        corners = np.asarray(layer.corner_pixels, float)
        is_hidden = corners[1] <= corners[0]  # napari gives what lies outside of the canvas no extent
        return corners[0], np.where(is_hidden, corners[0] - 1, corners[1])

    def _watch(self, *_: object) -> None:
        """Listen to what the chosen part depends on, and to nothing else."""
        self.unwatch()
        self.watch.turn_to(self.layer)
        if self.currentText() == SEEN:
            self.timer.start()

    def unwatch(self) -> None:
        """Listen to nothing."""
        self.timer.stop()
        self.watch.turn_to(None)

    def _look(self) -> None:
        corners = [layer.corner_pixels.tolist() for layer in self.viewer.layers if type(layer) is Image]
        if corners != self.corners:
            self.corners = corners
            self.moved.emit()

    def _moved(self, *_: object) -> None:
        self.moved.emit()


def _drawing(shapes: Shapes) -> tuple[Any, ...]:
    """Return the events of a rectangle being drawn, moved or selected."""
    events = shapes.events
    moved = (events.scale, events.translate, events.rotate, events.shear, events.affine)
    return (events.data, shapes.selected_data.events.items_changed, *moved)


def _drawn(shapes: Shapes, layer: Image, plane: tuple[int, ...]) -> tuple[Array, Array]:
    """Return the lowest and the highest position along each axis of what is drawn, in pixels of a layer."""
    if not len(shapes.data):
        raise ValueError(f"Draw a rectangle in “{shapes.name}”: that part alone is restored.")
    selected = sorted(shapes.selected_data) or [len(shapes.data) - 1]
    centre = to_world(layer, [max(position, 0) for position in plane])
    corners = []
    for vertex in np.asarray(shapes.data[selected[-1]]):
        point = (np.asarray(shapes.data_to_world(vertex)) * _in_units_of(layer, shapes))[-layer.ndim :]
        corners.append(to_pixels(layer, [*centre[: layer.ndim - len(point)], *point]))
    return np.min(corners, axis=0), np.max(corners, axis=0)


def _in_units_of(layer: Image, shapes: Shapes) -> Array:
    """Return by what positions of a shapes layer are multiplied to be in an image layer's units."""
    factors = np.ones(shapes.ndim)
    for back in range(1, min(layer.ndim, shapes.ndim) + 1):
        own, wanted = shapes.units[-back], layer.units[-back]
        if own.is_compatible_with(wanted):
            factors[-back] = pint.Quantity(1, own).to(wanted).magnitude
    return factors
