"""One run over all frames of an image, from what it was asked for to its result."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, deque
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
from napari_dip.engine.comparison import Gain
from napari_dip.engine.curves import curves_of
from napari_dip.engine.exposures import SeriesNoise, noise_of_series
from napari_dip.engine.frame import FrameFit
from napari_dip.engine.limits import Limits
from napari_dip.engine.memory import Ahead, MemoryPlan, plan
from napari_dip.engine.merging import Merged
from napari_dip.engine.outcome import Control, Fit, Progress, Restoration, settings_of
from napari_dip.engine.prior import Prior
from napari_dip.engine.problem import Problem, RestorationError, TooLittleKnownError
from napari_dip.engine.stopping import FixedSteps, StoppingRule
from napari_dip.engine.tasks import Task
from napari_dip.engine.tiles import SMALLEST_TILE
from napari_dip.engine.width import Width, words_of

MANY_OUTLIERS = 0.02  # of all values


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
            notes=self.notes(fits, assembly),
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

    @staticmethod
    def least_sure(gains: tuple[Gain, ...]) -> tuple[Gain, str]:
        """Return the least sure of the frames' gains over a method, and in how many frames it is not sure."""
        unsure = sum(not one.is_sure for one in gains)
        where = f", in {unsure} of {len(gains)} frames" if len(gains) > 1 else ""
        return min(gains, key=lambda one: one.gain / max(one.error, 1e-12)), where

    def doubts(self, fits: list[Fit]) -> list[str]:
        """Return what says that a cheap method would have done as well, where held-out pixels see no difference."""
        compared = {fit.frame: fit.gains for fit in fits if fit.gains}
        by_method = zip(*compared.values(), strict=True)  # of each method the gains in all frames
        return [
            f"{worst.words}{where} ({worst.gain:.3f} ± {worst.error:.3f} of the noise's variance)"
            for worst, where in (self.least_sure(each) for each in by_method)
            if not worst.is_sure
        ]

    def misfits(self, fits: list[Fit]) -> list[str]:
        """Return how far the results are from the measurement once they are degraded again.

        Channels may have units of their own: the one that is worst in units of its noise, or else of its range, tells.
        """
        found = {fit.frame: fit for fit in fits if fit.misfit}
        if not found:
            return []
        levels = {frame: fit.noise.sigma for frame, fit in found.items() if fit.noise}
        units = levels if len(levels) == len(found) else {f: self.scale.of(self.axes, f).gain for f in found}
        _, by, unit, channel = max(
            (by / unit, by, unit, self.axes.channel_of(frame, index))
            for frame, fit in found.items()
            for index, (by, unit) in enumerate(zip(fit.misfit, units[frame], strict=True))
        )
        where = "" if self.axes.together.channels == 1 else f" in channel {channel}, most of all"
        noise = f"; its noise is {unit:.3g}" if units is levels else ""
        said = "The result, degraded again, differs from the measurement by"
        return [f"{said} {by:.3g} (root mean square){where}{noise}"]

    def notes(self, fits: list[Fit], assembly: Assembly) -> tuple[str, ...]:
        notes = [*self.remarks, *(() if self.merged is None else self.merged.notes)]
        if assembly.outliers is not None:
            count, share = int(assembly.outliers.sum()), float(assembly.outliers.mean())
            notes.append(f"{count:,} outliers ({share:.2%} of all values) were flagged and replaced")
            if share > MANY_OUTLIERS:
                notes.append(
                    "So many outliers are improbable: the image may have real structure that is sharper than the given "
                    "width of a spot"
                )
        if piloted := [fit for fit in fits if fit.pilot]:
            fine, rest = np.mean([fit.pilot for fit in piloted], 0)
            members = sorted({fit.member for fit in piloted})  # a stop may leave a later one alone
            shrunk = float(np.mean([fit.collaborative for fit in piloted]))
            ways = f"NL-Ridge, and {shrunk:.0%} of collaborative filtering" if shrunk else "NL-Ridge"
            each = [float(np.mean([fit.share for fit in piloted if fit.member == one])) for one in members]
            parts = f"{len(members)} fits (in parts of {', '.join(f'{share:.0%}' for share in each)})"
            notes.append(
                f"Made of {'one fit' if len(members) == 1 else parts} and a closed-form pilot ({ways}), whose "
                f"weight is {fine:.2f} in fine detail and {rest:.2f} in the rest"
            )
        if sides := {fit.tile for fit in fits if fit.tile is not None}:
            notes.append(
                f"Fitted in overlapping tiles of {min(sides)} px, a network each, which fade into each other and "
                f"stop together"
            )
        if self.scale.curves:
            notes.append(
                "Noise is much stronger in bright places than in dark ones: fitted under a curve that makes it even "
                "(generalised Anscombe), and taken back without bias"
            )
        if removed := {fit.frame: fit.stripes for fit in fits if fit.stripes is not None}:
            where = f" in {len(removed)} frames, at most" if len(removed) > 1 else ""
            notes.append(
                f"Offsets of lines were taken off first{where}: {max(removed.values()):.3g} (root mean square). What "
                "the scene has from border to border goes with them"
            )
        if reaches := sorted({fit.reach for fit in fits if any(fit.reach)}):
            down, right = reaches[-1]
            notes.append(
                f"The noise is correlated from pixel to pixel, up to {down} px along y and {right} px along x: "
                f"so many neighbours of held-out pixels are hidden too. What is left of such noise looks like structure"
            )
        if lost := [one for found in {fit.frame: fit.lost for fit in fits}.values() for one in found]:
            count = sum(one.sources for one in lost)
            share = sum(one.sources * one.share for one in lost) / count
            notes.append(
                f"{count} point sources lacked {share:.0%} of their restored height in the mean, by the residual "
                "around them all: that was given back"
            )
        if any(fit.clipped for fit in fits):
            notes.append(
                "Noise was clipped at an end of the range, which makes bright values too dark in the mean and dark "
                "ones too bright: that is undone"
            )
        verdicts = Counter({fit.frame: fit.residual.verdict for fit in fits if fit.residual}.values())
        for verdict, count in verdicts.most_common(3):
            where = f", in {count} of {len(self.frames)} frames" if len(self.frames) > 1 else ""
            notes.append(f"Residual{where}: {verdict}")
        if self.channel_gains and "C" in self.axes.each:
            worst = int(np.argmin(self.channel_gains))
            notes.append(
                f"Channels were restored one by one: together, the held-out error of channel {worst} would "
                f"gain {self.channel_gains[worst]:.1f} standard errors, and {SURE:.0f} are asked of each"
            )
        notes += self.doubts(fits)
        reasons = {fit.frame: fit.no_std for fit in fits if fit.no_std}
        if reasons and (self.draws or assembly.std is not None):
            where = f" for {len(reasons)} of {len(self.frames)} frames" if len(self.frames) > 1 else ""
            notes.append(
                f"No standard deviation and no members can be given{where}: {'; '.join(sorted(set(reasons.values())))}"
            )
        if any(shares := list({fit.frame: fit.given_back for fit in fits}.values())):
            notes.append(
                f"What the fits had not explained of the measurement was given back to the result, with a weight of "
                f"{np.mean(shares):.2f} by held-out pixels"
            )
        notes += self.misfits(fits)
        notes += words_of(self.width)
        if self.task.caution:
            notes.append(self.task.caution)
        fitted = len({fit.frame for fit in fits})
        if fitted < len(self.frames):
            notes.append(f"Ended after {fitted} of {len(self.frames)} frames: the others are as they were")
        if self.dtype.kind in "iu" and self.dtype.itemsize == 8:
            notes.append(f"{self.dtype} values above 2^53 are rounded to what float64 holds")
        return tuple(notes)
