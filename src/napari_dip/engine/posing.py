"""One frame as a problem: what the task makes of it, with what is missing taken out and what is known of its noise."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from napari_dip.engine.arrays import crop
from napari_dip.engine.blocks import Frame, Scale, law_of
from napari_dip.engine.noise import Gaussian, model_of
from napari_dip.engine.problem import NoiseWeighted, Problem, TooLittleKnownError, finer
from napari_dip.engine.tasks import InUnits, Task

if TYPE_CHECKING:
    from napari_dip.engine.run import Run


def posed(run: Run, frame: Frame, scale: Scale) -> Problem:
    """Return what the task makes of one frame, with the missing pixels taken out."""
    values = run.axes.take(run.image, frame)
    known = ~run.missing.find(values, frame)
    if not known.any():
        raise TooLittleKnownError(f"No pixel of frame {frame} is known")
    y = torch.from_numpy(scale.apply(values, known))
    problem = _made(crop(run.task, run.axes, frame, run.grid), y, torch.from_numpy(known), scale)
    shape = finer(tuple(y.shape), run.task.factors)
    shown = tuple(problem.field(torch.empty(problem.shape, device="meta")).shape)
    if shown != shape:
        raise ValueError(
            f"{type(run.task).__name__} makes an image of shape {shown} of one of shape {tuple(y.shape)}, but "
            f"its factors say {shape}"
        )
    if not known.all():
        weight = torch.from_numpy(known.astype(np.float32))
        problem = dataclasses.replace(problem, weight=weight if problem.weight is None else weight * problem.weight)
    if run.spacing:
        problem = dataclasses.replace(problem, spacing=run.spacing)
    if run.merged is not None:
        problem = run.merged.attached(problem, run.axes, frame, scale)
    if run.task.floor is not None:
        floor = torch.from_numpy((run.task.floor - scale.offset) / scale.gain).float()
        problem = dataclasses.replace(problem, floor=floor)
    if problem.keeps_range and run.image.dtype == np.uint8 and not scale.curves:
        step = np.maximum(scale.gain, 1)  # that of a constant is next to nothing
        black, white = (torch.from_numpy((end - scale.offset) / step).float() for end in (0, 255))
        problem = dataclasses.replace(problem, black_and_white=(black, white))
    law = law_of(run.task.noise, run.axes, frame)
    sure, told = torch.from_numpy(known), None
    if law is None:
        if run.series is None or problem.noise is not None or not problem.is_image:
            return problem
        linear = torch.from_numpy(run.linear.of(run.axes, frame).apply(values, known)) if scale.curves else problem.y
        told = run.series.of(run.axes, frame, linear, sure)
        if not scale.curves or told is None:
            return dataclasses.replace(problem, noise=told)
    measured = problem.y if problem.is_image else y
    law = Gaussian(1.0) if scale.curves or law is None else law  # stretched values have it
    noise = model_of(law, measured, sure, offset=scale.offset, gain=scale.gain)
    if told is not None:  # frames know better than one of them how far it reaches
        noise = dataclasses.replace(noise, correlation=told.correlation)
    if isinstance(problem.likelihood, NoiseWeighted):
        problem = dataclasses.replace(problem, likelihood=NoiseWeighted(noise))
    return dataclasses.replace(problem, noise=noise)


def _made(task: Task, y: Tensor, known: Tensor, scale: Scale) -> Problem:
    if not isinstance(task, InUnits):
        return task.problem(y)
    return task.problem_in_units(
        y, known, offset=torch.from_numpy(scale.offset).float(), gain=torch.from_numpy(scale.gain).float()
    )
