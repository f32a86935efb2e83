from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QFileDialog
from small import TINY, fast, picture

import napari_dip as dip
from napari_dip.cli import main
from napari_dip.gui.options import Advanced, Output
from napari_dip.gui.widget import DeepImagePrior
from napari_dip.io import settings

Ends = Callable[..., None]


def choose(widget: DeepImagePrior, text: str) -> None:
    """Choose an entry of the menu of settings."""
    widget.recall_button.offer()
    [action] = [one for one in widget.recall_button.offered.actions() if one.text() == text]
    action.trigger()


def offered(widget: DeepImagePrior) -> list[str]:
    widget.recall_button.offer()
    return [action.text() for action in widget.recall_button.offered.actions() if action.text()]


def test_the_settings_of_a_result_come_back_and_give_the_same_bits(docked: DeepImagePrior, ends: Ends) -> None:
    fast(docked, steps=30)
    docked.options.output.value = Output(preset="best", seed=5, as_source=False, residual=True)
    docked.inputs.task_edit.value = dip.Denoise(noise=dip.Gaussian(10.0))
    docked.run()
    ends(docked)
    choose(docked, "The defaults")
    assert docked.options.output.value == Output()
    assert docked.options.advanced.value == Advanced()
    assert docked.inputs.task_edit.value == dip.Denoise()
    choose(docked, "“cells – denoised”")
    assert docked.options.output.value == Output(preset="best", seed=5, as_source=False)
    assert docked.options.advanced.value == Advanced(stop=dip.FixedSteps(steps=30), prior=TINY)
    assert docked.inputs.task_edit.value == dip.Denoise(noise=dip.Gaussian(10.0))
    docked.run()
    ends(docked)
    layers = docked.viewer.layers
    np.testing.assert_array_equal(layers["cells – denoised"].data, layers["cells – denoised [1]"].data)


def test_what_only_layers_supply_is_named(unplaced: DeepImagePrior, model: ViewerModel, ends: Ends) -> None:
    model.add_image(picture(32, 32), name="cells")
    model.add_labels(np.eye(32, dtype=int), name="holes")
    unplaced.inputs.task_edit.combo.setCurrentText("Inpaint")
    fast(unplaced).run()
    ends(unplaced)
    unplaced.inputs.task_edit.combo.setCurrentText("Denoise")
    choose(unplaced, "“cells – inpainted”")
    assert unplaced.inputs.task_edit.chosen is dip.Inpaint
    assert unplaced.message.text() == "Settings are back; choose yourself: mask."


def test_a_saturation_is_left_to_the_file_where_that_says_the_same(
    unplaced: DeepImagePrior, model: ViewerModel, ends: Ends
) -> None:
    model.add_image(picture(32, 32), name="cells", metadata={"saturation": 270.0})
    fast(unplaced).run()
    ends(unplaced)
    choose(unplaced, "“cells – denoised”")
    assert unplaced.options.output.value.saturation is None
    unplaced.options.output.value = Output(saturation=np.inf)
    unplaced.run()
    ends(unplaced)
    choose(unplaced, "“cells – denoised [1]”")
    assert unplaced.options.output.value.saturation == np.inf


def test_exposures_of_one_scene_are_ticked_again(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(3, 32, 32), name="cells")
    unplaced.inputs.recall(dip.Denoise(frames="T"))
    assert unplaced.inputs.frames.isChecked()
    assert unplaced.inputs.task_edit.value == dip.Denoise()


def test_layers_that_no_run_has_made_are_not_offered(unplaced: DeepImagePrior, model: ViewerModel) -> None:
    model.add_image(picture(32, 32), name="cells")
    model.add_image(picture(32, 32), name="older", metadata={"napari-dip": {"version": "0.0.1"}})
    assert offered(unplaced) == ["A report file…", "The defaults"]


def test_settings_of_the_last_run_are_there_in_the_next_session(
    unplaced: DeepImagePrior, model: ViewerModel, ends: Ends, qtbot: Any
) -> None:
    assert "The last run" not in offered(unplaced)
    model.add_image(picture(32, 32), name="cells")
    fast(unplaced, steps=20)
    unplaced.options.output.value = Output(preset="quick", seed=7)
    unplaced.run()
    ends(unplaced)
    later = DeepImagePrior(ViewerModel())
    qtbot.addWidget(later)
    assert later.options.output.value == Output()  # nothing is set that nobody asked for
    choose(later, "The last run")
    assert later.options.output.value == Output(preset="quick", seed=7)
    assert later.options.advanced.value == Advanced(stop=dip.FixedSteps(steps=20), prior=TINY)


def test_a_run_that_was_stopped_is_not_remembered(
    unplaced: DeepImagePrior, model: ViewerModel, ends: Ends, steps_taken: Any
) -> None:
    model.add_image(picture(32, 32), name="cells")
    fast(unplaced, steps=5000).run()
    steps_taken(unplaced)
    unplaced.stop()
    ends(unplaced)
    assert "The last run" not in offered(unplaced)


def test_a_report_that_the_shell_wrote_sets_the_window(
    unplaced: DeepImagePrior, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out = tmp_path / "noisy.npy", tmp_path / "out.npy"
    report = tmp_path / "report.json"
    np.save(file, picture(32, 32))
    words = ["denoise", file, "-o", out, "--report", report, "--stop", "FixedSteps(steps=2)", "--seed", 9]
    assert main([str(word) for word in words]) == 0
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(report), ""))
    choose(unplaced, "A report file…")
    assert unplaced.options.output.value.seed == 9
    assert unplaced.options.advanced.value.stop == dip.FixedSteps(steps=2)
    report.write_text("{}")
    choose(unplaced, "A report file…")
    assert "no report of a restoration" in unplaced.message.text()
    assert unplaced.options.output.value.seed == 9


def test_settings_that_cannot_be_written_or_read_cost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("")
    monkeypatch.setattr(settings, "place", lambda: occupied / "last-run.json")
    settings.remember({"version": "1", "seed": 0, "settings": {}})
    assert settings.last() is None
    monkeypatch.setattr(settings, "place", lambda: occupied)
    assert settings.last() is None

    occupied.write_text('{"settings": ' + "[" * 600 + "]" * 600 + "}")
    assert settings.last() is None
