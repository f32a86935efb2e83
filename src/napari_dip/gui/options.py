"""The lower settings: where a run computes, what it gives, and, folded away, the prior and the stopping rule."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget
from superqt import QCollapsible

import napari_dip as dip
from napari_dip.engine import devices
from napari_dip.engine.tiles import SMALLEST_TILE
from napari_dip.gui.editors import AutoEdit
from napari_dip.gui.form import DataForm, form

Preset = Literal[tuple(preset.name for preset in dip.PRESETS)]  # type: ignore[valid-type]
Device = Literal[("auto", *devices.available())]  # type: ignore[valid-type]


@dataclass(frozen=True)
class Output:
    """What a run gives, and where it computes.

    Parameters
    ----------
    device : str
        Where the fit runs; auto is the fastest that is there.
    """

    preset: Annotated[
        Preset,  # type: ignore[valid-type]
        {
            "tooltip": "quick: a first look. standard: two fits and a pilot. best: four fits and a pilot, slower. "
            "plain: one fit, no pilot"
        },
    ] = "standard"
    device: Device = "auto"  # type: ignore[valid-type]
    seed: Annotated[int, {"min": 0, "tooltip": "The same seed gives the same result; another one a variation"}] = 0
    as_source: Annotated[
        bool,
        {
            "label": "values in the source's type",
            "tooltip": "Rounded and clipped to the source's data type; else 32-bit floating, in the same units",
        },
    ] = True
    residual: Annotated[
        bool,
        {
            "label": "add the residual",
            "tooltip": "A layer of what was removed, measurement minus estimate: it should look like noise alone",
        },
    ] = False
    saturation: Annotated[
        float | None,
        {
            "none": "as the file says",
            "tooltip": "Values from here on are missing, in the image's units; inf: none is, whatever the file says",
        },
    ] = None
    outliers: Annotated[
        dip.Outliers | None,
        {
            "none": "are left alone",
            "tooltip": "Hot pixels, dead pixels and cosmic rays, sharper than any real spot: flagged and replaced",
        },
    ] = None
    std: Annotated[
        bool,
        {
            "label": "add the standard deviation",
            "tooltip": "A layer of how far each pixel may be off because of the noise; not of what the method loses",
        },
    ] = False
    keep_every: Annotated[
        int,
        {
            "min": 0,
            "step": 50,
            "label": "keep every",
            "unit": "steps",
            "tooltip": "Keep the image at every so many steps in one layer with an iteration slider; 0: none",
        },
    ] = 0


@dataclass(frozen=True)
class Advanced:
    """How the image is fitted, and when the fit ends."""

    stop: Annotated[
        dip.StoppingRule | None,
        {
            "label": "stopping rule",
            "tooltip": "When a fit ends, and which of its steps is kept; auto: the preset's or the task's",
        },
    ] = None
    prior: Annotated[
        dip.Prior | None,
        {"tooltip": "The network, what feeds it, and how it is fitted; auto: the preset's networks and its pilot"},
    ] = None
    tile: Annotated[
        int | None,
        {
            "min": SMALLEST_TILE,
            "label": "tiles of",
            "unit": "px",
            "none": "whatever memory allows",
            "tooltip": "Fit overlapping tiles of this side with a network each; auto: only where memory needs it",
        },
    ] = None


class Options(QWidget):
    """The forms of `Output` and, in a fold, of `Advanced`."""

    def __init__(self) -> None:
        super().__init__()
        self.output: DataForm = form(Output())
        self.advanced: DataForm = form(Advanced())
        self.fold = QCollapsible("Advanced: stopping rule, prior, tiles", expandedIcon="▾", collapsedIcon="▸")
        self.fold.setDuration(0)
        self.fold.toggleButton().setToolTip("Show or hide the settings that need not be touched")
        self.fold.addWidget(self.advanced)
        self.fold.layout().setContentsMargins(0, 0, 0, 0)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.output)
        if warning := devices.unused_gpu():
            column.addWidget(_note(warning))
        column.addWidget(self.fold)

    def values(self) -> dict[str, Any]:
        """Return the settings as the arguments of a `Request`; ValueError where they do not go together."""
        output, advanced = self.output.value, self.advanced.value
        return {
            "preset": output.preset,
            "prior": advanced.prior,
            "stop": advanced.stop,
            "device": output.device,
            "seed": output.seed,
            "dtype": "source" if output.as_source else "float32",
            "keep_every": output.keep_every,
            "tile": advanced.tile,
            "outliers": output.outliers,
        }

    def recall(self, recipe: dip.Recipe, said: float | None = None) -> None:
        """Show the settings that a result was made with; where it computes stays as it is.

        A saturation that is the one that the file of the image says is left to the file.
        """
        saturation = math.inf if recipe.saturation is None else recipe.saturation
        self.output.value = dataclasses.replace(
            self.output.value,
            preset=recipe.preset,
            seed=recipe.seed,
            as_source=recipe.dtype == "source",
            saturation=None if recipe.saturation == said else saturation,
            outliers=recipe.outliers,
            keep_every=recipe.keep_every,
        )
        self.advanced.value = Advanced(recipe.stop, recipe.prior, recipe.tile)

    def reset(self) -> None:
        """Show the settings that there are at first."""
        self.output.value, self.advanced.value = Output(), Advanced()

    def reason(self) -> str | None:
        """Return why these settings cannot be used, in words; None: they can."""
        try:
            self.values()
        except ValueError as error:
            return str(error)
        return None

    def say_saturation(self, said: float | None) -> None:
        """Show what the file of the image says of saturation."""
        editor = self.output.editors["saturation"]
        assert isinstance(editor, AutoEdit)  # noqa: S101  as every field that may be None
        editor.auto.setText(f"the file says {'none' if said is None else f'{said:g}'}")

    def hold_dtype(self, is_colour: bool) -> None:
        """Colours keep their type: a viewer shows integers from 0 to 255, but floating colours from 0 to 1."""
        box = self.output.editors["as_source"]
        box.setEnabled(not is_colour)
        if is_colour:
            box.value = True


def _note(text: str) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    label.setToolTip("Why the graphics card is not used")
    label.setTextInteractionFlags(label.textInteractionFlags() | label.textInteractionFlags().TextSelectableByMouse)
    return label
