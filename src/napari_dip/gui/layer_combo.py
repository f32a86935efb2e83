"""A choice among the layers of one kind, which layers may enter, leave and be renamed under."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

from napari.layers import Labels, Layer
from qtpy.QtWidgets import QComboBox

from napari_dip.gui.editors import guard_wheel
from napari_dip.io.record import KEY


class LayerCombo(QComboBox):
    """The layers of one kind, after entries that stand for no layer; keeps its choice while the list changes."""

    def __init__(self, kind: type[Layer], tooltip: str, *, fixed: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.kind, self.fixed = kind, fixed
        self.refs: list[Callable[[], Layer | None]] = []
        self.setToolTip(tooltip)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        guard_wheel(self)

    @property
    def layer(self) -> Any:
        """The chosen layer, or None."""
        index = self.currentIndex()
        return self.refs[index]() if 0 <= index < len(self.refs) else None

    @layer.setter
    def layer(self, layer: Layer) -> None:
        self.setCurrentIndex([one() for one in self.refs].index(layer))

    def refresh(self, layers: Any, but: Layer | None = None) -> None:
        """Show the layers of a list but for one, the topmost first; a choice that is gone gives way to another."""
        chosen, entry = self.layer, self.currentIndex()
        found = [layer for layer in reversed(layers) if type(layer) is self.kind and layer is not but]
        self.blockSignals(True)
        self.clear()
        self.refs = [_nothing] * len(self.fixed) + [ref(layer) for layer in found]
        self.addItems([*self.fixed, *(layer.name for layer in found)])
        self.blockSignals(False)
        if chosen in found:
            self.layer = chosen
        elif self.fixed:
            self.setCurrentIndex(entry if 0 <= entry < len(self.fixed) else 0)
        else:
            self._choose_first(found, layers.selection.active)
        self.currentIndexChanged.emit(self.currentIndex())

    def _choose_first(self, found: list[Layer], active: Layer | None) -> None:
        """Choose the active layer, or the topmost that is not a run's own marks."""
        others = [layer for layer in found if self.kind is not Labels or KEY not in layer.metadata]
        wanted = [layer for layer in (active,) if layer in found] + others
        if wanted:
            self.layer = wanted[0]
        else:
            self.setCurrentIndex(-1)


def _nothing() -> None:
    """Stand for the layer of an entry that is none."""


class Watch:
    """Lets a slot hear of some events of one layer at a time."""

    def __init__(self, events: Callable[[Any], tuple[Any, ...]], slot: Callable[..., None]) -> None:
        self.events, self.slot = events, slot
        self.layer: Callable[[], Layer | None] = _nothing

    def turn_to(self, layer: Layer | None) -> None:
        """Hear of this layer and no longer of the one before; None: of none."""
        if (before := self.layer()) is not None:
            for event in self.events(before):
                event.disconnect(self.slot)
        self.layer = _nothing if layer is None else ref(layer)
        if layer is not None:
            for event in self.events(layer):
                event.connect(self.slot)
