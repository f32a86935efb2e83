"""Specifications refuse numbers that their fields do not allow, in words, wherever they are made."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Annotated, get_type_hints

import numpy as np
import pytest

import napari_dip as dip
from napari_dip.engine.fields import Checked, check_value, notes

SPECS = (
    *dip.TASKS,
    *dip.NETWORKS,
    *dip.RULES,
    *dip.SOURCES,
    *dip.NOISES,
    *dip.PSFS,
    *dip.DEGRADATIONS,
    dip.Prior,
    dip.SpectralControl,
    dip.Outliers,
)
BOUNDS = [
    (kind, name, end, notes(hint)[end])
    for kind in SPECS
    for name, hint in get_type_hints(kind, include_extras=True).items()
    for end in ("min", "max")
    if end in notes(hint)
]


@dataclass(frozen=True)
class Layers(Checked):
    count: int = 3
    share: Annotated[float, {"min": 0.1, "max": 0.9, "why": "nothing would be left"}] = 0.5
    limit: Annotated[float | None, {"min": 0.0}] = None
    widths: tuple[int, ...] = (8,)
    either: Annotated[float | tuple[float, ...], {"min": 1.0}] = 2.0
    flag: bool = True
    text: str = ""


@pytest.mark.parametrize(("kind", "name", "end", "value"), BOUNDS, ids=lambda it: getattr(it, "__name__", str(it)))
def test_every_specification_refuses_what_is_beyond_the_bounds_of_its_form(kind, name, end, value):
    beyond = value - 1 if end == "min" else value + 1
    with pytest.raises(ValueError, match=re.escape(f"{kind.__name__}.{name} is {beyond!r}: it must be ")):
        kind(**{name: beyond})


@pytest.mark.parametrize("kind", SPECS, ids=lambda kind: kind.__name__)
def test_every_specification_wants_whole_numbers_where_it_counts_and_finite_ones_elsewhere(kind):
    for field in dataclasses.fields(kind):
        default = getattr(kind(), field.name)
        if isinstance(default, int) and not isinstance(default, bool):
            with pytest.raises(ValueError, match=rf"{field.name} is 1\.5: it must be a whole number"):
                kind(**{field.name: 1.5})
        elif isinstance(default, float):
            with pytest.raises(ValueError, match=rf"{field.name} is nan: it must be a finite number"):
                kind(**{field.name: math.nan})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"count": 1.5}, "Layers.count is 1.5: it must be a whole number"),
        ({"count": True}, "Layers.count is True: it must be a whole number"),
        ({"count": None}, "Layers.count is None: it must be a whole number"),
        ({"share": "a"}, "Layers.share is 'a': it must be a finite number, at least 0.1 and at most 0.9"),
        ({"share": 0}, "Layers.share is 0: it must be at least 0.1 and at most 0.9: nothing would be left"),
        ({"share": 2}, "Layers.share is 2: it must be at least 0.1 and at most 0.9"),
        ({"share": 10**400}, "it must be at least 0.1 and at most 0.9"),
        ({"limit": -1.0}, "Layers.limit is -1.0: it must be at least 0, or None"),
        ({"widths": 8}, "Layers.widths is 8: it must be a tuple, as (8,)"),
        ({"widths": (8, 1.5)}, "Layers.widths is (8, 1.5): each must be a whole number"),
        ({"either": (2.0, 0.5)}, "Layers.either is (2.0, 0.5): each must be at least 1"),
        ({"either": math.inf}, "Layers.either is inf: it must be a finite number, at least 1"),
    ],
)
def test_a_refusal_says_what_was_got_and_what_is_wanted(values, said):
    with pytest.raises(ValueError, match=f"{re.escape(said)}$"):
        Layers(**values)


def test_numbers_of_numpy_integers_for_fractions_and_none_where_it_may_be_are_taken():
    Layers(count=np.int16(3), share=np.float32(0.5), limit=None, widths=(), either=(1, np.float64(2)))
    Layers(limit=1)


def test_a_value_can_be_asked_about_before_there_is_a_specification():
    check_value(Layers, "share", 0.2)
    check_value(Layers, "text", 0.2)
    with pytest.raises(ValueError, match=r"Layers\.share is 0\.95"):
        check_value(Layers, "share", 0.95)
