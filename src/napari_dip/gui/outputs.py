"""The layers that a run gives: a preview that becomes the restored layer, and what else was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from napari.layers import Image, Labels

import napari_dip as dip
from napari_dip.engine.problem import Array
from napari_dip.gui.layers import Origin, leading_unit
from napari_dip.io.record import KEY

AnyLayer = TypeVar("AnyLayer", Image, Labels)


@dataclass(eq=False)
class Outputs:
    """What one run adds to a viewer.

    Parameters
    ----------
    layers : LayerList
        Of the viewer; the list may change in any way while the run goes on.
    origin : Origin
        What is restored.
    done : str
        What was done to it, for the name: "denoised".
    wants_residual : bool
        Whether measurement minus estimate becomes a layer.
    wants_std : bool
        Whether the standard deviation becomes a layer, where there is one.
    """

    layers: Any
    origin: Origin
    done: str
    wants_residual: bool = False
    wants_std: bool = False

    def __post_init__(self) -> None:
        self.preview: Image | None = None
        self.iterations: Image | None = None
        self.canvas: Array | None = None
        self.was_shown = False
        self.hidden: list[str] = []

    @property
    def name(self) -> str:
        return f"{self.origin.name} – {self.done}"

    def show(self, where: tuple[Any, ...], image: Array) -> None:
        """Write a frame's newest output into the preview, which is added the first time and then updated in place."""
        if self.canvas is None:
            return
        self.canvas[where] = image
        if self.preview is not None and self.preview in self.layers:
            self.preview.refresh()
        elif not self.was_shown:  # a person who removes the preview does not want it back before the end
            self.preview = self._add(self.origin.layer(self.canvas, self.name, {}))
            self.was_shown = True

    def finish(self, result: dip.Restoration) -> Image:
        """Turn the preview into the restored layer, or add that; and add what else was asked for."""
        record = result.report()
        metadata = self.origin.metadata(record, result.image.shape)
        own = self.origin.metadata(record, self.origin.shape)  # of what has the source's pixels in any case
        if self.preview is not None and self.preview in self.layers:
            self.preview.data = self.origin.expand(result.image)
            self.preview.metadata = metadata
        else:
            self.preview = self._add(self.origin.layer(result.image, self.name, metadata))
        unit = leading_unit(self.layers, len(self.origin.transform["scale"]) + 1)
        if result.stack is not None:
            kept = list(result.steps)
            steps = {**metadata, "steps": kept, KEY: {**metadata[KEY], "steps": kept}}
            name = f"{self.origin.name} – iterations"
            self.iterations = self.origin.stack(result.stack, result.steps, name, metadata=steps, unit=unit)
            self._hide(self.iterations)
        if self.wants_residual:
            name = f"{self.origin.name} – residual"
            self._hide(self.origin.residual(result.residual, name, metadata=own, unit=unit))
        if self.wants_std and result.std is not None:
            name = f"{self.origin.name} – standard deviation"
            says = {**metadata, KEY: {**metadata[KEY], "says": record["std"]["says"]}}
            self._hide(self.origin.std(result.std, name, metadata=says, unit=unit))
        if result.outliers is not None:
            self._hide(self.origin.mask(result.outliers, f"{self.origin.name} – outliers", metadata=own))
        if result.filled is not None and not _are_same(result.filled, result.outliers):
            self._hide(self.origin.mask(result.filled, f"{self.origin.name} – filled", metadata=metadata))
        self.canvas = None
        return self.preview

    def adjust(self, result: dip.Restoration, task: dip.Enhance) -> None:
        """Show an enhancement with another amount in the restored layer, if that is still there."""
        if self.preview is None or self.preview not in self.layers:
            return
        record = self.preview.metadata[KEY]
        settings = dict(record["settings"])
        settings["task"] = {**settings["task"], "amount": task.amount}
        settings["asked"] = {**settings["asked"], "task": {**settings["asked"]["task"], "amount": task.amount}}
        self.preview.data = self.origin.expand(task.applied(result))
        self.preview.metadata = {**self.preview.metadata, KEY: {**record, "settings": settings}}

    def look(self, *, at_iterations: bool) -> None:
        """Let the kept outputs be seen, or the restored layer that lies above them."""
        for layer, is_seen in ((self.iterations, at_iterations), (self.preview, not at_iterations)):
            if layer is not None and layer in self.layers:
                layer.visible = is_seen

    def use(self, result: dip.Restoration) -> bool:
        """Let another result of the run be the restored layer; False: that layer is gone."""
        if self.preview is None or self.preview not in self.layers:
            return False
        self.preview.data = self.origin.expand(result.image)
        self.preview.metadata = self.origin.metadata(result.report(), result.image.shape)
        self.look(at_iterations=False)
        return True

    @property
    def record(self) -> dict[str, Any]:
        """How the restored layer came about; empty before there is one."""
        return {} if self.preview is None else dict(self.preview.metadata.get(KEY, {}))

    def drop(self) -> None:
        """Remove the preview of a run that gave nothing."""
        if self.preview is not None and self.preview in self.layers:
            self.layers.remove(self.preview)
        self.preview = self.canvas = None

    def _hide(self, layer: Image | Labels) -> None:
        """Add a layer below the restored one, which is what a person wants to see first."""
        self._add(layer, self.layers.index(self.preview))
        layer.visible = False  # only now, so that it has a thumbnail
        self.hidden.append(layer.name)

    def _add(self, layer: AnyLayer, index: int | None = None) -> AnyLayer:
        """Add a layer, above the others if not told where; the selection stays with the person's layer."""
        selected = set(self.layers.selection)
        self.layers.insert(len(self.layers) if index is None else index, layer)
        kept = {one for one in selected if one in self.layers}
        if kept:
            self.layers.selection = kept
        return layer


def _are_same(marks: Array, others: Array | None) -> bool:
    return others is not None and np.array_equal(marks, others)
