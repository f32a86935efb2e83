"""The demo's window: a noisy sample, a fit that starts by itself, and its results to play with."""

from __future__ import annotations

import napari
from napari.layers import Layer

import napari_dip as dip
from napari_dip import samples
from napari_dip.gui.options import Advanced, Output
from napari_dip.gui.widget import DeepImagePrior


def show(*, seed: int, device: str, keep_every: int, max_steps: int | None) -> int:
    """Open the demo and return 0 when its window is closed."""
    viewer = napari.Viewer(title="napari-dip: the demo")
    start(viewer, seed=seed, device=device, keep_every=keep_every, max_steps=max_steps)
    napari.run()
    return 0


def start(viewer: napari.Viewer, *, seed: int, device: str, keep_every: int, max_steps: int | None) -> DeepImagePrior:
    """Add the sample and the dock to a viewer, and press Run; return the dock's widget."""
    for layer in samples.micrograph_layers():
        viewer.add_layer(Layer.create(*layer))
    _, widget = viewer.window.add_plugin_dock_widget("napari-dip", "Deep image prior")
    widget.options.output.value = Output(device=device, seed=seed, keep_every=keep_every)
    if max_steps is not None:
        widget.options.advanced.value = Advanced(stop=dip.FixedSteps(max_steps))
    widget.run()
    return widget  # type: ignore[no-any-return]
