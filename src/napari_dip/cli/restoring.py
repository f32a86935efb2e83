"""One file in, one restored file out: what every task's sub-command does."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, get_type_hints

import numpy as np
import torch
from tqdm import tqdm

import napari_dip as dip
from napari_dip import io
from napari_dip.cli import FAILED
from napari_dip.cli.planes import choose_plane, frames_axis, read_mask, read_plane, shown_scene
from napari_dip.cli.quality import Comparison
from napari_dip.cli.reading import read
from napari_dip.cli.recalling import TOLD
from napari_dip.engine import arrays, devices, fields
from napari_dip.engine.blocks import name_axes
from napari_dip.engine.presets import choose_preset
from napari_dip.engine.problem import Role
from napari_dip.io.record import plain

AGREES = 2.0  # times the variance that a header says, or as little: what the image shows
BESIDE: dict[str, tuple[type, bool]] = {  # what can be written beside the restored image: type, and if it is a stack
    "residual_out": (np.float32, False),
    "std_out": (np.float32, False),
    "outliers_out": (np.uint8, False),
    "stack_out": (np.float32, True),
    "members_out": (np.float32, True),
}
PROVENANCE = ("version", "torch", "seed", "device", "precision", "threads", "settings", "best_step", "ended")


def restore_file(options: argparse.Namespace) -> int:
    """Restore `options.image` into `options.out`; return the exit code."""
    asked = [options.out, options.report, *(getattr(options, name) for name in BESIDE)]
    check_outputs(options, [path for path in asked if path])
    if options.device == "auto" and (advice := devices.unused_gpu()):
        print(f"napari-dip: {advice}", file=sys.stderr)
    picture = choose_plane(read(options.image), options)
    digest = io.sha256(options.image) if options.report else ""  # before OUT may replace it
    scene = shown_scene(picture, options)
    check_formats(scene, options)
    task = build_task(options, picture)
    grid = name_axes(scene.axes, scene.pixels.shape, options.each).finer(task.factors)
    comparison = Comparison.read(options.truth, scene, grid.shape) if options.truth else None
    torch.set_num_threads(min(torch.get_num_threads(), devices.cores()))
    control = dip.Control()
    with signals_stop(control) as caught:
        restoration, scored = follow(picture, task, options, control, comparison)
    is_all = save(scene, restoration, options)
    if options.report:
        truth = {"truth": comparison.report(restoration.image, scored)} if comparison else {}
        write_report(options.report, full_report(digest, restoration, options) | truth)
    summarise(restoration, comparison)
    if caught:
        return 128 + caught[0]
    return 0 if is_all else FAILED


def check_outputs(options: argparse.Namespace, outputs: list[str]) -> None:
    """Refuse before the fit what could not be written after it."""
    written = [Path(path).resolve() for path in outputs]
    in_place = options.overwrite and Path(options.out).resolve() == io.split(options.image)[0].resolve()
    read_too = [] if in_place else [io.split(options.image)[0].resolve()]
    if len({*read_too, *written}) < len(read_too) + len(written):
        raise ValueError("IN and the files to write must all be different; with --overwrite OUT may be IN")
    for path in outputs:
        suffixes = (".json",) if path == options.report else None
        try:
            io.check_writable(path, overwrite=options.overwrite, suffixes=suffixes)
        except FileExistsError as error:
            raise ValueError(f"{path} is there already: choose another name, or replace it with --overwrite") from error
    if options.outliers_out and options.outliers is None:
        raise ValueError("--outliers-out needs --outliers: nobody looks for them otherwise")
    if options.stack_out and not options.keep_every:
        raise ValueError("--stack-out needs --keep-every N: which outputs to keep")
    for flag, path in (("--std-out", options.std_out), ("--members-out", options.members_out)):
        if path and (why := why_no_std(options)):
            raise ValueError(f"{flag}: there will be nothing to write: {why}")


def why_no_std(options: argparse.Namespace) -> str:
    """Return what task and preset say beforehand of why there will be no standard deviation; empty: nothing."""
    if not bare_task(options).denoises:
        return "only denoise, guided and inpaint --denoise-known can tell it from held-out pixels"
    if options.prior is not None:
        return "a prior of one's own is fitted alone, without a pilot"
    preset = choose_preset(options.preset)
    return preset.no_std and f"with --preset {preset.name} {preset.no_std}"


def bare_task(options: argparse.Namespace) -> dip.Task:
    """Return the task with the values of its flags, without what files say."""
    hints = get_type_hints(options.task, include_extras=True)
    names = [field.name for field in dataclasses.fields(options.task)]
    said = [name for name in names if hasattr(options, name) and arrays.role(hints[name]) in (None, Role.AXIS)]
    return options.task(**{name: getattr(options, name) for name in said})  # type: ignore[no-any-return]


def build_task(options: argparse.Namespace, picture: io.Picture) -> dip.Task:
    """Return the task with the values of its flags, masks read from their files."""
    values: dict[str, Any] = {}
    names = {field.name for field in dataclasses.fields(options.task)}
    if "noise" in names:
        values["noise"] = noise_of(options, picture)
    if "tables" in names:
        values["tables"] = picture.compression and dip.JpegTables(**dataclasses.asdict(picture.compression))
    for name, kind, hint in arrays.array_fields(options.task):
        path = getattr(options, name)
        if path is None:
            if kind is not Role.MASK and not fields.notes(hint).get("optional"):
                raise ValueError(f"--{name} FILE is missing: {fields.notes(hint)['tooltip']}")
        elif kind is Role.MASK:
            mask = read_mask(path, options)
            values[name] = ~mask if getattr(options, f"{name}_keeps") else mask
        else:
            values[name] = (read_plane(path, options) if kind is Role.IMAGE else read(path)).pixels
    return dataclasses.replace(bare_task(options), **values)  # type: ignore[type-var]


def noise_of(options: argparse.Namespace, picture: io.Picture) -> dip.NoiseLaw | None:
    """Return the noise that the flags give, or else the file where the image agrees; None: told from the image."""
    if options.variance:
        if {options.gain, options.read_noise, options.offset} != {None}:
            raise ValueError("--variance says it all: leave out --gain, --read-noise and --offset")
        return dip.VarianceMap(read_plane(options.variance, options).pixels)
    if options.gain is not None:
        return dip.PoissonGaussian(options.gain, options.read_noise or 0.0, options.offset or 0.0)
    if options.offset is not None and (options.read_noise is not None or picture.detector is None):
        raise ValueError("--offset needs --gain: without shot noise it has no effect")
    if options.read_noise is not None:
        return dip.Gaussian(options.read_noise)
    if (said := picture.detector) is None:
        return None
    law = dip.PoissonGaussian(said.gain, said.read_noise, options.offset or 0.0)
    ratio = None
    if picture.axes.endswith("YX"):
        planes = picture.pixels.reshape(-1, *picture.pixels.shape[-2:])
        ratio = dip.agreement(law, planes[len(planes) // 2])
    agrees = ratio is not None and 1 / AGREES < ratio < AGREES
    print(f"napari-dip: noise of the header ({said.source}): " + (
        f"used, the image shows {ratio:.2f} times its variance" if agrees else
        "not used, the image has another; give it with --gain and --read-noise to use it all the same"
    ), file=sys.stderr)  # fmt: skip
    return law if agrees else None


def check_formats(picture: io.Picture, options: argparse.Namespace) -> None:
    """Refuse formats that cannot hold what will be written to them."""
    shape, axes = picture.pixels.shape, picture.axes
    io.check_format(options.out, picture.pixels.dtype if options.dtype == "source" else np.float32, shape, axes)
    for name, (dtype, is_stack) in BESIDE.items():
        if path := getattr(options, name):
            io.check_format(path, dtype, (2, *shape) if is_stack else shape, f"I{axes}" if is_stack else axes)


def follow(
    picture: io.Picture,
    task: dip.Task,
    options: argparse.Namespace,
    control: dip.Control,
    comparison: Comparison | None,
) -> tuple[dip.Restoration, list[tuple[int, float]]]:
    """Return the restoration, and the PSNR at each scored step where there is a truth."""
    scored = []
    with tqdm(unit="step", disable=not sys.stderr.isatty(), leave=False) as bar:
        for progress in iterate(picture, task, options, control):
            bar.total, bar.n = progress.expected, progress.step
            if progress.phase == "preparing":
                bar.set_postfix_str(f"making the pilot, {progress.prepared:.0%}", refresh=False)
            if progress.score is not None:
                bar.set_postfix_str(f"best {progress.fit.best_step}", refresh=False)
                if comparison:
                    scored.append((progress.step, comparison.psnr(progress.image())))
            bar.update(0)
    return progress.restoration(), scored


def iterate(
    picture: io.Picture, task: dip.Task, options: argparse.Namespace, control: dip.Control
) -> Iterator[dip.Progress]:
    return dip.iter_restore(
        picture.pixels,
        task,
        prior=options.prior,
        stop=options.stop,
        missing=read_mask(options.missing, options) if options.missing else None,
        preset=options.preset,
        saturation=options.saturation if options.saturation is not None else picture.saturation,
        outliers=options.outliers,
        fill=options.fill,
        axes=picture.axes,
        each=options.each,
        spacing=spacing_of(picture, options),
        device=options.device,
        seed=options.seed,
        keep_every=options.keep_every,
        members=options.members if options.members_out else 0,
        dtype=options.dtype,
        max_steps=options.max_steps,
        max_seconds=options.max_seconds,
        max_memory=options.max_memory,
        tile=options.tile,
        control=control,
    )


def spacing_of(picture: io.Picture, options: argparse.Namespace) -> tuple[float, ...] | None:
    """Return the size of a voxel, as the flag says or else the file of a volume; None: it cannot be told."""
    if options.spacing is not None:
        return options.spacing  # type: ignore[no-any-return]
    spatial = name_axes(picture.axes, picture.pixels.shape, options.each + frames_axis(options)).spatial
    if len(spatial) < 3 or len({picture.units[axis] for axis in spatial}) > 1:
        return None
    return tuple(picture.scale[axis] for axis in spatial)


@contextlib.contextmanager
def signals_stop(control: dip.Control) -> Iterator[list[int]]:
    """Let Ctrl-C and SIGTERM end the fit, which keeps its best; yield the signals caught. The second one aborts."""
    caught: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        control.stop()
        for each in before:
            signal.signal(each, before[each])

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def save(picture: io.Picture, restoration: dip.Restoration, options: argparse.Namespace) -> bool:
    """Write the restored image and what was asked for beside it; return whether there was all of it."""
    report = restoration.report()
    provenance = {key: report[key] for key in PROVENANCE}
    notes, is_all = list(restoration.notes), True
    outputs = [(options.out, io.regridded(picture, restoration.image))]
    for name, path in ((name, getattr(options, name)) for name in BESIDE):
        if path and (made := beside(picture, restoration, name)) is not None:
            outputs.append((path, made))
        elif path:
            is_all = False
            why = restoration.fits[-1].no_std if name in ("std_out", "members_out") else ""
            notes.append(f"{path} was not written: {why or 'there is nothing to write'}")
    for path, result in outputs:
        notes += write(path, result, provenance, overwrite=options.overwrite)
    for note in notes:
        print(f"napari-dip: {note}", file=sys.stderr)
    return is_all


def write(path: str, picture: io.Picture, provenance: dict[str, Any], *, overwrite: bool) -> tuple[str, ...]:
    """Write what a fit has made, and return what is worth telling.

    Raises
    ------
    RestorationError
        When that fails; where it can be written among the temporary files, it is, and the error says so.
    """
    try:
        return io.write(path, picture, provenance=provenance, overwrite=overwrite)
    except (OSError, ValueError) as error:
        why = f"{path} could not be written: {error}"
        try:
            spare = Path(tempfile.gettempdir(), f"{uuid.uuid4().hex[:8]}-{Path(path).name}")
            io.write(spare, picture, provenance=provenance)
        except (OSError, ValueError):
            raise dip.RestorationError(f"{why}; nor could it be kept among the temporary files") from error
        raise dip.RestorationError(f"{why}; it is kept as {spare}") from error


def beside(picture: io.Picture, result: dip.Restoration, name: str) -> io.Picture | None:
    """Return what an option of `BESIDE` wants; None where there is no such thing."""
    values = getattr(result, name.removesuffix("_out"))
    if values is None:
        return None
    dtype, is_stack = BESIDE[name]
    if not is_stack:  # no image of the scene: 0 is black
        return io.regridded(dataclasses.replace(picture, white_is_zero=False), values.astype(dtype))
    steps = result.steps if name == "stack_out" else range(len(values))
    return io.stacked(io.regridded(picture, values[0]), values, steps)


def full_report(digest: str, restoration: dip.Restoration, options: argparse.Namespace) -> dict[str, Any]:
    """Return the record of a run, with the digest that IN had before it."""
    device = devices.choose(options.device)
    return {
        **restoration.report(),
        TOLD: [name for name, is_given in given(options).items() if not is_given],
        "input": str(options.image),
        "output": str(options.out),
        "sha256_input": digest,
        "sha256_output": io.sha256(options.out),
        "peak_memory_bytes": devices.peak_memory(device),
        "memory_limit_bytes": devices.memory(device),
        "cores": devices.cores(),
    }


def given(options: argparse.Namespace) -> dict[str, bool]:
    """Return which settings that the file of the image may say were asked for by flags instead."""
    flags = ("gain", "read_noise", "offset", "variance")
    noise = any(getattr(options, name, None) is not None for name in flags)
    return {"noise": noise, "saturation": options.saturation is not None}


def write_report(path: str, report: dict[str, Any]) -> None:
    """Write beside, then rename: never half a file. Numbers that JSON has not become null."""
    target = Path(path)
    beside = target.with_name(f".{target.name}.part")
    try:
        beside.write_text(json.dumps(plain(report), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        beside.replace(target)
    except OSError as error:
        raise dip.RestorationError(f"{path} could not be written: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def summarise(restoration: dip.Restoration, comparison: Comparison | None) -> None:
    """Print what happened in one line."""
    text = f"step {restoration.best_step} kept, {restoration.seconds:.0f} s: {restoration.ended}"
    if comparison:
        quality = comparison.report(restoration.image, [])
        text += f"; PSNR {quality['psnr_input']:.2f} -> {quality['psnr_output']:.2f} dB"
    print(text)
