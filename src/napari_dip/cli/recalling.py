"""`--settings REPORT.json`: what another run was asked for, as the defaults of the flags."""

from __future__ import annotations

import argparse
from typing import Any

import napari_dip as dip
from napari_dip.io.settings import read_recipe

OF_RUN = ("preset", "prior", "stop", "seed", "dtype", "keep_every", "saturation", "outliers", "fill", "tile")


def recall(options: argparse.Namespace) -> None:
    """Make the settings in a report the defaults of the task's flags: those that are given go before them.

    Raises
    ------
    OSError, ValueError
        When the report cannot be read, or is of another task.
    """
    recipe = read_recipe(options.settings)
    if type(recipe.task) is not options.task:
        raise ValueError(
            f"--settings {options.settings} is of {type(recipe.task).__name__}, not of {options.task.__name__}"
        )
    known = vars(recipe.task)
    fields = {name: value for name, value in known.items() if hasattr(options, name) and name not in recipe.arrays}
    run = {name: getattr(recipe, name) for name in OF_RUN}
    options.parser.set_defaults(**fields, **_noise(known.get("noise")), **run)


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
