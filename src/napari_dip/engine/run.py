"""One run over all frames of an image, from what it was asked for to its result."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from napari_dip.engine import devices
from napari_dip.engine.assembly import Assembly
from napari_dip.engine.blocks import Axes, Frame, Missing, measure_scale
from napari_dip.engine.channels import SURE
from napari_dip.engine.curves import curves_of
from napari_dip.engine.exposures import SeriesNoise, noise_of_series
from napari_dip.engine.frame import FrameFit
from napari_dip.engine.limits import Limits
from napari_dip.engine.memory import Ahead, MemoryPlan, plan
from napari_dip.engine.merging import Merged
from napari_dip.engine.notes import notes_of
from napari_dip.engine.outcome import Control, Fit, Progress, Restoration, settings_of
from napari_dip.engine.prior import Prior
from napari_dip.engine.problem import Problem, RestorationError, TooLittleKnownError
from napari_dip.engine.stopping import FixedSteps, StoppingRule
from napari_dip.engine.tasks import Task
from napari_dip.engine.tiles import SMALLEST_TILE
from napari_dip.engine.width import Width


@dataclass(eq=False, kw_only=True)
class Run:
    """What a restoration was asked for, and what of it is done."""

    image: Any
    axes: Axes
    grid: Axes
    spacing: tuple[float, ...]  # of the restored image's pixels
    task: Task
    prior: Prior
    starts: int  # fits of the prior, where there is no pilot
    wide: Prior | None  # instead of it where a hole to be filled is wide
    members: tuple[Prior, ...]
    passes: int
    collaborative: bool
    usual: float
    most: int | None
    rule: StoppingRule
    missing: Missing
    fill: bool
    dtype: np.dtype[Any]
    device: torch.device
    seed: int
    keep_every: int
    limits: Limits
    tile: int | None
    draws: int
    out: Any
    control: Control
    asked: dict[str, Any]  # as JSON: what of the settings was given, and what was left to us
    merged: Merged | None = None

    def __post_init__(self) -> None:
        self.precision = devices.precision(self.device)
        together = self.axes.together
        self.linear = self.scale = measure_scale(self.image, together, self.missing.on(together))
        wants = self.task.noise is None and not self.task.keeps_known
        on = self.missing.on(together)
        self.series = self.told_by_frames(together, on) if wants else None
        if self.task.stabilises and self.merged is None:
            curves = curves_of(self.image, together, on, self.scale, self.task.noise, self.series)
            self.scale = measure_scale(self.image, together, on, curves) if curves else self.scale
        self.missing = self.missing.on(self.axes)
        self.channel_gains: tuple[float, ...] = ()
        self.assembly = Assembly(
            self.image,
            self.axes,
            self.grid,
            self.missing,
            self.scale,
            self.dtype,
            self.fill,
            self.task.keeps_known,
            self.out,
        )
        self.frames = [frame for frame in self.axes.frames() if self.is_wanted(frame)]
        if not self.frames:
            raise ValueError("Nothing is missing: mark the pixels to fill in a mask, or make them NaN")
        self.plan: MemoryPlan | None = None
        self.width: Width | None = None  # of a PSF, as the first frame tells it
        self.looked_at_width = False
        self.fits: list[Fit] = []
        self.remarks: dict[str, None] = {}  # of the task, each once
        self.taken = 0  # optimiser steps
        self.started = time.perf_counter()
        self.clock = deque([self.started], maxlen=50)

    def told_by_frames(self, together: Axes, missing: Missing) -> SeriesNoise | None:
        """Return the noise that frames of one scene tell; None where there are none that agree."""
        if self.merged is not None:
            return self.merged.noise(self.scale)
        return noise_of_series(self.image, together, missing, self.scale)

    def progress(self) -> Iterator[Progress]:
        """Yield the progress of every frame; the engine's failures become a RestorationError."""
        try:
            with devices.capped(self.device, self.most_memory), devices.memory_kept(self.device):
                yield from self.choose_channels()
                for frame in self.frames:
                    yield from self.fitted(frame)
                    if self.control.is_stopped or self.is_late:
                        return
                if not self.fits:
                    raise TooLittleKnownError(
                        "Of no frame enough is known for a fit: mask less, or restore a larger part"
                    )
        except (
            RuntimeError,
            MemoryError,
        ) as error:
            # thread workers swallow the first, which PyTorch raises for nearly everything
            if devices.is_out_of_memory(error):
                raise self.too_large() from error
            raise RestorationError(f"The fit failed on {self.device}: {error}") from error

    def fitted(self, frame: Frame) -> Iterator[Progress]:
        """Yield the progress of a frame; where memory does not suffice for it, once more with smaller tiles."""
        while True:
            fit = None
            try:
                fit = FrameFit(self, frame)
                yield from fit.progress()
            except TooLittleKnownError:
                if len(self.frames) == 1:
                    raise
                known = "Too little" if fit else "Nothing"
                self.remarks[f"{known} is known of frame {frame}: it is as it was"] = None
                return
            except (RuntimeError, MemoryError) as error:
                if fit is None or not devices.is_out_of_memory(error):
                    raise
                if not self.takes_smaller_tiles(fit.problem.shape[1:]):
                    raise
            else:
                return
            del fit
            devices.release(self.device)

    def takes_smaller_tiles(self, spatial: tuple[int, ...]) -> bool:
        """Halve the tiles, where that is possible, and say so."""
        last = self.plan.tile if self.plan else None
        side = min(max(spatial), last or max(spatial)) // 2
        if side < SMALLEST_TILE:
            return False
        self.tile = side
        self.remarks[f"Memory ran out on {self.device}: the fit was begun again in smaller tiles"] = None
        return True

    @property
    def most_memory(self) -> int | None:
        """How many bytes the run may take; None: nobody said."""
        return None if self.limits.memory is None else int(self.limits.memory * 2**30)

    def planned(self, problem: Problem, priors: tuple[Prior, ...], ahead: Ahead | None) -> MemoryPlan:
        """Return how a frame is fitted, so that memory suffices."""
        most = self.most_memory
        self.plan = plan(
            priors,
            problem.shape,
            guides=0 if problem.guide is None else len(problem.guide),
            precision=self.precision,
            ahead=ahead,
            free=devices.free_memory(self.device) if most is None else most,
            tile=self.tile,
            abreast=devices.abreast(self.device, len(priors)),
            spacing=problem.spacing,
            keeps=devices.keeps(self.device),
            judged=not isinstance(self.rule, FixedSteps),
        )
        return self.plan

    def choose_channels(self) -> Iterator[Progress]:
        """Part the channels, unless every one of them gains from the others where that can be told.

        Colours belong together. So do the channels where there is no pilot to tell by, as in every task that fills.
        """
        if "C" not in self.axes.letters or self.axes.channels < 2 or not self.members or self.task.keeps_known:
            return
        first = self.first_known()
        if first is None:
            return
        if first.problem.guide is not None or self.task.fills:  # what the task takes is for all channels
            return
        try:
            self.channel_gains = yield from first.joint_gains()
        except TooLittleKnownError:
            return
        if not self.channel_gains or min(self.channel_gains) > SURE:
            return
        self.axes, self.grid = self.axes.apart, self.grid.apart
        self.missing = self.missing.on(self.axes)
        self.assembly.axes, self.assembly.grid, self.assembly.missing = self.axes, self.grid, self.missing
        self.frames = list(self.axes.frames())

    def first_known(self) -> FrameFit | None:
        """Return the first frame of which something is known, to be fitted; None: there is none."""
        for frame in self.frames:
            with suppress(TooLittleKnownError):
                return FrameFit(self, frame)
        return None

    def too_large(self) -> RestorationError:
        return RestorationError(
            f"Not enough memory on {self.device} for an image of shape {self.axes.shape}, even in small tiles: crop "
            f"it, or take another device"
        )

    def is_wanted(self, frame: Frame) -> bool:
        """Return whether a fit would change anything: a task that keeps what is known needs a missing pixel."""
        if not self.task.keeps_known:
            return True
        return bool(self.missing.find(self.axes.take(self.image, frame), frame).any())

    @property
    def is_late(self) -> bool:
        return self.limits.seconds is not None and time.perf_counter() - self.started >= self.limits.seconds

    @property
    def rate(self) -> float:
        """Steps per second over the last ones."""
        return (len(self.clock) - 1) / max(1e-9, self.clock[-1] - self.clock[0])

    def result(self, assembly: Assembly, *, fits: list[Fit], under_way: str = "") -> Restoration:
        stack, steps = assembly.stack()
        return Restoration(
            image=assembly.restored,
            estimate=assembly.estimate,
            residual=assembly.residual,
            untouched=assembly.untouched,
            filled=assembly.filled if assembly.filled.any() else None,
            outliers=assembly.outliers,
            std=assembly.std,
            members=assembly.members,
            stack=stack,
            steps=steps,
            fits=tuple(dataclasses.replace(fit) for fit in fits),
            settings=self.settings(),
            machine=self.machine(),
            notes=notes_of(self, fits, assembly),
            frames=None if self.merged is None else self.merged.record,
            taken=self.taken,
            seconds=time.perf_counter() - self.started,
            under_way=under_way,
        )

    def settings(self) -> dict[str, Any]:
        """Return what the run was asked for, as JSON."""
        return {
            "task": settings_of(self.task),
            "prior": settings_of(self.prior),
            "starts": self.starts,
            "wide": settings_of(self.wide),
            "members": settings_of(self.members),
            "passes": self.passes,
            "collaborative": self.collaborative,
            "usual": self.usual,
            "most": self.most,
            "stop": settings_of(self.rule),
            "axes": self.axes.letters,
            "each": self.axes.each,
            "shape": list(self.axes.shape),
            "grid": list(self.grid.shape),
            "spacing": list(self.spacing),
            "scale": {"offset": self.scale.offset.tolist(), "gain": self.scale.gain.tolist()},
            "stretched": [dataclasses.asdict(curve) for curve in self.scale.curves],
            "dtype": str(self.dtype),
            "missing": settings_of(self.missing.masks),
            "saturation": self.missing.saturation,
            "outliers": settings_of(self.missing.outliers),
            "fill": self.fill,
            "keep_every": self.keep_every,
            "members_wanted": self.draws,
            "max_steps": self.limits.steps,
            "max_seconds": self.limits.seconds,
            "max_memory": self.limits.memory,
            "tile": self.tile,
            "asked": self.asked,
        }

    def machine(self) -> dict[str, Any]:
        """Return what else decides the bits, as JSON."""
        return {
            "version": version("napari-dip"),
            "torch": torch.__version__,
            "seed": self.seed,
            "device": str(self.device),
            "precision": settings_of(self.precision),
            "threads": torch.get_num_threads(),
            "abreast": self.plan.abreast if self.plan else 1,
        }
