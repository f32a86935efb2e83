from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from qtpy.QtWidgets import QWidget

import napari_dip as dip
from napari_dip.gui.editors import AutoEdit, float_edit
from napari_dip.gui.form import CHOICES, DataForm, form, rows, words
from napari_dip.gui.options import Advanced, Output

pytestmark = pytest.mark.usefixtures("qapp")
SPECS = [cls() for members in CHOICES.values() for cls in members]
SPECS += [dip.Prior(), dip.Prior.published(), dip.Skip.published(), Advanced(), Output()]


def same(one: Any, other: Any) -> bool:
    """Equality that does not need __eq__ of a task that holds an array."""
    if dataclasses.is_dataclass(one):
        names = [item.name for item in dataclasses.fields(one)]
        return type(one) is type(other) and all(same(getattr(one, n), getattr(other, n)) for n in names)
    if isinstance(one, np.ndarray):
        return one is other
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)
def test_a_form_gives_back_the_very_spec_it_shows(spec: Any) -> None:
    assert same(form(spec).value, spec)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)
def test_every_control_has_a_tooltip(spec: Any) -> None:
    shown = form(spec)
    for name, editor in shown.editors.items():
        assert editor.toolTip(), name
        for part in editor.findChildren(QWidget, options=_direct()):
            assert part.toolTip() or isinstance(part, DataForm), (name, part)


def _direct() -> Any:
    from qtpy.QtCore import Qt

    return Qt.FindChildOption.FindDirectChildrenOnly


@dataclass(frozen=True)
class Inner:
    small: float = 5e-8


@dataclass(frozen=True)
class Everything:
    """All kinds of fields.

    Parameters
    ----------
    third : float
        A third of a tenth,
        exactly.
    """

    third: float = 1 / 30
    huge: float = 1.2345678901234567e200
    tiny: Annotated[float, {"min": 0.0, "max": 1.0}] = 5e-8
    count: int = -3
    flag: bool = True
    text: str = "a, b"
    word: Literal["one", "two"] = "two"
    widths: tuple[int, ...] = (8,)
    either: int | tuple[int, ...] = 4
    modes: Literal["linear", "nearest"] | tuple[Literal["linear", "nearest"], ...] = ("linear", "nearest")
    shares: tuple[float, ...] = (1 / 3, 1e-9)
    maybe: float | None = None
    surely: Annotated[int | None, {"min": 1}] = 7
    inner: Inner = field(default_factory=Inner)
    rule: dip.StoppingRule = field(default_factory=dip.WindowedVariance)
    mask: dip.Mask | None = None


def test_every_kind_of_field_survives_to_the_last_bit() -> None:
    spec = Everything()
    assert same(form(spec).value, spec)


def test_a_mask_is_no_row_and_is_kept() -> None:
    mask = np.ones((3, 3), bool)
    shown = form(Everything(mask=mask))
    assert "mask" not in shown.editors
    assert shown.value.mask is mask


def test_the_docstring_explains_a_field_without_a_hint() -> None:
    tooltips = {row.name: row.tooltip for row in rows(Everything)}
    assert tooltips["third"] == "A third of a tenth, exactly."
    assert {row.name: row.tooltip for row in rows(dip.HeldOut)}["patience"].startswith("The fit ends after")


def test_an_edited_float_is_what_was_typed_and_an_impossible_one_is_refused(qtbot: Any) -> None:
    edit = float_edit(0, 1)
    qtbot.addWidget(edit)
    edit.value = 1 / 30
    assert edit.line.text() == "0.0333333"
    edit.line.clear()
    qtbot.keyClicks(edit.line, "2.5e-7")
    assert edit.value == 2.5e-7
    edit.line.clear()
    qtbot.keyClicks(edit.line, "7")
    assert edit.value == 2.5e-7
    assert "not between 0 and 1" in edit.line.toolTip()
    edit.line.editingFinished.emit()
    assert edit.line.text() == "2.5e-07"


def test_auto_stands_for_none_and_keeps_the_other_choice() -> None:
    shown = form(Advanced(stop=dip.FixedSteps(steps=77)))
    auto = shown.editors["stop"]
    assert isinstance(auto, AutoEdit)
    auto.auto.setChecked(True)
    assert shown.value.stop is None
    auto.auto.setChecked(False)
    assert shown.value.stop == dip.FixedSteps(steps=77)


def test_choosing_another_class_shows_its_fields() -> None:
    shown = form(dip.Prior())
    shown.editors["source"].combo.setCurrentText("Coordinates")  # type: ignore[attr-defined]
    assert shown.value.source == dip.Coordinates()


def test_a_person_who_edits_is_heard() -> None:
    shown = form(dip.Prior())
    heard: list[bool] = []
    shown.changed.connect(lambda: heard.append(True))
    shown.editors["network"].forms[dip.Skip].editors["mix"].box.setChecked(False)  # type: ignore[attr-defined]
    assert heard
    assert not shown.value.network.mix


def test_class_names_read_as_words() -> None:
    assert words("WindowedVariance") == "Windowed variance"


def test_a_type_without_a_control_is_named() -> None:
    @dataclass
    class Odd:
        what: complex = 1j

    with pytest.raises(TypeError, match="complex"):
        form(Odd())
