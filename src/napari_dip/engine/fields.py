"""What the annotation of a field says of its values, and whether a number is such."""

from __future__ import annotations

import dataclasses
import math
import numbers
import types
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints


class Checked:
    """A dataclass whose numbers are what its fields say, or it is refused in words."""

    def __post_init__(self) -> None:
        kind: type = type(self)
        for name in _numbers(kind):
            check_value(kind, name, getattr(self, name))


def check_value(kind: type, name: str, value: Any) -> None:
    """Refuse a value that a dataclass' field of numbers cannot have; fields of anything else are not looked at.

    Raises
    ------
    ValueError
        When it is no number, none that is whole or finite where one is wanted, or is out of bounds.
    """
    wanted = _numbers(kind).get(name)
    if wanted is not None and (wrong := wanted.wrong(value)):
        raise ValueError(f"{kind.__name__}.{name} is {value!r}: {wrong}")


def notes(hint: Any) -> dict[str, Any]:
    """Return what an annotation tells forms, help and `Checked`: `min`, `max`, and in `why` why not less."""
    metadata = hint.__metadata__ if get_origin(hint) is Annotated else ()
    return next((note for note in metadata if isinstance(note, dict)), {})


@dataclass(frozen=True)
class _Number:
    """What a field of numbers takes: whole ones or all, one, several in a tuple, or none at all."""

    is_whole: bool
    is_one: bool
    is_several: bool
    is_optional: bool
    low: float
    high: float
    why: str

    def wrong(self, value: Any) -> str:
        """Return what a value must be instead, in words; empty: it is such."""
        if value is None and self.is_optional:
            return ""
        is_several = self.is_several and isinstance(value, (tuple, list))
        if not is_several and not self.is_one:
            return f"it must be a tuple, as ({value!r},)"
        parts = tuple(value) if is_several else (value,)
        are_numbers = all(map(self.is_number, parts))
        if are_numbers and all(self.low <= part <= self.high for part in parts):
            return ""
        kind = "" if are_numbers else "a whole number" if self.is_whole else "a finite number"
        said = ", ".join(part for part in (kind, self.bounds, "or None" if self.is_optional else "") if part)
        is_low = are_numbers and min(parts) < self.low
        why = f": {self.why}" if self.why and is_low else ""
        return f"{'each' if is_several else 'it'} must be {said}{why}"

    def is_number(self, value: Any) -> bool:
        is_kind = isinstance(value, numbers.Integral if self.is_whole else numbers.Real)
        # compared, since an integer may be too large to be made a float
        return is_kind and not isinstance(value, bool) and -math.inf < value < math.inf

    @property
    def bounds(self) -> str:
        if self.low == self.high:
            return f"{self.low:g}"
        ends = (("at least", self.low), ("at most", self.high))
        return " and ".join(f"{words} {end:g}" for words, end in ends if math.isfinite(end))


@cache
def _numbers(kind: type) -> dict[str, _Number]:
    """Return the fields of a dataclass that take numbers."""
    hints = get_type_hints(kind, include_extras=True)
    found = {field.name: _number(hints[field.name]) for field in dataclasses.fields(kind)}
    return {name: number for name, number in found.items() if number is not None}


def _number(hint: Any) -> _Number | None:
    """Return what a field annotated so takes; None where that is something else than numbers."""
    said = notes(hint)
    bare = hint.__origin__ if get_origin(hint) is Annotated else hint
    parts = get_args(bare) if get_origin(bare) in (Union, types.UnionType) else (bare,)
    several = [part for part in parts if get_origin(part) is tuple]
    single = [part for part in parts if part not in several and part is not type(None)]
    kinds = {*single, *(arg for part in several for arg in get_args(part) if arg is not ...)}
    if kinds not in ({int}, {float}):
        return None
    return _Number(
        is_whole=kinds == {int},
        is_one=bool(single),
        is_several=bool(several),
        is_optional=type(None) in parts,
        low=said.get("min", -math.inf),
        high=said.get("max", math.inf),
        why=said.get("why", ""),
    )
