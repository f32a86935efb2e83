"""The verb: fit the prior to an image, keep the best, and return it in the image's own terms."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch

from napari_dip.engine import devices
from napari_dip.engine.arrays import check_arrays, has_image
from napari_dip.engine.blocks import Axes, Missing, name_axes
from napari_dip.engine.limits import Limits
from napari_dip.engine.marking import Colour
from napari_dip.engine.memory import FILLING, PILOT, Ahead, MemoryPlan, plan
from napari_dip.engine.merging import law_of_mean, merge
from napari_dip.engine.outcome import Control, Progress, Restoration, settings_of
from napari_dip.engine.outliers import Outliers
from napari_dip.engine.presets import Preset, choose_preset, choose_rule, guided, in_volume
from napari_dip.engine.prior import Prior
from napari_dip.engine.problem import Array
from napari_dip.engine.run import Run
from napari_dip.engine.stopping import FixedSteps, HeldOut, StoppingRule
from napari_dip.engine.tasks import TASKS, Deblock, Deconvolve, Denoise, Inpaint, SuperResolve, Task
from napari_dip.engine.tiles import SMALLEST_TILE


def restore(
    image: Any,
    task: Task | None = None,
    prior: Prior | None = None,
    stop: StoppingRule | None = None,
    *,
    preset: Preset | str = "standard",
    missing: Any = None,
    saturation: float | None = None,
    outliers: Outliers | None = None,
    fill: bool = False,
    axes: str | None = None,
    each: str = "",
    spacing: Sequence[float] | None = None,
    device: str = "auto",
    seed: int = 0,
    keep_every: int = 0,
    members: int = 0,
    dtype: Literal["source", "float32"] = "source",
    max_steps: int | None = None,
    max_seconds: float | None = None,
    max_memory: float | None = None,
    tile: int | None = None,
    out: Any = None,
    control: Control | None = None,
) -> Restoration:
    """Return the restored image: `iter_restore`, which describes the parameters, run to its end."""
    progress = None
    for progress in iter_restore(  # noqa: B007
        image, task, prior, stop, preset=preset, missing=missing, saturation=saturation, outliers=outliers,
        fill=fill, axes=axes, each=each, spacing=spacing, device=device, seed=seed, keep_every=keep_every,
        members=members, dtype=dtype, max_steps=max_steps, max_seconds=max_seconds,
        max_memory=max_memory, tile=tile, out=out, control=control,
    ):  # fmt: skip
        pass
    assert progress is not None  # noqa: S101  a run takes at least one step
    return progress.restoration()


def iter_restore(
    image: Any,
    task: Task | None = None,
    prior: Prior | None = None,
    stop: StoppingRule | None = None,
    *,
    preset: Preset | str = "standard",
    missing: Any = None,
    saturation: float | None = None,
    outliers: Outliers | None = None,
    fill: bool = False,
    axes: str | None = None,
    each: str = "",
    spacing: Sequence[float] | None = None,
    device: str = "auto",
    seed: int = 0,
    keep_every: int = 0,
    members: int = 0,
    dtype: Literal["source", "float32"] = "source",
    max_steps: int | None = None,
    max_seconds: float | None = None,
    max_memory: float | None = None,
    tile: int | None = None,
    out: Any = None,
    control: Control | None = None,
) -> Iterator[Progress]:
    """Return an iterator over a restoration's progress, one per optimiser step; the last one has the result.

    Parameters
    ----------
    image : array-like
        Any real dtype and size from 16 x 16 on; only what is restored is read. NaN and infinity are missing.
    task : Task, optional
        What to restore; None: `Denoise()`.
    prior : Prior, optional
        Fitted as it stands, without a pilot; None: as the preset says.
    stop : StoppingRule, optional
        None: the preset's; and where it has no rule, the task's.
    preset : Preset or str
        One of `PRESETS`, or its name.
    missing : array-like, optional
        Non-zero pixels must have no influence. Shaped as the image, with or without its channel axis, or as its
        spatial axes.
    saturation : float, optional
        Values from here on are missing, in the image's units.
    outliers : Outliers, optional
        Hot and dead pixels and cosmic rays are flagged and replaced; None: nobody looks for them.
    fill : bool
        Missing pixels come back restored, whatever the task; else as they were, unless the task is to fill them.
    axes : str, optional
        A letter per axis: Y, X, Z spatial; C channels; S colour samples; others repeated. None: YX or YXS.
    each : str
        Letters of spatial axes that get one fit per index instead, such as "Z"; all share one intensity scale.
    spacing : sequence of float, optional
        Size of a pixel along each axis that is fitted together, in the image's order and in one unit, such as
        (0.3, 0.1, 0.1) for Z, Y, X: networks halve an axis of coarse voxels less often. None: alike along all.
    device : str
        "auto", "cuda", "mps" or "cpu".
    seed : int
        The same seed gives the same bits on the same CPU, PyTorch and thread count. Nothing global is seeded.
    keep_every : int
        Keep the averaged output of every so many steps in `Restoration.stack`; 0: none.
    members : int
        How many images that differ as the estimate may differ from the truth to give in `Restoration.members`.
    dtype : {"source", "float32"}
        Of `Restoration.image`. Integers are rounded and clipped to their range.
    max_steps, max_seconds : optional
        End each fit, or the whole run, at the latest then.
    max_memory : float, optional
        GiB that the run may take beside what the process has: an image that needs more is fitted in tiles, one network
        each, which fade into each other and stop together. None: what is free.
    tile : int, optional
        Side of these tiles in px; None: chosen from the memory.
    out : array-like, optional
        Becomes `Restoration.image`: a copy of the image at first, then each frame is written when it is done. Such as
        a zarr array; shaped as the result, whose pixels may be smaller than the image's.
    control : Control, optional
        Stops and pauses the run from another thread.

    Returns
    -------
    iterator of Progress

    Raises
    ------
    ValueError, TypeError
        At once, when image, axes, mask or settings do not go together.
    RestorationError
        While iterating, when the fit fails or memory does not suffice.
    """
    chosen = choose_preset(preset)
    task = Denoise() if task is None else task
    if isinstance(task, type) or not hasattr(task, "problem"):
        raise TypeError(f"task={task!r} is no task: give one such as Denoise()")
    if dtype not in ("source", "float32"):
        raise ValueError(f"dtype={dtype!r} is neither 'source' nor 'float32'")
    asked = {"preset": chosen.name, "task": task, "prior": prior, "stop": stop, "dtype": dtype}
    letter = _frames(task)
    hidden = np.ma.getmaskarray(image) if isinstance(image, np.ma.MaskedArray) else None
    values, axes_ = _checked(image, axes, each, letter)
    if isinstance(task, Deblock) and "C" in axes_.letters:
        axes_ = axes_.apart  # only the samples of a colour come from one JPEG together
    merged = None
    made = np.dtype(values.dtype if dtype == "source" else np.float32).newbyteorder("=")
    if isinstance(task, Denoise) and letter:
        gaps = tuple(axes_.broadcast(mask) for mask in (missing, hidden) if mask is not None)
        task = dataclasses.replace(task, noise=law_of_mean(task.noise, axes_, letter))
        merged = merge(values, axes_.together, letter, Missing(axes_.together, gaps, saturation))
        values, axes_, missing, hidden = merged.image, axes_.without(letter), merged.unknown, None
    grid = _grid(task, axes_, out, made)
    check_arrays(task, axes_, grid)
    chosen = guided(chosen) if has_image(task) else chosen
    chosen = in_volume(chosen) if len(axes_.spatial) == 3 else chosen
    masks = [axes_.broadcast(mask) for mask in (missing, hidden, task.mask) if mask is not None]
    colour = task.colour if isinstance(task, Inpaint) else None
    if colour is not None and axes_ != axes_.together:  # a frame has one channel: it does not show the colour
        masks.append(_coloured(values, axes_.together, colour))
        colour = None
    rule = choose_rule(stop, chosen, task)
    run = Run(
        image=values,
        axes=axes_,
        grid=grid,
        spacing=_spacing(spacing, axes_, grid),
        task=task,
        prior=prior or chosen.prior,
        starts=_starts(task, prior, chosen, rule),
        wide=chosen.wide if task.keeps_known and prior is None else None,
        members=() if prior else chosen.members,
        passes=chosen.passes,
        collaborative=chosen.collaborative,
        usual=chosen.usual,
        most=chosen.most,
        rule=rule,
        missing=Missing(axes_, tuple(masks), saturation, outliers, task.noise, colour),
        fill=fill or task.fills,
        dtype=made,
        device=devices.choose(device),
        seed=seed,
        keep_every=keep_every,
        limits=Limits(max_steps, max_seconds, max_memory),
        tile=_checked_tile(tile),
        draws=members,
        out=out,
        control=control or Control(),
        asked={name: settings_of(value) for name, value in asked.items()},
        merged=merged,
    )
    return run.progress()


def memory_plan(
    image: Any,
    task: Task | None = None,
    prior: Prior | None = None,
    stop: StoppingRule | None = None,
    *,
    preset: Preset | str = "standard",
    axes: str | None = None,
    each: str = "",
    spacing: Sequence[float] | None = None,
    device: str = "auto",
    max_memory: float | None = None,
    tile: int | None = None,
) -> MemoryPlan:
    """Return how much memory `iter_restore`, which describes the parameters, would take, and in which tiles.

    Only the image's shape is read. A task that extends the image beyond its borders takes a little more.

    Raises
    ------
    ValueError, TypeError
        As `iter_restore`.
    """
    chosen, task = choose_preset(preset), Denoise() if task is None else task
    letter = _frames(task)
    _, axes_ = _checked(image, axes, each, letter)
    axes_ = axes_.without(letter) if letter else axes_
    chosen = guided(chosen) if has_image(task) else chosen
    chosen = in_volume(chosen) if len(axes_.spatial) == 3 else chosen
    grid = axes_.finer(task.factors)
    shape = (grid.channels, *(grid.shape[axis] for axis in grid.spatial))
    where = devices.choose(device)
    free = devices.free_memory(where) if max_memory is None else int(max_memory * 2**30)
    rule = choose_rule(stop, chosen, task)
    priors, guides, ahead = _expected(task, prior, chosen, rule, len(grid.spatial))
    return plan(
        priors,
        shape,
        guides=grid.channels * guides,
        precision=devices.precision(where),
        ahead=ahead,
        free=free,
        tile=_checked_tile(tile),
        abreast=devices.abreast(where, len(priors)),
        spacing=_spacing(spacing, axes_, grid),
        keeps=devices.keeps(where),
        judged=not isinstance(rule, FixedSteps),
    )


def _expected(
    task: Task, prior: Prior | None, preset: Preset, rule: StoppingRule, ndim: int
) -> tuple[tuple[Prior, ...], int, Ahead | None]:
    """Return what will be fitted, to how many guides, and what is made before it, told without the image."""
    if prior is not None:
        return (prior,), int(has_image(task)), None
    alone = (preset.prior,) * _starts(task, prior, preset, rule)
    hides = isinstance(rule, HeldOut)  # pixels, by which what is made first is judged
    if task.keeps_known:  # missing pixels are told from similar patches, of planes, and these are no guide
        return alone, int(has_image(task)), FILLING if preset.members and hides and ndim == 2 else None
    if (
        not preset.members
        or not (hides or isinstance(task, Deblock))
        or (isinstance(task, SuperResolve) and not task.is_blurred)
    ):
        return alone, int(has_image(task)), None
    return preset.members, 1, None if isinstance(task, SuperResolve | Deconvolve) else PILOT


def _starts(task: Task, prior: Prior | None, preset: Preset, rule: StoppingRule) -> int:
    """Return how many fits of the preset's prior there are without a pilot."""
    return preset.starts if prior is None and isinstance(rule, HeldOut) and type(task) in TASKS else 1


def _frames(task: Task) -> str:
    """Return the letter of the axis along which a task has frames of one scene; empty: none."""
    return (task.frames or "").upper() if isinstance(task, Denoise) else ""


def _checked(image: Any, axes: str | None, each: str, frames: str = "") -> tuple[Any, Axes]:
    """Return the image and its axes; that of the frames of one scene, where there is one, is repeated."""
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
    is_array = hasattr(image, "dtype") and hasattr(image, "shape")
    if not is_array or isinstance(image, (torch.Tensor, np.ma.MaskedArray)):
        _check_shapes(image)
        image = np.asarray(image)
    kind = np.dtype(image.dtype)
    if kind.kind == "c":
        raise TypeError("The image is complex: restore its real part, imaginary part or magnitude")
    if kind.kind not in "biuf":
        raise TypeError(f"An image of dtype {kind} has no intensities to restore")
    found = _with_frames(axes, tuple(image.shape), each, frames)
    if strange := "".join(sorted(set(each.upper()) - set(found.letters) - {"C"})):
        raise ValueError(f"each={each!r}: {strange} is no axis of an image with the axes {found.letters}")
    return image, found


def _check_shapes(images: Any) -> None:
    """Refuse a list of images that do not have one shape."""
    if not isinstance(images, (list, tuple)):
        return
    shapes = [np.shape(one) for one in images if hasattr(one, "shape")]
    for index, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ValueError(f"Frame {index} (from 0) has shape {shape}, the first one {shapes[0]}: all must have one")


def _with_frames(axes: str | None, shape: tuple[int, ...], each: str, frames: str) -> Axes:
    """Return the axes of an image; where frames of one scene lie along one, it may go without saying that it leads.

    Raises
    ------
    ValueError
        When there is no such axis, or only one frame along it.
    """
    if not frames:
        return name_axes(axes, shape, each)
    if frames in "YXSC":
        raise ValueError(f"frames={frames!r}: the frames of a scene lie along an axis of their own, such as T")
    named = frames + name_axes(None, shape[1:]).letters if axes is None else axes.upper()
    if frames not in named:
        raise ValueError(f"frames={frames!r} is no axis of an image with the axes {named}: name it in axes=")
    found = name_axes(named, shape, each + frames)
    if found.size(frames) < 2:
        raise ValueError(f"There is one frame along {frames} only: leave out frames={frames!r}")
    return found


def _spacing(spacing: Sequence[float] | None, axes: Axes, grid: Axes) -> tuple[float, ...]:
    """Return the size of the restored image's pixels along its spatial axes; none where nobody said."""
    if spacing is None:
        return ()
    sizes = tuple(map(float, spacing))
    letters = "".join(axes.letters[axis] for axis in axes.spatial)
    if len(sizes) != len(letters) or not all(0 < size < math.inf for size in sizes):
        raise ValueError(f"spacing={sizes} must be {len(letters)} finite numbers above 0, one for each of {letters}")
    ratios = (axes.shape[axis] / grid.shape[axis] for axis in axes.spatial)
    return tuple(size * ratio for size, ratio in zip(sizes, ratios, strict=True))


def _checked_tile(tile: int | None) -> int | None:
    if tile is not None and tile < SMALLEST_TILE:
        raise ValueError(f"tile={tile}: tiles need {SMALLEST_TILE} px a side at least")
    return tile


def _coloured(image: Any, axes: Axes, colour: Colour) -> Array:
    """Return which pixels of an image have a colour, a boolean array shaped as it."""
    found = np.zeros(axes.shape, bool)
    for frame in axes.frames():
        found[axes.where(frame)] = axes.arrange(colour.find(axes.take(image, frame)))
    return found


def _grid(task: Task, axes: Axes, out: Any, dtype: np.dtype[Any]) -> Axes:
    """Return the axes of the restored image; refuse an `out` and a task that do not go with them."""
    grid = axes.finer(task.factors)
    if grid != axes and task.keeps_known:
        raise ValueError(f"{type(task).__name__} cannot keep known pixels as they are on a grid with other pixels")
    shape = None if out is None else tuple(out.shape)
    if shape not in (None, grid.shape):
        raise ValueError(f"out= has shape {shape}, the restored image {grid.shape}")
    if out is not None and np.dtype(out.dtype) != dtype:
        raise ValueError(f"out= is of {out.dtype}, the restored image of {dtype}")
    return grid
