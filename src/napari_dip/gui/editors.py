"""Controls for single values: each shows one, keeps it exactly, and says when a person changes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QLineEdit, QSpinBox, QVBoxLayout, QWidget

INT_LIMIT = 2**31 - 1  # what Qt's spin box holds
LABEL_WIDTH = 86  # px, so that the controls of forms below each other are in line
INVALID = "border: 1px solid #e0483e;"


class Editor(QWidget):
    """A control for one value; `changed` is emitted when a person has changed it."""

    changed = Signal()

    @property
    def value(self) -> Any:
        raise NotImplementedError

    @value.setter
    def value(self, value: Any) -> None:
        raise NotImplementedError

    def hold(self, *widgets: QWidget) -> None:
        """Show these side by side, with no margin."""
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for widget in widgets:
            row.addWidget(widget)
        self.setFocusProxy(widgets[-1])


class _WheelGuard(QObject):
    """Keeps the wheel for scrolling: it changes a value only in the control that has the focus."""

    def eventFilter(self, target: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        is_wheel = event is not None and event.type() == QEvent.Type.Wheel
        if event is not None and is_wheel and isinstance(target, QWidget) and not target.hasFocus():
            event.ignore()
            return True
        return False


def guard_wheel(widget: QWidget) -> None:
    """Let a combo or spin box inside a scroll area ignore the wheel unless it has the focus."""
    widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    widget.installEventFilter(_WheelGuard(widget))


class TickEdit(Editor):
    """A check box."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.box = QCheckBox(text)
        self.hold(self.box)
        self.box.toggled.connect(lambda _: self.changed.emit())

    @property
    def value(self) -> bool:
        return self.box.isChecked()

    @value.setter
    def value(self, value: bool) -> None:
        self.box.setChecked(bool(value))


class IntEdit(Editor):
    """A spin box."""

    def __init__(self, low: int | None = None, high: int | None = None, step: int | None = None, unit: str = ""):
        super().__init__()
        self.box = QSpinBox()
        self.box.setRange(-INT_LIMIT if low is None else int(low), INT_LIMIT if high is None else int(high))
        self.box.setSingleStep(int(step or 1))
        self.box.setSuffix(f" {unit}" if unit else "")
        self.box.setGroupSeparatorShown(True)
        guard_wheel(self.box)
        self.hold(self.box)
        self.box.valueChanged.connect(lambda _: self.changed.emit())

    @property
    def value(self) -> int:
        return self.box.value()

    @value.setter
    def value(self, value: int) -> None:
        self.box.setValue(value)


class LineEdit(Editor):
    """A line of text that stands for a value, which stays exact until a person writes another one.

    Parameters
    ----------
    parse : callable
        Text to value; raises ValueError, in words, for text that stands for none.
    show : callable
        Value to text, for reading.
    """

    def __init__(self, parse: Callable[[str], Any], show: Callable[[Any], str]) -> None:
        super().__init__()
        self.line = QLineEdit()
        self.hold(self.line)
        self.parse, self.show_ = parse, show
        self._value: Any = None
        self.line.textEdited.connect(self._read)
        self.line.editingFinished.connect(self._restore)

    @property
    def value(self) -> Any:
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        self._value = value
        self.line.setText(self.show_(value))
        self.line.setStyleSheet("")

    def setToolTip(self, text: str | None) -> None:  # noqa: N802
        super().setToolTip(text)
        self.line.setToolTip(text)

    def _read(self, text: str) -> None:
        try:
            value = self.parse(text)
        except ValueError as error:
            self.line.setStyleSheet(INVALID)
            self.line.setToolTip(str(error))
            return
        self.line.setStyleSheet("")
        self.line.setToolTip(self.toolTip())
        if value != self._value:
            self._value = value
            self.changed.emit()

    def _restore(self) -> None:
        """Put the last valid value back where the text stands for none."""
        if self.line.styleSheet():
            self.value = self._value
            self.line.setToolTip(self.toolTip())


def float_edit(low: float | None = None, high: float | None = None) -> LineEdit:
    """Return a control for a float: any number of digits, refused outside of its range."""
    lowest, highest = -math.inf if low is None else low, math.inf if high is None else high

    def parse(text: str) -> float:
        try:
            value = float(text.replace(",", "."))
        except ValueError:
            raise ValueError(f"{text!r} is no number: write it as 0.01 or 5e-8") from None
        if not lowest <= value <= highest or math.isnan(value):
            raise ValueError(f"{value:g} is not between {lowest:g} and {highest:g}")
        return value

    return LineEdit(parse, lambda value: f"{value:.6g}")


def list_edit(parse_one: Callable[[str], Any], *, is_single: bool, is_list: bool) -> LineEdit:
    """Return a control for a tuple written with commas, and for a single value where that is allowed too."""

    def parse(text: str) -> Any:
        parts = [part.strip() for part in text.split(",")]
        values = tuple(parse_one(part) for part in parts if part)
        if not values:
            raise ValueError("Write one value, or several with commas between")
        if is_single and len(parts) == 1:
            return values[0]
        if not is_list and len(values) > 1:
            raise ValueError("Write one value only")
        return values

    def show(value: Any) -> str:
        if not isinstance(value, tuple):
            return str(value)
        return ", ".join(map(str, value)) + ("," if is_single and len(value) == 1 else "")

    return LineEdit(parse, show)


def int_of(text: str) -> int:
    """Return a whole number; ValueError in words otherwise."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no whole number") from None


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """Return a parser that takes one of these words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is none of: {', '.join(choices)}")
        return text

    return parse


class PickEdit(Editor):
    """A combo over given values."""

    def __init__(self, choices: Sequence[Any]) -> None:
        super().__init__()
        self.choices = tuple(choices)
        self.combo = QComboBox()
        self.combo.addItems([str(choice) for choice in choices])
        guard_wheel(self.combo)
        self.hold(self.combo)
        self.combo.currentIndexChanged.connect(lambda _: self.changed.emit())

    @property
    def value(self) -> Any:
        return self.choices[self.combo.currentIndex()]

    @value.setter
    def value(self, value: Any) -> None:
        self.combo.setCurrentIndex(self.choices.index(value))


class AutoEdit(Editor):
    """A box "auto", or another word, that stands for None, and a control for everything else."""

    def __init__(self, editor: Editor, initial: Any = None, *, none: str = "auto") -> None:
        super().__init__()
        self.editor, self.auto = editor, QCheckBox(none)
        if none == "auto":
            self.auto.setToolTip("Chosen from the image and the task")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.auto)
        column.addWidget(editor)
        if initial is not None:
            editor.value = initial
        self.auto.toggled.connect(self._toggled)
        editor.changed.connect(self.changed)
        self.auto.setChecked(True)

    @property
    def value(self) -> Any:
        return None if self.auto.isChecked() else self.editor.value

    @value.setter
    def value(self, value: Any) -> None:
        if value is not None:
            self.editor.value = value
        self.auto.setChecked(value is None)

    def _toggled(self, is_auto: bool) -> None:
        self.editor.setVisible(not is_auto)
        self.changed.emit()


def caption(text: str, tooltip: str) -> QLabel:
    """Return a row's label with its explanation."""
    label = QLabel(text)
    label.setMinimumWidth(LABEL_WIDTH)
    label.setToolTip(tooltip)
    return label
