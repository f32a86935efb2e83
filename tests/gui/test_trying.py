"""Samples: one entry opens one with its task set, and Run restores it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from small import fast

import napari_dip as dip
from napari_dip import samples
from napari_dip.gui.widget import DeepImagePrior

Ends = Callable[..., None]


def test_every_task_has_a_sample() -> None:
    assert {type(trial.task) for trial in samples.TRIALS} == {
        dip.Denoise, dip.Inpaint, dip.SuperResolve, dip.Guided, dip.Deconvolve, dip.Deblock, dip.Enhance,
    }  # fmt: skip
    assert len(samples.TRIALS) == len(samples.SAMPLES)


@pytest.mark.parametrize("place", range(len(samples.TRIALS)), ids=lambda place: samples.TRIALS[place].title)
def test_two_clicks_lead_to_a_run_of_the_right_task(docked: DeepImagePrior, ends: Ends, place: int) -> None:
    trial = samples.TRIALS[place]
    docked.sample_button.offered.actions()[place].trigger()
    assert repr(docked.inputs.task_edit.value) == repr(trial.task)
    assert docked.run_button.isEnabled(), docked.message.text()
    fast(docked, steps=1)
    docked.run_button.click()
    ends(docked)
    image = [about["name"] for _, about, kind in trial.layers() if kind == "image"][-1]
    assert docked.session is not None
    assert any(name.startswith(f"{image} – {trial.task.done}") for name in (one.name for one in docked.viewer.layers))


def test_the_docks_own_way_into_a_viewer_does_too(make_napari_viewer: Any) -> None:
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-dip", "Deep image prior")
    widget.sample_button.offered.actions()[4].trigger()
    assert widget.inputs.image.layer is viewer.layers["portrait, no flash"]
    assert widget.inputs.others[dip.Guided, "guide"].layer is viewer.layers["with flash"]
    assert widget.run_button.isEnabled(), widget.message.text()
