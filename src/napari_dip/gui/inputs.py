"""The upper part of the dock: which image, which plane of it, which task, and which pixels are missing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QLabel, QWidget

import napari_dip as dip
from napari_dip.engine.problem import Role
from napari_dip.gui.beside import beside, label_values, marked, mismatch
from napari_dip.gui.editors import caption, guard_wheel
from napari_dip.gui.form import CHOICES, ChoiceEdit, Row, image_fields, mask_fields
from napari_dip.gui.layer_combo import LayerCombo, Watch
from napari_dip.gui.layers import (
    FRAMES,
    Origin,
    Part,
    depth,
    describe,
    frames_axis,
    jpeg_tables,
    origin,
    shown_plane,
)
from napari_dip.gui.levels import describe_level, level
from napari_dip.gui.region import WHOLE, RegionCombo

SOON = 60  # ms; changes that come together are looked at once
MANY = 2**24  # values; of more, the window looks at the shown plane alone
NONE = ("none",)  # the entry of a layer that need not be


class Inputs(QWidget):
    """What is restored, from which layers. `changed` comes soon after anything that matters has changed."""

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.viewer = viewer
        self.watch_level, self.watch_labels = Watch(_levels, self.soon), Watch(_painting, self.soon)
        self.is_held = False  # while a run goes on: nothing is counted
        self.saturation: float | None = None  # values from here on are missing; None: as the image's file says
        self.timer = QTimer(self)
        self.timer.setSingleShot(True)
        self.timer.setInterval(SOON)
        self.timer.timeout.connect(self.check)
        self._make()
        self._lay_out()
        self.image.currentIndexChanged.connect(self._image_chosen)
        for box in (self.every, self.volume, self.frames):
            box.toggled.connect(partial(self._ticked, box))
        self.task_edit.changed.connect(self.soon)
        self.region.currentIndexChanged.connect(self.soon)
        self.region.moved.connect(self.soon)
        self.labels.currentIndexChanged.connect(self._labels_chosen)
        self.values.currentIndexChanged.connect(self.soon)
        for combo in self.others.values():
            combo.currentIndexChanged.connect(self.soon)

    def _make(self) -> None:
        self.image = LayerCombo(Image, "The image layer that is restored; it stays as it is")
        self.every = QCheckBox("Every plane in turn")
        self.every.setToolTip("One fit for each plane of the stack, all with one intensity scale; else only the shown")
        self.volume = QCheckBox("As one volume")
        self.volume.setToolTip("One fit in three dimensions: planes help each other, and a PSF may be one of a volume")
        self.frames = QCheckBox("The planes are exposures of one scene")
        self.frames.setToolTip(
            "All positions of the slider, of several that of time, are restored together, to one image: laid upon each "
            "other where they are displaced, values that one alone has left out"
        )
        self.task_edit = ChoiceEdit(CHOICES[dip.Task])
        self.task_edit.column.setContentsMargins(0, 0, 0, 0)
        self.region = RegionCombo(self.viewer)
        self.labels = LayerCombo(Labels, "The labels layer that marks missing pixels: paint what is to be filled")
        self.values = QComboBox()
        self.values.setToolTip("Which values of the labels layer mark missing pixels")
        guard_wheel(self.values)
        self.others = {  # of each task's fields that another image layer supplies
            (task, row.name): LayerCombo(Image, row.tooltip, fixed=NONE if row.options.get("optional") else ())
            for task in self.task_edit.classes
            for row, _ in image_fields(task)
        }
        self.statement = QLabel()
        self.statement.setWordWrap(True)
        self.statement.setToolTip(
            "How many pixels are filled. NaN, infinite and saturated pixels count as missing without a mark"
        )

    def _lay_out(self) -> None:
        grid = self.grid = QFormLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        grid.addRow(caption("Image", self.image.toolTip()), self.image)
        grid.addRow(caption("Region", self.region.toolTip()), self.region)
        grid.addRow(self.every)
        grid.addRow(self.volume)
        grid.addRow(self.frames)
        grid.addRow(caption("Task", "What is done to the image"), self.task_edit.combo)
        grid.addRow(caption("Missing", self.labels.toolTip()), self.labels)
        grid.addRow(caption("Marked by", self.values.toolTip()), self.values)
        grid.addRow(self.statement)
        for task in self.task_edit.classes:
            for row, _ in image_fields(task):
                grid.addRow(caption(row.label, row.tooltip), self.others[task, row.name])
        grid.addRow(self.task_edit)

    # ------------------------------------------------------------------ what is chosen

    @property
    def needs_mask(self) -> bool:
        return bool(mask_fields(self.task_edit.chosen))

    @property
    def plane(self) -> tuple[int, ...] | None:
        """The displayed plane of the image; None: every plane."""
        layer = self.image.layer
        return None if layer is None or self.is_every or self.is_volume else shown_plane(layer, self.viewer.dims)

    @property
    def is_every(self) -> bool:
        layer = self.image.layer
        return layer is not None and layer.ndim > 2 and self.every.isChecked()

    @property
    def is_volume(self) -> bool:
        layer = self.image.layer
        return layer is not None and bool(depth(layer)) and self.volume.isChecked()

    @property
    def frames_axis(self) -> int | None:
        """The axis along which exposures of one scene are said to lie; None: nobody says so."""
        layer = self.image.layer
        if not self.can_have_frames or not self.frames.isChecked():
            return None
        return frames_axis(layer, shown_plane(layer, self.viewer.dims))

    @property
    def can_have_frames(self) -> bool:
        layer = self.image.layer
        return layer is not None and layer.ndim > 2 and self.task_edit.chosen is dip.Denoise

    def origin(self) -> Origin:
        """Return what is restored; there must be an image layer. ValueError where none of it lies in the region."""
        return self._saturated(
            origin(self.image.layer, self.plane, is_volume=self.is_volume, frames=self.frames_axis, part=self.part())
        )

    def shown(self) -> Origin:
        """Return the shown plane of what is restored; there must be an image layer. Errors as of `origin`."""
        return self._saturated(
            origin(self.image.layer, shown_plane(self.image.layer, self.viewer.dims), part=self.part())
        )

    def part(self) -> Part:
        """Return the region of the image layer that is restored, by axis."""
        plane = shown_plane(self.image.layer, self.viewer.dims)
        return self.region.part(self.image.layer, plane, self.task_edit.value.align)

    def _saturated(self, found: Origin) -> Origin:
        if self.saturation is None:
            return found
        return dataclasses.replace(found, saturation=self.saturation if math.isfinite(self.saturation) else None)

    def task(self) -> dip.Task:
        """Return the task, with what the labels layer marks in its mask field, and its other images."""
        spec = self.task_edit.value
        for row in mask_fields(type(spec)):
            if self.labels.layer is not None:
                spec = dataclasses.replace(spec, **{row.name: self.mask()})
        if isinstance(spec, dip.Deblock):
            spec = dataclasses.replace(spec, tables=jpeg_tables(self.image.layer))
        if isinstance(spec, dip.Denoise) and self.frames_axis is not None:
            spec = dataclasses.replace(spec, frames=FRAMES)
        arrays = {row.name: self.other(row, kind) for row, kind in image_fields(type(spec))}
        return dataclasses.replace(spec, **arrays) if arrays else spec  # type: ignore[no-any-return]

    def other(self, row: Row, kind: Role) -> Any:
        """Return the values of the layer that is chosen for a field; None where none is."""
        layer = self.others[self.task_edit.chosen, row.name].layer
        if layer is None:
            return None
        return np.array(level(layer)) if kind is Role.KERNEL else beside(layer, self.origin())

    def mask(self, source: Origin | None = None) -> Any:
        """Return what is marked as missing of what is restored, or of a part of it."""
        return marked(self.labels.layer, source or self.origin(), self.values.currentData())

    def _looked_at(self) -> Origin:
        """Return what the marks are counted in: what is restored, or of much of it the shown plane."""
        source = self.origin()
        is_quick = isinstance(level(self.labels.layer), np.ndarray) and math.prod(source.shape) <= MANY
        return source if is_quick else self.shown()

    def recall(self, task: dip.Task) -> None:
        """Show a task; its masks and other images are what the layers supply."""
        if isinstance(task, dip.Denoise):
            self.frames.setChecked(task.frames is not None)
            task = dataclasses.replace(task, frames=None)
        self.task_edit.value = task

    def take(self, layers: Sequence[Layer]) -> None:
        """Choose among layers: the last image is restored, the first guides it, labels mark what is missing."""
        images = [layer for layer in layers if type(layer) is Image]
        self.image.layer = images[-1]
        for layer in layers:
            if type(layer) is Labels:
                self.labels.layer = layer
        for row, kind in image_fields(self.task_edit.chosen):
            if kind is not Role.KERNEL and images[0] is not images[-1]:
                self.others[self.task_edit.chosen, row.name].layer = images[0]

    # ------------------------------------------------------------------ what is said about it

    def place(self) -> str:
        """Return what a run will restore, in words; empty for a single image."""
        if self.image.layer is None:
            return ""
        source = self.origin()
        region = ""
        if source.region:
            region = "the region of " + " x ".join(f"{stop - start:,}" for start, stop in source.region) + " px"
        return ", ".join(filter(None, [self._planes(), describe_level(self.image.layer), region]))

    def _planes(self) -> str:
        layer = self.image.layer
        if (axis := self.frames_axis) is not None:
            return f"{level(layer).shape[axis]:,} exposures of one scene: one image"
        if layer.ndim == 2 or not (self.is_every or self.is_volume):
            return describe(layer, shown_plane(layer, self.viewer.dims))
        source = self.origin()
        fits = source.fits
        if self.is_volume:
            what = f"volume of {source.shape[source.axes.index('Z')]} planes"
            return f"one {what}" if fits == 1 else f"every {what}: {fits:,} fits"
        return f"every plane: {fits:,} fits" if fits > 1 else "every plane: one fit"

    def reason(self) -> str | None:
        """Return why a run cannot start, in words; None: it can."""
        layer = self.image.layer
        if layer is None:
            return "Open an image first: there is no image layer to restore."
        dtype = np.dtype(layer.dtype)
        if dtype.kind == "c":
            return f"“{layer.name}” is complex: restore its real part, imaginary part or magnitude."
        try:
            task = self.task_edit.value
            self.origin().layout.finer(task.factors)
            if reason := self._other_reason(layer, task):
                return reason
        except ValueError as error:
            return str(error)
        return self._mask_reason(layer) if self.needs_mask and not self.is_held else None

    def _other_reason(self, layer: Image, task: dip.Task) -> str | None:
        """Return why another image that the task takes will not do; ValueError where the task itself says so."""
        for row, kind in image_fields(type(task)):
            combo = self.others[type(task), row.name]
            if combo.layer is None and not combo.fixed:
                return f"Open the {row.label.lower()} too, as an image layer of its own. {row.tooltip}."
            if combo.layer is None:
                continue
            if kind is Role.KERNEL:
                dataclasses.replace(task, **{row.name: self.other(row, kind)})  # type: ignore[type-var]
            elif reason := mismatch(combo.layer, layer, shown_plane(layer, self.viewer.dims), task.factors):
                return f"{reason}."
        return None

    def _mask_reason(self, layer: Image) -> str | None:
        labels = self.labels.layer
        if labels is None:
            if self._has_colour or _may_have_unknown(self.origin()):
                return None
            return "Nothing is marked as missing: add a labels layer and paint what is to be filled."
        if reason := mismatch(labels, layer, shown_plane(layer, self.viewer.dims)):
            return f"{reason}."
        looked_at = self._looked_at()
        if looked_at.index != self.origin().index:  # the run looks at the rest
            return None
        mask = self.mask(looked_at)
        if not mask.any() and not self._has_colour and not _may_have_unknown(looked_at):
            return f"Nothing is painted in “{labels.name}”{self._here}: paint what is to be filled."
        return f"All of the image is marked as missing by “{labels.name}”." if mask.all() else None

    @property
    def _has_colour(self) -> bool:
        """Whether a colour marks missing pixels; how many they are is told by the run."""
        spec = self.task_edit.value
        return isinstance(spec, dip.Inpaint) and spec.colour is not None

    @property
    def _here(self) -> str:
        if self.region.currentText() != WHOLE:
            return " in the region"
        layer = self.image.layer
        whole = self.is_every or self.is_volume
        return " on this plane" if layer is not None and layer.ndim > 2 and not whole else ""

    def _ticked(self, box: QCheckBox, is_on: bool) -> None:
        """Take the tick from the boxes that a ticked one excludes."""
        if is_on:
            for other in {self.every, self.volume, self.frames} - {box}:
                other.setChecked(False)
        self.soon()

    def soon(self, *_: object) -> None:
        """Look at everything again once the present changes are over."""
        self.timer.start()

    def check(self) -> None:
        """Bring what is shown up to date with what is chosen, now."""
        self.timer.stop()
        layer = self.image.layer
        self.grid.setRowVisible(self.every, layer is not None and layer.ndim > 2)
        self.grid.setRowVisible(self.volume, layer is not None and bool(depth(layer)))
        self.grid.setRowVisible(self.frames, self.can_have_frames)
        for widget in (self.labels, self.values, self.statement):
            self.grid.setRowVisible(widget, self.needs_mask)
        for (task, _), combo in self.others.items():
            self.grid.setRowVisible(combo, task is self.task_edit.chosen)
        if self.needs_mask and not self.is_held:
            self._offer_values()
            self.statement.setText(self._count())
        self.changed.emit()

    def _count(self) -> str:
        layer, labels = self.image.layer, self.labels.layer
        if layer is None or labels is None or mismatch(labels, layer, shown_plane(layer, self.viewer.dims)):
            return "Pixels that are NaN, infinite or saturated are filled."
        try:
            looked_at = self._looked_at()
        except ValueError as error:  # nothing lies in the region
            return str(error)
        mask = self.mask(looked_at)
        count = int(np.count_nonzero(mask))
        where = "" if looked_at.index == self.origin().index else " of the shown plane"
        return f"{count:,} of {mask.size:,} pixels{where} ({count / mask.size:.1%}) are missing."

    def _offer_values(self) -> None:
        """List the label values that there are, and keep the choice, wherever that is painted."""
        labels, chosen = self.labels.layer, self.values.currentData()
        used = label_values(labels, self.viewer.dims) if labels is not None else []
        if labels is not None and chosen and chosen not in used:
            used = sorted([*used, chosen])
        offered = [(None, "every value except 0"), *[(value, f"value {value} only") for value in used]]
        offered.append((0, "value 0, the unpainted"))
        if [self.values.itemData(i) for i in range(self.values.count())] == [value for value, _ in offered]:
            return
        self.values.blockSignals(True)
        self.values.clear()
        for value, text in offered:
            self.values.addItem(text, value)
        known = [value for value, _ in offered]
        self.values.setCurrentIndex(known.index(chosen) if chosen in known else 0)
        self.values.blockSignals(False)

    # ------------------------------------------------------------------ layers come and go

    def refresh(self) -> None:
        """Take in that the layer list has changed."""
        self.image.refresh(self.viewer.layers)
        self.labels.refresh(self.viewer.layers)
        self.region.refresh(self.viewer.layers)
        self._refresh_others()

    def _refresh_others(self, *_: object) -> None:
        for combo in self.others.values():
            combo.refresh(self.viewer.layers, but=self.image.layer)

    def _image_chosen(self, *_: object) -> None:
        self.watch_level.turn_to(self.image.layer)
        self._refresh_others()
        self.soon()

    def _labels_chosen(self, *_: object) -> None:
        """Listen to what is painted into the chosen labels layer, and to no other."""
        labels = self.labels.layer
        if self.watch_labels.layer() is not labels:
            self.values.clear()  # another layer's
        self.watch_labels.turn_to(labels)
        self.soon()

    def unwatch(self) -> None:
        """Listen to no layer any more."""
        self.region.unwatch()
        for watch in (self.watch_level, self.watch_labels):
            watch.turn_to(None)


def _levels(image: Image) -> tuple[Any, ...]:
    """Return the event of another level being chosen; napari before 0.9 has none."""
    event = getattr(image.events, "locked_data_level", None)
    return () if event is None else (event,)


def _painting(labels: Labels) -> tuple[Any, ...]:
    events = labels.events
    moved = (events.scale, events.translate, events.rotate, events.shear, events.affine)
    return (events.data, events.paint, events.labels_update, *moved)


def _may_have_unknown(source: Origin) -> bool:
    """Return whether some pixel of the image is not finite or saturated, which marks it as missing by itself.

    True also where to look would take long: the run says it then.
    """
    if not isinstance(source.array, np.ndarray) or math.prod(source.shape) > MANY:
        return True
    values = np.asarray(source.read())
    if source.saturation is not None and bool((values >= source.saturation).any()):
        return True
    return source.dtype.kind == "f" and not bool(np.isfinite(values).all())
