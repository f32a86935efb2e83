"""Dataclasses to forms and back: fields become controls, and a form's value is the dataclass again.

A field's annotation decides: bool, int, float, str, Literal, tuples of these, another dataclass, a Protocol
whose members `CHOICES` lists, and each of them optional. Arrays, such as masks, are no form fields.
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFormLayout, QVBoxLayout, QWidget

import napari_dip as dip
from napari_dip.engine.arrays import array_fields, role
from napari_dip.engine.problem import Role
from napari_dip.gui.editors import (
    AutoEdit,
    Editor,
    IntEdit,
    LineEdit,
    PickEdit,
    TickEdit,
    caption,
    float_edit,
    guard_wheel,
    int_of,
    list_edit,
    one_of,
)

CHOICES: dict[Any, tuple[type, ...]] = {
    dip.Task: dip.TASKS,
    dip.Network: dip.NETWORKS,
    dip.NoiseLaw: dip.NOISES,
    dip.PSF: dip.PSFS,
    dip.StoppingRule: dip.RULES,
    dip.Source: dip.SOURCES,
    dip.Degradation: dip.DEGRADATIONS,
}
"""What can be chosen for a field of each protocol."""


@dataclass(frozen=True)
class Row:
    """A field as a form shows it."""

    name: str
    hint: Any
    options: dict[str, Any]
    label: str
    tooltip: str


def form(spec: Any) -> DataForm:
    """Return a form of a dataclass that shows this one: ``form(spec).value`` equals it."""
    shown = DataForm(type(spec))
    shown.value = spec
    return shown


class DataForm(Editor):
    """A row per field of a dataclass."""

    def __init__(self, cls: type) -> None:
        super().__init__()
        self.cls = cls
        self.editors: dict[str, Editor] = {}
        self.rest: dict[str, Any] = {}  # fields that are no rows, such as masks
        self.grid = QFormLayout(self)
        self.grid.setContentsMargins(0, 0, 0, 0)
        self.grid.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.grid.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        for row in rows(cls):
            self._add(row)

    @property
    def value(self) -> Any:
        return self.cls(**self.rest, **{name: editor.value for name, editor in self.editors.items()})

    @value.setter
    def value(self, spec: Any) -> None:
        for name, editor in self.editors.items():
            editor.value = getattr(spec, name)
        others = [item.name for item in dataclasses.fields(spec) if item.init and item.name not in self.editors]
        self.rest = {name: getattr(spec, name) for name in others}

    def _add(self, row: Row) -> None:
        editor = editor_for(row.hint, row.options)
        self.editors[row.name] = editor
        editor.changed.connect(self.changed)
        explain(editor, row.tooltip)
        if isinstance(editor, ChoiceEdit):
            self.grid.addRow(caption(row.label, row.tooltip), editor.combo)
            self.grid.addRow(editor)
        elif isinstance(editor, AutoEdit) and isinstance(editor.editor, (_Titled, DataForm)):
            self.grid.addRow(caption(row.label, row.tooltip), editor.auto)
            self.grid.addRow(editor)
        elif isinstance(editor, DataForm):
            self.grid.addRow(caption(row.label, row.tooltip))
            self.grid.addRow(editor)
        elif isinstance(editor, TickEdit):
            editor.box.setText(row.label)
            self.grid.addRow(editor)
        else:
            self.grid.addRow(caption(row.label, row.tooltip), editor)


class ChoiceEdit(Editor):
    """A combo over dataclasses, and below it the form of the chosen one."""

    def __init__(self, classes: tuple[type, ...]) -> None:
        super().__init__()
        self.classes = classes
        self.forms: dict[type, DataForm] = {}
        self.combo = QComboBox()
        guard_wheel(self.combo)
        for index, cls in enumerate(classes):
            self.combo.addItem(words(cls.__name__))
            self.combo.setItemData(index, summary(cls), Qt.ItemDataRole.ToolTipRole)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(6, 0, 0, 0)
        self.combo.currentIndexChanged.connect(self._choose)
        self._choose(0)

    @property
    def chosen(self) -> type:
        return self.classes[self.combo.currentIndex()]

    @property
    def value(self) -> Any:
        return self.forms[self.chosen].value

    @value.setter
    def value(self, spec: Any) -> None:
        self.combo.setCurrentIndex(self.classes.index(type(spec)))
        self.forms[type(spec)].value = spec

    def _choose(self, index: int) -> None:
        cls = self.classes[index]
        if cls not in self.forms:
            self.forms[cls] = form(cls())
            self.forms[cls].changed.connect(self.changed)
            self.column.addWidget(self.forms[cls])
        for other, shown in self.forms.items():
            shown.setVisible(other is cls and bool(shown.editors))
        self.setVisible(bool(self.forms[cls].editors))
        self.combo.setToolTip(summary(cls))
        self.changed.emit()


class _Titled(Editor):
    """A choice with its combo above its form: where no row's label stands beside it."""

    def __init__(self, choice: ChoiceEdit) -> None:
        super().__init__()
        self.choice = choice
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(choice.combo)
        column.addWidget(choice)
        choice.changed.connect(self.changed)

    @property
    def value(self) -> Any:
        return self.choice.value

    @value.setter
    def value(self, spec: Any) -> None:
        self.choice.value = spec


def editor_for(hint: Any, options: dict[str, Any]) -> Editor:
    """Return the control for a type.

    Raises
    ------
    TypeError
        For a type that no control is known for.
    """
    hint, notes = plain(hint)
    options = {**notes, **options}
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else ()
    if type(None) in parts:
        inner = editor_for(Union[tuple(part for part in parts if part is not type(None))], options)  # noqa: UP007
        return AutoEdit(_Titled(inner) if isinstance(inner, ChoiceEdit) else inner, none=options.get("none", "auto"))
    if "choices" in options:
        return PickEdit(options["choices"])
    if parts or get_origin(hint) is tuple:
        return _list_editor(parts or (hint,))
    return _single_editor(hint, options)


def _single_editor(hint: Any, options: dict[str, Any]) -> Editor:
    low, high = options.get("min"), options.get("max")
    if get_origin(hint) is Literal:
        return PickEdit(get_args(hint))
    if hint is bool:
        return TickEdit()
    if hint is int:
        return IntEdit(low, high, options.get("step"), options.get("unit", ""))
    if hint is float:
        return float_edit(low, high)
    if hint is str:
        return LineEdit(str, str)
    if hint in CHOICES:
        return ChoiceEdit(CHOICES[hint])
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return DataForm(hint)
    raise TypeError(f"A form has no control for {hint}: add one in editors.py")


def _list_editor(parts: tuple[Any, ...]) -> LineEdit:
    """Return the control for ``tuple[X, ...]``, ``X`` or both."""
    lists = [part for part in parts if get_origin(part) is tuple]
    singles = [part for part in parts if get_origin(part) is not tuple]
    element, _ = plain(singles[0] if singles else get_args(lists[0])[0])
    if get_origin(element) is Literal:
        return list_edit(one_of(get_args(element)), is_single=bool(singles), is_list=bool(lists))
    parsers: dict[Any, Callable[[str], Any]] = {int: int_of, float: float, str: str}
    if element not in parsers:
        raise TypeError(f"A form has no control for tuples of {element}: add one in editors.py")
    return list_edit(parsers[element], is_single=bool(singles), is_list=bool(lists))


def plain(hint: Any) -> tuple[Any, dict[str, Any]]:
    """Return an annotation without its hints, and the hints."""
    if get_origin(hint) is not Annotated:
        return hint, {}
    notes: dict[str, Any] = {}
    for note in hint.__metadata__:
        if isinstance(note, dict):
            notes |= note
    return hint.__origin__, notes


@cache
def rows(cls: type) -> tuple[Row, ...]:
    """Return the fields of a dataclass that a form shows."""
    hints = get_type_hints(cls, include_extras=True)
    return tuple(
        _row(cls, item.name, hints[item.name])
        for item in dataclasses.fields(cls)
        if item.init and role(hints[item.name]) is None and not _is_fixed(hints[item.name])
    )


def _is_fixed(hint: Any) -> bool:
    """Return whether a field's hints leave it only one value: there is nothing to show."""
    options = plain(hint)[1]
    return "min" in options and options["min"] == options.get("max")


def mask_fields(cls: type) -> tuple[Row, ...]:
    """Return the fields of a task that a labels layer supplies."""
    return tuple(_row(cls, name, hint) for name, kind, hint in array_fields(cls) if kind is Role.MASK)


def image_fields(cls: type) -> tuple[tuple[Row, Role], ...]:
    """Return the fields of a task that an image layer supplies, and whether it is an image of the scene or a kernel."""
    return tuple((_row(cls, name, hint), kind) for name, kind, hint in array_fields(cls) if kind is not Role.MASK)


def _row(cls: type, name: str, hint: Any) -> Row:
    bare, options = plain(hint)
    label = options.get("label", name.replace("_", " "))
    label = label[:1].upper() + label[1:]
    unit = options.get("unit", "")
    if unit and bare is float:
        label += f" ({unit})"
    tooltip = options.get("tooltip") or described(cls).get(name) or label
    return Row(name, hint, options, label, tooltip)


@cache
def described(cls: type) -> dict[str, str]:
    """Return what docstrings say of a class' fields: its own, and its protocol's."""
    texts = [cls.__doc__ or ""]
    texts += [protocol.__doc__ or "" for protocol, members in CHOICES.items() if cls in members]
    found: dict[str, str] = {}
    for text in texts:
        for names, lines in re.findall(r"^ *([\w, ]+) : .*\n((?:^ {8,}\S.*\n?)+)", text, re.MULTILINE):
            for name in names.split(","):
                found.setdefault(name.strip(), " ".join(lines.split()))
    return found


def summary(cls: type) -> str:
    """Return the first line of a class' docstring."""
    return (cls.__doc__ or cls.__name__).strip().splitlines()[0]


def words(name: str) -> str:
    """Return a class name as words: "HeldOut" is "Held out", "GaussianPSF" is "Gaussian PSF"."""
    first, *others = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).split()
    return " ".join([first, *(word if word.isupper() else word.lower() for word in others)])


def explain(widget: QWidget, text: str) -> None:
    """Set a tooltip on a control and on all of its parts that have none."""
    widget.setToolTip(text)
    for part in widget.findChildren(QWidget):
        if not part.toolTip():
            part.setToolTip(text)
