"""`--settings REPORT.json`: what another run was asked for, as the defaults of the flags."""

from __future__ import annotations

import argparse
from typing import Any, get_type_hints

import napari_dip as dip
from napari_dip.engine import arrays
from napari_dip.engine.problem import Role
from napari_dip.io.settings import read_report

OF_RUN = ("preset", "prior", "stop", "seed", "dtype", "keep_every", "saturation", "outliers", "fill", "tile")
TOLD = "told_by_file"  # in a report: which settings were not asked for, but said by the file of the image


def recall(options: argparse.Namespace) -> None:
    """Make the settings in a report the defaults of the task's flags: those that are given go before them.

    What the file of that image said is left to the file of this one.

    Raises
    ------
    OSError, ValueError
        When the report cannot be read, is of another task, or of a run with an image that is not given here.
    """
    report = read_report(options.settings)
    recipe, told = dip.recipe(report), report.get(TOLD) or ()
    if type(recipe.task) is not options.task:
        raise ValueError(
            f"--settings {options.settings} is of {type(recipe.task).__name__}, not of {options.task.__name__}"
        )
    for name in recipe.arrays:
        flag = {"noise": "variance"}.get(name, name)
        if getattr(options, flag, None) is None:
            raise ValueError(f"--settings {options.settings} had --{flag}, which no report holds: give it here too")
    hints = get_type_hints(options.task, include_extras=True)
    plain = {name for name in hints if hasattr(options, name) and arrays.role(hints[name]) in (None, Role.AXIS)}
    fields = {name: value for name, value in vars(recipe.task).items() if name in plain}
    run = {name: getattr(recipe, name) for name in OF_RUN if name not in told}
    noise = {} if "noise" in told or getattr(options, "variance", None) else _noise(vars(recipe.task).get("noise"))
    options.parser.set_defaults(**fields, **noise, **run)


def _noise(law: Any) -> dict[str, float]:
    """Return the flags that stand for a noise law that was given."""
    match law:
        case dip.Gaussian(sigma):
            return {"read_noise": sigma}
        case dip.Poisson(gain, offset):
            return {"gain": gain, "offset": offset}
        case dip.PoissonGaussian(gain, read_noise, offset):
            return {"gain": gain, "read_noise": read_noise, "offset": offset}
    return {}
