"""The demo in a real window."""

from __future__ import annotations

from napari_dip.gui import demo


def test_the_demo_leaves_the_restored_layer_and_the_iterations(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    widget = demo.start(viewer, seed=0, device="cpu", keep_every=2, max_steps=6)
    qtbot.waitUntil(lambda: widget.state in ("finished", "failed"), timeout=60_000)
    assert widget.state == "finished"
    kept = {layer.name: layer.data.shape for layer in viewer.layers}
    assert len(kept) == 3
    assert (3, 256, 256) in kept.values()
    assert "cell, dim light – denoised" in kept
