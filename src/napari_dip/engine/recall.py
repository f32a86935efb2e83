"""What a run was asked for, told from its report: to do the same again, or the same to another image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from napari_dip.engine.controlled import SpectralControl
from napari_dip.engine.jpeg import JpegTables
from napari_dip.engine.networks import NETWORKS
from napari_dip.engine.noise import NOISES, VarianceMap
from napari_dip.engine.outliers import Outliers
from napari_dip.engine.presets import choose_preset
from napari_dip.engine.prior import SOURCES, Prior
from napari_dip.engine.psf import PSFS
from napari_dip.engine.resample import DEGRADATIONS
from napari_dip.engine.stopping import RULES, StoppingRule
from napari_dip.engine.tasks import TASKS, Task
from napari_dip.engine.tiles import SMALLEST_TILE

Values = Literal["source", "float32"]
_NAMED: dict[str, type] = {
    one.__name__: one
    for one in (
        *(*TASKS, *NETWORKS, *NOISES, *PSFS, *RULES, *SOURCES, *DEGRADATIONS),
        *(JpegTables, Outliers, Prior, SpectralControl),
    )
}
"""All that a report may name: nothing else is ever made from one."""
PARTS: dict[str, tuple[type, ...]] = {
    "network": NETWORKS,
    "source": SOURCES,
    "control": (SpectralControl,),
    "noise": NOISES,
    "degradation": DEGRADATIONS,
    "model": PSFS,
    "tables": (JpegTables,),
}
"""What fields of these names may be."""
_LEFT_OUT = object()


@dataclass(frozen=True, eq=False, kw_only=True)
class Recipe:
    """What a run was asked for, as `restore` takes it.

    Attributes
    ----------
    task : Task
        Without its arrays: of masks, guides and kernels a report knows the shape alone.
    arrays : tuple of str
        Names of the task's fields that were arrays.
    preset : str
    prior : Prior or None
        None: the preset's.
    stop : StoppingRule or None
        None: the preset's or the task's.
    seed : int
    dtype : {"source", "float32"}
    keep_every : int
    saturation : float or None
    outliers : Outliers or None
    fill : bool
    tile : int or None
    """

    task: Task
    arrays: tuple[str, ...]
    preset: str
    prior: Prior | None
    stop: StoppingRule | None
    seed: int
    dtype: Values
    keep_every: int
    saturation: float | None
    outliers: Outliers | None
    fill: bool
    tile: int | None


def recipe(report: Mapping[str, Any]) -> Recipe:
    """Return what a run was asked for, from its `Restoration.report`.

    Raises
    ------
    ValueError
        When that is no such report, one of another version, or one of a run with parts of somebody's own.
    """
    try:
        return _recipe(report)
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError("This is no report of a restoration, or one of another version") from error


def _recipe(report: Mapping[str, Any]) -> Recipe:
    settings = report["settings"]
    asked = settings["asked"]
    if asked["dtype"] not in get_args(Values):
        raise TypeError(f"There is no type {asked['dtype']!r}")
    return Recipe(
        task=cast(Task, _made(asked["task"], TASKS)),
        arrays=tuple(name for name, value in asked["task"].items() if _is_array(value)),
        preset=choose_preset(str(asked["preset"])).name,
        prior=cast(Prior | None, _made(asked["prior"], (Prior, type(None)))),
        stop=cast(StoppingRule | None, _made(asked["stop"], (*RULES, type(None)))),
        seed=_number(report["seed"], 0),
        dtype=asked["dtype"],
        keep_every=_number(settings["keep_every"], 0),
        saturation=None if settings["saturation"] is None else _level(settings["saturation"]),
        outliers=cast(Outliers | None, _made(settings["outliers"], (Outliers, type(None)))),
        fill=_made(settings["fill"], (bool,)),
        tile=None if settings["tile"] is None else _number(settings["tile"], SMALLEST_TILE),
    )


def _number(value: Any, least: int) -> int:
    if not isinstance(value, int) or value < least:
        raise TypeError(f"{value!r} is no whole number from {least} on")
    return value


def _level(value: Any) -> float:
    if not isinstance(value, int | float) or math.isnan(value):
        raise TypeError(f"{value!r} is no intensity")
    return float(value)


def _made(record: Any, kinds: tuple[type, ...]) -> Any:
    """Return what a record stands for, which must be of one of these kinds."""
    found = _value(record)
    if not isinstance(found, kinds):
        raise TypeError(f"{found!r} is none of {kinds}")
    return found


def _value(record: Any) -> Any:
    if isinstance(record, Mapping):
        if record["name"] not in _NAMED:
            raise ValueError(f"{record['name']!r} is none of napari-dip's own parts: only these can be made again")
        fields = {name: _field(name, value) for name, value in record.items() if name != "name"}
        return _NAMED[record["name"]](**{name: value for name, value in fields.items() if value is not _LEFT_OUT})
    return tuple(_value(item) for item in record) if isinstance(record, list) else record


def _field(name: str, record: Any) -> Any:
    """Return a field's value; one that is a part of its own must be of the field's kind."""
    if _is_array(record):
        return _LEFT_OUT
    return _made(record, PARTS[name]) if isinstance(record, Mapping) else _value(record)


def _is_array(value: Any) -> bool:
    """Return whether a record is that of an array, or of nothing but one."""
    return isinstance(value, Mapping) and ("sha256" in value or value.get("name") == VarianceMap.__name__)
