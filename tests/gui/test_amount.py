"""An enhancement in the dock: another amount acts on its layer, without another run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from small import picture

import napari_dip as dip
from napari_dip.gui.widget import DeepImagePrior


def set_amount(widget: DeepImagePrior, amount: float) -> None:
    widget.inputs.task_edit.value = dip.Enhance(amount=amount)
    widget.inputs.task_edit.changed.emit()  # as a person's edit does


def test_another_amount_acts_on_the_last_result(unseen: DeepImagePrior, ends: Callable[..., None]) -> None:
    set_amount(unseen, 2.0)
    unseen.run()
    ends(unseen)
    layer = unseen.viewer.layers["cells – enhanced"]
    twice, source = layer.data.copy(), picture(32, 32)
    assert "not for quantification" in unseen.message.text()
    set_amount(unseen, 4.0)
    assert np.abs(layer.data - source).mean() > 2 * np.abs(twice - source).mean()
    assert layer.metadata["napari-dip"]["settings"]["task"]["amount"] == 4.0
    assert dip.recipe(layer.metadata["napari-dip"]).task == dip.Enhance(amount=4.0)
    assert "amount=4.0" in unseen.session.methods  # type: ignore[union-attr]
    assert "not for quantification" in " ".join(layer.metadata["napari-dip"]["notes"])
    set_amount(unseen, 1.0)
    np.testing.assert_allclose(layer.data, source, atol=1e-2)
    other = unseen.viewer.add_image(picture(32, 32, seed=1), name="other")
    unseen.inputs.image.layer = other
    set_amount(unseen, 5.0)  # that is for another image
    np.testing.assert_allclose(layer.data, source, atol=1e-2)
    unseen.viewer.layers.remove(other)
    unseen.viewer.layers.remove(unseen.viewer.layers["cells"])
    set_amount(unseen, 3.0)  # the source may be gone
    assert not np.allclose(layer.data, source)
