"""Saved and opened again through napari: pixel size, units and provenance survive."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dip import samples


@pytest.mark.parametrize("name", ["cells.dip.tif", "cells.fits"])
def test_a_layer_saved_in_napari_comes_back_with_its_geometry_and_record(make_napari_viewer, tmp_path, name):
    viewer = make_napari_viewer()
    image = samples.micrograph().image[:20, :30]
    layer = viewer.add_image(
        image, scale=(0.25, 0.5), units=("micrometer", "micrometer"), metadata={"napari-dip": {"seed": 7}}
    )
    assert layer.save(str(tmp_path / name), plugin="napari-dip")
    viewer.layers.clear()
    (again,) = viewer.open(tmp_path / name, plugin="napari-dip")
    assert np.array_equal(again.data, image)
    assert again.data.dtype == image.dtype
    assert np.allclose(again.scale, (0.25, 0.5))
    assert [str(unit) for unit in again.units] == ["micrometer", "micrometer"]
    assert again.metadata["napari-dip"]["seed"] == 7
