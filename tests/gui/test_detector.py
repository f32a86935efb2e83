"""A FITS file in the dock: what its header says of saturation and of the sky holds for the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from small import TINY, fast, picture

import napari_dip as dip
from napari_dip.gui.layers import origin
from napari_dip.gui.outputs import Outputs
from napari_dip.gui.widget import DeepImagePrior
from napari_dip.io.viewer import read_layers, write_image

STAR = (slice(10, 13), slice(20, 23))
HEADER = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRPIX1": 10.0,
    "CRPIX2": 12.0,
    "CRVAL1": 150.0,
    "CRVAL2": 2.0,
    "CDELT1": -1e-4,
    "CDELT2": 1e-4,
    "OBJECT": "M31",
    "SATURATE": 60_000.0,
}


@pytest.fixture
def sky(unplaced: DeepImagePrior, model: ViewerModel, tmp_path: Path) -> Any:
    """The layer of a FITS file with a saturated star, in a dock that is set to a small fit."""
    values = picture(32, 32)
    values[STAR] = 65_000
    fits.PrimaryHDU(values, fits.Header(HEADER)).writeto(tmp_path / "sky.fits")
    layer = model.add_layer(Layer.create(*read_layers(str(tmp_path / "sky.fits"))[0]))
    fast(unplaced)
    return layer


def test_saturated_pixels_of_a_file_influence_nothing_and_come_back_as_they_were(
    unplaced: DeepImagePrior, model: ViewerModel, sky: Any, ends: Any
) -> None:
    results = []
    for value in (65_000, 61_000):
        sky.data[STAR] = value
        unplaced.run()
        ends(unplaced)
        results.append(model.layers[-1].data.copy())
        assert (results[-1][STAR] == value).all()
        assert model.layers[-1].metadata["napari-dip"]["settings"]["saturation"] == 60_000
        results[-1][STAR] = 0
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(("asked", "used"), [("200", 200), ("inf", None)])
def test_what_the_dock_says_of_saturation_counts_before_the_file(
    unplaced: DeepImagePrior, sky: Any, asked: str, used: float | None
) -> None:
    editor = unplaced.options.output.editors["saturation"]
    assert editor.auto.text() == "the file says 60000"  # type: ignore[attr-defined]
    assert unplaced.inputs.origin().saturation == 60_000
    editor.value = float(asked)
    unplaced.inputs.check()
    assert unplaced.inputs.origin().saturation == used


def test_saturated_pixels_need_no_labels_to_be_filled_and_a_layer_says_which_they_are(
    unplaced: DeepImagePrior, model: ViewerModel, sky: Any, ends: Any
) -> None:
    unplaced.inputs.task_edit.value = dip.Inpaint()
    unplaced.inputs.check()
    assert unplaced.run_button.isEnabled()
    unplaced.run()
    ends(unplaced)
    restored, filled = model.layers["sky – inpainted"], model.layers["sky – filled"]
    assert restored.data[STAR].max() < 60_000
    assert isinstance(filled, Labels)
    assert filled.data[STAR].all()
    assert filled.data.sum() == 9
    assert not filled.visible
    assert "sky – filled" in unplaced.message.text()
    assert unplaced.inputs.labels.layer is None  # of another image it would be the wrong mask
    assert unplaced.inputs.labels.findText("sky – filled") == 0


def test_a_restored_layer_keeps_the_header_when_it_is_saved(
    unplaced: DeepImagePrior, model: ViewerModel, sky: Any, ends: Any, tmp_path: Path
) -> None:
    unplaced.options.output.editors["residual"].value = True
    unplaced.run()
    ends(unplaced)
    for name in ("sky – denoised", "sky – residual"):
        values, attributes, _ = model.layers[name].as_layer_data_tuple()
        write_image(str(tmp_path / "out.fits"), values, attributes)
        header = fits.getheader(tmp_path / "out.fits")
        assert {key: header.get(key) for key in HEADER} == HEADER


def test_smaller_pixels_do_not_get_the_header_of_larger_ones(sky: Any) -> None:
    result = dip.restore(sky.data, dip.SuperResolve(2), TINY, dip.FixedSteps(2))
    layer = Outputs(ViewerModel().layers, origin(sky, None), "super-resolved").finish(result)
    assert list(layer.metadata) == ["napari-dip"]


def test_another_amount_of_an_enhancement_leaves_the_header_there(sky: Any) -> None:
    task = dip.Enhance()
    result = dip.restore(sky.data, task, TINY, dip.FixedSteps(2))
    outputs = Outputs(ViewerModel().layers, origin(sky, None), "enhanced")
    layer = outputs.finish(result)
    before = set(layer.metadata)
    outputs.adjust(result, dip.Enhance(amount=task.amount + 1))
    assert set(layer.metadata) == before > {"napari-dip"}


def test_a_layer_whose_metadata_say_something_else_of_saturation_has_none(qapp: Any) -> None:
    assert origin(Image(picture(32, 32), metadata={"saturation": "much"}), None).saturation is None


def test_flagged_outliers_are_one_layer_not_two(qapp: Any) -> None:
    values = picture(32, 32)
    values[9, 7] = 60_000
    result = dip.restore(values, None, TINY, dip.FixedSteps(2), outliers=dip.Outliers(fwhm=2.0))
    assert result.filled is not None
    layers = ViewerModel().layers
    Outputs(layers, origin(Image(values, name="cells"), None), "denoised").finish(result)
    assert [layer.name for layer in layers] == ["cells – outliers", "cells – denoised"]


def test_kept_steps_are_found_when_their_layer_is_saved_and_opened(
    unplaced: DeepImagePrior, model: ViewerModel, sky: Any, ends: Any, tmp_path: Path
) -> None:
    unplaced.options.output.editors["keep_every"].value = 5
    unplaced.run()
    ends(unplaced)
    layer = model.layers["sky – iterations"]
    assert layer.metadata["steps"] == [5, 10, 15, 20]
    values, attributes, _ = layer.as_layer_data_tuple()
    write_image(str(tmp_path / "out.dip.tif"), values, attributes)
    assert read_layers(str(tmp_path / "out.dip.tif"))[0][1]["metadata"]["steps"] == [5, 10, 15, 20]
